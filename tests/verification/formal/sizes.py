"""The sizes that proofs use: small, but with every structure that the core has."""

from hw.tpu.config import TpuConfig

SMALL = TpuConfig(
    name="small",
    array=2,
    scratchpad_rows=8,
    scratchpad_banks=2,
    accumulator_rows=4,
    weight_tiles=2,
    parameter_entries=2,
    lane_rows=256,
    bus_bits=64,
    address_bits=16,
    burst_beats=4,
    outstanding_bursts=2,
    queue_depth=2,
)
