"""Sequence to sequence with attention: dates as people write them, to ISO 8601.

    python examples/date_formats.py [--steps 300] [--beam 3]

"27 Jan 1994", "jan 27, 1994" and "27.01.94" become "1994-01-27", letter by letter: a GRU reads,
another writes and looks back by Luong's attention; a beam search decodes. The dates are made here.
"""

import argparse
import datetime

import numpy as np

import systolica as st

FORMATS = ("%d %b %Y", "%b %d, %Y", "%d.%m.%y", "%d.%m.%Y", "%m/%d/%y")
LETTERS = " ,./-0123456789abcdefghijklmnopqrstuvwxyz"
DIGITS = "-0123456789"
GO, END = len(DIGITS), len(DIGITS) + 1
seq2seq = st.contrib.seq2seq


def make(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(letters [count, longest] filled up with 0, lengths, ISO dates [count, 11] with the end)."""
    first = datetime.date(1970, 1, 1)
    dates = [first + datetime.timedelta(int(d)) for d in rng.integers(0, 20_000, count)]
    texts = [d.strftime(FORMATS[rng.integers(len(FORMATS))]).lower() for d in dates]
    lengths = np.asarray([len(t) for t in texts], np.int32)
    ids = np.zeros((count, lengths.max()), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = [LETTERS.index(c) for c in text]
    wanted = [[*(DIGITS.index(c) for c in d.isoformat()), END] for d in dates]
    return ids, lengths, np.asarray(wanted, np.int32)


class Translator:
    """The net: `loss` and `train` from the truth, `said` [N, T] by beam search."""

    def __init__(self, units: int, beam: int) -> None:
        self.letters = st.placeholder(st.int32, [None, None])
        self.lengths = st.placeholder(st.int32, [None])
        self.wanted = st.placeholder(st.int32, [None, 11])
        hot = st.one_hot(self.letters, len(LETTERS))
        reader = st.nn.rnn_cell.GRUCell(units)
        memory, start = st.nn.dynamic_rnn(reader, hot, self.lengths, dtype=st.float32)
        self.cell = st.nn.rnn_cell.GRUCell(units)
        self.layer = st.layers.Dense(END + 1)
        self.units = units
        batch = st.shape(self.wanted)[0]

        go = st.fill(st.stack([batch, 1]), GO)
        inputs = st.one_hot(st.concat([go, self.wanted[:, :-1]], 1), END + 1)
        helper = seq2seq.TrainingHelper(inputs, st.fill(st.stack([batch]), 11))
        with st.variable_scope("decoder"):
            cell, state = self._attend(memory, self.lengths, start, batch)
            decoder = seq2seq.BasicDecoder(cell, helper, state, self.layer)
            logits = seq2seq.dynamic_decode(decoder)[0].rnn_output
        self.loss = st.losses.sparse_softmax_cross_entropy(self.wanted, logits)
        rate = st.train.exponential_decay(0.01, st.train.get_or_create_global_step(), 300, 0.5)
        grads = st.train.AdamOptimizer(rate)
        self.train = grads.minimize(self.loss, global_step=st.train.get_global_step())

        rows = st.shape(self.letters)[0]
        many = [seq2seq.tile_batch(v, beam) for v in (memory, self.lengths, start)]
        with st.variable_scope("decoder", reuse=True):
            cell, state = self._attend(many[0], many[1], many[2], rows * beam)
            search = seq2seq.BeamSearchDecoder(
                cell, lambda ids: st.one_hot(ids, END + 1), st.fill(st.stack([rows]), GO), END,
                state, beam, self.layer,
            )  # fmt: skip
            out = seq2seq.dynamic_decode(search, maximum_iterations=11)[0]
        self.said = out.predicted_ids[:, :, 0]

    def _attend(self, memory: st.Tensor, lengths: st.Tensor, start: st.Tensor, rows: object):
        attention = seq2seq.LuongAttention(self.units, memory, lengths)
        cell = seq2seq.AttentionWrapper(self.cell, attention, self.units, initial_cell_state=start)
        return cell, cell.zero_state(rows, st.float32)


def train_and_test(
    steps: int = 300, units: int = 48, beam: int = 3, batch: int = 32
) -> tuple[float, list[tuple[str, str]]]:
    """(share of unseen dates that come out right to the last digit, some of them)."""
    rng = np.random.default_rng(1)
    with st.Graph().as_default(), st.Session() as sess:
        st.set_random_seed(1)
        net = Translator(units, beam)
        sess.run(st.global_variables_initializer())
        for _ in range(steps):
            ids, lengths, wanted = make(batch, rng)
            sess.run(net.train, {net.letters: ids, net.lengths: lengths, net.wanted: wanted})
        ids, lengths, wanted = make(200, rng)
        said = sess.run(net.said, {net.letters: ids, net.lengths: lengths})
    found = np.full(wanted.shape, END)
    found[:, : said.shape[1]] = said
    shown = [
        (
            "".join(LETTERS[i] for i in row[:n]),
            "".join(DIGITS[i] for i in out if i < GO),
        )
        for row, n, out in zip(ids[:5], lengths, said, strict=False)
    ]
    return float((found == wanted).all(1).mean()), shown


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="training steps (300)")
    parser.add_argument("--beam", type=int, default=3, help="beams in the search (3)")
    given = parser.parse_args()
    share, shown = train_and_test(given.steps, beam=given.beam)
    for text, date in shown:
        print(f"{text:30} {date}")
    print(f"right: {share:.1%}")


if __name__ == "__main__":
    main()
