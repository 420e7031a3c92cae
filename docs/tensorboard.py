"""Pictures of the stock TensorBoard showing a run of ours: `python -m docs.tensorboard`.

Trains the CIFAR-style example for a while with summaries, traces one inference that is spread over
CPU and TPU, serves both with TensorBoard and takes pictures with a headless Chromium:
docs/images/tensorboard-training.png and docs/images/tensorboard-graph.png.
"""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import systolica as st
from docs.browser import Browser
from examples import cifar_convnet

STEPS = 400
IMAGES = Path(__file__).parent / "images"


def traced_inference(folder: Path) -> None:
    """A small net, convolutions on the TPU, the rest on the CPU: its graph and a traced run."""
    with st.Graph().as_default() as graph, st.Session() as session:
        x = st.placeholder(st.float32, [None, 24, 24, 3], name="images")
        h = x
        for number, width in enumerate((8, 16)):
            with st.device("/tpu:0"):
                h = st.layers.conv2d(h, width, 3, padding="same", name=f"conv{number + 1}")
            h = st.layers.max_pooling2d(st.nn.relu(h), 2, 2, name=f"pool{number + 1}")
        with st.device("/tpu:0"):
            logits = st.layers.dense(st.layers.flatten(h), 10, name="logits")
        answer = st.nn.softmax(logits, name="answer")
        session.run(st.global_variables_initializer())
        with st.summary.FileWriter(str(folder), graph) as writer:
            metadata = st.RunMetadata()
            full = st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)
            feeds = {x: np.random.default_rng(0).random((4, 24, 24, 3))}
            session.run(answer, feeds)
            session.run(answer, feeds, full, metadata)
            writer.add_run_metadata(metadata, "inference", 1)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """TensorBoard on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--host", "127.0.0.1", "--load_fast=false"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "Press CTRL+C" in line:
                break
        address = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(address).close()
        yield address
    finally:
        process.terminate()
        process.wait()


_FIND = """
window.find = function (tag, root) {
  for (const e of (root || document).querySelectorAll('*')) {
    if (e.localName === tag) return e;
    const inner = e.shadowRoot && find(tag, e.shadowRoot);
    if (inner) return inner;
  }
  return null;
}; true"""
"""TensorBoard's graph page is made of nested shadow trees."""


def training(browser: Browser, address: str, path: Path) -> None:
    """The page of a training run: curves, a histogram, an image."""
    browser.open(f"{address}/?tagFilter=loss%7Crate%7Clogits%2Fkernel%7Cimage%2F0#timeseries")
    browser.wait("document.body.innerText.includes('learning_rate')")
    time.sleep(5)  # curves are drawn with a flourish
    browser.picture(path)


def graph(browser: Browser, address: str, path: Path) -> None:
    """The graph of the traced inference, coloured by device, with a node's figures."""
    browser.open(f"{address}/#graphs")
    browser.wait(_FIND)
    browser.wait("find('tf-graph-controls') && (find('tf-graph-controls').datasets || []).length")
    browser.evaluate("find('tf-graph-controls')._selectedTagIndex = 1")  # the traced run
    browser.evaluate("find('tf-graph-controls').colorBy = 'device'")
    browser.wait("find('tf-graph-controls').devicesForStats !== null")
    browser.evaluate("find('tf-graph').set('selectedNode', 'conv2'); true")
    time.sleep(4)
    browser.picture(path)


def small(path: Path, colours: int = 48) -> None:
    """Make a picture small: a palette does for a page."""
    data = io.BytesIO(path.read_bytes())
    Image.open(data).convert("RGB").quantize(colours).save(path, optimize=True)


def main() -> None:
    """Make the pictures."""
    pictures = [IMAGES / f"tensorboard-{name}.png" for name in ("training", "graph")]
    with tempfile.TemporaryDirectory() as made:
        folders = [Path(made) / "training", Path(made) / "inference"]
        cifar_convnet.train_and_test(steps=STEPS, logdir=str(folders[0]))
        traced_inference(folders[1])
        for take, folder, picture in zip((training, graph), folders, pictures, strict=True):
            with served(folder) as address, Browser(1240, 720) as browser:
                take(browser, address, picture)
            small(picture)


if __name__ == "__main__":
    main()
