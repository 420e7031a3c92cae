"""Benches: break if `make bench` would miss one, or time something wrong."""

from bench import whole_networks
from bench.__main__ import benches, main
from bench.session_overhead import measure
from hw.tpu.config import PRESETS


def test_every_bench_is_found():
    assert {"session_overhead", "simulation_speed", "utilisation"} <= set(benches())
    assert "__main__" not in benches()


def test_an_unknown_bench_is_refused(capsys):
    assert main(["nope"]) == 2
    assert "session_overhead" in capsys.readouterr().err


def test_session_overhead():
    found = measure(adds=50, runs=3)
    assert found.session > 0 and found.ratio > 0


def test_whole_networks():
    """No unit can be busier than the network takes; ONNX Runtime has the same logits."""
    row = whole_networks.measure("resnet20", PRESETS["default"], 30)
    assert 0 < row.bound <= row.by_layers <= row.cycles
    assert row.bounded_by == "array" and row.differing == 0
