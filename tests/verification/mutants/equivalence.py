"""Survivors that are no bugs: proofs that a mutant answers as the unit does, always."""

from __future__ import annotations

import re
import signal
import tempfile
from pathlib import Path

from sim.rtl import cache
from tests.verification.mutants.build import SELECT, Mutants, yosys

# Registers and ports are matched by name, all other wires are each side's own affair.
MATCH = (
    "select -set kept t:$dff t:$sdff t:$dffe t:$sdffe t:$sdffce %u %u %u %u %co1:+[Q] w:stimulus "
    "w:response w:clk w:rst %u %u %u %u; rename -hide w:* @kept %d"
)


GIVES_UP = "Conflicting init values"
"""Yosys, of a register that the mutation ties to a constant: not proven, then."""
SECONDS = 60
"""Of CPU for a proof; most take fewer, and one in ten would take half an hour."""
STOPPED = f"exit {-signal.SIGXCPU}"


def equivalent(mutants: Mutants, number: int, steps: int = 4) -> bool:
    """Whether Yosys proves by induction over registers that mutant `number` changes nothing.

    The answer is kept by content, as all builds are.
    """
    key = cache.content_key([mutants.folder.name, str(number), str(steps), MATCH, *TRIM, *FLOW])

    def make(folder: Path) -> None:
        (folder / "answer").write_text(str(int(_prove(mutants, number, steps))))

    return (cache.get_or_make("equivalence", key, make) / "answer").read_text() == "1"


# bits of registers that nothing reads go, so that they need not be equal
TRIM = ("opt_expr", "opt_clean", "splitcells", "opt_clean")
FLOW = (
    "equiv_make gold gate equiv",
    "hierarchy -top equiv",
    "opt_clean",
    "equiv_simple -seq 1",
)


def _prove(mutants: Mutants, number: int, steps: int) -> bool:
    script = [f"read_rtlil {mutants.folder / 'mutants.il'}", "flatten", "memory_map"]
    script += ["select -clear", "opt_clean"]
    for name, chosen in (("gold", 0), ("gate", number)):
        script += [
            f"copy top {name}",
            f"cd {name}",
            "delete -input mutsel",
            f"connect -nounset -set mutsel {SELECT}'b{chosen:0{SELECT}b}",
            *TRIM,
            "cd ..",
        ]
    script += [
        "delete top",
        *(f"cd {name}; {MATCH}; cd .." for name in ("gold", "gate")),
        *FLOW,
        f"equiv_induct -seq {steps}",
        "equiv_status",
    ]
    with tempfile.TemporaryDirectory() as work:
        log = yosys(Path(work), "; ".join(script), check=False, seconds=SECONDS)
    if "Equivalence successfully proven" in log:
        return True
    if GIVES_UP in log or STOPPED in log:
        return False
    if not re.search(r"Of those cells \d+ are proven", log):
        raise RuntimeError(
            f"equivalence of mutant {number} of {mutants.block.name}:\n{log[-3000:]}"
        )
    return False
