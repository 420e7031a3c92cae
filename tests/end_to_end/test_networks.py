"""Whole networks from the graph language to the core: breaks if a layer leaves the chip, or if one
byte differs from the integer meaning of the quantised graph."""

import numpy as np
import pytest

import systolica as st
from examples import networks
from hw.tpu.config import PRESETS
from hw.tpu.numerics import quantize
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
from sim.timing.simulator import predict
from tests.compiler.integer_reference import evaluate

SMALL = {
    "resnet20": (2, 32, 32, 3),
    "resnet50": (1, 64, 64, 3),
    "mobilenet_v1": (1, 96, 96, 3),
    "inception_v1": (1, 64, 64, 3),
}


@pytest.fixture(scope="module", params=SMALL)
def graph(request):
    return request.param, networks.quantised(request.param, shape=SMALL[request.param])


def test_a_network_is_one_program_and_exact(graph):
    """Nothing falls back, nothing but the two borders is left to the host."""
    name, made = graph
    x = networks.sample(SMALL[name], 7)
    (expected,) = evaluate(made, {"x:0": x}, ["logits:0"])
    with st.Session(graph=made) as session:
        found = session.run("logits:0", {"x:0": x})
        assert not session.fallback
        assert len(st.run_report(session).programs) == 1
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > 8 and np.ptp(expected) > 1


def test_resnet20_on_rtl_equals_both_models(rng):
    """RTL, oracle and timing model agree in every byte and in every cycle."""
    config = PRESETS["default"]
    shape = networks.MODELS["resnet20"].shape
    made = networks.quantised("resnet20")
    program = networks.compiled(made)
    x = networks.sample(shape, 8)
    (port,) = program.inputs
    codes = {port.name: quantize(x, np.float32(port.scale), port.zero_point)}
    memory = MemoryTiming(latency=30, bytes_per_cycle=config.bus_bytes)
    rtl = RtlSimulator(config, 1 << 23, memory=memory)
    oracle = FunctionalSimulator(config, 1 << 23)
    answers = []
    for engine in (rtl, oracle):
        load(engine, program)
        answers.append(execute(engine, program, codes))
    rtl.close()
    (result,) = program.outputs
    np.testing.assert_array_equal(answers[0][0][result.name], answers[1][0][result.name])
    (expected,) = evaluate(made, {"x:0": x}, ["logits:0"])
    real = (answers[0][0][result.name].astype(np.float32) - result.zero_point) * result.scale
    np.testing.assert_allclose(real.ravel(), expected.ravel(), atol=1e-6)
    predicted = predict(program.instructions, config, memory, program=program.entry)
    assert predicted.cycles == answers[0][1].cycles


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v1"])
def test_a_network_comes_back_from_onnx_as_one_program(name):
    """Exported as QDQ and imported: the same bytes, nothing between layers left to the host."""
    shape = (1, 32, 32, 3)
    made = networks.quantised(name, shape=shape)
    x = networks.sample(shape, 9)
    read = st.import_onnx(st.export_onnx(made.get_tensor_by_name("logits:0")))
    for op in read.get_operations():
        op.device = "/tpu:0"
    (logits,) = read.outputs.values()
    (source,) = (op.outputs[0] for op in read.get_operations() if op.type == "placeholder")
    with st.Session(graph=read) as session:
        found = session.run(logits, {source: x})
        assert not session.fallback
        assert len(st.run_report(session).programs) == 1
    np.testing.assert_array_equal(found, evaluate(made, {"x:0": x}, ["logits:0"])[0])
