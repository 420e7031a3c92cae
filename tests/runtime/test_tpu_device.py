"""The TPU as a device of a session: dynamic quantisation, scopes, errors, both engines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import systolica as st
from examples.softmax_regression import train_and_test
from hw.tpu.config import TpuConfig
from hw.tpu.isa import Opcode
from hw.tpu.registers import Error
from sim.engine import TpuError
from sim.functional import FunctionalSimulator
from sim.memory import MemoryTiming
from sim.native.simulator import NativeSimulator
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.layers import Activation, Convolution
from sw.compiler.tpu.network import Network
from sw.runtime.devices.tpu import TpuDevice
from sw.runtime.devices.tpu_memory import relocate

Array = np.ndarray[Any, Any]
TINY = st.SessionConfig(tpu_config="tiny")


def quantised(x: Array, w: Array, product: Callable[[Array, Array], Array]) -> Array:
    """The border's arithmetic written down again, with int64 in the middle; `product` is exact
    and takes codes without their zero point."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    s_x = np.float32((high - low) / 255) if high > low else np.float32(1)
    z_x = int(np.clip(np.rint(-128 - low / float(s_x)), -128, 127))
    q_x = np.clip(np.rint(x / s_x) + z_x, -128, 127).astype(np.int64) - z_x
    s_w = np.abs(w).max(axis=tuple(range(w.ndim - 1))) / np.float32(127)
    s_w = np.where(s_w == 0, np.float32(1), s_w)
    q_w = np.clip(np.rint(w / s_w), -128, 127).astype(np.int64)
    total = product(q_x, q_w).astype(np.int32)
    result: Array = total.astype(np.float32) * (s_x * s_w)
    return result


def bound(x: Array, w: Array, terms: int) -> float:
    """No element is further off than this: half a step of either operand, times the other."""
    step_x = (max(x.max(), 0) - min(x.min(), 0)) / 255
    step_w = np.abs(w).max() / 127
    largest = np.abs(x).max() * step_w / 2 + np.abs(w).max() * step_x
    return float(terms * (largest + step_x * step_w))


@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (5, 7, 9), (3, 64, 10), (70, 20, 33), (2, 300, 4)]
)
@pytest.mark.parametrize("shift", [0.0, 3.0, -9.0])
def test_matmul_is_quantised_at_the_border(
    m: int, k: int, n: int, shift: float, rng: np.random.Generator
) -> None:
    """Equal to the arithmetic bit for bit, and near float; a wrong zero point shows at once."""
    a = (rng.normal(size=(m, k)) + shift).astype(np.float32)
    w = rng.normal(size=(k, n)).astype(np.float32)
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, k])
        with st.device("/tpu:0"):
            y = st.matmul(x, w)
        with st.Session(config=TINY) as session:
            found = session.run(y, {x: a})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, quantised(a, w, np.matmul))
    assert np.abs(found - a @ w).max() <= bound(a, w, k)


CONVOLUTIONS = [
    {"strides": 1, "padding": "SAME"},
    {"strides": 2, "padding": "SAME"},
    {"strides": [1, 2], "padding": "VALID", "dilations": [2, 1]},
    {"strides": 1, "padding": ((2, 0), (1, 3))},
]


@pytest.mark.parametrize("attrs", CONVOLUTIONS)
def test_convolution_is_quantised_at_the_border(
    attrs: dict[str, Any], rng: np.random.Generator
) -> None:
    """Padding is real zero although the zero point is known only at run time."""
    image = (rng.normal(size=(2, 9, 8, 5)) + 1).astype(np.float32)
    w = rng.normal(size=(3, 2, 5, 6)).astype(np.float32)
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, None, None, 5])
        with st.device("/tpu:0"):
            y = st.nn.conv2d(x, w, **attrs)
        exact = st.nn.conv2d(
            p := st.placeholder(st.float64), q := st.placeholder(st.float64), **attrs
        )
        with st.Session(config=TINY) as session:
            found = session.run(y, {x: image})

            def product(a: Array, b: Array) -> Array:
                result: Array = session.run(exact, {p: a.astype(float), q: b.astype(float)})
                return np.rint(result)

            np.testing.assert_array_equal(found, quantised(image, w, product))
            real = product(image * 1e6, w) / 1e6
    assert np.abs(found - real).max() <= bound(image, w, 30)


