"""`make faults`: every beat, channel, cycle and word of some programs goes wrong, one at a time.

python -m tests.verification.faults --programs 6 --seed 1 --json faults.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.isa import Opcode, make
from hw.tpu.registers import Control, Error, Status
from sim.rtl.model import Channel
from tests.verification.fault_cases import Case, again, begin, choose, result
from tests.verification.rig import WATCHDOG, Outcome, Rig

CHANNELS: tuple[Channel, ...] = ("AR", "R", "AW", "W", "B")
BAD_WORDS = {
    "opcode": (b"\xff" * 64, Error.ILLEGAL_INSTRUCTION),
    "reserved bit": (isa.encode(make(Opcode.FENCE))[:63] + b"\x80", Error.ILLEGAL_INSTRUCTION),
    "table": (
        isa.encode(make(Opcode.VECTOR, convert=1, table=1, table_number=15)),
        Error.PARAMETER_RANGE,
    ),
}
RESET_LIMIT = 4 * WATCHDOG


@dataclass
class Report:
    """Counts by kind of fault and end, and what was wrong."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, kind: str, found: Outcome, wrong: str, case: Case) -> None:
        self.ends[kind, "hung" if found.hung else found.code.name] += 1
        if wrong:
            self.failures.append(f"{kind}: {wrong}\n{case.program.listing()}")

    def summary(self) -> str:
        kinds = sorted({kind for kind, _ in self.ends})
        lines = []
        for kind in kinds:
            ends = {end: count for (k, end), count in sorted(self.ends.items()) if k == kind}
            done = "idle" if kind.startswith(("soft reset", "late")) else "done"
            text = ", ".join(f"{count} {end.replace('NONE', done)}" for end, count in ends.items())
            lines.append(f"{kind:<24}{sum(ends.values()):>7}  {text}")
        total = sum(self.ends.values())
        return "\n".join(lines) + f"\n{total} faults: {len(self.failures)} wrong ends"


Fault = Callable[[Rig, Case], Iterator[tuple[str, Outcome, str]]]


def beats(rig: Rig, case: Case) -> Iterator[tuple[str, Outcome, str]]:
    """SLVERR and DECERR at every beat, read and write."""
    program = case.program
    for write, users, code in (
        (False, case.readers, Error.READ_BUS),
        (True, case.writers, Error.WRITE_BUS),
    ):
        number, came = 0, True
        while came:
            number += 1
            response = "SLVERR" if number % 2 else "DECERR"
            for chosen in (response,) if number > 40 else ("SLVERR", "DECERR"):
                begin(rig, case)
                rig.model.fail_beat(number, write=write, response=chosen)
                found = rig.run_rtl(program.entry, len(program.instructions))
                failed = rig.model.failed_beat
                came = failed is not None
                rig.model.clear_faults()
                if failed is None:
                    break
                at = (failed - program.base) // rig.config.bus_bytes
                wrong = result(rig, case, found)
                if found.code is Error.NONE:
                    # only an instruction fetched beyond HALT may be lost without notice
                    if users.get(at):
                        wrong = wrong or f"{chosen} at beat {number} went unnoticed"
                elif found.code is not code or found.position not in users.get(at, ()):
                    wrong = f"{found}, right: {code.name} at one of {sorted(users.get(at, ()))}"
                yield f"{'write' if write else 'read'} {chosen}", found, wrong


def channels(rig: Rig, case: Case) -> Iterator[tuple[str, Outcome, str]]:
    """Each channel dies after 0, 1, 2, ... handshakes; a hardware reset recovers the core."""
    program = case.program
    for channel in CHANNELS:
        for after in deaths(channel):
            begin(rig, case)
            rig.model.kill_channel(channel, after)
            found = rig.run_rtl(program.entry, len(program.instructions))
            wrong = result(rig, case, found)
            survived = found.code is Error.NONE and not found.hung
            if not survived and found.code is not Error.WATCHDOG:
                wrong = wrong or f"{found}, right: WATCHDOG"
            elif found.cycles > case.cycles + 3 * WATCHDOG:
                wrong = wrong or f"stopped only after {found.cycles} cycles"
            rig.recover()
            yield f"dead {channel}", found, wrong
            if survived:
                break


def deaths(channel: Channel) -> range:
    """The handshakes after which a channel dies."""
    return range(0, 4000, 1 if channel in ("AR", "AW", "B") else 3)


