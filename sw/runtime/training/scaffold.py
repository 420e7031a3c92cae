"""`Scaffold`: the pieces that a training session needs, filled in where none were given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sw.graph.build import apply, control_dependencies
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.operation import Operation
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
        if not graph.finalized:
            tables = graph.get_collection(GraphKeys.TABLE_INITIALIZERS)
            if self.init_op is None:
                self.init_op = _grouped([global_variables_initializer()], "init_all")
            if self.ready_op is None:
                self.ready_op = report_uninitialized_variables(
                    graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
                )
            if self.local_init_op is None:
                self.local_init_op = _grouped([local_variables_initializer(), *tables], "local")
            if self.summary_op is None:
                parts = graph.get_collection(GraphKeys.SUMMARIES)
                if parts:
                    self.summary_op = (
                        apply("concat", *parts, axis=0) if len(parts) > 1 else parts[0]
                    )
        if self.saver is None:
            given = graph.get_collection(GraphKeys.SAVERS)
            self.saver = given[0] if given else Saver(allow_empty=True)
        self.saver.build()
        graph.finalize()
        return self
