"""A component as Verilog for coverage: processes as written, each branch tagged with its origin.

Yosys keeps `if` and `case` as they are in the description (`proc -nomux`), so that what is
counted is what somebody wrote. A `Tag` leads from a branch back to the lines of Python.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import amaranth
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, _nir

from sim.rtl.verilog import Verilog, from_rtlil

ROOT = Path(__file__).parents[3]
PASSES = "proc -nomux -norom; memory_collect"
WRITE = "write_verilog -sv -norename"
TAG = "arms "
STATE = "fsm_state"


@dataclass(frozen=True)
class Tag:
    """One `m.If` chain or `m.Switch`: its line, and the lines of the statements in each arm."""

    source: str
    arms: list[list[str]]


@dataclass(frozen=True)
class Described:
    """Verilog and the tags that its `(* src = "arms N" *)` name."""

    verilog: Verilog
    tags: list[Tag]
    states: dict[str, dict[int, str]]
    """By module: the names of its FSM's states."""
    origins: dict[str, str]
    """By module: where it is described."""


def where(location: tuple[str, int] | None) -> str:
    """`path:line`, short for files of the hardware and of Amaranth."""
    if location is None:
        return ""
    path = Path(location[0])
    for root, name in ((ROOT / "hw", "hw"), (Path(amaranth.__file__).parent, "amaranth")):
        if path.is_relative_to(root):
            return f"{name}/{path.relative_to(root)}:{location[1]}"
    return f"{path.name}:{location[1]}"


def describe(component: Elaboratable) -> Described:
    """`component`, named `top`, with the origin of every branch, signal and operator."""
    tags: list[Tag] = []
    states: dict[str, dict[int, str]] = {}
    origins: dict[str, str] = {}

    class Emitter(_Emitter):
        all_tags, all_states, all_origins = tags, states, origins

    # Amaranth notes the origin of a branch and drops it when writing RTLIL.
    with (
        patch.object(rtlil, "ModuleEmitter", Emitter),
        patch.object(rtlil, "_src", lambda location: where(location) or None),
    ):
        text = rtlil.convert(component, name="top", emit_src=True)
    return Described(from_rtlil(text, passes=PASSES, write=WRITE), tags, states, origins)


@dataclass
class _Open:
    """A branch being written: which arm of which match, all arms, and its tag."""

    match: int
    arm: int
    arms: list[rtlil.Case]
    tag: Tag


class _TaggedSwitch:
    """An RTLIL switch with a source attribute."""

    def __init__(self, switch: rtlil.Switch, number: int) -> None:
        self.switch, self.number = switch, number

    def emit(self, line) -> None:
        line(f'attribute \\src "{TAG}{self.number}"')
        self.switch.emit(line)


class _Emitter(rtlil.ModuleEmitter):
    """Amaranth's, except that processes are written with a tag at each branch."""

    all_tags: list[Tag]
    all_states: dict[str, dict[int, str]]
    all_origins: dict[str, str]

    def emit(self) -> None:
        super().emit()
        self.all_origins[".".join(self.module.name)] = where(self.module.src_loc)
        for signal, name in self.module.signal_names.items():
            if name == STATE:
                names = self.all_states[".".join(self.module.name)] = {}
                with contextlib.suppress(KeyError):  # from the first number without a name on
                    for number in range(1 << len(signal)):
                        names[number] = signal.decoder(number).rpartition("/")[0]

    def emit_signal_fields(self) -> None:
        """Nothing: fields show the same bits a second time."""

    def emit_assignment_list(self, cell_idx: int, cell: _nir.AssignmentList) -> None:
        target = _nir.Value(_nir.Net.from_cell(cell_idx, bit) for bit in range(len(cell.default)))
        process = self.builder.process(src_loc=cell.src_loc)
        process.assign(self.sigspec(target), self.sigspec(cell.default))
        path: list[_Open] = []
        for assignment in cell.assignments:
            branches = self._branches(assignment.cond)
            same = 0
            while same < min(len(path), len(branches)) and (
                (path[same].match, path[same].arm) == branches[same]
            ):
                same += 1
            # the same chain's next arm: arms exclude each other, so the switch may go on
            again = path[same] if same < min(len(path), len(branches)) else None
            del path[same:]
            for match, arm in branches[same:]:
                if again is not None and again.match == match:
                    path.append(_Open(match, arm, again.arms, again.tag))
                else:
                    path.append(self._open(path[-1].arms[path[-1].arm] if path else process,
                                           match, arm))  # fmt: skip
                again = None
            part = target[assignment.start : assignment.start + len(assignment.value)]
            inner = path[-1].arms[path[-1].arm] if path else process
            inner.assign(self.sigspec(part), self.sigspec(assignment.value))
            if path:
                source, tag = where(assignment.src_loc), path[-1].tag
                # views and `m.next` assign for their caller: take the line of the branch
                tag.arms[path[-1].arm].append(tag.source if "amaranth" in source else source)

    def _branches(self, condition: _nir.Net) -> list[tuple[int, int]]:
        """(match, arm) of every branch around a statement, outermost first."""
        found = []
        while condition != _nir.Net.from_const(1):
            found.append((condition.cell, condition.bit))
            condition = self.netlist.cells[condition.cell].en
        return found[::-1]

    def _open(self, parent: rtlil.Process | rtlil.Case, match: int, arm: int) -> _Open:
        cell = self.netlist.cells[match]
        tests = [net for net in cell.inputs if net != _nir.Net.from_const(1)]
        value = self.netlist.cells[tests[0].cell].value if tests else _nir.Value()
        switch = parent.switch(self.sigspec(value))
        parent.contents[-1] = _TaggedSwitch(switch, len(self.all_tags))
        tag = Tag(where(cell.src_loc), [[] for _ in cell.inputs])
        self.all_tags.append(tag)
        arms = [
            switch.default()
            if net == _nir.Net.from_const(1)
            else switch.case(self.netlist.cells[net.cell].patterns)
            for net in cell.inputs
        ]
        return _Open(match, arm, arms, tag)
