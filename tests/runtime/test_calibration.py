"""Calibration, equalisation, bias correction and their report: each against NumPy, and each on a
case made for it, where it must help."""

import re
from typing import Any

import numpy as np
import pytest

import systolica as st
from hw.tpu import numerics
from sw.compiler.calibration import Histogram
from sw.compiler.equalise import boundaries, channel_peaks, equalise
from sw.runtime.quantize import frozen_unit, observe

Array = np.ndarray[Any, Any]


def histogram(*parts: Any) -> Histogram:
    made = Histogram()
    for part in parts:
        made.add(part)
    return made


def int8_error(values: Array, low: float, high: float) -> float:
    """Mean squared error of the values' int8 codes over a range."""
    scale, zero = numerics.activation_quantization(low, high)
    back = numerics.dequantize(numerics.quantize(values, scale, zero), scale, zero)
    return float(np.mean((back.astype(np.float64) - values) ** 2))


@pytest.mark.parametrize("kept", [90.0, 99.0, 99.9, 100.0])
def test_percentile_leaves_that_many_outside(rng: np.random.Generator, kept: float) -> None:
    values = rng.standard_t(3, 50_000).astype(np.float32)
    low, high = histogram(values).range("percentile", kept)
    step = 2 * np.abs(values).max() / (1 << 14)
    cut = (100 - kept) / 200 * values.size
    for inside, end in ((values - low, 1), (high - values, -1)):
        assert np.sum(inside < -step) <= cut + 1e-6, end
        assert np.sum(inside <= step) > cut - 1e-6, end


def test_the_order_of_the_data_does_not_matter(rng: np.random.Generator) -> None:
    """Small values first or last, zeros between, in one piece or in many."""
    parts = [np.float32(scale) * rng.normal(size=1000).astype("f") for scale in (0, 1e-3, 1, 50)]
    one = histogram(np.concatenate(parts))
    for order in (parts, parts[::-1], [parts[2], parts[0], parts[3], parts[1]]):
        many = histogram(*order)
        np.testing.assert_array_equal(many.counts, one.counts)
        assert (many.low, many.high, many.width) == (one.low, one.high, one.width)
    assert one.counts.sum() == 4000


def test_constant_tensors_have_a_range() -> None:
    for method in ("minmax", "percentile", "mse"):
        assert histogram(np.zeros(5, np.float32)).range(method, 99) == (0, 0)
        low, high = histogram(np.full(5, 7.0, np.float32)).range(method, 99)
        assert high == pytest.approx(7.0, rel=1e-3) and low <= 7.0


@pytest.mark.parametrize("one_sided", [False, True])
def test_mse_finds_the_best_range(rng: np.random.Generator, one_sided: bool) -> None:
    """Within a per cent of the best of a dense search over both ends, on the raw values."""
    values = rng.laplace(size=40_000).astype(np.float32)
    if one_sided:
        values = np.maximum(values, 0)
    found = int8_error(values, *histogram(values).range("mse", 100))
    shares = np.geomspace(1, 0.01, 40)
    dense = min(
        int8_error(values, values.min() * a, values.max() * b)
        for a in (shares if not one_sided else [1.0])
        for b in shares
    )
    assert found < 1.01 * dense
    assert found < int8_error(values, values.min(), values.max())


def noise(graph: st.Graph, feeds: list[Any], fetch: str, expected: list[Array]) -> float:
    """Signal-to-noise ratio in decibels, by NumPy alone."""
    found = [run[fetch].astype(np.float64) for run in observe(graph, [fetch], feeds)]
    real = np.concatenate([e.ravel() for e in expected]).astype(np.float64)
    wrong = np.concatenate([f.ravel() for f in found]) - real
    return float(10 * np.log10(np.sum(real**2) / np.sum(wrong**2)))


