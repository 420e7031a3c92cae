"""Attention, decoders and beam search against NumPy and exhaustive search; models of 2015 learn."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.special

import systolica as st

RNG = np.random.default_rng(17)
MEMORY = RNG.standard_normal((2, 5, 3)).astype(np.float32)
LENGTHS = np.asarray([5, 3], np.int32)
QUERY = RNG.standard_normal((2, 4)).astype(np.float32)
seq2seq = st.contrib.seq2seq


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        st.set_random_seed(3)
        yield g


def values(session: Any) -> dict[str, Any]:
    session.run(st.global_variables_initializer())
    return {v.name[:-2]: session.run(v) for v in st.global_variables()}


def masked_softmax(score: Any) -> Any:
    return scipy.special.softmax(np.where(np.arange(5) < LENGTHS[:, None], score, -np.inf), -1)


@pytest.mark.parametrize("normalize", [False, True])
def test_bahdanau_scores(normalize: bool) -> None:
    """v . tanh(W query + U memory), none past a row's end."""
    attention = seq2seq.BahdanauAttention(6, MEMORY, LENGTHS, normalize)
    weights = attention(st.constant(QUERY))
    with st.Session() as session:
        v = values(session)
        keep = (np.arange(5) < LENGTHS[:, None])[..., None]
        keys = (MEMORY * keep) @ v["bahdanau_attention/memory_kernel"]
        total = keys + (QUERY @ v["bahdanau_attention/query_kernel"])[:, None]
        direction = v["bahdanau_attention/attention_v"]
        if normalize:
            direction = direction / np.linalg.norm(direction) * v["bahdanau_attention/attention_g"]
            total = total + v["bahdanau_attention/attention_b"]
        want = masked_softmax(np.tanh(total) @ direction)
        np.testing.assert_allclose(session.run(weights), want, rtol=1e-5, atol=1e-6)


def test_luong_scores_and_its_scale() -> None:
    attention = seq2seq.LuongAttention(4, MEMORY, LENGTHS, scale=True)
    weights = attention(st.constant(QUERY))
    with st.Session() as session:
        v = values(session)
        keep = (np.arange(5) < LENGTHS[:, None])[..., None]
        score = np.einsum("btk,bk->bt", (MEMORY * keep) @ v["luong_attention/memory_kernel"], QUERY)
        np.testing.assert_allclose(
            session.run(weights), masked_softmax(score), rtol=1e-5, atol=1e-6
        )
    with pytest.raises(st.errors.ShapeError, match="a query of 4"):
        attention(st.constant(QUERY[:, :3]))


def test_wrapper_step_by_hand() -> None:
    """Inputs join the last attention; the new one is a layer of [output, context]."""
    mechanism = seq2seq.LuongAttention(4, MEMORY, LENGTHS)
    cell = seq2seq.AttentionWrapper(st.nn.rnn_cell.BasicRNNCell(4), mechanism, 7)
    start = cell.zero_state(2, st.float32)
    output, state = cell(st.constant(QUERY), start)
    again, later = cell(st.constant(QUERY), state)
    assert cell.output_size == 7 and output.shape == (2, 7)
    with st.Session() as session:
        v = values(session)
        joined = np.concatenate([QUERY, np.zeros((2, 7)), np.zeros((2, 4))], 1)
        inner = [k for k in v if k.startswith("attention_wrapper/basic")]
        name = inner[0].rpartition("/")[0]
        h = np.tanh(joined @ v[f"{name}/kernel"] + v[f"{name}/bias"])
        keep = (np.arange(5) < LENGTHS[:, None])[..., None]
        weights = masked_softmax(
            np.einsum("btk,bk->bt", (MEMORY * keep) @ v["luong_attention/memory_kernel"], h)
        )
        context = np.einsum("bt,btd->bd", weights, MEMORY)
        want = np.concatenate([h, context], 1) @ v["attention_wrapper/attention_kernel"]
        got, seen = session.run([output, state])
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(seen.alignments, weights, rtol=1e-4, atol=1e-5)
        assert session.run(later.time) == 2 and (session.run(again) != got).any()


