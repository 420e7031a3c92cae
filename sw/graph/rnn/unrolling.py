"""Cells over time: unrolled in the graph, or in a loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.control_flow import while_loop
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.nest import flatten, map_structure, pack
from sw.graph.rnn.cells import RNNCell
from sw.graph.tensor import Tensor
from sw.graph.tensor_array import TensorArray
from sw.graph.variable_scope import variable_scope


def _start(cell: RNNCell, inputs: Tensor, state: Any, dtype: Any, batch: Any) -> Any:
    if state is not None:
        return map_structure(graph_of((inputs,)).convert, state)
    return cell.zero_state(batch, inputs.dtype if dtype is None else dtype)


def choose_rows(running: Tensor, new: Any, old: Any) -> Any:
    """`new` in the rows that still run, else `old`."""

    def one(a: Tensor, b: Tensor) -> Tensor:
        flag = running
        for _ in range((a.shape.rank or 2) - 1):
            flag = apply("expand_dims", flag, axis=-1)
        out: Tensor = apply("where", flag, a, b)
        out.set_shape(b.shape)
        return out

    return map_structure(one, new, old)


def static_rnn(
    cell: RNNCell,
    inputs: Any,
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """(outputs of each step, last state) of `cell` over a list of inputs [batch, size].

    Past `sequence_length` [batch] a row's outputs are zero and its state stays.
    """
    steps = list(inputs)
    if not steps:
        raise InvalidArgumentError("static_rnn needs at least one input")
    graph = graph_of(flatten(steps))
    steps = [map_structure(graph.convert, s) for s in steps]
    with variable_scope(scope or "rnn"):
        first = flatten(steps[0])[0]
        batch = first.shape[0]
        count = apply("shape", first)[0] if batch is None else batch
        state = _start(cell, first, initial_state, dtype, count)
        outputs = []
        for time, step in enumerate(steps):
            output, new = cell(step, state)
            if sequence_length is not None:
                lengths = graph.convert(sequence_length)
                running = apply("less", np.asarray(time, lengths.dtype.numpy), lengths)
                zero = map_structure(lambda t: apply("zeros_like", t), output)
                output, new = choose_rows(running, output, zero), choose_rows(running, new, state)
            outputs.append(output)
            state = new
    return outputs, state


def dynamic_rnn(
    cell: RNNCell,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """(outputs, last state) of `cell` over `inputs` [batch, time, size] (`time_major`: [time,
    batch, size]), whose times may be unknown until run. See `static_rnn` for `sequence_length`."""
    graph = graph_of((inputs,))
    with variable_scope(scope or "rnn"):
        x = graph.convert(inputs)
        if x.shape.rank is None or x.shape.rank < 3:
            raise ShapeError(f"dynamic_rnn needs inputs [batch, time, ...], not {x!r}")
        swap = (1, 0, *range(2, x.shape.rank))
        x = x if time_major else apply("transpose", x, perm=swap)
        sizes = apply("shape", x)
        times = sizes[0] if x.shape[0] is None else graph.convert(np.int32(x.shape[0]))
        batch = sizes[1] if x.shape[1] is None else x.shape[1]
        state = _start(cell, x, initial_state, dtype, batch)
        state = map_structure(graph.convert, state)
        if x.shape[1] is None:
            for part in flatten(state):
                part.set_shape([None, *part.shape[1:]])
        lengths = None if sequence_length is None else graph.convert(sequence_length)
        rows = TensorArray(x.dtype, times).unstack(x)
        written = TensorArray(x.dtype, times, element_shape=[x.shape[1], cell.output_size])

        def body(time: Any, arrays: TensorArray, now: Any) -> Any:
            step = rows.read(time)
            step.set_shape(x.shape[1:])
            output, new = cell(step, now)
            for a, b in zip(flatten(new), flatten(now), strict=True):
                a.set_shape(b.shape)
            if lengths is not None:
                running = apply("less", apply("cast", time, dtype=lengths.dtype), lengths)
                zero = apply("zeros_like", output)
                output, new = choose_rows(running, output, zero), choose_rows(running, new, now)
            return time + 1, arrays.write(time, output), pack(now, flatten(new))

        _, done, last = while_loop(
            lambda time, *_: time < times, body, [graph.convert(np.int32(0)), written, state]
        )
        outputs = done.stack()
        outputs.set_shape([x.shape[0], x.shape[1], cell.output_size])
        return outputs if time_major else apply("transpose", outputs, perm=(1, 0, 2)), last


def bidirectional_dynamic_rnn(
    cell_fw: RNNCell,
    cell_bw: RNNCell,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """((outputs forwards, backwards), (state forwards, backwards)) of two cells, the second over
    each row from its end to its start."""
    graph = graph_of((inputs,))
    along = 0 if time_major else 1

    def backwards(value: Any) -> Any:
        if sequence_length is None:
            return apply("reverse", value, axis=(along,))
        how: dict[str, Any] = {"seq_axis": along, "batch_axis": 1 - along}
        return apply("reverse_sequence", value, sequence_length, **how)

    with variable_scope(scope or "bidirectional_rnn"):
        x = graph.convert(inputs)
        with variable_scope("fw"):
            ahead, state_fw = dynamic_rnn(
                cell_fw, x, sequence_length, initial_state_fw, dtype, time_major=time_major
            )
        with variable_scope("bw"):
            behind, state_bw = dynamic_rnn(
                cell_bw, backwards(x), sequence_length, initial_state_bw, dtype,
                time_major=time_major,
            )  # fmt: skip
    return (ahead, backwards(behind)), (state_fw, state_bw)
