"""How may a core end a stream that need not be legal? What `isa.py` leaves open, and no more.

Sequential execution stops at the first fault. Queues run concurrently, so hardware may meet a
later instruction's fault first, unless a FENCE stands between; of several faults in one instruction
it may meet any first. An instruction that waits for ever is the watchdog's, and which one the core
blames is open. With one faulty instruction and no wait for ever, the report is exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.isa import Instruction, Opcode
from hw.tpu.registers import Error
from sim.hazards import accesses, find_hazards
from sim.liveness import find_lockup
from tests.verification.corruption import Corrupted
from tests.verification.rig import Outcome

RANGE = {
    "scratchpad": Error.SCRATCHPAD_RANGE,
    "accumulators": Error.ACCUMULATOR_RANGE,
    "parameters": Error.PARAMETER_RANGE,
    "lanes": Error.PARAMETER_RANGE,
}


@dataclass
class Verdict:
    """The ends that are right."""

    faults: dict[int, set[Error]] = field(default_factory=dict)
    """By position: what an instruction may be stopped for."""
    watchdog: bool = False
    done: bool = False
    overflow: int = 0
    """A bit for each semaphore that is signalled more often than it can count."""
    defined: bool = False
    """Race-free and done: every byte must equal the oracle's."""
    tags: dict[int, int] = field(default_factory=dict)

    def accepts(self, found: Outcome) -> bool:
        if found.hung:
            return False
        if found.code is Error.NONE:
            return self.done
        if found.code is Error.WATCHDOG:
            return self.watchdog
        if found.code is Error.SEMAPHORE_OVERFLOW:
            return found.detail != 0 and found.detail & ~self.overflow == 0
        if found.code not in self.faults.get(found.position, ()):
            return False
        return found.tag == self.tags.get(found.position, 0)

    def __str__(self) -> str:
        ends = [
            f"{'/'.join(sorted(code.name for code in codes))} at {position}"
            for position, codes in sorted(self.faults.items())
        ]
        ends += [name for name in ("watchdog", "done", "overflow") if getattr(self, name)]
        return " or ".join(ends)


def judge(config: TpuConfig, found: Corrupted, dram_bytes: int, oracle: Outcome) -> Verdict:
    """Every end of `found` that is right, `oracle` being the sequential one."""
    verdict = Verdict()
    if found.entry + found.length * isa.INSTRUCTION_BYTES > dram_bytes:
        # whole program outside, or only its end: reported before anything is given
        verdict.faults = {position: {Error.DRAM_RANGE} for position in range(found.length + 1)}
        return verdict
    seen: list[Instruction] = []
    stopped = has_tile = False
    for position, i in enumerate(found.decoded):
        tag = int.from_bytes(found.words[position][:8], "little") >> 40 & 0xFFFF
        verdict.tags[position] = tag
        if i is None:
            verdict.faults[position] = {Error.ILLEGAL_INSTRUCTION}
            break
        if isa.unbuilt(i):
            verdict.faults[position] = {Error.UNBUILT}
            break
        seen.append(i)
        if i.opcode in (Opcode.FENCE, Opcode.HALT) and (stopped or i.opcode is Opcode.HALT):
            break
        codes = operand_faults(i, config, dram_bytes)
        if i.opcode is Opcode.MATMUL:
            if i.keep and not has_tile:
                codes = {Error.ILLEGAL_OPERAND}
            has_tile = True
        if codes:
            verdict.faults[position] = codes
            stopped = True
    else:
        if not stopped:
            verdict.faults[found.length] = {Error.NO_HALT}
    signals = Counter(
        number for i in seen for number in range(isa.SEMAPHORES) if i.signal >> number & 1
    )
    faulty, mixed, locked = bool(verdict.faults), _mixed(seen), bool(find_lockup(seen, config))
    ends = oracle.code is Error.NONE
    verdict.overflow = sum(1 << s for s, n in signals.items() if n > isa.SEMAPHORE_MAX)
    verdict.watchdog = locked or mixed
    # find_lockup leaves out the tile that waits in the array: what it fears may yet end
    verdict.done = not faulty and (mixed or not locked or ends)
    verdict.defined = ends and not (faulty or mixed or locked) and not find_hazards(seen, config)
    return verdict


def _mixed(program: list[Instruction]) -> bool:
    """Whether a semaphore serves several queues on one side, so that who takes it is open."""
    users: dict[tuple[int, str], set[int]] = {}
    for i in program:
        if i.queue is None:
            continue
        for number in range(isa.SEMAPHORES):
            for side, mask in (("wait", i.wait), ("signal", i.signal)):
                if mask >> number & 1:
                    users.setdefault((number, side), set()).add(int(i.queue))
    return any(len(queues) > 1 for queues in users.values())


def operand_faults(i: Instruction, config: TpuConfig, dram_bytes: int) -> set[Error]:
    """Why an instruction that decodes cannot be carried out, on its own."""
    found: set[Error] = set()
    if i.opcode in (Opcode.LOAD, Opcode.STORE):
        if i.lane + i.row_bytes > config.array:
            return {Error.ILLEGAL_OPERAND}
    sizes = {
        "scratchpad": config.scratchpad_rows,
        "accumulators": config.accumulator_total_rows,
        "parameters": config.parameter_subrows,
        "lanes": config.lane_rows,
    }
    for access in accesses(i):
        if access.memory == "dram":
            if access.rows.min() < 0 or access.rows.max() >= dram_bytes:
                found.add(Error.DRAM_RANGE)
        elif np.any(access.rows >= sizes[access.memory]):
            found.add(RANGE[access.memory])
    return found
