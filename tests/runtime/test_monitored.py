"""Monitored sessions: hooks, checkpoints that go on bit for bit, recovery, stopping."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.graph.gate import Gate
from tests.verification import kill


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def counting() -> tuple[Any, Any]:
    """(an op that adds 1 to the global step, the step)."""
    step = st.train.get_or_create_global_step()
    return step.assign_add(1), step


def test_killed_runs_end_like_an_unkilled_one(seed: int) -> None:
    """A slice of `make kill`: SIGKILL at random moments, every byte the same in the end."""
    outcome = kill.run(3, seed)
    assert outcome.kills == 3 and outcome.most_lost <= kill.INTERVAL


def pipeline(folder: Path) -> Any:
    """What a reader, a shuffling queue and random ops make, in two stages of queues."""
    files = [str(folder / f"{n}.txt") for n in range(2)]
    for n, name in enumerate(files):
        Path(name).write_text("".join(f"{n * 10 + i}\n" for i in range(7)))
    names = st.train.string_input_producer(files, num_epochs=5, shuffle=False)
    _, line = st.TextLineReader().read(names)
    (number,) = st.decode_csv(line, [[0]])
    noise = st.cast(st.random_uniform([2]) * 100, st.int32)
    return st.train.shuffle_batch([number, noise], 4, 9, 3, allow_smaller_final_batch=True)


def rest(session: Any, batch: Any) -> list[Any]:
    """All batches until the input ends."""
    out = []
    with pytest.raises(st.errors.OutOfRangeError):
        while True:
            out.append([v.tolist() for v in session.run(batch)])
    return out


@pytest.mark.parametrize("seed_of_graph", [None, 5])
def test_input_goes_on_where_it_was(tmp_path: Path, seed_of_graph: int | None) -> None:
    """Queues, readers, epochs, random ops with and without a seed: after a restore the batches are
    those that would have come."""
    if seed_of_graph is not None:
        st.set_random_seed(seed_of_graph)
    batch = pipeline(tmp_path)
    saver = st.train.Saver(allow_empty=True)
    with st.Session() as session:
        session.run(st.local_variables_initializer())
        coord = st.train.Coordinator()
        threads = st.train.start_queue_runners(session, coord)
        first = [session.run(batch) for _ in range(5)]
        path = saver.save(session, str(tmp_path / "m"), write_meta_graph=False, session_state=True)
        want = rest(session, batch)
        coord.request_stop()
        coord.join(threads)
    assert sum(len(f[0]) for f in first) + sum(len(w[0]) for w in want) == 70
    for _ in range(2):  # a restored state that nothing used yet is saved whole again
        with st.Session() as session:
            session.run(st.local_variables_initializer())
            saver.restore(session, path, session_state=True)
            path = saver.save(
                session, str(tmp_path / "n"), write_meta_graph=False, session_state=True
            )
            coord = st.train.Coordinator()
            threads = st.train.start_queue_runners(session, coord)
            assert rest(session, batch) == want
            coord.request_stop()
            coord.join(threads)


def test_order_of_a_shuffling_queue_depends_on_the_seed_alone() -> None:
    """Not on how far ahead the filler is."""
    row = st.train.range_input_producer(50, seed=1).dequeue()
    batch = st.train.shuffle_batch([row], 5, 40, 20, seed=2)
    orders = []
    for pause in (0.0, 0.01):
        with st.Session() as session:
            coord = st.train.Coordinator()
            threads = st.train.start_queue_runners(session, coord)
            order = []
            for _ in range(8):
                order += session.run(batch)[0].tolist()
                time.sleep(pause)
            orders.append(order)
            coord.request_stop()
            coord.join(threads)
    assert orders[0] == orders[1] and orders[0] != sorted(orders[0])


def test_a_filler_that_does_not_rest_is_named() -> None:
    """Saving waits for it, but not for ever."""
    gate = Gate(lambda: {})
    go = threading.Event()

    def fill() -> None:
        with gate.filling("slow"), gate.run("slow"):
            go.wait(10)

    thread = threading.Thread(target=fill)
    thread.start()
    while not gate._active["slow"]:
        time.sleep(0.001)
    with pytest.raises(st.errors.DeadlineExceededError, match="fills 'slow' did not come to rest"):
        with gate.paused(patience=0.05):
            pass
    go.set()
    thread.join()
    with gate.paused():
        pass


def test_saves_resumes_and_stops(tmp_path: Path) -> None:
    """Checkpoints at the start, at intervals and at the end; the newest whole one is resumed."""
    bump, step = counting()
    w = st.get_variable("w", initializer=np.float32(0))
    train = st.group(bump, w.assign_add(st.random_normal([], seed=1)))
    init = st.global_variables_initializer()
    folder = str(tmp_path / "run")

    def train_to(last: int) -> tuple[int, float]:
        hooks = [st.train.StopAtStepHook(last_step=last)]
        with st.train.MonitoredTrainingSession(
            checkpoint_dir=folder, hooks=hooks, save_checkpoint_steps=3
        ) as session:
            at = session.raw_session().run(step)
            while not session.should_stop():
                session.run(train)
            return int(at), float(session.raw_session().run(w))

    assert train_to(4)[0] == 0
    kept = st.train.get_checkpoint_state(folder).all_model_checkpoint_paths
    assert [p.rpartition("-")[2] for p in kept] == ["0", "3", "4"]
    at, resumed = train_to(8)
    assert at == 4 and train_to(8) == (8, resumed)
    with st.Session() as session:
        session.run(init)
        for _ in range(8):
            session.run(train)
        assert session.run(w) == resumed  # the counter of the random op went on as well
    with st.Graph().as_default():
        train, step = counting()
        with pytest.raises(st.errors.NotFoundError, match="no tensor 'new'"):
            st.Variable(1.0, name="new")
            st.train.MonitoredTrainingSession(checkpoint_dir=folder)


def test_hooks_see_every_run(caplog: pytest.LogCaptureFixture) -> None:
    """Order of the calls, fetches and feeds of hooks, stopping, values at the end."""
    bump, step = counting()
    x = st.placeholder(st.float32, [])
    y = st.identity(x * 2, name="y")
    calls: list[str] = []

    class Spy(st.train.SessionRunHook):
        """Notes what it is told."""

        def begin(self) -> None:
            calls.append("begin")

        def after_create_session(self, session: Any, coord: Any) -> None:
            calls.append("created")

        def before_run(self, run_context: Any) -> Any:
            assert run_context.original_args.fetches is bump
            return st.train.SessionRunArgs({"twice": y}, {x: 4.0})

        def after_run(self, run_context: Any, run_values: Any) -> None:
            calls.append(f"ran {run_values.results['twice']}")

        def end(self, session: Any) -> None:
            calls.append("end")

    final = st.train.FinalOpsHook(step)
    st.logging.set_verbosity(st.logging.INFO)
    try:
        with caplog.at_level(logging.INFO):
            hooks = [
                Spy(),
                st.train.StopAtStepHook(num_steps=2),
                st.train.LoggingTensorHook({"double": "y:0"}, every_n_iter=1),
                st.train.StepCounterHook(1),
                final,
            ]
            with st.train.MonitoredSession(hooks=hooks) as session:
                values = []
                while not session.should_stop():
                    values.append(int(session.run(bump)))
    finally:
        st.logging.set_verbosity(st.logging.WARN)
    assert values == [1, 2] and final.final_ops_values == 2
    assert calls == ["begin", "created", "ran 8.0", "ran 8.0", "end"]
    assert "double = 8.0" in caplog.text and "steps per second" in caplog.text
    with pytest.raises(st.errors.GraphError, match="closed"):
        session.run(bump)


def test_two_feeds_of_one_tensor_are_refused() -> None:
    """By a hook and by the caller."""
    x = st.placeholder(st.float32, [], name="x")
    hook = st.train.FeedFnHook(lambda: {x: 1.0})
    with st.train.MonitoredSession(hooks=[hook]) as session:
        assert session.run(x) == 1
        with pytest.raises(st.errors.InvalidArgumentError, match="fed twice"):
            session.run(x, {x: 2.0})


def test_nan_stops_training() -> None:
    """With an error that names the tensor, or quietly."""
    x = st.placeholder_with_default(np.float32(np.nan), [], name="loss")
    hook = st.train.NanTensorHook(x)
    with pytest.raises(st.train.NanLossDuringTrainingError, match="'loss:0' is NaN"):
        with st.train.MonitoredSession(hooks=[hook]) as session:
            session.run(x, {x: 1.0})
            session.run(x)


def test_end_of_input_is_no_error() -> None:
    """The block is left, hooks end."""
    row = st.train.range_input_producer(3, num_epochs=1, shuffle=False).dequeue()
    seen = []
    with st.train.SingularMonitoredSession() as session:
        while not session.should_stop():
            seen.append(int(session.run(row)))
    assert seen == [0, 1, 2]


def test_a_filler_s_error_is_the_one_that_is_raised() -> None:
    """Not the closed queue that it left behind."""
    bad = st.Assert(st.constant(False), [4711])
    with st.control_dependencies([bad]):
        batch = st.train.batch([st.identity(1.0)], 2)
    with pytest.raises(st.errors.InvalidArgumentError, match="4711"):
        with st.train.MonitoredSession() as session:
            for _ in range(3):
                session.run(batch)


def test_recovers_from_the_loss_of_a_worker(tmp_path: Path) -> None:
    """AbortedError: a new session from the last checkpoint, the same run again."""
    bump, step = counting()
    broken = [True]

    def breaks(at: Any) -> Any:
        if at == 3 and broken.pop():
            raise st.errors.AbortedError("worker 1 was lost")
        return at

    with st.control_dependencies([bump]):
        train = st.py_func(breaks, [step.read_value()], st.int64)
    with st.train.MonitoredTrainingSession(
        checkpoint_dir=str(tmp_path),
        hooks=[st.train.StopAtStepHook(last_step=5)],
        save_checkpoint_steps=2,
    ) as session:
        seen = []
        while not session.should_stop():
            broken.append(False)
            seen.append(int(session.run(train)))
    assert seen == [1, 2, 3, 4, 5]


def test_what_initialisation_left_out_is_named() -> None:
    """And a worker waits for its chief, but not for ever."""
    left = st.Variable(1.0, name="left_out")
    scaffold = st.train.Scaffold(init_op=st.no_op())
    with pytest.raises(st.errors.FailedPreconditionError, match="left_out:0"):
        st.train.MonitoredSession(st.train.ChiefSessionCreator(scaffold))
    waiting = st.train.WorkerSessionCreator(scaffold, max_wait_secs=0.1)
    with pytest.raises(st.errors.DeadlineExceededError, match="nobody initialised left_out:0"):
        st.train.MonitoredSession(waiting)
    assert left.graph.finalized


def test_global_step_is_one_integer() -> None:
    """Made once, found again; wrong ones are refused."""
    assert st.train.get_global_step() is None
    step = st.train.create_global_step()
    assert st.train.get_or_create_global_step() is step
    with pytest.raises(st.errors.AlreadyExistsError):
        st.train.create_global_step()
    with pytest.raises(st.errors.DTypeError, match="integer"):
        st.train.assert_global_step(st.Variable(1.0))
    with pytest.raises(st.errors.InvalidArgumentError, match="needs a global step"):
        with st.Graph().as_default():
            st.train.MonitoredSession(hooks=[st.train.StopAtStepHook(num_steps=1)])


@pytest.mark.parametrize("given", [{}, {"every_secs": 1.0, "every_steps": 2}, {"every_steps": 0}])
def test_bad_timers(given: dict[str, Any]) -> None:
    """Exactly one interval, and positive."""
    with pytest.raises(st.errors.InvalidArgumentError):
        st.train.SecondOrStepTimer(**given)


def test_listeners_hear_of_checkpoints_and_stop(tmp_path: Path) -> None:
    """In order, with the step; one that returns True ends the training."""
    step, _ = counting()
    heard: list[Any] = []

    class Listener(st.train.CheckpointSaverListener):
        def begin(self) -> None:
            heard.append("begin")

        def before_save(self, session: Any, global_step_value: int) -> None:
            heard.append(("before", global_step_value))

        def after_save(self, session: Any, global_step_value: int) -> bool | None:
            heard.append(("after", global_step_value))
            return global_step_value >= 4

        def end(self, session: Any, global_step_value: int) -> None:
            heard.append(("end", global_step_value))

    saver = st.train.CheckpointSaverHook(
        str(tmp_path), save_steps=2, saver=st.train.Saver(), listeners=[Listener()]
    )
    with st.train.SingularMonitoredSession(hooks=[saver]) as session:
        while not session.should_stop():
            session.run(step)
    assert heard[0] == "begin" and heard[-1] == ("end", 4)
    saves = [h for h in heard if h[0] == "after"]
    assert saves[-1] == ("after", 4)
    assert [h[1] for h in heard if h[0] == "before"] == [h[1] for h in saves]


def test_waiting_for_a_step() -> None:
    """The first run comes when somebody else has brought the step there."""
    step, counter = counting()
    hook = st.train.GlobalStepWaiterHook(3)
    ran: list[int] = []
    with st.Session() as other:
        other.run(counter.initializer)
        hook.begin()

        def wait() -> None:
            context = st.train.SessionRunContext(st.train.SessionRunArgs(step), other)
            hook.before_run(context)
            ran.append(int(other.run(counter)))

        thread = threading.Thread(target=wait)
        thread.start()
        for _ in range(3):
            time.sleep(0.1)
            assert not ran
            other.run(step)
        thread.join(20)
    assert ran == [3]
