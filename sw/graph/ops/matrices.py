"""Solving, inverting and factoring matrices; leading axes are a batch.

The gradients are those of Giles, "Collected matrix derivative results for forward and reverse mode"
(2008), and for Cholesky of Murray, "Differentiation of the Cholesky decomposition" (2016).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.ops.diagonals import matrix_shape
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _mm(a: Any, b: Any, ta: bool = False, tb: bool = False) -> Any:
    return apply("matmul", a, b, transpose_a=ta, transpose_b=tb)


def _t(x: Any) -> Any:
    rank = x.shape.rank
    return apply("swap_axes", x) if rank is None else _permuted(x, rank)


def _permuted(x: Any, rank: int) -> Any:
    return apply("transpose", x, perm=(*range(rank - 2), rank - 1, rank - 2))


def _square(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    if not inputs[0].dtype.is_floating or inputs[0].dtype.size < 4:
        raise DTypeError(f"float32 or float64 is needed, not {inputs[0].dtype}")
    known = matrix_shape(inputs[0])
    if known is None:
        return TensorType(inputs[0].dtype, Shape(None))
    batch, rows, columns = known
    if rows is not None and columns is not None and rows != columns:
        raise ShapeError(f"square matrices are needed, not {inputs[0].shape}")
    return TensorType(inputs[0].dtype, inputs[0].shape)


def _scalar_type(inputs: tuple[Tensor, ...]) -> TensorType:
    kind = _square(inputs)
    return TensorType(kind.dtype, kind.shape[:-2])


def _solve_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    _square(inputs)
    a, b = matrix_shape(inputs[0]), matrix_shape(inputs[1])
    if a is None or b is None:
        return TensorType(inputs[0].dtype, Shape(None))
    Shape((*a[0], a[1])).merge((*b[0], b[1]))
    return TensorType(inputs[0].dtype, inputs[1].shape)


def _singular(function: Any) -> Any:
    def kernel(xp: Any, *inputs: Any, **attrs: Any) -> Any:
        try:
            return function(*inputs, **attrs)
        except np.linalg.LinAlgError as error:
            raise InvalidArgumentError(f"the matrix does not allow it: {error}") from None

    return kernel


def _solve(a: Any, b: Any, adjoint: bool) -> Any:
    return np.linalg.solve(np.swapaxes(a, -1, -2) if adjoint else a, b)


def _solve_grad(op: Any, g: Tensor) -> list[Tensor]:
    a, x, adjoint = op.inputs[0], op.outputs[0], op.attrs["adjoint"]
    gb = apply("matrix_solve", a, g, adjoint=not adjoint)
    ga = _mm(x, gb, tb=True) if adjoint else _mm(gb, x, tb=True)
    return [-ga, gb]


def _triangle(a: Any, lower: bool) -> Any:
    return np.tril(a) if lower else np.triu(a)


def _triangular_solve(a: Any, b: Any, lower: bool, adjoint: bool) -> Any:
    if (np.diagonal(a, axis1=-2, axis2=-1) == 0).any():
        raise np.linalg.LinAlgError("a zero on the diagonal of a triangular matrix")
    return _solve(_triangle(a, lower), b, adjoint)


def _triangular_grad(op: Any, g: Tensor) -> list[Tensor]:
    a, x = op.inputs[0], op.outputs[0]
    lower, adjoint = op.attrs["lower"], op.attrs["adjoint"]
    gb = apply("matrix_triangular_solve", a, g, lower=lower, adjoint=not adjoint)
    ga = _mm(x, gb, tb=True) if adjoint else _mm(gb, x, tb=True)
    band = (-1, 0) if lower else (0, -1)
    return [-apply("matrix_band_part", ga, lower=band[0], upper=band[1]), gb]


def _inverse_grad(op: Any, g: Tensor) -> list[Tensor]:
    y = op.outputs[0]
    return [-_mm(y, _mm(g, y, tb=True), ta=True)]


def _determinant_grad(op: Any, g: Tensor) -> list[Tensor]:
    inverse = apply("matrix_inverse", op.inputs[0])
    scale = g * op.outputs[0]
    for _ in range(2):
        scale = apply("expand_dims", scale, axis=-1)
    return [scale * _t(inverse)]


def _symmetric(a: Any) -> Any:
    return (a + np.swapaxes(a, -1, -2)) * a.dtype.type(0.5)


def _cholesky_grad(op: Any, g: Tensor) -> list[Tensor]:
    factor = op.outputs[0]
    inner = apply("matrix_band_part", _mm(factor, g, ta=True), lower=-1, upper=0)
    inner = apply("matrix_set_diag", inner, apply("matrix_diag_part", inner) * 0.5)
    left = apply("matrix_triangular_solve", factor, inner, lower=True, adjoint=True)
    full = apply("matrix_triangular_solve", factor, _t(left), lower=True, adjoint=True)
    return [(full + _t(full)) * 0.5]


def _eigen_type(inputs: tuple[Tensor, ...]) -> list[TensorType]:
    kind = _square(inputs)
    return [TensorType(kind.dtype, kind.shape[:-1]), kind]


def _eigen_grad(op: Any, ge: Tensor, gv: Tensor) -> list[Tensor]:
    e, v = op.outputs
    gap = apply("expand_dims", e, axis=-2) - apply("expand_dims", e, axis=-1)
    zero = apply("equal", gap, apply("zeros_like", gap))
    safe = apply("where", zero, apply("ones_like", gap), gap)
    inner = apply("where", zero, apply("zeros_like", gap), _mm(v, gv, ta=True) / safe)
    inner = inner + apply("matrix_diag", ge)
    full = _mm(v, _mm(inner, v, tb=True))
    return [(full + _t(full)) * 0.5]


def _qr_type(inputs: tuple[Tensor, ...]) -> list[TensorType]:
    known = matrix_shape(inputs[0])
    if known is None:
        return [TensorType(inputs[0].dtype, Shape(None))] * 2
    batch, rows, columns = known
    inner = None if rows is None or columns is None else min(rows, columns)
    return [
        TensorType(inputs[0].dtype, Shape((*batch, rows, inner))),
        TensorType(inputs[0].dtype, Shape((*batch, inner, columns))),
    ]


def _qr_grad(op: Any, gq: Tensor, gr: Tensor) -> list[Tensor]:
    q, r = op.outputs
    if None in (r.shape.rank, q.shape.rank) or not q.shape.compatible(op.inputs[0].shape):
        raise InvalidArgumentError(f"qr {op.where()}: only tall matrices have a gradient")
    m = _mm(r, gr, tb=True) - _mm(gq, q, ta=True)
    low = apply("matrix_band_part", m, lower=-1, upper=0)
    strict = apply("matrix_set_diag", low, apply("zeros_like", apply("matrix_diag_part", low)))
    b = gq + _mm(q, low + _t(strict))
    solved = apply("matrix_triangular_solve", r, _t(b), lower=False, adjoint=False)
    return [_t(solved)]


def _svd_type(inputs: tuple[Tensor, ...], full_matrices: bool) -> list[TensorType]:
    known = matrix_shape(inputs[0])
    kind = inputs[0].dtype
    if known is None:
        return [TensorType(kind, Shape(None))] * 3
    batch, rows, columns = known
    inner = None if rows is None or columns is None else min(rows, columns)
    u, v = (rows, columns) if full_matrices else (inner, inner)
    return [
        TensorType(kind, Shape((*batch, inner))),
        TensorType(kind, Shape((*batch, rows, u))),
        TensorType(kind, Shape((*batch, columns, v))),
    ]


def _svd(x: Any, full_matrices: bool) -> Any:
    u, s, vh = np.linalg.svd(x, full_matrices=full_matrices)
    return s, u, np.swapaxes(vh, -1, -2).conj()


def _svd_grad(op: Any, gs: Tensor, gu: Any, gv: Any) -> list[Tensor]:
    if op.attrs["full_matrices"]:
        raise InvalidArgumentError(f"svd {op.where()}: no gradient with full_matrices")
    _, u, v = op.outputs
    return [_mm(u * apply("expand_dims", gs, axis=-2), v, tb=True)]


def _square_root(a: Any) -> Any:
    """The principal root, by the eigenvalues of each matrix (Schur form in SciPy)."""
    linalg = importlib.import_module("scipy.linalg")  # slow to import, and few users need it
    out = np.empty_like(a)
    for at in np.ndindex(a.shape[:-2]):
        root = linalg.sqrtm(a[at])
        if not np.isfinite(root).all() or np.abs(np.imag(root)).max(initial=0) > 0:
            raise np.linalg.LinAlgError("it has no real square root")
        out[at] = np.real(root)
    return out


def _sylvester(a: Any, c: Any) -> Any:
    """X with A X + X A = C, by the linear equations of its elements."""
    eye = np.eye(a.shape[-1], dtype=a.dtype)
    size = a.shape[-1] ** 2
    left = np.einsum("...ij,kl->...ikjl", a, eye) + np.einsum("ij,...lk->...ikjl", eye, a)
    flat = left.reshape(*a.shape[:-2], size, size)
    return np.linalg.solve(flat, c.reshape(*a.shape[:-2], size, 1)).reshape(a.shape)


def _register(name: str, kernel: Any, infer: Any, gradient: Any, doc: str, attrs: Any = ()) -> Any:
    return register_op(
        name,
        kernel=_singular(kernel),
        infer=infer,
        gradient=gradient,
        attrs=dict(attrs),
        share_dtype=True,
        host_only=True,
        doc=doc,
    )


def _swapped(x: Tensor) -> Shape:
    known = matrix_shape(x)
    return Shape(None) if known is None else Shape((*known[0], known[2], known[1]))


_register(
    "swap_axes",
    lambda x: np.swapaxes(x, -1, -2),
    lambda inputs: TensorType(inputs[0].dtype, _swapped(inputs[0])),
    lambda op, g: [apply("swap_axes", g)],
    "The transposes of matrices.",
)
_register("matrix_inverse", np.linalg.inv, _square, _inverse_grad, "The inverses of matrices.")
_register("matrix_determinant", np.linalg.det, _scalar_type, _determinant_grad, "Determinants.")
_register("matrix_solve", _solve, _solve_type, _solve_grad, "X with A X = B.", {"adjoint": False})
_register(
    "matrix_triangular_solve",
    _triangular_solve,
    _solve_type,
    _triangular_grad,
    "X with A X = B for triangular A.",
    {"lower": True, "adjoint": False},
)
_register(
    "cholesky",
    lambda a: np.linalg.cholesky(_symmetric(a)),
    _square,
    _cholesky_grad,
    "The lower triangular L with L L^T = the symmetric part of A.",
)
_register(
    "self_adjoint_eig",
    lambda a: tuple(np.linalg.eigh(_symmetric(a))),
    _eigen_type,
    _eigen_grad,
    "Eigenvalues, rising, and eigenvectors (columns) of A's symmetric part.",
)
_register("qr", lambda a: tuple(np.linalg.qr(a)), _qr_type, _qr_grad, "Q and R with A = Q R.")
_register(
    "svd",
    _svd,
    _svd_type,
    _svd_grad,
    "Singular values, U and V with A = U diag(s) V^T.",
    {"full_matrices": REQUIRED},
)
_register(
    "sylvester",
    _sylvester,
    _square,
    None,
    "X with A X + X A = C.",
)
_register(
    "matrix_square_root",
    _square_root,
    _square,
    lambda op, g: [apply("sylvester", _t(op.outputs[0]), g)],
    "The principal square root of matrices.",
)
