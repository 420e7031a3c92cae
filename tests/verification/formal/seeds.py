"""Bugs planted for the length of a block: a changed line of source, compiled in place."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType


@dataclass(frozen=True)
class Seed:
    """In the source of `module`, `right` (which must occur once) reads `wrong`."""

    module: str
    right: str
    wrong: str

    def __str__(self) -> str:
        right, wrong = (" ".join(text.split()) for text in (self.right, self.wrong))
        return f"{self.module.removeprefix('hw.tpu.')}: {right} -> {wrong}"


class SeedError(LookupError):
    """The source no longer holds the line that a seed changes."""


@contextmanager
def planted(seed: Seed | None) -> Iterator[None]:
    """Inside, every function that `seed` touches behaves as if its source were the wrong one.

    Functions are changed where they are, so that whoever imported them sees the bug.
    """
    if seed is None:
        yield
        return
    module = importlib.import_module(seed.module)
    source = inspect.getsource(module)
    if source.count(seed.right) != 1:
        raise SeedError(
            f"{seed.module} holds {seed.right!r} {source.count(seed.right)} times, a seed needs "
            "it once: adapt the seed to the new source"
        )
    wrong = _functions(compile(source.replace(seed.right, seed.wrong), module.__file__, "exec"))
    before = {}
    for name, function in _live(module).items():
        if wrong[name].co_code != function.__code__.co_code or (
            wrong[name].co_consts != function.__code__.co_consts
            or wrong[name].co_names != function.__code__.co_names
        ):
            before[name] = function, function.__code__
    if not before:
        raise SeedError(f"{seed}: changes no function")
    try:
        for name, (function, _) in before.items():
            function.__code__ = wrong[name]
        yield
    finally:
        for function, code in before.values():
            function.__code__ = code


def _functions(code: CodeType) -> dict[str, CodeType]:
    """Code of every module-level function and method, by qualified name."""
    found = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found[constant.co_qualname] = constant
            found |= _functions(constant)
    return found


def _live(module: ModuleType) -> dict[str, FunctionType]:
    """The functions and methods that `module` defines, by qualified name."""
    found = {}
    for owner in [module, *(c for c in vars(module).values() if inspect.isclass(c))]:
        for function in vars(owner).values():
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                found[function.__qualname__] = function
    return found
