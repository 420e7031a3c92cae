"""Export of operations that work element by element, reduce, or move elements about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import numpy_helper

from sw.graph.build import constant_value
from sw.graph.errors import UnimplementedError
from sw.graph.onnx.elementwise import BINARY, UNARY
from sw.graph.onnx.writer import TO_FIRST, TO_LAST, Rule, Writer, axis_of, element_type
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

PLAIN = {
    **{ours: theirs for theirs, ours in {**UNARY, **BINARY}.items()},
    "add_n": "Sum",
    "bias_add": "Add",
    "elu": "Elu",
    "identity": "Identity",
    "is_inf": "IsInf",
    "maximum": "Max",
    "minimum": "Min",
    "pow": "Pow",
    "rint": "Round",
    "stop_gradient": "Identity",
    "where": "Where",
}
"""Operations that are one of the standard's, without attributes."""
REDUCTIONS = {
    "reduce_max": "ReduceMax",
    "reduce_mean": "ReduceMean",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_sum": "ReduceSum",
}


def _together(w: Writer, tensors: Sequence[Tensor]) -> tuple[list[str], bool]:
    """Operands that are broadcast against each other, and whether they are NCHW."""
    if any(w.is_first(tensor) for tensor in tensors):
        names = [w.operand(tensor, True) for tensor in tensors]
        found = [name for name in names if name is not None]
        if len(found) == len(names):
            return found, True
    return [w.plain(tensor) for tensor in tensors], False


def elementwise(w: Writer, op: Operation) -> None:
    """One of `PLAIN`."""
    kind = PLAIN[op.type]
    if op.type == "div" and not op.inputs[0].dtype.is_floating:
        raise UnimplementedError(f"{op.where()}: ONNX divides integers towards zero", op)
    names, first = _together(w, op.inputs)
    w.result(kind, names, op.outputs[0], first)


def _number(w: Writer, op: Operation, value: float) -> str:
    kind = op.inputs[0].dtype.numpy
    return w.initializer(np.asarray(value, kind), f"{op.name}/{value:g}")


def composed(w: Writer, op: Operation) -> None:
    """What the standard says with several nodes."""
    names, first = _together(w, op.inputs)

    def put(kind: str, *inputs: str) -> str:
        return w.emit(kind, inputs, f"{op.name}/{kind.lower()}")

    def end(kind: str, *inputs: str) -> None:
        w.result(kind, inputs, op.outputs[0], first)

    x = names[0]
    if op.type == "square":
        end("Mul", x, x)
    elif op.type == "rsqrt":
        end("Reciprocal", put("Sqrt", x))
    elif op.type == "squared_difference":
        difference = put("Sub", *names)
        end("Mul", difference, difference)
    elif op.type == "relu6":
        end("Clip", x, _number(w, op, 0), _number(w, op, 6))
    elif op.type == "log1p":
        end("Log", put("Add", x, _number(w, op, 1)))
    elif op.type == "expm1":
        end("Sub", put("Exp", x), _number(w, op, 1))
    elif op.type == "not_equal":
        end("Not", put("Equal", *names))
    elif op.type == "is_finite":
        end("Not", put("Or", put("IsNaN", x), put("IsInf", x)))
    elif op.type == "floordiv" or op.type == "mod":
        if not op.inputs[0].dtype.is_floating:
            raise UnimplementedError(f"{op.where()}: ONNX divides integers towards zero", op)
        whole = put("Floor", put("Div", *names))
        if op.type == "mod":
            end("Sub", x, put("Mul", whole, names[1]))
        else:
            end("Identity", whole)
    else:
        _gelu(w, op, x, put, end)


def _gelu(w: Writer, op: Operation, x: str, put: Any, end: Any) -> None:
    half = put("Mul", x, _number(w, op, 0.5))
    if op.attrs["approximate"]:
        cube = put("Mul", put("Mul", put("Mul", x, x), x), _number(w, op, 0.044715))
        inner = put("Tanh", put("Mul", put("Add", x, cube), _number(w, op, math.sqrt(2 / math.pi))))
    else:
        inner = put("Erf", put("Mul", x, _number(w, op, math.sqrt(0.5))))
    end("Mul", half, put("Add", inner, _number(w, op, 1)))


