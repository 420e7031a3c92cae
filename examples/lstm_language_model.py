"""A deep LSTM language model, each layer on a device of its own, as on the slides of the talk.

    python examples/lstm_language_model.py [--steps 300] [--devices /cpu:0,/cpu:0]

The language is made here: sentences of a small grammar in which the verb must agree with a subject
several words before. Prints the perplexity on new sentences, beside that of word frequencies.
"""

import argparse
import math

import numpy as np

import systolica as st

NOUNS = {"one": ["dog", "bird", "child"], "many": ["dogs", "birds", "children"]}
VERBS = {"one": ["runs", "sings", "sleeps"], "many": ["run", "sing", "sleep"]}
PLACES = ["in the park", "near the old house", "on the hill", "under the big tree"]


def corpus(count: int, seed: int) -> list[str]:
    """Words of sentences such as "the dogs near the old house run ."."""
    rng = np.random.default_rng(seed)
    words: list[str] = []
    for _ in range(count):
        number = str(rng.choice(["one", "many"]))
        line = f"the {rng.choice(NOUNS[number])} {rng.choice(PLACES)} {rng.choice(VERBS[number])} ."
        words += line.split()
    return words


def train_and_test(
    steps: int = 300,
    units: int = 48,
    devices: tuple[str, ...] = ("/cpu:0", "/cpu:0"),
    batch: int = 16,
    length: int = 20,
) -> tuple[float, float]:
    """(perplexity of the model, perplexity of word frequencies) on new sentences."""
    text = corpus(1200, 1)
    ids = {w: i for i, w in enumerate(sorted(set(text)))}
    data = np.asarray([ids[w] for w in text], np.int32)
    held = np.asarray([ids[w] for w in corpus(200, 2)], np.int32)
    with st.Graph().as_default():
        st.set_random_seed(1)
        words = st.placeholder(st.int32, [None, length + 1])
        table = st.get_variable("embedding", [len(ids), units])
        inputs = st.nn.embedding_lookup(table, words[:, :-1])
        layers = [
            st.nn.rnn_cell.DeviceWrapper(st.nn.rnn_cell.BasicLSTMCell(units), device)
            for device in devices
        ]
        cell = st.nn.rnn_cell.MultiRNNCell(layers)
        outputs, _ = st.nn.static_rnn(cell, st.unstack(inputs, axis=1), dtype=st.float32)
        logits = st.layers.dense(st.stack(outputs, 1), len(ids))
        loss = st.losses.sparse_softmax_cross_entropy(words[:, 1:], logits)
        variables = st.trainable_variables()
        grads, _ = st.clip_by_global_norm(st.gradients(loss, variables), 5.0)
        optimizer = st.train.AdamOptimizer(0.01)
        train = optimizer.apply_gradients(zip(grads, variables, strict=True))
        with st.Session() as sess:
            sess.run(st.global_variables_initializer())
            rng = np.random.default_rng(3)
            for _ in range(steps):
                starts = rng.integers(0, len(data) - length - 1, batch)
                sess.run(train, {words: [data[s : s + length + 1] for s in starts]})
            starts = np.arange(0, len(held) - length - 1, length)
            error = float(sess.run(loss, {words: [held[s : s + length + 1] for s in starts]}))
    share = np.bincount(data, minlength=len(ids)) / len(data)
    return math.exp(error), math.exp(-np.log(share[held]).mean())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="training steps (300)")
    parser.add_argument("--devices", default="/cpu:0,/cpu:0", help="one per layer")
    given = parser.parse_args()
    model, plain = train_and_test(given.steps, devices=tuple(given.devices.split(",")))
    print(f"perplexity: {model:.2f}, of word frequencies: {plain:.2f}")


if __name__ == "__main__":
    main()
