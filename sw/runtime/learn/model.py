"""Models in the manner of Keras: layers in a row, or from inputs to outputs, that train themselves.

A model has a graph and a session of its own; its layers are `st.layers`' classes, or any callables
of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sw.graph import losses, train
from sw.graph.build import apply
from sw.graph.dtypes import as_dtype, int64
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph, GraphKeys
from sw.graph.ops.basic import placeholder, placeholder_with_default
from sw.graph.ops.variables import global_variables_initializer
from sw.graph.tensor import Tensor
from sw.runtime.config import SessionConfig
from sw.runtime.session import Session

_LOSSES: dict[str, Callable[..., Any]] = {
    "mse": losses.mean_squared_error,
    "mean_squared_error": losses.mean_squared_error,
    "categorical_crossentropy": losses.softmax_cross_entropy,
    "sparse_categorical_crossentropy": losses.sparse_softmax_cross_entropy,
    "binary_crossentropy": losses.sigmoid_cross_entropy,
}
_OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: train.GradientDescentOptimizer(0.01),
    "rmsprop": lambda: train.RMSPropOptimizer(0.001),
    "adagrad": lambda: train.AdagradOptimizer(0.01),
    "adam": lambda: train.AdamOptimizer(0.001),
}
_CLASSES = ("categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy")


class Input:
    """A place in a functional model: `Input([784])(...)` is the start of a chain of layers. `shape`
    leaves the batch out."""

    def __init__(self, shape: Sequence[int | None], dtype: Any = "float32") -> None:
        self.shape, self.dtype = tuple(shape), as_dtype(dtype)
        self.source: tuple[Any, list[Input]] | None = None

    def then(self, layer: Callable[..., Any]) -> Input:
        """What `layer` makes of it."""
        return join(layer, self)


def join(layer: Callable[..., Any], *inputs: Input) -> Input:
    """What `layer` makes of several places: a place of its own."""
    made = Input(())
    made.source = (layer, list(inputs))
    return made


class Model:
    """From `inputs` to `outputs`, places joined by layers.

    The outputs of a classifier are logits. `compile` names the loss, the optimiser and whether
    accuracy is measured; `fit` trains, `evaluate` measures, `predict` gives the outputs.
    """

    def __init__(self, inputs: Any, outputs: Input, config: SessionConfig | None = None) -> None:
        self._inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        self._outputs, self._config = outputs, config
        self._session: Session | None = None

    def compile(
        self, optimizer: Any = "sgd", loss: Any = "mse", metrics: Sequence[str] = (), seed: int = 0
    ) -> None:
        """Build the graph. `optimizer`: a name or an `st.train.Optimizer`; `loss`: a name or a
        function of (labels, outputs); `metrics`: () or ("accuracy",)."""
        chosen: Any = _LOSSES.get(loss, loss) if isinstance(loss, str) else loss
        if not callable(chosen):
            raise InvalidArgumentError(f"loss {loss!r} is none of {sorted(_LOSSES)}")
        if isinstance(optimizer, str) and optimizer not in _OPTIMIZERS:
            raise InvalidArgumentError(f"optimizer {optimizer!r} is none of {sorted(_OPTIMIZERS)}")
        if set(metrics) - {"accuracy"}:
            raise InvalidArgumentError(f"metrics {list(metrics)}: only 'accuracy' is known")
        self._measured = tuple(metrics)
        graph = Graph()
        graph.seed = seed
        with graph.as_default():
            self._training = placeholder_with_default(np.bool_(False), [], "training")
            self._x = [placeholder(i.dtype, [None, *i.shape]) for i in self._inputs]
            places: dict[int, Any] = {id(i): x for i, x in zip(self._inputs, self._x, strict=True)}
            self._y = self._build(self._outputs, places)
            sparse = loss == "sparse_categorical_crossentropy"
            kind = int64 if sparse else self._y.dtype
            shape = self._y.shape[:-1] if sparse else self._y.shape
            self._labels = placeholder(kind, shape, "labels")
            self._loss = chosen(self._labels, self._y)
            penalties = graph.get_collection(GraphKeys.REGULARIZATION_LOSSES)
            whole = apply("add_n", self._loss, *penalties) if penalties else self._loss
            self._accuracy = self._right(loss) if metrics else self._loss
            how = _OPTIMIZERS[optimizer]() if isinstance(optimizer, str) else optimizer
            with graph.control_dependencies(graph.get_collection(GraphKeys.UPDATE_OPS)):
                self._train = how.minimize(whole)
            start = global_variables_initializer()
        graph.finalize()
        self._session = Session(graph=graph, config=self._config)
        self._session.run(start)

    def _build(self, place: Input, places: dict[int, Any]) -> Any:
        if id(place) not in places:
            if place.source is None:
                raise InvalidArgumentError("an input of the model's graph is not among its inputs")
            layer, sources = place.source
            given = [self._build(s, places) for s in sources]
            one = given[0] if len(given) == 1 else given
            options = {"training": self._training} if _takes_training(layer) else {}
            places[id(place)] = layer(one, **options)
        return places[id(place)]

    def _right(self, loss: Any) -> Tensor:
        if loss not in _CLASSES:
            raise InvalidArgumentError(f"accuracy needs a loss of classes, not {loss!r}")
        if loss == "binary_crossentropy":
            said, true = apply("greater", self._y, 0.0), apply("greater", self._labels, 0.5)
            hit = apply("equal", said, true)
        else:
            best = apply("argmax", self._y, axis=-1)
            true = (
                self._labels
                if loss.startswith("sparse")
                else apply("argmax", self._labels, axis=-1)
            )
            hit = apply("equal", best, true)
        flags = apply("cast", hit, dtype=as_dtype("float32"))
        out: Tensor = apply("reduce_mean", flags, axis=None, keepdims=False)
        return out

    @property
    def session(self) -> Session:
        """The model's session; raises `InvalidArgumentError` before `compile`."""
        if self._session is None:
            raise InvalidArgumentError("compile the model first")
        return self._session

    def _feeds(self, x: Any, rows: Any) -> dict[Any, Any]:
        parts = x if isinstance(x, (list, tuple)) else [x]
        if len(parts) != len(self._x):
            raise InvalidArgumentError(f"the model has {len(self._x)} inputs, not {len(parts)}")
        return {t: np.asarray(p)[rows] for t, p in zip(self._x, parts, strict=True)}

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int = 32,
        epochs: int = 1,
        shuffle: bool = True,
        validation_data: Any = None,
        seed: int = 0,
    ) -> dict[str, list[float]]:
        """Train; the history: the mean of each measure per epoch, and `val_` ones."""
        session, labels = self.session, np.asarray(y)
        rng = np.random.default_rng(seed)
        history: dict[str, list[float]] = {}
        for _ in range(epochs):
            order = rng.permutation(len(labels)) if shuffle else np.arange(len(labels))
            seen = []
            for start in range(0, len(labels), batch_size):
                rows = order[start : start + batch_size]
                feeds = {**self._feeds(x, rows), self._labels: labels[rows], self._training: True}
                _, *found = session.run([self._train, self._loss, self._accuracy], feeds)
                seen.append((len(rows), *found))
            self._note(history, "", seen)
            if validation_data is not None:
                measured = self.evaluate(validation_data[0], validation_data[1], batch_size)
                for name, value in measured.items():
                    history.setdefault(f"val_{name}", []).append(value)
        return history

    def _note(self, history: dict[str, list[float]], prefix: str, seen: list[Any]) -> None:
        counts = np.asarray([s[0] for s in seen], np.float64)
        for at, name in enumerate(("loss", *self._measured), 1):
            values = np.asarray([s[at] for s in seen], np.float64)
            mean = float((values * counts).sum() / counts.sum())
            history.setdefault(prefix + name, []).append(mean)

    def evaluate(self, x: Any, y: Any, batch_size: int = 32) -> dict[str, float]:
        """The measures over all rows."""
        session, labels = self.session, np.asarray(y)
        seen = []
        for start in range(0, len(labels), batch_size):
            rows = slice(start, start + batch_size)
            feeds = {**self._feeds(x, rows), self._labels: labels[rows]}
            seen.append((len(labels[rows]), *session.run([self._loss, self._accuracy], feeds)))
        history: dict[str, list[float]] = {}
        self._note(history, "", seen)
        return {name: values[0] for name, values in history.items()}

    def predict(self, x: Any, batch_size: int = 32) -> np.ndarray[Any, Any]:
        """The outputs for all rows."""
        first = x[0] if isinstance(x, (list, tuple)) else x
        parts = [
            self.session.run(self._y, self._feeds(x, slice(start, start + batch_size)))
            for start in range(0, len(first), batch_size)
        ]
        return np.concatenate(parts)

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """The values of the trainable variables."""
        graph = self.session.graph
        found: list[Any] = self.session.run(graph.get_collection(GraphKeys.TRAINABLE_VARIABLES))
        return found


class Sequential(Model):
    """Layers one after the other; `input_shape` leaves the batch out."""

    def __init__(
        self,
        layers: Sequence[Callable[..., Any]] = (),
        input_shape: Sequence[int | None] = (),
        config: SessionConfig | None = None,
    ) -> None:
        start = Input(input_shape)
        super().__init__(start, start, config)
        self.layers: list[Any] = []
        for layer in layers:
            self.add(layer)

    def add(self, layer: Callable[..., Any]) -> None:
        """Put a layer behind the last."""
        self.layers.append(layer)
        self._outputs = self._outputs.then(layer)


def _takes_training(layer: Any) -> bool:
    return type(layer).__name__ in ("Dropout", "BatchNormalization")
