"""Recurrent layers of ONNX models as cells: breaks if a gate is taken for another, if a direction
or a first state is lost, or if a layer's steps leave the TPU on their way to the next layer."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import systolica as st
from sw.compiler.unroll import unroll
from sw.runtime.quantize import frozen_unit
from tests.compiler.integer_reference import evaluate

STEPS, BATCH, DEPTH, UNITS = 5, 3, 6, 8
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(rng, kind, name, source, depth, *, directions=1, first=False, **attrs):
    """Nodes and constants of a layer that reads `source`; its outputs are `name`, `name`_h, ..."""
    gates = GATES[kind]
    shapes = {
        "w": (directions, gates * UNITS, depth),
        "r": (directions, gates * UNITS, UNITS),
        "b": (directions, 2 * gates * UNITS),
    }
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    if first:
        shapes |= dict.fromkeys(states, (directions, BATCH, UNITS))
    values = {
        f"{name}_{key}0": (rng.normal(size=shape) * 0.4).astype("f")
        for key, shape in shapes.items()
    }
    inputs = [source, f"{name}_w0", f"{name}_r0", f"{name}_b0"]
    inputs += ["", *(f"{name}_{state}0" for state in states)] if first else []
    outputs = [name, *(f"{name}_{state}" for state in states)]
    node = helper.make_node(kind, inputs, outputs, name=name, hidden_size=UNITS, **attrs)
    return [node], [numpy_helper.from_array(value, key) for key, value in values.items()]


def model(rng, tmp_path, nodes, constants, source):
    """A model file: the layers, then a dense one on `source` `[1, N, H]` or `[N, H]`."""
    axis = numpy_helper.from_array(np.array([0]), "axis")
    dense = numpy_helper.from_array((rng.normal(size=(UNITS, 4)) * 0.4).astype("f"), "dense")
    nodes = [
        *nodes,
        helper.make_node("Squeeze", [source, "axis"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (STEPS, BATCH, DEPTH))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (BATCH, 4))],
        [*constants, dense, axis],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def check(path, rng, programs=1):
    """Cells mean what the op means, and in int8 are few programs on the TPU."""
    graph = st.import_onnx(path)
    x = rng.normal(size=(STEPS, BATCH, DEPTH)).astype("f")
    with st.Session(graph=graph) as session:
        (source,), (y,) = graph.inputs.values(), graph.outputs.values()
        wanted = session.run(y, {source: x})
        cells = unroll(frozen_unit(y, session))
        made = st.quantize(y, [{source: x}])
    assert not any(op.type.startswith("onnx_") for op in cells.graph.get_operations())
    with st.Session(graph=cells.graph) as session:
        found = session.run(cells.fetches[0], {source.name: x})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    with st.Session(graph=made) as session:
        codes = session.run(y.name, {source.name: x})
        assert not session.fallback
        assert len(st.run_report(session).programs) <= programs
    np.testing.assert_array_equal(codes, evaluate(made, {source.name: x}, [y.name])[0])
    assert np.abs(codes - wanted).max() < 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("kind", "attrs"),
    [
        ("LSTM", {}),
        ("LSTM", {"direction": "reverse"}),
        ("GRU", {}),
        ("GRU", {"linear_before_reset": 1}),
        ("RNN", {}),
    ],
)
def test_cells_mean_the_same(rng, tmp_path, kind, attrs, first):
    nodes, constants = recurrent(rng, kind, "layer", "x", DEPTH, first=first, **attrs)
    check(model(rng, tmp_path, nodes, constants, "layer_h"), rng, programs=2 if first else 1)


def test_layers_go_on_step_by_step(rng, tmp_path):
    """Between two layers nothing is stacked and cut again."""
    nodes, constants = recurrent(rng, "LSTM", "one", "x", DEPTH)
    nodes.append(helper.make_node("Squeeze", ["one", "first"], ["between"]))
    constants.append(numpy_helper.from_array(np.array([1]), "first"))
    more, others = recurrent(rng, "LSTM", "two", "between", UNITS)
    check(model(rng, tmp_path, [*nodes, *more], [*constants, *others], "two_h"), rng)


def test_both_directions(rng, tmp_path):
    nodes, constants = recurrent(
        rng, "LSTM", "layer", "x", DEPTH, directions=2, direction="bidirectional"
    )
    nodes.append(helper.make_node("ReduceSum", ["layer_h", "first"], ["sum"], keepdims=1))
    constants.append(numpy_helper.from_array(np.array([0]), "first"))
    path = model(rng, tmp_path, nodes, constants, "sum")
    graph = st.import_onnx(path)
    x = rng.normal(size=(STEPS, BATCH, DEPTH)).astype("f")
    with st.Session(graph=graph) as session:
        (source,), (y,) = graph.inputs.values(), graph.outputs.values()
        wanted = session.run(y, {source: x})
        cells = unroll(frozen_unit(y, session))
    with st.Session(graph=cells.graph) as session:
        np.testing.assert_allclose(
            session.run(cells.fetches[0], {source.name: x}), wanted, rtol=1e-5, atol=1e-6
        )


def test_what_no_cell_says_stays(rng, tmp_path):
    nodes, constants = recurrent(rng, "LSTM", "layer", "x", DEPTH, clip=0.5)
    graph = st.import_onnx(model(rng, tmp_path, nodes, constants, "layer_h"))
    with st.Session(graph=graph) as session:
        unit = frozen_unit(next(iter(graph.outputs.values())), session)
    assert any(op.type == "onnx_LSTM" for op in unroll(unit).graph.get_operations())
