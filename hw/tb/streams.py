"""Drivers and monitors for Amaranth streams in cocotb, with random stalls on both sides.

A stream `name` has pins `name__payload`, `name__valid`, `name__ready`; its payload travels as an
unsigned int. Stalls are seeded from cocotb's seed and the stream's name, so that adding a stream
to a bench does not change the others.
"""

import random
import zlib
from collections.abc import Iterable
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

CLOCK_NS = 10


async def start_clock(dut: Any) -> None:
    """Start `clk`, hold `rst` for four cycles, return just after a rising edge out of reset."""
    Clock(dut.clk, CLOCK_NS, unit="ns").start()
    dut.rst.value = 1
    for _ in range(4):
        await RisingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


class _End:
    """Pins of one stream and its own random numbers; `stall` is the probability of a pause."""

    def __init__(self, dut: Any, name: str, stall: float) -> None:
        if not 0 <= stall < 1:
            raise ValueError(f"stall of stream {name} must lie in 0..1, 1 excluded: {stall}")
        self.name, self.stall, self.clk = name, stall, dut.clk
        self.payload = getattr(dut, f"{name}__payload", None)
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self.random = random.Random(cocotb.RANDOM_SEED ^ zlib.crc32(name.encode()))

    def pauses(self) -> bool:
        return self.random.random() < self.stall


class StreamDriver(_End):
    """Feeds a stream input of the design; `valid` never waits for `ready`, payload is held."""

    def __init__(self, dut: Any, name: str, *, stall: float = 0.3) -> None:
        super().__init__(dut, name, stall)
        self.valid.value = 0

    async def send(self, payloads: Iterable[int]) -> None:
        """Send all payloads in order; returns in the cycle after the last was taken."""
        for payload in payloads:
            while self.pauses():
                self.valid.value = 0
                await RisingEdge(self.clk)
            self.payload.value = payload
            self.valid.value = 1
            while True:
                await FallingEdge(self.clk)
                taken = bool(self.ready.value)
                await RisingEdge(self.clk)
                if taken:
                    break
        self.valid.value = 0


class StreamMonitor(_End):
    """Takes a stream output of the design and checks that offers are held until taken.

    `received` grows as transfers happen; `cycles` holds the clock cycle of each, counted from
    the construction of the monitor.
    """

    def __init__(self, dut: Any, name: str, *, stall: float = 0.3) -> None:
        super().__init__(dut, name, stall)
        self.received: list[int] = []
        self.cycles: list[int] = []
        self.ready.value = 0
        self._task = cocotb.start_soon(self._run())

    async def receive(self, count: int, *, limit: int = 100_000) -> list[int]:
        """The first `count` payloads since the last `receive`; AssertionError after `limit`."""
        for _ in range(limit):
            if len(self.received) >= count:
                taken, self.received = self.received[:count], self.received[count:]
                return taken
            await RisingEdge(self.clk)
        raise AssertionError(
            f"stream {self.name}: {len(self.received)} of {count} payloads in {limit} cycles"
        )

    async def _run(self) -> None:
        cycle = 0
        offered: int | None = None  # payload that was valid and not taken
        while True:
            self.ready.value = int(not self.pauses())
            # Half a cycle is enough for combinational paths; then everything is stable.
            await FallingEdge(self.clk)
            await ReadOnly()
            valid, ready = bool(self.valid.value), bool(self.ready.value)
            payload = self.payload.value.to_unsigned() if valid else None
            if offered is not None:
                assert valid, f"stream {self.name}: valid fell before ready, cycle {cycle}"
                assert payload == offered, (
                    f"stream {self.name}: payload changed from {offered:#x} to {payload:#x} "
                    f"while waiting for ready, cycle {cycle}"
                )
            offered = payload if valid and not ready else None
            if valid and ready and payload is not None:
                self.received.append(payload)
                self.cycles.append(cycle)
            cycle += 1
            await RisingEdge(self.clk)
