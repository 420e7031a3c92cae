"""The presets' Verilog: breaks if a latch, a loop, a second driver or a missing pin creeps in."""

import os
import subprocess
from pathlib import Path

import pytest

import hw.tpu
from hw.tpu.config import PRESETS, ConfigError, TpuConfig
from hw.tpu.core import Tpu
from sim.rtl import toolchain
from sim.rtl.verilog import convert, source_key

WAIVED = {
    "UNUSEDSIGNAL": "Yosys keeps names of signals that optimisation made idle",
    "UNDRIVEN": "bits of a record that nothing reads lose their driver with it",
    "PROCASSINIT": "Yosys writes initial values beside the process",
    "WIDTHEXPAND": "Yosys writes expressions at their least width",
    "WIDTHTRUNC": "Yosys writes a reduction of a vector as logical not",
    "CASEOVERLAP": "Yosys writes a parallel case as case with wildcards",
    "DECLFILENAME": "all modules stand in one file",
}


@pytest.mark.parametrize("preset", ["tiny", "ulx3s", "default", "large"])
def test_presets_generate_and_lint_clean(preset, tmp_path):
    config = PRESETS[preset]
    key = source_key([Path(hw.tpu.__file__).parent], config.to_dict())
    verilog = convert(lambda: Tpu(config), key=key)
    (tmp_path / "top.v").write_text(verilog.text)
    binaries = toolchain.verilator_bin()
    done = subprocess.run(
        [str(binaries / "verilator"), "--lint-only", "-Wall", "--top-module", verilog.top]
        + [f"-Wno-{name}" for name in WAIVED]
        + ["top.v"],
        cwd=tmp_path,
        env=os.environ | {"VERILATOR_ROOT": str(binaries.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[:3000]


def test_a_size_that_hardware_cannot_have_is_refused():
    with pytest.raises(ConfigError, match="power of two"):
        TpuConfig.parse("default,scratchpad_rows=12288").require_buildable()
