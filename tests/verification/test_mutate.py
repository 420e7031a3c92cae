"""A slice of `make mutants`: breaks if a stimulus no longer notices what it did."""

import dataclasses

from tests.verification.mutate import BLOCKS, mutate

QUICK = "processing element"


def test_mutants_of_the_processing_element_are_noticed(seed):
    blocks = [dataclasses.replace(b, count=60) for b in BLOCKS if b.name == QUICK]
    (result,) = mutate(blocks, seed, proofs=False, progress=False)
    assert result.rate > 0.9, result.line()
