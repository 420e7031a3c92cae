"""Several CPU devices in one process: who runs what, what crosses, and training over them equals
training on one."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

import systolica as st

FOUR = st.SessionConfig(device_count={"CPU": 4})
FULL = st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def short(device: str) -> str:
    return device.rsplit("/", 1)[1]


def test_device_count_makes_devices() -> None:
    """As many as asked for, one by default, none of a kind with 0."""
    x = st.placeholder(st.float32, [])
    with st.device("/cpu:3"):
        y = st.exp(x, name="far")
    with st.Session(config=FOUR) as session:
        names = [short(name) for name in session.list_devices()]
        assert [n for n in names if n.startswith("cpu")] == [f"cpu:{i}" for i in range(4)]
        metadata = st.RunMetadata()
        assert session.run(y, {x: 0.0}, FULL, metadata) == 1
        assert [short(d) for d in metadata.step_stats.devices] == ["cpu:3"]
    with st.Session(config=st.SessionConfig(device_count={"TPU": 0, "GPU": 0})) as session:
        assert [short(name) for name in session.list_devices()] == ["cpu:0"]
        with pytest.raises(st.errors.InvalidArgumentError, match="'far'.*unknown device '/cpu:3'"):
            session.run(y, {x: 0.0})


@pytest.mark.parametrize(
    "counts", [{"CPU": 0}, {"CPU": True}, {"cpu": 1.5}, {"TPU": -1}, {0: 1}, 4]
)
def test_bad_counts_are_refused(counts: Any) -> None:
    """Where they are written, with the value."""
    with pytest.raises(st.errors.InvalidArgumentError, match=r"device_count=.*should be"):
        st.SessionConfig(device_count=counts)


def test_state_stays_where_it_is() -> None:
    """Reads and writes from other devices run on the variable's; so do a queue's."""
    with st.device("/cpu:2"):
        v = st.Variable([1.0, 2.0], name="v")
        queue = st.FIFOQueue(3, st.float32, [(2,)])
    with st.device("/cpu:1"):
        put = queue.enqueue(v * 2.0)
        with st.control_dependencies([put]):
            got = queue.dequeue()
        bump = v.assign_add(got)
    metadata = st.RunMetadata()
    with st.Session(config=FOUR) as session:
        session.run(v.initializer)
        np.testing.assert_array_equal(session.run(bump, None, FULL, metadata), [3, 6])
    where = {node.type: short(node.device) for node in metadata.step_stats.nodes}
    assert where.pop("mul") == "cpu:1" and set(where.values()) == {"cpu:2"}
    assert {"read_variable", "assign_add"} <= set(where)


def test_a_variable_crosses_once() -> None:
    """Every use in a device's scope is a read of its own, and yet one transfer; a write between two
    reads keeps them apart, with the values that one device gives."""
    with st.device("/cpu:0"):
        v = st.Variable([1.0, 2.0])
    with st.device("/cpu:1"):
        used = v * 2.0 + v * v
        first = v.read_value()
    with st.device("/cpu:0"), st.control_dependencies([first]):
        bump = v.assign_add([1.0, 1.0])
    with st.device("/cpu:1"), st.control_dependencies([bump]):
        second = v.read_value() * 1.0
    once, both = st.RunMetadata(), st.RunMetadata()
    with st.Session(config=FOUR) as session:
        session.run(v.initializer)
        np.testing.assert_array_equal(session.run(used, run_metadata=once), [3, 8])
        got = session.run([first, used, second], run_metadata=both)
    np.testing.assert_array_equal(got, [[1, 2], [3, 8], [2, 3]])
    assert len(once.transfers) == 1 and len(both.transfers) == 2


def deep_lstm(devices: list[str], steps: int = 6) -> Any:
    """The slides' loop: layer d on devices[d]; the loss of the last output."""
    rng = np.random.default_rng(0)
    cells = [st.nn.rnn_cell.BasicLSTMCell(8) for _ in devices]
    x = [st.constant(rng.standard_normal((2, 8)).astype(np.float32)) for _ in range(steps)]
    states = [cell.zero_state(2, st.float32) for cell in cells]
    outs = []
    for i in range(steps):
        out = x[i]
        for d, device in enumerate(devices):
            init = st.random_normal_initializer(0, 0.5, seed=d)
            with st.device(device), st.variable_scope(f"layer{d}", initializer=init):
                out, states[d] = cells[d](out, states[d])
        outs.append(out)
    return outs


def trained(build: Any, config: st.SessionConfig | None) -> tuple[list[Any], st.RunMetadata]:
    """The variables after four steps of what `build` makes (loss, train op), its losses, and what
    the last step did."""
    metadata = st.RunMetadata()
    with st.Graph().as_default():
        loss, train = build()
        with st.Session(config=config) as session:
            session.run(st.global_variables_initializer())
            losses = [session.run([loss, train], None, FULL, metadata)[0] for _ in range(4)]
            return [*losses, *session.run(st.trainable_variables())], metadata


