"""Names of 2015 and 2016 for what has another name today, with the arguments of that time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sw.graph.build import graph_of, name_scope
from sw.graph.operation import Operation
from sw.graph.ops import complex_numbers as complex_ops
from sw.graph.ops import diagonals, linear_algebra
from sw.graph.ops.arithmetic import multiply, reciprocal
from sw.graph.ops.checks import assert_
from sw.graph.ops.joining import stack, unstack
from sw.graph.ops.shaping import shape
from sw.graph.ops.variables import (
    global_variables,
    is_variable_initialized,
    local_variables,
    local_variables_initializer,
    variables_initializer,
)
from sw.graph.tensor import Tensor
from sw.graph.variable_scope import variable_scope

all_variables = global_variables
initialize_local_variables = local_variables_initializer
initialize_variables = variables_initializer
inv = reciprocal

batch_cholesky = linear_algebra.cholesky
batch_cholesky_solve = linear_algebra.cholesky_solve
batch_matrix_band_part = diagonals.matrix_band_part
batch_matrix_determinant = linear_algebra.matrix_determinant
batch_matrix_diag = diagonals.matrix_diag
batch_matrix_diag_part = diagonals.matrix_diag_part
batch_matrix_inverse = linear_algebra.matrix_inverse
batch_matrix_set_diag = diagonals.matrix_set_diag
batch_matrix_solve = linear_algebra.matrix_solve
batch_matrix_solve_ls = linear_algebra.matrix_solve_ls
batch_matrix_transpose = linear_algebra.matrix_transpose
batch_matrix_triangular_solve = linear_algebra.matrix_triangular_solve
batch_self_adjoint_eig = linear_algebra.self_adjoint_eig
batch_self_adjoint_eigvals = linear_algebra.self_adjoint_eigvals
batch_svd = linear_algebra.svd
batch_fft, batch_ifft = complex_ops.fft, complex_ops.ifft
batch_fft2d, batch_ifft2d = complex_ops.fft2d, complex_ops.ifft2d
batch_fft3d, batch_ifft3d = complex_ops.fft3d, complex_ops.ifft3d


def pack(values: Any, axis: int = 0, name: str = "pack") -> Tensor:
    """`stack`."""
    out: Tensor = stack(values, axis, name)
    return out


def unpack(value: Any, num: int | None = None, axis: int = 0, name: str = "unpack") -> list[Tensor]:
    """`unstack`."""
    out: list[Tensor] = unstack(value, num, axis, name)
    return out


def shape_n(input: Any, out_type: Any = None, name: str | None = None) -> list[Tensor]:
    """The shapes of several tensors."""
    with graph_of(input).name_scope(name or "shape_n"):
        return [shape(t) if out_type is None else shape(t, out_type=out_type) for t in input]


def scalar_mul(scalar: Any, x: Any) -> Any:
    """`scalar * x`; `IndexedSlices` stay what they are."""
    if hasattr(x, "with_values"):
        return x.with_values(multiply(x.values, scalar))
    return multiply(x, scalar)


def complex_abs(x: Any, name: str | None = None) -> Tensor:
    """The absolute values of complex numbers."""
    out: Tensor = graph_of((x,)).apply("abs", x, name=name)
    return out


def assert_variables_initialized(var_list: Any = None) -> Operation | None:
    """An operation that fails unless all of `var_list` (default: all variables) have a value."""
    chosen = global_variables() + local_variables() if var_list is None else list(var_list)
    if not chosen:
        return None
    graph = chosen[0].graph
    with graph.name_scope("assert_variables_initialized"):
        flags = graph.apply("stack", *[is_variable_initialized(v) for v in chosen], axis=0)
        return assert_(graph.apply("reduce_all", flags, axis=None, keepdims=False), [flags])


@contextlib.contextmanager
def op_scope(values: Any, name: str | None, default_name: str | None = None) -> Iterator[str]:
    """`name_scope` with its arguments in the order of 2015."""
    with name_scope(name, default_name, values) as scope:
        yield scope


@contextlib.contextmanager
def variable_op_scope(
    values: Any, name_or_scope: Any, default_name: str | None = None, **options: Any
) -> Iterator[Any]:
    """`variable_scope` with its arguments in the order of 2015."""
    with variable_scope(name_or_scope, default_name, values, **options) as scope:
        yield scope
