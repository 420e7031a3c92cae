"""A cache that is corrupted once is worse than none: atomicity, sharing, interruption."""

import threading
import time
from pathlib import Path

import pytest
from amaranth.back import rtlil

from sim.rtl import build as build_module
from sim.rtl import cache
from sim.rtl.build import BuildError, build
from sim.rtl.verilog import ConversionError, Verilog, convert, from_rtlil, source_key
from tests.sim.rtl.copy_engine import CopyEngine


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("SYSTOLICA_CACHE", str(tmp_path))
    return tmp_path


def test_failed_make_leaves_nothing(root: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get_or_make("things", "a" * 40, interrupted)
    assert list((root / "things").iterdir()) == []
    assert cache.lookup("things", "a" * 40) is None


def test_of_two_at_once_one_makes_and_both_get_it(root: Path) -> None:
    """Breaks if parallel tests each build the same model, minutes of work, or see half of one."""
    made, entries = [], []

    def make(folder: Path) -> None:
        (folder / "file").write_text("content")
        made.append(folder)
        time.sleep(0.2)

    def worker() -> None:
        entries.append(cache.get_or_make("things", "b" * 40, make))

    threads = [threading.Thread(target=worker) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert entries[0] == entries[1]
    assert (entries[0] / "file").read_text() == "content"


def test_key_skips_elaboration(root: Path) -> None:
    calls = []

    def factory() -> CopyEngine:
        calls.append(1)
        return CopyEngine()

    key = source_key([Path(__file__).parent], {"data_bits": 64})
    first = convert(factory, key=key)
    assert convert(factory, key=key) == first
    assert len(calls) == 1
    other = source_key([Path(__file__).parent], {"data_bits": 128})
    assert other != key
    assert "trace_o" in first.text, "Verilator cannot compile a port named trace"


def test_second_build_is_a_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    verilog = convert(CopyEngine())
    first = build(verilog)

    def refuse(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(build_module, "_make", refuse)
    assert build(verilog) == first


def test_broken_verilog_is_reported_with_its_log(root: Path) -> None:
    with pytest.raises(BuildError, match="syntax error"):
        build(Verilog("module top(input clk; endmodule\n", "top"))
    assert list((root / "models").iterdir()) == []


def test_conversion_failure_is_reported(root: Path) -> None:
    text = rtlil.convert(CopyEngine(), name="top")
    with pytest.raises(ConversionError, match="no_such_pass"):
        from_rtlil(text, passes="no_such_pass")
