"""A picture of input that is prepared while the model trains: `python -m docs.prefetch`.

A thread makes batches of augmented images and puts them into a queue of two; training steps take
them. Both are traced, and docs/images/prefetch.png shows when which was at work.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

import systolica as st

IMAGES = Path(__file__).parent / "images"
FULL = st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)
Spans = list[tuple[float, float]]


@dataclass(frozen=True)
class Overlap:
    """When batches were prepared, enqueues waited for room, steps computed, and dequeues waited
    for a batch; seconds."""

    prepared: Spans
    full: Spans
    trained: Spans
    hungry: Spans

    @property
    def share(self) -> float:
        """The share of the preparing time in which a step computed."""
        both = sum(
            max(0.0, min(end, until) - max(begin, since))
            for begin, end in self.prepared
            for since, until in self.trained
        )
        return both / sum(end - begin for begin, end in self.prepared)


def _spans(metadata: st.RunMetadata) -> tuple[tuple[float, float], tuple[float, float]]:
    """When a run computed, and when it waited for its queue."""
    (wait,) = [n for n in metadata.step_stats.nodes if n.type in ("queue_enqueue", "queue_dequeue")]
    times = [(n.start, n.end) for n in metadata.step_stats.nodes if n is not wait]
    last = max(end for _, end in times)
    if wait.type == "queue_dequeue":  # reads of variables before it count for nothing
        return (wait.end, last), (wait.start, wait.end)
    return (min(start for start, _ in times), last), (wait.start, wait.end)


def measure(steps: int = 8, batch: int = 48) -> Overlap:
    """Train for some steps, traced, beside a traced input thread."""
    with st.Graph().as_default():
        st.set_random_seed(1)
        raw = st.random_uniform([batch, 32, 32, 3])
        larger = st.image.resize_bicubic(raw, [144, 144])
        cropped = st.random_crop(larger, [batch, 128, 128, 3])
        smaller = st.image.resize_area(st.image.adjust_contrast(cropped, 1.5), [24, 24])
        queue = st.FIFOQueue(2, st.float32, [(batch, 24, 24, 3)])
        put = queue.enqueue(smaller)
        hidden = st.layers.conv2d(queue.dequeue(), 16, 5, activation=st.nn.relu)
        loss = st.reduce_mean(st.square(st.layers.conv2d(hidden, 16, 5)))
        train = st.train.GradientDescentOptimizer(0.1).minimize(loss)
        fills: list[st.RunMetadata] = []
        runs: list[st.RunMetadata] = []
        with st.Session() as session:
            session.run(st.global_variables_initializer())

            def fill() -> None:
                for _ in range(steps + 1):
                    fills.append(st.RunMetadata())
                    session.run(put, None, FULL, fills[-1])

            session.run(put)
            session.run(train)  # what is compiled once is not in the picture
            thread = threading.Thread(target=fill)
            thread.start()
            for _ in range(steps + 1):
                runs.append(st.RunMetadata())
                session.run(train, None, FULL, runs[-1])
            thread.join()
    prepared, full = zip(*(_spans(m) for m in fills), strict=True)
    trained, hungry = zip(*(_spans(m) for m in runs), strict=True)
    return Overlap(list(prepared), list(full), list(trained), list(hungry))


def draw(found: Overlap, path: Path) -> None:
    """The picture."""
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    axes = figure.subplots()
    zero = min(begin for begin, _ in (*found.prepared, *found.trained))
    rows = (
        (1, found.prepared, "tab:orange", "input prepared"),
        (1, found.full, "lightgrey", "enqueue waits for room"),
        (0, found.trained, "tab:blue", "training step"),
        (0, found.hungry, "tab:red", "dequeue waits for a batch"),
    )
    for row, spans, colour, label in rows:
        bars = [(1e3 * (begin - zero), 1e3 * (end - begin)) for begin, end in spans]
        axes.broken_barh(bars, (row - 0.35, 0.7), color=colour, label=label, edgecolor="white")
    axes.set_yticks([0, 1], ["step", "input thread"])
    axes.set_xlabel("milliseconds")
    axes.set_title(f"{100 * found.share:.0f} % of the input is prepared while a step computes")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, draw, say."""
    found = measure()
    draw(found, IMAGES / "prefetch.png")
    print(f"{100 * found.share:.0f} % of the preparing time overlaps a step; {IMAGES}/prefetch.png")


if __name__ == "__main__":
    main()