def test_matmul_of_two_values_of_the_run(rng: np.random.Generator) -> None:
    """New weights patch the program in DRAM; transposes and leading axes are the border's."""
    with st.Graph().as_default():
        x, w = st.placeholder(st.float32), st.placeholder(st.float32, [6, None])
        x.set_shape([None, None, 5])
        with st.device("/tpu:0"):
            y = st.matmul(x, w, transpose_b=True)
        with st.Session(config=TINY) as session:
            for n in (5, 5, 5):
                a = rng.normal(size=(2, 3, n)).astype(np.float32)
                b = rng.normal(size=(6, n)).astype(np.float32)
                np.testing.assert_array_equal(
                    session.run(y, {x: a, w: b}), quantised(a, b.T, np.matmul)
                )
                b *= 3  # the caller's own array, changed in place
                np.testing.assert_array_equal(
                    session.run(y, {x: a, w: b}), quantised(a, b.T, np.matmul)
                )
            (report,) = session.tpu_reports
            assert report.runs == 6 and report.macs == 6 * 6 * 5 * 6
        assert not session.fallback


def test_variables_stay_resident_until_assigned(rng: np.random.Generator) -> None:
    """Weights are written to DRAM once, and again after a training step."""
    writes: list[int] = []

    class Counting(NativeSimulator):
        def write(self, address: int, data: Any) -> None:
            writes.append(data.size)
            super().write(address, data)

    a = rng.normal(size=(2, 8)).astype(np.float32)
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 8])
        v = st.Variable(rng.normal(size=(8, 16)).astype(np.float32))
        with st.device("/tpu:0"):
            y = st.matmul(x, v)
        with st.Session(config=TINY) as session:
            device = session.devices.get(session.list_devices()[-1])
            assert isinstance(device, TpuDevice)
            device.driver._makers = [lambda size: Counting(device.core, size)]
            session.run(v.initializer)
            session.run(y, {x: a})
            assert len(writes) == 3  # image, weights, input
            session.run(y, {x: a})
            assert len(writes) == 4
            session.run(v.assign(v * 2.0))
            doubled = session.run(y, {x: a})
            assert len(writes) == 6
            np.testing.assert_array_equal(doubled, quantised(a, session.run(v), np.matmul))


def test_zeros_and_empty_tensors() -> None:
    """A range of nothing and a batch of nobody."""
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 3])
        with st.device("/tpu:0"):
            y = st.matmul(x, np.zeros((3, 2), np.float32))
        with st.Session(config=TINY) as session:
            np.testing.assert_array_equal(session.run(y, {x: np.zeros((4, 3))}), np.zeros((4, 2)))
            assert session.run(y, {x: np.zeros((0, 3))}).shape == (0, 2)


def test_scopes_mix_and_values_cross_once(rng: np.random.Generator) -> None:
    """CPU to TPU to CPU to TPU, one Send per value; what the TPU has not runs on the CPU and the
    session says why, once."""
    a = rng.normal(size=(4, 6)).astype(np.float32)
    w = rng.normal(size=(6, 6)).astype(np.float32)
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 6])
        with st.device("/tpu:0"):
            first = st.nn.relu(st.matmul(x, w, name="first"), name="cut")
            bent = st.tanh(first, name="bend")
            lonely = st.nn.relu(bent, name="lonely")
            second = st.matmul(lonely, w, name="second") + st.nn.relu(first)
        third = st.reduce_sum(second)
        with st.Session(config=TINY) as session:
            metadata = st.RunMetadata()
            found = session.run([third, first], {x: a}, run_metadata=metadata)
            session.run(first, {x: a})
            places = [part.device for part in metadata.partitions]
    middle = np.maximum(quantised(a, w, np.matmul), 0)
    np.testing.assert_array_equal(found[1], middle)
    expected = quantised(np.maximum(np.tanh(middle), 0), w, np.matmul) + middle
    np.testing.assert_allclose(found[0], expected.sum(), rtol=1e-5)
    assert [place[-5:] for place in places].count("tpu:0") == 2
    assert len(metadata.transfers) == len(set(metadata.transfers)) == 4
    reasons = {item.name: item.reason for item in session.fallback}
    assert "no tanh" in reasons["bend"] and "only behind" in reasons["lonely"]
    assert "quantised tensors only" in reasons["add"]
    assert len(session.fallback) == 3


