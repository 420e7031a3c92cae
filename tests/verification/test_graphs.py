"""A slice of `make graphs`: breaks if lowering, quantising or compiling changes one byte."""

import numpy as np

from tests.compiler import integer_reference
from tests.verification.graphs import run


def test_random_graphs_mean_the_same_everywhere(seed):
    """On the oracle, and one in ten on RTL."""
    assert not run(60, seed, every=10)


def test_what_differs_is_found(seed, monkeypatch):
    """The comparison is not vacuous: a reference that saturates one step early is caught."""
    exact = integer_reference.finish
    monkeypatch.setattr(
        integer_reference, "finish", lambda *given: np.minimum(exact(*given), np.int8(126))
    )
    assert run(5, seed, every=0)
