"""CTC against the sum over all paths, which is exact for few steps and classes."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.special

import systolica as st

RNG = np.random.default_rng(5)
T, B, C = 5, 3, 4
LOGITS = RNG.standard_normal((T, B, C)) * 2
LENGTHS = [5, 4, 3]
ROWS = [[0, 1], [2, 2], [1]]


def labels(rows: Any) -> Any:
    at = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    flat = np.asarray([v for row in rows for v in row], np.int32)
    return st.SparseTensor(np.reshape(at, (-1, 2)), flat, [len(rows), max(map(len, rows))])


def collapsed(path: Any, merge: bool = True) -> tuple[int, ...]:
    """The labels that a path of classes means."""
    kept = [k for k, _ in itertools.groupby(path)] if merge else path
    return tuple(v for v in kept if v != C - 1)


def likelihoods(logits: Any, merge: bool = True) -> dict[tuple[int, ...], float]:
    """The probability of every label sequence, by enumeration of all paths."""
    p = scipy.special.softmax(logits, -1)
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(C), repeat=len(logits)):
        chance = float(np.prod([p[t, k] for t, k in enumerate(path)]))
        key = collapsed(path, merge)
        found[key] = found.get(key, 0.0) + chance
    return found


def run(make: Any) -> Any:
    with st.Graph().as_default(), st.Session() as session:
        return session.run(make())


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("time_major", [True, False])
def test_loss_is_the_sum_over_paths(merge: bool, time_major: bool) -> None:
    """Rows of other lengths, repeated labels; both orders of axes."""
    logits = LOGITS if time_major else LOGITS.transpose(1, 0, 2)
    got = run(
        lambda: st.nn.ctc_loss(
            labels(ROWS), logits, LENGTHS, ctc_merge_repeated=merge, time_major=time_major
        )
    )
    for row in range(B):
        found = likelihoods(LOGITS[: LENGTHS[row], row], merge)
        assert got[row] == pytest.approx(-np.log(found[tuple(ROWS[row])]), rel=1e-9)


def test_repetitions_can_be_collapsed_before() -> None:
    """With preprocess_collapse_repeated the labels 2 2 are 2."""
    got = run(
        lambda: st.nn.ctc_loss(
            labels([[2, 2]]), LOGITS[:, :1], [T], preprocess_collapse_repeated=True
        )
    )
    assert got[0] == pytest.approx(-np.log(likelihoods(LOGITS[:, 0])[(2,)]), rel=1e-9)


def test_empty_labels_are_all_blanks() -> None:
    got = run(lambda: st.nn.ctc_loss(labels([[], [0]]), LOGITS[:, :2], [T, T]))
    want = -scipy.special.log_softmax(LOGITS[:, 0], -1)[:, -1].sum()
    assert got[0] == pytest.approx(want)


def test_too_many_labels_are_an_error_or_ignored() -> None:
    """As TensorFlow: ignored rows have loss and gradient 0."""
    long_ = [[0, 0, 0]]  # needs 5 steps: two blanks in between
    with pytest.raises(st.errors.InvalidArgumentError, match="3 labels, for which 4 steps"):
        run(lambda: st.nn.ctc_loss(labels(long_), LOGITS[:, :1], [4]))

    def ignored() -> Any:
        x = st.constant(LOGITS[:, :1])
        loss = st.nn.ctc_loss(labels(long_), x, [4], ignore_longer_outputs_than_inputs=True)
        return loss, st.gradients(loss, x)[0]

    loss, grad = run(ignored)
    assert loss == 0 and not grad.any()
    with pytest.raises(st.errors.InvalidArgumentError, match=r"label 3 is outside \[0, 3\)"):
        run(lambda: st.nn.ctc_loss(labels([[3]]), LOGITS[:, :1], [4]))


def rows_of(value: Any, count: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(count)]
    for (i, _), v in zip(value.indices, value.values, strict=True):
        rows[i].append(int(v))
    return rows


def test_greedy_decoder_takes_the_best_path() -> None:
    (decoded,), score = run(lambda: st.nn.ctc_greedy_decoder(LOGITS, LENGTHS))
    for row, found in enumerate(rows_of(decoded, B)):
        path = LOGITS[: LENGTHS[row], row].argmax(-1)
        assert tuple(found) == collapsed(path)
        assert score[row, 0] == pytest.approx(-LOGITS[: LENGTHS[row], row].max(-1).sum())
    (loose,), _ = run(lambda: st.nn.ctc_greedy_decoder(LOGITS, LENGTHS, merge_repeated=False))
    assert rows_of(loose, B)[0] == [k for k in LOGITS[:, 0].argmax(-1) if k != C - 1]


def test_wide_beam_finds_the_most_probable_sequences() -> None:
    """With a beam as wide as there are sequences the search is exact."""
    paths, scores = run(
        lambda: st.nn.ctc_beam_search_decoder(
            LOGITS, LENGTHS, beam_width=2000, top_paths=4, merge_repeated=False
        )
    )
    for row in range(B):
        found = likelihoods(LOGITS[: LENGTHS[row], row])
        best = sorted(found, key=lambda k: -found[k])[:4]
        assert [tuple(rows_of(p, B)[row]) for p in paths] == best
        np.testing.assert_allclose(np.exp(scores[row]), [found[k] for k in best], rtol=1e-5)


def test_beam_decoder_finds_what_the_greedy_one_misses() -> None:
    """Graves' example: the best path is blank, but a label is more probable over all paths."""
    p = np.log(np.asarray([[0.4, 0.6], [0.4, 0.6]]))[:, None]
    (greedy,), _ = run(lambda: st.nn.ctc_greedy_decoder(p, [2]))
    (beam,), score = run(lambda: st.nn.ctc_beam_search_decoder(p, [2]))
    assert greedy.values.size == 0 and beam.values.tolist() == [0]
    assert np.exp(score[0, 0]) == pytest.approx(0.64, rel=1e-6)


