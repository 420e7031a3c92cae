"""`make conformance`, second part: what int8 can express of the standard's convolutions, products,
pools and integer operators, on the TPU device, bit for bit against ONNX Runtime's integer kernels.

Weights (every input but the first) become constants, as on any accelerator. A float test is first
quantised by `st.quantize`, or, for a pool, by quantising its input and output; both sides run the
same integer model. ONNX Runtime runs it with its own fusion into integer kernels.

python -m tests.conformance.tpu_nodes --match conv
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.runner import _normalize_tensor

import systolica as st
from hw.tpu import numerics
from sw.compiler.ties import counts_of, widened
from tests.conformance.onnx_nodes import node_tests

PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
INTEGER = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
WITHOUT_ONNX_RUNTIME = ("test_convinteger_with_padding",)
"""It refuses the model: our CPU kernel and the stated output are the oracle."""


class Outcome(NamedTuple):
    """`on_tpu`: a program ran; `fallback`: what ran on the CPU instead, with reasons."""

    name: str
    equal: bool
    on_tpu: bool
    fallback: tuple[tuple[str, str], ...]


def cases() -> list[Any]:
    """The tests of one node of those operators, over [N, C, H, W] or less."""
    wanted = (*PRODUCTS, *POOLS, *INTEGER)
    found = []
    for case in node_tests():
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in wanted and not inexpressible(case):
            found.append(case)
    return found


def inexpressible(case: Any) -> str | None:
    """Why int8 on the TPU does not express a test, None if it does."""
    node, shape = case.model.graph.node[0], np.shape(case.data_sets[0][0][0])
    if "Conv" in node.op_type and len(shape) > 4:
        return "a convolution over three axes is the CPU's; ONNX Runtime has no integer kernel"
    if node.op_type in POOLS and len(node.output) > 1:
        return "positions of the maxima are no int8"
    return None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def bound(case: Any) -> tuple[ModelProto, np.ndarray[Any, Any]]:
    """The model with all inputs but the first as constants, and the first one's value."""
    model = ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = max(model.ir_version, 8)
    values = [np.asarray(_normalize_tensor(v)) for v in case.data_sets[0][0]]
    for info, value in list(zip(model.graph.input, values, strict=True))[1:]:
        model.graph.initializer.append(numpy_helper.from_array(value, info.name))
    del model.graph.input[1:]
    return model, values[0]


def by_onnx_runtime(model: ModelProto, x: Any) -> list[Any]:
    """ONNX Runtime's outputs. Its integer average knows no dilations, and it fails over its own
    fusion into one: then it computes QDQ as it stands."""
    options = onnxruntime.SessionOptions()
    if any(
        n.op_type == "AveragePool" and _attributes(n).get("dilations") for n in model.graph.node
    ):
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[Any] = session.run(None, {session.get_inputs()[0].name: x})
    return found


def _outcome(name: str, graph: Any, fetches: Any, key: Any, x: Any, want: Any) -> Outcome:
    with st.Session(graph=graph) as session:
        have = session.run(fetches, {key: x})
        fallback = tuple((f.op, f.reason) for f in session.fallback)
        ran = bool(session.tpu_reports)
    equal = all(
        np.asarray(a).dtype == b.dtype and np.array_equal(a, b)
        for a, b in zip(have, want, strict=True)
    )
    return Outcome(name, equal, ran, fallback)


def settled_range(model: ModelProto, given: tuple[float, float]) -> tuple[float, float]:
    """The range of an average's result, as `st.quantize` chooses it."""
    counts = positions(model)
    return widened(given, given, counts) if counts else given


def positions(model: ModelProto) -> set[int] | None:
    """How many positions the windows of an average add."""
    pools = [o for o in st.import_onnx(model).get_operations() if o.type == "avg_pool"]
    if pools and not any(o.type == "pad" for o in pools[0].graph.get_operations()):
        return counts_of(pools[0])
    node, shape = model.graph.node[0], model.graph.input[0].type.tensor_type.shape.dim
    attrs, rank = _attributes(node), len(shape) - 2
    pads = attrs.get("pads", (0,) * (2 * rank))
    found = {1}
    for i, side in enumerate(dim.dim_value for dim in shape[2:]):
        size, step, apart = (
            attrs.get(name, (1,) * rank)[i] for name in ("kernel_shape", "strides", "dilations")
        )
        low, high = 0, side
        if attrs.get("count_include_pad"):
            low, high = -pads[i], side + pads[rank + i]
        starts = range(-pads[i], side + pads[rank + i], step)
        taps = [[start + k * apart for k in range(size)] for start in starts]
        numbers = {sum(low <= at < high for at in window) for window in taps}
        found = {a * b for a in found for b in numbers}
    return found - {0}


