"""The compiler's passes and the executor: on random graphs over several devices, against an oracle
that evaluates op by op."""

import doctest
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.compiler.partition import Partition, Plan
from sw.compiler.passes import compile_unit
from sw.compiler.unit import Unit
from sw.graph.operation import Operation
from sw.graph.state import Container
from sw.runtime.config import SessionConfig
from sw.runtime.devices.cpu import CpuDevice
from sw.runtime.executor import Executor

PASSES = ("prune", "check", "fold", "cse", "simulate", "place", "partition")


class Places:
    """Three devices; "/b:0" refuses multiplication."""

    names = ("/cpu:0", "/a:0", "/b:0")

    def supports(self, name: str, op: Operation) -> str | None:
        """The reason against multiplication on b."""
        return "no multiplier" if name == "/b:0" and op.type == "mul" else None


class Counted:
    """An executable that notes the arrays it was given."""

    def __init__(self, partition: Partition) -> None:
        device = CpuDevice(partition.device, SessionConfig(), Container())
        self.inner = device.compile(partition)
        self.runs = 0

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Count and pass on."""
        self.runs += 1
        return self.inner.run(inputs)


def compiled(unit: Unit) -> tuple[Plan, list[Counted], Executor]:
    """A unit compiled for `Places` with every device run by NumPy."""
    plan = compile_unit(unit, Places())
    executables = [Counted(p) for p in plan.partitions]
    return plan, executables, Executor(plan, executables)


@pytest.mark.parametrize("name", PASSES)
def test_doctests(name: str) -> None:
    """The before/after example of each pass holds."""
    results = doctest.testmod(importlib.import_module(f"sw.compiler.{name}"))
    assert results.attempted > 0 and results.failed == 0


@pytest.mark.parametrize("trial", range(25))
def test_random_graphs_equal_the_oracle(trial: int, seed: int) -> None:
    """Any placement gives the same values; each partition runs once; one Recv per (tensor,
    device), and no partition waits for itself."""
    rng = np.random.default_rng([seed, trial])
    with st.Graph().as_default() as graph:
        x = st.placeholder(st.float32, [3])
        pool: list[Any] = [x, st.constant([1.0, 2.0, 3.0])]
        oracle: list[Any] = [np.float32([0.5, -1, 2]), np.float32([1, 2, 3])]
        for _ in range(int(rng.integers(5, 40))):
            i, j = (int(v) for v in rng.integers(0, len(pool), 2))
            kind = str(rng.choice(["add", "sub", "mul", "tanh", "neg"]))
            before = [pool[int(rng.integers(2, len(pool)))]] if len(pool) > 3 else []
            with st.device(str(rng.choice(["", "/cpu:0", "/a:0", "/b:0"]))):
                with st.control_dependencies(before if rng.random() < 0.2 else []):
                    binary = kind in ("add", "sub", "mul")
                    out = graph.apply(kind, *([pool[i], pool[j]] if binary else [pool[i]]))
            functions: dict[str, Any] = {
                "add": np.add, "sub": np.subtract, "mul": np.multiply,
                "tanh": np.tanh, "neg": np.negative,
            }  # fmt: skip
            args = [oracle[i], oracle[j]] if binary else [oracle[i]]
            pool.append(out)
            oracle.append(np.tanh(functions[kind](*args)))
            pool[-1] = graph.apply("tanh", out)
        wanted = [int(v) for v in rng.integers(0, len(pool), 4)]
        fetches = tuple(dict.fromkeys(pool[w] for w in wanted))
        values = {p: v for p, v in zip(pool, oracle, strict=True)}
        plan, executables, executor = compiled(Unit(graph, (x,), fetches))
    for run in range(2):
        got = executor.run([oracle[0]])
        for tensor, value in zip(fetches, got, strict=True):
            np.testing.assert_allclose(value, values[tensor], rtol=1e-5, atol=1e-6)
        assert [e.runs for e in executables] == [run + 1] * len(executables)
    produced = [k for p in plan.partitions for k in p.outputs]
    assert len(set(produced)) == len(produced)
    assert len(set(plan.transfers)) == len(plan.transfers)
    for index, part in enumerate(plan.partitions):
        assert len(set(part.inputs)) == len(part.inputs)
        assert all(before < index for before in part.after)
    assert {f.op for f in plan.fallback} <= {"mul"}


def test_there_and_back_makes_three_partitions_and_one_transfer_per_tensor() -> None:
    """cpu -> a -> cpu -> a: a value used twice on a device crosses once."""
    with st.Graph().as_default() as graph:
        x = st.placeholder(st.float32, [2])
        y = st.exp(x)
        with st.device("/a:0"):
            z = y * y
        w = st.tanh(z)
        with st.device("/a:0"):
            v = w + y
        plan, _, executor = compiled(Unit(graph, (x,), (v,)))
    assert [p.device for p in plan.partitions] == ["/cpu:0", "/a:0", "/cpu:0", "/a:0"]
    assert len(plan.transfers) == 3  # y and w to a, z back
    np.testing.assert_allclose(
        executor.run([np.float32([0, 1])])[0], np.tanh(np.exp([0, 2])) + np.exp([0, 1]), rtol=1e-6
    )


def test_constants_are_copied_not_sent() -> None:
    """A device sees weights as constants at compile time."""
    with st.Graph().as_default() as graph:
        x = st.placeholder(st.float32, [2])
        with st.device("/a:0"):
            y = x * st.constant([2.0, 3.0])
        plan, _, executor = compiled(Unit(graph, (x,), (y,)))
    (part,) = plan.partitions
    assert part.inputs == ("feed|Placeholder:0",)
    assert [op.type for op in part.graph.get_operations()] == ["recv", "const", "mul", "send"]
    np.testing.assert_array_equal(executor.run([np.float32([1, 1])])[0], [2, 3])


def test_fetching_feeds_and_constants() -> None:
    """Corner cases without any op to run."""
    with st.Graph().as_default() as graph:
        x, c = st.placeholder(st.float32, []), st.constant(3.0)
        _, _, executor = compiled(Unit(graph, (x,), (x, c)))
        assert executor.run([1.0]) == [1.0, 3.0]
        _, _, executor = compiled(Unit(graph, (x,), (x,)))
        assert executor.run([2.0]) == [2.0]


def test_common_subexpressions_go_and_stateful_ops_stay() -> None:
    """Two equal exps become one, two random ops stay two."""
    with st.Graph().as_default() as graph:
        x = st.placeholder(st.float32, [2])
        y = st.exp(x) + st.exp(x)
        r = st.random_normal([2], seed=1) + st.random_normal([2], seed=1)
        plan, _, _ = compiled(Unit(graph, (x,), (y, r)))
    kinds = [op.type for op in plan.partitions[0].graph.get_operations()]
    assert kinds.count("exp") == 1
    assert kinds.count("random_standard_normal") == 2


def test_folding_leaves_only_what_depends_on_feeds() -> None:
    """Shapes of static tensors and arithmetic on constants vanish."""
    with st.Graph().as_default() as graph:
        x = st.placeholder(st.float32, [4, 3])
        rows = st.cast(st.shape(x)[0] * 2, st.float32)
        plan, _, executor = compiled(Unit(graph, (x,), (x * rows,)))
    kinds = [op.type for op in plan.partitions[0].graph.get_operations()]
    assert kinds == ["recv", "const", "mul", "send"]
    assert executor.run([np.ones((4, 3), np.float32)])[0][0, 0] == 8


def test_accelerator_ops_are_not_folded() -> None:
    """Who asks for a device gets it, even for constants."""
    with st.Graph().as_default() as graph:
        with st.device("/a:0"):
            y = st.constant(2.0) + st.constant(3.0)
        plan, _, _ = compiled(Unit(graph, (), (y,)))
    assert plan.partitions[0].device == "/a:0"


def test_fallback_is_recorded_with_its_reason() -> None:
    """And the op runs on the CPU."""
    with st.Graph().as_default() as graph:
        x = st.placeholder(st.float32, [2])
        with st.device("/b:0"):
            y = st.multiply(x, x, name="product")
        plan, _, executor = compiled(Unit(graph, (x,), (y,)))
    assert [(f.op, f.name, f.reason) for f in plan.fallback] == [
        ("mul", "product", "no multiplier")
    ]
    np.testing.assert_array_equal(executor.run([np.float32([2, 3])])[0], [4, 9])


def test_dump_shows_every_step() -> None:
    """For --dump-passes."""
    seen: dict[str, str] = {}
    with st.Graph().as_default() as graph:
        y = st.exp(st.placeholder(st.float32, [2], name="x"), name="y")
        compile_unit(Unit(graph, (), (y,)), Places(), seen.__setitem__)
    assert list(seen)[0] == "input" and list(seen)[-1] == "partition_0"
    assert "y = exp(x) -> float32(2,)" in seen["prune"]


def test_an_error_in_one_partition_reaches_the_caller() -> None:
    """While others run in parallel, and the executor runs again."""
    with st.Graph().as_default() as graph:
        x = st.placeholder(st.int32, [])
        with st.device("/a:0"):
            bad = st.gather(st.constant([1.0, 2.0]), x)
        with st.device("/b:0"):
            good = st.exp(st.cast(x, st.float32))
        _, _, executor = compiled(Unit(graph, (x,), (bad, good)))
    with pytest.raises(st.errors.InvalidArgumentError, match="index 7"):
        executor.run([np.int32(7)])
    assert executor.run([np.int32(1)])[0] == 2


def test_folding_leaves_failures_to_the_run() -> None:
    """A constant expression that fails says so when it runs, not when it is compiled."""
    with st.Graph().as_default() as graph:
        y = st.gather(st.constant([1.0, 2.0]), st.constant(5), name="beyond")
        _, _, executor = compiled(Unit(graph, (), (y,)))
    with pytest.raises(st.errors.InvalidArgumentError, match="'beyond'.*index 5"):
        executor.run([])
