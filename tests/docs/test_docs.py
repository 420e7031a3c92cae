"""Documents: break if a page is stale, a link leads nowhere or a shown command does not run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hw.tpu.config import PRESETS
from sw import demo

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(sh|console|python)( slow)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COVERED = {
    "make conformance": "tests/conformance/test_onnx_nodes.py",
    "make fuzz": "tests/graph/onnx_import/test_hostile.py",
    "make networks": "tests/conformance/test_networks.py",
    "make networks-int8": "tests/conformance/test_networks_int8.py",
    "make demo": "tests/end_to_end/test_demo.py",
    "make kill": "tests/runtime/test_monitored.py",
    "make test": "this run",
    "python -m examples.cifar_convnet --logdir run": "tests/runtime/test_examples_learn.py",
    "tensorboard --logdir run": "docs/tensorboard.py",
}
"""Commands in blocks marked `slow`, which run elsewhere."""


def blocks():
    for page in PAGES:
        for number, found in enumerate(BLOCK.finditer(page.read_text())):
            language, slow, text = found.groups()
            yield pytest.param(language, bool(slow), text, id=f"{page.name}-{number}")


def commands(language, text):
    """The commands of a shell block; in a console block only those behind a prompt."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if language == "console":
        return [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader stands who has run the demo; little training gives the same program."""
    made = tmp_path_factory.mktemp("reader")
    demo.run("functional", PRESETS["default"], made / "demo-output", steps=2)
    return made


@pytest.mark.parametrize(("language", "slow", "text"), list(blocks()))
def test_every_command_that_is_shown_runs(language, slow, text, folder):
    if slow:
        assert set(commands(language, text)) <= set(COVERED)
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    runs = [[sys.executable, "-c", text]]
    if language != "python":
        runs = [["sh", "-c", command] for command in commands(language, text)]
    for run in runs:
        done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{run[-1]}\n{done.stdout}{done.stderr}"


def test_generated_pages_are_fresh():
    """In a process of its own: other tests register operations."""
    done = subprocess.run(
        [sys.executable, "-m", "docs.build", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page):
    """Of every `make NAME` in backquotes or on a line of its own."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^ *)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_file_of_ours_that_is_named_exists():
    """Paths in code spans: `hw/tpu/isa.py`."""
    for page in PAGES:
        for path in re.findall(r"`((?:hw|sim|sw|tests|bench|docs)/[\w/]+\.\w+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
