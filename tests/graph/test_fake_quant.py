"""Quantisation played in floating point, against the int8 grid that it plays."""

from typing import Any

import numpy as np
import pytest

import systolica as st

RNG = np.random.default_rng(71)
X = RNG.uniform(-8, 8, (5, 40, 3)).astype(np.float32)
LOW, HIGH = np.float32([-6, -1, 0]), np.float32([6, 2.5, 4])


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def run(made: Any) -> Any:
    with st.Session() as session:
        return session.run(made)


def on_the_grid(x: Any, low: float, high: float, bits: int = 8, narrow: bool = False) -> Any:
    """By integers: scale and zero point, then `quantize` and `dequantize`."""
    first, last = int(narrow), 2**bits - 1
    scale = (high - low) / (last - first)
    zero = int(np.clip(np.floor(first - low / scale + 0.5), first, last))
    level = np.clip(np.floor(x / scale + zero + 0.5), first, last)
    return (level - zero) * scale, scale


@pytest.mark.parametrize(("bits", "narrow"), [(8, False), (8, True), (4, False)])
def test_values_are_on_the_grid(bits: int, narrow: bool) -> None:
    """A range for all and one for each channel; a step may differ where a value is between two."""
    how = {"num_bits": bits, "narrow_range": narrow}
    one = run(st.fake_quant_with_min_max_args(X, -6, 6, **how))
    same = run(st.fake_quant_with_min_max_vars(X, np.float32(-6), np.float32(6), **how))
    np.testing.assert_array_equal(one, same)
    each = run(st.fake_quant_with_min_max_vars_per_channel(X, LOW, HIGH, **how))
    np.testing.assert_array_equal(each[..., 0], one[..., 0])
    for channel in range(3):
        ends = float(LOW[channel]), float(HIGH[channel])
        want, scale = on_the_grid(X[..., channel].astype(float), *ends, bits, narrow)
        off = np.abs(each[..., channel] - want)
        assert (off > 1e-5).mean() < 0.01 and off.max() < 1.001 * scale
        steps = each[..., channel] / scale
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)  # 0 is a level
        assert len(np.unique(np.rint(steps))) <= 2**bits - narrow


def test_gradients_go_straight_through() -> None:
    """Within the range; outside to the end that cuts, summed over all but the channels."""
    x, low, high = st.constant(X), st.constant(LOW), st.constant(HIGH)
    g = RNG.standard_normal(X.shape).astype(np.float32)
    out = st.fake_quant_with_min_max_vars_per_channel(x, low, high)
    by_name = st.fake_quant_with_min_max_vars_per_channel_gradient(g, X, LOW, HIGH)
    below, above = X < LOW - 0.01, X > HIGH + 0.01  # the range is moved by less than a level
    want = [np.where(below | above, 0, g), np.where(below, g, 0).sum((0, 1)),
            np.where(above, g, 0).sum((0, 1))]  # fmt: skip
    clear = (np.abs(X - LOW) > 0.02) & (np.abs(X - HIGH) > 0.02)
    for found in (run(st.gradients(out, [x, low, high], grad_ys=[g])), run(by_name)):
        np.testing.assert_array_equal(found[0][clear], want[0][clear])
        for got, end in zip(found[1:], want[1:], strict=True):
            np.testing.assert_allclose(got, end, atol=0.1 * np.abs(g).max())
    scalar = run(st.fake_quant_with_min_max_vars_gradient(g, X, np.float32(-6), np.float32(6)))
    np.testing.assert_allclose(scalar[1], g[X < -6.005].sum(), atol=0.5)
    args = run(st.fake_quant_with_min_max_args_gradient(g, X))
    np.testing.assert_array_equal(args, scalar[0])


def test_a_range_learns_to_fit() -> None:
    """The end of the range follows the values when the loss is the error of quantisation."""
    high = st.Variable(1.0)
    x = RNG.uniform(0, 4, 200).astype(np.float32)
    out = st.fake_quant_with_min_max_vars(x, np.float32(0), high)
    loss = st.reduce_mean(st.square(out - x))
    step = st.train.GradientDescentOptimizer(0.5).minimize(loss)
    with st.Session() as session:
        session.run(high.initializer)
        for _ in range(60):
            session.run(step)
        assert 3.5 < session.run(high) < 4.1


def test_ranges_that_are_none() -> None:
    with pytest.raises(st.errors.InvalidArgumentError, match="below"):
        st.fake_quant_with_min_max_args(X, 2, 1)
    with pytest.raises(st.errors.InvalidArgumentError, match="num_bits 1 "):
        st.fake_quant_with_min_max_args(X, num_bits=1)
    with pytest.raises(st.errors.DTypeError, match="float64"):
        st.fake_quant_with_min_max_args(X.astype(float))
    with pytest.raises(st.errors.InvalidArgumentError, match="must hold 0"):
        run(st.fake_quant_with_min_max_vars(X, np.float32(1), np.float32(2)))
    with pytest.raises(st.errors.ShapeError):
        st.fake_quant_with_min_max_vars_per_channel(X, LOW[:2], HIGH[:2])
