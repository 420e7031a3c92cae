"""Training runs killed with SIGKILL at random moments, against one that is not.

    python -m tests.verification.kill [-n 100] [--seed 1]

Each time the run must resume from its last checkpoint, having lost at most one interval, and in
the end every byte of weights, optimiser state and averages must be that of the unkilled run.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

INTERVAL = 5
STEPS_PER_KILL = 20
ROOT = Path(__file__).parents[2]


@dataclass
class Outcome:
    """What was seen. `in_save`: kills that left a half-written file; `most_lost`: steps; `runs`:
    training runs that the kills were spread over."""

    kills: int = 0
    before_training: int = 0
    in_save: int = 0
    most_lost: int = 0
    runs: int = 0
    steps: int = 0
    seconds: float = 0.0


@dataclass
class Life:
    """One process: whether it was killed, the step at which it resumed and the last one it told
    of, the seconds until it resumed and in all."""

    killed: bool
    resumed: int | None = None
    last: int = 0
    start_up: float = 0.0
    seconds: float = 0.0


def live(directory: Path, steps: int, moment: float | None) -> Life:
    """Train until the end, or until SIGKILL after `moment` seconds."""
    command = [sys.executable, "-m", "tests.verification.kill_training", str(directory)]
    began = time.perf_counter()
    life = Life(killed=False)
    with subprocess.Popen(
        [*command, str(steps), str(INTERVAL)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        killer = None if moment is None else threading.Timer(moment, process.kill)
        if killer is not None:
            killer.start()
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # killed within a word
            word, _, number = line.partition(" ")
            life.last = int(number)
            if word == "resumed":
                life.resumed = life.last
                life.start_up = time.perf_counter() - began
        process.wait()
        if killer is not None:
            killer.cancel()
            killer.join()
    life.seconds = time.perf_counter() - began
    life.killed = process.returncode == -signal.SIGKILL
    if process.returncode and not life.killed:
        raise AssertionError(f"the training process failed with {process.returncode}")
    return life


def values(directory: Path) -> dict[str, np.ndarray]:
    """What lasts of a finished run."""
    with np.load(directory / "final.npz") as file:
        return dict(file)


def run(kills: int, seed: int, folder: Path | None = None) -> Outcome:
    """Kill `kills` times; raises `AssertionError` saying what was lost or differs."""
    rng = np.random.default_rng(seed)
    steps = STEPS_PER_KILL * kills
    outcome, began = Outcome(steps=steps), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as made:
        reference = Path(made) / "unkilled"
        whole = live(reference, steps, None)
        some = (whole.seconds - whole.start_up) * min(1, 3 * STEPS_PER_KILL / steps)
        want = values(reference)
        while outcome.kills < kills:
            outcome.runs += 1
            directory = Path(made) / f"run{outcome.runs}"
            reached, done = 0, False
            while not done:
                more = outcome.kills < kills
                early, late = 0.7 * whole.start_up, whole.start_up + some
                before = set(directory.glob(".tmp-*"))
                life = live(directory, steps, float(rng.uniform(early, late)) if more else None)
                done = not life.killed
                outcome.kills += life.killed
                outcome.before_training += life.killed and life.resumed is None
                outcome.in_save += life.killed and bool(set(directory.glob(".tmp-*")) - before)
                if life.resumed is not None:
                    lost = reached - life.resumed
                    assert lost <= INTERVAL, f"{reached} steps done, resumed at {life.resumed}"
                    outcome.most_lost = max(outcome.most_lost, lost)
                    reached = max(reached, life.last)
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
