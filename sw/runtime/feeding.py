"""Checking and converting what the caller feeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sw.graph.dtypes import resource, sequence, to_array
from sw.graph.errors import DTypeError, InvalidArgumentError, OpError, ShapeError
from sw.graph.graph import Graph
from sw.graph.tensor import Operators, Tensor


def resolve(graph: Graph, key: Any) -> Tensor:
    """The tensor that a key of `feed_dict` means; raises `InvalidArgumentError` if it is none of
    this graph's, or cannot be fed."""
    try:
        element = graph.as_graph_element(key)
    except OpError as error:
        raise InvalidArgumentError(f"cannot feed {key!r}: {error.message}") from None
    if not isinstance(element, Tensor):
        raise InvalidArgumentError(f"cannot feed {key!r}: it is an operation, feed its output")
    if element.dtype is resource:
        raise InvalidArgumentError(f"cannot feed {element.name!r}: it is a variable's handle")
    if not graph.is_feedable(element):
        raise InvalidArgumentError(f"cannot feed {element.name!r}: it was made unfeedable")
    return element


def split_feeds(feeds: Mapping[Any, Any]) -> dict[Any, Any]:
    """Feeds of bundles of tensors (a `SparseTensor`: its coordinates, values and shape) as feeds of
    their placeholders; raises `InvalidArgumentError` when the value has not as many parts."""
    out: dict[Any, Any] = {}
    for key, value in feeds.items():
        if not hasattr(key, "fetch_parts"):
            out[key] = value
            continue
        parts = key.fetch_parts()
        if not isinstance(value, (tuple, list)) or len(value) != len(parts):
            raise InvalidArgumentError(
                f"cannot feed {key!r}: it takes {len(parts)} parts, such as a SparseTensorValue, "
                f"not {type(value).__name__}"
            )
        for tensor, part in zip(parts, value, strict=True):
            if tensor.op.type == "placeholder":
                out[tensor] = part
            elif tensor.op.type != "const" or not np.array_equal(tensor.op.attrs["value"], part):
                raise InvalidArgumentError(f"cannot feed {part!r} to {tensor.name!r} of {key!r}")
    return out


def value_for(tensor: Tensor, value: Any) -> Any:
    """`value` as an array of the tensor's dtype; raises `DTypeError` or `ShapeError` naming the
    tensor, what was given and what would be right."""
    if isinstance(value, Operators):
        raise DTypeError(
            f"the value fed to {tensor.name!r} is a tensor ({value!r}); feed its value: "
            "sess.run it first"
        )
    if tensor.dtype is sequence:
        if not isinstance(value, (tuple, list)):
            raise DTypeError(f"cannot feed {tensor.name!r}: a list of arrays is needed")
        return tuple(value)
    want = tensor.dtype.numpy
    if type(value) is np.ndarray and value.dtype == want:
        array = value
    else:
        try:
            array = to_array(value, tensor.dtype)
        except (DTypeError, ValueError, OverflowError) as error:
            raise DTypeError(
                f"cannot feed {tensor.name!r} ({tensor.dtype}{tensor.shape}): {error}"
            ) from None
    dims = tensor.shape.dims
    if dims is not None and not (
        len(dims) == array.ndim
        and all(d is None or d == s for d, s in zip(dims, array.shape, strict=True))
    ):
        raise ShapeError(
            f"cannot feed a value of shape {array.shape} to {tensor.name!r}, which has shape "
            f"{tensor.shape} ({tensor.op.source})"
        )
    return array if dims is None or dims else array[()]
