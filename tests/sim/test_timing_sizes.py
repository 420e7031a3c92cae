"""Depths that the timing model repeats: break if a unit of the core gets another one."""

import pytest
from amaranth.hdl import Fragment

from hw.tpu.config import PRESETS, ConfigError, TpuConfig
from hw.tpu.dma.fetch import Fetch
from hw.tpu.dma.gearbox import Packer, Unpacker
from hw.tpu.dma.read_arbiter import ReadArbiter
from hw.tpu.dma.store import StoreUnit
from hw.tpu.dma.write_queue import WriteQueue
from sim.memory import MemoryTiming
from sim.timing import layout

CONFIGS = [*PRESETS.values(), TpuConfig.parse("tiny,bus_bits=512,burst_beats=2,queue_depth=1")]


def built(unit):
    """The unit, elaborated, for Amaranth complains of one that never is."""
    Fragment.get(unit, None)
    return unit


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_depths(config):
    sizes = layout.sizes(config, MemoryTiming(), 1 << 20, 0)
    assert sizes["unpacker_chunks"] == built(Unpacker(config)).chunks
    assert sizes["packer_chunks"] == built(Packer(config)).chunks
    assert sizes["order_depth"] == built(ReadArbiter(config)).order_depth
    queue = built(WriteQueue(config))
    assert (sizes["write_depth"], sizes["write_outstanding"]) == (queue.depth, queue.outstanding)
    assert sizes["outstanding_bursts"] == built(StoreUnit(config)).contexts
    assert sizes["fetch_depth"] == fetch_depth(config)


def fetch_depth(config):
    """`depth` of the queue inside the fetch unit."""
    module = built(Fetch(config)).elaborate(None)
    depth = module.submodules.queue.depth
    built(module)
    return depth


def test_a_core_too_large_for_the_model_is_refused():
    with pytest.raises(ConfigError, match="queue_depth=2000"):
        layout.sizes(TpuConfig.parse("tiny,queue_depth=2000"), MemoryTiming(), 1 << 20, 0)
