"""Which ops the TPU takes, and why not the others, in words for the user.

A matrix product or a convolution stands alone. Bias, activation and pooling come along behind
one, never by themselves: they cost the host nothing but the way to the TPU and back.
"""

from __future__ import annotations

from sw.compiler.tpu.layers import MOST_STEP
from sw.graph.build import constant_value
from sw.graph.device import parse
from sw.graph.dtypes import float32, int8, int32
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

LINEAR = ("matmul", "conv2d")
VIEWS = ("identity", "stop_gradient", "reshape", "squeeze", "expand_dims")
EPILOGUE = ("bias_add", "add", "relu", "relu6", "max_pool")
BORDER = ("quantize_linear", "dequantize_linear")
FLOAT_SUFFIX = "/float"
"""Ends the name of an op whose own name its dequantised result has taken over."""
QLINEAR = ("qlinear_conv", "qlinear_matmul")


def unsupported(op: Operation) -> str | None:
    """None when the TPU takes `op`, else the reason why not."""
    if op.type in LINEAR:
        return _linear(op)
    if op.type in QLINEAR:
        return _constant_parameters(op, range(1, len(op.inputs))) or _geometry(op, op.inputs[3])
    if op.type in BORDER:
        return _constant_parameters(op, (1, 2))
    if op.type in VIEWS:
        if op.type == "reshape" and constant_value(op.inputs[1]) is None:
            return "the TPU takes a reshape only to a shape that is known when the graph is built"
        return None
    if op.type in EPILOGUE:
        return _epilogue(op)
    return f"the TPU has no {op.type}"


def original_name(op: Operation) -> str:
    """What the user calls `op`."""
    return op.name.removesuffix(FLOAT_SUFFIX)


def data_input(op: Operation) -> Tensor:
    """The input of an epilogue op or view that is not its bias or its shape."""
    if op.type == "add" and (op.inputs[0].shape.rank or 0) < (op.inputs[1].shape.rank or 0):
        return op.inputs[1]
    return op.inputs[0]


def _linear(op: Operation) -> str | None:
    for tensor in op.inputs:
        if tensor.dtype is not float32:
            return (
                f"the TPU takes {op.type} of float32 (or qlinear ops of int8), not {tensor.dtype}"
            )
    if op.type == "matmul":
        if op.inputs[1].shape.rank != 2:
            return "the right operand of a matmul on the TPU must be a matrix, of known rank"
        if op.inputs[0].shape.rank is None:
            return "the left operand of a matmul on the TPU must have a known rank"
        if op.attrs["transpose_a"] and op.inputs[0].shape.rank != 2:
            return "the TPU transposes a left operand only if it is a matrix"
    return _geometry(op, op.inputs[1])


def _geometry(op: Operation, kernel: Tensor) -> str | None:
    sizes = [
        ("kernel", (kernel.shape.dims or ())[:2] if "conv" in op.type else ()),
        ("strides", op.attrs.get("strides", ())),
        ("dilations", op.attrs.get("dilations", ())),
    ]
    for what, values in sizes:
        if any(value is not None and value > MOST_STEP for value in values):
            return f"{what} {tuple(values)}: the TPU's instructions hold {MOST_STEP} at most"
    return None


def _constant_parameters(op: Operation, indices: range | tuple[int, ...]) -> str | None:
    for index in indices:
        if constant_value(op.inputs[index]) is None:
            name = op.inputs[index].name
            return f"input {index} ({name}) of {op.type} must be a constant on the TPU"
    return None


def _epilogue(op: Operation) -> str | None:
    source = data_input(op)
    if op.type in ("add", "bias_add"):
        other = op.inputs[0] if source is op.inputs[1] else op.inputs[1]
        if other.shape.rank != 1 or (source.shape.rank or 0) < 2:
            return "the TPU adds vectors (biases) only"
        have, want = other.shape.dims, source.shape.dims
        if have and want and have[0] not in (None, want[-1]) and want[-1] is not None:
            return "the TPU adds vectors of one value per channel only"
    if source.dtype not in (float32, int8, int32):
        return f"the TPU takes {op.type} of float32, not {source.dtype}"
    if not _behind(source):
        return f"the TPU takes {op.type} only behind a matrix product or convolution of its own"
    return None


def _behind(tensor: Tensor) -> bool:
    """Whether a value comes out of the TPU: a linear op or int8, and epilogue ops and views."""
    op = tensor.op
    while parse(op.device).kind == "tpu":
        if op.type in LINEAR + QLINEAR + BORDER:
            return unsupported(op) is None
        if op.type not in EPILOGUE + VIEWS or unsupported(op) is not None:
            return False
        op = data_input(op).op
    return False
