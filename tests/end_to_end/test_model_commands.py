"""Commands on model files: break if what a user does with a model of their own lies, loses a key
that machines rely on, or shows a traceback."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import sw.cli
import systolica as st
from hw.tpu.program import TpuProgram


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A float model that ends in softmax, data to calibrate it with, and an input."""
    made = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(5)

    def weights(*shape):
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype("f")

    with st.Graph().as_default(), st.Session():
        x = st.placeholder(st.float32, [None, 8, 8, 3], name="image")
        h = st.nn.conv2d(x, weights(3, 3, 3, 16), 1, "SAME", name="conv")
        h = st.nn.max_pool(st.nn.relu(h + weights(16)), 2, 2, "VALID")
        y = st.matmul(st.reshape(h, [-1, 256]), weights(256, 10), name="dense")
        st.export_onnx(st.nn.softmax(y, name="answer"), made / "net.onnx")
    images = rng.normal(size=(50, 8, 8, 3)).astype("f")
    session = onnxruntime.InferenceSession((made / "net.onnx").read_bytes())
    labels = session.run(None, {"image": images})[0].argmax(1)
    np.savez(made / "data.npz", image=images, labels=labels)
    np.save(made / "image.npy", images[:4])
    return made


@pytest.fixture(scope="module")
def quantised(folder):
    """The same model in int8."""
    monkey = pytest.MonkeyPatch()
    path = folder / "int8.onnx"
    monkey.setattr(sys, "argv", ["systolica", "quantize", str(folder / "net.onnx"), "--calibrate",
                                 str(folder / "data.npz"), "-o", str(path)])  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        sw.cli.main()
    monkey.undo()
    assert not stop.value.code
    return path


@pytest.fixture
def given(folder):
    return ("--input", f"image={folder / 'image.npy'}")


def expected(path, folder):
    session = onnxruntime.InferenceSession(path.read_bytes())
    return session.run(None, {"image": np.load(folder / "image.npy")})[0]


def test_run_on_the_cpu(ok, folder, given, tmp_path):
    data = ok("run", folder / "net.onnx", *given, "--device", "cpu:0", "--output", tmp_path)
    assert (data["engine"], data["cycles"], data["fallback"]) == ("numpy", None, [])
    found = np.load(data["outputs"]["answer"])
    np.testing.assert_allclose(found, expected(folder / "net.onnx", folder), atol=1e-6)


def test_run_a_float_model_on_the_tpu(ok, systolica, folder, given):
    """Quantised as it comes; what the TPU does not take is said once, with the reason."""
    data = ok("run", folder / "net.onnx", *given)
    assert {"softmax"} <= {item["op"] for item in data["fallback"]}
    assert all(item["reason"] and item["name"] for item in data["fallback"])
    assert data["macs"] > 0
    status, out, _ = systolica("run", folder / "net.onnx", *given)
    assert status == 0 and out.count("the TPU has no softmax") == 1


def test_quantize(ok, systolica, folder, tmp_path):
    out = tmp_path / "out.onnx"
    data = ok("quantize", folder / "net.onnx", "--calibrate", folder / "data.npz", "-o", out,
              "--method", "percentile", "--percentile", "99.9", "--bias-correction",
              "--equalize")  # fmt: skip
    assert data["outputs"] == {"model": str(out)} and data["calibration_samples"] == 50
    assert data["accuracy_float"] == 1.0 and data["accuracy_int8"] >= 0.9
    assert [layer["op"] for layer in data["layers"]] == ["conv2d", "matmul"]
    assert all(layer["signal_to_noise"] > 20 for layer in data["layers"])
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["answer"]
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    shown = systolica("quantize", folder / "net.onnx", "--calibrate", folder / "data.npz",
                      "-o", out, "--samples", "10")[1]  # fmt: skip
    assert "SNR (dB)" in shown and "accuracy" in shown


@pytest.mark.parametrize("engine", ["functional", "timing"])
def test_run_int8_gives_onnx_runtimes_bytes(ok, folder, quantised, given, tmp_path, engine):
    data = ok("run", quantised, *given, "--engine", engine, "--output", tmp_path)
    found = np.load(data["outputs"]["answer"])
    # softmax is float arithmetic, before which all codes are the same
    np.testing.assert_allclose(found, expected(quantised, folder), rtol=1e-5)
    assert data["macs"] == 4 * (64 * 27 * 16 + 256 * 10) and data["config"] == "default"
    if engine == "timing":
        assert data["utilisation"] == pytest.approx(data["macs"] / data["cycles"] / 256)
        assert 0 < data["array_active"] <= 1 and data["dram_read_bytes"] > 0
        assert data["simulated_cycles_per_second"] > 0


def test_run_verifies_on_rtl(ok, quantised, given, tmp_path):
    """On a small core; the report of a profiled run is written."""
    data = ok("run", quantised, *given, "--engine", "rtl", "--config", "tiny", "--verify",
              "--profile", tmp_path / "p", "--memory", "latency=9")  # fmt: skip
    assert (data["mismatches"], data["engine"]) == (0, "rtl") and data["cycles"] > 0
    assert all((tmp_path / "p" / name).exists() for name in ("report.html", "profile.json"))


