"""The global step: the variable that counts the steps of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.errors import AlreadyExistsError, DTypeError, InvalidArgumentError, ShapeError
from sw.graph.graph import Graph, GraphKeys, get_default_graph
from sw.graph.ops.variables import Variable
from sw.graph.variable_scope import get_variable

_NAME = "global_step"


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the counter in a session."""
    return int(sess.run(global_step_tensor))


def assert_global_step(global_step_tensor: Any) -> None:
    """Raise unless it is an integer scalar variable."""
    if not isinstance(global_step_tensor, Variable):
        raise DTypeError(f"the global step is a Variable, not {global_step_tensor!r}")
    if not global_step_tensor.dtype.is_integer:
        raise DTypeError(f"the global step is an integer, not {global_step_tensor.dtype}")
    if global_step_tensor.shape.rank not in (0, None):
        raise ShapeError(f"the global step is a scalar, not of shape {global_step_tensor.shape}")


def get_global_step(graph: Graph | None = None) -> Variable | None:
    """The global step of a graph: of the collection GLOBAL_STEP, or the global variable called
    "global_step"; None when there is none."""
    root = (get_default_graph() if graph is None else graph).root
    found = root.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        names = [v.name for v in found]
        raise InvalidArgumentError(f"the graph has more than one global step: {names}")
    if not found:
        every = root.get_collection(GraphKeys.GLOBAL_VARIABLES)
        found = [v for v in every if v.op.attrs["shared_name"] == _NAME]
    if not found:
        return None
    assert_global_step(found[0])
    return found[0]


def create_global_step(graph: Graph | None = None) -> Variable:
    """Make it: int64, from 0. Raises `AlreadyExistsError` when there is one."""
    root = (get_default_graph() if graph is None else graph).root
    if get_global_step(root) is not None:
        raise AlreadyExistsError("the graph has a global step already")
    with root.as_default(), root.name_scope(None):
        made: Variable = get_variable(
            _NAME,
            initializer=np.int64(0),
            trainable=False,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
        )
    return made


def get_or_create_global_step(graph: Graph | None = None) -> Variable:
    """The global step, made if need be."""
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found
