"""Sparse tensors: built of gathers and segment sums, so that gradients flow to the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, constant_value, graph_of, register_op
from sw.graph.dtypes import as_dtype, int64
from sw.graph.errors import DTypeError, InvalidArgumentError
from sw.graph.indexed_slices import IndexedSlices
from sw.graph.ops.guards import is_tensor
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.sparse_tensor import SparseTensor
from sw.graph.tensor import Tensor


def _flat(indices: Any, shape: Any) -> Any:
    sizes = tuple(int(s) for s in shape)
    if not sizes:
        return np.zeros(len(indices), np.int64)
    if len(indices) and (np.min(indices) < 0 or (indices >= np.asarray(sizes)).any()):
        bad = indices[np.any((indices < 0) | (indices >= np.asarray(sizes)), 1)][0]
        raise IndexError(f"index {bad.tolist()} is outside of shape {list(sizes)}")
    return np.ravel_multi_index(tuple(np.asarray(indices).T), sizes)


def _dense(xp: Any, indices: Any, shape: Any, values: Any, default: Any, check: bool) -> Any:
    sizes = tuple(int(s) for s in shape)
    at = np.reshape(indices, (-1, len(sizes)))
    flat = _flat(at, sizes)
    if check and (np.diff(flat) <= 0).any():
        raise InvalidArgumentError(
            "the indices must rise and be different; use st.sparse_reorder, or validate_indices="
            "False"
        )
    out = np.full(sizes, default, values.dtype)
    out.reshape(-1)[flat] = values
    return out


def _dense_grad(op: Any, g: Tensor) -> list[Any]:
    rank = op.inputs[1].shape[0]
    at = apply("reshape", op.inputs[0], np.asarray([-1, 1 if rank is None else rank], np.int32))
    taken = apply("gather_nd", g, at)
    total: dict[str, Any] = {"axis": None, "keepdims": False}
    rest = apply("reduce_sum", g, **total) - apply("reduce_sum", taken, **total)
    values = apply("reduce_sum", taken, **total) if op.inputs[2].shape.rank == 0 else taken
    return [None, None, values, rest]


register_op(
    "sparse_to_dense",
    kernel=_dense,
    infer=lambda inputs, check: TensorType(inputs[2].dtype, constant_shape(inputs[1])),
    gradient=_dense_grad,
    attrs={"check": True},
    host_only=True,
    doc="A tensor of shape inputs[1] and value inputs[3] with inputs[2] at the places inputs[0].",
)
register_op(
    "sparse_order",
    kernel=lambda xp, indices, shape: np.argsort(_flat(indices, shape), kind="stable"),
    infer=lambda inputs: TensorType(int64, inputs[0].shape[:1]),
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="The permutation that sorts coordinates row by row.",
)


def _group(xp: Any, indices: Any, shape: Any, axes: tuple[int, ...]) -> Any:
    kept = np.asarray(indices)[:, list(axes)]
    sizes = np.asarray(shape)[list(axes)]
    found, group = np.unique(_flat(kept, sizes), return_inverse=True)
    places = np.stack(np.unravel_index(found, sizes), 1) if axes else found[:, None][:, :0]
    return np.reshape(group, -1).astype(np.int64), places.astype(np.int64), np.int64(len(found))


register_op(
    "sparse_group",
    kernel=_group,
    infer=lambda inputs, axes: [
        TensorType(int64, inputs[0].shape[:1]),
        TensorType(int64, Shape((None, len(axes)))),
        TensorType(int64, Shape(())),
    ],
    gradient=NOT_DIFFERENTIABLE,
    attrs={"axes": REQUIRED},
    host_only=True,
    doc="For each coordinate the number of its group of equal ones along `axes`; the groups' "
    "coordinates; how many.",
)


def _reshaped(xp: Any, indices: Any, shape: Any, new: Any) -> Any:
    old = tuple(int(s) for s in shape)
    sizes = np.asarray(new, np.int64).copy()
    total = int(np.prod(old))
    if (sizes == -1).any():
        sizes[sizes == -1] = total // max(1, -int(np.prod(sizes)))
    if int(np.prod(sizes)) != total:
        raise InvalidArgumentError(f"shape {list(old)} cannot become {np.asarray(new).tolist()}")
    places = np.stack(np.unravel_index(_flat(indices, old), tuple(sizes)), 1)
    return places.astype(np.int64), sizes


register_op(
    "sparse_reshape_indices",
    kernel=_reshaped,
    infer=lambda inputs: [
        TensorType(int64, inputs[0].shape[:1].concatenate(inputs[2].shape)),
        TensorType(int64, inputs[2].shape),
    ],
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="Coordinates inputs[0] in shape inputs[1] as coordinates in shape inputs[2], and that.",
)
register_op(
    "sparse_empty_rows",
    kernel=lambda xp, indices, shape: np.bincount(indices[:, 0], minlength=int(shape[0])) == 0,
    infer=lambda inputs: TensorType(as_dtype("bool"), Shape((None,))),
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="Which rows of a sparse tensor have no element.",
)


def in_scope(parts: Sequence[SparseTensor], name: str | None, default: str) -> Any:
    """A name scope of the sparse tensors' graph."""
    return parts[0].graph.name_scope(name or default)


