"""Networks trained on handwritten digits: breaks if int8 on the TPU costs more than a point."""

import numpy as np
import pytest

import systolica as st
from examples import networks
from examples.softmax_regression import digits

SEEN = 200
"""Digits that the TPU reads: where each takes many instructions, not all."""


def normalised(x, training):
    return st.layers.batch_normalization(x, momentum=0.8, training=training)


def resnet_like(x, training):
    """Three residual blocks of 8, 16 and 32 channels, as ResNet-20 has nine."""
    h = st.layers.conv2d(x, 8, 3, padding="same", use_bias=False)
    h = st.nn.relu(normalised(h, training))
    for width, stride in ((8, 1), (16, 2), (32, 2)):
        y = st.layers.conv2d(h, width, 3, stride, padding="same", use_bias=False)
        y = st.nn.relu(normalised(y, training))
        y = st.layers.conv2d(y, width, 3, padding="same", use_bias=False)
        if stride != 1:
            h = st.layers.conv2d(h, width, 1, stride, padding="same")
        h = st.nn.relu(normalised(y, training) + h)
    return st.layers.dense(st.reduce_mean(h, [1, 2]), 10)


def mobilenet_like(x, training):
    """Depthwise and pointwise convolutions in turn, as MobileNet v1 has thirteen of."""
    h = st.layers.conv2d(x, 16, 3, padding="same", use_bias=False)
    h = st.nn.relu6(normalised(h, training))
    for number, (width, stride) in enumerate(((32, 1), (32, 2), (64, 1))):
        shape = [3, 3, h.shape.dims[3], 1]
        w = st.get_variable(
            f"depthwise{number}", shape, initializer=st.truncated_normal_initializer(stddev=0.4)
        )
        h = st.nn.depthwise_conv2d(h, w, (1, stride, stride, 1), "SAME")
        h = st.nn.relu6(normalised(h, training))
        h = st.layers.conv2d(h, width, 1, use_bias=False)
        h = st.nn.relu6(normalised(h, training))
    return st.layers.dense(st.reduce_mean(h, [1, 2]), 10)


def variable(name, *shape):
    spread = shape[0] ** -0.5 if len(shape) > 1 else 0.0
    return st.get_variable(name, shape, initializer=st.random_normal_initializer(stddev=spread))


def dense(name, x, units):
    with st.variable_scope(name):
        return st.matmul(x, variable("w", x.shape.dims[-1], units)) + variable("b", units)


def lstm_like(x, training):
    """An LSTM of 32 units that reads a digit row by row."""
    rows = st.reshape(x, [-1, 8, 8])
    output = cell = None
    for number in range(8):
        z = {}
        for gate in ("input", "forget", "output", "cell"):
            with st.variable_scope(gate, reuse=True if number else None):
                z[gate] = dense("of_rows", rows[:, number], 32)
            if number:
                with st.variable_scope(gate, reuse=True if number > 1 else None):
                    z[gate] += st.matmul(output, variable("of_outputs", 32, 32))
        new = st.sigmoid(z["input"]) * st.tanh(z["cell"])
        cell = new if cell is None else st.sigmoid(z["forget"] + 1.0) * cell + new
        output = st.sigmoid(z["output"]) * st.tanh(cell)
    return dense("logits", output, 10)


def encoder_like(x, training):
    """Two layers of attention with two heads over a digit's rows, GELU, layer normalisation."""
    rows = st.reshape(x, [-1, 8, 8])
    places = st.zeros_like(rows) + np.eye(8, dtype=np.float32)
    h = dense("rows", st.concat([rows, places], 2), 32)
    for layer in range(2):
        with st.variable_scope(f"layer{layer}"):
            mixed = []
            for head in range(2):
                q, k, v = (dense(f"{name}{head}", h, 16) for name in "qkv")
                scores = st.matmul(q, k, transpose_b=True) * 0.25
                mixed.append(st.matmul(networks.softmax_by_products(scores, 3.0), v))
            h = networks.normalise_by_products(h + dense("mixed", st.concat(mixed, 2), 32))
            inner = st.nn.gelu(dense("inner", h, 64))
            h = networks.normalise_by_products(h + dense("outer", inner, 32))
    return dense("logits", st.reduce_mean(h, 1), 10)


@pytest.mark.parametrize(
    ("model", "steps", "rate", "seen"),
    [
        (resnet_like, 100, 0.01, None),
        (mobilenet_like, 100, 0.01, None),
        (lstm_like, 300, 0.01, SEEN),
        (encoder_like, 400, 0.003, SEEN),
    ],
)
def test_int8_reads_digits_as_float_does(model, steps, rate, seen, rng):
    """Top-1 within one point, the whole network one program."""
    images, labels, test_images, test_labels = digits()
    test_images, test_labels = test_images[:seen], test_labels[:seen]
    with st.Graph().as_default():
        st.set_random_seed(2)
        x = st.placeholder(st.float32, [None, 64], name="x")
        y = st.placeholder(st.float32, [None, 10], name="y")
        image = st.reshape(x, [-1, 8, 8, 1])
        with st.variable_scope("net"):
            st.losses.softmax_cross_entropy(y, model(image, True))
        with st.variable_scope("net", reuse=True):
            inferred = model(image, False)
        logits = st.identity(inferred, name="logits")
        with st.control_dependencies(st.get_collection(st.GraphKeys.UPDATE_OPS)):
            train = st.train.AdamOptimizer(rate).minimize(st.losses.get_total_loss())
        with st.Session() as session:
            session.run(st.global_variables_initializer())
            for _ in range(steps):
                picked = rng.integers(0, len(images), 32)
                session.run(train, {x: images[picked], y: labels[picked]})
            float_logits = session.run(logits, {x: test_images})
            quantised = st.quantize(logits, [{x: images[:256]}])
    with st.Session(graph=quantised) as session:
        int8_logits = session.run("logits:0", {"x:0": test_images})
        assert not session.fallback
        assert len(st.run_report(session).programs) == 1
    truth = test_labels.argmax(1)
    accuracies = [(found.argmax(1) == truth).mean() for found in (float_logits, int8_logits)]
    assert accuracies[0] > 0.9
    assert abs(accuracies[0] - accuracies[1]) <= 0.01, accuracies
    assert (float_logits.argmax(1) == int8_logits.argmax(1)).mean() >= 0.98
