"""The optimisers' updates: each one op that replaces a variable and its slots at once.

A rule is a pure function `rule(xp, value, grad, slots, numbers) -> (value, slots)`. It is
registered twice: `apply_NAME` (variable, gradient, slots..., numbers...) updates the whole
variable, `sparse_apply_NAME` (variable, gradient rows, their indices, slots..., numbers...) only
the rows that are listed; rows that are listed more than once are summed first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import register_op
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.ops.variables import value_type
from sw.graph.registry import TensorType
from sw.graph.shapes import Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor

Rule = Callable[..., tuple[Any, tuple[Any, ...]]]


def _type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    kind, grad = value_type(inputs[0]), inputs[1]
    if grad.dtype is not kind.dtype or not grad.shape.compatible(kind.shape):
        raise ShapeError(
            f"the variable is {kind.dtype}{kind.shape}, its gradient {grad.dtype}{grad.shape}"
        )
    return kind


def _sparse_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    kind, grad, indices = value_type(inputs[0]), inputs[1], inputs[2]
    if not indices.dtype.is_integer or indices.shape.rank not in (None, 1):
        raise DTypeError(f"indices are an integer vector, not {indices.dtype}{indices.shape}")
    rows = Shape(None if kind.shape.dims is None else (None, *kind.shape.dims[1:]))
    if grad.dtype is not kind.dtype or not grad.shape.compatible(rows):
        raise ShapeError(
            f"the variable is {kind.dtype}{kind.shape}, its gradient's rows are "
            f"{grad.dtype}{grad.shape}"
        )
    return kind


def sum_rows(grad: Any, indices: Any) -> tuple[Any, Any]:
    """Sorted unique `indices` and, for each, the sum of its rows of `grad`."""
    unique, inverse = np.unique(indices, return_inverse=True)
    if len(unique) == len(indices):
        return unique, grad[np.argsort(indices, kind="stable")]
    total = np.zeros((len(unique), *grad.shape[1:]), grad.dtype)
    np.add.at(total, inverse.ravel(), grad)
    return unique, total


def check_rows(indices: Any, size: int) -> None:
    """Raise `IndexError` for the first index that is outside `size` rows."""
    outside = (indices < 0) | (indices >= size)
    if outside.any():
        raise IndexError(f"index {indices[outside][0]} is outside [0, {size})")


def replaced(value: Any, indices: Any, rows: Any) -> Any:
    """A copy of `value` with other rows at `indices`."""
    out = np.array(value)
    out[indices] = rows
    return out


def _register(name: str, rule: Rule, slots: int, doc: str, attrs: Any = None) -> None:
    def dense(xp: Any, state: OpState, handle: str, grad: Any, *rest: Any, **given: Any) -> Any:
        box, names, numbers = state.container, rest[:slots], rest[slots:]
        with box.lock:
            old = [box.read(n) for n in names]
            value, new = rule(xp, box.read(handle), grad, old, numbers, **given)
            for slot, array in zip(names, new, strict=True):
                box.write(slot, array)
            return box.write(handle, value)

    def sparse(
        xp: Any, state: OpState, handle: str, grad: Any, indices: Any, *rest: Any, **given: Any
    ) -> Any:
        box, names, numbers = state.container, rest[:slots], rest[slots:]
        with box.lock:
            value = box.read(handle)
            check_rows(indices, len(value))
            at, rows = sum_rows(grad, indices)
            old = [box.read(n) for n in names]
            updated, new = rule(xp, value[at], rows, [o[at] for o in old], numbers, **given)
            for slot, before, array in zip(names, old, new, strict=True):
                box.write(slot, replaced(before, at, array))
            return box.write(handle, replaced(value, at, updated))

    for title, kernel, infer in (
        (f"apply_{name}", dense, _type),
        (f"sparse_apply_{name}", sparse, _sparse_type),
    ):
        register_op(
            title,
            kernel=kernel,
            infer=infer,
            gradient=None,
            attrs=attrs or {},
            stateful=True,
            host_only=True,
            doc=doc,
        )


def _descend(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    (rate,) = numbers
    return value - rate * grad, ()


def _proximal_descend(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    rate, l1, l2 = numbers
    return _shrink(xp, value - rate * grad, rate, l1, l2), ()


def _shrink(xp: Any, value: Any, rate: Any, l1: Any, l2: Any) -> Any:
    """The proximal step of an l1 and l2 penalty (Duchi and Singer, JMLR 2009)."""
    return xp.sign(value) * xp.maximum(xp.abs(value) - rate * l1, 0) / (1 + rate * l2)


def _momentum(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any, use_nesterov: bool) -> Any:
    rate, momentum = numbers
    speed = slots[0] * momentum + grad
    step = grad + momentum * speed if use_nesterov else speed
    return value - rate * step, (speed,)


def _adam(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    rate, power1, power2, beta1, beta2, epsilon = numbers
    m = beta1 * slots[0] + (1 - beta1) * grad
    v = beta2 * slots[1] + (1 - beta2) * grad * grad
    scaled = rate * xp.sqrt(1 - power2) / (1 - power1)
    return value - scaled * m / (xp.sqrt(v) + epsilon), (m, v)


def _adagrad(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    (rate,) = numbers
    total = slots[0] + grad * grad
    return value - rate * grad / xp.sqrt(total), (total,)


def _proximal_adagrad(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    rate, l1, l2 = numbers
    total = slots[0] + grad * grad
    local = rate / xp.sqrt(total)
    return _shrink(xp, value - local * grad, local, l1, l2), (total,)


def _adadelta(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    rate, rho, epsilon = numbers
    total = rho * slots[0] + (1 - rho) * grad * grad
    step = xp.sqrt(slots[1] + epsilon) / xp.sqrt(total + epsilon) * grad
    steps = rho * slots[1] + (1 - rho) * step * step
    return value - rate * step, (total, steps)


def _rms_prop(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    rate, decay, momentum, epsilon = numbers
    square = decay * slots[0] + (1 - decay) * grad * grad
    speed = momentum * slots[1] + rate * grad / xp.sqrt(square + epsilon)
    return value - speed, (square, speed)


def _centered_rms_prop(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    rate, decay, momentum, epsilon = numbers
    square = decay * slots[0] + (1 - decay) * grad * grad
    mean = decay * slots[2] + (1 - decay) * grad
    speed = momentum * slots[1] + rate * grad / xp.sqrt(square - mean * mean + epsilon)
    return value - speed, (square, speed, mean)


def _ftrl(xp: Any, value: Any, grad: Any, slots: Any, numbers: Any) -> Any:
    rate, l1, l2, power = numbers
    total, linear = slots
    after = total + grad * grad
    new, old = after**-power, total**-power
    linear = linear + grad - (new - old) / rate * value
    solved = (xp.sign(linear) * l1 - linear) / (new / rate + 2 * l2)
    return xp.where(xp.abs(linear) > l1, solved, xp.zeros_like(solved)), (after, linear)


_register("gradient_descent", _descend, 0, "numbers: learning rate.")
_register("proximal_gradient_descent", _proximal_descend, 0, "numbers: learning rate, l1, l2.")
_register(
    "momentum",
    _momentum,
    1,
    "numbers: learning rate, momentum (Sutskever et al., ICML 2013).",
    {"use_nesterov": False},
)
_register(
    "adam",
    _adam,
    2,
    "slots m, v; numbers: learning rate, beta1**t, beta2**t, beta1, beta2, epsilon (Kingma and Ba, "
    "ICLR 2015, the form before section 2.1).",
)
_register("adagrad", _adagrad, 1, "numbers: learning rate (Duchi et al., JMLR 2011).")
_register("proximal_adagrad", _proximal_adagrad, 1, "numbers: learning rate, l1, l2.")
_register("adadelta", _adadelta, 2, "numbers: learning rate, rho, epsilon (Zeiler, 2012).")
_register(
    "rms_prop",
    _rms_prop,
    2,
    "slots mean square, momentum; numbers: learning rate, decay, momentum, epsilon (Tieleman and "
    "Hinton, 2012).",
)
_register(
    "centered_rms_prop", _centered_rms_prop, 3, "rms_prop with a third slot, the mean gradient."
)
_register(
    "ftrl",
    _ftrl,
    2,
    "slots accumulator, linear; numbers: learning rate, l1, l2, power (McMahan et al., KDD 2013).",
)
