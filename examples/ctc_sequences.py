"""CTC: reading symbols from a noisy line of unknown timing (Graves et al., 2006).

    python examples/ctc_sequences.py [--steps 250]

Each made line holds 2 to 5 symbols, each a pattern stretched by an unknown amount, in noise. A
recurrent net in both directions says a class per step; CTC needs no alignment. Prints the label
error rate, by greedy and by beam search decoding, beside that of guessing.
"""

import argparse

import numpy as np

import systolica as st

SYMBOLS, WIDTH, STEPS = 6, 8, 36
PATTERNS = np.random.default_rng(42).standard_normal((SYMBOLS, WIDTH))


def make(count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """(lines [STEPS, count, WIDTH], the symbols in each)."""
    lines = 0.8 * rng.standard_normal((STEPS, count, WIDTH))
    labels = []
    for row in range(count):
        symbols = rng.integers(0, SYMBOLS, rng.integers(2, 6))
        at = int(rng.integers(0, 4))
        for symbol in symbols:
            length = int(rng.integers(3, 6))
            lines[at : at + length, row] += PATTERNS[symbol]
            at += length + int(rng.integers(1, 3))
        labels.append(symbols)
    return lines.astype(np.float32), labels


def sparse(labels: list[np.ndarray]) -> st.SparseTensorValue:
    """Sequences of any length as one sparse matrix."""
    places = [(i, j) for i, row in enumerate(labels) for j in range(len(row))]
    values = np.concatenate(labels).astype(np.int32)
    return st.SparseTensorValue(places, values, (len(labels), max(map(len, labels))))


def train_and_test(
    steps: int = 250, units: int = 24, batch: int = 32
) -> tuple[float, float, float]:
    """Label error rates on unseen lines: greedy, beam search, and of guessed labels."""
    rng = np.random.default_rng(3)
    with st.Graph().as_default(), st.Session() as sess:
        st.set_random_seed(3)
        lines = st.placeholder(st.float32, [STEPS, None, WIDTH])
        truth = st.sparse_placeholder(st.int32)
        lengths = st.fill(st.stack([st.shape(lines)[1]]), STEPS)
        cells = [st.nn.rnn_cell.GRUCell(units) for _ in range(2)]
        outputs, _ = st.nn.bidirectional_dynamic_rnn(
            *cells, lines, lengths, dtype=st.float32, time_major=True
        )
        logits = st.layers.dense(st.concat(outputs, 2), SYMBOLS + 1)
        loss = st.reduce_mean(st.nn.ctc_loss(truth, logits, lengths))
        optimizer = st.train.AdamOptimizer(0.02)
        grads, variables = zip(*optimizer.compute_gradients(loss), strict=True)
        clipped, _ = st.clip_by_global_norm(grads, 5.0)
        train = optimizer.apply_gradients(zip(clipped, variables, strict=True))
        (greedy,), _ = st.nn.ctc_greedy_decoder(logits, lengths)
        (beam,), _ = st.nn.ctc_beam_search_decoder(
            logits, lengths, beam_width=8, merge_repeated=False
        )
        wanted = st.SparseTensor(truth.indices, st.to_int64(truth.values), truth.dense_shape)
        errors = [st.reduce_mean(st.edit_distance(d, wanted)) for d in (greedy, beam)]
        sess.run(st.global_variables_initializer())
        for _ in range(steps):
            x, labels = make(batch, rng)
            sess.run(train, {lines: x, truth: sparse(labels)})
        x, labels = make(100, rng)
        found = sess.run(errors, {lines: x, truth: sparse(labels)})
        guess = st.sparse_placeholder(st.int32)
        by_chance = st.reduce_mean(st.edit_distance(guess, truth))
        guessed = [rng.integers(0, SYMBOLS, len(row)) for row in labels]
        chance = sess.run(by_chance, {guess: sparse(guessed), truth: sparse(labels)})
    return float(found[0]), float(found[1]), float(chance)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=250, help="training steps (250)")
    greedy, beam, chance = train_and_test(parser.parse_args().steps)
    print(f"label error rate: greedy {greedy:.1%}, beam search {beam:.1%}, guessing {chance:.1%}")


if __name__ == "__main__":
    main()
