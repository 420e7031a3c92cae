"""Writes under byte enables as one write of the whole row, for simulation only.

Verilator asks for every byte of every memory in every cycle, and carries each to the end of the
cycle on its own. Hardware has byte enables, so the description keeps them.
"""

import re

_PART = r"    if \(\S+ ?\[\d+\]\)\n      \S+\[[^\n]+\]\[\d+:\d+\] <= [^\n]+;\n"
_BLOCK = re.compile(rf"(?<= begin\n)(?:{_PART}){{2,}}(?=  end\n)")
_ASSIGNMENT = re.compile(
    r"if \((\S+ ?)\[\d+\]\)\n      (\S+\[[^\n]+\])(\[\d+:\d+\]) <= (\S+ ?)\[\d+:\d+\];"
)


def merge(verilog: str) -> str:
    """`verilog` (as Yosys writes it) with one write per memory port.

    >>> print(merge('''  always @(posedge clk) begin
    ...     if (en[0])
    ...       rows[at][7:0] <= data[7:0];
    ...     if (en[1])
    ...       rows[at][15:8] <= data[15:8];
    ...   end
    ... '''))
      always @(posedge clk) begin
        if (|en)
          rows[at] <= {en[1] ? data[15:8] : rows[at][15:8], en[0] ? data[7:0] : rows[at][7:0]};
      end
    <BLANKLINE>
    """
    return _BLOCK.sub(_merge_block, verilog)


def _merge_block(block: re.Match[str]) -> str:
    parts = _ASSIGNMENT.findall(block[0])
    enable, row, _, data = parts[0]
    expected = block[0].count("<=")
    if len(parts) != expected or any((p[0], p[1], p[3]) != (enable, row, data) for p in parts):
        return block[0]
    bytes_ = ", ".join(
        f"{enable}[{number}] ? {data}{part} : {row}{part}"
        for number, (_, _, part, _) in reversed(list(enumerate(parts)))
    )
    return f"    if (|{enable})\n      {row} <= {{{bytes_}}};\n"
