"""The command line: what each command takes. What it does is in `sw/commands`.

A command's module is loaded when the command runs, so that `systolica --help` is quick.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

app = typer.Typer(
    name="systolica",
    help="An open TPU: its core, its simulators and its dataflow-graph runtime.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells expect."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
Engine = Literal["functional", "rtl"]
ProgramFile = Annotated[Path, typer.Argument(metavar="PROGRAM", help="A .tpu program file.")]
Config = Annotated[
    str,
    typer.Option(
        metavar="PRESET[,FIELD=VALUE...]",
        help="The core's sizes: tiny, ulx3s, default, large or tpu_v1, and changes to it.",
    ),
]


@app.command()
def doctor(json: Json = False) -> None:
    """Say what this machine lacks, and how to install it."""
    _finish(_command("environment").doctor(), json)


@app.command()
def devices(json: Json = False) -> None:
    """List what can run here, and why the rest cannot."""
    _finish(_command("environment").devices(), json)


@app.command()
def verilog(
    config: Config = "default",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The Verilog file to write.")
    ] = Path("tpu.v"),
    json: Json = False,
) -> None:
    """Write the core as Verilog for other tools.

    Beside FILE come a wrapper with the usual AXI names and a FuseSoC core file.
    """
    _finish(_command("verilog").verilog(config, output), json)


@app.command()
def disasm(program: ProgramFile, json: Json = False) -> None:
    """List a program's instructions with their graph operations."""
    _finish(_command("simulate").disasm(program), json)


@app.command()
def simulate(
    program: ProgramFile,
    engine: Annotated[
        Literal["functional", "timing", "rtl"],
        typer.Option(help="functional: values; timing: cycles; rtl: both."),
    ] = "rtl",
    config: Annotated[
        str | None,
        typer.Option(metavar="PRESET[,FIELD=VALUE...]", help="Insist that it is for this core."),
    ] = None,
    memory: Annotated[
        str,
        typer.Option(
            metavar="FIELD=VALUE,...", help="DRAM: latency, bytes_per_cycle, jitter, seed."
        ),
    ] = "",
    input: Annotated[  # noqa: A002 -- the option's name
        list[str] | None,
        typer.Option(metavar="NAME=FILE.npy", help="An input: int8 codes or float values."),
    ] = None,
    random: Annotated[
        int | None, typer.Option(metavar="SEED", help="Random values for the other inputs.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each output there as .npy.")
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a Perfetto timeline (JSON if named .json)."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Plot cycles and utilisation.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write waves (.vcd, or .fst with lz4.h).")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the RTL with the functional simulator.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a program on a simulator and say what it cost."""
    module = _command("simulate")
    files = module.Files(output, timeline, plot, trace)
    options = module.Options(engine, config, memory, tuple(input or ()), random, verify)
    _finish(module.simulate(program, options, files), json)


@app.command()
def demo(
    engine: Annotated[Engine, typer.Option(help="Where the quantised network runs.")] = "rtl",
    config: Config = "default",
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where timeline and plot are written.")
    ] = Path("demo-output"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 800,
    json: Json = False,
) -> None:
    """Train, quantise and run a convnet on the TPU.

    It reads real handwritten digits, 450 of them never seen in training; every output byte of
    the Verilated core is compared with the functional simulator.
    """
    _finish(_command("demo").demo(engine, config, output, steps), json)


def main() -> None:
    """Run the command line and exit: 0 on success, 2 for a wrong call, 130 after Ctrl-C."""
    try:
        status = app(prog_name="systolica", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except typer.TyperException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        status = error.exit_code
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as error:
        message = _command("failures").explain(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        status = 1
    if status == INTERRUPTED:
        print("interrupted", file=sys.stderr)
    sys.exit(status)


def _command(name: str) -> Any:
    return importlib.import_module(f"sw.commands.{name}")


def _finish(answer: Any, as_json: bool) -> None:
    """Print an `Answer` in the form asked for; exit with 1 if it is not `ok`."""
    if as_json:
        print(json.dumps(answer.data))
    else:
        console = Console(highlight=False)
        for item in answer.shown:
            if isinstance(item, str):
                print(item)  # paths and listings, which no one may wrap
            else:
                console.print(item)
    sys.stdout.flush()
    if not answer.ok:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
