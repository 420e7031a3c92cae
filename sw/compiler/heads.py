"""Heads: the heads of attention become tensors of their own.

A projection that is cut into heads (a reshape to `[N, rows, heads, size]` and a transpose that
brings the heads before the rows) is as many projections with a share of its weights each, and what
follows is done head by head, up to the reshape that joins them: a concatenation. So no channel
moves between the products, and the TPU has nothing to transpose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from sw.compiler.prune import prune
from sw.compiler.tpu.specialise import like
from sw.compiler.tpu.support import UNARY, swaps_last
from sw.compiler.unit import Unit
from sw.graph.build import constant_value
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
BY_ROWS = (0, 2, 1, 3)
"""Heads before rows, and back."""
TURNED = (0, 2, 3, 1)
"""Heads before the transposed matrix."""


def separate_heads(unit: Unit) -> Unit:
    """A frozen unit with a tensor for each head.

    >>> from sw.compiler.unit import render
    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(1, 3, 2), name="x")
    >>> w = np.eye(2, 4, dtype=np.float32)
    >>> y = g.apply("reshape", g.apply("matmul", x, w, name="y"), np.array([1, 3, 2, 2]))
    >>> y = g.apply("exp", g.apply("transpose", y, perm=BY_ROWS), name="e")
    >>> y = g.apply("reshape", g.apply("transpose", y, perm=BY_ROWS), np.array([1, 3, 4]), name="z")
    >>> for op in separate_heads(Unit(g, fetches=(y,))).graph.get_operations():
    ...     if op.type != "const":
    ...         print(op.name, op.type, op.outputs[0].shape)
    x placeholder (1, 3, 2)
    y/head0 matmul (1, 3, 2)
    y/head1 matmul (1, 3, 2)
    e/head0 exp (1, 3, 2)
    e/head1 exp (1, 3, 2)
    z concat (1, 3, 4)
    """
    done = _Walk(unit).run()
    return unit if done is None else prune(done)


class _Walk:
    """`made` maps old tensors to new ones, `heads` those `[N, heads, rows, size]` to a tensor
    `[N, rows, size]` for each head, `back` the same of transposes back to rows."""

    def __init__(self, unit: Unit) -> None:
        self.unit, self.graph = unit, Graph()
        self.graph.seed = unit.graph.seed
        self.uses = Counter(t for op in unit.graph.get_operations() for t in op.inputs)
        self.uses.update(unit.fetches)
        self.made: dict[Tensor, Tensor] = {}
        self.heads: dict[Tensor, list[Tensor]] = {}
        self.back: dict[Tensor, list[Tensor]] = {}
        self.after: dict[Operation, Operation] = {}

    def run(self) -> Unit | None:
        found = False
        for op in self.unit.graph.get_operations():
            controls = tuple(self.after[c] for c in op.control_inputs if c in self.after)
            if not op.control_inputs and self._separated(op):
                found = True
                continue
            inputs = tuple(map(self._value, op.inputs))
            self.after[op] = copy = self.graph.copy_op(op, inputs, controls)
            self.made.update(zip(op.outputs, copy.outputs, strict=True))
        if not found:
            return None
        fetches = tuple(map(self._value, self.unit.fetches))
        self.graph.finalize()
        return replace(
            self.unit,
            graph=self.graph,
            feeds=tuple(self.made[tensor] for tensor in self.unit.feeds),
            fetches=fetches,
            targets=tuple(self.after[op] for op in self.unit.targets),
        )

    def _value(self, tensor: Tensor) -> Tensor:
        """The whole tensor, put together from its heads where it has some."""
        if tensor not in self.made:
            axis = 1 if tensor in self.heads else 2
            parts: Any = self.heads[tensor] if axis == 1 else self.back[tensor]
            name = f"{tensor.op.name}/heads"
            self.made[tensor] = self.graph.apply("stack", *parts, axis=axis, name=name)
        return self.made[tensor]

    def _separated(self, op: Operation) -> bool:
        """Whether an op is done head by head."""
        if len(op.outputs) != 1:
            return False
        result = op.outputs[0]
        known = [tensor in self.heads for tensor in op.inputs]
        if not any(known):
            return self._split(op) or self._join(op)
        if op.type == "transpose" and tuple(op.attrs["perm"] or ()) == BY_ROWS:
            self.back[result] = self.heads[op.inputs[0]]
            return True
        if swaps_last(op):
            attrs: dict[str, Any] = {"perm": (0, 2, 1)}
            self._each(op, "transpose", [self.heads[op.inputs[0]]], attrs)
            return True
        if op.type == "matmul" and all(known):
            self._each(op, op.type, [self.heads[tensor] for tensor in op.inputs], op.attrs)
            return True
        if op.type in ("softmax", "log_softmax") and op.attrs["axis"] in (-1, 3):
            self._each(op, op.type, [self.heads[op.inputs[0]]], {**op.attrs, "axis": -1})
            return True
        if op.type in UNARY or op.type in BINARY:
            operands = [self._operand(tensor, result) for tensor in op.inputs]
            if all(item is not None for item in operands):
                self._each(op, op.type, operands, op.attrs)
                return True
        return False

    def _operand(self, tensor: Tensor, result: Tensor) -> list[Tensor] | None:
        """What each head reads; None if it is neither of heads nor the same for all of them."""
        if tensor in self.heads:
            return self.heads[tensor] if tensor.shape == result.shape else None
        value = constant_value(tensor)
        count = (result.shape.dims or ())[1]
        if value is None or count is None or value.ndim > 2 and value.size > 1:
            return None
        if value.ndim <= 2:
            return [self._value(tensor)] * count
        return [self._const(value.ravel()[0], f"{result.op.name}/{tensor.op.name}")] * count

    def _const(self, value: Any, name: str) -> Tensor:
        return self.graph.convert(np.asarray(value), name=f"{name}/constant")

    def _each(self, op: Operation, kind: str, operands: Any, attrs: Any) -> None:
        self.heads[op.outputs[0]] = [
            like(self.graph, op, kind, inputs, attrs, f"{op.name}/head{number}").outputs[0]
            for number, inputs in enumerate(zip(*operands, strict=True))
        ]

    def _split(self, op: Operation) -> bool:
        """A projection cut into heads."""
        perm = tuple(op.attrs["perm"] or ()) if op.type == "transpose" else ()
        if perm not in (BY_ROWS, TURNED) or op.inputs[0].op.type != "reshape":
            return False
        cut = op.inputs[0].op
        whole = cut.inputs[0]
        dims, wide = op.inputs[0].shape.dims or (), whole.shape.dims or ()
        if len(wide) != 3 or wide[1] != dims[1] or None in dims[2:]:
            return False
        heads, size = dims[2:]
        bias, linear = None, whole.op
        if linear.type in ("add", "bias_add"):
            bias, linear = constant_value(linear.inputs[1]), linear.inputs[0].op
            if bias is None or bias.shape != (wide[2],):
                return False
        weights = constant_value(linear.inputs[1]) if linear.type == "matmul" else None
        alone = all(self.uses[tensor] == 1 for tensor in (whole, linear.outputs[0]))
        if weights is None or weights.ndim != 2 or not alone or linear.attrs["transpose_a"]:
            return False
        if linear.attrs["transpose_b"]:
            weights = weights.T
        parts = []
        for number in range(heads or 0):
            mine = slice(number * (size or 0), (number + 1) * (size or 0))
            name = f"/head{number}"
            w = self._const(np.ascontiguousarray(weights[:, mine]), linear.name + name)
            x = self._value(linear.inputs[0])
            y = like(self.graph, linear, "matmul", (x, w), {}, linear.name + name).outputs[0]
            if bias is not None:
                b = self._const(bias[mine], whole.op.name + name)
                added = like(self.graph, whole.op, "bias_add", (y, b), {}, whole.op.name + name)
                y = added.outputs[0]
            if perm == TURNED:
                turned: dict[str, Any] = {"perm": (0, 2, 1)}
                y = like(self.graph, op, "transpose", (y,), turned, op.name + name).outputs[0]
            parts.append(y)
        self.heads[op.outputs[0]] = parts
        return True

    def _join(self, op: Operation) -> bool:
        """The heads' results side by side."""
        parts = self.back.get(op.inputs[0]) if op.inputs else None
        dims, result = op.inputs[0].shape.dims if parts else (), op.outputs[0].shape.dims or ()
        if not parts or not dims or op.type != "reshape" or None in dims[2:]:
            return False
        if len(result) != 3 or result[1] != dims[1] or result[2] != len(parts) * (dims[3] or 0):
            return False
        joined = like(self.graph, op, "concat", tuple(parts), {"axis": 2}, op.name)
        self.made[op.outputs[0]] = joined.outputs[0]
        return True
