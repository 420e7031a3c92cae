"""An autoencoder: handwritten digits through a bottleneck of a few numbers and back.

    python examples/autoencoder.py [--code 8] [--steps 1500] [--device tpu:0]

Prints the mean squared error of held-out digits beside that of principal components of the same
number, the best that a linear code can do.
"""

import argparse

import numpy as np

import systolica as st
from examples.inference import add_device_option, answers
from examples.softmax_regression import digits


def linear_error(images: np.ndarray, test_images: np.ndarray, code: int) -> float:
    """Mean squared error of `code` principal components."""
    mean = images.mean(0)
    _, _, axes = np.linalg.svd(images - mean, full_matrices=False)
    kept = axes[:code]
    again = (test_images - mean) @ kept.T @ kept + mean
    return float(((again - test_images) ** 2).mean())


def train_and_test(
    code: int = 8, steps: int = 1500, batch: int = 100, device: str = "cpu:0"
) -> tuple[float, float]:
    """(error of the autoencoder, error of principal components) on held-out digits."""
    images, _, test_images, _ = digits()
    with st.Graph().as_default():
        st.set_random_seed(3)
        x = st.placeholder(st.float32, [None, 64], name="images")
        h = st.layers.dense(x, 96, st.nn.relu)
        z = st.layers.dense(h, code)
        h = st.layers.dense(z, 96, st.nn.relu)
        again = st.layers.dense(h, 64, st.sigmoid)
        loss = st.losses.mean_squared_error(x, again)
        step = st.Variable(0, trainable=False)
        rate = st.train.cosine_decay(0.004, step, steps)
        train = st.train.AdamOptimizer(rate).minimize(loss, step)
        with st.Session() as sess:
            sess.run(st.global_variables_initializer())
            rng = np.random.default_rng(1)
            for _ in range(steps):
                sess.run(train, {x: images[rng.integers(0, len(images), batch)]})
            restored = answers(sess, again, {x: test_images}, device, {x: images})
    error = float(np.mean((restored - test_images) ** 2))
    return error, linear_error(images, test_images, code)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", type=int, default=8, help="numbers in the bottleneck (8)")
    parser.add_argument("--steps", type=int, default=1500, help="training steps (1500)")
    add_device_option(parser)
    given = parser.parse_args()
    error, linear = train_and_test(given.code, given.steps, device=given.device)
    print(f"held-out error: {error:.5f}, of principal components: {linear:.5f}")


if __name__ == "__main__":
    main()
