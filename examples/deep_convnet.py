"""The deep convolutional net of TensorFlow's tutorials, on 8x8 handwritten digits.

    python examples/deep_convnet.py [--steps 600] [--device tpu:0]

Two convolutions with pooling, a dense layer with dropout, batch normalisation and Adam, fed by a
shuffling queue; prints the share of held-out digits that it reads.
"""

import argparse

import numpy as np

import systolica as st
from examples.inference import add_device_option, answers
from examples.softmax_regression import digits


def model(images: st.Tensor, training: st.Tensor) -> st.Tensor:
    """Logits [N, 10] of images [N, 64]."""
    h = st.reshape(images, [-1, 8, 8, 1])
    h = st.layers.conv2d(h, 16, 3, padding="same", activation=st.nn.relu)
    h = st.layers.max_pooling2d(h, 2, 2)
    h = st.layers.conv2d(h, 32, 3, padding="same", use_bias=False)
    h = st.nn.relu(st.layers.batch_normalization(h, momentum=0.9, training=training))
    h = st.layers.flatten(st.layers.max_pooling2d(h, 2, 2))
    h = st.layers.dense(h, 64, st.nn.relu)
    h = st.layers.dropout(h, 0.3, training=training)
    return st.layers.dense(h, 10)


def train_and_test(steps: int = 600, batch: int = 50, device: str = "cpu:0") -> float:
    """Held-out accuracy after training, with inference on `device`."""
    images, labels, test_images, test_labels = digits()
    with st.Graph().as_default():
        st.set_random_seed(1)
        picked = st.train.slice_input_producer([images, labels], seed=1)
        queued = st.train.shuffle_batch(picked, batch, 1000, 200, seed=2)
        x = st.placeholder_with_default(queued[0], [None, 64], name="images")
        y = st.placeholder_with_default(queued[1], [None, 10])
        training = st.placeholder_with_default(np.True_, [], name="training")
        logits = model(x, training)
        st.losses.softmax_cross_entropy(y, logits)
        with st.control_dependencies(st.get_collection(st.GraphKeys.UPDATE_OPS)):
            train = st.train.AdamOptimizer(0.003).minimize(st.losses.get_total_loss())
        with st.Session() as sess:
            sess.run(st.global_variables_initializer())
            coord = st.train.Coordinator()
            threads = st.train.start_queue_runners(sess, coord)
            for _ in range(steps):
                sess.run(train)
            coord.request_stop()
            coord.join(threads)
            held_out, seen = ({x: i, training: np.False_} for i in (test_images, images))
            given = answers(sess, logits, held_out, device, seen)
    return float(np.mean(np.argmax(given, 1) == np.argmax(test_labels, 1)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600, help="training steps (600)")
    add_device_option(parser)
    given = parser.parse_args()
    print(f"held-out accuracy: {train_and_test(given.steps, device=given.device):.1%}")


if __name__ == "__main__":
    main()
