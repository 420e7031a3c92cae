"""Loops over the first axis: `map_fn`, `foldl`, `foldr`, `scan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.control_flow import while_loop
from sw.graph.dtypes import as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.function import Function
from sw.graph.nest import flatten, map_structure, pack
from sw.graph.tensor import Tensor
from sw.graph.tensor_array import TensorArray


def _rows(elems: Any) -> tuple[list[TensorArray], Any, Any]:
    """Each tensor's rows, their number (a constant where it is static), and the graph."""
    leaves = flatten(elems)
    if not leaves:
        raise InvalidArgumentError("elems holds no tensor")
    graph = graph_of(leaves)
    tensors = [graph.convert(v) for v in leaves]
    sizes = {d for t in tensors if t.shape.dims and (d := t.shape.dims[0]) is not None}
    if len(sizes) > 1:
        raise InvalidArgumentError(f"elems have {sorted(sizes)} rows")
    count: Any = apply("shape", tensors[0])[0]
    if sizes:
        count = graph.convert(np.int32(sizes.pop()))
    return [TensorArray(t.dtype, count).unstack(t) for t in tensors], count, graph


def _stacked(array: TensorArray, count: Any) -> Tensor:
    out = array.stack()
    size = count.op.attrs.get("value") if count.op.type == "const" else None
    if size is not None:
        out.set_shape((int(size), *([None] * ((out.shape.rank or 1) - 1))) if out.shape else None)
    return out


def map_fn(
    fn: Callable[[Any], Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """`fn` of each row of `elems` (a tensor or a structure of them), stacked. `dtype`: a structure
    of dtypes for the results, if they are not as `elems`."""
    template = elems if dtype is None else dtype
    with graph_of(flatten(elems)).name_scope(name or "map"):
        rows, count, graph = _rows(elems)
        kinds = [r.dtype for r in rows] if dtype is None else map(as_dtype, flatten(dtype))
        out = [TensorArray(kind, count, infer_shape=infer_shape) for kind in kinds]

        def body(i: Any, arrays: list[TensorArray]) -> Any:
            results = flatten(fn(pack(elems, [r.read(i) for r in rows])))
            made = [a.write(i, v) for a, v in zip(arrays, results, strict=True)]
            for kept, new in zip(out, made, strict=True):
                kept.element_shape = new.element_shape
            return i + 1, made

        _, done = while_loop(
            lambda i, _: i < count, body, [graph.convert(np.int32(0)), out], back_prop=back_prop
        )
        shaped = [d.with_flow(d.flow, o.element_shape) for d, o in zip(done, out, strict=True)]
        return pack(template, [_stacked(a, count) for a in shaped])


def vectorized_map(fn: Callable[[Any], Any], elems: Any, name: str | None = None) -> Any:
    """`map_fn` that finds the dtypes of the results by itself. The rows are computed one after the
    other."""
    graph = graph_of(flatten(elems))
    tensors = [graph.convert(v) for v in flatten(elems)]
    probe = Function(graph, graph.unique_name("vectorized_map_probe"))
    rows = [probe.parameter(t, t.shape[1:]) for t in tensors]
    shown = probe.trace(fn, pack(elems, rows))
    kinds = pack(shown, [probe.convert(v).dtype for v in flatten(shown)])
    return map_fn(fn, elems, kinds, name=name or "vectorized_map")


def _fold(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any,
    back_prop: bool,
    name: str,
    backwards: bool,
) -> Any:
    with graph_of(flatten(elems)).name_scope(name):
        rows, count, graph = _rows(elems)

        def row(i: Any) -> Any:
            at = count - 1 - i if backwards else i
            return pack(elems, [r.read(at) for r in rows])

        first = 0 if initializer is not None else 1
        state = initializer if initializer is not None else row(graph.convert(np.int32(0)))
        state = map_structure(graph.convert, state)

        def body(i: Any, so_far: Any) -> Any:
            return i + 1, fn(so_far, row(i))

        return while_loop(
            lambda i, _: i < count,
            body,
            [graph.convert(np.int32(first)), state],
            back_prop=back_prop,
        )[1]


def foldl(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """`fn(...fn(fn(initializer, row 0), row 1)...)`; without `initializer` it starts at row 0."""
    return _fold(fn, elems, initializer, back_prop, name or "foldl", False)


def foldr(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """`foldl` from the last row to the first."""
    return _fold(fn, elems, initializer, back_prop, name or "foldr", True)


def scan(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """All values of `foldl`, stacked; without `initializer` the first is row 0 itself."""
    with graph_of(flatten(elems)).name_scope(name or "scan"):
        rows, count, graph = _rows(elems)

        def row(i: Any) -> Any:
            return pack(elems, [r.read(i) for r in rows])

        zero = graph.convert(np.int32(0))
        state = map_structure(graph.convert, row(zero) if initializer is None else initializer)
        first = flatten(state)
        arrays = [
            TensorArray(t.dtype, count, infer_shape=infer_shape, element_shape=t.shape)
            for t in first
        ]
        if initializer is None:
            arrays = [a.write(zero, t) for a, t in zip(arrays, first, strict=True)]

        def body(i: Any, so_far: Any, written: list[TensorArray]) -> Any:
            new = fn(so_far, row(i))
            made = [a.write(i, v) for a, v in zip(written, flatten(new), strict=True)]
            return i + 1, new, made

        start = graph.convert(np.int32(0 if initializer is not None else 1))
        _, _, done = while_loop(
            lambda i, *_: i < count, body, [start, state, arrays], back_prop=back_prop
        )
        return pack(state, [_stacked(a, count) for a in done])
