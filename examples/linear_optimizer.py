"""A linear optimiser with a certificate: stochastic dual coordinate ascent.

    python examples/linear_optimizer.py [--epochs 8] [--device tpu:0]

TensorFlow had this as `SdcaModel` in `contrib` (Shalev-Shwartz and Zhang, 2013). Ten linear
classifiers of handwritten digits, with a smoothed hinge loss and an L2 penalty; each sample has a
dual variable, which is set to its best value in turn: no learning rate. The gap between primal and
dual objective bounds how far the weights are from the best ones. Prints the gap after each epoch,
and the share of held-out digits that are named.
"""

import argparse

import numpy as np

import systolica as st
from examples.inference import add_device_option, answers
from examples.softmax_regression import digits

SMOOTH = 1.0  # the hinge is a parabola over this width


class Sdca:
    """min over w of mean(loss(y w.x)) + penalty / 2 |w|^2, for each column of w apart."""

    def __init__(self, samples: int, features: int, classes: int, penalty: float) -> None:
        self.x = st.placeholder(st.float32, [samples, features])
        self.y = st.placeholder(st.float32, [samples, classes])  # -1 or 1
        self.w = st.Variable(st.zeros([features, classes]), name="w")
        self.dual = st.Variable(st.zeros([samples, classes]), name="dual")
        scale = 1 / (penalty * samples)
        norms = st.reduce_sum(st.square(self.x), 1)

        def visit(state: tuple[st.Tensor, ...], item: tuple[st.Tensor, ...]) -> tuple:
            """Set one sample's dual variables to their best values, given all others."""
            w, _ = state
            x, y, norm, dual = item
            margin = y * st.reduce_sum(st.expand_dims(x, 1) * w, 0)
            step = (1 - margin - SMOOTH * dual * y) / (norm * scale + SMOOTH)
            best = y * st.clip_by_value(step + dual * y, 0.0, 1.0)
            change = st.expand_dims(x, 1) * st.expand_dims(best - dual, 0)
            return w + scale * change, best

        noise = st.random_uniform([samples], seed=5)
        order = st.nn.top_k(noise, samples)[1]  # another one each time
        items = [st.gather(t, order) for t in (self.x, self.y, norms, self.dual)]
        start = (self.w.value(), st.zeros([classes]))
        ws, duals = st.scan(visit, tuple(items), initializer=start)
        self.epoch = st.group(self.w.assign(ws[-1]), st.scatter_update(self.dual, order, duals))

        short = 1 - self.y * st.matmul(self.x, self.w)
        loss = st.where(
            short > SMOOTH,
            short - SMOOTH / 2,
            st.square(st.maximum(short, 0.0)) / (2 * SMOOTH),
        )
        size = penalty / 2 * st.reduce_sum(st.square(self.w), 0)
        gain = self.dual * self.y - SMOOTH / 2 * st.square(self.dual)
        self.primal = st.reduce_mean(st.reduce_mean(loss, 0) + size)
        self.gap = self.primal - st.reduce_mean(st.reduce_mean(gain, 0) - size)


def with_bias(images: np.ndarray) -> np.ndarray:
    """A column of ones beside the pixels."""
    return np.concatenate([images, np.ones((len(images), 1), np.float32)], 1)


def train_and_test(
    epochs: int = 8, penalty: float = 0.003, device: str = "cpu:0"
) -> tuple[float, list[float]]:
    """(held-out accuracy, the gap as a share of the primal objective after each epoch)."""
    images, labels, test_images, test_labels = digits()
    with st.Graph().as_default(), st.Session() as sess:
        model = Sdca(len(images), images.shape[1] + 1, 10, penalty)
        asked = st.placeholder(st.float32, [None, images.shape[1] + 1], name="asked")
        scores = st.matmul(asked, model.w)
        sess.run(st.global_variables_initializer())
        feeds = {model.x: with_bias(images), model.y: 2 * labels - 1}
        gaps = []
        for _ in range(epochs):
            sess.run(model.epoch, feeds)
            gap, primal = sess.run([model.gap, model.primal], feeds)
            gaps.append(float(gap / primal))
        given = answers(sess, scores, {asked: with_bias(test_images)}, device)
    return float(np.mean(np.argmax(given, 1) == np.argmax(test_labels, 1))), gaps


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8, help="visits of every sample (8)")
    add_device_option(parser)
    given = parser.parse_args()
    accuracy, gaps = train_and_test(given.epochs, device=given.device)
    print("gap by epoch:", " ".join(f"{gap:.2%}" for gap in gaps))
    print(f"held-out accuracy: {accuracy:.1%}")


if __name__ == "__main__":
    main()
