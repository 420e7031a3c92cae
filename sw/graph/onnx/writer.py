"""Writer: the nodes and names of an ONNX model while a graph is exported.

Images are NHWC in our graphs and NCHW in the standard. Each tensor may therefore be there in two
layouts, as it is ("plain") and with its channels first; either is made of the other by one
Transpose when something asks for it, so that a network that stays in images has none inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sw.graph.build import constant_value
from sw.graph.dtypes import DType
from sw.graph.errors import UnimplementedError
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
FIRST_AXIS = (0, 2, 3, 1)
"""Where axis i of an NHWC tensor is in NCHW."""

Rule = Callable[["Writer", Operation], None]


class Writer:
    """Collects a model's nodes. `users` says who uses a tensor (fetches count as None), `rules` how
    an op is written (None: it cannot be); `names` are those that tensors must get."""

    def __init__(
        self,
        users: dict[Tensor, list[Operation | None]],
        rules: Callable[[Operation], Rule | None],
        opset: int,
    ) -> None:
        self.users, self.rules, self.opset = users, rules, opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.done: set[Operation] = set()
        self.taken: set[str] = set()
        self.names: dict[Tensor, str] = {}
        self.node_names: set[str] = set()
        self.current: Operation | None = None
        self._plain: dict[Tensor, str] = {}
        self._first: dict[Tensor, str] = {}
        self._remake: dict[Tensor, Callable[[], None]] = {}

    # --- values -------------------------------------------------------------------------------

    def write(self, op: Operation) -> None:
        """Write `op`, once. Raises `UnimplementedError` for what a model cannot say."""
        if op in self.done or op.type == "const":
            return
        self.done.add(op)
        rule = self.rules(op)
        if rule is None or op.control_inputs:
            raise UnimplementedError(f"{op.where()}: ONNX export has no {op.type}", op)
        before, self.current = self.current, op
        rule(self, op)
        self.current = before

    def plain(self, tensor: Tensor) -> str:
        """The name of the value of `tensor` as it is."""
        self._made(tensor)
        if tensor not in self._plain:
            if tensor in self._first:
                name = self._name(tensor, "")
                self.raw("Transpose", [self._first[tensor]], [name], perm=TO_LAST)
                self._plain[tensor] = name
            elif tensor.op.type == "const":
                name = self._name(tensor, "")
                self._plain[tensor] = self.initializer(tensor.op.attrs["value"], name)
            else:
                raise UnimplementedError(f"{tensor.op.where()} has no value to export", tensor.op)
        return self._plain[tensor]

    def first(self, tensor: Tensor) -> str:
        """The name of the value of an NHWC `tensor` as NCHW."""
        self._made(tensor)
        if tensor not in self._first:
            value = constant_value(tensor) if tensor.op.type == "const" else None
            if value is not None:
                turned = np.ascontiguousarray(value.transpose(TO_FIRST))
                self._first[tensor] = self.initializer(turned, self._name(tensor, "/nchw"))
            elif tensor in self._remake:
                self._remake[tensor]()
            else:
                name = self._name(tensor, "/nchw")
                self.raw("Transpose", [self.plain(tensor)], [name], perm=TO_FIRST)
                self._first[tensor] = name
        return self._first[tensor]

    def _made(self, tensor: Tensor) -> None:
        """A rule may ask for what comes later in the graph: a bias that is dequantised."""
        if tensor not in self._plain and tensor not in self._first:
            self.write(tensor.op)

    def is_first(self, tensor: Tensor) -> bool:
        """Whether the value is there as NCHW."""
        return tensor in self._first

    def set(self, tensor: Tensor, name: str, first: bool = False) -> None:
        """The value called `name` is `tensor`."""
        (self._first if first else self._plain)[tensor] = name

    def remake(self, tensor: Tensor, make: Callable[[], None]) -> None:
        """How to make the NCHW value of `tensor` other than by a Transpose of it."""
        self._remake[tensor] = make

    def operand(self, tensor: Tensor, first: bool) -> str | None:
        """An operand that is broadcast against NHWC values, or against NCHW ones; None where
        that cannot be said."""
        rank, size = tensor.shape.rank, tensor.shape.num_elements()
        if not first or size == 1 and (rank or 0) <= 4:
            return self.plain(tensor)
        if rank == 4:
            return self.first(tensor)
        value = constant_value(tensor) if tensor.op.type == "const" else None
        if value is not None:
            wide = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(TO_FIRST)
            return self.initializer(np.ascontiguousarray(wide), f"{tensor.op.name}/nchw")
        if rank == 1:
            sizes = self.initializer(np.array([1, -1, 1, 1]), f"{tensor.op.name}/sizes")
            return self.emit("Reshape", [self.plain(tensor), sizes], f"{tensor.op.name}/nchw")
        return None

    # --- nodes --------------------------------------------------------------------------------

    def result(
        self, kind: str, inputs: Sequence[str], tensor: Tensor, first: bool = False, **attrs: Any
    ) -> None:
        """A node whose one output is `tensor`."""
        name = self._name(tensor, "/nchw" if first else "")
        self.raw(kind, inputs, [name], last=True, **attrs)
        self.set(tensor, name, first)

    def emit(self, kind: str, inputs: Sequence[str], name: str, **attrs: Any) -> str:
        """A node between; the name of its output."""
        made = self.unique(name)
        self.raw(kind, inputs, [made], **attrs)
        return made

    def raw(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        last: bool = False,
        **attrs: Any,
    ) -> None:
        """A node with the names of its values; `last`: it makes the results of the op."""
        given = {key: value for key, value in attrs.items() if value is not None}
        of = self.current.name if self.current is not None else outputs[0]
        # the node that makes the op's result bears the op's name, as far as that is free
        name = of if last and of not in self.node_names else f"{of}/{kind}"
        while name in self.node_names:
            name += "_"
        self.node_names.add(name)
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name, **given))

    def initializer(self, value: Any, name: str) -> str:
        """A constant; its name."""
        made = self.unique(name)
        self.initializers.append(numpy_helper.from_array(np.asarray(value), made))
        return made

    def outputs(self, op: Operation, first: bool = False) -> list[str]:
        """Names for all outputs of `op`, which the caller makes."""
        names = [self._name(tensor, "/nchw" if first else "") for tensor in op.outputs]
        for tensor, name in zip(op.outputs, names, strict=True):
            self.set(tensor, name, first)
        return names

    def only_user(self, tensor: Tensor) -> Operation | None:
        """The op that alone uses `tensor`."""
        users = self.users.get(tensor, [])
        return users[0] if len(users) == 1 else None

    def unique(self, name: str) -> str:
        """`name`, numbered if it is taken, and taken from now on."""
        found, count = name, 0
        while found in self.taken:
            count += 1
            found = f"{name}_{count}"
        self.taken.add(found)
        return found

    def _name(self, tensor: Tensor, suffix: str) -> str:
        if not suffix and tensor in self.names:
            return self.names[tensor]
        index = f":{tensor.index}" if tensor.index else ""
        return self.unique(f"{tensor.op.name}{index}{suffix}")


def element_type(dtype: DType) -> int:
    """The standard's number of an element type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype.numpy)))


def axis_of(axis: int, rank: int, first: bool) -> int:
    """A (possibly negative) axis of ours in the layout that is exported."""
    positive = axis % rank if rank else axis
    return FIRST_AXIS[positive] if first else positive
