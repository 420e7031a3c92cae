"""The int8 comparison of whole networks: one network, and that the bar is one."""

from __future__ import annotations

import numpy as np

from tests.conformance.networks_int8 import Compared, compare, measure, spread


def test_a_network_equals_the_integer_kernels_of_onnx_runtime() -> None:
    """All nine by `make networks-int8`. Breaks when a layer's integers, the fusion of layers or
    the export go wrong."""
    figures = measure("squeezenet", timing=False)
    assert figures.passed, figures
    assert figures.tensors.size > 4_000_000 and figures.distinct > 50 and figures.entropy > 2
    assert figures.kernels["QLinearConv"] == 26 and figures.programs == 1


def test_the_bar() -> None:
    """One of 1000 may differ by one; two may not, nor one by two."""
    codes = np.zeros(1000, np.int8)
    for changes, passed in (([1], True), ([1, -1], False), ([2], False)):
        other = codes.copy()
        other[: len(changes)] = changes
        found = compare([codes], [other])
        assert found == Compared(1000, len(changes), max(map(abs, changes)))
        assert found.passed is passed


def test_dead_tensors_are_seen() -> None:
    assert spread(np.full(100, -128, np.int8)) == (1, 0.0)
    assert spread(np.arange(-128, 128).astype(np.int8)) == (256, 8.0)
