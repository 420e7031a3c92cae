"""The reference pages that are made from the code: `python -m docs.build [--check]`.

With `--check` nothing is written; the exit status is 1 if a page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

import sw.graph.ops  # noqa: F401 -- fills the table of operations
from docs import errors, onnx_operators, tensorflow
from hw.tpu import isa, registers
from sw.cli import app
from sw.compiler.tpu import support
from sw.graph.registry import NOT_DIFFERENTIABLE, OpDef, all_ops
from tests.verification import prove

HERE = Path(__file__).parent
COLUMNS = "88"
NOTE = "Generated from `{}` by `make docs`; do not edit."


def cli_page() -> str:
    """Every command's --help."""
    lines = ["# Command line", "", NOTE.format("sw/cli.py"), ""]
    lines += [
        "`python -m systolica` is the same as `systolica`. Every command exits with 0 only on"
    ]
    lines += [
        "success, with 2 if it was called wrongly and with 130 after Ctrl-C. With `--json` it"
    ]
    lines += [
        "prints exactly one JSON object on standard output; progress and errors go to standard"
    ]
    lines += ["error."]
    for name in ("", *_commands()):
        arguments = [name, "--help"] if name else ["--help"]
        shown = CliRunner().invoke(app, arguments, env={"COLUMNS": COLUMNS}).output
        lines += ["", f"## systolica {name}".rstrip(), "", "```text"]
        lines += [line.rstrip() for line in shown.strip().splitlines()] + ["```"]
    return "\n".join(lines) + "\n"


def _commands() -> list[str]:
    known = [
        info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands
    ]
    return [name for name in known if name]


def ops_page() -> str:
    """The table of operations."""
    lines = [
        "# Operations",
        "",
        NOTE.format("sw/graph/ops"),
        "",
        "*Gradient*: yes; none flows (the op stops it silently); or no (asking for one is an",
        "error). *TPU*: on the array; with it, fused behind or in front of a product; of int8, on",
        "quantised operands by the vector unit; as a table of 256 results between two scales; or",
        "the CPU.",
        "`st.register_op` adds an operation of your own.",
        "",
        "| operation | meaning | gradient | TPU |",
        "| --- | --- | --- | --- |",
    ]
    for op in all_ops():
        if op.name.startswith("onnx_"):  # they have a page of their own
            continue
        meaning = " ".join(op.doc.split()).replace("|", "\\|").rstrip(".")
        lines.append(f"| `{op.name}` | {meaning} | {_gradient(op)} | {_tpu(op)} |")
    return "\n".join(lines) + "\n"


def _gradient(op: OpDef) -> str:
    if op.gradient is NOT_DIFFERENTIABLE:
        return "none flows"
    return "yes" if op.gradient is not None else "no"


def _tpu(op: OpDef) -> str:
    if op.name in support.LINEAR + support.QLINEAR:
        return "on the array"
    if op.name in support.EPILOGUE + support.VIEWS + support.BORDER:
        return "with it"
    if op.name in support.WINDOWED + support.JOINED:
        return "of int8"
    if op.name in support.UNARY + support.BINARY:
        return "as a table"
    return "CPU"


PAGES: dict[str, Callable[[], str]] = {
    "isa.md": isa.reference,
    "registers.md": registers.reference,
    "cli.md": cli_page,
    "ops.md": ops_page,
    "errors.md": errors.page,
    "onnx_operators.md": onnx_operators.page,
    "tensorflow.md": tensorflow.page,
    "properties.md": prove.page,
}


def main(arguments: list[str]) -> int:
    """Write what has changed, or only say so."""
    check = arguments == ["--check"]
    if arguments and not check:
        print("usage: python -m docs.build [--check]", file=sys.stderr)
        return 2
    stale = []
    for name, make in PAGES.items():
        path, text = HERE / name, make()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    if stale:
        print(f"{'stale, run make docs' if check else 'written'}: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
