"""The native memory model and its checker, driven by a small copy engine."""

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sim.memory import MemoryTiming
from sim.rtl.build import wave_format
from sim.rtl.model import AxiViolation, RegisterError, RtlModel, Stop
from tests.sim.rtl.copy_engine import CopyEngine, Fault

SOURCE, TARGET, SIZE = 0x1000, 0x8000, 1 << 16
Open = Callable[..., RtlModel]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens models and closes them after the test."""
    models: list[RtlModel] = []

    def open_model(data_bits: int = 64, fault: Fault = "none", **options: object) -> RtlModel:
        options.setdefault("memory", MemoryTiming(latency=3))
        model = RtlModel(lambda: CopyEngine(data_bits, fault), dram_bytes=SIZE, **options)
        models.append(model)
        return model

    yield open_model
    for model in models:
        model.close()


def copy(model: RtlModel, beats: int, source: int = SOURCE, target: int = TARGET) -> Stop:
    """Program the engine, run it, return the stop."""
    for address, value in ((4, source), (8, target), (12, beats), (0, 1)):
        model.write_register(address, value)
    return model.run(200_000)


@pytest.mark.parametrize("data_bits", [64, 128, 512])
@pytest.mark.parametrize("jitter", [0, 7])
def test_copy_is_right(opened: Open, rng: np.random.Generator, data_bits: int, jitter: int) -> None:
    model = opened(data_bits, memory=MemoryTiming(int(rng.integers(1, 40)), 8, jitter))
    model.dram[:] = rng.integers(0, 256, SIZE, dtype=np.uint8)
    expected = model.dram.copy()
    beats = 37
    count = beats * data_bits // 8
    expected[TARGET : TARGET + count] = expected[SOURCE : SOURCE + count]
    assert copy(model, beats).reason == "irq"
    np.testing.assert_array_equal(model.dram, expected)
    assert model.read_register(0) == 0
    assert (model.dram_read_bytes, model.dram_write_bytes) == (count, count)


def test_latency_counts_from_address_to_first_beat(opened: Open) -> None:
    """One burst pays the latency once for reading and once for the response."""
    cycles = {}
    for latency in (1, 11):
        cycles[latency] = copy(opened(memory=MemoryTiming(latency, 64)), 16).cycles
    assert cycles[11] - cycles[1] == 20
    # 16 read beats, 16 write beats, two addresses, the write's start and five state changes.
    assert cycles[1] < 16 + 16 + 12


def test_bandwidth_is_a_token_bucket(opened: Open) -> None:
    fast = copy(opened(memory=MemoryTiming(1, 8)), 16).cycles
    slow = copy(opened(memory=MemoryTiming(1, 2)), 16).cycles
    # A word every four cycles, and the first of each channel is free: 15 gaps of 3, twice.
    assert slow - fast == 2 * 15 * 3


def test_same_seed_same_cycles(opened: Open, seed: int) -> None:
    def cycles(seed: int) -> int:
        return copy(opened(memory=MemoryTiming(5, 4, jitter=9, seed=seed)), 100).cycles

    first = cycles(seed)
    assert cycles(seed) == first
    assert any(cycles(seed + i) != first for i in (1, 2, 3))


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("response", ["SLVERR", "DECERR"])
def test_fault_reaches_the_master(opened: Open, write: bool, response: str) -> None:
    model = opened()
    start = TARGET if write else SOURCE
    model.add_fault(start + 40, start + 40, write=not write, response=response)
    copy(model, 16)
    assert model.read_register(0) == 0, "a fault of the other direction must not show"
    model.add_fault(start + 40, start + 40, write=write, response=response)
    model.dram[TARGET : TARGET + 128] = 7
    copy(model, 16)
    assert model.read_register(0) == 2
    if write:
        assert (model.dram[TARGET + 40 : TARGET + 48] == 7).all(), "a refused beat writes nothing"
    model.clear_faults()
    copy(model, 16)
    assert model.read_register(0) == 0


@pytest.mark.parametrize("write", [False, True])
def test_a_beat_fails_once_wherever_it_is(opened: Open, write: bool) -> None:
    model = opened()
    model.fail_beat(21, write=write, response="SLVERR")
    assert model.failed_beat is None
    copy(model, 40)
    assert model.read_register(0) == 2
    assert model.failed_beat == (TARGET if write else SOURCE) + 20 * 8
    copy(model, 40)
    assert model.read_register(0) == 0


@pytest.mark.parametrize("channel", ["AR", "R", "AW", "W", "B"])
def test_a_dead_channel_stops_the_master_until_it_lives_again(opened: Open, channel: str) -> None:
    model = opened()
    for address, value in ((4, SOURCE), (8, TARGET), (12, 64), (0, 1)):
        model.write_register(address, value)
    model.kill_channel(channel, after=2)
    assert model.run(3000) == Stop("limit", 3000)
    if channel in ("R", "B"):
        assert model.bursts_under_way == 1
    model.clear_faults()
    assert model.run(3000).reason == "irq"
    assert (model.read_register(0), model.bursts_under_way) == (0, 0)


def test_outside_the_memory_is_a_decode_error(opened: Open) -> None:
    model = opened()
    copy(model, 16, source=SIZE)
    assert model.read_register(0) == 2
    copy(model, 16, target=SIZE)
    assert model.read_register(0) == 2


def test_illegal_register_is_an_error(opened: Open) -> None:
    with pytest.raises(RegisterError, match="0x100: SLVERR"):
        opened().write_register(0x100, 0)


@pytest.mark.parametrize(
    ("fault", "message", "source"),
    [
        ("wlast", "WLAST is 1 at beat 15 of 16", SOURCE),
        ("4k", "AR burst crosses 4 KiB", 0x1F80),
        ("unstable", "AR payload changed while ARVALID waited", SOURCE),
    ],
)
def test_violation_is_raised(opened: Open, fault: Fault, message: str, source: int) -> None:
    # Seeds are tried until the memory happens to stall the address.
    for seed in range(20):
        model = opened(fault=fault, memory=MemoryTiming(3, 8, 5, seed))
        try:
            copy(model, 16, source=source)
        except AxiViolation as error:
            assert message in str(error)
            model.reset()  # and the model is usable again
            assert model.run(10, until_irq=False) == Stop("limit", 10)
            return
    raise AssertionError("no violation seen")


def test_events_are_changes(opened: Open) -> None:
    model = opened()
    model.run(5, until_irq=False)
    assert model.trace_events().shape == (0, 2)
    model.record_events()
    start = model.cycle
    copy(model, 2)
    events = model.trace_events()
    assert events[0].tolist() == [start, 0]
    assert (events[1:, 1] != events[:-1, 1]).all()
    assert (np.diff(events[:, 0].astype(np.int64)) > 0).all()
    assert events[1, 1] == 1, "busy rises first"
    assert model.trace_events().shape == (0, 2), "fetched once"


def test_waves(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / f"run.{wave_format()}"
    model = opened(trace_path=path)
    copy(model, 4)
    model.close()
    assert path.stat().st_size > 1000
    if path.suffix == ".vcd":
        assert "fsm_state" in path.read_text(), "inside signals, not only pins"
    with pytest.raises(ValueError, match="trace_path"):
        opened(trace_path=tmp_path / "run.txt")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background jobs ignore SIGINT; what they start would never see one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_leaves_the_model_usable(opened: Open) -> None:
    model = opened()
    threading.Timer(0.5, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        model.run(10**12, until_irq=False)  # eleven days, were it not for the interrupt
    model.dram[SOURCE : SOURCE + 128] = 9
    assert copy(model, 16).reason == "irq"
    assert (model.dram[TARGET : TARGET + 128] == 9).all()
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.run(1)
