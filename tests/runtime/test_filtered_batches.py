"""Batches of only those elements that a condition keeps."""

from typing import Any

import numpy as np
import pytest

import systolica as st

NUMBERS = np.arange(12, dtype=np.int32)


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def everything(batch: Any) -> list[int]:
    """All elements of the batches until the input ends."""
    seen: list[int] = []
    with st.Session() as session:
        session.run([st.global_variables_initializer(), st.local_variables_initializer()])
        coord = st.train.Coordinator()
        threads = st.train.start_queue_runners(session, coord)
        with pytest.raises(st.errors.OutOfRangeError):
            while True:
                seen += session.run(batch).tolist()
        coord.request_stop()
        coord.join(threads)
    return seen


def number() -> Any:
    """0 to 11, once each."""
    return st.train.range_input_producer(12, num_epochs=1, shuffle=False).dequeue()


def test_one_by_one() -> None:
    """Odd numbers in order; shuffled, all of them."""
    x = number()
    odd = st.equal(x % 2, 1)
    assert everything(st.train.maybe_batch(x, odd, 2)) == [1, 3, 5, 7, 9, 11]
    y = number()
    shuffled = st.train.maybe_shuffle_batch(y, 3, 20, 0, st.greater(y, 5), seed=3)
    assert sorted(everything(shuffled)) == [6, 7, 8, 9, 10, 11]


def test_rows_of_batches() -> None:
    """With a flag for each row, and one for all rows."""
    rows = st.train.limit_epochs(st.constant(NUMBERS), 1)
    kept = st.train.maybe_batch(rows, NUMBERS % 3 == 0, 4, enqueue_many=True)
    assert everything(kept) == [0, 3, 6, 9]
    more = st.train.limit_epochs(st.constant(NUMBERS), 1)
    none = st.train.maybe_batch(more, False, 2, enqueue_many=True, allow_smaller_final_batch=True)
    assert everything(none) == []


def test_several_sources() -> None:
    """Each filtered by the same flag, whichever thread it is in."""
    x, y = number(), number()
    joined = st.train.maybe_batch_join([[x], [y + 100]], True, 4)
    assert sorted(everything(joined[0])) == sorted([*NUMBERS, *(NUMBERS + 100)])
    z = number()
    some = st.train.maybe_shuffle_batch_join([[z]], 2, 20, 0, st.less(z, 4), seed=1)
    assert sorted(everything(some[0])) == [0, 1, 2, 3]


def test_flags_that_are_none() -> None:
    with pytest.raises(st.errors.InvalidArgumentError, match="keep_input"):
        st.train.maybe_batch(number(), 1, 2)
    with pytest.raises(st.errors.InvalidArgumentError, match="keep_input"):
        st.train.maybe_batch(number(), [True, False], 2)
