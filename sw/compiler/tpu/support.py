"""Which ops the TPU takes, and why not the others, in words for the user.

A matrix product or a convolution stands alone. Bias, activation and pooling come along behind
one, never by themselves: they cost the host nothing but the way to the TPU and back. Other work is
taken where its operands are quantised: the vector unit computes with int8 only.
"""

from __future__ import annotations

from sw.compiler.tpu.layers import MOST_COUNTS, MOST_STEP, Axis
from sw.graph.build import constant_value
from sw.graph.device import parse
from sw.graph.dtypes import float32, int8, int32
from sw.graph.operation import Operation
from sw.graph.ops.windows import Window
from sw.graph.tensor import Tensor

LINEAR = ("matmul", "conv2d")
VIEWS = ("identity", "stop_gradient", "reshape", "squeeze", "expand_dims")
EPILOGUE = ("bias_add", "add", "relu", "relu6", "max_pool")
BORDER = ("quantize_linear", "dequantize_linear")
TURNED = ("transpose", "swap_axes")
"""Of the last two axes of a quantised tensor: an operand is read in another order."""
TRANSPOSED = "conv2d_backprop_input"
"""A transposed convolution: of a quantised image, by the array."""
WINDOWED = ("depthwise_conv2d", "avg_pool", "reduce_mean", TRANSPOSED)
"""Sums over windows of quantised images: but for a transposed convolution by the vector unit."""
WEIGHTED = (*LINEAR, "depthwise_conv2d", TRANSPOSED)
"""Ops of an input and of weights, which are input 1."""
JOINED = ("add", "mul", "concat")
"""Of quantised tensors."""
UNARY = (
    "abs", "atan", "ceil", "cos", "elu", "erf", "exp", "expm1", "floor", "gelu", "log", "log1p",
    "neg", "reciprocal", "relu", "relu6", "rint", "round", "rsqrt", "sigmoid", "sign", "sin",
    "softplus", "softsign", "sqrt", "square", "tan", "tanh",
)  # fmt: skip
BINARY = ("add", "bias_add", "sub", "mul", "div", "maximum", "minimum", "pow")
"""With `UNARY`, what becomes a table of 256 results, if the other operand is a constant that is
the same for all positions."""
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
    if op.type in TURNED:
        known = swaps_last(op) and codes_behind(op.inputs[0])
        return (
            None
            if known
            else "the TPU has no transpose but that of the last two axes of a quantised tensor"
        )
    if op.type == "strided_slice":
        known = rows_taken(op) is not None and codes_behind(op.inputs[0])
        return None if known else "the TPU has no strided_slice but rows of quantised matrices"
    if op.type == "mul" and _vector(op) is None:
        return None
    if op.type in WINDOWED or op.type == "concat" or op.type == "add" and not _vector_add(op):
        return _vector(op)
    if op.type in EPILOGUE and _epilogue(op) is None:
        return None
    if op.type in UNARY + BINARY:
        reason = _tabled(op)
        return _epilogue(op) if reason and op.type in EPILOGUE else reason
    if op.type in EPILOGUE:
        return _epilogue(op)
    return f"the TPU has no {op.type}"


def swaps_last(op: Operation) -> bool:
    """Whether an op is a transpose that exchanges the last two axes."""
    if op.type != "transpose":
        return op.type == "swap_axes"
    perm = tuple(op.attrs["perm"] or range(op.inputs[0].shape.rank or 0)[::-1])
    last = len(perm)
    return last > 1 and perm == (*range(last - 2), last - 1, last - 2)


def rows_taken(op: Operation) -> tuple[int, int] | None:
    """First and last (exclusive) row that a slice takes of matrices [N, rows, channels]; None if
    it is another slice."""
    sizes = op.inputs[0].shape.dims if op.type == "strided_slice" else None
    if sizes is None or len(sizes) != 3 or sizes[1] is None:
        return None
    spec = [item for item in op.attrs["spec"] if item != "..."]
    if not 2 <= len(spec) <= 3 or "..." in op.attrs["spec"][:2]:
        return None
    whole = all(item == (None, None, None) for item in spec[::2])
    rows = range(sizes[1])
    if isinstance(spec[1], int):
        rows = rows[spec[1] :][:1]
    elif isinstance(spec[1], tuple):
        rows = rows[slice(*spec[1])]
    return (rows[0], rows[-1] + 1) if whole and rows and rows.step == 1 else None


