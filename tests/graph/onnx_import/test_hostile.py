"""Malformed and hostile models: one exception, which names the node, soon and in little memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import systolica as st
from tests.conformance.fuzz import attempt, corpus, damaged
from tests.graph.onnx_import.models import model

node = helper.make_node
ModelError = st.errors.ModelError


def _tensor(dims: list[int], raw: bytes = b"", kind: int = TensorProto.FLOAT) -> TensorProto:
    made = TensorProto(name="w", data_type=kind, dims=dims)
    made.raw_data = raw
    return made


def _with(nodes: Any, *stored: TensorProto, **options: Any) -> Any:
    made = model([], {"x": [2, 3]}, ["y"], **options)
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    made.opset_import.add(domain="com.acme", version=1)
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(stored)
    return made


ADD = [node("Add", ["x", "w"], ["y"], name="add1")]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (_with([node("Nonsense", ["x"], ["y"], name="n7")]), "Nonsense.*n7"),
        (_with([node("Relu", ["x"], ["y"], domain="com.acme", name="n7")]), "n7.*com.acme"),
        (_with(ADD), "'w'.*add1"),
        (_with([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])]), "topologic"),
        (_with(ADD, _tensor([2, 3], b"1234")), "too small|bytes of data"),
        (_with(ADD, _tensor([2**40, 2**40], b"1234")), "overflow|bytes of data"),
        (_with(ADD, _tensor([-2, 3], b"1234")), "[Nn]egative"),
        (_with(ADD, _tensor([4, 4], bytes(64))), "add1.*broadcast"),
        (_with([node("Flatten", ["x"], ["y"], axis=9, name="f")]), "'f'"),
        (_with([node("Split", ["x"], ["y"], num_outputs=2**40, name="s")]), "'s'.*num_outputs"),
        (_with([node("Transpose", ["x"], ["y"], perm=[0, 0], name="t")]), "'t'.*perm"),
    ],
)
def test_one_exception_names_the_node(made: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        st.import_onnx(made.SerializeToString())


def test_no_model_a_damaged_one_and_a_missing_file(tmp_path: Path) -> None:
    good = _with([node("Relu", ["x"], ["y"])]).SerializeToString()
    for data in (b"", b"nothing", good[:-7], good[:20], b"\xff" * 100):
        with pytest.raises(ModelError):
            st.import_onnx(data)
    with pytest.raises(ModelError, match="cannot be read"):
        st.import_onnx(tmp_path / "missing.onnx")


def _external(location: str, **entries: str) -> Any:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return _with(ADD, tensor)


def test_external_data_lie_in_the_models_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    outside = tmp_path / "secret.bin"
    outside.write_bytes(bytes(24))
    (folder / "w.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    (folder / "link.bin").symlink_to(outside)

    def load(made: Any) -> Any:
        (folder / "m.onnx").write_bytes(made.SerializeToString())
        return st.import_onnx(folder / "m.onnx")

    graph = load(_external("w.bin"))
    with st.Session(graph=graph) as session:
        found = session.run(graph.outputs["y"], {graph.inputs["x"]: np.zeros([2, 3], np.float32)})
    np.testing.assert_array_equal(found, np.arange(6, dtype=np.float32).reshape(2, 3))
    for location in ("../secret.bin", str(outside), "link.bin"):
        with pytest.raises(ModelError, match="outside the model's folder"):
            load(_external(location))
    for made in (
        _external("missing.bin"),
        _external("."),
        _external("w.bin", offset="8"),
        _external("w.bin", offset="-8"),
        _external("w.bin", length="4"),
        _external("w.bin", offset="x"),
    ):
        with pytest.raises(ModelError, match="external data"):
            load(made)
    with pytest.raises(ModelError, match="no folder"):
        st.import_onnx(_external("w.bin").SerializeToString())


def _huge(kind: str) -> Any:
    many = numpy_helper.from_array(np.asarray([2**40]), "n")
    if kind == "fill":
        return _with([node("ConstantOfShape", ["n"], ["y"])], many)
    if kind == "expand":
        return _with(
            [node("Expand", ["one", "n"], ["y"])],
            many,
            numpy_helper.from_array(np.ones(1, np.float32), "one"),
        )
    return _with(
        [node("Tile", ["some", "n"], ["y"])],
        many,
        numpy_helper.from_array(np.ones(100, np.float32), "some"),
    )


def _functions(levels: int) -> Any:
    """Each function calls the next ten times."""
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]
    made = []
    for level in range(levels):
        steps = [node(f"f{level + 1}", [f"t{i}"], [f"t{i + 1}"], domain="local") for i in range(10)]
        body = steps if level < levels - 1 else [node("Relu", ["t0"], ["t10"])]
        made.append(helper.make_function("local", f"f{level}", ["t0"], ["t10"], body, imports))
    return _with([node("f0", ["x"], ["y"], domain="local", name="bomb")], functions=made)


def _nested(levels: int) -> Any:
    graph = helper.make_graph(
        [node("Relu", ["x"], ["y"])],
        "in",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
    )
    for _ in range(levels):
        branch = node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([branch], "in", [], list(graph.output))
    made = _with(graph.node)
    made.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda: _huge("fill"),
        lambda: _huge("expand"),
        lambda: _huge("tile"),
        lambda: _functions(9),
        lambda: _nested(7),
    ],
    ids=["fill", "expand", "tile", "functions", "nested"],
)
def test_bombs_take_little_memory(make: Any) -> None:
    """Whether they are refused or stay small graphs: no more than the file and 256 MiB."""
    assert attempt(make().SerializeToString()) is None


def test_damaged_models_give_a_graph_or_the_exception(seed: int) -> None:
    """A slice of `make fuzz`."""
    models, end = corpus(), time.monotonic() + 3
    tried = seed * 10**6
    while time.monotonic() < end:
        assert attempt(damaged(tried, models)) is None, f"seed {tried}"
        tried += 1


def test_a_scan_of_rows_without_end_is_refused():
    """Version 8 is written out row by row: no file makes the importer write a billion."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [value("a", TensorProto.FLOAT, [2])],
        [value("b", TensorProto.FLOAT, [2])],
    )
    node = helper.make_node("Scan", ["", "x"], ["y"], num_scan_inputs=1, body=body)
    shape = [1 << 30, 3, 2]
    graph = helper.make_graph(
        [node],
        "g",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=8)
    with pytest.raises(st.errors.ModelError, match="64 at most"):
        st.import_onnx(model)
