"""The command line: breaks if a command lies about success or shows a traceback or bad JSON."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sw.cli
from bench.layers import make_case
from hw.tpu.config import PRESETS
from hw.tpu.isa import Opcode, make
from hw.tpu.program import Port, TpuProgram
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.rtl.toolchain import Tool, ToolMissing
from sw.compiler.tpu.compile import compile_network

TINY = PRESETS["tiny"]


@pytest.fixture
def case():
    sizes = {"images": 1, "height": 6, "width": 5, "cin": 6, "cout": 5}
    return make_case("conv", **sizes, kernel=3, stride=1, padding=1)


@pytest.fixture
def program(case, tmp_path):
    """A program file for the tiny core; its input is beside it."""
    compile_network(case.network, TINY).save(tmp_path / "conv.tpu")
    np.save(tmp_path / "x.npy", case.inputs["x"])
    return tmp_path / "conv.tpu"


def expected(program, inputs):
    loaded = TpuProgram.load(program)
    engine = FunctionalSimulator(loaded.config, loaded.dram_bytes)
    load(engine, loaded)
    return execute(engine, loaded, inputs)[0]["y"]


@pytest.mark.parametrize(
    "command",
    [[], *([info.name or info.callback.__name__] for info in sw.cli.app.registered_commands)],
)
def test_help(systolica, command):
    status, out, err = systolica(*command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith("Usage: systolica")


def test_doctor(ok, systolica):
    tools = ok("doctor")
    assert tools["ok"] and {"python", "verilator"} <= {tool["name"] for tool in tools["tools"]}
    assert "verilator" in systolica("doctor")[1]


def test_doctor_fails_when_something_required_is_missing(systolica, monkeypatch):
    monkeypatch.setattr("sw.doctor.healthy", lambda tools: False)
    status, out, _ = systolica("doctor", "--json")
    assert status == 1 and json.loads(out)["ok"] is False


def test_devices(ok, systolica):
    rows = ok("devices")["devices"]
    there = {(row["device"], row["engine"]) for row in rows if row["available"]}
    assert {("cpu:0", "numpy"), ("tpu:0", "functional"), ("tpu:0", "rtl")} <= there
    assert all(row["detail"] for row in rows)
    assert "numpy" in systolica("devices")[1]


def test_a_missing_tool_is_named(refused, program, monkeypatch, tmp_path):
    """One line with the command that installs it."""
    lost = Tool("c++", None, None, "compiles", "no compiler", "sudo apt-get install g++")

    def without_compiler(*arguments, **options):
        raise ToolMissing(lost)

    monkeypatch.setattr("sw.commands.simulate.RtlSimulator", without_compiler)
    assert "sudo apt-get install g++" in refused("simulate", program, "--random", 1)


def test_verilog(ok, tmp_path):
    data = ok("verilog", "--config", "tiny", "-o", tmp_path / "sub" / "tpu.v")
    assert (data["config"], data["top"]) == ("tiny", "tpu")
    text = (tmp_path / "sub" / "tpu.v").read_text()
    ports = {port["name"]: port for port in data["ports"]}
    assert ports["m_axi__rdata"] == {"name": "m_axi__rdata", "direction": "input", "bits": 64}
    assert {"clk", "rst", "irq", "s_axi__awaddr"} <= set(ports)
    assert "module tpu(" in text
    wrapper = (tmp_path / "sub" / "tpu_axi.v").read_text()
    assert "input [63:0] m_axi_rdata" in wrapper and ".m_axi__rdata(m_axi_rdata)" in wrapper
    core = (tmp_path / "sub" / "tpu.core").read_text()
    assert core.startswith("CAPI=2:") and "- tpu_axi.v" in core


def test_verilog_refuses(refused, tmp_path):
    assert "unknown preset 'huge'" in refused("verilog", "--config", "huge")
    assert "array=3" in refused("verilog", "--config", "tiny,array=3")
    assert "end in .v" in refused("verilog", "--config", "tiny", "-o", tmp_path / "tpu.sv")


def test_disasm(ok, systolica, program):
    data = ok("disasm", program)
    assert data["config"] == "tiny"
    assert {item["op"] for item in data["instructions"]} == {"conv"}
    status, out, _ = systolica("disasm", program)
    assert status == 0 and "MATMUL" in out


def test_simulate_functional(ok, program, case, tmp_path):
    data = ok("simulate", program, "--engine", "functional", "--input", f"x={tmp_path / 'x.npy'}",
              "--output", tmp_path / "out")  # fmt: skip
    assert (data["engine"], data["cycles"], data["fallback"]) == ("functional", None, [])
    np.testing.assert_array_equal(np.load(data["outputs"]["y"]), expected(program, case.inputs))


def test_simulate_rtl_with_everything(ok, systolica, program, tmp_path):
    data = ok("simulate", program, "--config", "tiny", "--memory", "latency=9,jitter=2",
              "--random", 3, "--verify", "--timeline", tmp_path / "t.json",
              "--plot", tmp_path / "p.png", "--output", tmp_path)  # fmt: skip
    assert data["mismatches"] == 0
    assert data["macs"] == 6 * 5 * 9 * 6 * 5 and data["peak_macs_per_cycle"] == 16
    assert data["utilisation"] == pytest.approx(data["macs"] / (16 * data["cycles"]))
    assert 0 < data["array_active"] <= 1
    assert data["dram_read_bytes"] > 0 and data["dram_write_bytes"] > 0
    assert data["simulated_cycles_per_second"] > 0
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert {"conv"} <= {event["name"] for event in events}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = systolica("simulate", program, "--random", 3)
    assert status == 0 and "array active" in out


def test_simulate_timing_predicts_the_rtl(ok, refused, program, tmp_path):
    given = ("simulate", program, "--random", 3, "--memory", "latency=17")
    predicted, counted = (ok(*given, "--engine", engine) for engine in ("timing", "rtl"))
    assert predicted["counters"] == counted["counters"]
    assert predicted["outputs"] == {}
    ok(*given, "--engine", "timing", "--plot", tmp_path / "p.png")
    assert "computes no values" in refused(*given, "--engine", "timing", "--output", tmp_path)


def test_simulate_takes_floats(ok, program, case, tmp_path):
    port = TpuProgram.load(program).inputs[0]
    real = (case.inputs["x"].astype(np.float32) - port.zero_point) * np.float32(port.scale)
    np.save(tmp_path / "real.npy", real)
    data = ok("simulate", program, "--engine", "functional",
              "--input", f"x={tmp_path / 'real.npy'}", "--output", tmp_path)  # fmt: skip
    np.testing.assert_array_equal(np.load(data["outputs"]["y"]), expected(program, case.inputs))


def test_simulate_verify_reports_a_difference(systolica, program, monkeypatch):
    """Exit status 1, and the object is still there to read."""
    honest = sw.cli._command("simulate").execute

    def lying(engine, *rest):
        outputs, result = honest(engine, *rest)
        if engine.name == "rtl":
            outputs["y"][0, 0, 0, 1] ^= 1
        return outputs, result

    monkeypatch.setattr("sw.commands.simulate.execute", lying)
    status, out, _ = systolica("simulate", program, "--random", 1, "--verify", "--json")
    assert status == 1 and json.loads(out)["mismatches"] == 1
    assert "first: y[0, 0, 0, 1]" in systolica("simulate", program, "--random", 1, "--verify")[1]


def test_simulate_refuses(refused, program, tmp_path):
    given = ("simulate", program, "--random", 1)
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "short.npy", np.zeros(3, np.int8))
    np.save(tmp_path / "wide.npy", np.zeros((1, 6, 5, 6), np.int32))
    assert "No such file" in refused("simulate", tmp_path / "none.tpu")
    assert "'x', int8 [1, 6, 5, 6], is missing" in refused("simulate", program)
    assert "not tiny" not in refused(*given, "--config", "default")
    assert "--memory" in refused(*given, "--memory", "latency=soon")
    assert "--memory" in refused(*given, "--memory", "latency=1.5")
    assert "NAME one of ['x']" in refused(*given, "--input", "z=a.npy")
    assert "not a .npy file" in refused(*given, "--input", f"x={tmp_path / 'text.npy'}")
    assert "has shape" in refused(*given, "--input", f"x={tmp_path / 'short.npy'}")
    assert "not int32" in refused(*given, "--input", f"x={tmp_path / 'wide.npy'}")
    functional = (*given, "--engine", "functional")
    assert "--timeline needs" in refused(*functional, "--timeline", "t.pftrace")
    assert "--trace needs" in refused(*functional, "--trace", "t.vcd")
    assert "this machine writes" in refused(*given, "--trace", "t.txt")
    assert "name should end in" in refused(*given, "--plot", "t.docx")
    (tmp_path / "taken").write_text("")
    assert "taken" in refused(*given, "--timeline", tmp_path / "taken" / "t.pftrace")
    refused(*given, "--engine", "magic", status=2)
    refused("conjure", status=2)


def test_damaged_files_are_refused(refused, program):
    raw = bytearray(program.read_bytes())
    for damaged, why in (
        (raw[:20], "bad magic"),
        (raw[:-1], "truncated or damaged"),
        (raw[:200] + b"!" + raw[201:], "truncated or damaged"),
    ):
        program.write_bytes(damaged)
        assert why in refused("disasm", program)
        assert why in refused("simulate", program, "--random", 1)


def forged(path, change):
    """A program file whose header was changed by someone who knows the format."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[12:16], "little")
    header = json.loads(raw[48 : 48 + size])
    change(header)
    text = json.dumps(header).encode()
    body = text + raw[48 + size :]
    digest = hashlib.sha256(body).digest()
    path.write_bytes(raw[:12] + len(text).to_bytes(4, "little") + digest + body)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda header: header.update(dram_bytes=1 << 60), "more than the core can address"),
        (lambda header: header.update(dram_bytes=1e6), "not a whole number"),
        (lambda header: header.update(macs="many"), "not a whole number"),
        (lambda header: header["inputs"][0].update(address=-16), "bad address"),
        (lambda header: header["inputs"][0].update(address=1 << 30), "outside the DRAM"),
        (lambda header: header["inputs"][0].update(shape=[1 << 40, 6]), "outside the DRAM"),
        (lambda header: header["outputs"][0].update(scale=-1.0), "bad scale"),
        (lambda header: header["outputs"][0].update(zero_point=300), "bad zero_point"),
        (lambda header: header["outputs"][0].update(name=5), "bad name"),
        (lambda header: header.pop("tags"), "malformed header"),
    ],
)
def test_forged_files_are_refused(refused, program, change, why):
    forged(program, change)
    assert why in refused("disasm", program)