def test_deep_lstm_with_a_device_per_layer() -> None:
    """Equal to one device bit for bit; from layer to layer one Recv per step."""
    outs = deep_lstm([f"/cpu:{d}" for d in range(4)])
    metadata = st.RunMetadata()
    with st.Session(config=FOUR) as session:
        session.run(st.global_variables_initializer())
        got = session.run(outs, None, FULL, metadata)
    with st.Graph().as_default(), st.Session() as session:
        plain = deep_lstm([""] * 4)
        session.run(st.global_variables_initializer())
        np.testing.assert_array_equal(got, session.run(plain))
    assert [short(d) for d in metadata.step_stats.devices] == [f"cpu:{d}" for d in range(4)]
    borders = Counter(key.split("|")[0] for key in metadata.transfers)
    assert {tuple(short(d) for d in b.split("->")): n for b, n in borders.items()} == {
        (f"cpu:{d}", f"cpu:{d + 1}"): 6 for d in range(3)
    }
    keys = [t.key for t in metadata.step_stats.transfers]
    assert sorted(keys) == sorted(set(keys)) == sorted(metadata.transfers)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_layers_over_devices_train_as_on_one(optimizer: str) -> None:
    """Model parallelism: backward through the borders, bit for bit as on one device."""

    def build(devices: list[str]) -> Any:
        loss = st.reduce_mean(st.square(st.stack(deep_lstm(devices, 3))))
        kinds = {"sgd": st.train.GradientDescentOptimizer, "adam": st.train.AdamOptimizer}
        made = kinds[optimizer](0.1)
        pairs = made.compute_gradients(loss, colocate_gradients_with_ops=True)
        return loss, made.apply_gradients(pairs)

    many, metadata = trained(lambda: build([f"/cpu:{d}" for d in range(4)]), FOUR)
    one, _ = trained(lambda: build([""] * 4), None)
    assert len(many) == len(one) == 4 + 8 and many[3] < many[0]
    for a, b in zip(many, one, strict=True):
        np.testing.assert_array_equal(a, b)
    back = [k for k in metadata.transfers if "cpu:3->/job:localhost/replica:0/task:0/cpu:2" in k]
    assert back, "gradients go back from layer to layer"


def images(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((count, 12)).astype(np.float32)
    return x, np.eye(3, dtype=np.float32)[np.argmax(x[:, :3], 1)]


def weights() -> tuple[Any, Any]:
    rng = np.random.default_rng(2)
    shapes = ((12, 16), (16, 3))
    w, u = (st.Variable(rng.standard_normal(s).astype(np.float32) * 0.3) for s in shapes)
    return w, u


def loss_of(hidden: Any, u: Any, labels: Any) -> Any:
    scores = st.nn.softmax_cross_entropy_with_logits(logits=st.matmul(hidden, u), labels=labels)
    return st.reduce_mean(scores)


def split_batch(first: list[str], second: list[str]) -> Any:
    """A batch of 32 in equal parts, part i's layers on first[i] and second[i]; gradients averaged
    in the parts' order, one update on the first CPU."""
    x, labels = images(32)
    with st.device("/cpu:0"):
        w, u = weights()
    size = 32 // len(first)
    losses, gradients = [], []
    for i, (near, far) in enumerate(zip(first, second, strict=True)):
        rows = slice(i * size, (i + 1) * size)
        with st.device(near):
            hidden = st.tanh(st.matmul(st.constant(x[rows]), w))
        with st.device(far):
            loss = loss_of(hidden, u, st.constant(labels[rows]))
        gradients.append(st.gradients(loss, [w, u], colocate_gradients_with_ops=True))
        losses.append(loss)
    with st.device("/cpu:0"):
        parts = float(len(first))
        mean = [st.add_n(list(g)) / parts for g in zip(*gradients, strict=True)]
        train = st.train.GradientDescentOptimizer(0.5).apply_gradients(
            zip(mean, (w, u), strict=True)
        )
        return st.add_n(losses) / parts, train


@pytest.mark.parametrize("kind", ["data", "pipeline"])
def test_parts_of_a_batch_over_devices_train_as_the_whole(kind: str) -> None:
    """Replicas that share variables, or micro-batches through two stages: bit for bit as the same
    parts on one device, and to rounding as the whole batch at once."""
    cpus = [f"/cpu:{i}" for i in range(4)]
    first, second = (cpus, cpus) if kind == "data" else (["/cpu:1"] * 4, ["/cpu:2"] * 4)
    many, metadata = trained(lambda: split_batch(first, second), FOUR)
    same, _ = trained(lambda: split_batch([""] * 4, [""] * 4), None)
    whole, _ = trained(lambda: split_batch([""], [""]), None)
    for a, b, c in zip(many, same, whole, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=2e-5, atol=2e-6)
    assert many[3] < many[0]
    used = {short(node.device) for node in metadata.step_stats.nodes if node.type == "matmul"}
    assert used == ({f"cpu:{i}" for i in range(4)} if kind == "data" else {"cpu:1", "cpu:2"})
