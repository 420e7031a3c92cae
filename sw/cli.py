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
Model = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An ONNX model.")]
Memory = Annotated[
    str,
    typer.Option(metavar="FIELD=VALUE,...", help="DRAM: latency, bytes_per_cycle, jitter, seed."),
]
Inputs = Annotated[
    list[str] | None, typer.Option(metavar="NAME=FILE.npy", help="The value of an input.")
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=1x3x224x224", help="The shape of an input that leaves it open."),
]
Random = Annotated[
    int | None, typer.Option(metavar="SEED", help="Random values for the other inputs.")
]
OutputFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write each output there as .npy.")
]
DumpPasses = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the graph after each pass there.")
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
def run(
    model: Model,
    device: Annotated[str, typer.Option(metavar="KIND:NUMBER", help="tpu:0 or cpu:0.")] = "tpu:0",
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help="Behind the TPU: functional (values), timing or rtl (cycles too), fpga:PORT.",
        ),
    ] = "functional",
    input: Inputs = None,
    random: Random = None,
    output: OutputFolder = None,
    config: Config = "default",
    memory: Memory = "",
    shape: Shapes = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a report of the cycles there (timing, rtl)."),
    ] = None,
    dump_passes: DumpPasses = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every byte with the RTL, or it with values.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a model; what the TPU does not take runs on the CPU."""
    module = _command("run")
    options = module.Options(
        device, engine, config, memory, tuple(input or ()), tuple(shape or ()), random, verify,
        output, profile, dump_passes,
    )  # fmt: skip
    _finish(module.run(model, options), json)


@app.command()
def quantize(
    model: Model,
    calibrate: Annotated[
        Path,
        typer.Option(
            metavar="DATA.npz",
            help="Typical inputs by name, samples first; with 'labels', accuracy is told.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="The model to write.")
    ],
    method: Annotated[
        Literal["minmax", "percentile", "mse"],
        typer.Option(help="The range of an activation: all of it, most of it, least error."),
    ] = "minmax",
    percentile: Annotated[
        float, typer.Option(help="Per cent of the values inside the range, for percentile.")
    ] = 99.99,
    equalize: Annotated[
        bool, typer.Option("--equalize", help="Even out the channels between layers first.")
    ] = False,
    bias_correction: Annotated[
        bool, typer.Option("--bias-correction", help="Take the weights' mean error out of biases.")
    ] = False,
    samples: Annotated[
        int, typer.Option(min=0, help="Use so many samples of the data; 0: all.")
    ] = 0,
    json: Json = False,
) -> None:
    """Quantise a float model to int8 and write it in ONNX's QDQ form.

    It prints the noise that each layer gained, and the change in accuracy.
    """
    module = _command("quantize")
    options = module.Options(method, percentile, equalize, bias_correction, samples)
    _finish(module.quantize(model, calibrate, output, options), json)


@app.command()
def compile(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PROGRAM", help="The .tpu file to write.")
    ],
    config: Config = "default",
    shape: Shapes = None,
    dump_passes: DumpPasses = None,
    json: Json = False,
) -> None:
    """Compile a quantised model to a program file for one core."""
    done = _command("compile").compile_model(model, output, config, tuple(shape or ()), dump_passes)
    _finish(done, json)


@app.command()
def profile(
    model: Model,
    engine: Annotated[
        Literal["timing", "rtl"], typer.Option(help="Both count the same cycles; rtl is slow.")
    ] = "timing",
    config: Config = "default",
    memory: Memory = "",
    input: Inputs = None,
    shape: Shapes = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where report, timeline and data are written.")
    ] = Path("profile-output"),
    json: Json = False,
) -> None:
    """Say where every cycle of a model goes.

    A table of its layers, an HTML report with roofline, utilisation and memory over time, and a
    Perfetto timeline. A float model is quantised with random values first.
    """
    module = _command("profile")
    options = module.Options(engine, config, memory, tuple(input or ()), tuple(shape or ()), output)
    _finish(module.profile_model(model, options), json)


@app.command()
def explore(
    model: Model,
    array: Annotated[
        str, typer.Option(metavar="N,N,...", help="Sides of the array to try.")
    ] = "8,16,32",
    scratchpad: Annotated[
        str, typer.Option(metavar="KIB,KIB,...", help="Sizes of the scratchpad in KiB.")
    ] = "64,256,1024",
    bus: Annotated[str, typer.Option(metavar="BITS,...", help="Widths of the bus.")] = "64",
    config: Config = "default",
    memory: Memory = "",
    shape: Shapes = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Plot cycles against the core's size.")
    ] = None,
    json: Json = False,
) -> None:
    """Try sizes of the core: cycles of a model on each, and which are worth building."""
    module = _command("explore")
    options = module.Options(array, scratchpad, bus, config, memory, tuple(shape or ()), output)
    _finish(module.explore(model, options), json)


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
    memory: Memory = "",
    input: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE.npy", help="An input: int8 codes or float values."),
    ] = None,
    random: Random = None,
    output: OutputFolder = None,
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