def test_compile_simulate_disasm(ok, quantised, folder, tmp_path):
    """A program file does on the simulator what the model does in a session."""
    out, dump = tmp_path / "net.tpu", tmp_path / "dump"
    data = ok("compile", quantised, "-o", out, "--config", "tiny", "--shape", "image=4x8x8x3",
              "--dump-passes", dump)  # fmt: skip
    assert (data["config"], data["macs"]) == ("tiny", 4 * (64 * 27 * 16 + 256 * 10))
    assert data["inputs"][0]["shape"] == [4, 8, 8, 3]
    assert [item["op"] for item in data["fallback"]] == ["softmax"]
    names = [path.stem.partition("-")[2] for path in sorted(dump.iterdir())]
    assert names[:2] == ["input", "prune"] and "tpu_0_fuse" in names
    assert "quantize_linear" in (dump / "00-input.txt").read_text()
    port = data["inputs"][0]["name"]
    ran = ok("simulate", out, "--engine", "functional", "--input",
             f"{port}={folder / 'image.npy'}", "--output", tmp_path)  # fmt: skip
    (codes,) = (np.load(path) for path in ran["outputs"].values())
    order = np.argsort(codes.reshape(4, 10), axis=1)[:, -1]
    np.testing.assert_array_equal(order, expected(quantised, folder).argmax(1))
    assert len(ok("disasm", out)["instructions"]) == data["instructions"]
    assert TpuProgram.load(out).config.name == "tiny"


def test_run_dumps_its_passes(ok, quantised, given, tmp_path):
    ok("run", quantised, *given, "--dump-passes", tmp_path)
    texts = {path.stem.partition("-")[2]: path.read_text() for path in tmp_path.iterdir()}
    assert {"input", "place", "legalise", "steps"} <= set(texts)
    assert "network(" in texts["steps"]


def test_profile(ok, systolica, quantised, folder, tmp_path):
    data = ok("profile", quantised, "--output", tmp_path, "--memory", "latency=60")
    assert sum(layer["cycles"] for layer in data["layers"]) == pytest.approx(data["cycles"], abs=2)
    assert {"compute", "memory", "weights", "vector"} <= set(data["layers"][0]["needs"])
    assert data["roofline"]["bound"] <= data["cycles"] and data["notes"] == []
    assert json.loads((tmp_path / "profile.json").read_text())["cycles"] == data["cycles"]
    assert "<table>" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "timeline.pftrace").stat().st_size > 1000
    status, out, _ = systolica("profile", folder / "net.onnx", "--output", tmp_path)
    assert status == 0 and "quantised with random values" in out
    assert "bound by" in out and "report.html" in out


def test_explore(ok, systolica, quantised, tmp_path):
    given = ("explore", quantised, "--array", "4,8,9", "--scratchpad", "2,16", "--output")
    data = ok(*given, tmp_path / "sizes.png")
    points = data["points"]
    assert len(points) == 6 and (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")
    bad = [point for point in points if point["array"] == 9]
    assert all("power of two" in point["failure"] for point in bad)
    good = [point for point in points if point["cycles"]]
    for point in good:
        worse = [o for o in good if o["array"] <= point["array"]
                 and o["scratchpad_kib"] <= point["scratchpad_kib"]
                 and o["memory_bytes"] <= point["memory_bytes"]
                 and o["cycles"] <= point["cycles"] and o is not point]  # fmt: skip
        assert point["pareto"] == (not worse)
    small, large = (next(p["cycles"] for p in good if p["array"] == n) for n in (4, 8))
    assert large < small
    assert "best for its size" in systolica(*given, tmp_path / "s.svg")[1]


def test_refusals(refused, folder, quantised, given, tmp_path):
    net, data = folder / "net.onnx", folder / "data.npz"
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    np.savez(tmp_path / "wrong.npz", picture=np.zeros((3, 8, 8, 3), "f"), other=np.zeros(3))
    np.savez(tmp_path / "uneven.npz", image=np.zeros((3, 8, 8, 3), "f"), labels=np.zeros(4, int))
    np.save(tmp_path / "short.npy", np.zeros((1, 8, 8), "f"))
    assert "No such file" in refused("run", tmp_path / "none.onnx", "--random", 1)
    assert "bad.onnx" in refused("run", tmp_path / "bad.onnx", "--random", 1)
    assert "input 'image', float32 (?, 8, 8, 3), is missing" in refused("run", net)
    assert "NAME one of ['image']" in refused("run", net, "--input", "x=a.npy")
    assert "(1, 8, 8)" in refused("run", net, "--input", f"image={tmp_path / 'short.npy'}")
    assert "--device gpu:0" in refused("run", net, *given, "--device", "gpu:0")
    assert "magic" in refused("run", net, *given, "--engine", "magic")
    assert "--profile needs" in refused("run", net, *given, "--profile", tmp_path / "p")
    assert "want NAME=SIZE" in refused("compile", net, "-o", tmp_path / "a.tpu", "--shape", "x")
    assert "not quantised" in refused("compile", net, "-o", tmp_path / "a.tpu")
    assert "unknown preset" in refused("profile", quantised, "--config", "huge")
    assert "--memory" in refused("profile", quantised, "--memory", "latency=soon")
    out = ("-o", tmp_path / "o.onnx")
    assert "quantised already" in refused("quantize", quantised, "--calibrate", data, *out)
    wrong = refused("quantize", net, "--calibrate", tmp_path / "wrong.npz", *out)
    assert "holds ['other', 'picture']" in wrong
    uneven = refused("quantize", net, "--calibrate", tmp_path / "uneven.npz", *out)
    assert "as many samples" in uneven
    assert "not a .npz" in refused("quantize", net, "--calibrate", folder / "image.npy", *out)
    assert "no folder" in refused("quantize", net, "--calibrate", data, "-o", tmp_path / "x" / "y")
    assert "percentile" in refused("quantize", net, "--calibrate", data, *out, "--method",
                                   "percentile", "--percentile", "3")  # fmt: skip
    assert "--array 8,x" in refused("explore", quantised, "--array", "8,x")
    assert "should end in" in refused("explore", quantised, "--output", tmp_path / "a.doc")
    assert not (tmp_path / "o.onnx").exists() and not (tmp_path / "a.tpu").exists()
