"""What a run cost, under the names that machines rely on."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from hw.tpu.program import TpuProgram
from sim.engine import RunResult
from sw.commands.answer import facts


def metrics(program: TpuProgram, result: RunResult) -> dict[str, Any]:
    """None where the engine counts no cycles."""
    config, counters, cycles = program.config, result.counters, result.cycles
    peak = config.peak_macs_per_cycle
    traffic = {
        f"dram_{way}_bytes": counters[f"dram_{way}_beats"] * config.bus_bytes if cycles else None
        for way in ("read", "write")
    }
    return {
        "engine": result.engine,
        "config": config.name,
        "cycles": cycles,
        "macs": program.macs,
        "peak_macs_per_cycle": peak,
        "utilisation": program.macs / (cycles * peak) if cycles else None,
        "array_active": counters["array_active"] / cycles if cycles else None,
        **traffic,
        "simulated_cycles_per_second": result.simulated_cycles_per_second,
        "seconds": result.seconds,
        "counters": dict(counters),
    }


def total(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The metrics of several runs, one after the other, of programs for one core."""
    first = runs[0]
    sums = {
        key: None if first[key] is None else sum(run[key] for run in runs)
        for key in ("cycles", "macs", "dram_read_bytes", "dram_write_bytes", "seconds")
    }
    counters = {name: sum(run["counters"][name] for run in runs) for name in first["counters"]}
    cycles, peak = sums["cycles"], first["peak_macs_per_cycle"]
    return {
        **first,
        **sums,
        "utilisation": sums["macs"] / (cycles * peak) if cycles else None,
        "array_active": counters["array_active"] / cycles if cycles else None,
        "simulated_cycles_per_second": cycles / sums["seconds"] if cycles else None,
        "counters": counters,
    }


def table(values: dict[str, Any]) -> Table:
    """For people: the metrics that there are."""
    rows = [("engine", f"{values['engine']}, core {values['config']}")]
    if values["cycles"]:
        rows += [
            ("cycles", f"{values['cycles']:,}"),
            ("array active", f"{values['array_active']:.1%} of the cycles"),
            (
                "utilisation",
                f"{values['utilisation']:.1%} of {values['peak_macs_per_cycle']} "
                "multiply-accumulates a cycle",
            ),
            (
                "DRAM",
                f"{values['dram_read_bytes']:,} bytes read, {values['dram_write_bytes']:,} written",
            ),
            ("speed", f"{values['simulated_cycles_per_second'] / 1e3:,.0f} thousand cycles/s"),
        ]
    rows += [
        ("useful MACs", f"{values['macs']:,}"),
        ("time", f"{values['seconds']:.2f} s"),
    ]
    return facts(rows)
