"""`Scaffold`: the pieces that a training session needs, filled in where none were given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sw.graph.build import apply, control_dependencies
from sw.graph.graph import Graph, GraphKeys, get_default_graph
from sw.graph.operation import Operation
from sw.graph.ops.summaries import merge_all
from sw.graph.ops.variables import (
    global_variables_initializer,
    local_variables_initializer,
    report_uninitialized_variables,
)
from sw.runtime.checkpoint.saver import Saver


def _grouped(ops: list[Any], name: str) -> Operation:
    with control_dependencies(ops):
        made: Operation = apply("no_op", name=name)
    return made


def _once(graph: Graph, name: str, make: Callable[[], Any]) -> Any:
    """What `make` gives, kept in a collection: a finalised graph has it from an earlier session."""
    found = graph.get_collection(name)
    if not found and not graph.finalized:
        found = [make()]
        if found[0] is not None:
            graph.add_to_collection(name, found[0])
    return found[0] if found else None


class Scaffold:
    """`init_op` (with `init_feed_dict`, then `init_fn(scaffold, session)`) runs when there is no
    checkpoint, `local_init_op` always; `ready_op` tells which global variables still lack a value;
    `saver` writes checkpoints, `summary_op` makes what a SummarySaverHook writes."""

    def __init__(
        self,
        init_op: Any = None,
        init_feed_dict: Mapping[Any, Any] | None = None,
        init_fn: Callable[[Scaffold, Any], None] | None = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        local_init_op: Any = None,
        summary_op: Any = None,
        saver: Any = None,
        copy_from_scaffold: Scaffold | None = None,
    ) -> None:
        other = copy_from_scaffold

        def chosen(value: Any, name: str) -> Any:
            return value if value is not None or other is None else getattr(other, name)

        self.init_op = chosen(init_op, "init_op")
        self.init_feed_dict = chosen(init_feed_dict, "init_feed_dict")
        self.init_fn = chosen(init_fn, "init_fn")
        self.ready_op = chosen(ready_op, "ready_op")
        self.ready_for_local_init_op = chosen(ready_for_local_init_op, "ready_for_local_init_op")
        self.local_init_op = chosen(local_init_op, "local_init_op")
        self.summary_op = chosen(summary_op, "summary_op")
        self.saver = chosen(saver, "saver")

    def finalize(self) -> Scaffold:
        """Make what is missing, and allow no further op in the default graph."""
        graph = get_default_graph().root
        every = graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
        tables = graph.get_collection(GraphKeys.TABLE_INITIALIZERS)
        made = {
            "init_op": lambda: _grouped([global_variables_initializer()], "init_all"),
            "ready_op": lambda: report_uninitialized_variables(every),
            "local_init_op": lambda: _grouped([local_variables_initializer(), *tables], "local"),
            "summary_op": merge_all,
        }
        for name, make in made.items():
            if getattr(self, name) is None:
                setattr(self, name, _once(graph, name, make))
        if self.saver is None:
            given = graph.get_collection(GraphKeys.SAVERS)
            self.saver = given[0] if given else Saver(allow_empty=True)
        self.saver.build()
        graph.finalize()
        return self
