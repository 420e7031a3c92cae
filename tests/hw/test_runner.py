"""The runner must report what fails; a bench that cannot fail proves nothing."""

import sys

import pytest

from hw.tb import runner
from hw.tb.bench_stream_fifo import StreamFifo
from hw.tb.runner import run_bench
from sim.rtl.verilog import convert

MODULE = "hw.tb.bench_stream_fifo"


def test_failure_names_tests_and_reason(seed: int) -> None:
    with pytest.raises(AssertionError) as caught:
        run_bench(
            lambda: StreamFifo(4, broken=True), MODULE, name="broken", parameters={"depth": 4},
            seed=seed,
        )  # fmt: skip
    assert "in_order_under_stalls" in str(caught.value)
    assert "valid fell before ready" in str(caught.value)
    assert f"seed {seed}" in str(caught.value)


def test_missing_module_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="no test ran"):
        run_bench(lambda: StreamFifo(4), "hw.tb.no_such_bench", name="missing")


def test_second_run_skips_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> int:
        return run_bench(lambda: StreamFifo(4), MODULE, name="again", parameters={"depth": 4})

    passed = run()

    def refuse(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(runner, "make_environment", refuse)
    assert run() == passed


def test_a_build_serves_every_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checkouts on one machine share it; cocotb's libraries are found when it runs."""
    verilog = convert(StreamFifo(4))
    monkeypatch.setattr(sys, "prefix", "/elsewhere")
    elsewhere = runner.build_bench(verilog)
    monkeypatch.undo()
    assert runner.build_bench(verilog) == elsewhere
