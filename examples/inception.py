"""An Inception-style net: blocks of parallel convolutions, joined (Szegedy et al., 2014).

    python examples/inception.py [--steps 400] [--device tpu:0]

Two blocks with batch normalisation, a second classifier in the middle that helps training, and
global average pooling instead of a dense layer; reads 8x8 handwritten digits and prints the share
of held-out ones that it names.
"""

import argparse

import numpy as np

import systolica as st
from examples.inference import add_device_option, answers
from examples.softmax_regression import digits


def conv(x: st.Tensor, width: int, size: int, training: st.Tensor) -> st.Tensor:
    """Convolution, batch normalisation, ReLU."""
    h = st.layers.conv2d(x, width, size, padding="same", use_bias=False)
    return st.nn.relu(st.layers.batch_normalization(h, momentum=0.9, training=training))


def block(x: st.Tensor, widths: tuple[int, int, int, int], training: st.Tensor) -> st.Tensor:
    """1x1, 3x3 and 5x5 (both after 1x1s that narrow), and pooling, side by side."""
    one, three, five, pool = widths
    paths = [
        conv(x, one, 1, training),
        conv(conv(x, three // 2, 1, training), three, 3, training),
        conv(conv(x, five // 2, 1, training), five, 5, training),
        conv(st.layers.max_pooling2d(x, 3, 1, padding="same"), pool, 1, training),
    ]
    return st.concat(paths, 3)


def model(images: st.Tensor, training: st.Tensor) -> tuple[st.Tensor, st.Tensor]:
    """(logits, logits of the second classifier) of images [N, 64]."""
    h = conv(st.reshape(images, [-1, 8, 8, 1]), 16, 3, training)
    with st.variable_scope("block1"):
        h = block(h, (8, 16, 8, 8), training)
    side = st.layers.dense(st.reduce_mean(h, [1, 2]), 10, name="side")
    h = st.layers.max_pooling2d(h, 2, 2)
    with st.variable_scope("block2"):
        h = block(h, (16, 32, 16, 16), training)
    return st.layers.dense(st.reduce_mean(h, [1, 2]), 10, name="logits"), side


def train_and_test(steps: int = 400, batch: int = 50, device: str = "cpu:0") -> float:
    """Held-out accuracy after training."""
    images, labels, test_images, test_labels = digits()
    with st.Graph().as_default():
        st.set_random_seed(1)
        x = st.placeholder(st.float32, [None, 64], name="images")
        y = st.placeholder(st.float32, [None, 10])
        training = st.placeholder_with_default(np.False_, [], name="training")
        logits, side = model(x, training)
        st.losses.softmax_cross_entropy(y, logits)
        st.losses.softmax_cross_entropy(y, side, weights=0.3)
        step = st.train.get_or_create_global_step()
        rate = st.train.cosine_decay(0.01, step, steps)
        with st.control_dependencies(st.get_collection(st.GraphKeys.UPDATE_OPS)):
            train = st.train.AdamOptimizer(rate).minimize(st.losses.get_total_loss(), step)
        with st.Session() as sess:
            sess.run(st.global_variables_initializer())
            rng = np.random.default_rng(1)
            for _ in range(steps):
                pick = rng.integers(0, len(images), batch)
                sess.run(train, {x: images[pick], y: labels[pick], training: True})
            seen = {x: images[:200], training: np.False_}
            given = answers(sess, logits, {x: test_images, training: np.False_}, device, seen)
    return float(np.mean(np.argmax(given, 1) == np.argmax(test_labels, 1)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400, help="training steps (400)")
    add_device_option(parser)
    given = parser.parse_args()
    print(f"held-out accuracy: {train_and_test(given.steps, device=given.device):.1%}")


if __name__ == "__main__":
    main()
