"""Idle skipping: breaks if a skipped part would have done something, or if nothing is skipped."""

from random import Random

import numpy as np
import pytest

from hw.tpu.config import PRESETS
from sim.rtl.cxx_statements import Statement, UnknownFormError, exposed_reads, split
from sim.rtl.idle_skipping import schedule
from tests.verification.corruption import Corrupted, corrupt
from tests.verification.cosim import image_of
from tests.verification.generator import Program, generate
from tests.verification.rig import WATCHDOG, Rig

PROGRAMS = 80


def test_every_cycle_is_that_of_full_evaluation(seed):
    """What random programs show: legal, illegal, and cut off by reset."""
    config = PRESETS["tiny"]
    rigs = [Rig(config, watched=False, skip_idle=skip) for skip in (False, True)]
    skips = [b"group_40__" in rig.model.library.read_bytes() for rig in rigs]
    assert skips == [False, True]
    rng = Random(seed)
    for number in range(PROGRAMS):
        program = generate(config, rng.getrandbits(32))
        found = None if number % 4 else corrupt(program, rng)
        limit = rng.randrange(10, 2000) if number % 5 == 0 else 1 << 20
        plain, skipping = (_run(rig, program, found, limit) for rig in rigs)
        for name, value in plain.items():
            assert np.array_equal(value, skipping[name]), f"{name}\n{program.listing()}"
    for rig in rigs:
        rig.close()


def _run(rig: Rig, program: Program, found: Corrupted | None, limit: int) -> dict[str, object]:
    """Everything that the core shows of a run; after `limit` cycles it is reset."""
    entry, length = program.entry, len(program.instructions)
    if found is not None:
        entry, length = found.entry, found.length
    rig.model.set_memory(program.timing)
    rig.place(program.image if found is None else image_of(program, found), program.base)
    rig.model.record_events()
    begin = rig.model.cycle
    rig.start(entry, length)
    outcome = rig.finish(limit)
    events = rig.model.trace_events()
    events[:, 0] -= begin
    counters = [rig.rtl.counter(name) for name in rig.oracle.counters]
    if outcome.hung:
        rig.model.reset()
        rig.set("watchdog", WATCHDOG)
        rig.set("dram_base", rig.base)
    return {
        "events": events, "outcome": str(outcome), "cycles": rig.model.cycle - begin,
        "counters": counters, "DRAM": rig.dram.copy(),
    }  # fmt: skip


def statements(text: str) -> list[Statement]:
    return [Statement.parse(part) for part in split(text)]


def test_statements_read_and_write_what_they_name():
    [one, two, three] = statements(
        "vlSelfRef.a = (vlSelfRef.b + (IData)(c));\n"
        "if ((1U & vlSelfRef.d)) { vlSelfRef.m[vlSelfRef.e] = 2U; } else { VL_ZERO_W(64, w); }\n"
        "VL_ASSIGN_W(64, w, vlSelfRef.v);"
    )
    assert (one.writes, one.reads) == ({"vlSelfRef.a"}, {"vlSelfRef.b", "c"})
    assert two.writes == {"vlSelfRef.m", "w"}
    assert {"vlSelfRef.d", "vlSelfRef.e"} <= two.reads
    assert (three.writes, three.reads) == ({"w"}, {"vlSelfRef.v"})


@pytest.mark.parametrize(
    ("text", "exposed"),
    [
        ("x = 1U; y = x;", set()),
        ("y = x; x = 1U;", {"x"}),
        ("if (c) { x = 1U; }", {"c", "x"}),
        ("if (c) { x = 1U; } else { x = 2U; } y = x;", {"c"}),
        ("if (c) { x = 1U; } else if (d) { x = 2U; }", {"c", "d", "x"}),
        ("w[0U] = 1U;", {"w"}),
        ("w[0U] = 1U; w[1U] = 2U; y = w[0U];", set()),
        ("m[i] = 1U;", {"i", "m"}),
        ("x = (x + 1U);", {"x"}),
    ],
)
def test_values_from_before_that_matter(text, exposed):
    assert exposed_reads(statements(text), {"w": 2, "m": 16}) == exposed


@pytest.mark.parametrize(
    "text", ["while (x) { y = 1U; }", "x = f(y);", "VL_FOPEN_W(1, x);", "{ x = 1U; }", "x++;"]
)
def test_other_forms_are_refused(text):
    with pytest.raises(UnknownFormError):
        statements(text)


def test_groups_keep_what_each_statement_reads(seed):
    """Random straight-line code, executed in both orders."""
    rng = Random(seed)
    units = ("a", "b", "c")
    names = [f"top__DOT__{unit}__DOT__{unit}{n}" for unit in units for n in range(4)]
    for _ in range(50):
        lines = [
            f"{rng.choice(names)} = ({rng.choice(names)} + {rng.choice(names)});" for _ in range(12)
        ]
        groups = schedule(statements("\n".join(lines)))
        ordered = [s.text for group in groups for s in group.statements]
        assert sorted(ordered) == sorted(lines)
        seen = []
        for order in (lines, ordered):
            values = {name: number + 1 for number, name in enumerate(names)}
            for line in order:
                exec(line, {}, values)  # assignments of sums are Python too
            seen.append(values)
        assert seen[0] == seen[1]
        written = [name for group in groups for name in group.writes]
        assert len(written) == len(set(written)), "two groups write one variable"
