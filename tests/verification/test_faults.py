"""One program, everything that can go wrong around it: breaks if a fault goes unnoticed."""

import pytest

from tests.verification import faults


@pytest.mark.parametrize("kind", faults.FAULTS)
def test_every_fault_ends_right_and_the_next_program_runs(seed, kind):
    report = faults.run(1, seed, [kind], progress=False)
    assert not report.failures, report.failures[0]
    assert sum(report.ends.values()) > 20
