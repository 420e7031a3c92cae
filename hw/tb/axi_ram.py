"""A DRAM behind an AXI4 port of the whole core: random latency, pauses and bus errors."""

import random
from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tpu.config import TpuConfig

OKAY, SLVERR = 0, 2


class AxiRam:
    """Serves reads and writes on pins `m_axi__...` from `data`, which lies at bus address `base`.

    `latency` is a range of cycles, `stall` the probability of a pause on each channel. Reads of
    a bus word in `bad_reads` and bursts that write to one in `bad_writes` answer SLVERR.
    `outstanding` counts bursts that are not answered yet.
    """

    def __init__(self, dut: Any, config: TpuConfig, size: int, base: int = 0) -> None:
        self.dut, self.config, self.base = dut, config, base
        self.data = np.zeros(size, np.uint8)
        self.latency, self.stall = (1, 40), 0.3
        self.bad_reads: set[int] = set()
        self.bad_writes: set[int] = set()
        self.outstanding = 0
        self.random = random.Random(random.getrandbits(32))
        self._cycle = 0
        self._beats: deque[tuple[int, int, bool]] = deque()  # due, address, last
        self._writes: deque[tuple[int, int]] = deque()  # address, beats
        self._words: deque[tuple[int, int, int]] = deque()  # data, strobe, last
        self._answers: deque[tuple[int, int]] = deque()  # due, response
        for name in ("arready", "awready", "wready", "rvalid", "bvalid", "rid", "bid"):
            self._pin(name).value = 0
        cocotb.start_soon(self._run())

    def _pin(self, name: str) -> Any:
        return getattr(self.dut, f"m_axi__{name}")

    def _get(self, name: str) -> int:
        return int(self._pin(name).value)

    def _goes(self) -> bool:
        return self.random.random() >= self.stall

    def _due(self) -> int:
        return self._cycle + self.random.randint(*self.latency)

    def _offset(self, address: int, beats: int) -> int:
        size = self.config.bus_bytes
        assert address % size == 0 and address // 4096 == (address + beats * size - 1) // 4096
        offset = address - self.base
        assert offset >= 0 and offset + beats * size <= len(self.data), f"{address:#x}: no DRAM"
        return offset

    async def _run(self) -> None:
        reading = answering = False
        while True:
            for name in ("arready", "awready", "wready"):
                self._pin(name).value = int(self._goes())
            if not reading and self._beats and self._beats[0][0] <= self._cycle and self._goes():
                reading = True
                _, offset, last = self._beats.popleft()
                word = self.data[offset : offset + self.config.bus_bytes].tobytes()
                self._pin("rdata").value = int.from_bytes(word, "little")
                self._pin("rlast").value = int(last)
                self._pin("rresp").value = SLVERR if offset in self.bad_reads else OKAY
            self._pin("rvalid").value = int(reading)
            if not answering and self._answers and self._answers[0][0] <= self._cycle:
                answering = True
                self._pin("bresp").value = self._answers.popleft()[1]
            self._pin("bvalid").value = int(answering)
            await FallingEdge(self.dut.clk)
            if reading and self._get("rready"):
                reading = False
                self.outstanding -= int(self._pin("rlast").value)
            if answering and self._get("bready"):
                answering = False
                self.outstanding -= 1
            self._take_addresses()
            if self._get("wvalid") and self._get("wready"):
                self._words.append((self._get("wdata"), self._get("wstrb"), self._get("wlast")))
            self._write()
            await RisingEdge(self.dut.clk)
            self._cycle += 1

    def _take_addresses(self) -> None:
        if self._get("arvalid") and self._get("arready"):
            beats, due = self._get("arlen") + 1, self._due()
            offset = self._offset(self._get("araddr"), beats)
            self.outstanding += 1
            for beat in range(beats):
                at = offset + beat * self.config.bus_bytes
                self._beats.append((due, at, beat == beats - 1))
        if self._get("awvalid") and self._get("awready"):
            beats = self._get("awlen") + 1
            self.outstanding += 1
            self._writes.append((self._offset(self._get("awaddr"), beats), beats))

    def _write(self) -> None:
        if not self._writes or len(self._words) < self._writes[0][1]:
            return
        offset, beats = self._writes.popleft()
        response = OKAY
        for beat in range(beats):
            word, strobe, last = self._words.popleft()
            assert last == (beat == beats - 1), "wlast in the wrong beat"
            at = offset + beat * self.config.bus_bytes
            if at in self.bad_writes:
                response = SLVERR
                continue
            for lane, value in enumerate(word.to_bytes(self.config.bus_bytes, "little")):
                if strobe >> lane & 1:
                    self.data[at + lane] = value
        self._answers.append((self._due(), response))
