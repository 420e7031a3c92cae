"""Reversing, rolling, blocks of space, masks and bit patterns."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, constant_value, graph_of, register_op
from sw.graph.dtypes import DType, as_dtype
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.ops.helpers import BOOL, require_rank
from sw.graph.ops.shaping import static_ints
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape, broadcast, normalise_axis
from sw.graph.tensor import Tensor


def _axes_type(inputs: tuple[Tensor, ...], axis: tuple[int, ...], **attrs: Any) -> TensorType:
    for at in axis:
        normalise_axis(at, inputs[0].shape.rank)
    return TensorType(inputs[0].dtype, inputs[0].shape)


register_op(
    "reverse",
    kernel=lambda xp, x, axis: np.flip(x, axis),
    infer=_axes_type,
    gradient=lambda op, g: [apply("reverse", g, **op.attrs)],
    attrs={"axis": REQUIRED},
    host_only=True,
    doc="Its input backwards along the axes.",
)
register_op(
    "roll",
    kernel=lambda xp, x, shift, axis: np.roll(x, shift, axis),
    infer=_axes_type,
    gradient=lambda op, g: [
        apply("roll", g, shift=tuple(-s for s in op.attrs["shift"]), axis=op.attrs["axis"])
    ],
    attrs={"shift": REQUIRED, "axis": REQUIRED},
    host_only=True,
    doc="Its input moved along the axes; what leaves at one end enters at the other.",
)


def _reverse_rows(xp: Any, x: Any, lengths: Any, seq_axis: int, batch_axis: int) -> Any:
    moved = np.array(np.moveaxis(x, (batch_axis, seq_axis), (0, 1)))
    for row, length in zip(moved, lengths, strict=True):
        row[: int(length)] = row[: int(length)][::-1].copy()
    return np.moveaxis(moved, (0, 1), (batch_axis, seq_axis))


register_op(
    "reverse_sequence",
    kernel=_reverse_rows,
    infer=lambda inputs, **attrs: TensorType(inputs[0].dtype, inputs[0].shape),
    gradient=lambda op, g: [apply("reverse_sequence", g, op.inputs[1], **op.attrs), None],
    attrs={"seq_axis": REQUIRED, "batch_axis": 0},
    host_only=True,
    doc="The first inputs[1][i] elements of row i backwards.",
)


def _depth_type(inputs: tuple[Tensor, ...], block: int, inward: bool) -> TensorType:
    require_rank(inputs[0], 4, "the image [N, H, W, C]")
    n, h, w, c = inputs[0].shape.dims or (None,) * 4
    small, large = ((h, w), (c,)) if inward else ((c,), (h, w))
    step = block if inward else block * block
    if any(s is not None and s % step for s in small):
        raise ShapeError(f"{inputs[0].shape} does not divide by blocks of {block}")
    if inward:
        sizes = [None if s is None else s // block for s in (h, w)]
        return TensorType(
            inputs[0].dtype, Shape((n, *sizes, None if c is None else c * block * block))
        )
    sizes = [None if s is None else s * block for s in large]
    return TensorType(
        inputs[0].dtype, Shape((n, *sizes, None if c is None else c // (block * block)))
    )


def _depth(xp: Any, x: Any, block: int, inward: bool) -> Any:
    n, h, w, c = x.shape
    if inward:
        split = x.reshape(n, h // block, block, w // block, block, c)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // block, w // block, -1)
    split = x.reshape(n, h, w, block, block, c // (block * block))
    return split.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * block, w * block, -1)


register_op(
    "space_to_depth",
    kernel=_depth,
    infer=_depth_type,
    gradient=lambda op, g: [
        apply("space_to_depth", g, block=op.attrs["block"], inward=not op.attrs["inward"])
    ],
    attrs={"block": REQUIRED, "inward": True},
    host_only=True,
    doc="Blocks of pixels become channels (`inward`), or channels blocks of pixels.",
)


def _bitcast_type(inputs: tuple[Tensor, ...], dtype: DType) -> TensorType:
    shape, have = inputs[0].shape, inputs[0].dtype.size
    if have == dtype.size:
        return TensorType(dtype, shape)
    if have > dtype.size:
        return TensorType(dtype, shape.concatenate([have // dtype.size]))
    if shape.dims is not None and (
        not shape.dims or shape.dims[-1] not in (None, dtype.size // have)
    ):
        raise ShapeError(f"{inputs[0].dtype}{shape} cannot become {dtype}")
    return TensorType(dtype, shape[:-1])


def _bitcast(xp: Any, x: Any, dtype: DType) -> Any:
    solid = np.ascontiguousarray(x)
    have = solid.dtype.itemsize
    if have == dtype.size:
        return solid.view(dtype.numpy).reshape(np.shape(x))
    if have > dtype.size:
        return solid.reshape(*np.shape(x), 1).view(dtype.numpy)
    return solid.view(dtype.numpy)[..., 0]


register_op(
    "bitcast",
    kernel=_bitcast,
    infer=_bitcast_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": REQUIRED},
    host_only=True,
    doc="The same bytes read as another dtype.",
)
register_op(
    "sequence_mask",
    kernel=lambda xp, lengths, maxlen: np.arange(int(maxlen)) < np.asarray(lengths)[..., None],
    infer=lambda inputs: TensorType(
        BOOL,
        inputs[0].shape.concatenate([None if (m := constant_value(inputs[1])) is None else int(m)]),
    ),
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="True for the first inputs[0] of inputs[1] elements of a new last axis.",
)


def _window(x: Any, begin: Any, size: Any) -> tuple[slice, ...]:
    ends = np.asarray(begin) + np.asarray(size)
    if (np.asarray(begin) < 0).any() or (ends > x.shape).any():
        raise IndexError(f"a slice of {list(size)} at {list(begin)} leaves shape {x.shape}")
    return tuple(slice(int(b), int(e)) for b, e in zip(begin, ends, strict=True))


def _put_window(xp: Any, g: Any, begin: Any, like: Any) -> Any:
    out = np.zeros_like(like)
    out[_window(out, begin, g.shape)] = g
    return out


register_op(
    "dynamic_slice_grad",
    kernel=_put_window,
    infer=lambda inputs: TensorType(inputs[0].dtype, inputs[2].shape),
    host_only=True,
    doc="Zeros like inputs[2] with inputs[0] at the place inputs[1].",
)
register_op(
    "dynamic_slice",
    kernel=lambda xp, x, begin, size: x[_window(x, begin, size)],
    infer=lambda inputs: TensorType(inputs[0].dtype, constant_shape(inputs[2])),
    gradient=lambda op, g: [
        apply("dynamic_slice_grad", g, op.inputs[1], op.inputs[0]),
        None,
        None,
    ],
    host_only=True,
    doc="inputs[2] elements from inputs[1] along each axis.",
)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """`tensor` backwards along `axis` (numbers; a list of bools, one per axis, as in 2016)."""
    given = static_ints(axis, "axis") if not _bools(axis) else np.flatnonzero(axis)
    axes = tuple(int(a) for a in np.atleast_1d(given))
    out: Tensor = apply("reverse", tensor, name=name, axis=axes)
    return out


def _bools(axis: Any) -> bool:
    return isinstance(axis, (list, tuple, np.ndarray)) and np.asarray(axis).dtype == np.bool_


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """`input` moved by `shift` along `axis`, round the end."""
    shifts = tuple(int(s) for s in np.atleast_1d(static_ints(shift, "shift")))
    axes = tuple(int(a) for a in np.atleast_1d(static_ints(axis, "axis")))
    if len(shifts) != len(axes):
        raise ShapeError(f"{len(shifts)} shifts for {len(axes)} axes")
    out: Tensor = apply("roll", input, name=name, shift=shifts, axis=axes)
    return out


def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: int | None = None,
    batch_axis: int | None = None,
    name: str | None = None,
    seq_dim: int | None = None,
    batch_dim: int | None = None,
) -> Tensor:
    """The first `seq_lengths[i]` elements of row i of `batch_axis` backwards along `seq_axis`."""
    along = seq_axis if seq_dim is None else seq_dim
    rows = batch_axis if batch_dim is None else batch_dim
    if along is None:
        raise ShapeError("reverse_sequence needs seq_axis")
    out: Tensor = apply(
        "reverse_sequence", input, seq_lengths, name=name, seq_axis=along, batch_axis=rows or 0
    )
    return out


def space_to_depth(input: Any, block_size: int, name: str | None = None) -> Tensor:
    """[N, H, W, C] to [N, H/b, W/b, C*b*b]."""
    out: Tensor = apply("space_to_depth", input, name=name, block=int(block_size), inward=True)
    return out


def depth_to_space(input: Any, block_size: int, name: str | None = None) -> Tensor:
    """[N, H, W, C*b*b] to [N, H*b, W*b, C]."""
    out: Tensor = apply("space_to_depth", input, name=name, block=int(block_size), inward=False)
    return out


def space_to_batch_nd(
    input: Any, block_shape: Any, paddings: Any, name: str | None = None
) -> Tensor:
    """Spatial axes cut into blocks whose pixels join the batch: [N * prod(block), S/block, ...]."""
    blocks = [int(b) for b in static_ints(block_shape, "block_shape")]
    pads = [(int(a), int(b)) for a, b in static_ints(paddings, "paddings")]
    graph = graph_of((input,))
    with graph.name_scope(name or "SpaceToBatchND"):
        x = graph.convert(input)
        rank, m = x.shape.rank, len(blocks)
        if rank is None:
            raise ShapeError("space_to_batch_nd needs a known rank")
        full = ((0, 0), *pads, *(((0, 0),) * (rank - 1 - m)))
        x = apply("pad", x, paddings=full)
        shape = apply("shape", x)
        split: list[Any] = [shape[0]]
        for i, block in enumerate(blocks):
            split += [shape[1 + i] // block, np.int32(block)]
        split += [shape[i] for i in range(1 + m, rank)]
        x = apply("reshape", x, apply("stack", *split, axis=0))
        inner = [2 + 2 * i for i in range(m)]
        outer = [1 + 2 * i for i in range(m)]
        perm = (*inner, 0, *outer, *range(1 + 2 * m, rank + m))
        x = apply("transpose", x, perm=perm)
        count = int(np.prod(blocks))
        final: list[Any] = [shape[0] * count]
        final += [shape[1 + i] // b for i, b in enumerate(blocks)]
        final += [shape[i] for i in range(1 + m, rank)]
        out: Tensor = apply("reshape", x, apply("stack", *final, axis=0))
        return out


def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """The inverse of `space_to_batch_nd`, with `crops` cut off."""
    blocks = [int(b) for b in static_ints(block_shape, "block_shape")]
    cuts = [(int(a), int(b)) for a, b in static_ints(crops, "crops")]
    graph = graph_of((input,))
    with graph.name_scope(name or "BatchToSpaceND"):
        x = graph.convert(input)
        rank, m = x.shape.rank, len(blocks)
        if rank is None:
            raise ShapeError("batch_to_space_nd needs a known rank")
        count = int(np.prod(blocks))
        shape = apply("shape", x)
        split: list[Any] = [*(np.int32(b) for b in blocks), shape[0] // count]
        split += [shape[i] for i in range(1, rank)]
        x = apply("reshape", x, apply("stack", *split, axis=0))
        perm = [m]
        for i in range(m):
            perm += [m + 1 + i, i]
        perm += list(range(2 * m + 1, rank + m))
        x = apply("transpose", x, perm=tuple(perm))
        final: list[Any] = [shape[0] // count]
        final += [shape[1 + i] * b for i, b in enumerate(blocks)]
        final += [shape[i] for i in range(1 + m, rank)]
        x = apply("reshape", x, apply("stack", *final, axis=0))
        spec = ((None, None, None), *((a, -b if b else None, None) for a, b in cuts))
        out: Tensor = apply("strided_slice", x, spec=spec)
        return out


def space_to_batch(input: Any, paddings: Any, block_size: int, name: str | None = None) -> Tensor:
    """`space_to_batch_nd` of square blocks of images."""
    return space_to_batch_nd(input, [block_size] * 2, paddings, name)


def batch_to_space(input: Any, crops: Any, block_size: int, name: str | None = None) -> Tensor:
    """`batch_to_space_nd` of square blocks of images."""
    return batch_to_space_nd(input, [block_size] * 2, crops, name)


def bitcast(input: Any, type: Any, name: str | None = None) -> Tensor:
    """The bytes of `input` as elements of `type`; sizes that differ change the last axis."""
    kind = as_dtype(type)
    if kind.name in ("resource", "variant", "bool"):
        raise DTypeError(f"nothing can be bitcast to {kind}")
    out: Tensor = apply("bitcast", input, name=name, dtype=kind)
    return out


def sequence_mask(
    lengths: Any, maxlen: Any = None, dtype: Any = BOOL, name: str | None = None
) -> Tensor:
    """mask[..., j] = j < lengths[...], for j below `maxlen` (default: the longest)."""
    graph = graph_of((lengths,))
    with graph.name_scope(name or "SequenceMask"):
        given = graph.convert(lengths)
        most = apply("reduce_max", given) if maxlen is None else maxlen
        mask: Tensor = apply("sequence_mask", given, most)
        kind = as_dtype(dtype)
        return mask if kind is BOOL else apply("cast", mask, dtype=kind)


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask") -> Tensor:
    """The slices of `tensor` where `mask`, whose shape begins the tensor's, is true."""
    graph = graph_of((tensor, mask))
    with graph.name_scope(name):
        x, m = graph.convert(tensor), graph.convert(mask)
        if m.dtype is not BOOL:
            raise DTypeError(f"the mask is bool, not {m.dtype}")
        if not m.shape.rank or x.shape.rank is None:
            raise ShapeError("boolean_mask needs known ranks and a mask that is no scalar")
        if not x.shape[: m.shape.rank].compatible(m.shape):
            raise ShapeError(f"mask {m.shape} does not begin tensor {x.shape}")
        out: Tensor = apply("gather_nd", x, apply("where_indices", m))
        return out