def softmax(w: Writer, op: Operation) -> None:
    """Softmax and LogSoftmax."""
    source = op.inputs[0]
    first = w.is_first(source)
    kind = "Softmax" if op.type == "softmax" else "LogSoftmax"
    name = w.first(source) if first else w.plain(source)
    axis = axis_of(op.attrs["axis"], source.shape.rank or 0, first)
    w.result(kind, [name], op.outputs[0], first, axis=axis)


def _axes(w: Writer, op: Operation, axes: Sequence[int]) -> str:
    return w.initializer(np.asarray(axes, np.int64), f"{op.name}/axes")


def reduction(w: Writer, op: Operation) -> None:
    """The reductions; a mean over an image is GlobalAveragePool."""
    source, keep = op.inputs[0], bool(op.attrs["keepdims"])
    rank = source.shape.rank
    if rank is None:
        raise UnimplementedError(f"{op.where()}: its operand needs a known rank", op)
    given = op.attrs["axis"]
    axes = sorted(a % rank for a in (range(rank) if given is None else given))
    image = rank == 4 and axes == [1, 2]
    if op.type == "reduce_mean" and image and source.dtype.is_floating:
        if keep:
            w.result("GlobalAveragePool", [w.first(source)], op.outputs[0], True)
        else:
            mean = w.emit("GlobalAveragePool", [w.first(source)], f"{op.name}/mean")
            w.result("Squeeze", [mean, _axes(w, op, (2, 3))], op.outputs[0])
        return
    first = w.is_first(source) and (keep or axes[:1] == [1] and image)
    name = w.first(source) if first else w.plain(source)
    where = [axis_of(axis, rank, first) for axis in axes]
    attrs: dict[str, Any] = {"keepdims": int(keep)}
    names = [name]
    if op.type == "reduce_sum" or w.opset >= 18:  # the others followed the sum
        names.append(_axes(w, op, where))
    else:
        attrs["axes"] = where
    w.result(REDUCTIONS[op.type], names, op.outputs[0], first and keep, **attrs)


def arg(w: Writer, op: Operation) -> None:
    """ArgMax and ArgMin, which give int64."""
    kind = "ArgMax" if op.type == "argmax" else "ArgMin"
    rank = op.inputs[0].shape.rank or 0
    names = [w.plain(op.inputs[0])]
    attrs: dict[str, Any] = {"axis": axis_of(int(op.attrs["axis"]), rank, False), "keepdims": 0}
    if op.outputs[0].dtype.name == "int64":
        w.result(kind, names, op.outputs[0], **attrs)
        return
    found = w.emit(kind, names, f"{op.name}/int64", **attrs)
    w.result("Cast", [found], op.outputs[0], to=element_type(op.outputs[0].dtype))


def cast(w: Writer, op: Operation) -> None:
    """Cast."""
    names, first = _together(w, op.inputs)
    w.result("Cast", names, op.outputs[0], first, to=element_type(op.outputs[0].dtype))


def transpose(w: Writer, op: Operation) -> None:
    """Transpose; between NHWC and NCHW it is only another name."""
    source, result, perm = op.inputs[0], op.outputs[0], tuple(op.attrs["perm"])
    if perm == TO_LAST:
        w.set(result, w.plain(source), first=True)
    elif perm == TO_FIRST and (w.is_first(source) or source.op.type != "const"):
        w.set(result, w.first(source))
    else:
        w.result("Transpose", [w.plain(source)], result, perm=perm)


def _sizes(w: Writer, op: Operation, tensor: Tensor) -> str:
    """A shape as the int64 that the standard wants."""
    value = constant_value(tensor)
    if value is not None:
        return w.initializer(value.astype(np.int64).ravel(), f"{op.name}/shape")
    if tensor.dtype.name == "int64":
        return w.plain(tensor)
    return w.emit("Cast", [w.plain(tensor)], f"{op.name}/shape", to=7)


