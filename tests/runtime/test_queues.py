"""Queues, coordinators, runners, batches and readers, with real threads."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.graph.ops.readers import decode
from sw.graph.records import crc32c


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


class Call(threading.Thread):
    """A run in the background: its result or its error."""

    def __init__(self, session: Any, fetch: Any) -> None:
        super().__init__(daemon=True)
        self.session, self.fetch = session, fetch
        self.result: Any = None
        self.error: Any = None
        self.start()

    def run(self) -> None:
        """The thread's work."""
        try:
            self.result = self.session.run(self.fetch)
        except st.errors.OpError as error:
            self.error = error

    def done(self) -> Any:
        """Wait, then the result or the error."""
        self.join(10)
        assert not self.is_alive()
        return self.error or self.result

    def waits(self) -> bool:
        """Whether it is still blocked after a moment."""
        self.join(0.1)
        return self.is_alive()


def test_order_batches_and_dicts() -> None:
    """First in, first out; several components; named ones; a session's own contents."""
    queue = st.FIFOQueue(10, [st.int32, st.float32], [[], [2]], names=["n", "x"])
    put = queue.enqueue_many({"n": [1, 2, 3], "x": [[1.0, 2.0]] * 3})
    one, two = queue.dequeue(), queue.dequeue_many(2)
    with st.Session() as session, st.Session() as other:
        session.run(put)
        assert session.run(queue.size()) == 3 and other.run(queue.size()) == 0
        assert session.run(one["n"]) == 1
        got = session.run(two)
        np.testing.assert_array_equal(got["n"], [2, 3])
        assert got["x"].shape == (2, 2) and two["x"].shape.as_list() == [2, 2]


def test_full_and_empty_queues_block() -> None:
    """An enqueue waits for room, a dequeue for an element."""
    queue = st.FIFOQueue(1, st.int32, [[]])
    put, take = queue.enqueue(7), queue.dequeue()
    with st.Session() as session:
        session.run(put)
        second = Call(session, put)
        assert second.waits()
        assert session.run(take) == 7
        second.done()
        session.run(take)
        waiting = Call(session, take)
        assert waiting.waits()
        session.run(put)
        assert waiting.done() == 7


def test_close() -> None:
    """What is in comes out, then the end; nothing goes in; pending enqueues finish or drop."""
    queue = st.FIFOQueue(2, st.int32, [[]])
    put, take = queue.enqueue_many([[1, 2, 3]]), queue.dequeue()
    with st.Session() as session:
        pending = Call(session, put)
        assert pending.waits()
        session.run(queue.close())
        assert [session.run(take) for _ in range(3)] == [1, 2, 3]
        assert pending.done() is None
        with pytest.raises(st.errors.OutOfRangeError, match="closed and has 0 of 1"):
            session.run(take)
        with pytest.raises(st.errors.CancelledError, match="is closed"):
            session.run(put)
        assert session.run(queue.is_closed())
    with st.Session() as session:
        pending = Call(session, put)
        assert pending.waits()
        session.run(queue.close(cancel_pending_enqueues=True))
        assert isinstance(pending.done(), st.errors.CancelledError)


def test_close_with_too_few_for_a_batch() -> None:
    """dequeue_many fails and puts back; dequeue_up_to gives what is left."""
    queue = st.FIFOQueue(9, st.int32, [[]])
    with st.Session() as session:
        session.run(queue.enqueue_many([[1, 2, 3]]))
        waiting = Call(session, queue.dequeue_many(5))
        assert waiting.waits()
        session.run(queue.close())
        assert isinstance(waiting.done(), st.errors.OutOfRangeError)
        np.testing.assert_array_equal(session.run(queue.dequeue_up_to(5)), [1, 2, 3])
        with pytest.raises(st.errors.OutOfRangeError):
            session.run(queue.dequeue_up_to(5))


def test_closing_the_session_wakes_everybody() -> None:
    """No thread is left behind, and the error says why."""
    queue = st.FIFOQueue(1, st.int32, [[]])
    session = st.Session()
    calls = [Call(session, queue.dequeue()) for _ in range(3)]
    assert all(c.waits() for c in calls)
    session.close()
    for call in calls:
        assert isinstance(call.done(), st.errors.CancelledError)
        assert "session is closed" in str(call.error)


def test_shuffle_queue() -> None:
    """All elements once, not in order; some stay in until it is closed; seeds repeat."""
    queue = st.RandomShuffleQueue(100, 5, st.int32, [[]], seed=3)
    orders = []
    for _ in range(2):
        with st.Session() as session:
            session.run(queue.enqueue_many([np.arange(20, dtype=np.int32)]))
            first = session.run(queue.dequeue_many(15))
            waiting = Call(session, queue.dequeue())
            assert waiting.waits()
            session.run(queue.close())
            rest = [waiting.done(), *session.run(queue.dequeue_up_to(10))]
            orders.append([*first, *rest])
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(20)) and orders[0] != sorted(orders[0])


