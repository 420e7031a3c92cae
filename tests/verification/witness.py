"""The core with a port that shows every write to a memory, on chip or DRAM, as it happens."""

from __future__ import annotations

from pathlib import Path

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import Component, Out
from amaranth.utils import bits_for

import hw.tpu
from hw.tpu.config import TpuConfig
from hw.tpu.core import Tpu, ports
from sim.rtl.verilog import Verilog, convert, source_key

FLAGS = 16
"""Bits that say what there is in this cycle: the names of `writers`, in order, padded."""


def writers(config: TpuConfig) -> dict[str, dict[str, int]]:
    """What may be written in a cycle, and by whom, with the bits of each field."""
    row = {"row": 20, "mask": config.array, "data": config.array * 8}
    return {
        "load_scratchpad": row,
        "load_weights": {"data": config.array * 8},
        "load_parameters": {**row, "row": bits_for(config.parameter_subrows - 1)},
        "load_lanes": {**row, "row": bits_for(config.lane_rows - 1)},
        "matmul": {"row": 16, "data": config.array * 32},
        "vector": row,
        "burst": {"address": config.address_bits, "length": 8},
        "beat": {"data": config.bus_bits, "mask": config.bus_bytes},
    }


def layout(config: TpuConfig) -> data.StructLayout:
    """The `witness` port: flags, then every field of every writer in whole bytes."""
    fields: dict[str, int] = {}
    names = list(writers(config))
    for name in names:
        fields[name] = 1
    fields["unused"] = FLAGS - len(names)
    for name, parts in writers(config).items():
        for part, bits in parts.items():
            fields[f"{name}_{part}"] = -(-bits // 8) * 8
    return data.StructLayout(fields)


def witnessed(config: TpuConfig) -> Verilog:
    """The Verilog of `Witnessed`, elaborated only when it or the hardware has changed."""
    parameters = config.to_dict() | {"witness": Path(__file__).read_text()}
    key = source_key([Path(hw.tpu.__file__).parent], parameters)
    return convert(lambda: Witnessed(config), key=key)


class Witnessed(Tpu):
    """The same core with a `witness` port of `layout`."""

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        Component.__init__(self, {**ports(config), "witness": Out(layout(config))})

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        scratchpad, lanes = m.submodules.scratchpad, m.submodules.lanes
        weights, sums = m.submodules.weights.rows, m.submodules.accumulators
        parameters, bus = m.submodules.parameters.write, self.m_axi
        shown = {
            "load_scratchpad": (scratchpad.load.valid & scratchpad.load.ready, scratchpad.load),
            "load_weights": (weights.valid & weights.ready, {"data": weights.payload}),
            "load_parameters": (
                parameters.valid,
                {"row": parameters.subrow, "mask": parameters.mask, "data": parameters.data},
            ),
            "load_lanes": (lanes.write.valid, lanes.write),
            "matmul": (sums.written.valid, {"row": sums.written.row, "data": sums.sums}),
            "vector": (
                scratchpad.vector_write.valid & scratchpad.vector_write.ready,
                scratchpad.vector_write,
            ),
            "burst": (bus.awvalid & bus.awready, {"address": bus.awaddr, "length": bus.awlen}),
            "beat": (bus.wvalid & bus.wready, {"data": bus.wdata, "mask": bus.wstrb}),
        }
        for name, (happens, values) in shown.items():
            m.d.comb += self.witness[name].eq(happens)
            for part in writers(self.config)[name]:
                value = values[part] if isinstance(values, dict) else getattr(values, part)
                m.d.comb += self.witness[f"{name}_{part}"].eq(value)
        return m
