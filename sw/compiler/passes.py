"""The passes, in order: the compiler as one list.

    prune · check types · fold constants · common subexpressions · prune · (by cost:
    simulate) · place · partition

Each is a pure function from a `Unit` to a new one (the last one to a `Plan`).
"""

from __future__ import annotations

from collections.abc import Callable

from sw.compiler.check import check_types
from sw.compiler.cse import eliminate_common
from sw.compiler.fold import fold
from sw.compiler.partition import Plan, partition
from sw.compiler.place import Places, place
from sw.compiler.prune import prune
from sw.compiler.simulate import Costs, place_by_cost
from sw.compiler.unit import Unit, render

# Before placement a pass needs to know nothing of devices.
PASSES: tuple[tuple[str, Callable[[Unit], Unit]], ...] = (
    ("prune", prune),
    ("check_types", check_types),
    ("fold", fold),
    ("cse", eliminate_common),
    ("sweep", prune),  # what folding and merging left without a use
)

Dump = Callable[[str, str], None]


def compile_unit(
    unit: Unit, places: Places, dump: Dump | None = None, costs: Costs | None = None
) -> Plan:
    """Run every pass; `dump(name, text)` gets the unit as text before all and after each. With
    `costs`, ops go where a simulated run is done first."""
    if dump:
        dump("input", render(unit))
    for name, function in PASSES:
        unit = function(unit)
        if dump:
            dump(name, render(unit))
    if costs is not None:
        unit = place_by_cost(unit, places, costs)
    unit = place(unit, places)
    if dump:
        dump("place", render(unit))
    plan = partition(unit)
    if dump:
        for index, part in enumerate(plan.partitions):
            dump(f"partition_{index}", f"{part.device}\n{render(Unit(part.graph))}")
    return plan