def test_outliers_are_cut_by_percentile_and_mse(rng: np.random.Generator) -> None:
    """One value of the calibration data lies far out: min-max spends its codes on it."""
    with st.Graph().as_default(), st.Session() as session:
        x = st.placeholder(st.float32, [None, 32], name="x")
        y = st.matmul(x, rng.normal(size=(32, 8)).astype("f"), name="y")
        typical = rng.normal(size=(200, 32)).astype("f")
        calibration = rng.normal(size=(125_000, 32)).astype("f")
        calibration[0, 0] = 60
        expected = [session.run(y, {x: typical})]
        ratios = {
            method: noise(
                st.quantize(y, [{x: calibration}], method=method),
                [{"x:0": typical}],
                "y:0",
                expected,
            )
            for method in ("minmax", "percentile", "mse")
        }
    assert ratios["percentile"] > ratios["minmax"] + 5
    assert ratios["mse"] > ratios["minmax"] + 5


def unequal(x: Any, rng: np.random.Generator, depthwise: bool) -> Any:
    """Two or three layers whose channels differ by a thousand, and a float network that does not
    mind."""
    spread = np.geomspace(0.01, 10, 16).astype("f")
    first = rng.normal(size=(3, 3, 4, 16)).astype("f") * spread
    h = st.nn.relu(st.nn.bias_add(st.nn.conv2d(x, first, 1, "SAME"), spread))
    if depthwise:
        middle = rng.normal(size=(3, 3, 16, 1)).astype("f")
        h = st.nn.relu(st.nn.depthwise_conv2d(h, middle, [1, 1, 1, 1], "SAME"))
    last = rng.normal(size=(1, 1, 16, 8)).astype("f") / spread[:, None]
    return st.nn.conv2d(st.nn.max_pool(h, 2, 2, "VALID"), last, 1, "SAME", name="y")


@pytest.mark.parametrize("depthwise", [False, True])
def test_equalisation_keeps_the_function_and_helps(
    rng: np.random.Generator, depthwise: bool
) -> None:
    with st.Graph().as_default(), st.Session() as session:
        x = st.placeholder(st.float32, [None, 8, 8, 4], name="x")
        y = unequal(x, rng, depthwise)
        feeds = [{"x:0": rng.normal(size=(8, 8, 8, 4)).astype("f")} for _ in range(2)]
        expected = [session.run(y, feed) for feed in feeds]
        unit = frozen_unit(y, session)
        ratios = [
            noise(st.quantize(y, feeds, equalize=on), feeds, "y:0", expected)
            for on in (False, True)
        ]
    found = boundaries(unit)
    assert [at.second.type for at in found] == ["depthwise_conv2d"] * depthwise + ["conv2d"]
    names = [at.tensor.name for at in found]
    runs = list(observe(unit.graph, names, feeds))
    even = equalise(unit, {name: channel_peaks([run[name] for run in runs]) for name in names})
    for run, real in zip(observe(even.graph, ["y:0"], feeds), expected, strict=True):
        np.testing.assert_allclose(run["y:0"], real, rtol=1e-4, atol=1e-4 * np.abs(real).max())
    assert ratios[1] > ratios[0] + 15


def test_equalisation_stops_at_what_does_not_scale(rng: np.random.Generator) -> None:
    """A tensor of two uses, a fetch, relu6 and shared weights are left alone."""
    with st.Graph().as_default(), st.Session() as session:
        x = st.placeholder(st.float32, [None, 4])
        w = st.constant(rng.normal(size=(4, 4)).astype("f"))
        twice = st.nn.relu(st.matmul(x, rng.normal(size=(4, 4)).astype("f")))
        capped = st.nn.relu6(st.matmul(twice, rng.normal(size=(4, 4)).astype("f")))
        shared = st.matmul(st.matmul(capped, w), w)
        wanted = st.matmul(shared, rng.normal(size=(4, 4)).astype("f"))
        last = st.matmul(wanted, rng.normal(size=(4, 4)).astype("f")) + st.reduce_sum(twice)
        assert boundaries(frozen_unit([wanted, last], session)) == []


