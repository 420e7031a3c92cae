"""Regroup: grouped convolutions and channel shuffles (ShuffleNet, AlexNet) as plain convolutions.

An array works on blocks of channels, so channels are cheap to keep in place and dear to move. A
grouped convolution is a plain one whose weights between groups are zero; a shuffle behind a
convolution is another order of its output channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sw.compiler.prune import prune
from sw.compiler.tpu.specialise import like
from sw.compiler.unit import Unit, rebuild
from sw.graph.build import constant_value
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

MOVES = ("transpose", "reshape")
MOST_ELEMENTS = 1 << 24
"""Of an activation whose rearrangement is followed element by element."""


def _users(unit: Unit) -> dict[Tensor, int]:
    """How often a tensor is read or fetched."""
    users: dict[Tensor, int] = {}
    for op in unit.graph.get_operations():
        for tensor in op.inputs:
            users[tensor] = users.get(tensor, 0) + 1
    for tensor in unit.fetches:
        users[tensor] = users.get(tensor, 0) + 1
    return users


def _groups(op: Operation) -> list[NDArray[np.float32]] | None:
    """The weights of the groups if `op` joins convolutions of the parts of one split tensor."""
    if op.type != "concat" or op.outputs[0].shape.rank != 4 or len(op.inputs) < 2:
        return None
    if op.attrs["axis"] % 4 != 3:
        return None
    found: list[NDArray[np.float32]] = []
    first = op.inputs[0].op
    for index, tensor in enumerate(op.inputs):
        conv = tensor.op
        if conv.type != "conv2d" or conv.attrs != first.attrs or conv.control_inputs:
            return None
        part, weights = conv.inputs[0], constant_value(conv.inputs[1])
        if part.op.type != "split" or part.op is not first.inputs[0].op or part.index != index:
            return None
        if weights is None or weights.dtype != np.float32:
            return None
        found.append(weights)
    split = first.inputs[0].op
    whole = len(split.outputs) == len(found) and split.attrs["axis"] % 4 == 3
    return found if whole else None


def block_diagonal(groups: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Weights `[kh, kw, cin, cout]` of several groups as those of one convolution."""
    kh, kw = groups[0].shape[:2]
    channels = [sum(group.shape[axis] for group in groups) for axis in (2, 3)]
    full = np.zeros((kh, kw, *channels), np.float32)
    row = column = 0
    for group in groups:
        full[:, :, row : row + group.shape[2], column : column + group.shape[3]] = group
        row, column = row + group.shape[2], column + group.shape[3]
    return full


def regroup(unit: Unit) -> Unit:
    """Each split, convolutions of its parts and their concatenation as one convolution that bears
    the concatenation's name.

    >>> from sw.compiler.unit import render
    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(1, 1, 1, 2), name="x")
    >>> parts = g.apply("split", x, axis=3, sizes=(1, 1))
    >>> form = {"strides": (1, 1), "padding": "VALID"}
    >>> w = [[[[2.0]]]], [[[[3.0]]]]
    >>> y = g.apply("concat", *(g.apply("conv2d", *a, **form) for a in zip(parts, w)), axis=3,
    ...             name="y")
    >>> made = regroup(Unit(g, fetches=(y,)))
    >>> print(render(made))
    x = placeholder() -> float32(1, 1, 1, 2)
    y/weights = const() -> float32(1, 1, 2, 2)
    y = conv2d(x, y/weights) -> float32(1, 1, 1, 2)
    want y:0
    >>> made.graph.get_operation_by_name("y/weights").attrs["value"].tolist()
    [[[[2.0, 0.0], [0.0, 3.0]]]]
    """
    splits: dict[Operation, Tensor] = {}

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        if op.type == "split":
            new = graph.copy_op(op, inputs, controls)
            splits[op] = inputs[0]
            return new
        groups = _groups(op)
        if groups is None or controls:
            return None
        first = op.inputs[0].op
        weights = graph.convert(block_diagonal(groups), name=f"{op.name}/weights/")
        source = splits[first.inputs[0].op]
        return like(graph, op, "conv2d", (source, weights), first.attrs)

    return prune(rebuild(unit, None, make))


@dataclass(frozen=True, eq=False)
class _Shuffle:
    """`linear`, then `chain` (biases and clamps), then moves that end in `end` and put its channel
    `order[c]` in place c."""

    linear: Operation
    chain: tuple[Operation, ...]
    end: Operation
    order: NDArray[np.int64]