def reshape(w: Writer, op: Operation) -> None:
    """Reshape, in which 0 means 0."""
    names = [w.plain(op.inputs[0]), _sizes(w, op, op.inputs[1])]
    value = constant_value(op.inputs[1])
    zero = 1 if value is not None and (value == 0).any() else None
    w.result("Reshape", names, op.outputs[0], allowzero=zero)


def axes_changed(w: Writer, op: Operation) -> None:
    """Unsqueeze and Squeeze."""
    source = op.inputs[0]
    rank = source.shape.rank or 0
    if op.type == "expand_dims":
        where = _axes(w, op, (op.attrs["axis"] % (rank + 1),))
        w.result("Unsqueeze", [w.plain(source), where], op.outputs[0])
        return
    axes = op.attrs["axis"]
    if axes is None:
        w.result("Squeeze", [w.plain(source)], op.outputs[0])
        return
    positive = sorted(a % rank for a in axes)
    if w.is_first(source) and positive == [1, 2]:
        w.result("Squeeze", [w.first(source), _axes(w, op, (2, 3))], op.outputs[0])
    else:
        w.result("Squeeze", [w.plain(source), _axes(w, op, positive)], op.outputs[0])


def concat(w: Writer, op: Operation) -> None:
    """Concat."""
    first = any(map(w.is_first, op.inputs))
    names = [w.first(t) if first else w.plain(t) for t in op.inputs]
    axis = axis_of(op.attrs["axis"], op.inputs[0].shape.rank or 0, first)
    w.result("Concat", names, op.outputs[0], first, axis=axis)


def split(w: Writer, op: Operation) -> None:
    """Split."""
    source = op.inputs[0]
    first = w.is_first(source)
    sizes = w.initializer(np.asarray(op.attrs["sizes"], np.int64), f"{op.name}/sizes")
    names = [w.first(source) if first else w.plain(source), sizes]
    axis = axis_of(op.attrs["axis"], source.shape.rank or 0, first)
    w.raw("Split", names, w.outputs(op, first), last=True, axis=axis)


def stack(w: Writer, op: Operation) -> None:
    """Unsqueeze each, then Concat."""
    axis = op.attrs["axis"] % ((op.inputs[0].shape.rank or 0) + 1)
    where = _axes(w, op, (axis,))
    parts = [w.emit("Unsqueeze", [w.plain(t), where], f"{op.name}/part") for t in op.inputs]
    w.result("Concat", parts, op.outputs[0], axis=axis)


def unstack(w: Writer, op: Operation) -> None:
    """Split, then Squeeze each."""
    axis = op.attrs["axis"] % (op.inputs[0].shape.rank or 1)
    sizes = w.initializer(np.ones(op.attrs["num"], np.int64), f"{op.name}/sizes")
    parts = [w.unique(f"{op.name}/part") for _ in op.outputs]
    w.raw("Split", [w.plain(op.inputs[0]), sizes], parts, axis=axis)
    where = _axes(w, op, (axis,))
    for part, tensor in zip(parts, op.outputs, strict=True):
        w.result("Squeeze", [part, where], tensor)


def pad(w: Writer, op: Operation) -> None:
    """Pad."""
    source, mode = op.inputs[0], op.attrs["mode"]
    if mode == "SYMMETRIC":
        raise UnimplementedError(f"{op.where()}: ONNX has no symmetric padding", op)
    first = w.is_first(source)
    pairs = list(op.attrs["paddings"])
    if first:
        pairs = [pairs[axis] for axis in TO_FIRST]
    ends = np.asarray([pair[end] for end in (0, 1) for pair in pairs], np.int64)
    names = [w.first(source) if first else w.plain(source), w.initializer(ends, f"{op.name}/pads")]
    if mode == "CONSTANT":
        fill = np.asarray(op.attrs["constant"], source.dtype.numpy)
        names.append(w.initializer(fill, f"{op.name}/fill"))
    w.result("Pad", names, op.outputs[0], first, mode=mode.lower())