def test_training_decoder_is_dynamic_rnn() -> None:
    """Fed with the truth, a decoder is the cell over time; finished rows are zero on request."""
    x = RNG.standard_normal((2, 4, 3)).astype(np.float32)
    cell = st.nn.rnn_cell.GRUCell(5)
    lengths = [4, 2]
    helper = seq2seq.TrainingHelper(st.constant(x), lengths)
    decoder = seq2seq.BasicDecoder(cell, helper, cell.zero_state(2, st.float32))
    said, state, counts = seq2seq.dynamic_decode(decoder, impute_finished=True)
    outputs, last = st.nn.dynamic_rnn(cell, st.constant(x), lengths, dtype=st.float32)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        got, want, end, finish, steps = session.run([said.rnn_output, outputs, state, last, counts])
        np.testing.assert_allclose(got, want, atol=1e-6)
        np.testing.assert_allclose(end, finish, atol=1e-6)
        assert steps.tolist() == lengths


class Markov(st.nn.rnn_cell.RNNCell):
    """Says logits that depend on the last id (one-hot inputs) and on how many steps went by."""

    def __init__(self, table: Any) -> None:
        super().__init__()
        self._table = table

    state_size = 1
    output_size = property(lambda self: self._table.shape[1])

    def call(self, inputs: Any, state: Any) -> Any:
        return st.matmul(inputs, self._table) * (1.0 + 0.3 * state), state + 1.0


TABLE = (RNG.standard_normal((4, 4)) * 1.5).astype(np.float32)
EYE = np.eye(4, dtype=np.float32)
END, MOST = 3, 4


def sequences(start: int) -> list[tuple[float, tuple[int, ...]]]:
    """Every sequence to its end token or to MOST steps, with its log probability."""
    found = []
    for ids in itertools.product(range(4), repeat=MOST):
        cut = ids[: ids.index(END) + 1] if END in ids else ids
        score, last = 0.0, start
        for step, i in enumerate(cut):
            score += scipy.special.log_softmax(TABLE[last] * (1 + 0.3 * step))[i]
            last = i
        found.append((score, cut))
    return sorted(set(found), reverse=True)


def test_greedy_decoder_follows_the_best_id() -> None:
    helper = seq2seq.GreedyEmbeddingHelper(lambda ids: st.gather(EYE, ids), [0, 1], END)
    decoder = seq2seq.BasicDecoder(Markov(st.constant(TABLE)), helper, st.zeros([2, 1]))
    said, _, counts = seq2seq.dynamic_decode(decoder, maximum_iterations=6)
    with st.Session() as session:
        ids, steps = session.run([said.sample_id, counts])
    for row, start in enumerate((0, 1)):
        last, want = start, []
        while len(want) < 6 and (not want or want[-1] != END):
            last = int((TABLE[last] * (1 + 0.3 * len(want))).argmax())
            want.append(last)
        assert ids[row, : steps[row]].tolist() == want


@pytest.mark.parametrize("width", [1, 3, 40])
def test_beam_search_finds_the_best_sequences(width: int) -> None:
    """A beam wider than what there is to choose from is exhaustive search; one of width 1 is
    greedy; no beam says better than exhaustive search."""
    decoder = seq2seq.BeamSearchDecoder(
        Markov(st.constant(TABLE)),
        lambda ids: st.gather(EYE, ids),
        [0, 1],
        END,
        seq2seq.tile_batch(st.zeros([2, 1]), width),
        width,
    )
    out, _, _ = seq2seq.dynamic_decode(decoder, maximum_iterations=MOST)
    with st.Session() as session:
        ids, scores = session.run([out.predicted_ids, out.scores])
    for row, start in enumerate((0, 1)):
        best = sequences(start)
        assert scores[row, -1, 0] <= best[0][0] + 1e-4
        if width == 40:
            for beam in range(5):
                assert scores[row, -1, beam] == pytest.approx(best[beam][0], abs=1e-4)
                cut = best[beam][1]
                assert tuple(ids[row, : len(cut), beam]) == cut
                assert (ids[row, len(cut) :, beam] == END).all()


def test_sampling_helper_draws_by_the_softmax() -> None:
    helper = seq2seq.SampleEmbeddingHelper(lambda ids: st.gather(EYE, ids), [0] * 4000, END, seed=1)
    decoder = seq2seq.BasicDecoder(Markov(st.constant(TABLE)), helper, st.zeros([4000, 1]))
    said, _, _ = seq2seq.dynamic_decode(decoder, maximum_iterations=1)
    with st.Session() as session:
        share = np.bincount(session.run(said.sample_id)[:, 0], minlength=4) / 4000
    np.testing.assert_allclose(share, scipy.special.softmax(TABLE[0]), atol=0.03)


