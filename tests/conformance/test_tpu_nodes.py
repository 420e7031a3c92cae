"""Node tests on the TPU: break when an imported operator leaves it, or by one bit."""

from __future__ import annotations

from tests.conformance.tpu_nodes import cases, run


def test_every_node_test_that_int8_can_express_is_bit_exact_on_the_tpu() -> None:
    outcomes = [run(case) for case in cases()]
    assert len(outcomes) > 40
    assert [o for o in outcomes if not o.equal] == []
    assert [o for o in outcomes if not o.on_tpu] == []
