"""Checkpoints by objects, looked at without a graph, and as the start of other variables."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st

RNG = np.random.default_rng(61)
W, B = RNG.standard_normal((4, 3)).astype(np.float32), np.float32([1, 2, 3])


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def saved(path: Path, **values: Any) -> str:
    """A checkpoint with these variables; slashes are written as double underscores."""
    with st.Graph().as_default(), st.Session() as session:
        named = {n.replace("__", "/"): st.Variable(v, name=n) for n, v in values.items()}
        session.run(st.global_variables_initializer())
        return st.train.Saver(named).save(session, str(path / "model"), write_meta_graph=False)


def started() -> Any:
    session = st.Session()
    session.run(st.global_variables_initializer())
    return session


def test_looking_into_checkpoints(tmp_path: Path) -> None:
    """By the path of one and by the directory; what is not there is named."""
    path = saved(tmp_path, hidden__w=W, b=B)
    for place in (path, str(tmp_path)):
        assert st.train.list_variables(place) == [("b", [3]), ("hidden/w", [4, 3])]
        np.testing.assert_array_equal(st.train.load_variable(place, "hidden/w:0"), W)
        assert st.train.load_checkpoint(place).has_tensor("b")
    assert st.train.checkpoint_exists(path)
    (when,) = st.train.get_checkpoint_mtimes([path, path + "-2"])
    assert abs(when - time.time()) < 60
    with pytest.raises(st.errors.NotFoundError, match="hidden/w"):
        st.train.load_variable(path, "hidden")
    st.train.remove_checkpoint(path)
    assert not st.train.checkpoint_exists(path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]
    with pytest.raises(st.errors.NotFoundError, match="has no checkpoint"):
        st.train.load_variable(str(tmp_path), "b")


def test_waiting_for_checkpoints(tmp_path: Path) -> None:
    """Each new one once, as a thread writes them; then the time is out."""

    def write() -> None:
        with st.Graph().as_default(), st.Session() as session:
            v = st.Variable(B)
            session.run(v.initializer)
            saver = st.train.Saver([v])
            for step in range(3):
                saver.save(session, str(tmp_path / "m"), step, write_meta_graph=False)
                seen.wait()
                seen.clear()

    seen = threading.Event()
    thread = threading.Thread(target=write)
    thread.start()
    found = []
    for path in st.train.checkpoints_iterator(str(tmp_path), timeout=20):
        found.append(path.rpartition("-")[2])
        seen.set()
        if len(found) == 3:
            break
    thread.join()
    assert found == ["0", "1", "2"]
    asked: list[int] = []

    def enough() -> bool:
        asked.append(1)
        return len(asked) == 2

    rest = st.train.checkpoints_iterator(str(tmp_path), timeout=0, timeout_fn=enough)
    assert [p.rpartition("-")[2] for p in rest] == ["2"] and len(asked) == 2


def test_variables_begin_with_a_checkpoint(tmp_path: Path) -> None:
    """By name, variable, parts, and whole scopes; the others keep their initialisers."""
    path = saved(tmp_path, old__w=W, old__b=B, other=B)
    with st.variable_scope("new"):
        w, b = st.get_variable("w", [4, 3]), st.get_variable("b", [3])
    by_name, rest = st.Variable(np.zeros(3, np.float32), name="named"), st.Variable([7.0])
    parts = st.create_partitioned_variables([4, 3], [2, 1], st.zeros_initializer(), name="parts")
    again = st.create_partitioned_variables([4, 3], [2, 1], st.zeros_initializer(), name="again")
    st.train.init_from_checkpoint(path, {"old/": "new/", "other": "named", "old/w": parts})
    st.train.init_from_checkpoint(str(tmp_path), [("old/w", "again")])
    with started() as session:
        np.testing.assert_array_equal(session.run(w), W)
        np.testing.assert_array_equal(session.run(b), B)
        np.testing.assert_array_equal(session.run(by_name), B)
        assert session.run(rest) == [7]
        for made in (parts, again):
            np.testing.assert_array_equal(np.concatenate(session.run(made)), W)


def test_what_cannot_begin_with_a_checkpoint(tmp_path: Path) -> None:
    path = saved(tmp_path, w=W)
    v = st.Variable(np.zeros((3, 4), np.float32), name="v")
    for given, error, words in [
        ({"w": v}, st.errors.ShapeError, r"\(4, 3\)"),
        ({"x": v}, st.errors.NotFoundError, "'x'"),
        ({"w": "nobody"}, st.errors.NotFoundError, "nobody"),
        ({"/": "nowhere/"}, st.errors.NotFoundError, "nowhere"),
        ({"w": "v/"}, st.errors.InvalidArgumentError, "end it"),
        ({"w": 3}, st.errors.InvalidArgumentError, "no variable"),
    ]:
        with pytest.raises(error, match=words):
            st.train.init_from_checkpoint(path, given)


def test_warm_start(tmp_path: Path) -> None:
    """Those that match, those that are listed, those with another name before."""
    path = saved(tmp_path, net__w=W, net__b=B)
    with st.variable_scope("net"):
        w, b = st.get_variable("w", [4, 3]), st.get_variable("b", [3])
    c = st.Variable(np.zeros(3, np.float32), name="c")
    st.train.warm_start(path, "net/w", var_name_to_prev_var_name={"c": "net/b"})
    with started() as session:
        np.testing.assert_array_equal(session.run(w), W)
        np.testing.assert_array_equal(session.run(c), B)
        assert (session.run(b) == 0).sum() < 3  # Glorot's numbers, not the checkpoint's
    st.train.warm_start(str(tmp_path), [b, "net/w"])
    with started() as session:
        np.testing.assert_array_equal(session.run(b), B)
    with pytest.raises(st.errors.NotFoundError, match="'d'"):
        st.train.warm_start(path, ["d"])
    with pytest.raises(st.errors.InvalidArgumentError, match="vocabularies"):
        st.train.warm_start(path, var_name_to_vocab_info={"w": object()})


class Net:
    """A model of a user: a layer, and weights in a list."""

    def __init__(self, scope: str) -> None:
        with st.variable_scope(scope):
            self.hidden = st.layers.Dense(3, name="first")
            self.outputs = [st.get_variable("last", [3, 2])]

    def __call__(self, x: Any) -> Any:
        return st.matmul(self.hidden(x), self.outputs[0])


def built(scope: str) -> tuple[Net, Any, Any]:
    """A model, its optimiser and a step of training."""
    net, optimizer = Net(scope), st.train.AdamOptimizer(0.1)
    loss = st.reduce_sum(st.square(net(np.ones((2, 4), np.float32)) - 1.0))
    return net, optimizer, optimizer.minimize(loss)


def test_objects_under_other_names(tmp_path: Path) -> None:
    """Saved by one program, read by another whose graph names everything otherwise: the next step
    of training is the same."""
    net, optimizer, step = built("a")
    both = st.train.Checkpoint(model=net, optimizer=optimizer)
    with started() as session:
        session.run(step)
        path = both.save(str(tmp_path / "ckpt"), session)
        session.run(step)
        want = session.run([net.hidden.kernel, net.outputs[0]])
    assert path.endswith("ckpt-1") and st.train.latest_checkpoint(str(tmp_path)) == path
    names = [n for n, _ in st.train.list_variables(path)]
    assert {"model/hidden/kernel", "model/hidden/bias", "model/outputs/0"} <= set(names)
    assert "optimizer/slots/model/hidden/kernel/m" in names
    with st.Graph().as_default(), st.Session() as session:
        net, optimizer, step = built("elsewhere")
        both = st.train.Checkpoint(model=net, optimizer=optimizer)
        both.restore(path).assert_consumed().run_restore_ops(session)
        session.run(step)
        got = session.run([net.hidden.kernel, net.outputs[0]])
        assert both.save(str(tmp_path / "ckpt"), session).endswith("ckpt-2")
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_parts_of_objects(tmp_path: Path) -> None:
    """A file with less or more than the objects hold, and one that does not fit."""
    v, w = st.Variable([1.0, 2.0]), st.Variable([3.0])
    with started() as session:
        path = st.train.Checkpoint(v=v).write(str(tmp_path / "part"), session)
        session.run(v.assign([0.0, 0.0]))
        more = st.train.Checkpoint(v=v, w={"inner": w})
        status = more.restore(path).expect_partial()
        with pytest.raises(st.errors.NotFoundError, match="w/inner"):
            status.assert_existing_objects_matched()
        session.run(w.assign([9.0]))
        status.initialize_or_restore(session)
        assert session.run([v, w])[0].tolist() == [1, 2] and session.run(w) == [3]
        with pytest.raises(st.errors.NotFoundError, match="no object holds 'v'"):
            st.train.Checkpoint(w=w).restore(path).assert_consumed()
        with pytest.raises(st.errors.ShapeError, match="'v'"):
            st.train.Checkpoint(v=w).restore(path).run_restore_ops(session)
    with pytest.raises(st.errors.InvalidArgumentError, match="'save'"):
        st.train.Checkpoint(save=v)


def test_manager_keeps_the_last_ones(tmp_path: Path) -> None:
    """The oldest go, numbers may be given, and another manager goes on where this one ended."""
    v = st.Variable(0.0)
    checkpoint = st.train.Checkpoint(v=v)
    manager = st.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=2)
    with st.Session() as session:
        assert manager.restore_or_initialize(session) is None
        paths = []
        for value in (1.0, 2.0, 3.0):
            session.run(v.assign(value))
            paths.append(manager.save(session=session))
        assert manager.checkpoints == paths[1:] and manager.latest_checkpoint == paths[2]
        assert [st.train.checkpoint_exists(p) for p in paths] == [False, True, True]
        assert manager.save(70, session).endswith("ckpt-70")
    again = st.train.CheckpointManager(checkpoint, str(tmp_path), 2)
    assert again.checkpoints == manager.checkpoints
    with st.Session() as session:
        assert str(again.restore_or_initialize(session)).endswith("ckpt-70")
        assert session.run(v) == 3
    with pytest.raises(st.errors.InvalidArgumentError, match="max_to_keep"):
        st.train.CheckpointManager(checkpoint, str(tmp_path), 0)
