"""Random instruction streams on the Verilated core: breaks if RTL and oracle part ways."""

from collections import Counter
from random import Random

import numpy as np
import pytest

from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.isa import Instruction, Memory
from hw.tpu.registers import Error
from sim.functional import FunctionalSimulator
from sim.hazards import accesses, find_hazards
from tests.verification import cosim, generator
from tests.verification.corruption import Corrupted, corrupt
from tests.verification.rig import Outcome, Rig
from tests.verification.verdict import judge

TINY = PRESETS["tiny"]


def test_random_programs_and_corruptions_agree(seed):
    campaign = cosim.run(600, seed, {"tiny": 1}, progress=False)
    assert not campaign.failures, campaign.failures[0]
    assert sum(campaign.programs.values()) == 600
    reached = {name.split()[0] for name, *_ in campaign.coverage.instructions}
    assert reached == {"LOAD", "MATMUL", "VECTOR", "STORE", "FENCE", "HALT"}
    assert len({error for _, error, _ in campaign.coverage.ends}) >= 6


def test_ctrl_c_leaves_what_was_found(monkeypatch):
    """Half an hour of programs must not be lost with the last one."""
    ran = []

    def run_chunk(name, seed, numbers, illegal, advance):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(name)
        return cosim.Campaign(Counter({name: len(numbers)}))

    monkeypatch.setattr(cosim, "run_chunk", run_chunk)
    campaign = cosim.run(6000, 1, {"tiny": 5, "large": 1}, progress=False)
    assert campaign.interrupted and sum(campaign.programs.values()) > 0
    assert campaign.programs == sum((Counter({n: cosim.CHUNK[n]}) for n in ran), Counter())
    assert "interrupted" in campaign.summary()


@pytest.mark.parametrize("preset", ["ulx3s", "default"])
def test_other_cores_agree(seed, preset):
    """Memories are read back after each program; only `make cosim` builds their watched cores."""
    campaign = cosim.run_chunk(preset, seed, range(0, 25 * 8, 8), cosim.ILLEGAL, int, watched=False)
    assert not campaign.failures, campaign.failures[0]


def test_a_difference_is_found_and_shrunk(seed, monkeypatch):
    """A wrong oracle stands for a wrong core."""
    right = FunctionalSimulator._vector

    def wrong(self, i):
        right(self, Instruction(i.opcode, {**i.values, "low": -128}))

    monkeypatch.setattr(FunctionalSimulator, "_vector", wrong)
    monkeypatch.setattr(cosim, "MOST_FAILURES", 1)
    campaign = cosim.run(200, seed, {"tiny": 1}, illegal=0, progress=False)
    [failure] = campaign.failures
    assert failure.startswith("legal program: instruction") and "VECTOR" in failure.splitlines()[0]
    shrunk = failure.split("# shrunk")[1]
    listing = [line for line in shrunk.splitlines() if line[:4].strip().isdigit()]
    assert len(listing) <= 3 and any("VECTOR" in line for line in listing)


@pytest.mark.parametrize("memory", ["scratchpad", "weights", "parameters", "lanes", "DRAM"])
def test_every_memory_is_compared_per_instruction(seed, monkeypatch, memory):
    """One wrong bit in what one instruction wrote is blamed on it, whoever reads it later."""
    kind = "STORE" if memory == "DRAM" else "LOAD"
    right = FunctionalSimulator.step

    def wrong(self, i):
        right(self, i)
        if i.opcode.name != kind or memory not in ("DRAM", Memory(i.memory).name.lower()):
            return
        if memory == "weights":
            self.weights[-1] = self.weights[-1] ^ np.int8(1)
        else:
            written = next(access for access in accesses(i) if access.writes)
            getattr(self, memory.lower())[written.rows[-1]] ^= 1

    monkeypatch.setattr(FunctionalSimulator, "step", wrong)
    rig = Rig(TINY)
    for number in range(60):
        program = generator.generate(TINY, seed + number)
        difference, _ = rig.compare(program, dump=False)
        loads = [i for i in program.instructions if i.opcode.name == kind]
        if memory != "DRAM":
            loads = [i for i in loads if Memory(i.memory).name.lower() == memory]
        assert bool(difference) == bool(loads)
        if loads:
            assert difference.startswith(f"instruction {program.instructions.index(loads[0])}, ")
            assert memory in difference
            break
        rig.recover()
    rig.close()
    assert loads


def test_generated_semaphores_are_needed():
    """Programs that are race-free without a semaphore would test none."""
    racy = 0
    for seed in range(40):
        program = generator.generate(TINY, seed)
        assert find_hazards(program.instructions, TINY) == []
        bare = [placed.instruction for placed in program.bare]
        racy += bool(find_hazards(bare, TINY))
    assert racy > 10


def test_a_seed_gives_the_same_program():
    one, other = generator.generate(TINY, 5), generator.generate(TINY, 5)
    assert one.listing() == other.listing() and (one.image == other.image).all()
    assert corrupt(one, Random(3)) == corrupt(other, Random(3))


@pytest.mark.parametrize(
    ("program", "right", "wrong"),
    [
        # the only fault is exact
        ([isa.make(isa.Opcode.LOAD, base=9999), isa.make(isa.Opcode.HALT)],
         [(Error.SCRATCHPAD_RANGE, 0)], [(Error.NONE, 0), (Error.SCRATCHPAD_RANGE, 1)]),
        # of two queues' faults either may come first, unless a FENCE stands between
        ([isa.make(isa.Opcode.LOAD, base=9999), isa.make(isa.Opcode.STORE, base=9999)],
         [(Error.SCRATCHPAD_RANGE, 0), (Error.SCRATCHPAD_RANGE, 1)], [(Error.NO_HALT, 2)]),
        ([isa.make(isa.Opcode.LOAD, base=9999), isa.make(isa.Opcode.FENCE),
          isa.make(isa.Opcode.STORE, base=9999)],
         [(Error.SCRATCHPAD_RANGE, 0)], [(Error.SCRATCHPAD_RANGE, 2)]),
        ([isa.make(isa.Opcode.STORE, wait=1), isa.make(isa.Opcode.HALT)],
         [(Error.WATCHDOG, 0)], [(Error.NONE, 0)]),
        ([isa.make(isa.Opcode.FENCE)], [(Error.NO_HALT, 1)], [(Error.NONE, 0)]),
    ],
)  # fmt: skip
def test_the_verdict_on_known_streams(program, right, wrong):
    """A verdict that accepts anything would hide every bug."""
    words = tuple(map(isa.encode, program))
    found = Corrupted("", words, 0, len(words), tuple(program))
    oracle = Outcome(Error.NONE)
    for position, i in enumerate(program):
        if i.wait:
            oracle = Outcome(Error.WATCHDOG, position)
    verdict = judge(TINY, found, generator.DRAM_BYTES, oracle)
    assert all(verdict.accepts(Outcome(*end)) for end in right), verdict
    assert not any(verdict.accepts(Outcome(*end)) for end in wrong), verdict
