"""Regions: which values of a frozen float graph become int8, and where.

A linear op with constant weights makes an int8 value and wants one. What can be done with int8
values alone (pools, additions, concatenations, maps of single values) goes on from there; a map is
quantised only where something int8 reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sw.compiler.tpu.support import (
    JOINED,
    LINEAR,
    VIEWS,
    WEIGHTED,
    WINDOWED,
    data_input,
    data_inputs,
    product_reason,
    rows_taken,
    swaps_last,
    table_operands,
    unsupported,
    vector_reason,
)
from sw.compiler.unit import Unit
from sw.graph.build import constant_value
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

Users = Mapping[Tensor, list[Operation]]
CLAMPS = ("relu", "relu6")


@dataclass(frozen=True)
class Chain:
    """A linear op and what its requantisation takes in: `bias` op or None, `end` the last op."""

    linear: Operation
    bias: Operation | None
    end: Operation

    @property
    def source(self) -> Tensor:
        """What the linear op multiplies with its weights."""
        return data_inputs(self.linear)[0]


@dataclass(frozen=True)
class Regions:
    """`chains`; `ends`, the last op behind each addition, product of tensors, concatenation and
    mean; `mapped`, the ops that become part of a table; `held`, the tensors that become int8, of
    these `closed`, those that an int8 op reads, and `symmetric`, those with zero point 0."""

    chains: list[Chain]
    ends: dict[Operation, Operation]
    mapped: frozenset[Operation]
    held: frozenset[Tensor]
    closed: tuple[Tensor, ...]
    symmetric: frozenset[Tensor]

    def measured(self) -> tuple[Tensor, ...]:
        """The tensors whose ranges give the scales."""
        tensors = [*self.closed, *(chain.end.outputs[0] for chain in self.chains)]
        tensors += [end.outputs[0] for end in self.ends.values()]
        return tuple(dict.fromkeys(tensors))


def is_view(op: Operation) -> bool:
    """Whether an op only shows a tensor, or rows of it, in another way."""
    return op.type in VIEWS or swaps_last(op) or rows_taken(op) is not None


def users_of(unit: Unit) -> Users:
    """The ops that read each tensor."""
    users: dict[Tensor, list[Operation]] = {}
    for op in unit.graph.get_operations():
        for tensor in op.inputs:
            users.setdefault(tensor, []).append(op)
    return users


def chains(unit: Unit) -> list[Chain]:
    """The chains of a frozen unit, in order. Each starts at a linear op with constant weights and
    follows tensors that have one use."""
    users, wanted = users_of(unit), set(unit.fetches)
    found = []
    for op in unit.graph.get_operations():
        if not _quantisable(op):
            continue
        bias, end = None, op
        while len(users.get(end.outputs[0], ())) == 1 and end.outputs[0] not in wanted:
            (user,) = users[end.outputs[0]]
            if user.type in CLAMPS:
                end = user
            elif end is op and user.type in ("add", "bias_add") and _is_bias(user, op):
                bias = end = user
            else:
                break
        found.append(Chain(op, bias, end))
    return found


def regions(unit: Unit) -> Regions:
    """What of a frozen unit becomes int8."""
    return _Finder(unit).run()


class _Finder:
    """The walk of `regions`: `held` are int8 values, `source` those that a map starts from."""

    def __init__(self, unit: Unit) -> None:
        self.unit, self.users = unit, users_of(unit)
        self.chains = chains(unit)
        self.held = {chain.source for chain in self.chains}
        self.ends: dict[Operation, Operation] = {}
        self.source: dict[Tensor, Tensor] = {}
        self.mapped: set[Operation] = set()
        self.closed: dict[Tensor, None] = {}
        for tensor in list(self.held):
            while rows_taken(tensor.op) is not None:  # all rows are quantised alike
                tensor = tensor.op.inputs[0]
                self.held.add(tensor)
                self.closed[tensor] = None
        self.symmetric: set[Tensor] = set()

    def run(self) -> Regions:
        made = {chain.end for chain in self.chains}
        for op in self.unit.graph.get_operations():
            if op in made or is_view(op) and op.inputs[0] in self.held:
                self.held.add(op.outputs[0])
            elif op.type == "max_pool" and self._int8(op.inputs[0]):
                self._close(op.inputs[0])
                self.held.add(op.outputs[0])
            elif op.type in WINDOWED + JOINED and self._vector(op) or self._product(op):
                self.ends[op] = end = self._end(op)
                self.held.add(end.outputs[0])
            else:
                self._map(op)
        for chain in self.chains:
            self._close(chain.source)
        mapped, held = frozenset(self.mapped), frozenset(self.held)
        return Regions(
            self.chains, self.ends, mapped, held, tuple(self.closed), frozenset(self.symmetric)
        )

    def _vector(self, op: Operation) -> bool:
        """Whether the vector unit does an op on int8 values; what it reads is closed then."""
        if op.type in WEIGHTED or len(set(op.inputs)) < len(op.inputs):
            return False
        if vector_reason(op) is not None:
            return False
        others = [tensor for tensor in op.inputs if not self._int8(tensor)]
        if len(others) == len(op.inputs) or not all(map(_is_given, others)):
            return False
        if all(tensor in self.source for tensor in op.inputs) or op.type == "mul":
            sources = {self.source.get(tensor, tensor) for tensor in op.inputs}
            if op.type in ("add", "mul") and len(sources) == 1:
                return False  # a map
        if op.type == "mul":
            self._balance(op)
        for tensor in op.inputs:
            self._close(tensor)
        return True

    def _product(self, op: Operation) -> bool:
        """Whether an op multiplies matrices that are both computed; they become int8 then."""
        if op.type != "matmul" or any(constant_value(tensor) is not None for tensor in op.inputs):
            return False
        if product_reason(op) is not None:
            return False
        self._balance(op)
        for tensor in op.inputs:
            self._close(tensor)
        return True

    def _balance(self, op: Operation) -> None:
        """Have the operands of a product at zero point 0: then it needs no correction."""
        for tensor in op.inputs:
            self.symmetric.add(tensor)
            while tensor.op.type == "max_pool" or is_view(tensor.op):
                tensor = tensor.op.inputs[0]
                self.symmetric.add(tensor)

    def _int8(self, tensor: Tensor) -> bool:
        return tensor in self.held or tensor in self.source

    def _end(self, op: Operation) -> Operation:
        """The last clamp behind an op."""
        while len(self.users.get(op.outputs[0], ())) == 1 and (
            op.outputs[0] not in self.unit.fetches
        ):
            (user,) = self.users[op.outputs[0]]
            if user.type not in CLAMPS:
                break
            op = user
        return op

    def _map(self, op: Operation) -> None:
        operands = op.inputs[:1] if op.type in VIEWS else table_operands(op)
        if not operands or len(op.outputs) != 1:
            return
        sources = {self.source.get(t, t if t in self.held else None) for t in operands}
        source = sources.pop()
        if not sources and source is not None:
            self.source[op.outputs[0]] = source

    def _close(self, tensor: Tensor) -> None:
        """Have a mapped tensor as int8: the ops from its source on become a table."""
        left = [tensor]
        while left:
            item = left.pop()
            if item in self.source and item.op not in self.mapped:
                self.mapped.add(item.op)
                left += item.op.inputs
        self.held.add(tensor)
        self.closed[tensor] = None


def _quantisable(op: Operation) -> bool:
    if op.type in LINEAR:
        reason = unsupported(op)
    else:
        reason = vector_reason(op) if op.type in WEIGHTED else "it has no weights"
    if reason is not None:
        return False
    weights = constant_value(op.inputs[1])
    constant_input = constant_value(data_inputs(op)[0]) is not None
    return weights is not None and not constant_input and not op.attrs.get("transpose_a")


def _is_given(tensor: Tensor) -> bool:
    """Whether a tensor is fed, or cut out of one that is, or of a constant: beside an int8 tensor
    it is quantised, too."""
    source = tensor.op
    if source.type == "strided_slice":
        return source.inputs[0].op.type in ("placeholder", "const")
    return source.type == "placeholder"


def _is_bias(op: Operation, linear: Operation) -> bool:
    vector = op.inputs[1] if data_input(op) is op.inputs[0] else op.inputs[0]
    value = constant_value(vector)
    channels = linear.outputs[0].shape[-1:] if linear.outputs[0].shape.rank else None
    return value is not None and value.shape == channels
