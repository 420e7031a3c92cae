"""`Estimator`: a model function with fit, evaluate and predict, its state in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.ops.basic import placeholder
from sw.graph.ops.variables import (
    global_variables_initializer,
    local_variables_initializer,
)
from sw.graph.train.global_step import get_or_create_global_step
from sw.runtime.checkpoint.saver import Saver
from sw.runtime.checkpoint.state import latest_checkpoint
from sw.runtime.session import Session


class ModeKeys:
    """What a model function is built for."""

    TRAIN, EVAL, PREDICT = "train", "eval", "infer"


class EstimatorSpec(NamedTuple):
    """What a model function gives: tensors, and for training the operation that does a step.
    `eval_metric_ops`: name to (value, update)."""

    mode: str
    predictions: Any = None
    loss: Any = None
    train_op: Any = None
    eval_metric_ops: Any = None


class Estimator:
    """`model_fn(features, labels, mode, params) -> EstimatorSpec`, where features and labels are
    tensors of a batch. Each call builds a graph of its own and goes on from the last checkpoint in
    `model_dir`."""

    def __init__(
        self, model_fn: Callable[..., EstimatorSpec], model_dir: Any, params: Any = None
    ) -> None:
        self._model_fn, self.model_dir, self.params = model_fn, Path(model_dir), params

    def _graph(self, x: Any, y: Any, mode: str, seed: int) -> Any:
        graph = Graph()
        graph.seed = seed
        with graph.as_default():
            step = get_or_create_global_step()
            features = _places(x)
            labels = None if y is None else placeholder(y.dtype, [None, *y.shape[1:]], "labels")
            spec = self._model_fn(features, labels, mode, self.params)
            needed = {"train": "train_op", "eval": "loss", "infer": "predictions"}[mode]
            if getattr(spec, needed) is None:
                raise InvalidArgumentError(f"the model function gave no {needed} for {mode!r}")
            init = [global_variables_initializer(), local_variables_initializer()]
            saver = Saver()
        return graph, step, features, labels, spec, init, saver

    def _restore(self, session: Session, saver: Saver, init: Any) -> None:
        session.run(init)
        found = latest_checkpoint(str(self.model_dir))
        if found is not None:
            saver.restore(session, found)

    def fit(self, x: Any, y: Any, steps: int, batch_size: int = 32, seed: int = 0) -> Estimator:
        """`steps` more steps over batches of rows in random order; saves at the end."""
        labels = np.asarray(y)
        graph, step, features, place, spec, init, saver = self._graph(
            x, labels, ModeKeys.TRAIN, seed
        )
        with Session(graph=graph) as session:
            self._restore(session, saver, init)
            rng = np.random.default_rng([seed, int(session.run(step))])
            for _ in range(steps):
                rows = rng.integers(0, len(labels), batch_size)
                session.run(spec.train_op, {**_fed(features, x, rows), place: labels[rows]})
            self.model_dir.mkdir(parents=True, exist_ok=True)
            saver.save(session, str(self.model_dir / "model"), global_step=step)
        return self

    train = fit

    def _trained(self) -> None:
        if latest_checkpoint(str(self.model_dir)) is None:
            raise InvalidArgumentError(f"no checkpoint in {str(self.model_dir)!r}: fit first")

    def evaluate(self, x: Any, y: Any, batch_size: int = 100) -> dict[str, Any]:
        """Loss (the mean over rows), metrics and `global_step` of the last checkpoint."""
        self._trained()
        labels = np.asarray(y)
        graph, step, features, place, spec, init, saver = self._graph(x, labels, ModeKeys.EVAL, 0)
        metrics = spec.eval_metric_ops or {}
        with Session(graph=graph) as session:
            self._restore(session, saver, init)
            total = 0.0
            updates = [update for _, update in metrics.values()]
            for rows in _batches(len(labels), batch_size):
                feeds = {**_fed(features, x, rows), place: labels[rows]}
                loss, _ = session.run([spec.loss, updates], feeds)
                total += float(loss) * len(labels[rows])
            found = {n: session.run(value) for n, (value, _) in metrics.items()}
            return {
                "loss": total / len(labels),
                **{n: float(v) for n, v in found.items()},
                "global_step": int(session.run(step)),
            }

    def predict(self, x: Any, batch_size: int = 100) -> Iterator[Any]:
        """The predictions of each row: what `spec.predictions` (a tensor or a dict) holds."""
        self._trained()
        graph, _, features, _, spec, init, saver = self._graph(x, None, ModeKeys.PREDICT, 0)
        count = len(next(iter(x.values())) if isinstance(x, dict) else x)
        with Session(graph=graph) as session:
            self._restore(session, saver, init)
            for rows in _batches(count, batch_size):
                found = session.run(spec.predictions, _fed(features, x, rows))
                if isinstance(found, dict):
                    for at in range(len(next(iter(found.values())))):
                        yield {name: value[at] for name, value in found.items()}
                else:
                    yield from found


def _batches(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _places(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _place(value, name) for name, value in x.items()}
    return _place(x, "features")


def _place(value: Any, name: str) -> Any:
    array = np.asarray(value)
    return placeholder(array.dtype, [None, *array.shape[1:]], name)


def _fed(places: Any, x: Any, rows: Any) -> dict[Any, Any]:
    if isinstance(places, dict):
        return {place: np.asarray(x[name])[rows] for name, place in places.items()}
    return {places: np.asarray(x)[rows]}
