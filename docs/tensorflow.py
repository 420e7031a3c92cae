"""`docs/tensorflow.md`: what of TensorFlow is here, with the tests that show it.

A symbol works when it exists in `systolica` and a test uses it: every attribute chain that begins
with `st.` in a file under `tests` counts (also by way of a name that a test gives to a part of it).
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import systolica
from docs.tensorflow_reasons import reason
from docs.tensorflow_rows import PAPERS, TALK, Row

ROOT = Path(__file__).parents[1]
MISSING = object()
NOTE = "Generated from `{}` by `make docs`; do not edit."


class Coverage(NamedTuple):
    """The symbols of one module: those that work, those that exist and no test uses, the others."""

    module: str
    works: tuple[str, ...]
    untested: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many symbols the module has."""
        return len(self.works) + len(self.untested) + len(self.missing)


def symbols(name: str) -> dict[str, list[str]]:
    """The lists of `docs/data/NAME.txt` by module."""
    found: dict[str, list[str]] = {}
    module = ""
    for line in (ROOT / "docs" / "data" / f"{name}.txt").read_text().splitlines():
        if line.startswith("["):
            module = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(module, []).extend(line.split())
    return found


def _chain(node: ast.AST, names: dict[str, str]) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in names:
        return ".".join([names[node.id], *reversed(parts)])
    return None


@cache
def used() -> frozenset[str]:
    """Every dotted name below `st` that a test uses."""
    found: set[str] = set()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = {"st": "st"}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                chain = _chain(node.value, names)
                if chain:
                    names[node.targets[0].id] = chain
        for node in ast.walk(tree):
            chain = _chain(node, names) if isinstance(node, ast.Attribute) else None
            if chain:
                found.add(chain)
    return frozenset(found)


def find(symbol: str) -> Any:
    """What `tf.a.b` is here, `MISSING` when it is not (`st.newaxis` is None)."""
    here: Any = systolica
    for part in symbol.split(".")[1:]:
        here = getattr(here, part, MISSING)
    return here


def coverage(name: str) -> list[Coverage]:
    """How much of a list works, module by module."""
    out = []
    for module, names in symbols(name).items():
        parts: dict[str, list[str]] = {"works": [], "untested": [], "missing": []}
        for one in names:
            symbol = f"{module}.{one}"
            here = find(symbol)
            kind = "works" if f"st{symbol[2:]}" in used() else "untested"
            if here is MISSING or isinstance(here, ModuleType) and one != "test":
                kind = "missing"
            parts[kind].append(one)
        out.append(Coverage(module, *(tuple(p) for p in parts.values())))
    return out


def share(parts: list[Coverage]) -> float:
    """The part of all symbols that works."""
    return sum(len(p.works) for p in parts) / sum(p.total for p in parts)


def _table(rows: tuple[Row, ...]) -> list[str]:
    lines = ["| row | shown by | used by |", "| --- | --- | --- |"]
    for row in rows:
        shown = "<br>".join(f"`tests/{t.rstrip(':')}`" for t in row.tests) or row.when
        examples = ", ".join(f"[{e[:-3]}](../examples/{e})" for e in row.examples)
        lines.append(f"| {row.what} | {shown} | {examples} |")
    return lines


def _numbers(parts: list[Coverage]) -> list[str]:
    lines = ["| module | symbols | work | left out |", "| --- | ---: | ---: | ---: |"]
    for part in parts:
        lines.append(
            f"| `{part.module}` | {part.total} | {len(part.works)} | {len(part.missing)} |"
        )
    whole = sum(p.total for p in parts)
    works, missing = (sum(len(getattr(p, n)) for p in parts) for n in ("works", "missing"))
    lines.append(f"| all | {whole} | {works} ({share(parts):.1%}) | {missing} |")
    return lines


def _left_out(parts: list[Coverage]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for part in parts:
        for name in part.missing:
            symbol = f"{part.module}.{name}"
            groups.setdefault(reason(symbol), []).append(f"`{symbol}`")
    lines = ["| reason | number | symbols |", "| --- | ---: | --- |"]
    order = sorted(groups.items(), key=lambda item: -len(item[1]))
    return lines + [f"| {why} | {len(names)} | {', '.join(names)} |" for why, names in order]


def page() -> str:
    """The page."""
    early, late = coverage("tensorflow-0.9"), coverage("tensorflow-1")
    lines = ["# TensorFlow", "", NOTE.format("docs/tensorflow_rows.py` and `docs/data"), ""]
    lines += ["`import systolica as st` has TensorFlow's names and semantics. A symbol *works*"]
    lines += ["when it exists and a test uses it.", ""]
    lines += ["## What the talk of 2016 shows", "", *_table(TALK), ""]
    lines += ["## What its papers promise", "", *_table(PAPERS), ""]
    lines += ["## Symbols of the early API (0.9 to 0.11)", "", *_numbers(early), ""]
    lines += ["Left out:", "", *_left_out(early), ""]
    lines += ["## Symbols of the API of 1.x", ""]
    lines += ["All that `tensorflow.compat.v1` has, what later versions added included.", ""]
    lines += [*_numbers(late), "", "Left out:", "", *_left_out(late)]
    return "\n".join(lines) + "\n"