def strided_slice(w: Writer, op: Operation) -> None:
    """Slice, then Squeeze what was indexed, then Unsqueeze what is new."""
    spec, rank = tuple(op.attrs["spec"]), op.inputs[0].shape.rank
    if rank is None:
        raise UnimplementedError(f"{op.where()}: its operand needs a known rank", op)
    full = spec if "..." in spec else (*spec, "...")
    at = full.index("...")
    used = sum(item is not None and item != "..." for item in full)
    full = (*full[:at], *((None, None, None),) * (rank - used), *full[at + 1 :])
    limit = np.iinfo(np.int64)
    cuts, gone, fresh, axis, out = [], [], [], 0, 0
    for item in full:
        if item is None:
            fresh.append(out)
            out += 1
            continue
        if isinstance(item, tuple):
            start, stop, step = item[0], item[1], item[2] or 1
            low, high = (0, limit.max) if step > 0 else (limit.max, limit.min)
            if item != (None, None, None):
                bounds = (low if start is None else start, high if stop is None else stop)
                cuts.append((*bounds, axis, step))
            out += 1
        else:
            cuts.append((item, limit.max if item == -1 else item + 1, axis, 1))
            gone.append(axis)
        axis += 1
    name, steps = w.plain(op.inputs[0]), []
    if cuts:
        columns = zip(*cuts, strict=True)
        given = [w.initializer(np.asarray(c, np.int64), f"{op.name}/slice") for c in columns]
        steps.append(("Slice", given))
    if gone:
        steps.append(("Squeeze", [_axes(w, op, gone)]))
    if fresh:
        steps.append(("Unsqueeze", [_axes(w, op, fresh)]))
    for kind, given in steps[:-1]:
        name = w.emit(kind, [name, *given], f"{op.name}/{kind.lower()}")
    kind, given = steps[-1] if steps else ("Identity", [])
    w.result(kind, [name, *given], op.outputs[0])


def shape(w: Writer, op: Operation) -> None:
    """Shape and Size, as the integers that our op gives."""
    kind = "Shape" if op.type == "shape" else "Size"
    found = w.emit(kind, [w.plain(op.inputs[0])], f"{op.name}/int64")
    w.result("Cast", [found], op.outputs[0], to=element_type(op.outputs[0].dtype))


def gather(w: Writer, op: Operation) -> None:
    """Gather."""
    names = [w.plain(tensor) for tensor in op.inputs]
    w.result("Gather", names, op.outputs[0], axis=op.attrs["axis"])


def tile(w: Writer, op: Operation) -> None:
    """Tile and Expand."""
    source = w.plain(op.inputs[0])
    if op.type == "tile":
        counts = np.asarray(op.attrs["multiples"], np.int64)
        names = [source, w.initializer(counts, f"{op.name}/multiples")]
        w.result("Tile", names, op.outputs[0])
    else:
        w.result("Expand", [source, _sizes(w, op, op.inputs[1])], op.outputs[0])


def own(w: Writer, op: Operation) -> None:
    """An operator of the standard that was imported as it is."""
    given = iter(op.inputs)
    names = [w.plain(next(given)) if there else "" for there in op.attrs["present"]]
    attrs = {}
    for key, value in op.attrs.items():
        if key not in ("types", "present", "opset") and value is not None:
            attrs[key] = numpy_helper.from_array(value) if hasattr(value, "shape") else value
    w.raw(op.type.removeprefix(OWN), names, w.outputs(op), last=True, **attrs)


OWN = "onnx_"
RULES: dict[str, Rule] = {
    **dict.fromkeys(PLAIN, elementwise),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(
        ("square", "rsqrt", "squared_difference", "relu6", "log1p", "expm1", "not_equal",
         "is_finite", "floordiv", "mod", "gelu"), composed,
    ),
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    **dict.fromkeys(("argmax", "argmin"), arg),
    **dict.fromkeys(("expand_dims", "squeeze"), axes_changed),
    **dict.fromkeys(("shape", "size"), shape),
    **dict.fromkeys(("tile", "broadcast_to"), tile),
    "cast": cast,
    "concat": concat,
    "gather": gather,
    "pad": pad,
    "reshape": reshape,
    "split": split,
    "stack": stack,
    "strided_slice": strided_slice,
    "transpose": transpose,
    "unstack": unstack,
}  # fmt: skip