def _pick(sp: SparseTensor, rows: Any, shape: Any = None) -> SparseTensor:
    return SparseTensor(
        apply("gather", sp.indices, rows, axis=0),
        apply("gather", sp.values, rows, axis=0),
        sp.dense_shape if shape is None else shape,
    )


def positions(mask: Tensor) -> Tensor:
    """Where a bool vector is true."""
    out: Tensor = apply("where_indices", mask)[:, 0]
    return out


def sparse_to_dense(
    sparse_indices: Any,
    output_shape: Any,
    sparse_values: Any,
    default_value: Any = 0,
    validate_indices: bool = True,
    name: str | None = None,
) -> Tensor:
    """A dense tensor of `output_shape` with `sparse_values` at `sparse_indices`, else
    `default_value`."""
    graph = graph_of((sparse_indices, output_shape, sparse_values))
    values = graph.convert(sparse_values)
    out: Tensor = apply(
        "sparse_to_dense",
        sparse_indices,
        output_shape,
        values,
        graph.convert(default_value, values.dtype),
        name=name,
        check=bool(validate_indices),
    )
    return out


def sparse_tensor_to_dense(
    sp_input: Any, default_value: Any = 0, validate_indices: bool = True, name: str | None = None
) -> Tensor:
    """A sparse tensor as a dense one."""
    sp = SparseTensor.from_value(sp_input)
    return sparse_to_dense(
        sp.indices, sp.dense_shape, sp.values, default_value, validate_indices, name
    )


def sparse_reorder(sp_input: Any, name: str | None = None) -> SparseTensor:
    """The same with its coordinates in the order of the rows."""
    sp = SparseTensor.from_value(sp_input)
    with in_scope([sp], name, "SparseReorder"):
        return _pick(sp, apply("sparse_order", sp.indices, sp.dense_shape))


def sparse_reshape(sp_input: Any, shape: Any, name: str | None = None) -> SparseTensor:
    """The same elements in another shape; one size may be -1."""
    sp = SparseTensor.from_value(sp_input)
    with in_scope([sp], name, "SparseReshape"):
        new = shape if hasattr(shape, "_operand") else np.asarray(shape, np.int64)
        at, sizes = apply("sparse_reshape_indices", sp.indices, sp.dense_shape, new)
        given = constant_value(new)
        if given is not None and (given >= 0).all():
            sizes = given
        return SparseTensor(at, sp.values, sizes)


