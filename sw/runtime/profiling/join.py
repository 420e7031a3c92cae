"""Join: the programs of one run, one after the other, as a single program with a single trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hw.tpu.isa import Instruction, Queue
from hw.tpu.program import TpuProgram
from sim.attribution import Attribution, attribute
from sim.trace import Span, Trace
from sw.runtime.recording import LayerFacts, Recording


@dataclass(frozen=True, eq=False)
class Joined:
    """`program` serves for its config, tags and instructions only; `layers` by tag."""

    program: TpuProgram
    trace: Trace
    owners: Attribution
    layers: tuple[LayerFacts, ...]
    counters: dict[str, int]
    seconds: float

    @property
    def cycles(self) -> int:
        return self.counters["cycles"]


def join(recordings: Sequence[Recording]) -> Joined:
    """The runs as one; tags are numbered anew where there are several."""
    first = recordings[0]
    instructions: list[Instruction] = []
    layers: list[LayerFacts] = []
    spans: list[Span] = []
    array: list[Any] = []
    tags: dict[int, str] = {}
    counters: dict[str, int] = {}
    end = 0
    numbers = dict.fromkeys(Queue, 0)
    for item in recordings:
        trace, base = item.result.trace, len(layers)
        own = item.program.instructions
        instructions += [_moved(i, base) for i in own] if base else own
        spans += [Span(s.queue, s.number + numbers[s.queue], s.begin + end, s.end + end)
                  for s in trace.spans]  # fmt: skip
        array += [(begin + end, state) for begin, state in trace.array]
        tags |= {tag + base: name for tag, name in item.program.tags.items()}
        layers += item.layers
        for name, value in item.result.counters.items():
            counters[name] = counters.get(name, 0) + value
        for queue in Queue:
            numbers[queue] += sum(i.queue is queue for i in own)
        end += trace.end
    program = replace(
        first.program,
        instructions=tuple(instructions),
        tags=tags,
        macs=sum(item.program.macs for item in recordings),
    )
    trace = Trace(tuple(spans), tuple(array), end)
    seconds = sum(item.result.seconds for item in recordings)
    return Joined(program, trace, attribute(trace, program), tuple(layers), counters, seconds)


def _moved(instruction: Instruction, base: int) -> Instruction:
    values = {**instruction.values, "tag": instruction.tag + base}
    return Instruction(instruction.opcode, values) if instruction.queue is not None else instruction