def test_bias_correction_removes_the_mean_error(rng: np.random.Generator) -> None:
    """One weight of each channel is so large that all others round down to zero."""
    w = np.full((64, 8), 0.3, np.float32) * rng.uniform(0.8, 1.2, (64, 8)).astype("f")
    w[0] = 127
    a = rng.uniform(0, 1, (100, 64)).astype("f")
    a[:, 0] = 0
    with st.Graph().as_default(), st.Session() as session:
        x = st.placeholder(st.float32, [None, 64], name="x")
        plain = st.matmul(x, w, name="plain")
        biased = st.nn.relu(st.matmul(x, -w) + np.full(8, 20, np.float32), name="biased")
        expected = session.run([plain, biased], {x: a})
        ratios, means = [], []
        for on in (False, True):
            graph = st.quantize([plain, biased], [{x: a}], bias_correction=on)
            (found,) = observe(graph, ["plain:0", "biased:0"], [{"x:0": a}])
            for name, real in zip(found, expected, strict=True):
                means.append(float(np.abs((found[name] - real).mean(0)).max()))
                ratios.append(noise(graph, [{"x:0": a}], name, [real]))
    for before, after in zip(means[:2], means[2:], strict=True):
        assert after < 0.05 * before
    for before, after in zip(ratios[:2], ratios[2:], strict=True):
        assert after > before + 5


def test_report_is_what_numpy_finds(rng: np.random.Generator) -> None:
    """Ratios, agreement and accuracy; equalised or not; as text and as data."""
    with st.Graph().as_default(), st.Session() as session:
        x = st.placeholder(st.float32, [None, 8, 8, 4], name="x")
        h = unequal(x, rng, depthwise=False)
        out = st.matmul(st.reshape(h, [-1, 128]), rng.normal(size=(128, 5)).astype("f"), name="out")
        feeds = [{"x:0": rng.normal(size=(n, 8, 8, 4)).astype("f")} for n in (16, 9)]
        real = [session.run(out, feed) for feed in feeds]
        labels = [r.argmax(1) for r in real]
        labels[0][:4] = (labels[0][:4] + 1) % 5
        for on in (False, True):
            graph = st.quantize(out, feeds, equalize=on)
            report = st.quantization_report(graph, feeds, labels)
            int8 = [run["out:0"].argmax(1) for run in observe(graph, ["out:0"], feeds)]
            assert [layer.op for layer in report.layers] == ["conv2d", "conv2d", "matmul"]
            ratio = noise(graph, feeds, "out:0", real)
            assert report.layers[-1].signal_to_noise == pytest.approx(ratio, abs=0.01)
            right = [np.concatenate(int8), np.concatenate(labels)]
            assert report.accuracy_float == 21 / 25 and report.samples == 25
            assert report.accuracy_int8 == pytest.approx((right[0] == right[1]).mean())
            agree = (right[0] == np.concatenate([r.argmax(1) for r in real])).mean()
            assert report.top1_agreement == pytest.approx(agree)
    assert report.to_dict()["layers"][2]["name"] == "out"
    assert re.search(r"out +matmul +\d+\.\d +\d+\.\d+%", str(report))
    assert "accuracy: float 84.00%, int8" in str(report)


def test_refusals(rng: np.random.Generator) -> None:
    with st.Graph().as_default(), st.Session():
        x = st.placeholder(st.float32, [None, 4], name="x")
        y = st.matmul(x, np.eye(4, dtype=np.float32))
        feed = {x: np.ones((2, 4), np.float32)}
        with pytest.raises(st.errors.InvalidArgumentError, match="percentile 20"):
            st.quantize(y, [feed], method="percentile", percentile=20)
        with pytest.raises(st.errors.InvalidArgumentError, match="one of minmax, percentile, mse"):
            st.quantize(y, [feed], method="entropy")
        with pytest.raises(st.errors.InvalidArgumentError, match="at least one feed dict"):
            st.quantize(y, [], equalize=True)
        for method in ("minmax", "percentile", "mse"):
            with pytest.raises(st.errors.InvalidArgumentError, match="must be finite"):
                st.quantize(y, [{x: np.full((1, 4), np.inf)}], method=method)
        with pytest.raises(st.errors.InvalidArgumentError, match="only a graph that st.quantize"):
            st.quantization_report(y.graph, [feed])
        graph = st.quantize(y, [feed])
        with pytest.raises(st.errors.InvalidArgumentError, match="labels for each"):
            st.quantization_report(graph, [{"x:0": feed[x]}], [])
        with pytest.raises(st.errors.InvalidArgumentError, match="3 labels for 2 samples"):
            st.quantization_report(graph, [{"x:0": feed[x]}], [[1, 2, 3]])