@pytest.mark.parametrize("blank", [C - 1, 0, 1, -1])
def test_loss_with_a_blank_anywhere(blank: int) -> None:
    """Dense and sparse labels; the classes of the logits moved so that the blank is `blank`."""
    at = blank % C
    moved = np.insert(LOGITS[..., :-1], at, LOGITS[..., -1], -1)
    rows = [[v + (v >= at) for v in row] for row in ROWS]
    dense = np.asarray([row + [9] * (2 - len(row)) for row in rows], np.int32)
    sizes = [len(row) for row in rows]
    found = run(
        lambda: [
            st.nn.ctc_loss_v2(dense, moved, sizes, LENGTHS, blank_index=blank),
            st.nn.ctc_loss_v2(labels(rows), moved.transpose(1, 0, 2), None, LENGTHS, False,
                              blank_index=blank),
        ]
    )  # fmt: skip
    want = run(lambda: st.nn.ctc_loss(labels(ROWS), LOGITS, LENGTHS))
    for got in found:
        np.testing.assert_allclose(got, want)
    with pytest.raises(st.errors.InvalidArgumentError, match="blank_index"):
        st.nn.ctc_loss_v2(labels(rows), moved, None, LENGTHS)


def test_beam_decoder_keeps_equal_neighbours() -> None:
    """Which the first version merges by default."""
    p = np.full((3, 1, 2), -5.0)
    p[[0, 2], 0, 0], p[1, 0, 1] = 5.0, 5.0  # label, blank, label
    (kept,), score = run(lambda: st.nn.ctc_beam_search_decoder_v2(p, [3]))
    (merged,), same = run(lambda: st.nn.ctc_beam_search_decoder(p, [3]))
    assert kept.values.tolist() == [0, 0] and merged.values.tolist() == [0]
    np.testing.assert_array_equal(score, same)


def test_sequences_made_smaller() -> None:
    """Equal neighbours within the length made one; a row's different labels and their places."""
    rows = np.int32([[1, 1, 2, 2, 1], [0, 0, 0, 3, 3], [4, 5, 6, 7, 8]])
    lengths = np.int64([5, 3, 2])
    got, size = run(lambda: st.nn.collapse_repeated(rows, lengths))
    want = [[k for k, _ in itertools.groupby(r[:n])] for r, n in zip(rows, lengths, strict=True)]
    assert size.tolist() == [len(w) for w in want]
    assert got.tolist() == [w + [0] * (3 - len(w)) for w in want]
    unique, index = run(lambda: st.nn.ctc_unique_labels(rows))
    for row, values, at in zip(rows, unique, index, strict=True):
        order = list(dict.fromkeys(row.tolist()))
        assert values.tolist() == order + [0] * (5 - len(order))
        np.testing.assert_array_equal(values[at], row)
    with pytest.raises(st.errors.ShapeError, match="labels"):
        st.nn.collapse_repeated(rows[0], lengths)