def _shuffle(end: Operation, users: dict[Tensor, int]) -> _Shuffle | None:
    """The shuffle that ends in `end`; None if it moves anything but channels, or does not follow
    a convolution that nothing else reads."""
    if end.type not in MOVES:
        return None
    sizes = end.outputs[0].shape
    if sizes.rank != 4 or not sizes.known:
        return None
    moves: list[Operation] = []
    op = end
    while op.type in MOVES and (op is end or users[op.outputs[0]] == 1):
        moves.append(op)
        op = op.inputs[0].op
    source = moves[-1].inputs[0]
    if len(moves) < 3 or source.shape != sizes or users[source] != 1:
        return None
    order = _order(moves[::-1], sizes.sizes())
    chain: list[Operation] = []
    while op.type in ("relu", "relu6", "bias_add") and users[op.inputs[0]] == 1:
        if op.type == "bias_add" and constant_value(op.inputs[1]) is None:
            return None
        chain.append(op)
        op = op.inputs[0].op
    if order is None or op.type != "conv2d" or constant_value(op.inputs[1]) is None:
        return None
    return _Shuffle(op, tuple(chain[::-1]), end, order)


def _order(moves: list[Operation], sizes: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Which channel each channel of the result is, if the moves do nothing else."""
    if np.prod(sizes) > MOST_ELEMENTS:
        return None
    places = np.arange(np.prod(sizes), dtype=np.int64).reshape(sizes)
    moved = places
    for op in moves:
        given = [constant_value(tensor) for tensor in op.inputs[1:]]
        if any(value is None for value in given) or op.control_inputs:
            return None
        moved = op.op_def.bind(np, op.attrs)(moved, *given)
    order = moved[0, 0, 0]
    same = moved.shape == sizes and np.array_equal(moved, places[..., order % sizes[-1]])
    return order if same and order.max(initial=0) < sizes[-1] else None


def unshuffle(unit: Unit) -> Unit:
    """Channel shuffles behind convolutions (and their biases and clamps) as another order of the
    convolutions' output channels. The names of what lies between convolution and end are gone,
    the last one's stands for the whole.

    >>> from sw.compiler.unit import render
    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(1, 1, 1, 1), name="x")
    >>> y = g.apply("conv2d", x, [[[[1.0, 2.0, 3.0, 4.0]]]], strides=(1, 1), padding="VALID")
    >>> pairs = g.apply("reshape", y, [1, 1, 1, 2, 2])
    >>> z = g.apply("reshape", g.apply("transpose", pairs, perm=(0, 1, 2, 4, 3)), [1, 1, 1, 4],
    ...             name="z")
    >>> made = unshuffle(Unit(g, fetches=(z,)))
    >>> print(render(made))
    x = placeholder() -> float32(1, 1, 1, 1)
    z/weights = const() -> float32(1, 1, 1, 4)
    z = conv2d(x, z/weights) -> float32(1, 1, 1, 4)
    want z:0
    >>> made.graph.get_operation_by_name("z/weights").attrs["value"].ravel().tolist()
    [1.0, 3.0, 2.0, 4.0]
    """
    users = _users(unit)
    found = [_shuffle(op, users) for op in unit.graph.get_operations()]
    ends = {item.end: item for item in found if item is not None}
    sources: dict[Operation, Tensor] = {}
    linear = {item.linear for item in ends.values()}

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        if op in linear:
            sources[op] = inputs[0]
        if op not in ends or controls:
            return None
        item = ends[op]
        weights = constant_value(item.linear.inputs[1])
        assert weights is not None
        turned = np.ascontiguousarray(weights[..., item.order])
        new = item.linear
        for old in (item.linear, *item.chain):
            name = op.name if old is (item.linear, *item.chain)[-1] else f"{op.name}/{old.type}"
            if old is item.linear:
                second = (graph.convert(turned, name=f"{op.name}/weights/"),)
                given: tuple[Tensor, ...] = (sources[old], *second)
            elif old.type == "bias_add":
                bias = constant_value(old.inputs[1])
                assert bias is not None
                value = np.ascontiguousarray(bias[item.order])
                given = (new.outputs[0], graph.convert(value, name=f"{op.name}/bias/"))
            else:
                given = (new.outputs[0],)
            new = like(graph, old, old.type, given, old.attrs, name)
        return new

    return prune(rebuild(unit, None, make))
