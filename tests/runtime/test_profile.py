"""Profiles: every cycle and byte accounted for, against the counters and counts of our own."""

import re
from html.parser import HTMLParser
from math import prod
from typing import Any

import numpy as np
import pytest

import systolica as st
from examples.networks import quantised
from hw.tpu import isa
from hw.tpu.isa import Opcode, Queue
from sim.hazards import accesses
from sw.runtime.profiling import page, pictures
from sw.runtime.profiling.memory import EMPTY, memory_map
from sw.runtime.profiling.profile import Profile, profile

Array = np.ndarray[Any, Any]


def weights(rng: np.random.Generator, *shape: int) -> Array:
    return (rng.normal(size=shape) * np.sqrt(2 / prod(shape[:-1]))).astype("f")


@pytest.fixture(scope="module")
def graph() -> st.Graph:
    """A convolution, a pool, a dense layer, all on the TPU, then softmax on the CPU."""
    rng = np.random.default_rng(3)
    with st.Graph().as_default(), st.Session():
        x = st.placeholder(st.float32, [None, 16, 16, 5], name="image")
        h = st.nn.conv2d(x, weights(rng, 3, 3, 5, 24), 1, "SAME", name="first")
        h = st.nn.relu(st.nn.bias_add(h, weights(rng, 24)))
        h = st.nn.max_pool(h, 2, 2, "VALID", name="pool")
        h = st.nn.relu(st.nn.conv2d(h, weights(rng, 3, 3, 24, 16), 1, "SAME", name="second"))
        h = st.reshape(h, [-1, 8 * 8 * 16])
        y = st.matmul(h, weights(rng, 1024, 10), name="dense")
        made = st.quantize(y, [{x: rng.normal(size=(2, 16, 16, 5)).astype("f")}])
    with made.as_default():
        made.finalized = False
        st.nn.softmax(made.get_tensor_by_name("dense:0"), name="answer")
    return made


@pytest.fixture(scope="module")
def made(graph: st.Graph) -> Profile:
    return profile("answer:0", graph=graph, config="default", memory="latency=20", name="small")


def test_every_cycle_belongs_to_a_layer_and_a_cause(made: Profile) -> None:
    assert [layer.name for layer in made.layers[:4]] == ["first", "pool", "second", "dense"]
    assert sum(layer.cycles for layer in made.layers) == pytest.approx(made.cycles, abs=1)
    peak = made.config.peak_macs_per_cycle
    for layer in made.layers:
        useful = layer.macs / peak
        assert useful + sum(layer.lost.values()) == pytest.approx(layer.cycles, abs=1)


def test_work_and_traffic_are_counted(made: Profile) -> None:
    """Against sizes by hand and the core's counters, which also count the instructions' fetch."""
    macs = [256 * 9 * 5 * 24, 0, 64 * 9 * 24 * 16, 1024 * 10]
    assert [layer.macs for layer in made.layers[:4]] == macs
    assert [layer.shape for layer in made.layers[:4]] == [
        (1, 16, 16, 24), (1, 8, 8, 24), (1, 8, 8, 16), (1, 10),
    ]  # fmt: skip
    fetched = len(made.run.program.instructions) * isa.INSTRUCTION_BYTES
    assert sum(layer.dram_bytes for layer in made.layers) + fetched == sum(made.dram_bytes.values())
    data = made.to_dict()
    assert data["utilisation"] == pytest.approx(sum(macs) / (made.cycles * 256))
    assert data["roofline"]["compute"] == sum(macs) / 256
    assert data["roofline"]["memory"] == made.dram_bytes["read"] / 8
    assert data["roofline"]["bound"] <= made.cycles


def test_layers_that_the_compiler_joined() -> None:
    """Residual adds work in the shadow of their convolutions: each layer keeps its own name and
    work, none does more than the array can."""
    residual = profile("logits:0", graph=quantised("resnet20", shape=(1, 16, 16, 3)))
    assert sum(layer.macs for layer in residual.layers) == residual.run.program.macs
    for layer in residual.layers:
        assert layer.peak_share <= 1
        assert layer.macs == 0 or layer.op in ("conv2d", "matmul")
        assert layer.needs["compute"] >= layer.macs / 256