def meshgrid(*args: Any, indexing: str = "xy", name: str | None = None) -> list[Tensor]:
    """Coordinate matrices of vectors, as NumPy's."""
    graph = graph_of(args)
    with graph.name_scope(name or "meshgrid"):
        vectors = [graph.convert(v) for v in args]
        count = len(vectors)
        axes = list(range(count))
        if indexing == "xy" and count > 1:
            axes[0], axes[1] = 1, 0
        sizes = [apply("size", v) for v in vectors]
        order = [sizes[axes.index(i)] for i in range(count)]
        target = apply("stack", *order, axis=0)
        out = []
        for vector, axis in zip(vectors, axes, strict=True):
            wide = np.ones(count, np.int32)
            wide[axis] = -1
            out.append(apply("broadcast_to", apply("reshape", vector, wide), target))
        return out


def linspace(start: Any, stop: Any, num: int, name: str | None = None) -> Tensor:
    """`num` values from `start` to `stop`, both included, evenly spaced."""
    graph = graph_of((start, stop))
    with graph.name_scope(name or "LinSpace"):
        a = graph.convert(start)
        b = graph.convert(stop, a.dtype)
        steps = np.linspace(0, 1, int(num)).astype(a.dtype.numpy)
        out: Tensor = a * (1 - steps) + b * steps
        return out


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> Shape:
    """The shape to which both broadcast; raises `ShapeError` when they do not."""
    return broadcast(Shape(shape_x), Shape(shape_y))


def parallel_stack(values: Any, name: str | None = None) -> Tensor:
    """`stack` along the first axis."""
    out: Tensor = apply("stack", *values, name=name, axis=0)
    return out
