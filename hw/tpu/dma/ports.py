"""What the units that read DRAM say to the arbiter; write ports of the vector unit's memories."""

from amaranth.lib import data
from amaranth.lib.wiring import Out, Signature
from amaranth.utils import bits_for

from hw.tpu.config import TpuConfig


def read_request(config: TpuConfig) -> data.StructLayout:
    """One burst: a bus-aligned bus address, and 1 to `burst_beats` beats within 4 KiB."""
    return data.StructLayout(
        {"address": config.address_bits, "beats": bits_for(config.burst_beats)}
    )


def read_beat(config: TpuConfig) -> data.StructLayout:
    """One beat that was read; `error` when the bus answered anything but OKAY."""
    return data.StructLayout({"data": config.bus_bits, "error": 1})


class ReadResponse(Signature):
    """The beats of a client's bursts, in order. No back-pressure: only ask for what fits."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(
            {"valid": Out(1), "data": Out(config.bus_bits), "last": Out(1), "error": Out(1)}
        )


class ParameterWrite(Signature):
    """Write one sub-row of the parameter memory under a lane mask; no back-pressure."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "subrow": Out(bits_for(config.parameter_subrows - 1)),
                "data": Out(config.array * 8),
                "mask": Out(config.array),
            }
        )


class LaneWrite(Signature):
    """Write one row of the lane memory under a lane mask; no back-pressure."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "row": Out(bits_for(config.lane_rows - 1)),
                "data": Out(config.array * 8),
                "mask": Out(config.array),
            }
        )
