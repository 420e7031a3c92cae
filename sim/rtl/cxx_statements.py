"""Verilator's generated C++, statement by statement: what each reads and what it writes.

Only the forms that Verilator writes into the functions of a clocked design are known; anything
else raises `UnknownFormError`, so that nobody works on a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MEMBER = "vlSelfRef."
# Position of the argument that a call at statement level writes.
_WRITING_CALLS = {"VL_ZERO_W": 1, "VL_ASSIGN_W": 1, "VL_SHIFTL_WWI": 3, "VL_SHIFTR_WWI": 3}
# Results in 32 or 64 bits: no argument is written.
_PURE_CALL = re.compile(r"VL_[A-Z]+(?:_[A-Z]+)*_[IQ]{1,3}$|VL_(?:REDXOR|LTE?|GTE?|N?EQ)_W$")
_NAME = re.compile(r"(?:vlSelfRef\.)?\b[A-Za-z_]\w*")
_CALL = re.compile(r"\b(\w+)\(")
_TYPES = {"CData", "SData", "IData", "QData"}
_TARGET = re.compile(rf"({_NAME.pattern})\s*(\[\s*(0x[0-9a-f]+|\d+)U\s*\]|\[)?")
_DPI = "__Vdpiimwrap_"


class UnknownFormError(ValueError):
    """A construct of the generated C++ that this reader does not know; nothing may be assumed."""


@dataclass(frozen=True)
class Simple:
    """One assignment or call: where it stands in the statement, what it writes and reads.

    `word` is the constant index of a partial write, -1 for any other partial write, None for a
    write of the whole variable. `effect` marks calls that do more than write `target`.
    """

    start: int
    target: str
    word: int | None
    reads: frozenset[str]
    effect: bool = False


@dataclass
class Branches:
    """An `if`: the names in its condition, and its two bodies."""

    condition: frozenset[str]
    bodies: list[list[Simple | Branches]]


@dataclass
class Statement:
    """A statement of a function's top level."""

    text: str
    body: list[Simple | Branches] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str) -> Statement:
        return cls(text, _Parser(text).block(0, len(text)))

    def simple(self) -> Iterator[Simple]:
        """Every assignment and call within, in order."""
        yield from _flatten(self.body)

    @property
    def writes(self) -> set[str]:
        return {item.target for item in self.simple()}

    @property
    def reads(self) -> set[str]:
        return _names(self.body)

    @property
    def effect(self) -> bool:
        return any(item.effect for item in self.simple())


def _flatten(body: list[Simple | Branches]) -> Iterator[Simple]:
    for item in body:
        if isinstance(item, Simple):
            yield item
        else:
            for inner in item.bodies:
                yield from _flatten(inner)


def _names(body: list[Simple | Branches]) -> set[str]:
    found: set[str] = set()
    for item in body:
        if isinstance(item, Simple):
            found |= item.reads
        else:
            found |= item.condition
            for inner in item.bodies:
                found |= _names(inner)
    return found


def exposed_reads(statements: list[Statement], words: dict[str, int]) -> set[str]:
    """Variables whose value before `statements` matters to what they do.

    That includes a variable that they write in part or under a condition only. `words` gives the
    words of each wide variable.
    """
    exposed: set[str] = set()
    written: set[tuple[str, int]] = set()
    for statement in statements:
        _expose(statement.body, words, exposed, written)
    targets = {item.target for statement in statements for item in statement.simple()}
    return exposed | {name for name in targets if not _whole(name, words, written)}


def _whole(name: str, words: dict[str, int], written: set[tuple[str, int]]) -> bool:
    return all((name, word) in written for word in range(words.get(name, 1)))


def _expose(
    body: list[Simple | Branches],
    words: dict[str, int],
    exposed: set[str],
    written: set[tuple[str, int]],
) -> None:
    """Add to `exposed` what `body` reads first and to `written` what it writes for certain."""
    for item in body:
        if isinstance(item, Simple):
            exposed |= {name for name in item.reads if not _whole(name, words, written)}
            if item.word is None:
                written |= {(item.target, word) for word in range(words.get(item.target, 1))}
            elif item.word >= 0:
                written.add((item.target, item.word))
        else:
            exposed |= {name for name in item.condition if not _whole(name, words, written)}
            certain = []
            for inner in item.bodies:
                mine = set(written)
                _expose(inner, words, exposed, mine)
                certain.append(mine)
            written |= certain[0] & certain[1]


