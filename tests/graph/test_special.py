"""Special functions against their integrals and series; random numbers against their moments."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

import systolica as st


def run(make: Any) -> Any:
    with st.Graph().as_default(), st.Session() as session:
        return session.run(make())


def integral(function: Any, low: float, high: float) -> float:
    """Gauss-Legendre with 400 points."""
    x, w = np.polynomial.legendre.leggauss(400)
    at = (high - low) / 2 * x + (high + low) / 2
    return float(w @ function(at) * (high - low) / 2)


@pytest.mark.parametrize(("a", "x"), [(1.5, 0.7), (3.0, 4.0), (2.5, 9.0)])
def test_incomplete_gamma(a: float, x: float) -> None:
    want = integral(lambda t: t ** (a - 1) * np.exp(-t), 0, x) / math.gamma(a)
    assert run(lambda: st.igamma(np.float64(a), np.float64(x))) == pytest.approx(want, rel=1e-6)
    assert run(lambda: st.igammac(np.float64(a), np.float64(x))) == pytest.approx(
        1 - want, rel=1e-5
    )


@pytest.mark.parametrize(("a", "b", "x"), [(2.0, 3.0, 0.3), (4.0, 2.0, 0.9)])
def test_incomplete_beta(a: float, b: float, x: float) -> None:
    beta = math.gamma(a) * math.gamma(b) / math.gamma(a + b)
    want = integral(lambda t: t ** (a - 1) * (1 - t) ** (b - 1), 0, x) / beta
    assert run(lambda: st.betainc(np.float64(a), np.float64(b), np.float64(x))) == pytest.approx(
        want
    )


def test_zeta_and_polygamma_by_series() -> None:
    n = np.arange(200_000)
    want = ((2.5 + n) ** -3.0).sum()
    assert run(lambda: st.zeta(np.float64(3), np.float64(2.5))) == pytest.approx(want, rel=1e-8)
    # polygamma(m, x) = (-1)^(m+1) m! zeta(m+1, x)
    assert run(lambda: st.polygamma(np.float64(2), np.float64(2.5))) == pytest.approx(-2 * want)


def test_log_beta() -> None:
    x = np.asarray([[2.0, 3.0], [0.5, 1.5]])
    want = [math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b) for a, b in x]
    np.testing.assert_allclose(run(lambda: st.lbeta(x)), want)


def test_dtype_and_errors() -> None:
    assert run(lambda: st.igamma(np.float32(1), np.float32(2))).dtype == np.float32
    with pytest.raises(st.errors.DTypeError), st.Graph().as_default():
        st.zeta(1, 2)


def test_multinomial_draws_by_the_softmax() -> None:
    logits = np.log(np.asarray([[0.2, 0.5, 0.3], [0.05, 0.05, 0.9]]))
    drawn = run(lambda: st.multinomial(logits, 20000, seed=4))
    assert drawn.shape == (2, 20000) and drawn.dtype == np.int64
    for row, p in zip(drawn, np.exp(logits), strict=True):
        counts = np.bincount(row, minlength=3)
        assert scipy.stats.chisquare(counts, p * 20000).pvalue > 1e-3


def test_gamma_numbers_have_their_distribution() -> None:
    alpha, beta = np.float64([0.5, 3.0]), np.float64([2.0, 0.5])
    drawn = run(lambda: st.random_gamma([4000], alpha, beta, st.float64, seed=9))
    assert drawn.shape == (4000, 2)
    for at in range(2):
        test = scipy.stats.kstest(drawn[:, at], "gamma", (alpha[at], 0, 1 / beta[at]))
        assert test.pvalue > 1e-3


def test_shuffling_keeps_rows_together() -> None:
    """Each order of three rows comes equally often."""
    rows = np.asarray([[0, 10], [1, 11], [2, 12]])
    with st.Graph().as_default(), st.Session() as session:
        mixed = st.random_shuffle(rows, seed=2)
        orders = [tuple(session.run(mixed)[:, 0]) for _ in range(600)]
        np.testing.assert_array_equal(np.diff(session.run(mixed)), 10)
    counts = [orders.count(o) for o in set(orders)]
    assert len(counts) == 6 and scipy.stats.chisquare(counts).pvalue > 1e-3


def test_histogram_by_numpy() -> None:
    """Values outside count at the ends."""
    x = np.random.default_rng(1).normal(0, 2, 500).astype(np.float32)
    got = run(lambda: st.histogram_fixed_width(x, [-2.0, 3.0], nbins=7))
    want, _ = np.histogram(np.clip(x, -2, np.nextafter(3, 0)), 7, (-2, 3))
    np.testing.assert_array_equal(got, want)
    with pytest.raises(st.errors.InvalidArgumentError, match="7 bins"):
        run(lambda: st.histogram_fixed_width(x, [3.0, 3.0], nbins=7))


def test_samplers_have_their_distributions() -> None:
    """Expected counts, drawn counts; a class of a true example is found among the candidates."""
    true = np.asarray([[0], [3]])
    weights = [1.0, 2.0, 3.0, 4.0]
    with st.Graph().as_default(), st.Session() as session:
        fixed = st.nn.fixed_unigram_candidate_sampler(true, 1, 2, True, 4, unigrams=weights, seed=1)
        loose = st.nn.fixed_unigram_candidate_sampler(
            true, 1, 5000, False, 5, unigrams=weights, num_reserved_ids=1, seed=1
        )
        every = st.nn.all_candidate_sampler(true, 1, 4, True)
        learned = st.nn.learned_unigram_candidate_sampler(true, 1, 1000, False, 4, seed=3)
        hits = st.nn.compute_accidental_hits(true, np.asarray([3, 2, 0, 3]), 1)
        sampled, true_count, _ = session.run(loose)
        counts = np.bincount(sampled, minlength=5)
        assert counts[0] == 0
        assert scipy.stats.chisquare(counts[1:], np.asarray(weights) * 500).pvalue > 1e-3
        np.testing.assert_allclose(true_count.ravel(), [0, 1500])
        draws = np.zeros(4)
        for _ in range(500):
            values, expected, _ = session.run(fixed)
            assert len(set(values)) == 2
            draws[values] += 1
        assert draws[0] < draws[1] < draws[2] < draws[3]
        assert session.run(every)[0].tolist() == [0, 1, 2, 3]
        for _ in range(30):
            last = session.run(learned)[0]
        assert np.isin(last, [0, 3]).mean() > 0.8  # classes that were seen
        rows, at, weight = session.run(hits)
        assert rows.tolist() == [0, 1, 1] and at.tolist() == [2, 0, 3] and (weight < -1e38).all()


def test_weighted_moments() -> None:
    x, w = np.float64([[1, 2], [3, 5], [7, 8]]), np.float64([[1], [2], [0.5]])
    mean, variance = run(lambda: st.nn.weighted_moments(x, [0], w))
    np.testing.assert_allclose(mean, np.average(x, 0, w.ravel()))
    np.testing.assert_allclose(variance, np.average((x - mean) ** 2, 0, w.ravel()))