def integer_model(case: Any, model: ModelProto, x: Any) -> tuple[ModelProto, ModelProto]:
    """A float pool as (what we import, what ONNX Runtime runs): quantise, pool, and the codes."""
    node = model.graph.node[0]
    if x.dtype != np.float32:
        return model, model
    given = result = (float(x.min()), float(x.max()))
    if node.op_type == "AveragePool":  # summed in float32 there: keep clear of ties
        result = settled_range(model, given)
    constants = []
    for names, limits in (("sz", given), ("tw", result)):
        scale, zero = numerics.activation_quantization(*limits)
        constants.append(numpy_helper.from_array(np.asarray(scale, np.float32), names[0]))
        constants.append(numpy_helper.from_array(np.int8(zero), names[1]))
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    output = helper.make_tensor_value_info("y", TensorProto.INT8, None)
    quantise = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])

    def made(nodes: Any, domains: Any = ()) -> ModelProto:
        graph = helper.make_graph(nodes, "pool", [info], [output], constants)
        imports = [helper.make_opsetid("", 22), *domains]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    pool = onnx.NodeProto()
    pool.CopyFrom(node)
    del pool.input[:], pool.output[:]
    if node.op_type == "MaxPool":
        pool.input.append("q")
        pool.output.append("y")
        whole = made([quantise, pool])
        return whole, whole
    pool.input.append("d")
    pool.output.append("p")
    ours = [
        quantise,
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        pool,
        helper.make_node("QuantizeLinear", ["p", "t", "w"], ["y"]),
    ]
    if node.op_type == "AveragePool":
        return made(ours), made(ours)
    if node.op_type == "GlobalMaxPool":  # the same as one large window
        window = helper.make_node("MaxPool", ["q"], ["y"], kernel_shape=x.shape[2:])
        return made(ours), made([quantise, window])
    inputs = ["q", "s", "z", "s", "z"]
    theirs = helper.make_node(
        "QLinearGlobalAveragePool", inputs, ["y"], domain="com.microsoft", channels_last=0
    )
    return made(ours), made([quantise, theirs], [helper.make_opsetid("com.microsoft", 1)])


def run(case: Any) -> Outcome:
    """One test; see the module."""
    model, x = bound(case)
    kind = model.graph.node[0].op_type
    if kind in PRODUCTS:
        graph = st.import_onnx(model)
        with st.Session(graph=graph) as session:
            feeds = [{next(iter(graph.inputs.values())): x}]
            quantised = st.quantize(list(graph.outputs.values()), feeds, session=session)
        names = [t.name for t in graph.outputs.values()]
        fetches = [quantised.get_tensor_by_name(n) for n in names]
        want = by_onnx_runtime(st.export_onnx(fetches, graph=quantised), x)
        key = next(iter(graph.inputs.values())).name
        return _outcome(case.name, quantised, fetches, key, x, want)
    ours, theirs = integer_model(case, model, x) if kind in POOLS else (model, model)
    graph = st.import_onnx(ours, device="/tpu:0")
    if case.name in WITHOUT_ONNX_RUNTIME:
        want = [np.asarray(v) for v in case.data_sets[0][1]]
    else:
        want = by_onnx_runtime(theirs, x)
    key = next(iter(graph.inputs.values()))
    return _outcome(case.name, graph, list(graph.outputs.values()), key, x, want)


def main() -> None:
    """Print a line for each test that is wrong or stayed on the CPU, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--match", default="", help="only tests whose name this pattern finds")
    options = parser.parse_args()
    chosen = [c for c in cases() if re.search(options.match, c.name)]
    outcomes = [run(case) for case in chosen]
    wrong = [o for o in outcomes if not o.equal or not o.on_tpu]
    for outcome in wrong:
        what = "differs" if not outcome.equal else "stayed on the CPU"
        print(f"{outcome.name}: {what} {outcome.fallback}")
    print(f"{len(outcomes) - len(wrong)} of {len(outcomes)} ran on the TPU, equal bit for bit")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
