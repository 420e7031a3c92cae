"""Recurrent cells: functions of (inputs, state) with variables shared over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.initializers import Constant, Zeros
from sw.graph.nest import flatten, map_structure, pack
from sw.graph.ops.activations import sigmoid, tanh
from sw.graph.ops.creation import zeros
from sw.graph.ops.nn import dropout
from sw.graph.tensor import Tensor
from sw.graph.variable_scope import get_variable, get_variable_scope, variable_scope


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM: cell `c` and output `h`, both [batch, units]."""

    c: Any
    h: Any


class RNNCell:
    """Base of the cells. A cell has `state_size` (a number or a structure of numbers) and
    `output_size`, and overrides `call(inputs, state) -> (output, new state)`.

    Its variables are made at the first call, in the scope given or one named after the class, and
    found again at later calls of the same cell.
    """

    def __init__(self, reuse: Any = None) -> None:
        self._reuse = reuse
        self._scope: Any = None

    @property
    def state_size(self) -> Any:
        """Sizes of the state."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """Size of the output."""
        raise NotImplementedError

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """One step."""
        raise NotImplementedError

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        if self._scope is not None:
            with variable_scope(self._scope, reuse=True):
                return self.call(inputs, state)
        name = scope or _snake(type(self).__name__)
        with variable_scope(name, reuse=self._reuse) as opened:
            result = self.call(inputs, state)
            self._scope = opened
            return result

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """Zeros [batch_size, size] in the structure of the state."""
        return map_structure(lambda size: zeros([batch_size, size], dtype), self.state_size)


def _snake(name: str) -> str:
    out = name[0].lower()
    for letter, after in zip(name[1:], [*name[2:], "a"], strict=True):
        out += f"_{letter.lower()}" if letter.isupper() and after.islower() else letter.lower()
    return out


def linear(parts: Sequence[Any], units: int, start: Any = None) -> Tensor:
    """`concat(parts, 1) @ kernel + bias`, with the variables kernel and bias of the scope."""
    sizes = [p.shape[-1] for p in parts]
    if None in sizes:
        raise ShapeError("a cell needs to know the last size of its inputs")
    kernel = get_variable("kernel", [sum(sizes), units], parts[0].dtype)
    bias = get_variable("bias", [units], parts[0].dtype, start or Zeros())
    joined = parts[0] if len(parts) == 1 else apply("concat", *parts, axis=1)
    out: Tensor = apply("bias_add", apply("matmul", joined, kernel), bias)
    return out


class BasicRNNCell(RNNCell):
    """`output = state = activation(W [inputs, state] + b)`."""

    def __init__(
        self, num_units: int, activation: Callable[[Any], Any] | None = None, reuse: Any = None
    ) -> None:
        super().__init__(reuse)
        self._units, self._activation = int(num_units), activation or tanh

    @property
    def state_size(self) -> int:
        return self._units

    @property
    def output_size(self) -> int:
        return self._units

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        out = self._activation(linear([inputs, state], self._units))
        return out, out


class GRUCell(RNNCell):
    """The gated recurrent unit (Cho et al., EMNLP 2014). The gates start at bias 1."""

    def __init__(
        self, num_units: int, activation: Callable[[Any], Any] | None = None, reuse: Any = None
    ) -> None:
        super().__init__(reuse)
        self._units, self._activation = int(num_units), activation or tanh

    @property
    def state_size(self) -> int:
        return self._units

    @property
    def output_size(self) -> int:
        return self._units

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        with variable_scope("gates"):
            gates = sigmoid(linear([inputs, state], 2 * self._units, Constant(1.0)))
        reset, update = gates[:, : self._units], gates[:, self._units :]
        with variable_scope("candidate"):
            fresh = self._activation(linear([inputs, reset * state], self._units))
        out = update * state + (1.0 - update) * fresh
        return out, out


class BasicLSTMCell(RNNCell):
    """The LSTM without peepholes (Zaremba et al., 2014): gates input, new, forget, output, in this
    order in the kernel; `forget_bias` is added to the forget gate."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Callable[[Any], Any] | None = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(reuse)
        self._units, self._forget = int(num_units), forget_bias
        self._tuple, self._activation = state_is_tuple, activation or tanh

    @property
    def state_size(self) -> Any:
        return LSTMStateTuple(self._units, self._units) if self._tuple else 2 * self._units

    @property
    def output_size(self) -> int:
        return self._units

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        n = self._units
        c, h = state if self._tuple else (state[:, :n], state[:, n:])
        gates = linear([inputs, h], 4 * n)
        i, j, f, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
        c = c * sigmoid(f + self._forget) + sigmoid(i) * self._activation(j)
        h = self._activation(c) * sigmoid(o)
        return h, LSTMStateTuple(c, h) if self._tuple else apply("concat", c, h, axis=1)


