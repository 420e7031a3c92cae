"""Coverage points: what Verilator counted, in terms of the description it was made from.

`Reader` reads the Verilog once; `points` joins it with a `coverage.dat`. A point is one of

- *line*: a statement under a condition was executed; one point for each signal it drives,
- *branch*: an arm of an `m.If` or `m.Switch` was taken (also the missing else), a side of a `Mux`,
- *expression*: a term of a Boolean operator decided its result,
- *toggle*: a bit of a named signal rose, or fell,
- *fsm*: a state was entered, a transition was taken.

Not points: resets, which Amaranth adds to every register; results of operators, that nobody
named; words of memories; clocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.verification.coverage.emit import STATE, TAG, Described, Tag

KINDS = ("line", "branch", "expression", "toggle", "fsm")


@dataclass(frozen=True)
class Point:
    """`unit` is the path of the instance, `source` a line of Python."""

    kind: str
    unit: str
    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source} {self.name}"


@dataclass
class _Chain:
    """An `if` chain, or a `case` of `value`, as it is read."""

    tag: Tag
    number: int
    value: str
    arm: int = 0


@dataclass(frozen=True)
class _Branch:
    """A line of Verilog that begins an arm of a chain."""

    chain: _Chain
    arm: int
    module: str
    target: str
    condition: str


class Reader:
    """Where each line of the Verilog comes from; `text` has covers of the FSMs added to it."""

    def __init__(self, described: Described) -> None:
        self.tags, self.states = described.tags, described.states
        self.origins = {
            _RENUMBERED.sub("", module): origin for module, origin in described.origins.items()
        }
        self.declared: dict[int, tuple[str, str, bool]] = {}
        """Line: (source, name, is a memory)."""
        self.assigned: dict[int, tuple[str, str]] = {}
        """Line: (source, target)."""
        self.branches: dict[int, _Branch] = {}
        self.covers: dict[int, tuple[str, str]] = {}
        """Line: (source, state or transition)."""
        self.expressions: dict[str, dict[str, str]] = {}
        """By module: what each unnamed operator computes."""
        self.registers: dict[tuple[str, str], str] = {}
        """(module, next value): name of the register."""
        lines = described.verilog.text.splitlines()
        self.text = "\n".join(self._add_covers(lines, described.states)) + "\n"
        self._read(self.text.splitlines())

    # --- the machines -------------------------------------------------------------------------

    def _add_covers(self, lines: list[str], states: dict[str, dict[int, str]]) -> Iterator[str]:
        number, module, first = 0, "", 0
        for at, line in enumerate(lines):
            if begins := _MODULE.match(line):
                module, first = begins[1], at
            if line.startswith("endmodule") and module in states:
                names = states[module]
                following, reset, arcs = _machine(lines[first:at])
                for name, condition in (
                    *((f"state {names[n]}", f"{STATE} == {n}") for n in names),
                    *(
                        (f"{names[a]} -> {names[b]}", f"{STATE} == {a} && {following} == {b}")
                        for a, b in arcs
                    ),
                ):
                    number += 1
                    self.covers[number] = (module, name)
                    yield f"  cover property (@(posedge clk) !({reset}) && {condition});"
            number += 1
            yield line

    # --- everything else ----------------------------------------------------------------------

    def _read(self, lines: list[str]) -> None:
        module = source = target = ""
        pending: Tag | None = None
        chains = 0
        open_: dict[int, _Chain] = {}
        for number, line in enumerate(lines, 1):
            indent = len(line) - len(line.lstrip())
            if origin := _SOURCE.match(line):
                if origin[1].startswith(TAG):
                    pending = self.tags[int(origin[1].removeprefix(TAG))]
                else:
                    source = origin[1]
                continue
            if line.startswith("  (*"):
                continue
            if begins := _MODULE.match(line):
                module = begins[1]
                self.expressions[module] = {}
            elif declares := _DECLARATION.match(line):
                self.declared[number] = (source, _name(declares[1]), bool(declares[2]))
            elif assigns := _ASSIGN.match(line):
                found = _ANY_SOURCE.search(line)
                name = _name(assigns[1])
                self.assigned[number] = (found[1] if found else "", name)
                if name.startswith("$"):
                    value = _ANY_ATTRIBUTE.sub("", assigns[2]).rstrip("; ")
                    self.expressions[module][name] = value.replace("\\", "")
            elif holds := _HOLDS.match(line):
                self.registers[module, _name(holds[2])] = _name(holds[1])
            elif (begins := _BEGIN.match(line)) and pending is not None:
                chains += 1
                open_[indent] = chain = _Chain(pending, chains, begins[2] or "")
                if begins[1]:
                    self.branches[number] = _Branch(chain, 0, module, target, begins[1])
                pending = None
            elif (again := _ELSE_IF.match(line)) and indent in open_:
                chain = open_[indent]
                chain.arm += 1
                self.branches[number] = _Branch(chain, chain.arm, module, target, again[1])
            elif (item := _ITEM.match(line)) and indent - 2 in open_:
                chain = open_[indent - 2]
                condition = f"{chain.value} is {self._state(module, chain.value, item[1])}"
                self.branches[number] = _Branch(chain, chain.arm, module, target, condition)
                chain.arm += 1
            elif first := _FIRST.match(line):
                target = _name(first[1])
            source = ""

    def _state(self, module: str, value: str, item: str) -> str:
        """The name of a state, where `value` is one, else `item` as it is."""
        number = item.partition("'h")[2]
        if value != STATE or not number or module not in self.states:
            return item
        return self.states[module].get(int(number, 16), item)

    def readable(self, module: str, text: str) -> str:
        """`text` with unnamed operators replaced by what they compute."""
        known, text = self.expressions.get(module, {}), text.replace("\\", "")

        def look(name: re.Match[str]) -> str:
            return f"({known[name[0]]})" if name[0] in known else name[0]

        for _ in range(4):
            if len(text) > 160:
                break
            text = _OPERATOR.sub(look, text)
        return " ".join(text.replace(" )", ")").split())

    def points(self, dat: str) -> Iterator[tuple[Point, int]]:
        """Every point in the text of a `coverage.dat`, with its count; some several times."""
        for fields, count in _counts(dat):
            kind, _, module = fields["page"].partition("/")
            unit = _RENUMBERED.sub("", module)
            line, what = int(fields["l"]), _plain(fields.get("o", ""))
            if kind == "v_user":
                _, name = self.covers[line]
                yield Point("fsm", unit, "", name), count
            elif kind == "v_toggle":
                yield from self._toggle(unit, line, what, count)
            elif kind == "v_expr":
                source, _ = self.assigned.get(line, ("", ""))
                yield Point("expression", unit, source, self.readable(module, what)), count
            elif line in self.branches:
                yield from self._branch(unit, self.branches[line], what, count)
            elif what.startswith("cond_"):
                source, name = self.assigned.get(line, ("", ""))
                value = self.readable(module, name)
                yield Point("branch", unit, source, f"{what[5:]} of {value}"), count

    def _toggle(self, unit: str, line: int, what: str, count: int) -> Iterator[tuple[Point, int]]:
        source, name, memory = self.declared.get(line, ("", "", True))
        unnamed = name.startswith(("$", "port$")) and not name.startswith("$signal")
        if not memory and not unnamed and name not in ("clk", "rst"):
            yield Point("toggle", unit, source, what), count

    def _branch(
        self, unit: str, branch: _Branch, what: str, count: int
    ) -> Iterator[tuple[Point, int]]:
        tag, module = branch.chain.tag, branch.module
        if tag.source.startswith("amaranth/hdl"):
            return
        target = self.registers.get((module, branch.target), branch.target)
        condition = self.readable(module, branch.condition)
        if what == "else":
            yield Point("branch", unit, tag.source, f"not {condition}"), count
            return
        yield Point("branch", unit, tag.source, condition), count
        for source in tag.arms[branch.arm] if branch.arm < len(tag.arms) else ():
            yield Point("line", unit, source, f"{target} if {condition}"), count


def _plain(text: str) -> str:
    """Verilator's names as they were."""
    return _ENCODED.sub(lambda code: chr(int(code[1], 16)), text)


