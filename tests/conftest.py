"""Shared by all tests: `--seed` and the `rng` fixture made from it."""

import zlib
from collections.abc import Iterator

import numpy as np
import pytest

DEFAULT_SEED = 2016


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed", type=int, default=DEFAULT_SEED, help=f"seed of random tests ({DEFAULT_SEED})"
    )


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The `--seed` of this run, for what takes a seed rather than a generator."""
    value = int(request.config.getoption("--seed"))
    request.node.user_properties.append(("seed", value))
    return value


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers of this test: same for the same seed, whatever other tests run."""
    return np.random.default_rng([seed, zlib.crc32(request.node.nodeid.encode())])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    seeds = [value for name, value in item.user_properties if name == "seed"]
    if seeds and report.failed:
        report.sections.append(("random seed", f"repeat with --seed {seeds[0]}"))
    return report
