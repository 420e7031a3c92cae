"""What the papers on TensorFlow promise, where no test elsewhere shows it."""

from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.compiler.passes import compile_unit
from sw.compiler.unit import Unit


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def test_the_slides_run() -> None:
    """The fragments of the talk, `st` for `tf`: softmax regression and the LSTM by hand."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(size=(100, 784)).astype(np.float32)
    digits = np.eye(10, dtype=np.float32)[(pixels[:, :10]).argmax(1)]
    x = st.placeholder("float", shape=[None, 784])
    W = st.Variable(st.zeros([784, 10]))
    b = st.Variable(st.zeros([10]))
    y = st.nn.softmax(st.matmul(x, W) + b)
    y_ = st.placeholder(st.float32, [None, 10])
    cross_entropy = -st.reduce_sum(y_ * st.log(y))
    opt = st.train.GradientDescentOptimizer(0.0005)
    train_op = opt.minimize(cross_entropy)
    init = st.initialize_all_variables()
    sess = st.Session()
    sess.run(init)
    feeds = {x: pixels, y_: digits}
    first = sess.run(cross_entropy, feeds)
    for _ in range(100):
        sess.run(train_op, feed_dict=feeds)
    assert sess.run(cross_entropy, feeds) < first / 2
    sess.close()


def test_deep_lstm_of_the_slides() -> None:
    """Four layers over the steps, each in a scope of its own on a device that is named."""
    cells = [st.nn.rnn_cell.BasicLSTMCell(3) for _ in range(4)]
    x = [st.constant(np.ones((2, 3), np.float32)) for _ in range(5)]
    states = [cell.zero_state(2, st.float32) for cell in cells]
    for i in range(5):
        out = x[i]
        for d in range(4):
            with st.device("/cpu:0"), st.variable_scope(f"layer{d}"):
                out, states[d] = cells[d](out, states[d])
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        assert session.run(out).shape == (2, 3)
    assert len(st.trainable_variables()) == 8


def test_cycles_cannot_be_made_nor_read() -> None:
    """An op takes tensors that exist, so that only a stored graph could have a cycle: it is
    refused, naming the op."""
    from sw.graph.serialise import Reader, Writer

    a = st.constant(1.0, name="a")
    b = st.negative(a, name="b")
    st.square(b, name="c")
    writer = Writer()
    data = writer.graph(st.get_default_graph())["ops"]
    data[1]["inputs"] = ["c:0"]
    with st.Graph().as_default() as other, pytest.raises(st.errors.DataLossError, match="'b'"):
        Reader(writer.arrays).ops(other, data, "")


def test_gradients_stand_with_their_ops() -> None:
    """colocate_gradients_with_ops puts the gradient on its op's device."""
    x = st.constant(2.0)
    with st.device("/job:worker/task:3"):
        y = st.square(x)
    st.gradients(y, x, colocate_gradients_with_ops=True)
    ops = [op for op in st.get_default_graph().get_operations() if "grad" in op.name]
    inner = [op for op in ops if op.type == "mul"]
    assert inner and all(op.device == "/job:worker/task:3" for op in inner)


@pytest.mark.parametrize("case", range(12))
def test_random_graphs_equal_a_topological_oracle(case: int) -> None:
    """Random DAGs of values and variables' writes, ordered by control edges, against plain Python
    in creation order."""
    rng = np.random.default_rng(case)
    values: list[Any] = [float(rng.normal()) for _ in range(3)]
    tensors: list[Any] = [st.constant(v) for v in values]
    v = st.Variable(0.0)
    held, written = 0.0, None
    for _ in range(40):
        i, j = rng.integers(len(tensors), size=2)
        kind = rng.integers(4)
        if kind == 3:
            with st.control_dependencies([] if written is None else [written]):
                written = v.assign_add(tensors[i])
            held += values[i]
            values.append(held)
            tensors.append(written)
        else:
            op = (st.add, st.multiply, st.maximum)[kind]
            tensors.append(op(tensors[i], tensors[j]) * 0.5)
            plain = (lambda a, b: a + b, lambda a, b: a * b, max)[kind]
            values.append(0.5 * plain(values[i], values[j]))
    with st.Session() as session:
        session.run(v.initializer)
        np.testing.assert_allclose(session.run(tensors), values, rtol=1e-4, atol=1e-5)


def test_common_subexpressions_go_and_stateful_ops_stay() -> None:
    """Counted in the compiled plan: one exp for two, two draws for two."""
    x = st.placeholder(st.float32, [2])
    y = st.exp(x) * st.exp(x) + st.random_uniform([2], seed=1) + st.random_uniform([2], seed=1)
    with st.Session() as session:
        plan = compile_unit(Unit(st.get_default_graph(), (x,), (y,)), session.devices)
    kinds = [op.type for p in plan.partitions for op in p.graph.get_operations()]
    assert kinds.count("exp") == 1 and kinds.count("random_standard_uniform") == 2


def test_sharded_embedding_costs_what_its_ids_cost() -> None:
    """Over four tables a lookup and its update equal the dense ones; the rows that move are those
    of the ids, not of the table."""
    table = np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32)
    ids = np.asarray([3, 17, 3, 38])
    shards = [st.Variable(table[k::4]) for k in range(4)]
    whole = st.Variable(table)
    rate = st.train.GradientDescentOptimizer(0.5)
    steps = []
    for params in (shards, whole):
        found = st.nn.embedding_lookup(params, ids)
        loss = st.reduce_sum(st.square(found))
        variables = params if isinstance(params, list) else [params]
        pairs = rate.compute_gradients(loss, variables)
        assert all(isinstance(g, st.IndexedSlices) for g, _ in pairs)
        steps.append((rate.apply_gradients(pairs), [g.values for g, _ in pairs]))
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        moved = sum(v.size for v in session.run(steps[0][1]))
        assert moved == ids.size * 3
        session.run([step for step, _ in steps])
        parts, dense = session.run([shards, whole])
        np.testing.assert_allclose(np.stack(parts, 1).reshape(40, 3), dense, rtol=1e-6)
        assert (dense != table).any(1).sum() == 3


class SignDescent(st.train.Optimizer):
    """A user's own: a step of the learning rate against the gradient's sign, with a slot."""

    def __init__(self, rate: float) -> None:
        super().__init__(False, "SignDescent")
        self._rate = rate

    def _make_slots(self, var: Any) -> None:
        self._slot(var, "steps", 0.0)

    def _apply(self, graph: Any, grad: Any, var: Any, prepared: Any) -> Any:
        count = self._slot(var, "steps").assign_add(st.ones_like(grad))
        with st.control_dependencies([count]):
            return var.assign_sub(self._rate * st.sign(grad))


def test_a_user_adds_an_optimiser() -> None:
    """Without touching any file of ours: slots, minimize, global step."""
    v = st.Variable([1.0, -2.0])
    opt = SignDescent(0.25)
    train = opt.minimize(st.reduce_sum(st.square(v)))
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for _ in range(4):
            session.run(train)
        np.testing.assert_allclose(session.run(v), [0, -1])
        assert session.run(opt.get_slot(v, "steps")).tolist() == [4, 4]