def test_wrong_types_and_ranks_fall_back_with_their_reason() -> None:
    """double, unknown rank, batched weights, computed shapes: all run, on the CPU."""
    with st.Graph().as_default():
        with st.device("/tpu:0"):
            double = st.matmul(st.constant([[2.0]], st.float64), st.constant([[3.0]], st.float64))
            batched = st.matmul(st.ones([2, 1, 1]) * 2.0, st.ones([2, 1, 1]), name="batched")
            unknown = st.matmul(st.placeholder_with_default(np.ones((1, 1)), None), [[1.0]])
            far = st.nn.conv2d(st.ones([1, 300, 1, 1]), st.ones([1, 1, 1, 1]), [256, 1], "SAME")
        with st.Session(config=TINY) as session:
            values = session.run([double, batched, far])
            assert values[0] == 6 and values[1].tolist() == [[[2]], [[2]]]
            session.run(unknown)
        reasons = [item.reason for item in session.fallback]
    for text in ("not float64", "must be a matrix", "known rank", "hold 255 at most"):
        assert any(text in reason for reason in reasons), text


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_cannot_be_quantised(bad: float) -> None:
    """The error names op, tensor and index; the next run of the session is right."""
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [2, 3], name="x")
        w = st.placeholder(st.float32, [3, 1], name="w")
        with st.device("/tpu:0"):
            y = st.matmul(x, w, name="product")
        good = {x: np.ones((2, 3)), w: np.ones((3, 1))}
        with st.Session(config=TINY) as session:
            a, b = np.ones((2, 3)), np.ones((3, 1))
            a[1, 2] = b[2, 0] = bad
            for feeds, text in (({**good, x: a}, r"'x:0' .*\[1, 2\]"), ({**good, w: b}, r"'w:0'")):
                with pytest.raises(st.errors.InvalidArgumentError, match="'product'.*" + text):
                    session.run(y, feeds)
            np.testing.assert_allclose(session.run(y, good), [[3], [3]], rtol=1e-6)
            with pytest.raises(st.errors.DTypeError, match="x:0"):
                session.run(y, {**good, x: np.full((2, 3), "1")})


def test_program_that_is_too_large() -> None:
    """For the DRAM that the core can address, or for the core itself; smaller ones still run."""
    small = TpuConfig.parse("tiny,address_bits=16")
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 256])
        with st.device("/tpu:0"):
            y = st.matmul(x, np.ones((256, 256), np.float32), name="huge")
            z = st.matmul(x[:, :4], np.ones((4, 4), np.float32))
        with st.Session(config=st.SessionConfig(tpu_config=small)) as session:
            for _ in range(2):
                with pytest.raises(st.errors.ResourceExhaustedError, match="'huge'.*bytes of DRAM"):
                    session.run(y, {x: np.ones((2, 256))})
            assert session.run(z, {x: np.ones((2, 256))})[0, 0] == pytest.approx(4, rel=1e-5)


def test_old_programs_make_room(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """DRAM that is full is filled anew, also when a program needs more than there is at all."""
    monkeypatch.setattr("sw.runtime.devices.tpu_driver.DRAM_BYTES", 1 << 14)
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 4])
        ws = [rng.normal(size=(4, n)).astype(np.float32) for n in (4, 60, 8, 120, 400, 4)]
        with st.device("/tpu:0"):
            ys = [st.matmul(x, w) for w in ws]
        a = rng.normal(size=(5, 4)).astype(np.float32)
        with st.Session(config=TINY) as session:
            for _ in range(2):
                for y, w in zip(ys, ws, strict=True):
                    np.testing.assert_array_equal(
                        session.run(y, {x: a}), quantised(a, w, np.matmul)
                    )


@pytest.mark.parametrize(
    ("config", "kind", "text"),
    [
        ({"tpu": "fpga:tty"}, st.errors.UnimplementedError, "later"),
        ({"tpu_config": "enormous"}, st.errors.InvalidArgumentError, "unknown preset"),
        ({"tpu_config": 8}, st.errors.DTypeError, "TpuConfig"),
        ({"memory": "latency=fast"}, st.errors.InvalidArgumentError, "not a number"),
        ({"memory": 3}, st.errors.InvalidArgumentError, "memory=3"),
    ],
)
def test_bad_configuration(config: dict[str, Any], kind: type[Exception], text: str) -> None:
    """Said when the TPU is first used; the session's CPU works on."""
    with st.Graph().as_default(), st.Session(config=st.SessionConfig(**config)) as session:
        with st.device("/tpu:0"):
            y = st.matmul(st.ones([1, 1]), st.ones([1, 1]))
        with pytest.raises(kind, match=text):
            session.run(y)
        assert session.run(st.constant(2.0)) == 2


def test_unknown_device_is_named() -> None:
    """There is one core."""
    with st.Graph().as_default(), st.Session() as session:
        with st.device("/tpu:1"):
            y = st.matmul(st.ones([1, 1]), st.ones([1, 1]))
        with pytest.raises(st.errors.InvalidArgumentError, match="/tpu:1.*this session has.*tpu:0"):
            session.run(y)


