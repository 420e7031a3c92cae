"""The public functions of linear algebra, and those that are made of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError
from sw.graph.tensor import Tensor


def matrix_transpose(a: Any, name: str | None = None) -> Tensor:
    """The last two axes swapped."""
    out: Tensor = apply("swap_axes", a, name=name or "matrix_transpose")
    return out


def matrix_inverse(input: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The inverse of [..., M, M] (of its transpose, with `adjoint`); singular ones are an error."""
    value = apply("swap_axes", input) if adjoint else input
    out: Tensor = apply("matrix_inverse", value, name=name)
    return out


def matrix_square_root(input: Any, name: str | None = None) -> Tensor:
    """The X with X X = `input` [..., M, M] whose eigenvalues have positive real parts; an error
    when there is no real one."""
    out: Tensor = apply("matrix_square_root", input, name=name)
    return out


def matrix_determinant(input: Any, name: str | None = None) -> Tensor:
    """The determinants of [..., M, M]."""
    out: Tensor = apply("matrix_determinant", input, name=name)
    return out


def matrix_solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """X with `matrix` X = `rhs` ([..., M, M] and [..., M, K])."""
    out: Tensor = apply("matrix_solve", matrix, rhs, name=name, adjoint=bool(adjoint))
    return out


def matrix_triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """X with `matrix` X = `rhs`, of `matrix` only the lower (or upper) triangle."""
    out: Tensor = apply(
        "matrix_triangular_solve", matrix, rhs, name=name, lower=bool(lower), adjoint=bool(adjoint)
    )
    return out


def cholesky(input: Any, name: str | None = None) -> Tensor:
    """The lower triangular L with L L^T = `input` [..., M, M], symmetric positive definite."""
    out: Tensor = apply("cholesky", input, name=name)
    return out


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Tensor:
    """X with A X = `rhs`, given A's Cholesky factor."""
    half = matrix_triangular_solve(chol, rhs)
    return matrix_triangular_solve(chol, half, adjoint=True, name=name)


def matrix_solve_ls(
    matrix: Any,
    rhs: Any,
    l2_regularizer: float = 0.0,
    fast: bool = True,
    name: str | None = None,
) -> Tensor:
    """The X that minimises |`matrix` X - `rhs`|^2 + l2 |X|^2, by the normal equations of a tall
    `matrix` [..., M, N] (of a wide one: the smallest X)."""
    graph = graph_of((matrix, rhs))
    a, b = graph.convert(matrix), graph.convert(rhs)
    rows, columns = (a.shape.dims or (None, None))[-2:]
    if rows is None or columns is None:
        raise InvalidArgumentError("matrix_solve_ls needs a matrix of known size")
    tall = rows >= columns
    gram = apply("matmul", a, a, transpose_a=tall, transpose_b=not tall)
    shift = (l2_regularizer * np.eye(min(rows, columns))).astype(a.dtype.numpy)
    factor = cholesky(gram + shift)
    if tall:
        return cholesky_solve(factor, apply("matmul", a, b, transpose_a=True), name)
    out: Tensor = apply("matmul", a, cholesky_solve(factor, b), transpose_a=True, name=name)
    return out


def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> list[Tensor]:
    """Q and R with `input` = Q R; only the reduced form."""
    if full_matrices:
        raise InvalidArgumentError("qr: full_matrices=True is not supported")
    parts: list[Tensor] = apply("qr", input, name=name)
    return parts


def svd(
    tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None
) -> Any:
    """(s, u, v) with `tensor` = u diag(s) v^T; only s without `compute_uv`. The gradient goes
    through s alone."""
    s, u, v = apply("svd", tensor, name=name, full_matrices=bool(full_matrices))
    return (s, u, v) if compute_uv else s


def self_adjoint_eig(tensor: Any, name: str | None = None) -> list[Tensor]:
    """Eigenvalues (rising) and eigenvectors (columns) of symmetric matrices."""
    parts: list[Tensor] = apply("self_adjoint_eig", tensor, name=name)
    return parts


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """The eigenvalues alone."""
    return self_adjoint_eig(tensor, name)[0]


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The p-norm over `axis` (an int: of vectors; a pair: Frobenius and entrywise norms of
    matrices; None: of all elements). `ord`: "euclidean", "fro", 1, 2, np.inf or any p > 0."""
    graph = graph_of((tensor,))
    pair = isinstance(axis, Sequence) and len(axis) == 2
    if ord == "fro" and not pair and axis is not None:
        raise InvalidArgumentError("the Frobenius norm is of matrices: axis is a pair")
    if ord in (1, 2, np.inf) and pair:
        raise InvalidArgumentError(f"the induced matrix norm {ord} is not supported")
    with graph.name_scope(name or "norm"):
        value = graph.convert(tensor)
        axes = None if axis is None else tuple(int(a) for a in np.atleast_1d(axis))
        how: dict[str, Any] = {"axis": axes, "keepdims": bool(keep_dims)}
        out: Tensor
        if ord in ("euclidean", "fro", 2):
            out = apply("sqrt", apply("reduce_sum", value * value, **how))
        elif ord == np.inf:
            out = apply("reduce_max", apply("abs", value), **how)
        elif ord == 1:
            out = apply("reduce_sum", apply("abs", value), **how)
        elif isinstance(ord, (int, float)) and ord > 0:
            powers = apply("pow", apply("abs", value), float(ord))
            out = apply("pow", apply("reduce_sum", powers, **how), 1.0 / ord)
        else:
            raise InvalidArgumentError(f"ord {ord!r} is not euclidean, fro or a positive number")
        return out


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """The vector product over the last axis, of size 3."""
    graph = graph_of((a, b))
    with graph.name_scope(name or "cross"):
        x, y = graph.convert(a), graph.convert(b)
        x1, y1 = (apply("gather", t, np.asarray([1, 2, 0], np.int32), axis=-1) for t in (x, y))
        x2, y2 = (apply("gather", t, np.asarray([2, 0, 1], np.int32), axis=-1) for t in (x, y))
        out: Tensor = x1 * y2 - x2 * y1
        return out