def names_in(expression: str) -> frozenset[str]:
    """Variables in an expression, members with `vlSelfRef.` ahead; calls must be pure."""
    for call in _CALL.findall(expression):
        if not _PURE_CALL.match(call):
            raise UnknownFormError(f"call of {call} in an expression")
    return frozenset(
        name
        for name in _NAME.findall(expression)
        if name not in _TYPES and not name.startswith(("VL_", "Vtop__ConstPool"))
    ) - {"U", "ULL"}


def closing(text: str, at: int) -> int:
    """Position of the bracket that closes the one at `at`."""
    opened = text[at]
    closed = {"(": ")", "{": "}", "[": "]"}[opened]
    depth = 0
    for match in re.compile(rf"[\{opened}\{closed}]").finditer(text, at):
        depth += 1 if match[0] == opened else -1
        if depth == 0:
            return match.start()
    raise UnknownFormError(f"no bracket closes {text[at : at + 40]!r}")


def split(text: str) -> Iterator[str]:
    """The top-level statements of a function's body."""
    at = 0
    while (match := re.compile(r"\S").search(text, at)) is not None:
        start = match.start()
        at = _end(text, start)
        yield text[start:at]


def _end(text: str, start: int) -> int:
    """Where the statement that begins at `start` ends."""
    if re.match(r"if\b", text[start:]):
        at = text.index("(", start)
        at = closing(text, text.index("{", closing(text, at))) + 1
        other = re.compile(r"\s*else\s*").match(text, at)
        if other is None:
            return at
        if text[other.end()] == "{":
            return closing(text, other.end()) + 1
        return _end(text, other.end())
    if text[start] in "{#" or re.match(r"(do|for|while|switch|return)\b", text[start:]):
        raise UnknownFormError(f"statement {text[start : start + 40]!r}")
    return text.index(";", start) + 1


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text

    def block(self, start: int, end: int) -> list[Simple | Branches]:
        body: list[Simple | Branches] = []
        at = start
        while (match := re.compile(r"\S").search(self.text, at, end)) is not None:
            first = match.start()
            at = _end(self.text, first)
            body.append(self.statement(first, at))
        return body

    def statement(self, start: int, end: int) -> Simple | Branches:
        text = self.text
        if not re.match(r"if\b", text[start:]):
            return self.simple(start, text[start : end - 1])
        opened = text.index("(", start)
        closed = closing(text, opened)
        then = text.index("{", closed)
        then_end = closing(text, then)
        bodies = [self.block(then + 1, then_end), []]
        other = re.compile(r"\s*else\s*").match(text, then_end + 1, end)
        if other is not None:
            if text[other.end()] == "{":
                bodies[1] = self.block(other.end() + 1, end - 1)
            else:
                bodies[1] = [self.statement(other.end(), end)]
        return Branches(names_in(_without_hints(text[opened : closed + 1])), bodies)

    def simple(self, start: int, text: str) -> Simple:
        target = _TARGET.match(text)
        if target is None:
            raise UnknownFormError(f"statement {text[:60]!r}")
        name, index, number = target[1], target[2], target[3]
        at = target.end() if index is None else closing(text, text.index("[", len(name))) + 1
        while (more := re.compile(r"\s*\[").match(text, at)) is not None:
            at, number = closing(text, more.end() - 1) + 1, None  # a word of a memory's row
        rest = text[at:].lstrip()
        if rest.startswith("=") and not rest.startswith("=="):
            word = None if index is None else -1 if number is None else int(number, 0)
            return Simple(start, name, word, names_in(text[len(name) : at] + " " + rest[1:]))
        if rest.startswith("("):
            return self.call(start, name, text)
        raise UnknownFormError(f"statement {text[:60]!r}")

    def call(self, start: int, name: str, text: str) -> Simple:
        arguments = _arguments(text[text.index("(") + 1 : text.rindex(")")])
        if name in _WRITING_CALLS:
            position, effect = _WRITING_CALLS[name], False
        elif _DPI in name:
            position, effect = len(arguments) - 1, True
        else:
            raise UnknownFormError(f"call of {name}")
        target = arguments.pop(position).strip()
        if not re.fullmatch(_NAME, target):
            raise UnknownFormError(f"{name} writes {target!r}")
        reads: frozenset[str] = frozenset().union(*map(names_in, arguments))
        return Simple(start, target, None, reads, effect)


def _without_hints(condition: str) -> str:
    return re.sub(r"\bVL_(UN)?LIKELY\(", "(", condition)


def _arguments(text: str) -> list[str]:
    """Arguments of a call, split at its own commas."""
    found, depth, first = [], 0, 0
    for at, letter in enumerate(text):
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and depth == 0:
            found.append(text[first:at])
            first = at + 1
    return [*found, text[first:]]