def codes_behind(tensor: Tensor) -> Operation | None:
    """The dequantize op on the TPU that gives a tensor its values, through views and transposes;
    None if there is none."""
    while tensor.op.type in VIEWS or swaps_last(tensor.op):
        tensor = tensor.op.inputs[0]
    op = tensor.op
    on_tpu = op.type == "dequantize_linear" and parse(op.device).kind == "tpu"
    return op if on_tpu and op.inputs[0].dtype is int8 and unsupported(op) is None else None


def product_reason(op: Operation) -> str | None:
    """Why the TPU does not multiply two activations, were they quantised."""
    shapes = [tensor.shape for tensor in op.inputs]
    if shapes[0].rank is None or shapes[0].rank != shapes[1].rank or shapes[0].rank < 2:
        return f"operands {shapes[0]} and {shapes[1]} have other ranks"
    if op.attrs["transpose_a"]:
        return "its left operand is transposed"
    if (shapes[0].dims or ())[:-2] != (shapes[1].dims or ())[:-2]:
        return f"operands {shapes[0]} and {shapes[1]} are not matrix by matrix"
    return None


def original_name(op: Operation) -> str:
    """What the user calls `op`."""
    return op.name.removesuffix(FLOAT_SUFFIX)


def data_input(op: Operation) -> Tensor:
    """The input of an epilogue op or view that is not its bias or its shape."""
    if op.type == "add" and (op.inputs[0].shape.rank or 0) < (op.inputs[1].shape.rank or 0):
        return op.inputs[1]
    return op.inputs[0]


def data_inputs(op: Operation) -> tuple[Tensor, ...]:
    """The inputs of a linear, windowed or joined op that are not its weights or its sizes."""
    if op.type == TRANSPOSED:
        return op.inputs[2:]
    return op.inputs[:1] if op.type in WEIGHTED else op.inputs


def _linear(op: Operation) -> str | None:
    for tensor in op.inputs:
        if tensor.dtype is not float32:
            return (
                f"the TPU takes {op.type} of float32 (or qlinear ops of int8), not {tensor.dtype}"
            )
    if op.type == "matmul" and product_reason(op) is None and all(map(codes_behind, op.inputs)):
        return None
    if op.type == "matmul":
        if op.inputs[1].shape.rank != 2:
            return (
                "the right operand of a matmul on the TPU must be a matrix, of known rank, or both "
                f"quantised: {product_reason(op) or 'they are not'}"
            )
        if op.inputs[0].shape.rank is None:
            return "the left operand of a matmul on the TPU must have a known rank"
        if op.attrs["transpose_a"] and op.inputs[0].shape.rank != 2:
            return "the TPU transposes a left operand only if it is a matrix"
    return _geometry(op, op.inputs[1])


