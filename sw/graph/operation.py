"""`Operation`: one node of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sw.graph.errors import NotFoundError
from sw.graph.registry import OpDef, TensorType
from sw.graph.source import Source
from sw.graph.tensor import Tensor

if TYPE_CHECKING:
    from sw.graph.graph import Graph


class Operation:
    """A node: what (`op_def`, `attrs`), of what (`inputs`), after what (`control_inputs`), where
    (`device`, possibly partial). `outputs` are its Tensors; `source` is the user's line."""

    __slots__ = (
        "attrs",
        "control_inputs",
        "device",
        "graph",
        "inputs",
        "name",
        "op_def",
        "outputs",
        "source",
    )

    def __init__(
        self,
        graph: Graph,
        name: str,
        op_def: OpDef,
        inputs: tuple[Tensor, ...],
        attrs: Mapping[str, Any],
        types: Sequence[TensorType],
        control_inputs: tuple[Operation, ...] = (),
        device: str = "",
        source: Source = Source("", 0),  # noqa: B008 (an immutable value)
    ) -> None:
        self.graph = graph
        self.name = name
        self.op_def = op_def
        self.inputs = inputs
        self.attrs = attrs
        self.control_inputs = control_inputs
        self.device = device
        self.source = source
        self.outputs = tuple(
            Tensor(self, index, dtype, shape) for index, (dtype, shape) in enumerate(types)
        )

    @property
    def type(self) -> str:
        """The op's name in the registry ("matmul")."""
        return self.op_def.name

    def get_attr(self, name: str) -> Any:
        """Attribute `name`; raises `NotFoundError` listing those that exist."""
        if name not in self.attrs:
            raise NotFoundError(
                f"op {self.name!r} ({self.type}) has no attribute {name!r}, only "
                f"{sorted(self.attrs)}",
                self,
            )
        return self.attrs[name]

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run this op in `session` or the default session."""
        self.graph.session_for(session).run(self, feed_dict)

    def where(self) -> str:
        """`'name' (type, file:line)`: how errors call this op."""
        return f"{self.name!r} ({self.type}, {self.source})"

    def __repr__(self) -> str:
        return f"<st.Operation {self.name!r} type={self.type}>"
