"""Placement by simulated cost: the decision itself, with costs that the tests give."""

from typing import Any

import numpy as np
import pytest

import systolica as st
from bench import placement
from sw.compiler.passes import PASSES, compile_unit
from sw.compiler.place import place
from sw.compiler.simulate import Simulated, place_by_cost, simulate
from sw.compiler.unit import Unit
from sw.graph.graph import Graph
from sw.runtime.devices.costs import CostModel
from sw.runtime.devices.cpu_costs import Rates

CPUS = ("/cpu:0", "/cpu:1")


class Places:
    """Two CPUs and an accelerator that only multiplies and, behind products on it, negates."""

    def __init__(self, names: tuple[str, ...] = (*CPUS, "/tpu:0")) -> None:
        self.names = names

    def supports(self, name: str, op: Any) -> str | None:
        behind = op.type == "neg" and op.inputs[0].op.device == "/tpu:0"
        return None if op.type == "matmul" or behind else "no"


class Costs:
    """Seconds by kind of op and device; a way costs `way`."""

    def __init__(self, way: float = 0.0, **seconds: float) -> None:
        self._way, self._seconds = way, seconds

    def seconds(self, device: str, op: Any, beside: bool) -> float:
        kind = f"{op.type}_tpu" if "tpu" in device else op.type
        return self._seconds.get(kind, 1.0)

    def transfer(self, source: str, target: str, tensor: Any) -> float:
        return self._way


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def fed(wanted: Any) -> Unit:
    """A unit in which what has no value is fed."""
    ops = st.get_default_graph().get_operations()
    feeds = tuple(op.outputs[0] for op in ops if op.type == "placeholder")
    return Unit(st.get_default_graph(), feeds, (wanted,))


def placed(wanted: Any, costs: Costs, places: Places | None = None) -> dict[str, str]:
    """The device of each op by name."""
    unit = fed(wanted)
    unit = place_by_cost(unit, places or Places(), costs)
    return {op.name: op.device for op in place(unit, places or Places()).graph.get_operations()}


def branches() -> Any:
    x = st.sqrt(st.placeholder(st.float32, [2, 2]), name="x")
    return st.add(st.exp(x, name="a"), st.tanh(x, name="b"), name="y")


def test_independent_work_is_spread_unless_the_way_costs_more() -> None:
    """Two branches of a second each: over two CPUs for a way of 0.1 s, on one for 5 s."""
    y = branches()
    where = placed(y, Costs(0.1))
    assert {where["a"], where["b"]} == set(CPUS)
    assert set(placed(y, Costs(5.0)).values()) == {"/cpu:0"}


def test_a_product_goes_where_it_is_over_first() -> None:
    """Ten times as fast there: yes, with what it takes behind it; not if the way costs the gain."""
    x = st.sqrt(st.placeholder(st.float32, [2, 2]), name="x")
    y = st.exp(st.negative(st.matmul(x, x, name="m"), name="n"), name="y")
    fast = {"matmul": 10.0, "matmul_tpu": 1.0}
    where = placed(y, Costs(0.5, **fast))
    assert (where["m"], where["n"], where["y"]) == ("/tpu:0", "/tpu:0", "/cpu:0")
    assert placed(y, Costs(6.0, **fast))["m"] == "/cpu:0"


def test_names_and_state_bind() -> None:
    """An op with a device keeps it, a partial name narrows the choice, and what reads or writes a
    variable stays with it, whatever it costs."""
    v = st.Variable(np.ones((2, 2), np.float32))
    with st.device("/cpu:1"):
        a = st.exp(v, name="a")
    with st.device("/cpu:0"):
        m = st.matmul(a, a, name="m")
    update = v.assign_add(m, name="u")
    where = placed(update, Costs(0.0, exp=100.0, matmul=100.0, assign_add=100.0))
    assert (where["a"], where["m"]) == ("/cpu:1", "/cpu:0")
    assert len({d for name, d in where.items() if name == "u" or "read" in name}) == 1
    with pytest.raises(
        st.errors.InvalidArgumentError, match="asks for the unknown device '/gpu:0'"
    ):
        with st.device("/gpu:0"):
            placed(st.exp(v, name="far"), Costs())


