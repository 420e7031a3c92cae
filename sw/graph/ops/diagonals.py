"""Diagonals and bands of matrices; leading axes are a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.errors import ShapeError
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def matrix_shape(tensor: Tensor) -> tuple[Any, Any, Any] | None:
    """(batch sizes, rows, columns), or None for unknown rank; raises `ShapeError` below rank 2."""
    dims = tensor.shape.dims
    if dims is None:
        return None
    if len(dims) < 2:
        raise ShapeError(f"matrices [..., M, N] are needed, not shape {tensor.shape}")
    return dims[:-2], dims[-2], dims[-1]


def _diag(xp: Any, x: Any) -> Any:
    out = np.zeros((*x.shape, x.shape[-1]), x.dtype)
    np.einsum("...ii->...i", out)[...] = x
    return out


def _diag_type(inputs: tuple[Tensor, ...]) -> TensorType:
    dims = inputs[0].shape.dims
    if dims == ():
        raise ShapeError("a diagonal [..., N] is needed, not a scalar")
    return TensorType(inputs[0].dtype, Shape(None if dims is None else (*dims, dims[-1])))


def _smaller(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else min(a, b)


def _part_type(inputs: tuple[Tensor, ...]) -> TensorType:
    known = matrix_shape(inputs[0])
    if known is None:
        return TensorType(inputs[0].dtype, Shape(None))
    batch, rows, columns = known
    return TensorType(inputs[0].dtype, Shape((*batch, _smaller(rows, columns))))


def _part_grad(op: Any, g: Tensor) -> list[Tensor]:
    zero = apply("zeros_like", op.inputs[0])
    return [apply("matrix_set_diag", zero, g)]


def _set_diag(xp: Any, x: Any, diagonal: Any) -> Any:
    out = np.array(x)
    size = min(x.shape[-2:])
    np.einsum("...ii->...i", out[..., :size, :size])[...] = diagonal
    return out


def _set_type(inputs: tuple[Tensor, ...]) -> TensorType:
    want = _part_type(inputs[:1]).shape
    if not want.compatible(inputs[1].shape):
        raise ShapeError(f"the diagonal has shape {inputs[1].shape}, not {want}")
    return TensorType(inputs[0].dtype, inputs[0].shape)


def _set_grad(op: Any, g: Tensor) -> list[Tensor]:
    part = apply("matrix_diag_part", g)
    return [apply("matrix_set_diag", g, apply("zeros_like", part)), part]


def _band(xp: Any, x: Any, lower: int, upper: int) -> Any:
    rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
    keep = ((lower < 0) | (rows - columns <= lower)) & ((upper < 0) | (columns - rows <= upper))
    return np.where(keep, x, x.dtype.type(0))


def _band_type(inputs: tuple[Tensor, ...], lower: int, upper: int) -> TensorType:
    matrix_shape(inputs[0])
    return TensorType(inputs[0].dtype, inputs[0].shape)


register_op(
    "matrix_diag",
    kernel=_diag,
    infer=_diag_type,
    gradient=lambda op, g: [apply("matrix_diag_part", g)],
    host_only=True,
    doc="Square matrices with the given diagonals.",
)
register_op(
    "matrix_diag_part",
    kernel=lambda xp, x: np.array(np.diagonal(x, axis1=-2, axis2=-1)),
    infer=_part_type,
    gradient=_part_grad,
    host_only=True,
    doc="The diagonals of matrices.",
)
register_op(
    "matrix_set_diag",
    kernel=_set_diag,
    infer=_set_type,
    gradient=_set_grad,
    share_dtype=True,
    host_only=True,
    doc="inputs[0] with the diagonals inputs[1].",
)
register_op(
    "matrix_band_part",
    kernel=_band,
    infer=_band_type,
    gradient=lambda op, g: [apply("matrix_band_part", g, **op.attrs)],
    attrs={"lower": REQUIRED, "upper": REQUIRED},
    host_only=True,
    doc="`lower` subdiagonals and `upper` superdiagonals are kept (-1: all), the rest is zero.",
)


def matrix_diag(diagonal: Any, name: str | None = None) -> Tensor:
    """[..., N, N] matrices with the diagonals [..., N]."""
    out: Tensor = apply("matrix_diag", diagonal, name=name)
    return out


def matrix_diag_part(input: Any, name: str | None = None) -> Tensor:
    """The diagonals [..., min(M, N)] of [..., M, N]."""
    out: Tensor = apply("matrix_diag_part", input, name=name)
    return out


def matrix_set_diag(input: Any, diagonal: Any, name: str | None = None) -> Tensor:
    """`input` [..., M, N] with the diagonals [..., min(M, N)]."""
    out: Tensor = apply("matrix_set_diag", input, diagonal, name=name)
    return out


def matrix_band_part(input: Any, num_lower: int, num_upper: int, name: str | None = None) -> Tensor:
    """The band of `num_lower` sub- and `num_upper` superdiagonals (-1: all); zero outside."""
    out: Tensor = apply(
        "matrix_band_part", input, name=name, lower=int(num_lower), upper=int(num_upper)
    )
    return out


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """The tensor of rank 2k with `diagonal` of rank k on its diagonal."""
    flat = apply("reshape", diagonal, np.asarray([-1], np.int32))
    shape = apply("shape", diagonal)
    both = apply("concat", shape, shape, axis=0)
    out: Tensor = apply("reshape", apply("matrix_diag", flat), both, name=name)
    return out


def diag_part(input: Any, name: str | None = None) -> Tensor:
    """The diagonal, of rank k, of a tensor of rank 2k."""
    value = input if isinstance(input, Tensor) else apply("identity", input)
    rank = value.shape.rank
    if not rank or rank % 2:
        raise ShapeError(f"diag_part needs an even rank, not shape {value.shape}")
    half = apply("shape", value)[: rank // 2]
    size = apply("reduce_prod", half)
    square = apply("reshape", value, apply("stack", size, size, axis=0))
    out: Tensor = apply("reshape", apply("matrix_diag_part", square), half, name=name)
    return out


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sum of the diagonal of [..., M, N]."""
    part = apply("matrix_diag_part", x)
    out: Tensor = apply("reduce_sum", part, name=name, axis=(-1,), keepdims=False)
    return out


def eye(
    num_rows: int,
    num_columns: int | None = None,
    batch_shape: Any = None,
    dtype: Any = np.float32,
    name: str | None = None,
) -> Tensor:
    """Identity matrices [*batch_shape, num_rows, num_columns]; the sizes are numbers."""
    value = np.eye(int(num_rows), num_columns, dtype=np.float64)
    value = np.broadcast_to(value, (*(batch_shape or ()), *value.shape))
    kind = getattr(dtype, "numpy", dtype)
    out: Tensor = apply("const", name=name or "eye", value=value.astype(kind))
    return out
