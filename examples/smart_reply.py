"""Smart Reply: a small net decides whether a message wants a short answer, a recurrent one writes
it (Kannan et al., KDD 2016).

    python examples/smart_reply.py [--steps 250] [--device tpu:0]

Messages and replies are made from templates below. The triggering net is a feed-forward one over
bags of words; with `--device tpu:0` it answers quantised, on the simulated TPU. The responder reads
the message and writes with attention.
"""

import argparse

import numpy as np

import systolica as st
from examples.inference import answers

NAMES = ("anna", "ben", "carla", "david")
DAYS = ("monday", "friday", "sunday")
ASK = (
    ("are you free for lunch on {day}", "yes see you on {day}"),
    ("hi {name} can we move our meeting to {day}", "sure {day} works for me"),
    ("did you get the report from {name}", "yes {name} sent it"),
    ("we invite you to dinner on {day}", "thank you see you on {day}"),
    ("{name} is ill today", "i hope {name} is well soon"),
    ("i am so sorry that i forgot to call", "no problem"),
    ("here are the pictures from {day}", "thank you they are great"),
)
TELL = (
    "your order was sent on {day}",
    "this is an automatic message please do not answer",
    "{name} likes your picture",
    "the server will be down on {day}",
    "new offers for you only until {day}",
    "your password was changed",
)
READ, WRITE = 10, 7


def words() -> list[str]:
    """The vocabulary, the end of a sentence first."""
    texts = [t for pair in ASK for t in pair] + list(TELL)
    found = {w for t in texts for w in t.split() if "{" not in w} | set(NAMES) | set(DAYS)
    return ["<end>", *sorted(found)]


WORDS = words()


def numbers(text: str, length: int) -> list[int]:
    """Word numbers, filled up with the end."""
    ids = [WORDS.index(w) for w in text.split()]
    return ids + [0] * (length - len(ids))


def make(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(messages [count, READ], replies [count, WRITE], whether each wants one)."""
    messages, replies, wants = [], [], rng.uniform(size=count) < 0.5
    for wanted in wants:
        names = {"name": str(rng.choice(NAMES)), "day": str(rng.choice(DAYS))}
        ask, reply = ASK[rng.integers(len(ASK))]
        text = ask if wanted else TELL[rng.integers(len(TELL))]
        messages.append(numbers(text.format(**names), READ))
        replies.append(numbers(reply.format(**names) if wanted else "", WRITE))
    return np.asarray(messages, np.int32), np.asarray(replies, np.int32), wants


def bag(messages: np.ndarray) -> np.ndarray:
    """Which words a message has."""
    out = np.zeros((len(messages), len(WORDS)), np.float32)
    np.put_along_axis(out, messages, 1, 1)
    return out


class Assistant:
    """Both nets: `trigger` [N, 2] from bags of words, `said` [N, WRITE] from messages."""

    def __init__(self, units: int) -> None:
        self.bags = st.placeholder(st.float32, [None, len(WORDS)])
        self.wants = st.placeholder(st.int32, [None])
        hidden = st.layers.dense(self.bags, 16, activation=st.nn.relu)
        self.trigger = st.layers.dense(hidden, 2)
        decide = st.losses.sparse_softmax_cross_entropy(self.wants, self.trigger)
        self.read = [st.placeholder(st.int32, [None]) for _ in range(READ)]
        self.write = [st.placeholder(st.int32, [None]) for _ in range(WRITE)]
        start = st.zeros_like(self.write[0])
        given = [start, *self.write[:-1]]
        cell = st.nn.rnn_cell.GRUCell(units)
        self.own = st.placeholder_with_default(False, [])
        logits, _ = st.nn.seq2seq.embedding_attention_seq2seq(
            self.read, given, cell, len(WORDS), len(WORDS), 16, feed_previous=self.own
        )
        self.said = st.stack([st.argmax(step, 1) for step in logits], 1)
        weight = st.to_float(self.wants)
        respond = st.nn.seq2seq.sequence_loss(logits, self.write, [weight] * WRITE)
        self.train = st.train.AdamOptimizer(0.01).minimize(decide + respond)

    def feeds(self, messages: np.ndarray, replies: np.ndarray, wants: np.ndarray) -> dict:
        """What a step is fed."""
        columns = zip([*self.read, *self.write], [*messages.T, *replies.T], strict=True)
        return {**dict(columns), self.bags: bag(messages), self.wants: wants.astype(np.int32)}


def train_and_test(
    steps: int = 250, units: int = 32, batch: int = 32, device: str = "cpu:0"
) -> tuple[float, float, list[tuple[str, str]]]:
    """(share of messages told apart, share of replies right word by word, some of both)."""
    rng = np.random.default_rng(6)
    with st.Graph().as_default(), st.Session() as sess:
        st.set_random_seed(6)
        net = Assistant(units)
        sess.run(st.global_variables_initializer())
        for _ in range(steps):
            sess.run(net.train, net.feeds(*make(batch, rng)))
        messages, replies, wants = make(200, rng)
        chosen = answers(sess, net.trigger, {net.bags: bag(messages)}, device).argmax(1) == 1
        feeds = net.feeds(messages, np.zeros_like(replies), wants)
        said = sess.run(net.said, {**feeds, net.own: True})
    right = (said == replies).all(1)[wants]
    shown = [
        (sentence(m), sentence(s) if c else "-")
        for m, s, c in zip(messages[:6], said, chosen, strict=False)
    ]
    return float((chosen == wants).mean()), float(right.mean()), shown


def sentence(ids: np.ndarray) -> str:
    """Word numbers as text."""
    return " ".join(WORDS[i] for i in ids if i)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=250, help="training steps (250)")
    parser.add_argument("--device", default="cpu:0", help="where the trigger answers (cpu:0)")
    given = parser.parse_args()
    told, right, shown = train_and_test(given.steps, device=given.device)
    for message, reply in shown:
        print(f"{message:50} {reply}")
    print(f"told apart: {told:.1%}, right replies: {right:.1%}")


if __name__ == "__main__":
    main()
