"""`st.test`: gradients by differences, and comparing graphs."""

from __future__ import annotations

import tempfile
import unittest
from typing import Any

import numpy as np

from sw.graph.context import SESSIONS
from sw.graph.errors import InvalidArgumentError
from sw.graph.gradients import gradients
from sw.graph.graph import Graph
from sw.graph.ops.basic import placeholder
from sw.graph.tensor import Tensor

_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
main = unittest.main


def _session() -> Any:
    session = SESSIONS.top()
    if session is None:
        raise InvalidArgumentError("no default session: use `with st.Session():`")
    return session


def compute_gradient(
    x: Tensor,
    x_shape: Any,
    y: Tensor,
    y_shape: Any,
    x_init_value: Any = None,
    delta: float = 1e-3,
    init_targets: Any = None,
) -> tuple[Any, Any]:
    """(the Jacobian [x size, y size] by `gradients`, the same by central differences of `delta`) of
    `y` by `x`, at `x_init_value` (default: random), in the default session."""
    session = _session()
    if init_targets is not None:
        session.run(init_targets)
    start = np.random.default_rng(0).uniform(size=x_shape) if x_init_value is None else x_init_value
    start = np.asarray(start, x.dtype.numpy)
    up = placeholder(y.dtype, y_shape)
    (grad,) = gradients(y, x, grad_ys=up)
    size_x, size_y = start.size, int(np.prod(y_shape, dtype=np.int64))
    theory, numeric = np.zeros((2, size_x, size_y), x.dtype.numpy)
    for at in range(size_y):
        unit = np.zeros(size_y, y.dtype.numpy)
        unit[at] = 1
        theory[:, at] = np.ravel(session.run(grad, {x: start, up: unit.reshape(y_shape)}))
    for at in range(size_x):
        ends = []
        for step in (delta, -delta):
            moved = start.copy()
            moved.reshape(-1)[at] += step
            ends.append(np.ravel(session.run(y, {x: moved})))
        numeric[at] = (ends[0] - ends[1]) / (2 * delta)
    return theory, numeric


def compute_gradient_error(
    x: Tensor,
    x_shape: Any,
    y: Tensor,
    y_shape: Any,
    x_init_value: Any = None,
    delta: float = 1e-3,
    init_targets: Any = None,
) -> float:
    """The largest difference between the two of `compute_gradient`."""
    theory, numeric = compute_gradient(x, x_shape, y, y_shape, x_init_value, delta, init_targets)
    return float(np.abs(theory - numeric).max(initial=0))


def assert_equal_graph_def(actual: Graph, expected: Graph) -> None:
    """Raises `AssertionError` naming the first op in which two graphs differ."""
    left, right = actual.get_operations(), expected.get_operations()
    names = {op.name for op in left} ^ {op.name for op in right}
    if names:
        raise AssertionError(f"only one graph has {sorted(names)[0]!r}")
    others = {op.name: op for op in right}
    for op in left:
        other = others[op.name]
        for what, a, b in (
            ("type", op.type, other.type),
            ("inputs", [t.name for t in op.inputs], [t.name for t in other.inputs]),
            ("device", op.device, other.device),
            ("attributes", repr(dict(op.attrs)), repr(dict(other.attrs))),
        ):
            if a != b:
                raise AssertionError(f"op {op.name!r}: {what} {a} and {b}")


def get_temp_dir() -> str:
    """A folder that is removed when the process ends."""
    if not _FOLDERS:
        _FOLDERS.append(tempfile.TemporaryDirectory())
    return _FOLDERS[0].name


def is_built_with_cuda() -> bool:
    """False: this package holds no CUDA code of its own."""
    return False
