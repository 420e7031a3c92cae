"""`profile`: where every cycle of a model goes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sw.commands import models
from sw.commands.answer import Answer, facts, listing
from sw.runtime import timeline
from sw.runtime.profiling import page
from sw.runtime.profiling.profile import Profile, profile

RIGHT = ("MACs", "cycles", "of peak", "DRAM bytes")
FILES = {"report": "report.html", "timeline": "timeline.pftrace", "data": "profile.json"}


@dataclass(frozen=True)
class Options:
    """What to run and how; texts as the user typed them."""

    engine: str = "timing"
    config: str = "default"
    memory: str = ""
    inputs: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    output: Path = Path("profile-output")


def profile_model(path: Path, options: Options) -> Answer:
    """Run a model once on the TPU and account for its cycles."""
    core, memory = models.core(options.config), models.memory_timing(options.memory)
    graph = models.load(path, options.shapes, "/tpu:0")
    notes = []
    if not models.is_quantised(graph):
        graph = models.quantised_at_random(models.load(path, options.shapes))
        notes.append("the model is float: quantised with random values, which change no cycle")
    feeds = models.read_inputs(graph, options.inputs, 0)
    made = profile(
        list(graph.outputs.values()), feeds, graph=graph, config=core, memory=memory,
        engine=options.engine, name=path.stem,
    )  # fmt: skip
    files = write_report(made, options.output)
    data = made.to_dict() | {"outputs": {}, "notes": notes, **files}
    shown = [
        *notes,
        layer_table(made),
        *models.fallback_table(made.fallback),
        facts([(what, value) for value, what in page.facts(made)]),
        *(f"{kind}: {file}" for kind, file in files.items()),
    ]
    return Answer(data, shown)


def layer_table(made: Profile) -> str:
    """A line for each layer."""
    rows = [list(page.cells(layer).values()) for layer in made.layers]
    return listing(page.HEADINGS, rows, RIGHT)


def write_report(made: Profile, folder: Path) -> dict[str, str]:
    """The HTML page, the Perfetto timeline and the data; their files by kind."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: folder / name for kind, name in FILES.items()}
    files["report"].write_text(page.html(made), encoding="utf-8")
    timeline.write(files["timeline"], made.run.trace, made.run.program, made.run.owners)
    files["data"].write_text(json.dumps(made.to_dict()))
    return {kind: str(file) for kind, file in files.items()}
