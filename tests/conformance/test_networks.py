"""Two of the nine networks: break when a whole network's layers, layout or weights go wrong."""

from __future__ import annotations

import pytest

from tests.conformance.networks import NAMES, TOLERANCE, constant_weights, random_weights


def test_the_package_has_nine() -> None:
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", ["shufflenet", "squeezenet"])
def test_a_network_equals_the_stated_outputs_and_onnx_runtime(name: str) -> None:
    """All nine by `make networks`."""
    assert constant_weights(name) <= TOLERANCE
    assert random_weights(name) <= TOLERANCE
