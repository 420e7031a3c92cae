"""Arithmetic of sparse tensors: sums, sparse and dense; extremes, softmax, products."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply
from sw.graph.ops.sparse import (
    in_scope,
    positions,
    sparse_reshape,
    sparse_retain,
    sparse_tensor_to_dense,
)
from sw.graph.sparse_tensor import SparseTensor
from sw.graph.tensor import Tensor


def _kept(sp: SparseTensor, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return ()
    away = {int(a) % sp.rank for a in np.atleast_1d(axis)}
    return tuple(a for a in range(sp.rank) if a not in away)


def _reduced(sp_input: Any, axis: Any, keep_dims: bool, how: str, title: str) -> Tensor:
    sp = SparseTensor.from_value(sp_input)
    kept = _kept(sp, axis)
    with in_scope([sp], None, title):
        if kept:
            dense = sparse_tensor_to_dense(_reduce_groups(sp, kept, how))
        else:
            dense = apply(f"reduce_{how}", sp.values, axis=None, keepdims=False)
        if not keep_dims:
            return dense
        sizes = apply(
            "where",
            np.isin(np.arange(sp.rank), kept),
            sp.dense_shape,
            np.ones(sp.rank, np.int64),
        )
        out: Tensor = apply("reshape", dense, sizes)
        return out


def _reduce_groups(sp: SparseTensor, kept: tuple[int, ...], how: str) -> SparseTensor:
    group, places, count = apply("sparse_group", sp.indices, sp.dense_shape, axes=kept)
    total = apply("unsorted_segment_reduce", sp.values, group, count, how=how)
    sizes = apply("gather", sp.dense_shape, np.asarray(kept, np.int32), axis=0)
    return SparseTensor(places, total, sizes)


def _reduced_sparse(
    sp_input: Any, axis: Any, keep_dims: bool, how: str, title: str
) -> SparseTensor:
    sp = SparseTensor.from_value(sp_input)
    kept = _kept(sp, axis)
    with in_scope([sp], None, title):
        out = _reduce_groups(sp, kept, how)
        if not keep_dims:
            return out
        sizes = [sp.dense_shape[a] if a in kept else np.int64(1) for a in range(sp.rank)]
        return sparse_reshape(out, apply("stack", *sizes, axis=0))


def sparse_reduce_sum(
    sp_input: Any, axis: Any = None, keep_dims: bool = False, reduction_axes: Any = None
) -> Tensor:
    """The sum over `axis` (default: all) as a dense tensor."""
    chosen = reduction_axes if axis is None else axis
    return _reduced(sp_input, chosen, keep_dims, "sum", "SparseReduceSum")


def sparse_reduce_sum_sparse(
    sp_input: Any, axis: Any = None, keep_dims: bool = False, reduction_axes: Any = None
) -> SparseTensor:
    """The sum over `axis` as a sparse tensor."""
    chosen = reduction_axes if axis is None else axis
    return _reduced_sparse(sp_input, chosen, keep_dims, "sum", "SparseReduceSumSparse")


def sparse_reduce_max(
    sp_input: Any, axis: Any = None, keep_dims: bool = False, reduction_axes: Any = None
) -> Tensor:
    """The largest of the elements that are there over `axis` (default: all) as a dense tensor, 0
    where there is none."""
    chosen = reduction_axes if axis is None else axis
    return _reduced(sp_input, chosen, keep_dims, "max", "SparseReduceMax")


def sparse_reduce_max_sparse(
    sp_input: Any, axis: Any = None, keep_dims: bool = False, reduction_axes: Any = None
) -> SparseTensor:
    """The largest of the elements that are there over `axis` as a sparse tensor."""
    chosen = reduction_axes if axis is None else axis
    return _reduced_sparse(sp_input, chosen, keep_dims, "max", "SparseReduceMaxSparse")


def _union(a: SparseTensor, b: SparseTensor) -> tuple[Tensor, Tensor, SparseTensor]:
    """The values of each at all coordinates of both, zero where it has none; the union's places."""
    both = apply("concat", a.indices, b.indices, axis=0)
    axes = tuple(range(a.rank))
    group, places, count = apply("sparse_group", both, a.dense_shape, axes=axes)
    size = apply("shape", a.values)[0]
    rows = apply("range", np.int32(0), apply("size", group), np.int32(1))
    first = apply("gather", group, positions(apply("less", rows, size)), axis=0)
    second = apply("gather", group, positions(apply("greater_equal", rows, size)), axis=0)
    left = apply("unsorted_segment_reduce", a.values, first, count, how="sum")
    right = apply("unsorted_segment_reduce", b.values, second, count, how="sum")
    return left, right, SparseTensor(places, left, a.dense_shape)


