"""AXI4 and AXI4-Lite port signatures, seen from the side that starts transactions."""

from __future__ import annotations

from amaranth.lib.wiring import In, Out, Signature

from hw.tpu.config import TpuConfig

BURST_INCR = 0b01
RESPONSE_OKAY = 0b00


def axi4_read(config: TpuConfig) -> dict[str, In | Out]:
    """Members of the AR and R channels."""
    return {
        "arid": Out(1),
        "araddr": Out(config.address_bits),
        "arlen": Out(8),
        "arsize": Out(3),
        "arburst": Out(2),
        "arvalid": Out(1),
        "arready": In(1),
        "rid": In(1),
        "rdata": In(config.bus_bits),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }


def axi4_write(config: TpuConfig) -> dict[str, In | Out]:
    """Members of the AW, W and B channels."""
    return {
        "awid": Out(1),
        "awaddr": Out(config.address_bits),
        "awlen": Out(8),
        "awsize": Out(3),
        "awburst": Out(2),
        "awvalid": Out(1),
        "awready": In(1),
        "wdata": Out(config.bus_bits),
        "wstrb": Out(config.bus_bytes),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    }


class Axi4Read(Signature):
    """The reading half of an AXI4 port; one ID, so that data returns in order."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(axi4_read(config))


class Axi4Write(Signature):
    """The writing half of an AXI4 port; one ID."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(axi4_write(config))


class Axi4(Signature):
    """A whole AXI4 port."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(axi4_write(config) | axi4_read(config))


class Axi4Lite(Signature):
    """A 32-bit AXI4-Lite port with 4 KiB of registers."""

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": Out(12),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(32),
                "wstrb": Out(4),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(12),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(32),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )
