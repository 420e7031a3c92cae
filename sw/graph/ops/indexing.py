"""Taking parts of a tensor: slices, rows by index, one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.dtypes import DType, as_dtype, int32
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.indexed_slices import IndexedSlices
from sw.graph.ops.helpers import shape_of
from sw.graph.ops.shaping import static_ints
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape, normalise_axis
from sw.graph.tensor import Operators, Tensor

Spec = tuple[Any, ...]


def _index(spec: Spec) -> tuple[Any, ...]:
    """The NumPy index for a spec of ints, (start, stop, step), None and "..."."""
    return tuple(slice(*s) if isinstance(s, tuple) else Ellipsis if s == "..." else s for s in spec)


def _slice_type(inputs: tuple[Tensor, ...], spec: Spec) -> TensorType:
    dims = inputs[0].shape.dims
    if dims is None:
        return TensorType(inputs[0].dtype, Shape(None))
    used = sum(s is not None and s != "..." for s in spec)
    if used > len(dims):
        raise ShapeError(f"{used} indices for shape {inputs[0].shape}")
    if spec.count("...") > 1:
        raise ShapeError("only one ... is allowed")
    full = spec if "..." in spec else (*spec, "...")
    at = full.index("...")
    middle = ((None, None, None),) * (len(dims) - used)
    out: list[int | None] = []
    axis = 0
    for item in (*full[:at], *middle, *full[at + 1 :]):
        if item is None:
            out.append(1)
            continue
        size = dims[axis]
        if isinstance(item, int):
            if size is not None and not -size <= item < size:
                raise ShapeError(f"index {item} is outside axis {axis} of size {size}")
        elif size is None:
            out.append(None if item != (None, None, None) else size)
        else:
            out.append(len(range(*slice(*item).indices(size))))
        axis += 1
    return TensorType(inputs[0].dtype, Shape(tuple(out)))


def _scatter_slice(xp: Any, g: Any, shape: Any, spec: Spec) -> Any:
    out = xp.zeros(tuple(int(s) for s in shape), dtype=g.dtype)
    out[_index(spec)] = g
    return out


register_op(
    "strided_slice_grad",
    kernel=_scatter_slice,
    infer=lambda inputs, spec: TensorType(inputs[0].dtype, constant_shape(inputs[1])),
    gradient=lambda op, g: [apply("strided_slice", g, spec=op.attrs["spec"]), None],
    attrs={"spec": REQUIRED},
    doc="Zeros of shape inputs[1] with inputs[0] in the place that `spec` names.",
)
register_op(
    "strided_slice",
    kernel=lambda xp, x, spec: x[_index(spec)],
    infer=_slice_type,
    gradient=lambda op, g: [
        apply("strided_slice_grad", g, shape_of(op.inputs[0]), spec=op.attrs["spec"])
    ],
    attrs={"spec": REQUIRED},
    doc="The part of its input that a Python index names.",
)


def _gather_type(inputs: tuple[Tensor, ...], axis: int) -> TensorType:
    params, indices = inputs
    if not indices.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {indices.dtype}")
    if params.shape.dims is None or indices.shape.dims is None:
        return TensorType(params.dtype, Shape(None))
    at = normalise_axis(axis, len(params.shape.dims))
    dims = params.shape.dims
    return TensorType(params.dtype, Shape(dims[:at] + indices.shape.dims + dims[at + 1 :]))


def _gather(xp: Any, params: Any, indices: Any, axis: int) -> Any:
    size = params.shape[axis]
    flat = np.asarray(indices)
    if flat.size and (flat.min() < 0 or flat.max() >= size):
        bad = int(flat.min()) if flat.min() < 0 else int(flat.max())
        raise IndexError(f"index {bad} is outside [0, {size}) of axis {axis}")
    return xp.take(params, indices, axis=axis)


def _scatter_add(xp: Any, g: Any, indices: Any, shape: Any, axis: int) -> Any:
    target = tuple(int(s) for s in shape)
    at = axis % len(target)
    out = np.zeros(target, g.dtype)
    front = np.moveaxis(out, at, 0)
    spread = tuple(range(at, at + np.ndim(indices)))
    rows = np.moveaxis(g, spread, tuple(range(len(spread)))).reshape(-1, *front.shape[1:])
    np.add.at(front, np.ravel(indices), rows)
    return out


register_op(
    "gather_grad",
    kernel=_scatter_add,
    infer=lambda inputs, axis: TensorType(inputs[0].dtype, constant_shape(inputs[2])),
    gradient=lambda op, g: [apply("gather", g, op.inputs[1], axis=op.attrs["axis"]), None, None],
    attrs={"axis": REQUIRED},
    doc="Zeros of shape inputs[2] to which inputs[0] is added at the indices inputs[1].",
)


def _gather_back(op: Any, g: Tensor) -> list[Any]:
    params, indices = op.inputs
    if op.attrs["axis"] != 0 or params.shape.dims is None:
        return [apply("gather_grad", g, indices, shape_of(params), axis=op.attrs["axis"]), None]
    rest = params.shape.dims[1:]
    if None in rest:
        sizes = apply("concat", [-1], apply("shape", params, out_type=int32)[1:], axis=0)
    else:
        sizes = np.asarray((-1, *rest), np.int32)
    flat = apply("reshape", indices, np.asarray([-1], np.int32))
    return [IndexedSlices(apply("reshape", g, sizes), flat, shape_of(params)), None]


register_op(
    "gather",
    kernel=_gather,
    infer=_gather_type,
    gradient=_gather_back,
    attrs={"axis": 0},
    doc="The slices of inputs[0] along `axis` that inputs[1] lists.",
)


def _one_hot(
    xp: Any, indices: Any, depth: int, on_value: Any, off_value: Any, axis: int, dtype: DType
) -> Any:
    hot = np.asarray(indices)[..., None] == np.arange(depth)
    out = np.where(hot, dtype.numpy.type(on_value), dtype.numpy.type(off_value))
    return out if axis == -1 else np.moveaxis(out, -1, axis)


def _one_hot_type(
    inputs: tuple[Tensor, ...], depth: int, axis: int, dtype: DType, **attrs: Any
) -> TensorType:
    if not inputs[0].dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {inputs[0].dtype}")
    dims = inputs[0].shape.dims
    if dims is None:
        return TensorType(dtype, Shape(None))
    at = normalise_axis(axis, len(dims) + 1)
    return TensorType(dtype, Shape((*dims[:at], depth, *dims[at:])))


register_op(
    "one_hot",
    kernel=_one_hot,
    infer=_one_hot_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"depth": REQUIRED, "on_value": 1, "off_value": 0, "axis": -1, "dtype": REQUIRED},
    doc="on_value where the new axis equals the index, else off_value.",
)


def strided_slice(
    input_: Any, begin: Any, end: Any, strides: Any = None, name: str | None = None
) -> Tensor:
    """`input_[begin[0]:end[0]:strides[0], ...]`."""
    first, last = static_ints(begin, "begin"), static_ints(end, "end")
    steps = [1] * len(first) if strides is None else static_ints(strides, "strides")
    spec = tuple((int(a), int(b), int(s)) for a, b, s in zip(first, last, steps, strict=True))
    out: Tensor = apply("strided_slice", input_, name=name, spec=spec)
    return out


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """`size[i]` elements from `begin[i]` along each axis; size -1 takes the rest."""
    spec = []
    dims = input_._operand().shape.dims if isinstance(input_, Operators) else np.shape(input_)
    pairs = zip(static_ints(begin, "begin"), static_ints(size, "size"), strict=True)
    for axis, (a, n) in enumerate(pairs):
        start, count = int(a), int(n)
        length = None if dims is None else dims[axis]
        if start < 0 or count < -1 or length is not None and start + max(count, 0) > length:
            raise ShapeError(f"slice of {count} from {start} leaves axis {axis} of size {length}")
        spec.append((start, None if count == -1 else start + count, None))
    out: Tensor = apply("strided_slice", input_, name=name or "slice", spec=tuple(spec))
    return out


def gather(
    params: Any, indices: Any, validate_indices: Any = None, name: str | None = None, axis: int = 0
) -> Tensor:
    """The slices of `params` along `axis` at `indices`; outside indices are an error."""
    out: Tensor = apply("gather", params, indices, name=name, axis=int(axis))
    return out


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = 1,
    off_value: Any = 0,
    axis: int = -1,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """Rows of `depth` elements with `on_value` at the index; indices outside give none."""
    out: Tensor = apply(
        "one_hot",
        indices,
        name=name,
        depth=int(static_ints(depth, "depth")),
        on_value=on_value,
        off_value=off_value,
        axis=int(axis),
        dtype=as_dtype("float32" if dtype is None else dtype),
    )
    return out
