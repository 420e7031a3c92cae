"""Softmax regression on real handwritten digits: the program of the 2016 TensorFlow talk.

    python examples/softmax_regression.py [--device /cpu:0 | /tpu:0] [--steps 2000]

Trains on 8x8 digits (scikit-learn's copy of the UCI set) on the CPU, then classifies held-out ones
with the product on `--device`, and prints the share it got right. On "/tpu:0" the product is
quantised to int8 at the border and computed by the core.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits

import systolica as st


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images [1297, 64] in [0, 1] and labels [1297, 10], then 500 held-out ones."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = (data.data[order] / 16).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[data.target[order]]
    return images[:-500], labels[:-500], images[-500:], labels[-500:]


def train_and_test(device: str = "/cpu:0", steps: int = 2000, batch: int = 100) -> float:
    """Held-out accuracy, with inference on `device`."""
    images, labels, test_images, test_labels = digits()
    with st.Graph().as_default():
        x = st.placeholder("float", shape=[None, 64])
        W = st.Variable(st.zeros([64, 10]))
        b = st.Variable(st.zeros([10]))
        y = st.nn.softmax(st.matmul(x, W) + b)

        y_ = st.placeholder(st.float32, [None, 10])
        cross_entropy = -st.reduce_sum(y_ * st.log(y))
        opt = st.train.GradientDescentOptimizer(0.01)
        train_op = opt.minimize(cross_entropy)

        with st.device(device):
            answer = st.matmul(x, W) + b
        right = st.equal(st.argmax(answer, 1), st.argmax(y_, 1))
        accuracy = st.reduce_mean(st.cast(right, st.float32))

        init = st.initialize_all_variables()
        with st.Session() as sess:
            sess.run(init)
            rng = np.random.default_rng(1)
            for _ in range(steps):
                pick = rng.integers(0, len(images), batch)
                sess.run(train_op, feed_dict={x: images[pick], y_: labels[pick]})
            return float(sess.run(accuracy, feed_dict={x: test_images, y_: test_labels}))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="/cpu:0", help="where inference runs (/cpu:0)")
    parser.add_argument("--steps", type=int, default=2000, help="training steps (2000)")
    given = parser.parse_args()
    print(f"held-out accuracy: {train_and_test(given.device, given.steps):.1%}")


if __name__ == "__main__":
    main()