def sparse_add(a: Any, b: Any, thresh: Any = 0) -> Any:
    """The sum: sparse if both are, without elements of a magnitude below `thresh`; else dense."""
    if not isinstance(a, (SparseTensor, tuple)):
        a, b = b, a
    left = SparseTensor.from_value(a)
    if not isinstance(b, (SparseTensor, tuple)):
        with in_scope([left], None, "SparseAdd"):
            return sparse_tensor_to_dense(left, validate_indices=False) + b
    right = SparseTensor.from_value(b)
    with in_scope([left], None, "SparseAdd"):
        x, y, places = _union(left, right)
        total = places.with_values(x + y)
        if isinstance(thresh, (int, float)) and thresh == 0:
            return total
        size = apply("abs", total.values)
        return sparse_retain(total, apply("greater_equal", size, thresh))


def _extreme(op: str, a: Any, b: Any, name: str | None) -> SparseTensor:
    left, right = SparseTensor.from_value(a), SparseTensor.from_value(b)
    with in_scope([left], name, f"Sparse{op.title()}"):
        x, y, places = _union(left, right)
        return places.with_values(apply(op, x, y))


def sparse_maximum(sp_a: Any, sp_b: Any, name: str | None = None) -> SparseTensor:
    """The larger of both at each coordinate of either; what one lacks is 0."""
    return _extreme("maximum", sp_a, sp_b, name)


def sparse_minimum(sp_a: Any, sp_b: Any, name: str | None = None) -> SparseTensor:
    """The smaller of both at each coordinate of either; what one lacks is 0."""
    return _extreme("minimum", sp_a, sp_b, name)


def sparse_softmax(sp_input: Any, name: str | None = None) -> SparseTensor:
    """The softmax along the last axis of the elements that are there."""
    sp = SparseTensor.from_value(sp_input)
    with in_scope([sp], name, "SparseSoftmax"):
        axes = tuple(range(sp.rank - 1))
        group, _, count = apply("sparse_group", sp.indices, sp.dense_shape, axes=axes)
        top = apply("unsorted_segment_reduce", sp.values, group, count, how="max")
        top = apply("gather", apply("stop_gradient", top), group, axis=0)
        power = apply("exp", sp.values - top)
        total = apply("unsorted_segment_reduce", power, group, count, how="sum")
        return sp.with_values(power / apply("gather", total, group, axis=0))


def sparse_tensor_dense_matmul(
    sp_a: Any, b: Any, adjoint_a: bool = False, adjoint_b: bool = False, name: str | None = None
) -> Tensor:
    """The product of a sparse matrix (or its conjugate transpose) and a dense one."""
    sp = SparseTensor.from_value(sp_a)
    with in_scope([sp], name, "SparseTensorDenseMatMul"):
        dense = sp.graph.convert(b)
        if adjoint_b:
            dense = apply("transpose", dense, perm=(1, 0))
            dense = apply("conj", dense) if dense.dtype.is_complex else dense
        row, column = (1, 0) if adjoint_a else (0, 1)
        values = apply("conj", sp.values) if adjoint_a and sp.dtype.is_complex else sp.values
        rows = apply("gather", dense, sp.indices[:, column], axis=0)
        scaled = rows * apply("expand_dims", values, axis=1)
        out: Tensor = apply(
            "unsorted_segment_reduce", scaled, sp.indices[:, row], sp.dense_shape[row], how="sum"
        )
        return out


def sparse_matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of two dense matrices. That they hold many zeros changes nothing here."""
    how = {"transpose_a": bool(transpose_a), "transpose_b": bool(transpose_b)}
    out: Tensor = apply("matmul", a, b, name=name, **how)
    return out
