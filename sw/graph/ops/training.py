"""The optimisers' updates: each one op that replaces a variable (and its slots) at once."""

from __future__ import annotations

from typing import Any

from sw.graph.build import register_op
from sw.graph.errors import ShapeError
from sw.graph.ops.variables import value_type
from sw.graph.registry import TensorType
from sw.graph.state import OpState
from sw.graph.tensor import Tensor


def _type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    kind, grad = value_type(inputs[0]), inputs[1]
    if grad.dtype is not kind.dtype or not grad.shape.compatible(kind.shape):
        raise ShapeError(
            f"the variable is {kind.dtype}{kind.shape}, its gradient {grad.dtype}{grad.shape}"
        )
    return kind


def _descend(xp: Any, state: OpState, handle: str, grad: Any, rate: Any) -> Any:
    box = state.container
    with box.lock:
        return box.write(handle, box.read(handle) - rate * grad)


def _momentum(
    xp: Any,
    state: OpState,
    handle: str,
    grad: Any,
    rate: Any,
    slot: str,
    momentum: Any,
    use_nesterov: bool,
) -> Any:
    box = state.container
    with box.lock:
        speed = box.write(slot, box.read(slot) * momentum + grad)
        step = grad + momentum * speed if use_nesterov else speed
        return box.write(handle, box.read(handle) - rate * step)


def _adam(
    xp: Any,
    state: OpState,
    handle: str,
    grad: Any,
    rate: Any,
    m_slot: str,
    v_slot: str,
    power1: Any,
    power2: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
) -> Any:
    box = state.container
    with box.lock:
        m = box.write(m_slot, beta1 * box.read(m_slot) + (1 - beta1) * grad)
        v = box.write(v_slot, beta2 * box.read(v_slot) + (1 - beta2) * grad * grad)
        scaled = rate * xp.sqrt(1 - power2) / (1 - power1)
        return box.write(handle, box.read(handle) - scaled * m / (xp.sqrt(v) + epsilon))


def _update(name: str, kernel: Any, attrs: dict[str, Any], doc: str) -> None:
    register_op(
        name,
        kernel=kernel,
        infer=_type,
        gradient=None,
        attrs=attrs,
        stateful=True,
        host_only=True,
        doc=doc,
    )


_update("apply_gradient_descent", _descend, {}, "inputs variable, gradient, learning rate.")
_update(
    "apply_momentum",
    _momentum,
    {"use_nesterov": False},
    "inputs variable, gradient, learning rate, slot, momentum (Sutskever et al., ICML 2013).",
)
_update(
    "apply_adam",
    _adam,
    {},
    "inputs variable, gradient, learning rate, slots m and v, beta1**t, beta2**t, beta1, beta2, "
    "epsilon (Kingma and Ba, ICLR 2015, the form before section 2.1).",
)
