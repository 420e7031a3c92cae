"""Training runs killed with SIGKILL at random moments, against one that is not.

    python -m tests.verification.kill [-n 100] [--seed 1]

Each time the run must resume from its last checkpoint, having lost at most one interval, and in
the end every byte of weights, optimiser state and averages must be that of the unkilled run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

STEPS, INTERVAL = 400, 5
ROOT = Path(__file__).parents[2]


@dataclass
class Outcome:
    """What was seen. `in_save`: kills that left a half-written file; `most_lost`: steps."""

    kills: int = 0
    before_training: int = 0
    in_save: int = 0
    most_lost: int = 0
    runs: int = 0
    seconds: float = 0.0


def start(directory: Path, steps: int) -> subprocess.Popen[str]:
    """A process that trains."""
    command = [sys.executable, "-m", "tests.verification.kill_training", str(directory)]
    return subprocess.Popen(
        [*command, str(steps), str(INTERVAL)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def life(directory: Path, steps: int, seconds: float | None) -> tuple[bool, int | None, int]:
    """One process, killed after `seconds`: (whether it was, where it resumed, its last step)."""
    killed = False
    with start(directory, steps) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            killed = True
        assert process.stdout is not None
        text = process.stdout.read()
    resumed, last = None, 0
    for line in text.splitlines(keepends=True):
        word, _, number = line.partition(" ")
        if line.endswith("\n") and word == "resumed":
            resumed = last = int(number)
        elif line.endswith("\n") and word == "step":
            last = int(number)
    if process.returncode and not killed:
        raise AssertionError(f"the training process failed with {process.returncode}")
    return killed, resumed, last


def values(directory: Path) -> dict[str, np.ndarray]:
    """What lasts of a finished run."""
    with np.load(directory / "final.npz") as file:
        return dict(file)


def run(kills: int, seed: int, steps: int = STEPS, folder: Path | None = None) -> Outcome:
    """Kill `kills` times; raises `AssertionError` saying what was lost or differs."""
    rng = np.random.default_rng(seed)
    outcome, began = Outcome(), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as made:
        reference = Path(made) / "unkilled"
        life(reference, steps, None)
        whole = time.perf_counter() - began
        want = values(reference)
        while outcome.kills < kills:
            outcome.runs += 1
            directory = Path(made) / f"run{outcome.runs}"
            reached, done = 0, False
            while not done:
                more = outcome.kills < kills
                moment = float(rng.uniform(0, whole)) if more else None
                killed, resumed, last = life(directory, steps, moment)
                done = not killed
                outcome.kills += killed
                outcome.before_training += killed and resumed is None
                outcome.in_save += killed and any(directory.glob(".tmp-*"))
                if resumed is not None:
                    lost = reached - resumed
                    assert lost <= INTERVAL, f"lost {lost} steps: {reached} done, resumed {resumed}"
                    outcome.most_lost = max(outcome.most_lost, lost)
                    reached = max(reached, last)
            have = values(directory)
            assert have.keys() == want.keys()
            differs = [n for n in want if have[n].tobytes() != want[n].tobytes()]
            assert not differs, f"after {outcome.kills} kills these differ: {differs}"
    outcome.seconds = round(time.perf_counter() - began, 1)
    return outcome


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="kills (100)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (1)")
    given = parser.parse_args()
    print(json.dumps(asdict(run(given.n, given.seed))))


if __name__ == "__main__":
    main()