def test_bounds(made: Profile, graph: st.Graph) -> None:
    """A dense layer of batch 1 waits for its weights, a pool for the vector unit."""
    bounds = {layer.name: layer.bound for layer in made.layers}
    assert bounds["dense"] == "weights" and bounds["pool"] == "vector"
    assert bounds["second"] == "compute"
    wide = profile("answer:0", {"image:0": np.zeros((64, 16, 16, 5), np.float32)},
                   graph=graph, config="default,bus_bits=512",
                   memory="bytes_per_cycle=64")  # fmt: skip
    assert {layer.name: layer.bound for layer in wide.layers}["dense"] == "compute"


def test_memory_map_knows_what_is_read(made: Profile) -> None:
    """While the array reads a row, the map says whose it is: the layer's before it, or a load."""
    run = made.run
    found = memory_map(run, most_rows=1 << 20, bins=500)
    assert len(found.rows) == made.config.scratchpad_rows
    products = [item for item in run.program.instructions if item.queue is Queue.MATMUL]
    owners: dict[str, set[int]] = {}
    for span in run.trace.spans:
        if span.queue is not Queue.MATMUL:
            continue
        item = products[span.number]
        assert item.opcode is Opcode.MATMUL
        rows = accesses(item)[0].rows
        at = min(int(span.begin * 500 // run.trace.end), 499)
        seen = set(np.unique(found.owner[rows, at]).tolist())
        assert EMPTY not in seen
        owners.setdefault(run.program.tags[item.tag], set()).update(seen)
    tags = {name: tag for tag, name in run.program.tags.items()}
    assert owners["first"] == {found.staged + tags["first"]}
    assert owners["second"] == {tags["pool"]}
    assert owners["dense"] == {tags["second"]}
    assert 0 < found.occupancy().max() < 1


def test_several_programs_are_one_profile() -> None:
    """What the CPU does between cuts a network in two; the profile covers both."""
    rng = np.random.default_rng(1)
    with st.Graph().as_default() as home, st.device("/tpu:0"):
        x = st.placeholder(st.float32, [4, 64], name="x")
        h = st.matmul(x, weights(rng, 64, 32), name="left")
        with st.device("/cpu:0"):
            h = st.sin(h)
        st.matmul(h, weights(rng, 32, 8), name="right")
    both = profile("right:0", graph=home, config="tiny")
    assert both.programs == 2
    assert [layer.name for layer in both.layers[:2]] == ["left", "right"]
    assert sum(layer.cycles for layer in both.layers) == pytest.approx(both.cycles, abs=2)
    assert page.html(both).count("<td>matmul</td>") == 2


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [v or "" for k, v in attrs if k in ("src", "href")]


def test_the_page_needs_no_other_file(made: Profile, tmp_path: Any) -> None:
    text = page.html(made)
    parser = _Links()
    parser.feed(text)
    assert len(parser.sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in parser.sources)
    assert all(layer.name in text for layer in made.layers)
    table = page.markdown(made, tmp_path / "images", "images")
    pictures_named = re.findall(r"\]\((images/[\w-]+\.png)\)", table)
    assert len(pictures_named) == 2
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures_named)


def test_a_layer_without_traffic_is_on_the_roofline(made: Profile) -> None:
    assert pictures.png(pictures.roofline(made)).startswith(b"\x89PNG")


def test_refusals(graph: st.Graph) -> None:
    with pytest.raises(st.errors.InvalidArgumentError, match="memory='latency=soon'"):
        profile("answer:0", graph=graph, memory="latency=soon")
    with pytest.raises(st.errors.InvalidArgumentError, match="names: give the graph"):
        profile("answer:0")
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [2], name="x")
        with st.device("/tpu:0"):
            y = st.sin(x)
        with pytest.raises(st.errors.InvalidArgumentError, match="the TPU has no sin"):
            profile(y)
    with pytest.raises(st.errors.InvalidArgumentError, match="profile="):
        st.SessionConfig(profile="yes")  # type: ignore[arg-type]  # what is refused