def sparse_transpose(sp_input: Any, perm: Any = None, name: str | None = None) -> SparseTensor:
    """Axis i is axis `perm[i]` of the input (default: all reversed)."""
    sp = SparseTensor.from_value(sp_input)
    with in_scope([sp], name, "SparseTranspose"):
        order = np.arange(sp.rank)[::-1] if perm is None else np.asarray(perm)
        order = order.astype(np.int32)
        moved = SparseTensor(
            apply("gather", sp.indices, order, axis=1),
            sp.values,
            apply("gather", sp.dense_shape, order, axis=0),
        )
        return sparse_reorder(moved)


def sparse_concat(
    axis: int = 0,
    sp_inputs: Any = (),
    name: str | None = None,
    expand_nonconcat_dim: bool = False,
    concat_dim: int | None = None,
) -> SparseTensor:
    """Sparse tensors one after the other along `axis`; with `expand_nonconcat_dim` the other axes
    become as long as the longest."""
    parts = [SparseTensor.from_value(p) for p in sp_inputs]
    at = (axis if concat_dim is None else concat_dim) % parts[0].rank
    unit = np.eye(parts[0].rank, dtype=np.int64)[at]
    with in_scope(parts, name, "SparseConcat"):
        start: Any = np.int64(0)
        moved = []
        for part in parts:
            moved.append(part.indices + start * unit)
            start = part.dense_shape[at] + start
        sizes: Any = parts[0].dense_shape
        if expand_nonconcat_dim:
            for part in parts[1:]:
                sizes = apply("maximum", sizes, part.dense_shape)
        sizes = sizes * (1 - unit) + start * unit
        joined = SparseTensor(
            apply("concat", *moved, axis=0),
            apply("concat", *(p.values for p in parts), axis=0),
            sizes,
        )
        return sparse_reorder(joined)


def sparse_split(
    sp_input: Any = None,
    num_split: int = 0,
    axis: int = 0,
    name: str | None = None,
    split_dim: int | None = None,
) -> list[SparseTensor]:
    """`num_split` parts along `axis`, the first ones longer by one if it does not divide."""
    sp = SparseTensor.from_value(sp_input)
    at = (axis if split_dim is None else split_dim) % sp.rank
    size = sp.static_shape()[at]
    if not 1 <= num_split <= size:
        raise InvalidArgumentError(f"{num_split} parts of an axis of {size}")
    unit = np.eye(sp.rank, dtype=np.int64)[at]
    parts = []
    with in_scope([sp], name, "SparseSplit"):
        start = 0
        for number in range(num_split):
            length = size // num_split + (number < size % num_split)
            place = sp.indices[:, at]
            inside = apply("greater_equal", place, np.int64(start))
            inside = apply("logical_and", inside, apply("less", place, np.int64(start + length)))
            shape = sp.dense_shape * (1 - unit) + np.int64(length) * unit
            part = _pick(sp, positions(inside), shape)
            parts.append(SparseTensor(part.indices - start * unit, part.values, shape))
            start += length
    return parts


def sparse_slice(sp_input: Any, start: Any, size: Any, name: str | None = None) -> SparseTensor:
    """`size[i]` places from `start[i]` on along each axis, as far as the shape reaches."""
    sp = SparseTensor.from_value(sp_input)
    with in_scope([sp], name, "SparseSlice"):
        first, room = (
            sp.graph.convert(np.asarray(v, np.int64)) if not is_tensor(v) else v
            for v in (start, size)
        )
        ends = apply("minimum", first + room, sp.dense_shape)
        inside = apply(
            "logical_and",
            apply("greater_equal", sp.indices, first),
            apply("less", sp.indices, ends),
        )
        rows = positions(apply("reduce_all", inside, axis=(1,), keepdims=False))
        shape = apply("maximum", ends - first, apply("zeros_like", ends))
        part = _pick(sp, rows, shape)
        return SparseTensor(part.indices - first, part.values, shape)


def sparse_retain(sp_input: Any, to_retain: Any) -> SparseTensor:
    """Only the elements where the bool vector `to_retain` is true."""
    sp = SparseTensor.from_value(sp_input)
    return _pick(sp, positions(sp.graph.convert(to_retain)))