def test_a_stop_of_the_core_names_the_op(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the program runs again afterwards."""
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 2])
        with st.device("/tpu:0"):
            y = st.matmul(x, np.eye(2, dtype=np.float32), name="victim")
        with st.Session(config=TINY) as session:
            before = session.run(y, {x: [[1, 2]]})

            def stop(self: Any, program: int, instructions: int) -> None:
                raise TpuError(Error.DRAM_RANGE, 3, tag=0)

            with monkeypatch.context() as patch:
                patch.setattr(NativeSimulator, "run", stop)
                with pytest.raises(st.errors.InternalError, match="'victim'.*stopped"):
                    session.run(y, {x: [[1, 2]]})
            np.testing.assert_array_equal(session.run(y, {x: [[1, 2]]}), before)


def test_softmax_regression_on_the_tpu() -> None:
    """The slides' fragment: trained on the CPU, inference on the core."""
    assert train_and_test("/tpu:0", steps=600) > 0.9


def test_rtl_end_to_end_and_verified(rng: np.random.Generator) -> None:
    """The Verilated core behind a session, every byte compared with the functional simulator;
    cycles are counted."""
    a = rng.normal(size=(3, 6, 5, 3)).astype(np.float32)
    w = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    v = rng.normal(size=(5, 6)).astype(np.float32)
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 6, 5, 3])
        with st.device("/tpu:0"):
            y = st.nn.relu(st.nn.bias_add(st.nn.conv2d(x, w, 1, "SAME"), np.ones(5, np.float32)))
            y = st.matmul(st.reshape(st.nn.max_pool(y, 2, 2, "SAME"), [-1, 5]), v)
        config = st.SessionConfig("rtl", "tiny", MemoryTiming(latency=9), verify=True)
        with st.Session(config=config) as session:
            found = session.run(y, {x: a})
            report = st.run_report(session)
        with st.Session(config=TINY) as session:
            np.testing.assert_array_equal(session.run(y, {x: a}), found)
    assert [program.engine for program in report.programs] == ["rtl", "rtl"]
    total = report.to_dict()
    assert total["config"] == "tiny" and total["macs"] == 3 * 6 * 5 * 27 * 5 + 3 * 9 * 5 * 6
    assert total["counters"]["useful_macs"] == total["macs"]
    assert 0 < total["utilisation"] <= total["array_active"] < 1
    assert total["cycles"] > 0 and total["dram_read_bytes"] > w.size
    assert total["simulated_cycles_per_second"] > 0 and total["fallback"] == []


def test_verify_names_op_and_first_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that errs in one element is caught."""
    read = FunctionalSimulator.read

    def wrong(self: FunctionalSimulator, address: int, size: int) -> Any:
        data = read(self, address, size)
        data[1] ^= 1
        return data

    monkeypatch.setattr(FunctionalSimulator, "read", wrong)
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 2])
        with st.device("/tpu:0"):
            y = st.matmul(x, np.eye(2, dtype=np.float32), name="checked")
        config = st.SessionConfig(tpu_config="tiny", verify=True)
        with st.Session(config=config) as session:
            with pytest.raises(
                st.errors.InternalError, match=r"'checked'.*\[0, 0, 0, 1\]: functional .*rtl"
            ):
                session.run(y, {x: [[1, 2]]})


def test_relocated_program_is_the_program() -> None:
    """Only addresses differ, by the base."""
    layer = Convolution("c", "x", "y", np.ones((1, 1, 2, 2), np.int8), accumulators=True)
    ends = (Activation("x", (1, 1, 3, 2)), Activation("y", (1, 1, 3, 2)))
    program = compile_network(Network(("x",), (layer,), ("y",), ends), TpuConfig.parse("tiny"))
    moved = relocate(program, 8192)
    assert moved.entry == program.entry + 8192
    assert moved.inputs[0].address == program.inputs[0].address + 8192
    assert moved.image.size == program.image.size
    assert relocate(program, 0) is program
    for old, new in zip(program.instructions, moved.instructions, strict=True):
        offset = new.values.get("address", 0) - old.values.get("address", 0)
        assert offset == (8192 if old.opcode in (Opcode.LOAD, Opcode.STORE) else 0)


def test_the_timing_engine_gives_values_and_the_cycles_of_the_rtl() -> None:
    """Breaks if a session on the timing engine differs from one on the core's Verilog."""
    with st.Graph().as_default() as graph:
        x = st.placeholder(st.float32, [3, 9])
        with st.device("/tpu:0"):
            y = st.matmul(x, st.constant(np.arange(45, dtype=np.float32).reshape(9, 5)))
    value = np.linspace(-1, 2, 27, dtype=np.float32).reshape(3, 9)
    results, cycles = [], []
    for engine in ("timing", "rtl"):
        config = st.SessionConfig(tpu=engine, tpu_config="tiny", memory="latency=17")
        with st.Session(graph=graph, config=config) as session:
            results.append(session.run(y, {x: value}))
            cycles.append(st.run_report(session).total().cycles)
    np.testing.assert_array_equal(*results)
    assert cycles[0] == cycles[1] is not None
