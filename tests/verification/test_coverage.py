"""Coverage of a small unit, from its description to the figures: breaks if a point is lost, is
counted for the wrong line, or a waiver hides what it does not name."""

from pathlib import Path

import pytest

from hw.tb import bench_control
from tests.verification.coverage import campaign, waivers
from tests.verification.coverage.merge import Merged
from tests.verification.coverage.points import KINDS, Point
from tests.verification.coverage.report import Report
from tests.verification.coverage.waivers import Waiver, WaiverError

ROOT = Path(__file__).parents[2]
STATES = {
    "Idle", "Clear Units", "Start Fetch", "Running", "Drain", "Clear After Run", "Wait For Bus",
    "Clear After Bus",
}  # fmt: skip


@pytest.fixture(scope="module")
def counts():
    """Of `bench_control`, counted for the unit itself."""
    return campaign.count_bench("bench_control", "default", bench_control.component(), {}, 1)[0]


def test_states_and_transitions_are_those_of_the_description(counts):
    found = {point.name: count for point, count in counts.items() if point.kind == "fsm"}
    assert {name.removeprefix("state ") for name in found if name.startswith("state ")} == STATES
    transitions = {name for name in found if "->" in name}
    assert {"Idle -> Drain", "Start Fetch -> Drain", "Drain -> Wait For Bus"} <= transitions
    assert len(transitions) == 11 and all(found.values())


def test_lines_are_those_of_the_source(counts):
    """A point's line holds the statement that drives the signal it names, or its condition."""
    lines = [point for point in counts if point.kind == "line"]
    assert len(lines) > 50
    for point in lines:
        path, _, number = point.source.partition(":")
        text = (ROOT / path).read_text().splitlines()[int(number) - 1]
        assert any(part in text for part in (".eq(", "m.If", "m.FSM", "m.Elif", "m.Case", "m.d"))


def test_every_kind_is_nearly_covered_and_the_rest_is_named(counts):
    """The control unit's own bench covers it; the array size that it reports never changes."""
    report = Report(counts, {})
    for kind in KINDS:
        assert report.figure(kind).points > 10
        assert report.figure(kind).percent > 80, report.missing()[:20]
    assert not [point for point in report.missing() if "counter_" in point.name]


def test_a_bench_counts_for_the_unit_in_its_surroundings():
    origins = {"top": "core", "top.load": "load", "top.load.split": "split", "top.store": "store",
               "top.store.split": "split"}  # fmt: skip
    merged = Merged(origins)
    core = [Point("line", unit, "x.py:1", "a") for unit in ("top.load.split", "top.store.split")]
    merged.add((point, 0) for point in core)
    bench = Point("line", "top.unit.split", "x.py:1", "a")
    chain = {"top": "bench", "top.unit": "store", "top.unit.split": "split"}
    assert merged.add_bench([(bench, 5), (Point("line", "top", "y.py:1", "b"), 1)], chain) == 1
    assert [merged.counts[point] for point in core] == [0, 5]
    alone = Point("line", "top", "x.py:1", "a")
    merged.add_bench([(alone, 2)], {"top": "split"})
    assert [merged.counts[point] for point in core] == [2, 7]


def test_waivers_name_points_and_reasons(tmp_path):
    uncovered = [Point("toggle", "top.a", "x.py:1", "high[31]:0->1")]
    waiver = Waiver("toggle", "top.a", ".*", r"high\[31\].*", "needs 2**31 cycles without a stop")
    assert waivers.apply([waiver], uncovered) == {uncovered[0]: waiver}
    with pytest.raises(WaiverError, match="matches no uncovered point"):
        waivers.apply([waiver], [])
    for text, wrong in (
        ('[[waiver]]\nkind = "toggle"\nreason = "because"', "a reason is wanted"),
        ('[[waiver]]\nkind = "togle"\nreason = "a reason that is long enough"', "kind"),
        ('[[waiver]]\nlines = "x"\nreason = "a reason that is long enough"', "no such field"),
    ):
        file = tmp_path / "waivers.toml"
        file.write_text(text)
        with pytest.raises(WaiverError, match=wrong):
            waivers.load(file)


def test_what_is_waived_and_what_is_missing():
    points = [Point("line", "top", "x.py:1", name) for name in "abcd"]
    waiver = Waiver("line", "top", ".*", "b", "a reason that is long enough")
    report = Report(dict(zip(points, (3, 0, 0, 1), strict=True)), {points[1]: waiver})
    assert report.missing() == [points[2]]
    assert report.figure("line").percent == pytest.approx(200 / 3) and not report.reached
    report.counts[points[2]] = 1
    assert report.reached
