"""Whole models: Sequential, functional, Estimator."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import systolica as st

RNG = np.random.default_rng(9)
DIGITS = load_digits()
X = (DIGITS.data / 16).astype(np.float32)
Y = DIGITS.target.astype(np.int64)
relu = st.nn.relu


def test_sequential_learns() -> None:
    """Digits, with dropout and batch normalisation that know training from use."""
    model = st.keras.Sequential(
        [
            st.layers.Dense(48, use_bias=False),
            st.layers.BatchNormalization(momentum=0.9),
            relu,
            st.layers.Dropout(0.2),
            st.layers.Dense(10),
        ],
        input_shape=[64],
    )
    model.compile(
        st.train.AdamOptimizer(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(X[:1200], Y[:1200], epochs=5, validation_data=(X[1200:], Y[1200:]))
    assert history["loss"][-1] < history["loss"][0] / 4
    assert history["val_accuracy"][-1] > 0.9
    measured = model.evaluate(X[1200:], Y[1200:])
    right = (model.predict(X[1200:]).argmax(1) == Y[1200:]).mean()
    assert measured["accuracy"] == pytest.approx(right, abs=1e-6)
    assert [w.shape for w in model.get_weights()][0] == (64, 48)


def test_functional_model_of_two_inputs() -> None:
    """Two places joined, and used twice; regression."""
    a, b = st.keras.Input([3]), st.keras.Input([2])
    both = st.keras.join(lambda parts: st.concat(parts, 1), a, b)
    hidden = both.then(st.layers.Dense(16, activation=st.nn.tanh))
    again = st.keras.join(lambda parts: st.concat(parts, 1), hidden, a)
    model = st.keras.Model([a, b], again.then(st.layers.Dense(1)))
    model.compile(st.train.AdamOptimizer(0.02), "mse")
    x, z = RNG.standard_normal((300, 3)), RNG.standard_normal((300, 2))
    y = (x[:, :1] * 2 - z[:, 1:]).astype(np.float32)
    inputs = [x.astype(np.float32), z.astype(np.float32)]
    model.fit(inputs, y, epochs=30)
    assert model.evaluate(inputs, y)["loss"] < 0.02
    assert model.predict(inputs).shape == (300, 1)


def test_other_losses_and_errors() -> None:
    binary = st.keras.Sequential([st.layers.Dense(1)], [64])
    binary.compile("adam", "binary_crossentropy", ["accuracy"])
    binary.fit(X[:200], (Y[:200, None] > 4).astype(np.float32), epochs=1)
    dense = st.keras.Sequential([st.layers.Dense(10)], [64])
    dense.compile("rmsprop", "categorical_crossentropy", ["accuracy"])
    assert 0 <= dense.evaluate(X[:50], np.eye(10)[Y[:50]])["accuracy"] <= 1
    with pytest.raises(st.errors.InvalidArgumentError, match="compile the model first"):
        st.keras.Sequential([relu], [3]).predict(X)
    for bad, why in (({"loss": "mist"}, "loss 'mist'"), ({"optimizer": "x"}, "optimizer 'x'"),
                     ({"metrics": ["f1"]}, "only 'accuracy'"),
                     ({"metrics": ["accuracy"]}, "a loss of classes")):  # fmt: skip
        with pytest.raises(st.errors.InvalidArgumentError, match=why):
            st.keras.Sequential([relu], [3]).compile(**bad)
    with pytest.raises(st.errors.InvalidArgumentError, match="1 inputs, not 2"):
        dense.predict([X, X])


def classifier(features: Any, labels: Any, mode: str, params: Any) -> Any:
    logits = st.layers.dense(features["pixels"], 10)
    predictions = {"digit": st.argmax(logits, 1), "logits": logits}
    if mode == st.estimator.ModeKeys.PREDICT:
        return st.estimator.EstimatorSpec(mode, predictions)
    loss = st.losses.sparse_softmax_cross_entropy(labels, logits)
    step = st.train.AdamOptimizer(params["rate"]).minimize(
        loss, global_step=st.train.get_global_step()
    )
    metrics = {"accuracy": st.metrics.accuracy(labels, predictions["digit"])}
    return st.estimator.EstimatorSpec(mode, predictions, loss, step, metrics)


def test_estimator_fits_evaluates_and_predicts(tmp_path: Path) -> None:
    """Its state is the folder: another estimator of the same folder goes on where one stopped."""
    first = st.estimator.Estimator(classifier, tmp_path, {"rate": 0.02})
    with pytest.raises(st.errors.InvalidArgumentError, match="fit first"):
        first.evaluate({"pixels": X}, Y)
    first.fit({"pixels": X[:1200]}, Y[:1200], steps=60)
    early = first.evaluate({"pixels": X[1200:]}, Y[1200:])
    second = st.estimator.Estimator(classifier, tmp_path, {"rate": 0.02})
    second.fit({"pixels": X[:1200]}, Y[:1200], steps=140)
    late = second.evaluate({"pixels": X[1200:]}, Y[1200:])
    assert (early["global_step"], late["global_step"]) == (60, 200)
    assert late["loss"] < early["loss"] and late["accuracy"] > 0.85
    said = [p["digit"] for p in second.predict({"pixels": X[1200:]})]
    assert (np.asarray(said) == Y[1200:]).mean() == pytest.approx(late["accuracy"], abs=1e-6)


def test_a_model_function_that_gives_too_little(tmp_path: Path) -> None:
    def empty(features: Any, labels: Any, mode: str, params: Any) -> Any:
        return st.estimator.EstimatorSpec(mode)

    with pytest.raises(st.errors.InvalidArgumentError, match="gave no train_op for 'train'"):
        st.estimator.Estimator(empty, tmp_path).fit(X, Y, 1)