class LSTMCell(RNNCell):
    """The LSTM with optional peepholes, clipping and projection (Sak et al., 2014)."""

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Callable[[Any], Any] | None = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(reuse)
        self._units, self._peepholes, self._clip = int(num_units), use_peepholes, cell_clip
        self._initializer, self._forget = initializer, forget_bias
        self._projected, self._projection_clip = num_proj, proj_clip
        self._tuple, self._activation = state_is_tuple, activation or tanh

    @property
    def state_size(self) -> Any:
        sizes = LSTMStateTuple(self._units, self.output_size)
        return sizes if self._tuple else sum(sizes)

    @property
    def output_size(self) -> int:
        return self._projected or self._units

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        with variable_scope(get_variable_scope(), initializer=self._initializer):
            return self._step(inputs, state)

    def _step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        n = self._units
        c, h = state if self._tuple else (state[:, :n], state[:, n:])
        gates = linear([inputs, h], 4 * n)
        i, j, f, o = (gates[:, k * n : (k + 1) * n] for k in range(4))

        def peep(name: str, cell: Any) -> Any:
            return get_variable(f"w_{name}_diag", [n], inputs.dtype) * cell

        if self._peepholes:
            i, f = i + peep("i", c), f + peep("f", c)
        c = c * sigmoid(f + self._forget) + sigmoid(i) * self._activation(j)
        c = _clipped(c, self._clip)
        if self._peepholes:
            o = o + peep("o", c)
        h = self._activation(c) * sigmoid(o)
        if self._projected is not None:
            with variable_scope("projection"):
                weights = get_variable("kernel", [n, self._projected], inputs.dtype)
                h = _clipped(apply("matmul", h, weights), self._projection_clip)
        return h, LSTMStateTuple(c, h) if self._tuple else apply("concat", c, h, axis=1)


def _clipped(value: Any, bound: float | None) -> Any:
    if bound is None:
        return value
    return apply("maximum", apply("minimum", value, float(bound)), -float(bound))


class MultiRNNCell(RNNCell):
    """Cells stacked: each takes the output of the one before. The state is a tuple of theirs."""

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not cells:
            raise InvalidArgumentError("MultiRNNCell needs at least one cell")
        if not state_is_tuple:
            raise InvalidArgumentError("MultiRNNCell: only state_is_tuple=True is supported")
        self._cells = list(cells)

    @property
    def state_size(self) -> Any:
        return tuple(c.state_size for c in self._cells)

    @property
    def output_size(self) -> int:
        return self._cells[-1].output_size

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        states = []
        for number, (cell, own) in enumerate(zip(self._cells, state, strict=True)):
            with variable_scope(f"cell_{number}"):
                inputs, new = cell(inputs, own)
            states.append(new)
        return inputs, tuple(states)


class _Wrapper(RNNCell):
    """A cell around another, without variables of its own."""

    def __init__(self, cell: RNNCell) -> None:
        super().__init__()
        self._cell = cell

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> int:
        return self._cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)


class DropoutWrapper(_Wrapper):
    """Dropout of a cell's inputs, outputs and state, other at every step; the probabilities may be
    tensors."""

    def __init__(
        self,
        cell: RNNCell,
        input_keep_prob: Any = 1.0,
        output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(cell)
        self._keep = (input_keep_prob, output_keep_prob, state_keep_prob)
        self._seed, self._drawn = seed, 0

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        output, new = self._cell(self._drop(inputs, 0), state, scope)
        if not _is_one(self._keep[2]):
            new = pack(new, [self._drop(part, 2 + i) for i, part in enumerate(flatten(new))])
        return self._drop(output, 1), new

    def _drop(self, value: Any, which: int) -> Any:
        keep = self._keep[min(which, 2)]
        if _is_one(keep):
            return value
        self._drawn += 1  # else unrolled steps would share their masks
        return dropout(value, keep, seed=None if self._seed is None else self._seed + self._drawn)


def _is_one(keep: Any) -> bool:
    return isinstance(keep, (int, float)) and keep == 1


class ResidualWrapper(_Wrapper):
    """A cell whose inputs are added to its outputs."""

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        output, new = self._cell(inputs, state, scope)
        return output + inputs, new


class DeviceWrapper(_Wrapper):
    """A cell on a device."""

    def __init__(self, cell: RNNCell, device: Any) -> None:
        super().__init__(cell)
        self._device = device

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        with graph_of(flatten(inputs)).device(self._device):
            return self._cell(inputs, state, scope)
