"""A slice of `make prove`: breaks if a unit loses a property or a planted bug no longer applies."""

import pytest

from tests.verification.formal.harness import describe
from tests.verification.formal.seeds import Seed, SeedError, planted
from tests.verification.prove import SUBJECTS, prove

QUICK = ("semaphores", "read port")


@pytest.mark.parametrize("name", QUICK)
def test_unit_is_proven_and_a_planted_bug_is_caught(name):
    for result in prove([s for s in SUBJECTS if s.name == name], seeds=1, progress=False):
        assert not result.failures, "\n".join(result.failures)


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_planted_bug_changes_the_unit(subject):
    """Costs no solver: the design with the bug differs from the one without."""
    right = {describe(subject, only=name, plant=False).rtlil for name in subject.properties}
    for name in subject.properties:
        assert describe(subject, only=name).rtlil not in right, f"{name}: nothing planted"


def test_a_bug_whose_line_is_gone_is_an_error():
    with pytest.raises(SeedError, match="adapt the seed"):
        with planted(Seed("hw.tpu.queues", "no such line", "")):
            pass
