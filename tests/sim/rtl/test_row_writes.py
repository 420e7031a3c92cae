"""The simulator's text of memories: what is not understood must stay as it is."""

import doctest

from hw.tpu.config import PRESETS
from hw.tpu.scratchpad import Scratchpad
from sim.rtl import row_writes
from sim.rtl.verilog import convert

OTHER_DATA = """  always @(posedge clk) begin
    if (en[0])
      rows[at][7:0] <= data[7:0];
    if (en[1])
      rows[at][15:8] <= other[15:8];
  end
"""


def test_the_example_in_the_docstring_holds():
    assert doctest.testmod(row_writes).failed == 0


def test_every_bank_of_the_scratchpad_is_written_as_a_row():
    """Breaks if Yosys writes memories in another form, and the speed silently goes."""
    config = PRESETS["tiny"]
    text = row_writes.merge(convert(lambda: Scratchpad(config)).text)
    assert text.count("if (|") == config.scratchpad_banks
    assert "][7:0] <=" not in text


def test_bytes_from_different_sources_stay_apart():
    assert row_writes.merge(OTHER_DATA) == OTHER_DATA
