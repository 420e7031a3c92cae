"""The page of ONNX operators: which ones `st.import_onnx` takes, and as what."""

from __future__ import annotations

from typing import Any

import onnx

from sw.graph.onnx.importer import HANDLERS, KERNELS

NOTE = "Generated from `sw/graph/onnx` by `make docs`; do not edit."


def _has_function(schema: Any) -> bool:
    return bool(schema.has_function or schema.has_context_dependent_function)


def page() -> str:
    """One row for each operator that the installed standard and we both know."""
    lines = [
        "# ONNX operators",
        "",
        NOTE,
        "",
        "*Own ops*: operations of ours, with gradients where they have them and on the TPU where",
        "it takes them. *Kernel*: a NumPy kernel with the operator's own meaning; where both",
        "stand, it serves the forms that our own ops leave out (other element types, values known",
        "only at run time, more axes). *Definition*: written out as the standard defines it.",
        "",
        "| domain | operator | own ops | kernel | definition |",
        "| --- | --- | --- | --- | --- |",
    ]
    schemas: list[Any] = onnx.defs.get_all_schemas()
    known = {(s.domain, s.name): s for s in schemas}
    missing = []
    for key in sorted(known):
        ways = (key in HANDLERS, key in KERNELS, _has_function(known[key]))
        domain = key[0] or "ai.onnx"
        if any(ways):
            marks = " | ".join("yes" if way else "" for way in ways)
            lines.append(f"| {domain} | {key[1]} | {marks} |")
        else:
            missing.append(key[1] if not key[0] else f"{key[1]} ({domain})")
    lines += ["", f"Not supported: {', '.join(missing)}."]
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines) + "\n"
