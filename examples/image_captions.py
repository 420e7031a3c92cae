"""Show and Tell: captions of drawn shapes (Vinyals et al., CVPR 2015).

    python examples/image_captions.py [--steps 300] [--device tpu:0]

Each image shows one shape; a convnet sees it, an LSTM that is shown what was seen writes "a large
circle on the left". The images are drawn here. With `--device tpu:0` the convnet answers quantised,
on the simulated TPU.
"""

import argparse

import numpy as np

import systolica as st
from examples.inference import answers

SIDE = 16
SIZES, SHAPES = ("small", "large"), ("circle", "square", "cross", "ring")
PLACES = ("on the left", "on the right", "at the top", "at the bottom")
WORDS = ["<end>", "a", *SIZES, *SHAPES, "on", "at", "the", "left", "right", "top", "bottom"]
LENGTH = 7
END = 0


def draw(size: int, shape: int, place: int, rng: np.random.Generator) -> np.ndarray:
    """One image [SIDE, SIDE]."""
    near, far = (4.5, 10.5) if size == 0 else (5.0, 10.0)
    middle = rng.uniform(6.5, 8.5)
    y, x = [(middle, near), (middle, far), (near, middle), (far, middle)][place]
    rows, columns = np.mgrid[:SIDE, :SIDE]
    dy, dx = np.abs(rows - y), np.abs(columns - x)
    r = (2.6, 4.6)[size]
    distance = np.hypot(dy, dx)
    ink = [distance < r, np.maximum(dy, dx) < r * 0.9,
           (np.minimum(dy, dx) < 0.35 * r) & (np.maximum(dy, dx) < r),
           np.abs(distance - 0.8 * r) < 0.3 * r][shape]  # fmt: skip
    return ink + 0.05 * rng.standard_normal((SIDE, SIDE))


def make(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(images [count, SIDE, SIDE, 1], captions [count, LENGTH] of word numbers)."""
    images = np.empty((count, SIDE, SIDE, 1), np.float32)
    captions = np.full((count, LENGTH), END, np.int32)
    for image, caption in zip(images, captions, strict=True):
        what = [int(rng.integers(n)) for n in (2, 4, 4)]
        image[..., 0] = draw(*what, rng)
        text = f"a {SIZES[what[0]]} {SHAPES[what[1]]} {PLACES[what[2]]}"
        caption[: text.count(" ") + 1] = [WORDS.index(w) for w in text.split()]
    return images, captions


class Captioner:
    """The net: `seen` [N, 2 units] of images, `loss` of captions, `said` [N, T] by itself."""

    def __init__(self, units: int) -> None:
        self.images = st.placeholder(st.float32, [None, SIDE, SIDE, 1])
        self.captions = st.placeholder(st.int32, [None, LENGTH])
        x = st.layers.conv2d(self.images, 12, 3, activation=st.nn.relu, padding="same")
        x = st.layers.max_pooling2d(x, 2, 2)
        x = st.layers.conv2d(x, 16, 3, activation=st.nn.relu, padding="same")
        x = st.layers.max_pooling2d(x, 2, 2)
        self.seen = st.layers.dense(st.layers.flatten(x), 2 * units)
        self.view = st.placeholder_with_default(self.seen, [None, 2 * units])
        half = st.nn.tanh(self.view)
        state = st.nn.rnn_cell.LSTMStateTuple(half[:, :units], half[:, units:])
        cell = st.nn.rnn_cell.BasicLSTMCell(units)
        layer = st.layers.Dense(len(WORDS))
        table = st.get_variable("words", [len(WORDS), 12])
        first = st.fill(st.stack([st.shape(self.view)[0]]), END)
        given = st.concat([st.expand_dims(first, 1), self.captions[:, :-1]], 1)
        view = st.tile(st.expand_dims(half, 1), [1, LENGTH, 1])
        inputs = st.concat([st.nn.embedding_lookup(table, given), view], 2)
        seq2seq = st.contrib.seq2seq
        with st.variable_scope("write"):
            truth = seq2seq.TrainingHelper(inputs, st.fill(st.stack([st.shape(given)[0]]), LENGTH))
            decoder = seq2seq.BasicDecoder(cell, truth, state, layer)
            logits = seq2seq.dynamic_decode(decoder)[0].rnn_output
        self.loss = st.losses.sparse_softmax_cross_entropy(self.captions, logits)
        self.train = st.train.AdamOptimizer(0.006).minimize(self.loss)
        with st.variable_scope("write", reuse=True):
            own = seq2seq.GreedyEmbeddingHelper(
                lambda ids: st.concat([st.nn.embedding_lookup(table, ids), half], 1), first, END
            )
            decoder = seq2seq.BasicDecoder(cell, own, state, layer)
            self.said = seq2seq.dynamic_decode(decoder, maximum_iterations=LENGTH)[0].sample_id


def train_and_test(
    steps: int = 300, units: int = 32, batch: int = 32, device: str = "cpu:0"
) -> tuple[float, list[str]]:
    """(share of unseen images whose caption is right word by word, some captions)."""
    rng = np.random.default_rng(5)
    with st.Graph().as_default(), st.Session() as sess:
        st.set_random_seed(5)
        net = Captioner(units)
        sess.run(st.global_variables_initializer())
        for _ in range(steps):
            images, captions = make(batch, rng)
            sess.run(net.train, {net.images: images, net.captions: captions})
        images, captions = make(160, rng)
        seen = answers(sess, net.seen, {net.images: images}, device)
        said = sess.run(net.said, {net.view: seen})
    found = np.full(captions.shape, END)
    found[:, : said.shape[1]] = said
    texts = [" ".join(WORDS[i] for i in row if i != END) for row in said[:5]]
    return float((found == captions).all(1).mean()), texts


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="training steps (300)")
    parser.add_argument("--device", default="cpu:0", help="where the convnet answers (cpu:0)")
    given = parser.parse_args()
    share, texts = train_and_test(given.steps, device=given.device)
    print("\n".join(texts))
    print(f"right: {share:.1%}")


if __name__ == "__main__":
    main()
