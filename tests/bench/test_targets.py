"""The target table: breaks if a network's table is wrong or cycles get lost in the accounts."""

import pytest

from bench import networks, targets, tpu_v1
from bench.accounting import measure
from hw.tpu.config import PRESETS
from sim.memory import MemoryTiming


@pytest.mark.parametrize(
    ("name", "macs", "weights"),
    [
        # the multiply-accumulates and weights that the papers, or the frameworks' models, state
        ("resnet50", 4_089_184_256, 25_502_912),
        ("resnet20", 40_813_184, 270_896),
        ("mobilenet_v1", 551_354_368, 4_164_448),
        ("mlp0", 20_000_000, 20_000_000),
        ("mlp1", 5_002_400, 5_002_400),
        ("lstm0", 51_904_512, 51_904_512),
        ("lstm1", 33_840_000, 33_840_000),
        ("cnn0", 361 * 8_564_992, 8_564_992),
        ("cnn1", 256 * 20_072_448 + 80_289_792, 100_362_240),
    ],
)
def test_tables_are_those_networks(name, macs, weights):
    lines = networks.table(name)
    assert sum(line.macs for line in lines) == macs
    assert sum(line.kernel**2 * line.cin * line.cout for line in lines if line.op == "conv") == (
        weights
    )


def test_layers_fit_each_other():
    for name in ("resnet20", "resnet20v2"):
        network = networks.build(networks.table(name))
        assert network.macs() == sum(line.macs for line in networks.table(name))
        assert network.outputs == ("fc",)


def test_every_workload_has_a_table():
    for name in tpu_v1.WORKLOADS:
        assert networks.table(name)


def test_every_cycle_is_accounted_for():
    network = networks.build(networks.table("resnet20"))
    item = measure(network, PRESETS["large"], MemoryTiming(latency=20, bytes_per_cycle=16))
    assert item.total.cycles == item.result.cycles
    for account in (*item.layers, item.total):
        assert account.useful + sum(account.lost.values()) == pytest.approx(account.cycles)
    assert item.total.useful * 1024 == pytest.approx(network.macs())
    assert item.total.active * item.cycles == pytest.approx(item.result.counters["array_active"])


def test_a_row_says_whether_it_holds(capsys):
    targets.main(["--only", "fully_connected"])
    shown = capsys.readouterr().out
    assert shown.count("holds") == 2 and "2 of 2 targets hold" in shown