def _counts(dat: str) -> Iterator[tuple[dict[str, str], int]]:
    """Keys and count of each line of a `coverage.dat`."""
    for line in dat.splitlines():
        if line.startswith("C '"):
            keys, _, count = line[3:].rpartition("' ")
            pairs = (item.split("\x02", 1) for item in keys.split("\x01") if item)
            yield {key: value for key, value in pairs}, int(count)


def _machine(lines: list[str]) -> tuple[str, str, list[tuple[int, int]]]:
    """Of an FSM: the name of its next state, its resets, the transitions of the description."""
    held = next(m for line in lines if (m := _HOLDS.match(line)) and _name(m[1]) == STATE)
    following = held[2]
    begin = next(n for n, line in enumerate(lines) if line.strip() == f"{following}  = {STATE};")
    arcs, resets, state = set(), [], None
    for line in lines[begin + 1 :]:
        if line == "  end":
            break
        if reset := re.match(r"    if \((.*)\) begin", line):
            resets.append(reset[1])
        if resets:
            continue
        if item := re.match(r"      \d+'h([0-9a-f]+):$", line):
            state = int(item[1], 16)
        elif (moves := re.search(rf"{re.escape(following)}  = \d+'h([0-9a-f]+);", line)) and (
            state is not None
        ):
            arcs.add((state, int(moves[1], 16)))
    return following, " || ".join(resets), sorted(arc for arc in arcs if arc[0] != arc[1])


_MODULE = re.compile(r"module \\?([^\s(]+)")
_OPERATOR = re.compile(r"(?<![\w$])\$\d+\b")
_ENCODED = re.compile(r"__0([0-9A-Fa-f]{2})")
_RENUMBERED = re.compile(r"\$\d+")
"""What keeps module names apart when a later one equals a port's."""
_SOURCE = re.compile(r'\s*\(\* src = "([^"]*)" \*\)$')
_ANY_SOURCE = re.compile(r'src = "([^"]*)"')
_ANY_ATTRIBUTE = re.compile(r"\(\* [^*]* \*\) ")
_DECLARATION = re.compile(
    r"\s*(?:input|output|wire|reg|logic|inout)\s+(?:reg |wire |logic )?(?:signed )?"
    r"(?:\[\d+:\d+\] )?(\S+)\s*(\[[\d:]+\])?\s*(?:=.*)?;"
)
_ASSIGN = re.compile(r"\s*assign (\S+)\s*(?:\[[\d:]+\]\s*)?= (.*)$")
_HOLDS = re.compile(r"\s*(\S+)\s+<= (\S+)\s*;")
_FIRST = re.compile(r"    (\S+)\s*(?:\[[\d:]+\])?\s*= ")
_BEGIN = re.compile(r"\s*(?:if \((.*)\) begin$|casez \((.*)\)$)")
_ELSE_IF = re.compile(r"\s*end else if \((.*)\) begin$")
_ITEM = re.compile(r"\s*(\S.*|default):$")


def _name(token: str) -> str:
    return token.removeprefix("\\").strip()
