"""Small models for the tests, made with the onnx package, and ONNX Runtime as their oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import systolica as st

FLOAT = TensorProto.FLOAT


def model(
    nodes: Any,
    inputs: dict[str, Any],
    outputs: list[str],
    constants: dict[str, Any] | None = None,
    opset: int = 21,
    kind: int = FLOAT,
    functions: Any = (),
) -> onnx.ModelProto:
    """A model of nodes; `inputs` maps names to shapes (or to (element type, shape))."""
    infos = [
        helper.make_tensor_value_info(name, *(v if isinstance(v, tuple) else (kind, v)))
        for name, v in inputs.items()
    ]
    results = [helper.make_value_info(name, onnx.TypeProto()) for name in outputs]
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "test", infos, results, stored)
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("local", 1)],
        functions=functions,
    )
    made.ir_version = 10
    return onnx.shape_inference.infer_shapes(made)


def ours(made: Any, feeds: dict[str, Any], **options: Any) -> list[Any]:
    """The outputs that Systolica computes."""
    graph = st.import_onnx(made, **options)
    with st.Session(graph=graph) as session:
        fed = {graph.inputs[k]: v for k, v in feeds.items()}
        results: list[Any] = session.run(list(graph.outputs.values()), fed)
    return results


def theirs(made: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    """The outputs that ONNX Runtime computes, without its own rewriting."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results: list[Any] = session.run(None, feeds)
    return results
