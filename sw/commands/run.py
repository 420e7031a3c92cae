"""`run`: a model on a device, and what it cost."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import systolica as st
from sw.commands import models
from sw.commands.answer import Answer, CommandError, facts
from sw.commands.metrics import table
from sw.commands.profile import write_report
from sw.runtime.devices.registry import PREFIX
from sw.runtime.profiling.profile import profile_of

NO_TPU = dict.fromkeys(
    (
        "cycles",
        "macs",
        "peak_macs_per_cycle",
        "utilisation",
        "array_active",
        "dram_read_bytes",
        "dram_write_bytes",
        "simulated_cycles_per_second",
    )
)


@dataclass(frozen=True)
class Options:
    """What to run and how; texts as the user typed them."""

    device: str = "tpu:0"
    engine: str = "functional"
    config: str = "default"
    memory: str = ""
    inputs: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    random: int | None = None
    verify: bool = False
    output: Path | None = None
    profile: Path | None = None
    dump: Path | None = None


def run(path: Path, options: Options) -> Answer:
    """Run a model once."""
    kind = options.device.strip("/").partition(":")[0]
    if kind not in ("cpu", "tpu"):
        raise CommandError(f"--device {options.device}: want cpu:0 or tpu:0")
    if options.profile and (options.engine == "functional" or kind == "cpu"):
        raise CommandError(
            "--profile needs the TPU's --engine timing or rtl: others count no cycles"
        )
    begin = time.perf_counter()
    graph = models.load(path, options.shapes, f"/{options.device.strip('/')}")
    feeds = models.read_inputs(graph, options.inputs, options.random)
    config = st.SessionConfig(
        tpu=options.engine,
        tpu_config=models.core(options.config),
        memory=models.memory_timing(options.memory),
        verify=options.verify,
        profile=options.profile is not None,
    )
    with st.Session(graph=graph, config=config) as session:
        session.dump = models.dump_into(options.dump)
        if kind == "tpu":
            session.devices.get(f"{PREFIX}/tpu:0").dump = session.dump  # type: ignore[attr-defined]  # the TPU's device has passes of its own
        values = session.run(list(graph.outputs.values()), feeds)
    report = st.run_report(session)
    results = dict(zip(graph.outputs, values, strict=True))
    data = _data(options, report, kind)
    data["outputs"] = models.write_arrays(results, options.output) if options.output else {}
    data["wall_seconds"] = time.perf_counter() - begin
    shown: list[Any] = [table(data)] if report.programs else ["nothing ran on the TPU"]
    shown += models.fallback_table(report.fallback)
    if options.verify:
        data["mismatches"] = 0  # a difference stops the run, naming the op
        shown.append(facts([("mismatches", "0 bytes between the engines")]))
    if options.profile and report.programs:
        made = profile_of(session, path.stem)
        data["profile"] = write_report(made, options.profile)
        shown += [f"{kind}: {file}" for kind, file in data["profile"].items()]
    shown += [_line(name, value, data["outputs"].get(name)) for name, value in results.items()]
    return Answer(data, shown)


def _data(options: Options, report: Any, kind: str) -> dict[str, Any]:
    total = report.total()
    found = {**NO_TPU, "engine": options.engine if kind == "tpu" else "numpy",
             "config": models.core(options.config).name if kind == "tpu" else None,
             "seconds": 0.0}  # fmt: skip
    if total is not None:
        found |= {k: v for k, v in total.to_dict().items() if k in found or k == "counters"}
    return {
        **found,
        "programs": len(report.programs),
        "fallback": [asdict(item) for item in report.fallback],
    }


def _line(name: str, value: Any, file: str | None) -> str:
    array = np.asarray(value)
    text = f"{name}: {array.dtype} {list(array.shape)}"
    if array.size and array.dtype.kind in "fiu":
        text += f", from {array.min():.6g} to {array.max():.6g}"
        if array.ndim == 2 and len(array) == 1 and array.shape[1] > 1:
            text += f", largest at {int(array.argmax())}"
    return text + (f" -> {file}" if file else "")
