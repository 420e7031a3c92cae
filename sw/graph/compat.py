"""What a program written for several versions of TensorFlow asks or switches at its beginning.

Here graphs are always built first and run by a session, variables are always handles, branches and
loops always functions, and sizes always ints: asking for that changes nothing, and asking for
anything else is refused by its absence.
"""

from __future__ import annotations

import contextlib
from typing import Any

from sw.graph.graph import get_default_graph


def executing_eagerly() -> bool:
    """False: values exist when a session runs."""
    return False


def resource_variables_enabled() -> bool:
    """True: a variable is a handle, and each read is an operation."""
    return True


def control_flow_v2_enabled() -> bool:
    """True: a branch or a loop is one operation that calls functions."""
    return True


def _already(name: str, words: str) -> Any:
    def function() -> None:
        pass

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Nothing: {words}."
    return function


disable_eager_execution = _already("disable_eager_execution", "there is no eager execution")
disable_v2_behavior = _already("disable_v2_behavior", "names and semantics are those of 1.x")
disable_tensor_equality = _already("disable_tensor_equality", "`a == b` compares identity")
enable_resource_variables = _already("enable_resource_variables", "variables are handles")
enable_control_flow_v2 = _already("enable_control_flow_v2", "branches and loops are functions")
enable_v2_tensorshape = _already("enable_v2_tensorshape", "sizes are ints or None")


def dimension_value(dimension: int | None) -> int | None:
    """Itself: a size is an int or None."""
    return dimension


def dimension_at_index(shape: Any, index: int) -> int | None:
    """`shape[index]`; None when the rank is not known."""
    size: int | None = None if shape.rank is None else shape[index]
    return size


@contextlib.contextmanager
def init_scope() -> Any:
    """Within a branch or a loop: make operations outside of it, without its control
    dependencies."""
    root = get_default_graph().root
    with root.as_default(), root.control_dependencies(None):
        yield
