"""The CIFAR-10 net of TensorFlow's tutorial: files, queues, augmentation, summaries, resuming.

    python examples/cifar_convnet.py [--steps 500] [--data DIR] [--logdir DIR] [--device tpu:0]

Reads binary CIFAR-10 files (`--data`: a folder with the real data_batch_1.bin ... test_batch.bin;
otherwise files of drawn shapes in the same format are made), crops, mirrors and recolours images in
threads of the input pipeline, and trains with a monitored session, which with `--logdir` resumes
and writes for TensorBoard. Prints the share of unseen images that it names, by the moving averages
of its weights.
"""

import argparse
import glob
import os
import tempfile

import numpy as np

import systolica as st
from examples.datasets import CIFAR_BYTES, CIFAR_SIDE, drawn_shapes, read_cifar, write_cifar
from examples.inference import add_device_option, answers

CROP = 24


def made_files(folder: str) -> None:
    """Drawn shapes in CIFAR-10's format."""
    for number in range(2):
        write_cifar(f"{folder}/data_batch_{number + 1}.bin", *drawn_shapes(1000, number))
    write_cifar(f"{folder}/test_batch.bin", *drawn_shapes(300, 100))


def scaled(images: np.ndarray) -> np.ndarray:
    """The middle of the images, from [0, 255] to [-1, 1]: as `batches` gives them, unchanged."""
    edge = (CIFAR_SIDE - CROP) // 2
    return images[:, edge : edge + CROP, edge : edge + CROP].astype(np.float32) / 127.5 - 1


def batches(folder: str, batch: int) -> tuple[st.Tensor, st.Tensor]:
    """Shuffled batches of distorted images [batch, 24, 24, 3] and labels [batch]."""
    files = sorted(glob.glob(os.path.join(folder, "data_batch_*.bin")))
    names = st.train.string_input_producer(files, seed=1)
    _, record = st.FixedLengthRecordReader(CIFAR_BYTES).read(names)
    record = st.reshape(record, [CIFAR_BYTES])
    label = st.cast(record[0], st.int64)
    image = st.transpose(st.reshape(record[1:], [3, CIFAR_SIDE, CIFAR_SIDE]), [1, 2, 0])
    image = st.random_crop(st.cast(image, st.float32) / 127.5 - 1, [CROP, CROP, 3])
    image = st.image.random_flip_left_right(image)
    image = st.image.random_brightness(image, 0.2)
    image = st.image.random_contrast(image, 0.8, 1.2)
    images, labels = st.train.shuffle_batch([image, label], batch, 600, 400, seed=2)
    return images, labels


def net(images: st.Tensor) -> st.Tensor:
    """Logits [N, 10]."""
    h = images
    for number, width in enumerate([16, 32, 48]):
        with st.variable_scope(f"conv{number + 1}"):
            h = st.layers.conv2d(h, width, 3, padding="same", activation=st.nn.relu)
            h = st.layers.max_pooling2d(h, 2, 2)
    h = st.layers.dense(st.layers.flatten(h), 64, st.nn.relu, name="hidden")
    return st.layers.dense(h, 10, name="logits")


def train_and_test(
    steps: int = 500,
    folder: str | None = None,
    logdir: str | None = None,
    device: str = "cpu:0",
    batch: int = 32,
) -> float:
    """Accuracy on unseen images."""
    with tempfile.TemporaryDirectory() as made, st.Graph().as_default():
        if folder is None:
            made_files(made)
        data = folder or made
        st.set_random_seed(3)
        images, labels = batches(data, batch)
        x = st.placeholder_with_default(images, [None, CROP, CROP, 3], name="images")
        logits = net(x)
        loss = st.losses.sparse_softmax_cross_entropy(labels, logits)
        step = st.train.get_or_create_global_step()
        rate = st.train.exponential_decay(0.003, step, max(1, steps // 2), 0.3)
        train = st.train.AdamOptimizer(rate).minimize(loss, step)
        averages = st.train.ExponentialMovingAverage(0.98, step)
        with st.control_dependencies([train]):
            train = averages.apply(st.trainable_variables())
        st.summary.scalar("loss", loss)
        st.summary.scalar("learning_rate", rate)
        st.summary.image("input", images)
        for variable in st.trainable_variables():
            st.summary.histogram(variable.op.name.rpartition("/")[0], variable)
        swap = [v.assign(averages.average(v)) for v in st.trainable_variables()]
        hooks = [st.train.StopAtStepHook(last_step=steps), st.train.NanTensorHook(loss)]
        with st.train.MonitoredTrainingSession(
            checkpoint_dir=logdir, hooks=hooks, save_summaries_steps=20, save_checkpoint_steps=100
        ) as session:
            while not session.should_stop():
                session.run(train)
            sess = session.raw_session()
            sess.run(swap)
            unseen, truth = read_cifar(os.path.join(data, "test_batch.bin"))
            seen = scaled(read_cifar(os.path.join(data, "data_batch_1.bin"))[0][:100])
            given = answers(sess, logits, {x: scaled(unseen)}, device, {x: seen})
    return float(np.mean(np.argmax(given, 1) == truth))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500, help="training steps (500)")
    parser.add_argument("--data", help="a folder of CIFAR-10's binary files")
    parser.add_argument("--logdir", help="where checkpoints and summaries go")
    add_device_option(parser)
    given = parser.parse_args()
    accuracy = train_and_test(given.steps, given.data, given.logdir, given.device)
    print(f"accuracy on unseen images: {accuracy:.1%}")


if __name__ == "__main__":
    main()
