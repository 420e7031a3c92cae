"""Ops that move elements without changing them: reshape, transpose, expand_dims, squeeze, tile,
pad."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, constant_value, register_op
from sw.graph.dtypes import as_dtype, int32
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.creation import sizes_vector
from sw.graph.ops.helpers import shape_of
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape, normalise_axis
from sw.graph.tensor import Operators, Tensor


def _reshape_type(inputs: tuple[Tensor, ...]) -> TensorType:
    value = constant_value(inputs[1])
    if value is None:
        return TensorType(inputs[0].dtype, constant_shape(inputs[1]))
    sizes = [int(v) for v in value.ravel()]
    if sizes.count(-1) > 1:
        raise ShapeError(f"only one size may be -1, not {sizes}")
    total = inputs[0].shape.num_elements()
    rest = math.prod(s for s in sizes if s != -1)
    dims: list[int | None] = [None if s == -1 else s for s in sizes]
    if total is not None:
        if -1 in sizes and rest and total % rest == 0:
            dims[sizes.index(-1)] = total // rest
        elif -1 in sizes or total != rest:
            raise ShapeError(f"{total} elements cannot take shape {sizes}")
    return TensorType(inputs[0].dtype, Shape(tuple(dims)))


register_op(
    "reshape",
    kernel=lambda xp, x, shape: xp.reshape(x, tuple(int(s) for s in shape)),
    infer=_reshape_type,
    gradient=lambda op, g: [apply("reshape", g, shape_of(op.inputs[0])), None],
    doc="Its first input in the shape inputs[1]; one size may be -1.",
)


def _transpose_type(inputs: tuple[Tensor, ...], perm: tuple[int, ...]) -> TensorType:
    shape = inputs[0].shape
    if sorted(perm) != list(range(len(perm))) or shape.rank not in (None, len(perm)):
        raise ShapeError(f"perm {list(perm)} is not an order of the axes of shape {shape}")
    dims = shape.dims or (None,) * len(perm)
    return TensorType(inputs[0].dtype, Shape(tuple(dims[p] for p in perm)))


register_op(
    "transpose",
    kernel=lambda xp, x, perm: xp.transpose(x, perm),
    infer=_transpose_type,
    gradient=lambda op, g: [
        apply("transpose", g, perm=tuple(int(i) for i in np.argsort(op.attrs["perm"])))
    ],
    attrs={"perm": REQUIRED},
    doc="Its input with axis i taken from axis perm[i].",
)


def _expand_type(inputs: tuple[Tensor, ...], axis: int) -> TensorType:
    rank = inputs[0].shape.rank
    if rank is None:
        return TensorType(inputs[0].dtype, Shape(None))
    at = normalise_axis(axis, rank + 1)
    dims = inputs[0].shape.dims or ()
    return TensorType(inputs[0].dtype, Shape((*dims[:at], 1, *dims[at:])))


register_op(
    "expand_dims",
    kernel=lambda xp, x, axis: xp.expand_dims(x, axis=axis),
    infer=_expand_type,
    gradient=lambda op, g: [apply("reshape", g, shape_of(op.inputs[0]))],
    attrs={"axis": REQUIRED},
    doc="A new axis of size 1 at `axis`.",
)


def _squeeze_type(inputs: tuple[Tensor, ...], axis: tuple[int, ...] | None) -> TensorType:
    dims = inputs[0].shape.dims
    if dims is None or axis is None and None in dims:
        return TensorType(inputs[0].dtype, Shape(None))
    if axis is None:
        return TensorType(inputs[0].dtype, Shape(tuple(d for d in dims if d != 1)))
    gone = {normalise_axis(a, len(dims)) for a in axis}
    for index in gone:
        if dims[index] not in (None, 1):
            raise ShapeError(f"axis {index} has size {dims[index]}, only size 1 can be squeezed")
    return TensorType(inputs[0].dtype, Shape(tuple(d for i, d in enumerate(dims) if i not in gone)))


register_op(
    "squeeze",
    kernel=lambda xp, x, axis: np.squeeze(x, axis=axis),
    infer=_squeeze_type,
    gradient=lambda op, g: [apply("reshape", g, shape_of(op.inputs[0]))],
    attrs={"axis": None},
    doc="Its input without the axes of size 1 in `axis` (None: all).",
)


def _tile_type(inputs: tuple[Tensor, ...], multiples: tuple[int, ...]) -> TensorType:
    shape = inputs[0].shape
    if shape.rank not in (None, len(multiples)) or any(m < 0 for m in multiples):
        raise ShapeError(f"multiples {list(multiples)} do not fit shape {shape}")
    dims = shape.dims or (None,) * len(multiples)
    out = tuple(None if d is None else d * m for d, m in zip(dims, multiples, strict=True))
    return TensorType(inputs[0].dtype, Shape(out))


def _untile(xp: Any, g: Any, shape: Any, multiples: tuple[int, ...]) -> Any:
    split = tuple(int(v) for m, s in zip(multiples, shape, strict=True) for v in (m, s))
    return xp.sum(xp.reshape(g, split), axis=tuple(range(0, 2 * len(multiples), 2)), dtype=g.dtype)


register_op(
    "tile_grad",
    kernel=_untile,
    infer=lambda inputs, multiples: TensorType(inputs[0].dtype, constant_shape(inputs[1])),
    gradient=lambda op, g: [apply("tile", g, multiples=op.attrs["multiples"]), None],
    attrs={"multiples": REQUIRED},
    doc="Sums the repetitions of a tile; inputs[1] is the shape of one.",
)
register_op(
    "tile",
    kernel=lambda xp, x, multiples: xp.tile(x, multiples),
    infer=_tile_type,
    gradient=lambda op, g: [
        apply("tile_grad", g, shape_of(op.inputs[0]), multiples=op.attrs["multiples"])
    ],
    attrs={"multiples": REQUIRED},
    doc="Its input repeated multiples[i] times along axis i.",
)

Pads = tuple[tuple[int, int], ...]


def _pad_type(inputs: tuple[Tensor, ...], paddings: Pads, mode: str, constant: Any) -> TensorType:
    shape = inputs[0].shape
    if mode not in ("CONSTANT", "REFLECT", "SYMMETRIC"):
        raise InvalidArgumentError(f"mode {mode!r} is not CONSTANT, REFLECT or SYMMETRIC")
    if shape.rank not in (None, len(paddings)) or any(min(p) < 0 for p in paddings):
        raise ShapeError(f"paddings {paddings} do not fit shape {shape}")
    dims = shape.dims or (None,) * len(paddings)
    out = tuple(None if d is None else d + a + b for d, (a, b) in zip(dims, paddings, strict=True))
    return TensorType(inputs[0].dtype, Shape(out))


def _pad(xp: Any, x: Any, paddings: Pads, mode: str, constant: Any) -> Any:
    if mode == "CONSTANT":
        return np.pad(x, paddings, constant_values=x.dtype.type(constant))
    return np.pad(x, paddings, "reflect" if mode == "REFLECT" else "symmetric")


def _pad_grad(op: Any, g: Tensor) -> list[Tensor]:
    if op.attrs["mode"] != "CONSTANT":
        how = {"paddings": op.attrs["paddings"], "mode": op.attrs["mode"]}
        return [apply("mirror_pad_grad", g, **how)]
    spec = tuple((a, -b if b else None, None) for a, b in op.attrs["paddings"])
    return [apply("strided_slice", g, spec=spec)]


def _fold(xp: Any, g: Any, paddings: Pads, mode: str) -> Any:
    """The transpose of mirroring: what stands in the border is added to where it came from."""
    for axis, (before, after) in enumerate(paddings):
        if before or after:
            size = g.shape[axis] - before - after
            source = _pad(np, np.arange(size), ((before, after),), mode, 0)
            rows = np.zeros((size, *np.delete(g.shape, axis)), g.dtype)
            np.add.at(rows, source, np.moveaxis(g, axis, 0))
            g = np.moveaxis(rows, 0, axis)
    return g


def _fold_type(inputs: tuple[Tensor, ...], paddings: Pads, mode: str) -> TensorType:
    dims = inputs[0].shape.dims or (None,) * len(paddings)
    out = tuple(None if d is None else d - a - b for d, (a, b) in zip(dims, paddings, strict=True))
    return TensorType(inputs[0].dtype, Shape(out))


register_op(
    "mirror_pad_grad",
    kernel=_fold,
    infer=_fold_type,
    gradient=lambda op, g: [apply("pad", g, **op.attrs)],
    attrs={"paddings": REQUIRED, "mode": REQUIRED},
    host_only=True,
    doc="Gradient of a pad that mirrors: its borders added to the elements that they repeat.",
)
register_op(
    "pad",
    kernel=_pad,
    infer=_pad_type,
    gradient=_pad_grad,
    attrs={"paddings": REQUIRED, "mode": "CONSTANT", "constant": 0},
    doc="Its input with paddings[i] = (before, after) elements added along axis i.",
)


def static_ints(value: Any, what: str) -> np.ndarray[Any, Any]:
    """An argument that must be known now, as an array; raises `InvalidArgumentError`."""
    array = constant_value(value)
    if array is None:
        raise InvalidArgumentError(f"{what} must be known when the graph is built")
    return array


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """`tensor` in another shape; one size may be -1. `shape` may be a tensor."""
    if not isinstance(shape, Operators):
        if isinstance(shape, (list, tuple)) and any(isinstance(s, Operators) for s in shape):
            shape = sizes_vector(shape)
        else:
            sizes = [-1 if d is None else int(d) for d in (shape if np.ndim(shape) else [shape])]
            shape = np.asarray(sizes, np.int32)
    out: Tensor = apply("reshape", tensor, shape, name=name)
    return out


def transpose(a: Any, perm: Any = None, name: str | None = None) -> Tensor:
    """Permute axes; without `perm`, reverse them (the rank must be known)."""
    if perm is None:
        rank = a._operand().shape.rank if isinstance(a, Operators) else np.ndim(a)
        if rank is None:
            raise ShapeError("transpose of a tensor of unknown rank needs perm")
        perm = range(rank)[::-1]
    order = tuple(int(p) for p in static_ints(perm, "perm"))
    out: Tensor = apply("transpose", a, name=name, perm=order)
    return out


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """Insert an axis of size 1 at `axis`."""
    at = int(static_ints(dim if axis is None else axis, "axis"))
    out: Tensor = apply("expand_dims", input, name=name, axis=at)
    return out


def squeeze(
    input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None
) -> Tensor:
    """Drop axes of size 1: those in `axis`, or all."""
    axis = squeeze_dims if axis is None else axis
    axes = None if axis is None else tuple(int(a) for a in np.atleast_1d(axis))
    out: Tensor = apply("squeeze", input, name=name, axis=axes or None)
    return out


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """Repeat `input` multiples[i] times along axis i."""
    times = tuple(int(m) for m in static_ints(multiples, "multiples"))
    out: Tensor = apply("tile", input, name=name, multiples=times)
    return out


def pad(
    tensor: Any,
    paddings: Any,
    mode: str = "CONSTANT",
    name: str | None = None,
    constant_values: Any = 0,
) -> Tensor:
    """Add paddings[i] = (before, after) elements along axis i."""
    pairs = tuple((int(a), int(b)) for a, b in static_ints(paddings, "paddings"))
    out: Tensor = apply(
        "pad", tensor, name=name, paddings=pairs, mode=mode.upper(), constant=constant_values
    )
    return out


def shape(input: Any, name: str | None = None, out_type: Any = int32) -> Tensor:
    """The sizes of `input` as an integer vector."""
    out: Tensor = apply("shape", input, name=name, out_type=as_dtype(out_type))
    return out


size_op = register_op(
    "size",
    kernel=lambda xp, x, out_type: np.asarray(np.size(x), out_type.numpy),
    infer=lambda inputs, out_type: TensorType(out_type, Shape(())),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"out_type": int32},
    host_only=True,
    doc="The number of elements.",
)


def size(input: Any, name: str | None = None, out_type: Any = int32) -> Tensor:
    """The number of elements of `input`."""
    out: Tensor = size_op(input, name=name, out_type=as_dtype(out_type))
    return out


rank_op = register_op(
    "rank",
    kernel=lambda xp, x: np.asarray(np.ndim(x), np.int32),
    infer=lambda inputs: TensorType(int32, Shape(())),
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="The number of axes.",
)


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of axes of `input`."""
    out: Tensor = rank_op(input, name=name)
    return out