def sparse_fill_empty_rows(
    sp_input: Any, default_value: Any, name: str | None = None
) -> tuple[SparseTensor, Tensor]:
    """(with `default_value` at column 0 of each row that had no element, which rows those are)."""
    sp = SparseTensor.from_value(sp_input)
    with in_scope([sp], name, "SparseFillEmptyRows"):
        empty = apply("sparse_empty_rows", sp.indices, sp.dense_shape)
        rows = apply("where_indices", empty)
        rest = apply("zeros_like", rows)
        places = apply("concat", rows, *[rest] * (sp.rank - 1), axis=1)
        value = sp.graph.convert(default_value, sp.dtype)
        fresh = apply("fill", apply("shape", rows[:, 0]), value)
        filled = SparseTensor(
            apply("concat", sp.indices, places, axis=0),
            apply("concat", sp.values, fresh, axis=0),
            sp.dense_shape,
        )
        return sparse_reorder(filled), empty


def sparse_reset_shape(sp_input: Any, new_shape: Any = None) -> SparseTensor:
    """The same in `new_shape`, which must hold it, or in the smallest that does."""
    sp = SparseTensor.from_value(sp_input)
    if new_shape is not None:
        have = constant_value(sp.dense_shape)
        want = constant_value(new_shape)
        if have is not None and want is not None and (want < have).any():
            raise InvalidArgumentError(f"shape {want.tolist()} is smaller than {have.tolist()}")
        return SparseTensor(sp.indices, sp.values, new_shape)
    return SparseTensor(
        sp.indices, sp.values, apply("reduce_max", sp.indices, axis=(0,), keepdims=False) + 1
    )


def sparse_to_indicator(sp_input: Any, vocab_size: int, name: str | None = None) -> Tensor:
    """A bool tensor in which [..., v] says whether the row [...] holds the value v."""
    sp = SparseTensor.from_value(sp_input)
    with in_scope([sp], name, "SparseToIndicator"):
        marks = apply("fill", apply("shape", sp.values), np.bool_(True))
        merged = sparse_merge(sp, sp.with_values(marks), vocab_size)
        return sparse_tensor_to_dense(merged, False, validate_indices=False)


def sparse_merge(
    sp_ids: Any,
    sp_values: Any,
    vocab_size: int,
    name: str | None = None,
    already_sorted: bool = False,
) -> SparseTensor:
    """Values at the ids: the last axis of the ids' coordinates is replaced by the ids."""
    ids, values = SparseTensor.from_value(sp_ids), SparseTensor.from_value(sp_values)
    if not ids.dtype.is_integer:
        raise DTypeError(f"ids are integers, not {ids.dtype}")
    with in_scope([ids], name, "SparseMerge"):
        number = ids.values if ids.dtype is int64 else apply("cast", ids.values, dtype=int64)
        column = apply("expand_dims", number, axis=1)
        at = apply("concat", ids.indices[:, :-1], column, axis=1)
        sizes = apply("concat", ids.dense_shape[:-1], [np.int64(vocab_size)], axis=0)
        merged = SparseTensor(at, values.values, sizes)
        return merged if already_sorted else sparse_reorder(merged)


def sparse_mask(a: IndexedSlices, mask_indices: Any, name: str | None = None) -> IndexedSlices:
    """The slices of `a` without those whose index is among `mask_indices`."""
    with a.graph.name_scope(name or "sparse_mask"):
        kept, rows = apply("setdiff1d", a.indices, a.graph.convert(mask_indices, a.indices.dtype))
        return IndexedSlices(apply("gather", a.values, rows, axis=0), kept, a.dense_shape)


def convert_to_tensor_or_sparse_tensor(
    value: Any, dtype: Any = None, name: str | None = None
) -> Any:
    """A `SparseTensor` for a sparse value, else a tensor."""
    if isinstance(value, SparseTensor) or type(value).__name__ == "SparseTensorValue":
        return SparseTensor.from_value(value)
    kind = None if dtype is None else as_dtype(dtype)
    return graph_of((value,)).convert(value, kind, name)
