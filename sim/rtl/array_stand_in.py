"""The systolic array by what it computes, for simulation only: several times faster.

A row meets the tile when it enters, and the product waits for as many cycles as it would travel
(`array_stand_in.h`). That equals the array in every cycle, as long as its contract is kept
(`hw/tpu/array.py`); `tests/sim/rtl/test_array_stand_in.py` compares them. Waves and verification
use the array itself.
"""

import re

_MODULE = re.compile(
    r"^module \\top\.array (?P<rest>\([^\n]*\n)(?P<body>.*?)^endmodule\n", re.M | re.S
)
_PORT = re.compile(r"^  (?:input|output) [^\n]*;\n  wire [^\n]*;\n", re.M)
_ROW = re.compile(r"^  input \[(\d+):0\] row;$", re.M)
_BEHAVIOUR = """\
  import "DPI-C" function chandle array_new(input int n);
  import "DPI-C" function void array_step(input chandle array, input bit take, input bit shift,
    input bit [{n}*8-1:0] tile_row, input bit [{n}*8-1:0] row, output bit [{n}*32-1:0] result);
  chandle array;
  bit [{n}*32-1:0] oldest;
  reg [{n}*32-1:0] leaving;
  initial array = array_new({n});
  assign result = leaving;
  always @(posedge clk) begin
    array_step(array, switch, shift, tile_row, row, oldest);
    leaving <= oldest;
  end
"""


def substitute(verilog: str) -> str:
    """`verilog` with the module `top.array`, if it has one, described by its behaviour."""
    return _MODULE.sub(_behaviour, verilog)


def _behaviour(module: re.Match[str]) -> str:
    body = module["body"]
    row = _ROW.search(body)
    if row is None:
        raise ValueError("module top.array has no port `row`")
    n = (int(row[1]) + 1) // 8
    behaviour = _BEHAVIOUR.format(n=n)
    return (
        f"module \\top.array {module['rest']}{''.join(_PORT.findall(body))}{behaviour}endmodule\n"
    )
