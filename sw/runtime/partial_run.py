"""Partial runs: one step in several calls, each op at most once, what was computed kept between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sw.compiler.unit import Unit
from sw.graph.dtypes import resource, variant
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor
from sw.runtime.feeding import value_for

Run = Callable[[Unit, Sequence[Any]], Sequence[Any]]


class PartialRun:
    """One step under way. `feeds` and `fetches` are what its calls may feed and fetch, each once.

    Handles of variables and values that are no arrays (of a TensorArray) are not kept: their ops
    may run again in a later call.
    """

    def __init__(
        self, graph: Graph, feeds: Sequence[Tensor], fetches: Sequence[Tensor | Operation], run: Run
    ) -> None:
        self._graph, self._run = graph, run
        self._feeds, self._fetches = set(feeds), list(fetches)
        self._values: dict[Tensor, Any] = {}
        self._done: set[Operation] = set()
        self._given: set[Any] = set()
        self._needed = self._before(self._fetches, self._feeds)

    def _before(self, wanted: Sequence[Any], known: set[Tensor]) -> set[Operation]:
        """The ops that `wanted` needs, given the values of `known`, without those that are done."""
        found: set[Operation] = set()
        stack = [w.op if isinstance(w, Tensor) else w for w in wanted if w not in known]
        while stack:
            op = stack.pop()
            if op in found or op in self._done:
                continue
            found.add(op)
            stack += [t.op for t in op.inputs if t not in known] + list(op.control_inputs)
        return found

    def step(self, wanted: Sequence[Tensor | Operation], given: Mapping[Tensor, Any]) -> list[Any]:
        """The values of `wanted` (None for an op) now that `given` is fed too.

        Raises `InvalidArgumentError` for what was not announced, is fed or fetched a second time,
        or needs a feed that has not come.
        """
        for tensor in given:
            if tensor not in self._feeds or tensor in self._given:
                why = "was fed already" if tensor in self._given else "was not announced"
                raise InvalidArgumentError(f"partial run: {tensor.name!r} {why}")
        for item in wanted:
            if item not in self._fetches or ("fetch", item) in self._given:
                again = ("fetch", item) in self._given
                why = "was fetched already" if again else "was not announced"
                raise InvalidArgumentError(f"partial run: {item.name!r} {why}")
        values = {**self._values, **{t: value_for(t, v) for t, v in given.items()}}
        fresh = self._before(wanted, set(values))
        waiting = [t for t in self._feeds if t not in values and t.op in fresh]
        if waiting:
            raise InvalidArgumentError(f"partial run: {waiting[0].name!r} must be fed first")
        later = self._needed - self._done - fresh
        kept = [
            tensor
            for op in self._graph.get_operations()
            if op in fresh
            for tensor in op.outputs
            if tensor.dtype not in (resource, variant)
            and any(tensor in other.inputs for other in later)
        ]
        asked = [w for w in wanted if isinstance(w, Tensor) and w not in values]
        outputs = list(dict.fromkeys([*asked, *kept]))
        targets = [w for w in wanted if isinstance(w, Operation) and w not in self._done]
        if outputs or targets:
            unit = self._unit(fresh, values, outputs, targets)
            names = [t for t in values if t in self._moved]
            results = self._run(unit, [values[t] for t in names])
            values.update(zip(outputs, results, strict=True))
        self._values = values
        self._done |= {op for op in fresh if not _handle(op)}
        self._given |= set(given) | {("fetch", w) for w in wanted}
        return [values[w] if isinstance(w, Tensor) else None for w in wanted]

    def _unit(
        self,
        fresh: set[Operation],
        values: Mapping[Tensor, Any],
        outputs: Sequence[Tensor],
        targets: Sequence[Operation],
    ) -> Unit:
        """A graph of the ops that run now; what they need of the others is fed."""
        graph = Graph()
        graph.seed = self._graph.seed
        self._moved: dict[Tensor, Tensor] = {}
        copies: dict[Operation, Operation] = {}
        used = {t for op in fresh for t in op.inputs if t in values}
        for op in self._graph.get_operations():
            for tensor in op.outputs:
                if tensor in used:
                    feed = graph.create_op(
                        "placeholder", (), {"dtype": tensor.dtype, "shape": tensor.shape}
                    )
                    self._moved[tensor] = feed.outputs[0]
            if op not in fresh:
                continue
            inputs = tuple(
                self._moved[t] if t in used else copies[t.op].outputs[t.index] for t in op.inputs
            )
            controls = tuple(copies[c] for c in op.control_inputs if c in copies)
            copies[op] = graph.copy_op(op, inputs, controls)
        return Unit(
            graph,
            tuple(self._moved[t] for t in values if t in self._moved),
            tuple(copies[t.op].outputs[t.index] for t in outputs),
            tuple(copies[t] for t in targets),
        )


def _handle(op: Operation) -> bool:
    return any(t.dtype in (resource, variant) for t in op.outputs)
