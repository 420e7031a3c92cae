"""What the units of the core say to each other: commands, completions, faults and row ports."""

from amaranth.lib import data
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out, Signature

from hw.tpu import registers
from hw.tpu.config import TpuConfig
from hw.tpu.isa import INSTRUCTION_BITS, ROW_BITS, SEMAPHORES, Format

POSITION_BITS = 24
"""Bits of an instruction's number in its program."""


class Fault(Enum, shape=4):
    """`registers.Error` as a hardware type."""

    locals().update({error.name: error.value for error in registers.Error})


FETCHED = data.StructLayout({"word": INSTRUCTION_BITS, "position": POSITION_BITS})
"""An instruction as fetched, with its number in the program."""


def command(fmt: type[Format]) -> data.StructLayout:
    """Payload of a unit's command stream: the decoded instruction and its number.

    A unit may start a command as soon as it takes it: semaphores were taken before.
    """
    return data.StructLayout({"op": fmt.layout, "position": POSITION_BITS})


class Origin(data.Struct):
    """Which instruction something belongs to; carried along by pipelines."""

    position: POSITION_BITS
    tag: 16
    signal: SEMAPHORES


class Completion(data.Struct):
    """A strobe: an instruction of this unit has completed, in order; signal these semaphores."""

    valid: 1
    signal: SEMAPHORES


class FaultReport(data.Struct):
    """A strobe: this instruction cannot go on. The core stops; the first report is kept."""

    valid: 1
    code: Fault
    position: POSITION_BITS
    tag: 16
    detail: 32


class RowRead(Signature):
    """Read rows of `width` bits. `data` is the row asked for in the previous accepted cycle.

    A request is accepted when `valid & ready`; the initiator holds it until then. `data` stays
    put only for that one cycle.
    """

    def __init__(self, width: int) -> None:
        super().__init__({"valid": Out(1), "row": Out(ROW_BITS), "ready": In(1), "data": In(width)})


class RowWrite(Signature):
    """Write int8 rows under a lane mask; accepted when `valid & ready`, held until then."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "row": Out(ROW_BITS),
                "data": Out(config.array * 8),
                "mask": Out(config.array),
                "ready": In(1),
            }
        )
