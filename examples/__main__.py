"""Run every example in full and check that it learned: `python -m examples [NAME ...] [--json]`.

Two at a time, each in a process of its own. The exit status is 0 only if all learned.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import Any

Check = tuple[Callable[[Any], Any], str, Callable[[Any], bool]]
CHECKS: dict[str, Check] = {
    "autoencoder": (
        lambda m: m.train_and_test(),
        "error {0[0]:.5f} below that of principal components, {0[1]:.5f}",
        lambda r: r[0] < 0.8 * r[1],
    ),
    "char_rnn": (
        lambda m: m.train_and_write()[0],
        "{0:.2f} bits per letter below 1",
        lambda r: r < 1,
    ),
    "cifar_convnet": (
        lambda m: m.train_and_test(),
        "names {0:.1%} of unseen shapes, guessing 10 %",
        lambda r: r > 0.75,
    ),
    "ctc_sequences": (
        lambda m: m.train_and_test(),
        "label error rate {0[0]:.1%} and {0[1]:.1%} (beam search), guessing {0[2]:.0%}",
        lambda r: max(r[:2]) < 0.35 < 0.7 < r[2],
    ),
    "date_formats": (
        lambda m: m.train_and_test(),
        "{0[0]:.1%} of unseen dates right to the last digit",
        lambda r: r[0] > 0.9,
    ),
    "deep_convnet": (
        lambda m: m.train_and_test(device="tpu:0"),
        "reads {0:.1%} of held-out digits (int8), above 97 %",
        lambda r: r > 0.97,
    ),
    "deep_q": (
        lambda m: m.train_and_test(),
        "reaches {0[0]:.0%} of its goals, random steps {0[1]:.0%}",
        lambda r: r[0] > 0.85 > 0.3 > r[1],
    ),
    "go_policy": (
        lambda m: m.train_and_test(),
        "wins {0[1]:.0%} against random moves, {0[0]:.0%} before",
        lambda r: r[0] < 0.62 and r[1] > 0.8,
    ),
    "image_captions": (
        lambda m: m.train_and_test(device="tpu:0"),
        "{0[0]:.1%} of captions right word by word (int8), guessing 3 %",
        lambda r: r[0] > 0.6,
    ),
    "inception": (
        lambda m: m.train_and_test(steps=200, device="tpu:0"),
        "reads {0:.1%} of held-out digits (int8), above 97 %",
        lambda r: r > 0.97,
    ),
    "linear_optimizer": (
        lambda m: m.train_and_test(),
        "reads {0[0]:.1%} of held-out digits; duality gap {0[1][7]:.1%}",
        lambda r: r[0] > 0.93 and r[1][-1] < 0.05,
    ),
    "lstm_language_model": (
        lambda m: m.train_and_test(),
        "perplexity {0[0]:.2f} below 2.2, word frequencies {0[1]:.1f}",
        lambda r: r[0] < 2.2,
    ),
    "neural_style": (
        lambda m: m.paint(),
        "texture's distance {0[0]:.1%} of the first; content {0[1]:.2f}, the style {0[2]:.2f}",
        lambda r: r[0] < 0.1 and r[1] < 0.5 * r[2],
    ),
    "random_forest": (
        lambda m: m.train_and_test(),
        "reads {0[0]:.1%} of held-out digits, one tree {0[1]:.1%}",
        lambda r: r[0] > 0.9 and r[0] > r[1] + 0.1,
    ),
    "smart_reply": (
        lambda m: m.train_and_test(device="tpu:0"),
        "{0[0]:.1%} of messages told apart, {0[1]:.1%} of replies right",
        lambda r: r[0] > 0.95 and r[1] > 0.8,
    ),
    "softmax_regression": (
        lambda m: m.train_and_test("/tpu:0"),
        "reads {0:.1%} of held-out digits (int8), above 90 %",
        lambda r: r > 0.9,
    ),
    "word2vec": (
        lambda m: m.train_and_test()[0],
        "nearest word of the same group: {0:.0%}, guessing 30 %",
        lambda r: r > 0.9,
    ),
}
"""Of each example: what to run, what to say of the result, whether it learned."""


@dataclass
class Outcome:
    """What an example came to."""

    name: str
    learned: bool
    claim: str
    seconds: float


def run(name: str) -> Outcome:
    """Run one example."""
    call, words, learned = CHECKS[name]
    began = time.perf_counter()
    result = call(importlib.import_module(f"examples.{name}"))
    seconds = round(time.perf_counter() - began, 1)
    return Outcome(name, bool(learned(result)), words.format(result), seconds)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CHECKS)} (all)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(CHECKS))
    if unknown:
        parser.error(f"no example is named {unknown[0]!r}; there are {', '.join(CHECKS)}")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core each
    outcomes = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for future in as_completed([pool.submit(run, name) for name in given.names or CHECKS]):
            outcomes.append(outcome := future.result())
            mark = "learned" if outcome.learned else "FAILED "
            line = f"{mark} {outcome.name:20} {outcome.seconds:6.1f} s  {outcome.claim}"
            print(line, file=sys.stderr if given.json else sys.stdout, flush=True)
    if given.json:
        print(json.dumps({"examples": [asdict(o) for o in outcomes]}))
    sys.exit(not all(o.learned for o in outcomes))


if __name__ == "__main__":
    main()
