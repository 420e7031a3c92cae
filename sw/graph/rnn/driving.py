"""Further ways to drive cells: both directions unrolled, state kept between runs, and a loop whose
steps a function decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.control_flow import while_loop
from sw.graph.errors import InvalidArgumentError
from sw.graph.nest import flatten, map_structure, pack
from sw.graph.rnn.cells import RNNCell
from sw.graph.rnn.unrolling import choose_rows, static_rnn
from sw.graph.tensor import Tensor
from sw.graph.tensor_array import TensorArray
from sw.graph.variable_scope import variable_scope


def _backwards(steps: list[Any], lengths: Any) -> list[Any]:
    if lengths is None:
        return steps[::-1]
    joined = apply("stack", *steps, axis=0)
    turned = apply("reverse_sequence", joined, lengths, seq_axis=0, batch_axis=1)
    out: list[Any] = apply("unstack", turned, axis=0, num=len(steps))
    return out


def static_bidirectional_rnn(
    cell_fw: RNNCell,
    cell_bw: RNNCell,
    inputs: Any,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Tensor], Any, Any]:
    """(outputs [batch, forwards + backwards] of each step, state forwards, state backwards) of two
    cells over a list of inputs."""
    steps = [graph_of(inputs).convert(i) for i in inputs]
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw"):
            ahead, state_fw = static_rnn(cell_fw, steps, initial_state_fw, dtype, sequence_length)
        with variable_scope("bw"):
            turned = _backwards(steps, sequence_length)
            behind, state_bw = static_rnn(cell_bw, turned, initial_state_bw, dtype, sequence_length)
        back = _backwards(behind, sequence_length)
        both = zip(ahead, back, strict=True)
        return [apply("concat", a, b, axis=1) for a, b in both], state_fw, state_bw


def static_state_saving_rnn(
    cell: RNNCell,
    inputs: Any,
    state_saver: Any,
    state_name: Any,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Tensor], Any]:
    """`static_rnn` that begins in the state that `state_saver.state(name)` gives and, when its last
    output is computed, hands the new one to `state_saver.save_state(name, value)`. `state_name`:
    one name, or a structure of them like the cell's state."""
    names = flatten(state_name)
    if len(names) != len(flatten(cell.state_size)):
        raise InvalidArgumentError(
            f"{len(names)} names for a state of {len(flatten(cell.state_size))} tensors"
        )
    start = pack(cell.state_size, [state_saver.state(name) for name in names])
    outputs, last = static_rnn(cell, inputs, start, sequence_length=sequence_length, scope=scope)
    parts = zip(names, flatten(last), strict=True)
    saves = [state_saver.save_state(name, value) for name, value in parts]
    graph = graph_of(outputs)
    with graph.control_dependencies(saves):
        outputs[-1] = graph.apply("identity", outputs[-1])
    return outputs, last


def raw_rnn(
    cell: RNNCell,
    loop_fn: Callable[..., Any],
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[TensorArray, Any, Any]:
    """(TensorArray of outputs, last state, last loop state) of a cell in a loop that `loop_fn`
    drives.

    `loop_fn(time, output, state, loop_state) -> (finished [batch], next input, next state, what to
    emit, next loop state)`; at time 0 `output` and `state` are None, the state returned is the
    first, and what is emitted a template (None: like the output). Rows that are finished emit
    zeros and keep their state; the loop ends when all are.
    """
    with variable_scope(scope or "rnn"):
        zero = np.int32(0)
        finished, inputs, state, emits, loop_state = loop_fn(zero, None, None, None)
        graph = graph_of(flatten(inputs))
        state = map_structure(graph.convert, state)
        counted = loop_state is not None
        extra = graph.convert(loop_state if counted else 0)
        if emits is None:
            batch = apply("shape", flatten(inputs)[0])[0]
            sizes = apply("stack", batch, np.int32(cell.output_size), axis=0)
            template: Any = apply("fill", sizes, np.zeros((), flatten(state)[0].dtype.numpy))
            template.set_shape([flatten(inputs)[0].shape[0], cell.output_size])
        else:
            template = map_structure(graph.convert, emits)
        arrays = map_structure(
            lambda t: TensorArray(t.dtype, 0, dynamic_size=True, element_shape=t.shape), template
        )

        def running(time: Any, done: Any, *rest: Any) -> Any:
            return apply("logical_not", apply("reduce_all", done, axis=None, keepdims=False))

        def turn(time: Any, done: Any, given: Any, now: Any, out: Any, keep: Any) -> Any:
            output, new = cell(given, now)
            ended, following, new, emit, more = loop_fn(
                time + 1, output, new, keep if counted else None
            )
            emit = output if emit is None else emit
            alive = apply("logical_not", done)
            blank = map_structure(lambda t: apply("zeros_like", t), emit)
            for a, b in zip(flatten(new), flatten(now), strict=True):
                a.set_shape(b.shape)
            emit, new = choose_rows(alive, emit, blank), choose_rows(alive, new, now)
            writes = [a.write(time, t) for a, t in zip(flatten(out), flatten(emit), strict=True)]
            for a, b in zip(flatten(following), flatten(given), strict=True):
                a.set_shape(b.shape)
            return (
                time + 1,
                apply("logical_or", done, ended),
                pack(given, flatten(following)),
                pack(now, flatten(new)),
                pack(out, writes),
                more if counted else keep,
            )

        start = [graph.convert(zero), graph.convert(finished), inputs, state, arrays, extra]
        *_, last, written, kept = while_loop(running, turn, start)
        return written, last, kept if counted else None