def test_a_program_that_the_core_stops_names_the_operation(refused, tmp_path):
    bad = make(Opcode.STORE, rows=1, row_bytes=4, base=TINY.scratchpad_rows, tag=7)
    made = TpuProgram.link(
        TINY, (bad, make(Opcode.HALT)), np.zeros(0, np.uint8), 4096,
        inputs=(), outputs=(Port("y", 0, (1, 4)),), tags={7: "far_away"},
    )  # fmt: skip
    made.save(tmp_path / "bad.tpu")
    for engine in ("functional", "rtl"):
        message = refused("simulate", tmp_path / "bad.tpu", "--engine", engine)
        assert "scratchpad row out of range" in message and "[op far_away]" in message


def test_module_and_reader_that_stops(program):
    """`python -m systolica` is the command line; a closed pipe ends it quietly."""
    command = f"{sys.executable} -W error -m systolica disasm {program} | head -1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, cwd=Path(sw.__file__).parents[1]
    )
    assert done.stdout.startswith("# config tiny") and done.stderr == ""


def test_interrupt(tmp_path):
    """Ctrl-C: status 130 and one line."""
    with subprocess.Popen(
        [sys.executable, "-m", "sw.cli", "demo", "--steps", "100000", "--output", tmp_path / "d"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(sw.__file__).parents[1],
        # a shell's background jobs ignore the signal, and their children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "d").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "interrupted" and "Traceback" not in err
