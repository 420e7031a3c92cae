"""Every gradient in the registry against central differences, and the rules of `gradients`."""

from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.graph.dtypes import as_dtype
from sw.graph.registry import NOT_DIFFERENTIABLE, all_ops
from tests.graph.gradient_cases import CASES
from tests.graph.network_cases import COMPLEX

# Their differentiated input is state, tested below, or a function or flow, tested in
# `test_control_flow`.
FLOWS = {f"tensor_array_{n}" for n in ("write", "read", "stack", "unstack", "gather", "scatter")}
BY_THEMSELVES = (
    FLOWS
    | {*COMPLEX}
    | {
        "fake_quant",  # goes straight through steps: see test_fake_quant
        "own_gradient",  # its rule is a function; drawn in random_cases
        "crop_and_resize",  # makes float32 only; its transpose is tested in test_boxes
        "call",
        "cond",
        "read_variable",
        "tensor_array_concat",
        "tensor_array_split",
        "while",
    }
)

PARAMETERS = [(name, i) for name, cases in CASES.items() for i in range(len(cases))]


def test_every_differentiable_op_has_a_case() -> None:
    """Without this, a new op's gradient could go unchecked."""
    differentiable = {
        d.name for d in all_ops() if d.gradient not in (None, NOT_DIFFERENTIABLE)
    } - BY_THEMSELVES
    ours = {n for n in differentiable if not n.startswith("test_")}
    assert ours - set(CASES) == set()
    assert set(CASES) - differentiable == set()


@pytest.mark.parametrize(("name", "index"), PARAMETERS)
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_gradient_equals_central_differences(name: str, index: int, static: bool) -> None:
    """Also with unknown input shapes, where gradients must compute with run-time shapes."""
    inputs, attrs, *rest = CASES[name][index]
    attrs = {k: as_dtype(v) if k == "dtype" else v for k, v in attrs.items()}
    rng = np.random.default_rng(index)
    with st.Graph().as_default() as graph:
        tensors, free = [], []
        for value in inputs:
            if isinstance(value, np.ndarray) and value.dtype == np.float64:
                shape = value.shape if static else [None] * value.ndim
                tensors.append(st.placeholder(st.float64, shape))
                free.append((tensors[-1], value))
            else:
                listed = isinstance(value, list)
                tensors.append(st.constant(value, st.float64 if listed else None))
        out = graph.apply(name, *tensors, **attrs)
        outs = out if isinstance(out, list) else [out]
        outs = [outs[i] for i in rest[0]] if rest else outs
        with st.Session() as session:
            values = session.run(outs, dict(free))
            weights = [rng.standard_normal(v.shape) for v in values]
            loss: Any = st.add_n(
                [st.reduce_sum(o * st.constant(w)) for o, w in zip(outs, weights, strict=True)]
            )
            grads = st.gradients(loss, [t for t, _ in free])
            grads = [st.convert_to_tensor(g) for g in grads]
            got = session.run(grads, dict(free))
            evaluate = session.make_callable(loss, [t for t, _ in free])
            for position, (_, value) in enumerate(free):
                want = np.zeros(value.shape)
                for at in np.ndindex(value.shape):
                    sides = []
                    for step in (1e-6, -1e-6):
                        moved = value.copy()
                        moved[at] += step
                        given = [moved if j == position else v for j, (_, v) in enumerate(free)]
                        sides.append(evaluate(*given))
                    want[at] = (sides[0] - sides[1]) / 2e-6
                np.testing.assert_allclose(got[position], want, rtol=2e-5, atol=2e-7)


def test_gradient_of_variable_sums_its_reads() -> None:
    """Reads made under control dependencies count like the shared one."""
    with st.Graph().as_default():
        v = st.Variable([2.0, 3.0])
        with st.control_dependencies([st.no_op()]):
            again = v.read_value()
        (grad,) = st.gradients(v * again, v)
        with st.Session() as session:
            session.run(v.initializer)
            np.testing.assert_array_equal(session.run(grad), [4.0, 6.0])


def test_second_derivative() -> None:
    """Gradients are ordinary ops and can be differentiated again."""
    with st.Graph().as_default():
        x = st.placeholder(st.float64, [])
        (first,) = st.gradients(st.exp(x) * x, x)
        (second,) = st.gradients(first, x)
        with st.Session() as session:
            assert session.run(second, {x: 0.5}) == pytest.approx(np.exp(0.5) * 2.5)


def test_unconnected_is_none_or_zeros() -> None:
    """As TensorFlow: None unless zeros are asked for."""
    with st.Graph().as_default():
        x, y = st.constant([1.0, 2.0]), st.constant(3.0)
        assert st.gradients(st.square(y), [x]) == [None]
        (zero,) = st.gradients(st.square(y), [x], unconnected_gradients="zero")
        with st.Session() as session:
            np.testing.assert_array_equal(session.run(zero), [0, 0])


def test_stop_gradients_hold_a_tensor_constant() -> None:
    """And `stop_gradient` cuts the path."""
    with st.Graph().as_default():
        x = st.constant(2.0)
        y = x * x
        assert st.gradients(st.stop_gradient(y), [x]) == [None]
        (grad,) = st.gradients(y * x, [x], stop_gradients=[y])
        with st.Session() as session:
            assert session.run(grad) == 4.0


def test_error_names_the_op_without_gradient() -> None:
    """The user must learn which op is in the way."""
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [2])
        q = st.quantize_linear(x, 0.5, 0, name="rounding")
        y = st.dequantize_linear(q, 0.5, 0)
        with pytest.raises(st.errors.NotFoundError, match="test_gradients.py"):
            st.gradients(y, x)


def test_grad_ys_weights_and_unused_outputs() -> None:
    """`grad_ys` is the incoming gradient; outputs of a split that nobody uses count as zero."""
    with st.Graph().as_default():
        x = st.constant([1.0, 2.0, 3.0])
        _, last = st.split(x, [2, 1])
        (grad,) = st.gradients(last * last, x, grad_ys=[[10.0]])
        with st.Session() as session:
            np.testing.assert_array_equal(session.run(grad), [0, 0, 60])