def test_tile_batch_repeats_rows() -> None:
    pair = (st.constant([[1], [2]]), st.placeholder(st.int32, [None, None]))
    tiled = seq2seq.tile_batch(pair, 2)
    with st.Session() as session:
        a, b = session.run(tiled, {pair[1]: [[5, 6]]})
        assert a.ravel().tolist() == [1, 1, 2, 2] and b.tolist() == [[5, 6], [5, 6]]


def learns(make: Any, steps: int = 80) -> None:
    """A model of ids to the reversed ids gets its loss under half of where it began."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 5, (16, 3))
    enc = [st.constant(ids[:, t]) for t in range(3)]
    goal = [st.constant(ids[:, 2 - t]) for t in range(3)]
    dec = [st.constant(np.zeros(16, np.int64)), *goal[:-1]]
    outputs = make(enc, dec)
    loss = st.nn.seq2seq.sequence_loss(outputs, goal, [np.ones(16, np.float32)] * 3)
    train = st.train.AdamOptimizer(0.03).minimize(loss)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        first = session.run(loss)
        for _ in range(steps):
            session.run(train)
        assert session.run(loss) < first / 2


CELL = st.nn.rnn_cell.GRUCell
MODELS: dict[str, Any] = {
    "embedding_rnn_seq2seq": lambda e, d: st.nn.seq2seq.embedding_rnn_seq2seq(
        e, d, CELL(12), 5, 5, 6
    )[0],
    "embedding_tied_rnn_seq2seq": lambda e, d: st.nn.seq2seq.embedding_tied_rnn_seq2seq(
        e, d, CELL(12), 5, 6
    )[0],
    "embedding_attention_seq2seq": lambda e, d: st.nn.seq2seq.embedding_attention_seq2seq(
        e, d, CELL(12), 5, 5, 6, num_heads=2
    )[0],
    "one2many_rnn_seq2seq": lambda e, d: st.nn.seq2seq.one2many_rnn_seq2seq(
        e, {"a": d}, CELL(12), 5, {"a": 5}, 6
    )[0]["a"],
}


@pytest.mark.parametrize("name", list(MODELS))
def test_models_of_2015_learn(name: str) -> None:
    learns(MODELS[name])


def test_tied_models_share_their_variables() -> None:
    x = [st.constant(QUERY)] * 2
    st.nn.seq2seq.tied_rnn_seq2seq(x, x, CELL(4))
    tied = len(st.global_variables())
    st.nn.seq2seq.basic_rnn_seq2seq(x, x, CELL(4))
    assert tied == 4 and len(st.global_variables()) == 3 * tied


def test_decoders_and_feed_previous() -> None:
    """A fed flag decides between the given inputs and what was said before."""
    feed = st.placeholder(st.bool, [])
    ids = [st.placeholder(st.int32, [2]) for _ in range(3)]
    state = st.zeros([2, 4])
    cell = st.nn.rnn_cell.OutputProjectionWrapper(CELL(4), 5)
    outputs, _ = st.nn.seq2seq.embedding_rnn_decoder(ids, state, cell, 5, 3, feed_previous=feed)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        given = dict.fromkeys(ids, [1, 2])
        truth = session.run(outputs, {feed: False, **given})
        own = session.run(outputs, {feed: True, **given})
        np.testing.assert_array_equal(truth[0], own[0])
        chosen = own[0].argmax(1)
        same = session.run(outputs[1], {feed: False, **given, ids[1]: chosen})
        np.testing.assert_allclose(same, own[1], atol=1e-6)
    first = st.nn.seq2seq.rnn_decoder([st.constant(QUERY)] * 2, st.zeros([2, 4]), CELL(4))
    assert len(first[0]) == 2
    seen, _ = st.nn.seq2seq.attention_decoder(
        [st.constant(QUERY)] * 2, st.zeros([2, 4]), MEMORY, CELL(4), 6, initial_state_attention=True
    )
    assert seen[1].shape == (2, 6)
    outs, _ = st.nn.seq2seq.embedding_attention_decoder(
        ids, st.zeros([2, 4]), MEMORY, CELL(4), 5, 3, output_size=5, feed_previous=True
    )
    assert outs[2].shape == (2, 5)


def test_losses_by_definition() -> None:
    logits = [RNG.standard_normal((2, 3)) for _ in range(2)]
    targets = [[0, 2], [1, 1]]
    weights = [np.asarray([1.0, 0.5]), np.asarray([0.0, 1.0])]
    rows = [
        sum(
            -scipy.special.log_softmax(lo[b])[t[b]] * w[b]
            for lo, t, w in zip(logits, targets, weights, strict=True)
        )
        for b in range(2)
    ]
    by_example = st.nn.seq2seq.sequence_loss_by_example
    with st.Session() as session:
        got = session.run(by_example(logits, targets, weights, average_across_timesteps=False))
        np.testing.assert_allclose(got, rows)
        got = session.run(by_example(logits, targets, weights))
        np.testing.assert_allclose(got, np.asarray(rows) / [1.0, 1.5])
        total = st.nn.seq2seq.sequence_loss(logits, targets, weights, average_across_batch=False)
        assert session.run(total) == pytest.approx(rows[0] + rows[1] / 1.5)


def test_buckets_share_their_variables() -> None:
    ids = [st.placeholder(st.int32, [2]) for _ in range(4)]
    weights = [st.ones([2])] * 4
    outputs, losses = st.nn.seq2seq.model_with_buckets(
        ids, ids, ids, weights, [(2, 2), (4, 3)],
        lambda e, d: st.nn.seq2seq.embedding_rnn_seq2seq(e, d, CELL(4), 5, 5, 3),
    )  # fmt: skip
    names = [v.name for v in st.trainable_variables()]
    assert [len(o) for o in outputs] == [2, 3] and len(names) == len(set(names)) == 12
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        assert all(np.isfinite(session.run(losses, dict.fromkeys(ids, [1, 2]))))


def test_wrappers_and_drivers() -> None:
    """Projections by hand; two directions; state kept between runs; a loop driven by a function."""
    cell = st.nn.rnn_cell.InputProjectionWrapper(st.nn.rnn_cell.BasicRNNCell(4), 3)
    assert cell(st.constant(QUERY), st.zeros([2, 4]))[0].shape == (2, 4)
    words = st.nn.rnn_cell.EmbeddingWrapper(CELL(4), 7, 3)
    assert words(st.constant([1, 6]), st.zeros([2, 4]))[0].shape == (2, 4)
    steps = [st.constant(RNG.standard_normal((2, 3)).astype(np.float32)) for _ in range(4)]
    lengths = [4, 2]
    fw, bw = CELL(5), CELL(5)
    assert st.nn.static_bidirectional_rnn is st.nn.bidirectional_rnn  # the later name
    outputs, _, back = st.nn.bidirectional_rnn(
        fw, bw, steps, dtype=st.float32, sequence_length=lengths
    )
    with st.variable_scope("bidirectional_rnn", reuse=True):
        both, (_, last) = st.nn.bidirectional_dynamic_rnn(
            fw, bw, st.stack(steps, 1), lengths, dtype=st.float32
        )

    class Saver:
        store = st.Variable(np.zeros((2, 5), np.float32), trainable=False)

        def state(self, name: str) -> Any:
            return self.store.read_value()

        def save_state(self, name: str, value: Any) -> Any:
            return self.store.assign(value)

    assert st.nn.static_state_saving_rnn is st.nn.state_saving_rnn  # the later name
    kept, _ = st.nn.state_saving_rnn(fw, steps, Saver(), "h")
    x = st.stack(steps, 0)
    feed = st.TensorArray(st.float32, 4).unstack(x)

    def drive(time: Any, output: Any, state: Any, loop_state: Any) -> Any:
        now = fw.zero_state(2, st.float32) if output is None else state
        done = st.greater_equal(time, lengths)
        return done, feed.read(st.minimum(time, 3)), now, output, None

    emitted, end, _ = st.nn.raw_rnn(fw, drive)
    plain, state = st.nn.rnn(fw, steps, dtype=st.float32, sequence_length=lengths)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        a, b = session.run([outputs, both])
        np.testing.assert_allclose(np.stack(a, 1), np.concatenate(b, -1), atol=1e-6)
        np.testing.assert_allclose(*session.run([back, last]), atol=1e-6)
        np.testing.assert_allclose(*session.run([emitted.stack(), st.stack(plain)]), atol=1e-6)
        np.testing.assert_allclose(*session.run([end, state]), atol=1e-6)
        first, second = session.run(kept[-1]), session.run(kept[-1])
        np.testing.assert_allclose(session.run(Saver.store), second)
        assert (first != second).any()
