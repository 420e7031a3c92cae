"""Looking rows up in one table or in several that share the work."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.clip import clip_by_norm
from sw.graph.ops.sparse import sparse_fill_empty_rows, sparse_retain
from sw.graph.partitioned import PartitionedVariable
from sw.graph.sparse_tensor import SparseTensor
from sw.graph.tensor import Operators, Tensor


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: Any = None,
) -> Tensor:
    """The rows `ids` of `params`, a table [V, ...] or a list of tables over which the rows are
    spread: "mod" (row i is row i // n of table i % n) or "div" (in contiguous ranges).

    The gradients are `IndexedSlices` of each table. `max_norm` clips every row. Raises
    `InvalidArgumentError` for an unknown strategy, and at run time for an id that is outside.
    """
    if isinstance(params, PartitionedVariable):
        params, partition_strategy = list(params), "div"
    tables = list(params) if isinstance(params, (list, tuple)) else [params]
    if not tables:
        raise InvalidArgumentError("embedding_lookup needs at least one table")
    if partition_strategy not in ("mod", "div"):
        raise InvalidArgumentError(f"partition_strategy {partition_strategy!r} is not mod or div")
    graph = graph_of([*tables, ids])
    with graph.name_scope(name or "embedding_lookup"):
        index = graph.convert(ids)
        tables = [t if isinstance(t, Operators) else graph.convert(t) for t in tables]
        if len(tables) == 1:
            found: Tensor = apply("gather", tables[0], index)
        else:
            found = _spread(graph, tables, index, partition_strategy)
        if max_norm is None:
            return found
        axes = range(index.shape.rank or 0, found.shape.rank or 0)
        out: Tensor = clip_by_norm(found, max_norm, axes)
        return out


def _spread(graph: Any, tables: list[Any], index: Tensor, strategy: str) -> Tensor:
    flat = apply("reshape", index, np.asarray([-1], np.int32))
    count = len(tables)
    if strategy == "mod":
        owner, row = flat % count, flat // count
    else:
        sizes = [t.shape[0] for t in tables]
        if None in sizes:
            raise InvalidArgumentError("the div strategy needs tables of known sizes")
        ends = np.cumsum(sizes).astype(index.dtype.numpy)
        passed = apply("greater_equal", apply("expand_dims", flat, axis=1), ends[:-1])
        owner = apply("reduce_sum", apply("cast", passed, dtype=index.dtype), axis=(1,))
        row = flat - apply("gather", np.concatenate([[0], ends[:-1]]).astype(ends.dtype), owner)
    number = apply("cast", owner, dtype=graph.convert(np.int32(0)).dtype)
    rows = apply("dynamic_partition", row, number, num_partitions=count)
    places = apply("range", np.int32(0), apply("size", flat), np.int32(1))
    where = apply("dynamic_partition", places, number, num_partitions=count)
    parts = [apply("gather", t, r) for t, r in zip(tables, rows, strict=True)]
    joined = apply("dynamic_stitch", *where, *parts)
    rest = tables[0].shape.dims[1:]
    shape = apply("concat", apply("shape", index), np.asarray(rest, np.int32), axis=0)
    out: Tensor = apply("reshape", joined, shape)
    out.set_shape(index.shape.concatenate(rest))
    return out


def embedding_lookup_sparse(
    params: Any,
    sp_ids: Any,
    sp_weights: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    combiner: str = "mean",
    max_norm: Any = None,
) -> Tensor:
    """For each row of the sparse matrix `sp_ids` the sum, weighted mean or sum by the root of the
    squared weights ("sqrtn") of the rows of `params` that it names; `sp_weights`: a sparse matrix
    with the same coordinates, or None. Every row has at least one id."""
    if combiner not in ("sum", "mean", "sqrtn"):
        raise InvalidArgumentError(f"combiner {combiner!r} is not sum, mean or sqrtn")
    ids = SparseTensor.from_value(sp_ids)
    with ids.graph.name_scope(name or "embedding_lookup_sparse"):
        segments = ids.indices[:, 0]
        found = embedding_lookup(params, ids.values, partition_strategy, max_norm=max_norm)
        if sp_weights is None:
            weights = apply("cast", apply("ones_like", ids.values), dtype=found.dtype)
        else:
            weights = SparseTensor.from_value(sp_weights).values
            if weights.dtype is not found.dtype:
                weights = apply("cast", weights, dtype=found.dtype)
        column = apply("reshape", weights, np.asarray([-1] + [1] * ((found.shape.rank or 2) - 1)))
        total: Tensor = apply("segment_reduce", found * column, segments, how="sum")
        if combiner == "sum":
            return total
        power = apply("square", column) if combiner == "sqrtn" else column
        divisor = apply("segment_reduce", power, segments, how="sum")
        out: Tensor = total / (apply("sqrt", divisor) if combiner == "sqrtn" else divisor)
        return out


def safe_embedding_lookup_sparse(
    embedding_weights: Any,
    sparse_ids: Any,
    sparse_weights: Any = None,
    combiner: str = "mean",
    default_id: int | None = None,
    name: str | None = None,
    partition_strategy: str = "div",
    max_norm: Any = None,
) -> Tensor:
    """`embedding_lookup_sparse` that leaves out ids below 0 and weights not above 0; a row without
    any gives zeros (or the row `default_id`)."""
    ids = SparseTensor.from_value(sparse_ids)
    good = apply("greater_equal", ids.values, np.asarray(0, ids.dtype.numpy))
    weights = None if sparse_weights is None else SparseTensor.from_value(sparse_weights)
    if weights is not None:
        good = apply("logical_and", good, apply("greater", weights.values, 0.0))
        weights, _ = sparse_fill_empty_rows(sparse_retain(weights, good), 1.0)
    kept, empty = sparse_fill_empty_rows(sparse_retain(ids, good), default_id or 0)
    found = embedding_lookup_sparse(
        embedding_weights, kept, weights, partition_strategy, name, combiner, max_norm
    )
    if default_id is not None:
        return found
    rows = apply("expand_dims", empty, axis=1)
    out: Tensor = apply("where", rows, apply("zeros_like", found), found)
    return out