def test_padding_queue() -> None:
    """Batches of vectors of several lengths."""
    queue = st.PaddingFIFOQueue(9, [st.int32, st.int32], [[None], []])
    with st.Session() as session:
        for length in (1, 3, 2):
            session.run(queue.enqueue([np.full(length, length, np.int32), np.int32(length)]))
        values, lengths = session.run(queue.dequeue_many(3))
    np.testing.assert_array_equal(values, [[1, 0, 0], [3, 3, 3], [2, 2, 0]])
    np.testing.assert_array_equal(lengths, [1, 3, 2])


def test_priority_queue() -> None:
    """The smallest first, of equal ones the eldest; a batch likewise; the priority alone."""
    queue = st.PriorityQueue(9, [st.float32], [[]])
    alone = st.PriorityQueue(9, [], [])
    keys, values = np.int64([3, 1, 3, -2, 1]), np.arange(5, dtype=np.float32)
    with st.Session() as session:
        session.run([queue.enqueue_many([keys, values]), alone.enqueue(np.int64(7))])
        key, value = session.run(queue.dequeue())
        assert (key, value) == (-2, 3)
        session.run(queue.enqueue([np.int64(0), 9.0]))
        order, rest = session.run(queue.dequeue_many(5))
        assert order.tolist() == [0, 1, 1, 3, 3] and rest.tolist() == [9, 1, 4, 0, 2]
        assert session.run(alone.dequeue()) == 7
        waiting = Call(session, queue.dequeue())
        assert waiting.waits()
        session.run(queue.enqueue([np.int64(5), 1.0]))
        assert waiting.done() == [5, 1]
    with pytest.raises(st.errors.DTypeError, match="int64"):
        queue.enqueue([1.5, 2.0])


def test_errors_while_building() -> None:
    """Dtypes, shapes, numbers of components, capacities."""
    queue = st.FIFOQueue(2, [st.int32, st.float32], [[], [2]])
    loose = st.FIFOQueue(2, st.int32)
    for make, match in (
        (lambda: queue.enqueue([1]), "2 components, not 1"),
        (lambda: queue.enqueue([1, [1.0, 2.0, 3.0]]), "has shape"),
        (lambda: queue.enqueue([st.constant(1.0), [1.0, 2.0]]), "int32 is needed"),
        (lambda: loose.dequeue_many(2), "needs a queue with shapes"),
        (lambda: st.RandomShuffleQueue(5, 5, st.int32), "more than min_after_dequeue"),
    ):
        with pytest.raises(st.errors.InvalidArgumentError, match=match):
            make()


def test_coordinator() -> None:
    """A failing thread stops the others, and its exception is raised by join."""
    coord = st.train.Coordinator()

    def works() -> None:
        while not coord.should_stop():
            time.sleep(0.005)

    def fails() -> None:
        with coord.stop_on_exception():
            raise ValueError("broken")

    threads = [threading.Thread(target=f) for f in (works, works, fails)]
    for thread in threads:
        thread.start()
    with pytest.raises(ValueError, match="broken"):
        coord.join(threads)
    coord.clear_stop()
    coord.request_stop(st.errors.OutOfRangeError("the end"))
    coord.join([])
    stuck = threading.Thread(target=time.sleep, args=(0.5,), name="stuck", daemon=True)
    stuck.start()
    with pytest.raises(st.errors.DeadlineExceededError, match="stuck"):
        coord.join([stuck], stop_grace_period_secs=0.01)


def batches(fetch: Any, limit: int = 100) -> list[Any]:
    """Everything that comes out of a pipeline until it ends."""
    out = []
    with st.Session() as session:
        session.run([st.global_variables_initializer(), st.local_variables_initializer()])
        coord = st.train.Coordinator()
        threads = st.train.start_queue_runners(session, coord)
        try:
            while not coord.should_stop() and len(out) < limit:
                out.append(session.run(fetch))
        except st.errors.OutOfRangeError as error:
            coord.request_stop(error)
        coord.request_stop()
        coord.join(threads, stop_grace_period_secs=10)
    return out


def test_pipeline_of_slices_and_batches() -> None:
    """Two epochs in order, features and labels together, a smaller last batch."""
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    features, label = st.train.slice_input_producer([x, np.arange(5)], 2, shuffle=False)
    out = st.train.batch([features, label], 4, allow_smaller_final_batch=True)
    got = batches(out)
    assert [len(b[1]) for b in got] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([b[1] for b in got]), [0, 1, 2, 3, 4] * 2)
    np.testing.assert_array_equal(np.concatenate([b[0] for b in got]), np.vstack([x, x]))


def test_shuffled_batches_from_many_threads() -> None:
    """Every element of an epoch once, in other orders."""
    number = st.train.range_input_producer(40, 1, seed=1).dequeue()
    out = st.train.shuffle_batch({"n": number, "m": number * 2}, 8, 30, 10, num_threads=3, seed=2)
    got = batches(out)
    numbers = np.concatenate([b["n"] for b in got])
    assert sorted(numbers) == list(range(40)) and list(numbers) != sorted(numbers)
    assert all((b["m"] == 2 * b["n"]).all() for b in got)


