"""An AXI4-Lite host whose five channels pause independently of each other."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from cocotb.triggers import FallingEdge, RisingEdge, gather

PATIENCE = 2000


class AxiLiteHost:
    """Reads and writes registers through pins `<prefix>__awaddr` ...; both at once if wanted.

    `stall` is the probability of a pause in every cycle of every channel. What the core offers
    (B, R) must be held until taken, and every response must be OKAY.
    """

    def __init__(self, dut: Any, prefix: str, stall: float = 0.4) -> None:
        self.dut, self.prefix, self.stall = dut, prefix, stall
        self.random = random.Random(random.getrandbits(32))
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready", "awprot", "arprot"):
            self._pin(name).value = 0
        self._pin("wstrb").value = 0xF

    def _pin(self, name: str) -> Any:
        return getattr(self.dut, f"{self.prefix}__{name}")

    async def write(self, address: int, value: int) -> None:
        """Write a register; returns once the response was taken."""
        await gather(
            self._send("aw", awaddr=address), self._send("w", wdata=value), self._receive("b")
        )

    async def read(self, address: int) -> int:
        """The register's value."""
        _, value = await gather(self._send("ar", araddr=address), self._receive("r"))
        assert value is not None
        return value

    async def write_ahead(self, writes: Sequence[tuple[int, int]]) -> None:
        """Many writes, no channel waiting for another: addresses, data and responses drift."""
        addresses = [("awaddr", address) for address, _ in writes]
        values = [("wdata", value) for _, value in writes]
        await gather(
            self._send_all("aw", addresses),
            self._send_all("w", values),
            self._receive_all("b", len(writes)),
        )

    async def read_ahead(self, addresses: Sequence[int]) -> list[int | None]:
        """Many reads, the next address offered before the last value is taken."""
        sends = [("araddr", address) for address in addresses]
        _, values = await gather(
            self._send_all("ar", sends), self._receive_all("r", len(addresses))
        )
        return values

    async def _send_all(self, channel: str, fields: Iterable[tuple[str, int]]) -> None:
        for name, value in fields:
            await self._send(channel, **{name: value})

    async def _receive_all(self, channel: str, count: int) -> list[int | None]:
        return [await self._receive(channel) for _ in range(count)]

    async def _send(self, channel: str, **fields: int) -> None:
        valid, ready = self._pin(f"{channel}valid"), self._pin(f"{channel}ready")
        while self.random.random() < self.stall:
            await RisingEdge(self.dut.clk)
        for name, value in fields.items():
            self._pin(name).value = value
        valid.value = 1
        for _ in range(PATIENCE):
            await FallingEdge(self.dut.clk)
            taken = int(ready.value)
            await RisingEdge(self.dut.clk)
            if taken:
                valid.value = 0
                for name in fields:
                    self._pin(name).value = self.random.getrandbits(12)
                return
        raise AssertionError(f"{self.prefix} {channel}: never ready")

    async def _receive(self, channel: str) -> int | None:
        valid, ready = self._pin(f"{channel}valid"), self._pin(f"{channel}ready")
        offered: int | None = None
        for _ in range(PATIENCE):
            taking = self.random.random() >= self.stall
            ready.value = int(taking)
            await FallingEdge(self.dut.clk)
            value = None
            if int(valid.value):
                assert int(self._pin(f"{channel}resp").value) == 0
                value = int(self._pin("rdata").value) if channel == "r" else 0
                assert offered in (None, value), f"{channel}: changed while waiting"
            else:
                assert offered is None, f"{channel}: valid fell before ready"
            offered = value
            await RisingEdge(self.dut.clk)
            if taking and value is not None:
                ready.value = 0
                return value
        raise AssertionError(f"{self.prefix} {channel}: no answer")
