"""`make fuzz`: damaged and hostile models against the importer, for a bounded time.

Every model is a small one of the standard's suite with some of its bytes or fields changed. The
importer must give a graph or raise `ModelError`, within seconds and a bounded memory; the process
that tries is watched, so that a crash of native code is found as well.

python -m tests.conformance.fuzz --seconds 600 --seed 7
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import onnx
from onnx import AttributeProto, ModelProto, NodeProto

from sw.graph.errors import ModelError
from sw.graph.onnx.importer import import_onnx
from tests.conformance.onnx_nodes import node_tests

MOST_BYTES = 4096
"""Models as small as this are damaged where it matters."""
MOST_SECONDS = 20.0
MOST_MEMORY = 256 << 20
EXTREMES = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 7, 255, 2**31, 2**40, 2**62, 2**63 - 1)
OPERATORS = sorted({s.name for s in onnx.defs.get_all_schemas() if not s.domain})


def corpus() -> list[bytes]:
    """The suite's small models, a few for each operator."""
    found: dict[str, list[bytes]] = {}
    for case in node_tests():
        data = case.model.SerializeToString()
        kind = found.setdefault(case.model.graph.node[0].op_type, [])
        if len(data) <= MOST_BYTES and len(kind) < 4:
            kind.append(data)
    return [data for kind in found.values() for data in kind]


def _bytes(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """Flips, cuts and splices."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(out) or 1)
        kind = draw.randrange(4)
        if kind == 0 and out:
            out[at] = draw.randrange(256)
        elif kind == 1:
            del out[at : at + draw.randint(1, 20)]
        elif kind == 2:
            other = draw.choice(others)
            start = draw.randrange(len(other))
            out[at:at] = other[start : start + draw.randint(1, 40)]
        else:
            del out[at:]
    return bytes(out)


def _attribute(node: NodeProto, draw: random.Random) -> None:
    if not node.attribute:
        node.attribute.append(onnx.helper.make_attribute("axis", draw.choice(EXTREMES)))
        return
    attribute = draw.choice(node.attribute)
    value = draw.choice(EXTREMES)
    if attribute.type == AttributeProto.INT:
        attribute.i = value
    elif attribute.type == AttributeProto.INTS:
        if attribute.ints and draw.random() < 0.7:
            attribute.ints[draw.randrange(len(attribute.ints))] = value
        else:
            attribute.ints.append(value)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = draw.choice((float("nan"), float("inf"), -1.0, 0.0, 1e38))
    elif attribute.type == AttributeProto.STRING:
        attribute.s = draw.choice((b"", b"SAME_UPPER", b"\xff\xfe", b"NOTSET" * 99))
    elif attribute.type == AttributeProto.TENSOR:
        attribute.t.dims.append(value)
    else:
        attribute.name = "axis"


def _fields(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """Changes of nodes, types and attributes that leave a well-formed file."""
    model = ModelProto()
    model.ParseFromString(data)
    graph = model.graph
    for _ in range(draw.randint(1, 4)):
        node, kind = draw.choice(graph.node), draw.randrange(10)
        if kind < 4:
            _attribute(node, draw)
        elif kind == 4:
            node.op_type = draw.choice(OPERATORS)
        elif kind == 5 and node.input:
            node.input[draw.randrange(len(node.input))] = draw.choice(["", "nowhere", *node.output])
        elif kind == 6 and graph.input:
            info = draw.choice(graph.input).type.tensor_type
            if info.shape.dim:
                draw.choice(info.shape.dim).dim_value = draw.choice(EXTREMES)
            else:
                info.elem_type = draw.randrange(30)
        elif kind == 7 and graph.input:
            draw.choice(graph.input).type.tensor_type.elem_type = draw.randrange(30)
        elif kind == 8:
            graph.node.append(node)
        elif graph.initializer:
            tensor = draw.choice(graph.initializer)
            tensor.dims.append(draw.choice(EXTREMES))
        else:
            model.opset_import[0].version = draw.choice((-1, 0, 1, 6, 9, 13, 21, 10**9))
    return model.SerializeToString()


def damaged(seed: int, models: list[bytes]) -> bytes:
    """The model of that seed."""
    draw = random.Random(seed)
    change: Callable[..., bytes] = draw.choice((_bytes, _fields, _fields))
    return change(draw.choice(models), draw, models)


def attempt(data: bytes) -> str | None:
    """None when the importer behaves, else what it did."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        import_onnx(data)
    except ModelError as error:
        if not error.message:
            return "a ModelError without a message"
    except BaseException:
        return traceback.format_exc()
    seconds = time.monotonic() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if seconds > MOST_SECONDS:
        return f"it took {seconds:.0f} s"
    return f"it took {grown >> 20} MiB" if grown > MOST_MEMORY + len(data) else None


def _work(first: int, seconds: float, current: Any, failures: Any) -> None:
    models, end = corpus(), time.monotonic() + seconds
    seed = first
    while time.monotonic() < end:
        current.value = seed
        wrong = attempt(damaged(seed, models))
        if wrong:
            failures.put((seed, wrong))
        seed += 1


def main() -> None:
    """Run, print counts and every failure with its seed; fail if there is any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="the first of consecutive seeds")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    end, first, found = time.monotonic() + options.seconds, options.seed, []
    while time.monotonic() < end:
        current, failures = context.Value("q", first), context.Queue()
        worker = context.Process(
            target=_work, args=(first, end - time.monotonic(), current, failures)
        )
        worker.start()
        while worker.is_alive():
            worker.join(0.2)
            while not failures.empty():
                found.append(failures.get())
        if worker.exitcode:
            found.append((current.value, f"the process died: exit code {worker.exitcode}"))
        first = current.value + 1
    for seed, wrong in found:
        print(f"seed {seed}: {wrong}")
    print(f"{first - options.seed} damaged models, {len(found)} of them handled wrongly")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
