"""`verilog`: the core for other people's flows."""

from __future__ import annotations

import re
from pathlib import Path

import hw.tpu
from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.core import Tpu
from sim.rtl.verilog import convert, source_key
from sw.commands.answer import Answer, CommandError, facts

TOP = "tpu"
WRAPPER = "tpu_axi"
_PORT = re.compile(r"^  (input|output) (\[\d+:0\] )?(\w+);$", re.MULTILINE)
_CORE = """CAPI=2:
name: systolica:tpu:{name}:{version}.0.0
description: Systolica TPU core, configuration {config}
filesets:
  rtl:
    files:
      - {core}
      - {wrapper}
    file_type: verilogSource
targets:
  default:
    filesets: [rtl]
    toplevel: {top}
  lint:
    filesets: [rtl]
    toplevel: {top}
    default_tool: verilator
    tools:
      verilator:
        mode: lint-only
        verilator_options: [-Wno-fatal]
"""


def verilog(config_text: str, output: Path) -> Answer:
    """Write FILE (module `tpu`), FILE_axi (module `tpu_axi`) and a FuseSoC .core file beside."""
    config = TpuConfig.parse(config_text)
    if output.suffix != ".v":
        raise CommandError(f"{output}: the Verilog file's name should end in .v")
    key = source_key([Path(hw.tpu.__file__).parent], config.to_dict())
    text = convert(lambda: Tpu(config), top=TOP, key=key).text
    ports = top_ports(text)
    wrapper_file = output.with_name(f"{output.stem}_axi.v")
    core_file = output.with_suffix(".core")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    wrapper_file.write_text(wrapper(ports))
    core_file.write_text(
        _CORE.format(
            name=re.sub(r"\W+", "_", config.name),
            version=isa.VERSION,
            config=config.name,
            core=output.name,
            wrapper=wrapper_file.name,
            top=WRAPPER,
        )
    )
    data = {
        "config": config.name,
        "fingerprint": config.fingerprint,
        "top": TOP,
        "wrapper": WRAPPER,
        "files": [str(output), str(wrapper_file), str(core_file)],
        "ports": [
            {"name": name, "direction": direction, "bits": bits} for direction, bits, name in ports
        ],
    }
    shown = facts(
        [
            (str(output), f"module {TOP}: {len(ports)} ports (clk, rst, m_axi__*, s_axi__*, irq)"),
            (str(wrapper_file), f"module {WRAPPER}: aclk, aresetn, m_axi_*, s_axi_*, irq"),
            (str(core_file), "FuseSoC description of both"),
        ]
    )
    return Answer(data, [shown])


def top_ports(text: str) -> list[tuple[str, int, str]]:
    """(direction, bits, name) of every port of module `tpu`."""
    _, found, body = text.rpartition(f"\nmodule {TOP}(")
    if not found:
        raise CommandError(f"the converted Verilog has no module {TOP}")
    return [
        (direction, int(width[1:].partition(":")[0]) + 1 if width else 1, name)
        for direction, width, name in _PORT.findall(body.partition("\nendmodule")[0])
    ]


def wrapper(ports: list[tuple[str, int, str]]) -> str:
    """A module with the names that AXI tools recognise: `m_axi_araddr`, `aclk`, `aresetn`."""
    declared, connected = ["  input aclk", "  input aresetn"], []
    for direction, bits, name in sorted(ports, key=lambda port: port[2]):
        if name in ("clk", "rst"):
            connected.append(f"    .{name}({'aclk' if name == 'clk' else '~aresetn'})")
        elif name.startswith("trace"):
            connected.append(f"    .{name}()")
        else:
            outer = name.replace("__", "_")
            width = f"[{bits - 1}:0] " if bits > 1 else ""
            declared.append(f"  {direction} {width}{outer}")
            connected.append(f"    .{name}({outer})")
    return (
        f"module {WRAPPER} (\n" + ",\n".join(declared) + "\n);\n"
        f"  {TOP} core (\n" + ",\n".join(connected) + "\n  );\nendmodule\n"
    )
