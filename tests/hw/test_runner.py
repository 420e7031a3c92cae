"""The runner must report what fails; a bench that cannot fail proves nothing."""

import time

import pytest

from hw.tb.bench_stream_fifo import StreamFifo
from hw.tb.runner import run_bench

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


def test_second_run_skips_the_build() -> None:
    def run() -> float:
        start = time.monotonic()
        run_bench(lambda: StreamFifo(4), MODULE, name="again", parameters={"depth": 4})
        return time.monotonic() - start

    run()
    assert run() < 5