@pytest.mark.parametrize("case", range(20))
def test_never_worse_than_one_device_and_the_same_values(case: int, seed: int) -> None:
    """Random graphs and costs: the chosen placement's simulated time is at most that of each device
    alone; run on it, the values are those of one device."""
    rng = np.random.default_rng([seed, case])
    fed = [st.placeholder(st.float32, [3, 3]) for _ in range(2)]
    feeds = {x: rng.normal(size=(3, 3)).astype(np.float32) for x in fed}
    pool: list[Any] = [st.sqrt(st.abs(x)) for x in fed]
    for _ in range(25):
        a, b = (pool[int(i)] for i in rng.integers(0, len(pool), 2))
        made = [st.tanh(a), a + b, st.matmul(a, b) * 0.3, st.negative(a), st.sin(a)]
        pool.append(made[int(rng.integers(5))])
    kinds = ("sqrt", "abs", "tanh", "add", "matmul", "neg", "sin", "mul", "matmul_tpu", "neg_tpu")
    costs = Costs(float(rng.uniform(0, 2)), **{k: float(rng.uniform(0.1, 3)) for k in kinds})
    fetches = tuple(pool[-3:])
    unit = Unit(st.get_default_graph(), tuple(fed), fetches)
    for _, transform in PASSES:
        unit = transform(unit)
    found = simulate(unit, Places(), costs)
    chosen = min(found.greedy, *found.alone.values())
    assert replayed(unit, found, costs) == pytest.approx(chosen)
    with st.Session() as session:
        expected = session.run(fetches, feeds)
    config = st.SessionConfig(device_count={"CPU": 3, "TPU": 0}, placement="simulated")
    with st.Session(config=config) as session:
        for ours, plain in zip(session.run(fetches, feeds), expected, strict=True):
            np.testing.assert_array_equal(ours, plain)


def replayed(unit: Unit, found: Simulated, costs: Costs) -> float:
    """When the last op is done if each runs on its device in some order of readiness: a second
    simulation, by sweeping time instead of by a heap of ops."""
    ops = [op for op in unit.graph.get_operations() if op in found.devices]
    done: dict[Any, float] = {}
    idle: dict[str, float] = {}
    while len(done) < len(ops):
        ready = []
        for at, op in enumerate(ops):
            before = [t.op for t in op.inputs if t.op in found.devices]
            if op not in done and all(b in done for b in before):
                ready.append((max([0.0, *(done[b] for b in before)]), at, op))
        _, _, op = min(ready)
        device = found.devices[op]
        there = []
        for tensor in op.inputs:
            source = "/cpu:0" if tensor.op.type == "feed" else found.devices.get(tensor.op, device)
            way = costs.transfer(source, device, tensor) * (source != device)
            there.append(done.get(tensor.op, 0.0) + way)
        start = max([idle.get(device, 0.0), *there])
        done[op] = idle[device] = start + costs.seconds(device, op, False)
    return max(done.values())


def test_towers_of_the_bench() -> None:
    """With the rates of a slow core: convolutions on the TPU by the timing model's cycles, products
    of two rows by large weights and sorting on the CPU; better than either alone."""
    config = st.SessionConfig(tpu="timing", placement="simulated")
    costs = CostModel(config, Rates(3e10, 2e10, 1e9, 3e7, 1e-7))
    result, feeds = placement.towers(width=1024)
    with st.Session(config=config) as session:
        unit = Unit(st.get_default_graph(), tuple(feeds), (result,))
        for _, transform in PASSES:
            unit = transform(unit)
        found = simulate(unit, session.devices, costs)
    where = {op.name: device[-5:] for op, device in found.devices.items()}
    assert {where[f"conv{i}"] for i in range(3)} == {"tpu:0"}
    assert {where[n] for n in ("dense0", "dense1", "top_k")} == {"cpu:0"}
    assert all(found.greedy < 0.8 * alone for alone in found.alone.values())


def test_measured_times_come_before_estimates() -> None:
    """An op that a traced run found slow goes where it is fast."""
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [64, 64])
        y = st.matmul(x, np.eye(64, dtype=np.float32), name="product")
        metadata = st.RunMetadata()
        with st.Session() as session:
            session.run(y, {x: np.ones((64, 64))}, st.RunOptions(trace_level=3), metadata)
        (node,) = (n for n in metadata.step_stats.nodes if n.name == "product")
        rates = Rates(1e12, 1e12, 1e12, 1e12, 1e-9)
        op = y.op
        for slow in (False, True):
            stats = metadata.step_stats if slow else None
            config = st.SessionConfig(tpu="timing", placement="simulated", measured=stats)
            found = CostModel(config, rates).seconds("/cpu:0", op, False)
            assert found == (node.end - node.start if slow else pytest.approx(3.1e-7, rel=0.1))


def test_bad_configuration() -> None:
    """Named, with what would be right."""
    with pytest.raises(st.errors.InvalidArgumentError, match="placement='best'.*named, simulated"):
        st.SessionConfig(placement="best")
    with pytest.raises(st.errors.InvalidArgumentError, match="tpu_clock_mhz=0"):
        st.SessionConfig(tpu_clock_mhz=0)


def test_a_plan_made_by_cost_is_dumped() -> None:
    """`--dump-passes` shows where ops went."""
    y = branches()
    seen: dict[str, str] = {}
    unit = fed(y)
    compile_unit(unit, Places(CPUS), lambda name, text: seen.update({name: text}), Costs(0.1))
    assert "@ /cpu:1" in seen["place"]
    assert isinstance(unit.graph, Graph)
