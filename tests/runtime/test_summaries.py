"""Event files, read back with TensorBoard's own reader."""

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    DEFAULT_SIZE_GUIDANCE,
    EventAccumulator,
)
from tensorboard.compat.proto.config_pb2 import RunMetadata
from tensorboard.util.tensor_util import make_ndarray

import systolica as st
from sw.graph import summaries

PLACE = "/job:localhost/replica:0/task:0/device:"


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def read(folder: Path) -> Any:
    """All that TensorBoard finds in a directory."""
    everything = dict.fromkeys(DEFAULT_SIZE_GUIDANCE, 0)
    return EventAccumulator(str(folder), everything).Reload()


def nodes_of(folder: Path) -> Any:
    """The graph's nodes by name."""
    return {node.name: node for node in read(folder).Graph().node}


def write(folder: Path, *steps: Any) -> Any:
    """Run all summaries of the graph, once per dict of feeds; what TensorBoard reads."""
    merged = st.summary.merge_all()
    with st.Session() as session, st.summary.FileWriter(str(folder)) as writer:
        for step, feeds in enumerate(steps):
            writer.add_summary(session.run(merged, feeds), step)
    return read(folder)


def test_scalars(tmp_path: Path) -> None:
    """Values at their steps; the tag is the name with its scope, or was given as in 2016."""
    x = st.placeholder(st.float32, [])
    with st.name_scope("net"):
        st.summary.scalar("loss", x)
        st.summary.scalar("loss", x * 2)
    st.summary.scalar("other", x * 3, family="more")
    st.scalar_summary(["a", "b"], st.stack([x, x + 1]))
    found = write(tmp_path, {x: 1.0}, {x: 2.5})
    values = {
        tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]
    }
    assert values == {
        "net/loss": [(0, 1.0), (1, 2.5)],
        "net/loss_1": [(0, 2.0), (1, 5.0)],
        "more/other": [(0, 3.0), (1, 7.5)],
        "a": [(0, 1.0), (1, 2.5)],
        "b": [(0, 2.0), (1, 3.5)],
    }


def test_histograms(tmp_path: Path, rng: np.random.Generator) -> None:
    """Counts lie between the right limits; sums are those of NumPy."""
    x = st.placeholder(st.float32, [None])
    st.summary.histogram("x", x)
    values = np.concatenate([rng.standard_normal(500), [0, 0, 1e-13, 1e21]]).astype(np.float32)
    found = write(tmp_path, {x: values}, {x: []})
    full, empty = (e.histogram_value for e in found.Histograms("x"))
    wide = values.astype(np.float64)
    assert (full.num, full.min, full.max) == (504, wide.min(), wide.max())
    np.testing.assert_allclose([full.sum, full.sum_squares], [wide.sum(), (wide**2).sum()])
    limits = np.asarray(full.bucket_limit)
    below = [np.count_nonzero(wide < limit) for limit in limits]
    np.testing.assert_array_equal(np.cumsum(full.bucket), below)
    near = limits[(limits > 0.01) & (limits < 10)]
    np.testing.assert_allclose(near[1:] / near[:-1], 1.1)
    assert empty.num == 0
    with st.Session() as session:
        with pytest.raises(st.errors.InvalidArgumentError, match="'x': NaN among its values"):
            session.run(st.summary.merge_all(), {x: [1.0, np.nan]})


def test_images(tmp_path: Path) -> None:
    """PNGs with the very pixels; floats are scaled, with negative ones around grey."""
    pixels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    grey = np.float32([0.0, 0.5, 1.0, 2.0]).reshape(1, 2, 2, 1)
    st.summary.image("rgb", pixels)
    st.summary.image("grey", grey)
    st.image_summary("signed", grey - 1)
    found = write(tmp_path, {})
    for number in range(2):
        event = found.Images(f"rgb/image/{number}")[0]
        assert (event.width, event.height) == (4, 3)
        decoded = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        np.testing.assert_array_equal(decoded, pixels[number])
    for tag, want in (("grey", [0, 63, 127, 255]), ("signed", [0, 63, 127, 254])):
        event = found.Images(f"{tag}/image")[0]
        decoded = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        assert decoded.reshape(-1).tolist() == want


def test_audio_and_text(tmp_path: Path) -> None:
    """WAVs with the samples; text as TensorBoard's plugin wants it, also computed."""
    sound = np.sin(np.arange(400, dtype=np.float32) / 9)[np.newaxis]
    st.summary.audio("sound", sound, 8000)
    st.summary.text("note", "a *word*")
    st.summary.text("bytes", st.constant(np.frombuffer("größer".encode(), np.uint8)))
    found = write(tmp_path, {})
    event = found.Audio("sound/audio")[0]
    assert event.sample_rate == 8000 and event.length_frames == 400
    with wave.open(io.BytesIO(event.encoded_audio_string)) as clip:
        samples = np.frombuffer(clip.readframes(400), "<i2") / 32767
    np.testing.assert_allclose(samples, sound[0], atol=1e-4)
    texts = [
        make_ndarray(found.Tensors(f"{t}/text_summary")[0].tensor_proto) for t in ("note", "bytes")
    ]
    assert [t.item().decode() for t in texts] == ["a *word*", "größer"]
    assert set(found.PluginTagToContent("text")) == {"note/text_summary", "bytes/text_summary"}