def revivals(rig: Rig, case: Case) -> Iterator[tuple[str, Outcome, str]]:
    """A dead channel lives again after the core has given up: late beats reach no other program.

    In turn, the host writes RESET twice or waits for the watchdog's interrupt; then START, which
    must have no effect; then the channel revives. Only when the bus has drained may a START count.
    """
    program = case.program
    for channel in CHANNELS:
        for number, after in enumerate(deaths(channel)):
            begin(rig, case)
            rig.model.kill_channel(channel, after)
            rig.start(program.entry, len(program.instructions))
            if rig.model.run(case.cycles + WATCHDOG // 2).reason == "irq":
                rig.model.clear_faults()
                break  # it lived long enough
            if number % 2:
                rig.model.run(3 * WATCHDOG)
                rig.set("control", Control.CLEAR_INTERRUPT)
            else:
                rig.set("control", Control.RESET)
                rig.set("control", Control.RESET)
            rig.model.run(50, until_irq=False)
            ran = rig.rtl.counter("cycles")
            rig.set("control", Control.START)
            wrong = "" if Status.BUSY in Status(rig.get("status")) else "idle with a dead bus"
            rig.model.clear_faults()
            late = rig.model.run(RESET_LIMIT)
            if late.reason == "irq" or rig.rtl.counter("cycles") != ran:
                wrong = wrong or "START counted before the bus had drained"
            elif rig.get("status"):
                wrong = wrong or f"not idle {RESET_LIMIT} cycles after the channel revived"
            elif rig.model.bursts_under_way:
                wrong = wrong or f"idle with {rig.model.bursts_under_way} bursts under way"
            # nothing ran to its end: whatever stands in DRAM must be the program's
            wrong = wrong or result(rig, case, Outcome(Error.WATCHDOG))
            yield f"late {channel}", Outcome(Error.NONE), wrong


def resets(rig: Rig, case: Case, step: int = 1) -> Iterator[tuple[str, Outcome, str]]:
    """CONTROL.RESET in every `step`-th cycle; the bus must be drained, the core idle."""
    program = case.program
    for cycle in range(0, case.cycles + 10, step):
        begin(rig, case)
        rig.start(program.entry, len(program.instructions))
        rig.model.run(cycle, until_irq=False)
        ended = rig.model.irq
        rig.set("control", Control.RESET)
        for _ in range(RESET_LIMIT):
            if rig.get("status") & 1 == 0:
                break
        found = Outcome(Error.NONE, hung=rig.get("status") & 1 == 1)
        wrong = result(rig, case, Outcome(Error.WATCHDOG))
        if found.hung:
            wrong = f"still busy {RESET_LIMIT} cycles after a reset in cycle {cycle}"
        elif rig.model.bursts_under_way:
            wrong = f"{rig.model.bursts_under_way} bursts under way after a reset in {cycle}"
        elif rig.model.irq and not ended and cycle < case.cycles - 20:
            wrong = f"interrupt after a reset in cycle {cycle}"
        yield "soft reset", found, wrong


def words(rig: Rig, case: Case) -> Iterator[tuple[str, Outcome, str]]:
    """An illegal word in every position."""
    program = case.program
    for position in range(len(program.instructions)):
        for name, (word, code) in BAD_WORDS.items():
            image = case.versions[0].copy()
            at = program.entry + position * isa.INSTRUCTION_BYTES
            image[at : at + isa.INSTRUCTION_BYTES] = np.frombuffer(word, np.uint8)
            begin(rig, case, image)
            found = rig.run_rtl(program.entry, len(program.instructions))
            wrong = result(rig, case, found, code_changed=True)
            if (found.code, found.position) != (code, position):
                # hardware may first meet an instruction that waits for weights for ever
                wrong = f"{found}, right: {code.name} at {position}"
            yield f"illegal word ({name})", found, wrong


FAULTS: dict[str, Fault] = {
    "beats": beats,
    "channels": channels,
    "revivals": revivals,
    "resets": resets,
    "words": words,
}


def run(programs: int, seed: int, kinds: list[str], progress: bool = True) -> Report:
    report, rig = Report(), Rig(PRESETS["tiny"])
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("faults", total=programs * len(kinds))
        for number in range(programs):
            case = choose(rig, seed * 1_000_000 + 1000 * number)
            for kind in kinds:
                for name, found, wrong in FAULTS[kind](rig, case):
                    report.note(name, found, wrong, case)
                    if wrong or found.hung:
                        rig.recover()
                    if after := again(rig, case):
                        report.note(f"program after {name}", found, after, case)
                        rig.recover()
                    if len(report.failures) >= 20:
                        return report
                bar.advance(task)
    rig.close()
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="faults at every beat, channel, cycle and word")
    parser.add_argument("--programs", type=int, default=4, help="random programs (4)")
    parser.add_argument("--seed", type=int, default=1, help="of the programs (1)")
    parser.add_argument("--only", choices=FAULTS, help="one kind of fault (all)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    begin = time.process_time()
    report = run(options.programs, options.seed, [options.only] if options.only else list(FAULTS))
    for failure in report.failures:
        print(failure, end="\n\n")
    print(report.summary() + f", {time.process_time() - begin:.1f} CPU-seconds")
    if options.json:
        ends = {" / ".join(key): count for key, count in sorted(report.ends.items())}
        figures = {"seed": options.seed, "ends": ends, "wrong": report.failures}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
