"""Random networks: breaks if any tile, address, semaphore or residency choice changes a result."""

import pytest

from tests.compiler.tpu.checks import check_network
from tests.compiler.tpu.random_networks import random_network

GROUP = 20


@pytest.mark.parametrize("group", range(10))
def test_random_networks_equal_the_reference(seed, group):
    for number in range(GROUP * group, GROUP * (group + 1)):
        check_network(*random_network(seed + number))


@pytest.mark.parametrize("group", range(6))
def test_random_networks_equal_the_reference_when_memory_is_scarce(seed, group):
    for number in range(GROUP * group, GROUP * (group + 1)):
        check_network(*random_network(seed + number, pressed=True))
