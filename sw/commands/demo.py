"""`demo`: the whole way, from training to silicon, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hw.tpu.config import TpuConfig
from sw import demo as work
from sw.commands.answer import Answer, facts
from sw.commands.metrics import metrics, table, total

KINDS = ("program", "input", "model", "data", "timeline", "plot")


def demo(engine: str, config: str, output: Path, steps: int) -> Answer:
    """Not ok unless accuracy is as promised and no byte differs."""
    outcome = work.run(engine, TpuConfig.parse(config), output, steps)
    data: dict[str, Any] = total([metrics(outcome.program, run) for run in outcome.runs])
    data |= {
        "accuracy_float": outcome.accuracy_float,
        "accuracy_int8": outcome.accuracy_int8,
        "mismatches": outcome.mismatches,
        "runs": len(outcome.runs),
        "batch": work.BATCH,
        "training_seconds": outcome.training_seconds,
        "outputs": {},
        "fallback": [],
        **{kind: outcome.files.get(kind) for kind in KINDS},
        "failures": outcome.failures,
    }
    same = "not compared" if outcome.mismatches is None else f"{outcome.mismatches} bytes"
    shown: list[Any] = [
        facts(
            [
                ("trained in", f"{outcome.training_seconds:.1f} s, on the CPU"),
                ("accuracy float", f"{outcome.accuracy_float:.1%} (CPU)"),
                ("accuracy int8", f"{outcome.accuracy_int8:.1%} (TPU)"),
                ("differences", f"{same}, from the functional simulator"),
                ("images", f"{len(outcome.runs)} runs of {work.BATCH}"),
            ]
        ),
        table(data),
        *(f"{kind}: {path}" for kind, path in outcome.files.items()),
        *(f"FAILED: {text}" for text in outcome.failures),
    ]
    return Answer(data, shown, not outcome.failures)