def test_endless_input_stops_when_asked() -> None:
    """Threads that wait for room are cancelled."""
    start = threading.active_count()
    out = st.train.batch([st.constant([1.0, 2.0])], 3, num_threads=2)
    assert len(batches(out, limit=5)) == 5
    assert threading.active_count() == start


def test_padded_batches_and_joined_sources() -> None:
    """dynamic_pad; batch_join mixes sources."""
    n = st.train.range_input_producer(6, 1, shuffle=False).dequeue()
    row = st.range(n)
    padded = st.train.batch([row, n], 3, dynamic_pad=True)
    got = batches(padded)
    np.testing.assert_array_equal(got[0][0], [[0, 0], [0, 0], [0, 1]])
    assert got[1][0].shape == (3, 5)
    with pytest.raises(st.errors.ShapeError, match="dynamic_pad"):
        st.train.batch([row], 3)
    with st.Graph().as_default():
        a = st.train.range_input_producer(4, 1, seed=1).dequeue()
        b = st.train.range_input_producer(4, 1, seed=2).dequeue() + 10
        joined = batches(st.train.batch_join([[a], [b]], 2))
        values = sorted(int(v) for part in joined for v in part[0])
        assert values == [0, 1, 2, 3, 10, 11, 12, 13]


def test_an_error_in_a_runner_reaches_the_main_thread() -> None:
    """Not only the end of input."""
    n = st.train.range_input_producer(6, shuffle=False).dequeue()
    out = st.train.batch([st.gather([1, 2, 3], n, name="lookup")], 1)
    with pytest.raises(st.errors.InvalidArgumentError, match="lookup"):
        batches(out)


def test_readers(tmp_path: Path) -> None:
    """Lines, fixed lengths with header and footer, TFRecords, whole files; keys; several files."""
    (tmp_path / "a.csv").write_text("header\n1,2.5,x\n".replace(",x", ",7") + "3,,8\r\n")
    (tmp_path / "b.csv").write_text("header\n5,6.5,9")
    names = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    files = st.train.string_input_producer(names, num_epochs=1, shuffle=False)
    reader = st.TextLineReader(skip_header_lines=1)
    key, line = reader.read(files)
    a, b, c = st.decode_csv(line, [[0], [-1.0], [0]])
    got = batches([key, st.stack([st.cast(a, st.float32), b, st.cast(c, st.float32)])])
    assert [decode(k) for k, _ in got] == [f"{names[0]}:1", f"{names[0]}:2", f"{names[1]}:1"]
    np.testing.assert_array_equal([v for _, v in got], [[1, 2.5, 7], [3, -1, 8], [5, 6.5, 9]])

    with st.Graph().as_default():
        images = np.arange(12, dtype=np.uint8)
        (tmp_path / "bin").write_bytes(b"HEAD" + images.tobytes() + b"END")
        files = st.train.string_input_producer([str(tmp_path / "bin")], 1)
        _, record = st.FixedLengthRecordReader(4, 4, 3).read(files)
        values = st.decode_raw(record, st.int16)
        got = batches(values)
        np.testing.assert_array_equal(np.concatenate(got).view(np.uint8), images)

    with st.Graph().as_default():
        path = str(tmp_path / "records")
        with st.python_io.TFRecordWriter(path) as writer:
            for text in (b"one", b"", b"three"):
                writer.write(text)
        assert list(st.python_io.tf_record_iterator(path)) == [b"one", b"", b"three"]
        files = st.train.string_input_producer([path], 1)
        assert [decode(v) for v in batches(st.TFRecordReader().read(files)[1])] == [
            "one", "", "three",
        ]  # fmt: skip

    with st.Graph().as_default():
        files = st.train.string_input_producer(names, 1, shuffle=False)
        got = batches(st.WholeFileReader().read(files)[1])
        assert decode(got[1]) == "header\n5,6.5,9"


def test_damaged_records_are_detected(tmp_path: Path) -> None:
    """The checksum of the format (RFC 3720's test vectors), each flipped bit, each cut."""
    assert crc32c(b"123456789") == 0xE3069283 and crc32c(bytes(32)) == 0x8A9136AA
    path = tmp_path / "r"
    with st.python_io.TFRecordWriter(str(path)) as writer:
        writer.write(b"some record")
    good = path.read_bytes()
    for bit in range(len(good) * 8):
        broken = bytearray(good)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with pytest.raises(st.errors.DataLossError, match="damaged"):
            list(st.python_io.tf_record_iterator(str(path)))
    path.write_bytes(good[:-1])
    with pytest.raises(st.errors.DataLossError, match="cut off"):
        list(st.python_io.tf_record_iterator(str(path)))


def test_missing_file_is_named(tmp_path: Path) -> None:
    """Through the runner's thread to the main thread."""
    files = st.train.string_input_producer([str(tmp_path / "gone")], 1)
    out = st.train.batch([st.shape(st.TextLineReader().read(files)[1])], 1)
    with pytest.raises(st.errors.NotFoundError, match="gone"):
        batches(out)
