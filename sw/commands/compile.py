"""`compile`: a quantised model as a program file for one core."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hw.tpu.program import Port
from sw.commands import models
from sw.commands.answer import Answer, CommandError, facts
from sw.compiler.tpu.ahead import compile_programs


def compile_model(
    path: Path, output: Path, config: str, shapes: tuple[str, ...], dump: Path | None
) -> Answer:
    """Compile a model; not more than one program fits a file."""
    core = models.core(config)
    graph = models.load(path, shapes, "/tpu:0")
    sizes, notes = models.sized(graph)
    begin = time.perf_counter()
    done = compile_programs(
        [tensor.name for tensor in graph.outputs.values()], core, sizes, graph=graph,
        dump=models.dump_into(dump),
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    if len(done.programs) != 1:
        lost = "; ".join(f"{item.name} ({item.reason})" for item in done.fallback[:3])
        raise CommandError(
            f"{path}: this becomes {len(done.programs)} programs, a file holds one"
            + (f"; on the CPU: {lost}" if lost else "")
        )
    (program,) = done.programs
    program.save(output)
    ports = {"inputs": program.inputs, "output_ports": program.outputs}
    data: dict[str, Any] = {
        "config": program.config.name,
        "fingerprint": program.config.fingerprint,
        "macs": program.macs,
        "peak_macs_per_cycle": program.config.peak_macs_per_cycle,
        "instructions": len(program.instructions),
        "layers": len(program.tags),
        "dram_bytes": program.dram_bytes,
        "seconds": seconds,
        "outputs": {"program": str(output)},
        **{kind: [_port(port) for port in found] for kind, found in ports.items()},
        "notes": notes,
        "fallback": [asdict(item) for item in done.fallback],
    }
    rows = [
        ("core", program.config.name),
        ("layers", str(len(program.tags))),
        ("instructions", f"{len(program.instructions):,}"),
        ("useful MACs", f"{program.macs:,}"),
        ("DRAM", f"{program.dram_bytes:,} bytes"),
        ("compiled in", f"{seconds:.2f} s"),
    ]
    rows += [("input", f"{p.name} int8 {list(p.shape)}") for p in program.inputs]
    rows += [("output", f"{p.name} int8 {list(p.shape)}") for p in program.outputs]
    shown = [*notes, facts(rows), *models.fallback_table(done.fallback), f"program: {output}"]
    return Answer(data, shown)


def _port(port: Port) -> dict[str, Any]:
    keys = ("name", "shape", "scale", "zero_point")
    return {key: getattr(port, key) for key in keys}
