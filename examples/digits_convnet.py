"""A small convolutional network on real handwritten digits, from training to int8.

    python examples/digits_convnet.py [--steps 800]

Trains on scikit-learn's 8x8 digits (1,347 of 1,797) on the CPU and prints the share of the other
450 that it reads correctly. `systolica demo` quantises this network and runs it on the TPU.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import systolica as st

HELD_OUT = 0.25
CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """Images float32 `[count, 8, 8, 1]` in [0, 1] and labels int64 `[count]`."""

    images: np.ndarray
    labels: np.ndarray


def digits() -> tuple[Digits, Digits]:
    """A training set and a held-out set with the same share of each digit."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)[..., np.newaxis]
    train_x, test_x, train_y, test_y = train_test_split(
        images, data.target, test_size=HELD_OUT, random_state=0, stratify=data.target
    )
    return Digits(train_x, train_y), Digits(test_x, test_y)


def weights(*shape: int) -> st.Variable:
    """He's initialisation, for layers with ReLU."""
    deviation = np.sqrt(2 / np.prod(shape[:-1]))
    return st.Variable(st.truncated_normal(shape, stddev=float(deviation)))


def convnet(x: st.Tensor) -> st.Tensor:
    """Logits `[batch, 10]` of images `[batch, 8, 8, 1]`."""
    with st.name_scope("conv1"):
        h = st.nn.conv2d(x, weights(3, 3, 1, 16), strides=[1, 1, 1, 1], padding="SAME")
        h = st.nn.relu(st.nn.bias_add(h, st.Variable(st.zeros([16]))))
    with st.name_scope("conv2"):
        h = st.nn.conv2d(h, weights(3, 3, 16, 32), strides=[1, 1, 1, 1], padding="SAME")
        h = st.nn.relu(st.nn.bias_add(h, st.Variable(st.zeros([32]))))
    with st.name_scope("pool"):
        h = st.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    with st.name_scope("dense1"):
        h = st.reshape(h, [-1, 4 * 4 * 32])
        h = st.nn.relu(st.matmul(h, weights(4 * 4 * 32, 64)) + st.Variable(st.zeros([64])))
    with st.name_scope("dense2"):
        return st.matmul(h, weights(64, CLASSES)) + st.Variable(st.zeros([CLASSES]))


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The images moved by up to one pixel: what makes a small set teach more."""
    down, right = rng.integers(0, 3, 2)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return padded[:, down : down + 8, right : right + 8]


def train(
    session: st.Session,
    x: st.Tensor,
    logits: st.Tensor,
    data: Digits,
    steps: int,
    batch: int = 64,
    report: Callable[[int], None] = lambda step: None,
) -> None:
    """Initialise and train with Adam; `report` is told of every step."""
    label = st.placeholder(st.int64, [None])
    rate = st.placeholder(st.float32, [])
    loss = st.reduce_mean(
        st.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits)
    )
    step_op = st.train.AdamOptimizer(rate).minimize(loss)
    session.run(st.global_variables_initializer())
    rng = np.random.default_rng(0)
    for step in range(steps):
        pick = rng.integers(0, len(data.labels), batch)
        falling = 3e-3 * (1 - step / steps)
        images = shifted(data.images[pick], rng)
        session.run(step_op, {x: images, label: data.labels[pick], rate: falling})
        report(step + 1)


def accuracy(answers: np.ndarray, data: Digits) -> float:
    """Share of `answers` (logits or their int8 codes, `[count, 10]`) that name the digit."""
    return float(np.mean(np.argmax(answers, 1) == data.labels))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800, help="training steps (800)")
    steps = parser.parse_args().steps
    training, held_out = digits()
    with st.Graph().as_default():
        st.set_random_seed(0)
        x = st.placeholder(st.float32, [None, 8, 8, 1], name="digits")
        logits = convnet(x)
        with st.Session() as session:
            train(session, x, logits, training, steps)
            right = accuracy(session.run(logits, {x: held_out.images}), held_out)
    print(f"held-out accuracy: {right:.1%}")


if __name__ == "__main__":
    main()