def _geometry(op: Operation, kernel: Tensor) -> str | None:
    sizes = [
        ("kernel", (kernel.shape.dims or ())[:2] if "conv" in op.type else ()),
        ("window", op.attrs.get("ksize", ())),
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


def _vector_add(op: Operation) -> bool:
    """Whether an add is of a vector, or of a constant."""
    ranks = [tensor.shape.rank for tensor in op.inputs]
    return 1 in ranks or any(constant_value(tensor) is not None for tensor in op.inputs)


def table_operands(op: Operation) -> tuple[Tensor, ...] | None:
    """The inputs of a `UNARY` or `BINARY` op that are not constants; None if a constant is not
    one value for each channel at most, or if a tensor is broadcast."""
    if op.type not in UNARY + BINARY:
        return None
    shape = op.outputs[0].shape
    for tensor in op.inputs:
        value = constant_value(tensor)
        if value is None and tensor.shape != shape:
            return None
        if value is not None and value.size not in (1, *value.shape[-1:]):
            return None
    return tuple(tensor for tensor in op.inputs if constant_value(tensor) is None)


def table_source(tensor: Tensor) -> Tensor | None:
    """The one tensor, of whatever op, from which ops that a table can stand for make `tensor`;
    views on the way do not count. None if there are several."""
    found: dict[Tensor, None] = {}
    seen, left = set(), [tensor]
    while left:
        item = left.pop()
        if item in seen:
            continue
        seen.add(item)
        operands = table_operands(item.op)
        if item.op.type in VIEWS:
            left.append(item.op.inputs[0])
        elif operands:
            left += operands
        else:
            found[item] = None
    return next(iter(found)) if len(found) == 1 else None


def vector_reason(op: Operation) -> str | None:
    """Why the core does not do a `WINDOWED` or `JOINED` op, were its operands quantised."""
    shapes = [tensor.shape for tensor in data_inputs(op)]
    if op.type in ("add", "mul") and (shapes[0] != shapes[1] or shapes[0].rank in (None, 0)):
        return f"the TPU joins tensors of one shape or a vector, not {shapes[0]} and {shapes[1]}"
    if op.type == "concat":
        rank = shapes[0].rank
        return "the TPU joins channels only" if op.attrs["axis"] % (rank or 1) + 1 != rank else None
    if op.type in ("add", "mul"):
        return None
    if op.type == "reduce_mean" and mean_window(op) is not None:
        return None
    if shapes[0].rank != 4:
        return f"the TPU takes {op.type} of images only"
    if op.type == "depthwise_conv2d":
        return _geometry(op, op.inputs[1])
    if op.type == TRANSPOSED:
        if constant_value(op.inputs[0]) is None:
            return "the TPU takes transposed convolutions to sizes that are constants only"
        return _geometry(op, op.inputs[1])
    sides = (shapes[0].dims or ())[1:3]
    if op.type == "reduce_mean":
        axes = op.attrs["axis"]
        if axes is None or sorted(axis % 4 for axis in axes) != [1, 2]:
            return "the TPU takes means over rows and columns only"
        return f"window {sides}: the TPU's instructions hold {MOST_STEP} at most"
    return _borders(op, sides) or _geometry(op, op.inputs[0])


def _borders(op: Operation, sides: tuple[int | None, ...]) -> str | None:
    """Why the TPU does not take the means at the borders of an image."""
    attrs = op.attrs
    window = Window(attrs["ksize"], attrs["strides"], (1, 1), attrs["padding"])
    if None in sides or window.padding == "VALID":
        return None
    numbers = []
    for i, side in enumerate(sides):
        assert side is not None
        pads, result = window.pads(i, side), window.out(i, side)
        if result is None or max(pads) >= window.size[i]:
            return "the TPU takes no means of padding alone"
        axis = Axis(side, result, window.size[i], window.strides[i], 1, pads[0])
        numbers.append(set(axis.inside()))
    counts = {rows * columns for rows in numbers[0] for columns in numbers[1]}
    if len(counts) > MOST_COUNTS:
        return f"the TPU takes means of {MOST_COUNTS} different counts at most, not {len(counts)}"
    return None


def mean_window(op: Operation) -> tuple[int, int] | None:
    """Rows and columns over which a reduce_mean takes the mean of an image, or of the rows of
    matrices [N, rows, channels]; None if it takes another mean."""
    rank, dims, axes = op.inputs[0].shape.rank, op.inputs[0].shape.dims, op.attrs["axis"]
    if (
        rank not in (3, 4)
        or axes is None
        or sorted(axis % rank for axis in axes) != [*range(1, rank - 1)]
    ):
        return None
    rows, columns = (1, *(dims or ())[1:-1])[-2:]
    if rows is None or columns is None or max(rows, columns) > MOST_STEP:
        return None
    return rows, columns


def _vector(op: Operation) -> str | None:
    reason = vector_reason(op)
    if reason is None and not all(quantised(tensor) for tensor in data_inputs(op)):
        return f"the TPU takes {op.type} of quantised tensors only"
    if reason is None and op.type == "mul":
        sources = [source for source in map(codes_behind, op.inputs) if source]
        zeros = [constant_value(source.inputs[2]) for source in sources]
        if len(zeros) < 2 or any(zero is None or zero.any() for zero in zeros):
            return "the TPU multiplies quantised tensors of zero point 0 only"
    return reason


def _tabled(op: Operation) -> str | None:
    if not table_operands(op):
        return f"the TPU has no {op.type} but tables, of one tensor and values per channel"
    if not quantised(op.outputs[0]):
        return f"the TPU has no {op.type} but tables, of one quantised tensor"
    return None


def quantised(tensor: Tensor) -> bool:
    """Whether a float tensor on the TPU comes from one int8 tensor: dequantised, then at most
    pools, views and what a table can do."""
    while True:
        source = table_source(tensor)
        if source is None or parse(source.op.device).kind != "tpu":
            return False
        if source.op.type == "dequantize_linear":
            return unsupported(source.op) is None
        if source.op.type != "max_pool":
            return False
        tensor = source.op.inputs[0]


def _behind(tensor: Tensor) -> bool:
    """Whether a value comes out of the TPU: a linear op or int8, and epilogue ops and views."""
    op = tensor.op
    while parse(op.device).kind == "tpu":
        if op.type in LINEAR + QLINEAR + BORDER + WINDOWED + JOINED:
            return unsupported(op) is None
        if op.type not in EPILOGUE + VIEWS or unsupported(op) is not None:
            return False
        op = data_input(op).op
    return False