def test_graph_with_devices_and_shapes(tmp_path: Path, graph: st.Graph) -> None:
    """Every op with inputs, control inputs, full device and output shapes; bodies of loops too."""
    x = st.placeholder(st.float32, [None, 4], name="x")
    with st.device("/tpu:0"):
        y = st.matmul(x, st.ones([4, 2], name="w"), name="y")
    with st.control_dependencies([y]):
        st.while_loop(lambda i: i < 3, lambda i: i + 1, [st.constant(0)], name="loop")
    st.summary.FileWriter(str(tmp_path), graph).close()
    nodes = nodes_of(tmp_path)
    assert list(nodes["y"].input) == ["x", "w"]
    assert nodes["y"].device == f"{PLACE}TPU:0"
    assert nodes["x"].device == f"{PLACE}CPU:0"
    shape = nodes["y"].attr["_output_shapes"].list.shape[0]
    assert [d.size for d in shape.dim] == [-1, 2]
    assert any("^y" in node.input for node in nodes.values())
    assert any(name.startswith("loop") and node.op == "less" for name, node in nodes.items())


def test_run_metadata(tmp_path: Path, graph: st.Graph) -> None:
    """Time, memory, device and shapes of every node that ran, on the device where it did."""
    x = st.placeholder(st.float32, [None, 64], name="x")
    with st.device("/tpu:0"):
        y = st.matmul(x, st.constant(np.ones([64, 8], np.float32)), name="y")
        z = st.exp(y, name="falls_back")
    metadata = st.RunMetadata()
    full = st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)
    with st.Session() as session, st.summary.FileWriter(str(tmp_path), graph) as writer:
        session.run(z, {x: np.ones([3, 64])}, full, metadata)
        writer.add_run_metadata(metadata, "step 7", 7)
        plain = st.RunMetadata()
        session.run(z, {x: np.ones([3, 64])}, run_metadata=plain)
        with pytest.raises(st.errors.InvalidArgumentError, match="FULL_TRACE"):
            writer.add_run_metadata(plain, "nothing")
    found = read(tmp_path)
    assert found.Tags()["run_metadata"] == ["step 7"]
    stats: RunMetadata = found.RunMetadata("step 7")
    ran = {n.node_name: (d.device, n) for d in stats.step_stats.dev_stats for n in d.node_stats}
    assert ran["y"][0].endswith("/device:TPU:0") and ran["falls_back"][0].endswith("/device:CPU:0")
    node = ran["y"][1]
    described = node.output[0].tensor_description
    assert [d.size for d in described.shape.dim] == [3, 8]
    assert node.memory[0].total_bytes == 3 * 8 * 4
    assert node.all_end_rel_micros >= 1 and node.all_start_micros > 1_600_000_000_000_000


def test_hooks_write(tmp_path: Path) -> None:
    """MonitoredTrainingSession writes summaries, speed and the graph; a resumed run goes on."""
    step = st.train.get_or_create_global_step()
    bump = step.assign_add(1)
    st.summary.scalar("step_now", step)
    profile = st.train.ProfilerHook(save_steps=4, output_dir=str(tmp_path / "profile"))
    for last in (5, 9):
        with st.train.MonitoredTrainingSession(
            checkpoint_dir=str(tmp_path / "run"),
            hooks=[st.train.StopAtStepHook(last_step=last), profile],
            save_summaries_steps=2,
            log_step_count_steps=3,
        ) as session:
            while not session.should_stop():
                session.run(bump)
        st.summary.FileWriterCache.clear()
    found = read(tmp_path / "run")
    assert [e.step for e in found.Scalars("step_now")] == [1, 3, 5, 6, 8]
    assert [e.step for e in found.Scalars("global_step/sec")] == [4, 9]
    assert "global_step/handle" in nodes_of(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "profile").iterdir())[0] == "timeline-1.pftrace"


def test_files_of_one_second_are_apart_and_damage_is_seen(tmp_path: Path) -> None:
    """Two writers, a writer that is opened again, and a cut file."""
    for value in (1.0, 2.0):
        writer = st.summary.FileWriter(str(tmp_path))
        writer.add_summary(summaries.scalar("v", value), value)
        writer.close()
        writer.reopen()
        writer.add_summary(summaries.scalar("v", value + 10), value + 10)
        writer.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    seen = [
        v.simple_value
        for f in files
        for e in st.train.summary_iterator(str(f))
        for v in e.summary.value
    ]
    assert sorted(seen) == [1, 2, 11, 12]
    files[0].write_bytes(files[0].read_bytes()[:-3])
    with pytest.raises(st.errors.DataLossError, match="cut off"):
        list(st.train.summary_iterator(str(files[0])))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: st.summary.image("i", np.zeros([1, 2, 2, 2], np.float32)), "1, 3 or 4 channels"),
        (lambda: st.summary.image("i", np.zeros([2, 2, 1], np.float32)), "rank 4"),
        (lambda: st.summary.image("i", np.zeros([1, 2, 2, 1], np.int64)), "uint8 or floats"),
        (lambda: st.summary.audio("a", np.zeros([2], np.float32), 8000), "frames"),
        (lambda: st.summary.text("t", 5), "uint8"),
        (lambda: st.summary.scalar("s", [1.0, 2.0]), "1 tags for values of shape"),
        (lambda: st.summary.merge([]), "no summaries"),
    ],
)
def test_what_cannot_be_shown_is_refused(make: Any, words: str) -> None:
    """When the graph is built, and it is named."""
    with pytest.raises(st.errors.InvalidArgumentError, match=words):
        make()


def test_a_tensor_is_no_summary(tmp_path: Path) -> None:
    """The mistake that everybody makes once."""
    with st.summary.FileWriter(str(tmp_path)) as writer:
        with pytest.raises(st.errors.DTypeError, match="sess.run the summary first"):
            writer.add_summary(st.summary.scalar("x", 1.0))
