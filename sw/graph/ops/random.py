"""Random numbers from a counter: a run's numbers depend on (graph seed, op seed, how often the op
ran in its session) alone (Philox; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011)."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.dtypes import DType, as_dtype, float32
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import get_default_graph
from sw.graph.ops.creation import sizes_vector
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.state import OpState
from sw.graph.tensor import Tensor

Seeds = tuple[int | None, int | None]
_DEFAULT_GRAPH_SEED = 87654321  # TensorFlow's, used when only the op has a seed


def op_seeds(seed: int | None) -> Seeds:
    """(graph seed, op seed) for an op made now; (None, None) asks for numbers that differ from
    session to session."""
    graph = get_default_graph()
    if graph.seed is not None:
        return graph.seed, graph.op_seed() if seed is None else seed
    return (None, None) if seed is None else (_DEFAULT_GRAPH_SEED, seed)


def generator(state: OpState, seeds: Seeds) -> np.random.Generator:
    """The stream of one run of one op."""
    first, second = seeds
    if first is None or second is None:
        first, second = state.container.entropy, zlib.crc32(state.name.encode())
    mask = (1 << 64) - 1
    step = state.next_step()
    return np.random.Generator(
        np.random.Philox(key=[first & mask, second & mask], counter=[0, 0, 0, step])
    )


def _type(inputs: tuple[Tensor, ...], dtype: DType, seeds: Seeds) -> TensorType:
    return TensorType(dtype, constant_shape(inputs[0]))


def _draw(xp: Any, state: OpState, shape: Any, dtype: DType, seeds: Seeds, kind: str) -> Any:
    stream = generator(state, seeds)
    sizes = tuple(int(s) for s in shape)
    wide = np.float64 if dtype.name == "float64" else np.float32
    if kind == "uniform":
        return np.asarray(stream.random(sizes, wide)).astype(dtype.numpy)
    out = np.asarray(stream.standard_normal(sizes, wide))
    while kind == "truncated" and (far := np.abs(out) > 2).any():
        out[far] = stream.standard_normal(int(far.sum()), wide)
    return out.astype(dtype.numpy)


def _integers(
    xp: Any, state: OpState, shape: Any, low: Any, high: Any, dtype: DType, seeds: Seeds
) -> Any:
    sizes = tuple(int(s) for s in shape)
    return generator(state, seeds).integers(int(low), int(high), sizes, dtype=dtype.numpy)


def _register(name: str, kind: str) -> None:
    def kernel(xp: Any, state: OpState, shape: Any, dtype: DType, seeds: Seeds) -> Any:
        return _draw(xp, state, shape, dtype, seeds, kind)

    register_op(
        name,
        kernel=kernel,
        infer=_type,
        gradient=NOT_DIFFERENTIABLE,
        attrs={"dtype": REQUIRED, "seeds": REQUIRED},
        stateful=True,
        host_only=True,
        doc=f"Standard {kind} numbers of shape inputs[0].",
    )


_register("random_standard_normal", "normal")
_register("random_standard_uniform", "uniform")
_register("random_truncated_normal", "truncated")
register_op(
    "random_uniform_int",
    kernel=_integers,
    infer=_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": REQUIRED, "seeds": REQUIRED},
    stateful=True,
    host_only=True,
    doc="Integers of shape inputs[0], uniform in [inputs[1], inputs[2]).",
)


def _floats(op: str, shape: Any, dtype: Any, seed: int | None, name: str | None) -> Any:
    kind = as_dtype(dtype)
    if not kind.is_floating:
        raise InvalidArgumentError(f"{op} makes floating-point numbers, not {kind}")
    return apply(op, sizes_vector(shape), name=name, dtype=kind, seeds=op_seeds(seed))


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normally distributed numbers."""
    out: Tensor = _floats("random_standard_normal", shape, dtype, seed, name) * stddev + mean
    return out


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normally distributed numbers within two standard deviations (others are drawn again)."""
    out: Tensor = _floats("random_truncated_normal", shape, dtype, seed, name) * stddev + mean
    return out


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Numbers uniform in [minval, maxval); `maxval` is 1 for floats, required for integers."""
    kind = as_dtype(dtype)
    out: Tensor
    if kind.is_integer:
        if maxval is None:
            raise InvalidArgumentError("random_uniform of integers needs maxval")
        out = apply(
            "random_uniform_int",
            sizes_vector(shape),
            minval,
            maxval,
            name=name,
            dtype=kind,
            seeds=op_seeds(seed),
        )
        return out
    out = _floats("random_standard_uniform", shape, kind, seed, name)
    high = 1 if maxval is None else maxval
    if isinstance(minval, (int, float)) and (minval, high) == (0, 1):
        return out
    return out * (high - minval) + minval
