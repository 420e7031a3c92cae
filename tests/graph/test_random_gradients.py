"""Gradients against central differences over random shapes: broadcasting, reductions, products,
windows, gathers, sequences."""

from typing import Any

import numpy as np
import pytest

import systolica as st


def sizes(rng: Any, count: int, low: int = 1, high: int = 4) -> list[int]:
    return [int(v) for v in rng.integers(low, high + 1, count)]


def broadcast(rng: Any) -> tuple[list[Any], Any]:
    """Two shapes that broadcast: axes dropped or of size 1 at random."""
    whole = sizes(rng, int(rng.integers(1, 4)))
    shapes = []
    for _ in range(2):
        part = [d if rng.uniform() < 0.7 else 1 for d in whole]
        shapes.append(part[int(rng.integers(0, len(part) + 1)) :])
    op = (st.add, st.subtract, st.multiply, st.div, st.squared_difference)[rng.integers(5)]
    return [rng.uniform(0.5, 2, s) for s in shapes], lambda a, b: op(a, b)


def reduction(rng: Any) -> tuple[list[Any], Any]:
    shape = sizes(rng, int(rng.integers(1, 4)))
    axis = None if rng.uniform() < 0.3 else int(rng.integers(-len(shape), len(shape)))
    op = (st.reduce_sum, st.reduce_mean, st.reduce_max, st.reduce_prod,
          st.reduce_logsumexp)[rng.integers(5)]  # fmt: skip
    keep = bool(rng.integers(2))
    value = (rng.permutation(int(np.prod(shape))) * 0.3 + 0.5).reshape(shape)
    return [value], lambda x: op(x, axis, keepdims=keep)


def product(rng: Any) -> tuple[list[Any], Any]:
    batch, m, k, n = sizes(rng, int(rng.integers(0, 2))), *sizes(rng, 3)
    ta, tb = bool(rng.integers(2)), bool(rng.integers(2))
    a = rng.standard_normal([*batch, *((k, m) if ta else (m, k))])
    b = rng.standard_normal([*batch, *((n, k) if tb else (k, n))])
    return [a, b], lambda x, y: st.matmul(x, y, ta, tb)


def convolution(rng: Any) -> tuple[list[Any], Any]:
    h, w, c, o = sizes(rng, 4, 2, 5)
    kernel, strides = sizes(rng, 2, 1, 2), sizes(rng, 2, 1, 3)
    padding = ("SAME", "VALID")[rng.integers(2)]
    x, k = rng.standard_normal([1, h, w, c]), rng.standard_normal([*kernel, c, o])
    return [x, k], lambda a, b: st.nn.conv2d(a, b, [1, *strides, 1], padding)


def volume(rng: Any) -> tuple[list[Any], Any]:
    d, h, w = sizes(rng, 3, 2, 4)
    kernel, strides = sizes(rng, 3, 1, 2), sizes(rng, 3, 1, 2)
    padding = ("SAME", "VALID")[rng.integers(2)]
    x, k = rng.standard_normal([1, d, h, w, 2]), rng.standard_normal([*kernel, 2, 1])
    return [x, k], lambda a, b: st.nn.conv3d(a, b, [1, *strides, 1], padding)


def pooling(rng: Any) -> tuple[list[Any], Any]:
    h, w, c = sizes(rng, 3, 2, 5)
    kernel, strides = sizes(rng, 2, 1, 2), sizes(rng, 2, 1, 3)
    op = (st.nn.max_pool, st.nn.avg_pool)[rng.integers(2)]
    padding = ("SAME", "VALID")[rng.integers(2)]
    value = (rng.permutation(h * w * c) * 0.3).reshape(1, h, w, c)
    return [value], lambda x: op(x, [1, *kernel, 1], [1, *strides, 1], padding)


def gathering(rng: Any) -> tuple[list[Any], Any]:
    shape = sizes(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(len(shape)))
    index = rng.integers(0, shape[axis], sizes(rng, int(rng.integers(0, 3))))
    return [rng.standard_normal(shape)], lambda x: st.gather(x, index, axis=axis)


def softmax(rng: Any) -> tuple[list[Any], Any]:
    rows, classes = sizes(rng, 2, 2, 5)
    labels = rng.integers(0, classes, rows)
    loss = st.nn.sparse_softmax_cross_entropy_with_logits
    return [rng.standard_normal((rows, classes))], lambda x: loss(labels=labels, logits=x)


def sequence(rng: Any) -> tuple[list[Any], Any]:
    """CTC of random lengths and labels."""
    steps, rows, classes = int(rng.integers(4, 7)), int(rng.integers(1, 3)), 4
    labels = [rng.integers(0, classes - 1, rng.integers(1, 3)) for _ in range(rows)]
    places = [(i, j) for i, row in enumerate(labels) for j in range(len(row))]
    flat = np.concatenate(labels).astype(np.int32)
    lengths = rng.integers(4, steps + 1, rows).astype(np.int32)

    def make(x: Any) -> Any:
        truth = st.SparseTensor(places, flat, [rows, 2])
        return st.nn.ctc_loss(truth, x, lengths)

    return [rng.standard_normal((steps, rows, classes))], make


FAMILIES = (broadcast, reduction, product, convolution, volume, pooling, gathering, softmax,
            sequence)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("number", range(6))
def test_gradient_over_random_shapes(family: Any, number: int, seed: int) -> None:
    rng = np.random.default_rng([seed, number])
    inputs, make = family(rng)
    with st.Graph().as_default(), st.Session() as session:
        tensors = [st.placeholder(st.float64, np.shape(v)) for v in inputs]
        out = make(*tensors)
        value = session.run(out, dict(zip(tensors, inputs, strict=True)))
        loss = st.reduce_sum(out * rng.standard_normal(value.shape))
        grads = [st.convert_to_tensor(g) for g in st.gradients(loss, tensors)]
        got = session.run(grads, dict(zip(tensors, inputs, strict=True)))
        evaluate = session.make_callable(loss, tensors)
        for position, start in enumerate(inputs):
            want = np.zeros(np.shape(start))
            for at in np.ndindex(want.shape):
                ends = []
                for step in (1e-6, -1e-6):
                    moved = [np.array(v) for v in inputs]
                    moved[position][at] += step
                    ends.append(evaluate(*moved))
                want[at] = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(got[position], want, rtol=2e-5, atol=1e-6)
