"""Scratchpad against a table of rows: six ports at once, priorities, masks, every bank."""

import random
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tb.layouts import bench_config
from hw.tb.streams import start_clock
from hw.tpu.config import TpuConfig
from hw.tpu.scratchpad import Scratchpad

# the default's lanes and banks; its depth would only make the build slow
CASES = {
    text.partition(",")[0]: (lambda text=text: Scratchpad(TpuConfig.parse(text)), {"config": text})
    for text in ("tiny", "default,scratchpad_rows=512")
}
READERS = ("array", "second", "vector", "store")
WRITERS = ("vector_write", "load")


def expand(mask: int, n: int) -> int:
    return sum(0xFF << 8 * lane for lane in range(n) if mask >> lane & 1)


@cocotb.test
@cocotb.parametrize(("busy", [0.3, 0.9]), ("spread", [1, 100]))
async def six_ports(dut: Any, busy: float, spread: int) -> None:
    """Breaks if a bank serves the wrong port, a request is lost, or a mask touches other lanes.

    `spread` 1 keeps all ports in one bank, on few rows; otherwise they go everywhere.
    """
    config = bench_config()
    n, size = config.array, config.bank_rows
    table: dict[int, int] = {}
    for name in READERS + WRITERS:
        getattr(dut, f"{name}__valid").value = 0
    await start_clock(dut)
    if spread == 1:
        bank = random.randrange(config.scratchpad_banks)
        rows = [bank * size + row for row in (0, 1, size // 2, size - 1)]
    else:
        rows = [b * size + row for b in range(config.scratchpad_banks) for row in (0, size - 1)]
        rows += [random.randrange(config.scratchpad_rows) for _ in range(8)]

    unwritten = list(rows)
    asked: dict[str, int | None] = dict.fromkeys(READERS)
    offered: dict[str, tuple[int, int, int] | None] = dict.fromkeys(WRITERS)
    arriving: dict[str, int] = {}
    counts = dict.fromkeys(READERS + WRITERS, 0)
    for _ in range(1500):
        for name in READERS:
            if asked[name] is None and len(table) == len(set(rows)) and random.random() < busy:
                asked[name] = random.choice(rows)
            getattr(dut, f"{name}__valid").value = int(asked[name] is not None)
            row = asked[name]
            getattr(dut, f"{name}__row").value = random.choice(rows) if row is None else row
        for name in WRITERS:
            if offered[name] is None and (unwritten or random.random() < busy):
                mask = random.choice(((1 << n) - 1, random.getrandbits(n), 0))
                row = random.choice(rows)
                if unwritten:
                    row, mask = unwritten.pop(), (1 << n) - 1
                offered[name] = (row, random.getrandbits(8 * n), mask)
            getattr(dut, f"{name}__valid").value = int(offered[name] is not None)
            row, word, mask = offered[name] or (random.choice(rows), 0, (1 << n) - 1)
            getattr(dut, f"{name}__row").value = row
            getattr(dut, f"{name}__data").value = word
            getattr(dut, f"{name}__mask").value = mask
        await FallingEdge(dut.clk)
        for name, word in arriving.items():
            assert int(getattr(dut, f"{name}__data").value) == word, name
        arriving = {}
        taken: set[int] = set()
        for name in READERS:
            row = asked[name]
            if row is None:
                continue
            granted = row // size not in taken
            taken.add(row // size)
            assert int(getattr(dut, f"{name}__ready").value) == granted, name
            if granted:
                arriving[name], asked[name] = table[row], None  # the old row, if also written
                counts[name] += 1
        taken = set()
        for name in WRITERS:
            if offered[name] is None:
                continue
            row, word, mask = offered[name]
            granted = row // size not in taken
            taken.add(row // size)
            assert int(getattr(dut, f"{name}__ready").value) == granted, name
            if granted:
                keep = table.get(row, 0) & ~expand(mask, n)
                table[row], offered[name] = keep | word & expand(mask, n), None
                counts[name] += 1
        await RisingEdge(dut.clk)
    assert counts["array"] > 100 and counts["vector_write"] > 100, counts
