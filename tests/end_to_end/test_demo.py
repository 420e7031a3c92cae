"""The demo: breaks if the first command that a newcomer types does not keep its promises."""

import json
import sys

import pytest

import sw.cli
from hw.tpu.config import PRESETS
from hw.tpu.program import TpuProgram
from sw import demo


@pytest.fixture
def systolica(monkeypatch, capsys):
    """Runs `systolica demo --json`: (exit status, object)."""

    def run(*arguments):
        command = ["systolica", "demo", "--json", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stop:
            sw.cli.main()
        return stop.value.code or 0, json.loads(capsys.readouterr().out)

    return run


def test_the_whole_demo_on_rtl(systolica, tmp_path):
    """What `make demo` runs; the only full run of the suite."""
    status, data = systolica("--output", tmp_path)
    assert (status, data["failures"]) == (0, [])
    assert data["accuracy_float"] >= 0.97
    assert abs(data["accuracy_int8"] - data["accuracy_float"]) <= 0.01
    assert (data["mismatches"], data["engine"], data["config"]) == (0, "rtl", "default")
    assert data["runs"] * data["batch"] == 450
    assert data["macs"] == 450 * (8 * 8 * 9 * (16 + 16 * 32) + 512 * 64 + 64 * 10)
    assert data["utilisation"] == pytest.approx(data["macs"] / data["cycles"] / 256)
    assert data["array_active"] > data["utilisation"] > 0.7
    assert data["simulated_cycles_per_second"] > 0
    assert (tmp_path / "timeline.pftrace").stat().st_size > 10_000
    assert (tmp_path / "cycles.png").read_bytes().startswith(b"\x89PNG")
    program = TpuProgram.load(data["program"])
    assert "conv2/Conv2D" in program.tags.values()


def test_little_training_on_the_functional_simulator(systolica, tmp_path):
    """Quick, on another core; what was promised and not kept is said and fails."""
    status, data = systolica(
        "--output", tmp_path, "--engine", "functional", "--config", "tiny", "--steps", 2
    )
    assert (data["engine"], data["config"], data["cycles"]) == ("functional", "tiny", None)
    assert data["mismatches"] is None and data["plot"] is None
    assert status == 1
    assert any("below 97%" in text for text in data["failures"])


def test_the_same_seed_gives_the_same_program():
    first, second = (demo.prepare(PRESETS["tiny"], 3).program for _ in range(2))
    assert bytes(first.image) == bytes(second.image)
