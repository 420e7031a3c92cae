"""Ahead of time: `st.compile`, a quantised graph of known shapes as one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hw.tpu.config import ConfigError, TpuConfig
from hw.tpu.program import TpuProgram
from sw.compiler.passes import Dump, compile_unit
from sw.compiler.prune import prune
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.lower import lower
from sw.compiler.tpu.specialise import specialise
from sw.compiler.tpu.steps import DynamicStep, NetworkStep
from sw.compiler.tpu.support import unsupported
from sw.compiler.unit import Fallback, Unit
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph, get_default_graph
from sw.graph.operation import Operation
from sw.graph.tensor import Operators, Tensor


class _Places:
    """A host and one core."""

    names: Sequence[str] = ("/cpu:0", "/tpu:0")

    def supports(self, name: str, op: Operation) -> str | None:
        return unsupported(op) if name == "/tpu:0" else None


@dataclass(frozen=True)
class Compiled:
    """Programs in the order in which they run; `parts`: partitions of the graph on the TPU;
    `fallback`: what was asked of the TPU and stays on the CPU."""

    programs: tuple[TpuProgram, ...]
    parts: int
    fallback: tuple[Fallback, ...]


def compile_graph(
    fetches: Any,
    config: TpuConfig | str = "default",
    shapes: Mapping[Any, Sequence[int]] | None = None,
    *,
    graph: Graph | None = None,
) -> TpuProgram:
    """The program of the part of `fetches` (tensors or names) that is placed on the TPU.

    `config` is a core or a preset with overrides; `shapes` gives the shapes of placeholders that
    are not fully known, by tensor or name. The program's ports are int8; quantising its inputs
    and what follows it is the host's work. Raises `InvalidArgumentError` when shapes are unknown
    or the part is not exactly one program, saying why.
    """
    done = compile_programs(fetches, config, shapes, graph=graph)
    lost = "; ".join(f"{item.name}: {item.reason}" for item in done.fallback)
    if done.parts != 1:
        raise InvalidArgumentError(
            f"one part of the graph should be on the TPU, not {done.parts}"
            + (f" ({lost})" if lost else "")
        )
    if len(done.programs) != 1:
        raise InvalidArgumentError(
            f"the TPU's part becomes {len(done.programs)} programs, not one: "
            + ", ".join(program.outputs[0].name for program in done.programs)
        )
    return done.programs[0]


def compile_programs(
    fetches: Any,
    config: TpuConfig | str = "default",
    shapes: Mapping[Any, Sequence[int]] | None = None,
    *,
    graph: Graph | None = None,
    dump: Dump | None = None,
) -> Compiled:
    """As `compile_graph`, for any number of programs; `dump(pass, text)` sees every pass."""
    items = list(fetches) if isinstance(fetches, (list, tuple)) else [fetches]
    first = next((item for item in items if isinstance(item, Operators)), None)
    home = graph or (first._operand().graph if first is not None else get_default_graph())
    try:
        core = TpuConfig.parse(config) if isinstance(config, str) else config
    except ConfigError as error:
        raise InvalidArgumentError(f"config {config!r}: {error}") from None
    wanted = tuple(_tensor(home, item) for item in items)
    given = {_tensor(home, key).op.name: tuple(size) for key, size in (shapes or {}).items()}
    unit = prune(Unit(home, fetches=wanted))
    static = specialise(unit.graph, given)
    for op in static.get_operations():
        if op.type == "placeholder" and not op.outputs[0].shape.known:
            raise InvalidArgumentError(
                f"placeholder {op.name!r} has shape {op.outputs[0].shape}: give it in shapes", op
            )
    inner = tuple(static.get_tensor_by_name(tensor.name) for tensor in unit.fetches)
    plan = compile_unit(Unit(static, fetches=inner), _Places(), dump)
    parts = [part for part in plan.partitions if part.device == "/tpu:0"]
    programs = []
    for number, part in enumerate(parts):
        prefix = f"tpu_{number}_"
        lowered = lower(part.graph, {}, dump and _prefixed(dump, prefix))
        for step in lowered.steps:
            if isinstance(step, DynamicStep):
                raise InvalidArgumentError(
                    f"op {step.op.where()} is not quantised: only the values of a run could give "
                    "its scales; use st.quantize first",
                    step.op,
                )
            if isinstance(step, NetworkStep):
                programs.append(compile_network(step.network, core))
    return Compiled(tuple(programs), len(parts), plan.fallback)


def _prefixed(dump: Dump, prefix: str) -> Dump:
    return lambda name, text: dump(prefix + name, text)


def _tensor(graph: Graph, item: Any) -> Tensor:
    element = graph.as_graph_element(item)
    return element.outputs[0] if isinstance(element, Operation) else element
