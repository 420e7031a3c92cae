"""char-rnn: a recurrent net that writes, letter by letter (after Karpathy, 2015).

    python examples/char_rnn.py [--steps 400] [--file TEXT]

Learns from a file, or from the lines below; saves a checkpoint and writes on from it, one letter
at a time. Prints bits per letter and the text.
"""

import argparse
import os
import tempfile

import numpy as np

import systolica as st

# William Blake, "The Tyger" (1794)
TEXT = """Tyger Tyger, burning bright,
In the forests of the night;
What immortal hand or eye,
Could frame thy fearful symmetry?

In what distant deeps or skies.
Burnt the fire of thine eyes?
On what wings dare he aspire?
What the hand, dare seize the fire?
"""


class CharRnn:
    """The net: letters [N, T] to logits of the next ones, with the state carried from outside."""

    def __init__(self, letters: int, units: int) -> None:
        self.letters = st.placeholder(st.int32, [None, None])
        self.targets = st.placeholder(st.int32, [None, None])
        cell = st.nn.rnn_cell.GRUCell(units)
        zero = cell.zero_state(st.shape(self.letters)[0], st.float32)
        self.state = st.placeholder_with_default(zero, [None, units])
        hot = st.one_hot(self.letters, letters)
        outputs, self.last = st.nn.dynamic_rnn(cell, hot, initial_state=self.state)
        self.logits = st.layers.dense(outputs, letters)
        self.loss = st.losses.sparse_softmax_cross_entropy(self.targets, self.logits)
        self.train = st.train.AdamOptimizer(0.01).minimize(self.loss)


def write(net: CharRnn, sess: st.Session, start: list[int], count: int) -> list[int]:
    """`count` letters after `start`, each the likeliest."""
    out, state = list(start), None
    given = [start]
    for _ in range(count):
        feed = {net.letters: given} if state is None else {net.letters: given, net.state: state}
        logits, state = sess.run([net.logits, net.last], feed)
        out.append(int(np.argmax(logits[0, -1])))
        given = [[out[-1]]]
    return out


def train_and_write(
    text: str = TEXT, steps: int = 400, units: int = 64, batch: int = 16, length: int = 30
) -> tuple[float, str]:
    """(bits per letter at the end, text written from the first letters on)."""
    alphabet = sorted(set(text))
    data = np.asarray([alphabet.index(c) for c in text], np.int32)
    with st.Graph().as_default(), tempfile.TemporaryDirectory() as folder:
        st.set_random_seed(1)
        net = CharRnn(len(alphabet), units)
        saver = st.train.Saver()
        rng = np.random.default_rng(1)
        with st.Session() as sess:
            sess.run(st.global_variables_initializer())
            for _ in range(steps):
                starts = rng.integers(0, len(data) - length - 1, batch)
                feed = {
                    net.letters: [data[s : s + length] for s in starts],
                    net.targets: [data[s + 1 : s + length + 1] for s in starts],
                }
                _, loss = sess.run([net.train, net.loss], feed)
            path = saver.save(sess, os.path.join(folder, "char-rnn"), global_step=steps)
        with st.Session() as sess:  # as another program would
            saver.restore(sess, path)
            made = write(net, sess, data[:10].tolist(), 60)
    return float(loss / np.log(2)), "".join(alphabet[i] for i in made)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400, help="training steps (400)")
    parser.add_argument("--file", help="a text file to learn from (default: lines of Blake)")
    given = parser.parse_args()
    text = TEXT
    if given.file:
        with open(given.file, encoding="utf-8") as file:
            text = file.read()
    bits, made = train_and_write(text, given.steps)
    print(f"{made}\n\nbits per letter: {bits:.2f}")


if __name__ == "__main__":
    main()
