"""The array's stand-in: breaks if it differs from the array of processing elements in any cycle."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module, Signal

from hw.tpu.array import SystolicArray
from hw.tpu.config import TpuConfig
from sim.execute import execute, load
from sim.rtl.array_stand_in import substitute
from sim.rtl.engine import RtlSimulator
from sim.rtl.model import RtlModel
from sw.compiler.tpu.compile import compile_network
from tests.compiler.tpu.random_networks import random_network
from tests.sim.rtl.copy_engine import CopyEngine

CYCLES = 20_000


class Exerciser(CopyEngine):
    """An array fed at random within its contract; `trace` folds all of its result.

    Tiles shift in whenever there is room for one, in the cycle of a switch too, and rows are new
    in every cycle.
    """

    def __init__(self, n: int, seed: int) -> None:
        super().__init__()
        self.n, self.seed = n, seed

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self.n
        m.submodules.array = array = SystolicArray(TpuConfig.parse(f"default,array={n}"))
        choices, row, tile_row = (
            self._random(m, name, bits)
            for name, bits in (("choices", 64), ("row", n * 8), ("tile_row", n * 8))
        )
        left, ready, begin = Signal(range(n + 1)), Signal(), Signal()
        m.d.comb += [
            array.row.eq(row),
            array.tile_row.eq(tile_row),
            array.switch.eq(ready & (choices[:2] == 0)),
            begin.eq((left == 0) & (~ready | array.switch) & choices[5]),
            array.shift.eq(begin | (left != 0)),
            array.shift_first.eq(begin),
        ]
        with m.If(array.switch):
            m.d.sync += ready.eq(0)
        with m.If(begin):
            m.d.sync += left.eq(n - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += ready.eq(1)
        folded = 0
        for j in range(n):
            folded ^= array.result.word_select(j, 32).rotate_left(j) << (j % 2 * 32)
        m.d.comb += self.trace.eq(folded)
        return m

    def _random(self, m: Module, name: str, bits: int) -> Signal:
        """New bits in every cycle, by xorshift."""
        start = random.Random(f"{self.seed} {name}").getrandbits(bits) | 1
        word = Signal(bits, name=f"random_{name}", init=start)
        first, second = Signal(bits), Signal(bits)
        m.d.comb += [first.eq(word ^ (word << 13)), second.eq(first ^ (first >> 7))]
        m.d.sync += word.eq(second ^ (second << 17))
        return word


@pytest.mark.parametrize("n", [4])  # 16 takes minutes to build
def test_equals_the_array_in_every_cycle(n, seed):
    seen = []
    for stand_in in (False, True):
        design = Exerciser(n, seed)
        with RtlModel(
            lambda d=design: d, dram_bytes=64, progress=False, stand_in=stand_in
        ) as model:
            model.record_events()
            model.run(CYCLES, until_irq=False)
            seen.append(model.trace_events())
    assert len(seen[0]) > 0.9 * CYCLES  # nearly every row gives another result
    np.testing.assert_array_equal(seen[0], seen[1])


def test_programs_run_the_same(seed):
    config = TpuConfig.parse("tiny")
    engines = [RtlSimulator(config, stand_in=stand_in) for stand_in in (False, True)]
    for number in range(60):
        network, chosen, inputs = random_network(seed + number)
        if chosen.name != "tiny":
            continue
        program = compile_network(network, config)
        found = []
        for engine in engines:
            load(engine, program)
            found.append(execute(engine, program, inputs))
        assert found[0][1].counters == found[1][1].counters
        for name, values in found[0][0].items():
            np.testing.assert_array_equal(values, found[1][0][name])
    for engine in engines:
        engine.close()


def test_other_designs_stay_as_they_are():
    text = "module top(clk);\n  input clk;\nendmodule\n"
    assert substitute(text) == text
