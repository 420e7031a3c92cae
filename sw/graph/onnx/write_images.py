"""Export of convolutions, pools and products, float and quantised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import constant_value
from sw.graph.errors import UnimplementedError
from sw.graph.onnx.write_values import elementwise
from sw.graph.onnx.writer import Rule, Writer
from sw.graph.operation import Operation
from sw.graph.ops.windows import Window
from sw.graph.tensor import Tensor

LINEAR = ("conv2d", "depthwise_conv2d", "matmul")


def _window(op: Operation, kernel: Any, image: Tensor) -> dict[str, Any]:
    """The attributes of a sliding window over an NHWC image."""
    attrs = op.attrs
    window = Window(kernel, attrs["strides"], attrs.get("dilations", (1, 1)), attrs["padding"])
    found: dict[str, Any] = {"kernel_shape": list(kernel), "strides": list(window.strides)}
    if window.dilations != (1, 1):
        found["dilations"] = list(window.dilations)
    sizes = image.shape.dims[1:3] if image.shape.dims else (None, None)
    if window.padding == "SAME" and None in sizes:
        return {**found, "auto_pad": "SAME_UPPER"}
    pairs = [window.pads(axis, size or 0) for axis, size in enumerate(sizes)]
    return {**found, "pads": [pair[end] for end in (0, 1) for pair in pairs]}


def _kernel(w: Writer, tensor: Tensor, depthwise: bool, groups: int = 1) -> str:
    """A filter HWIO as the standard's OIHW; [h, w, C, M] as [C*M, 1, h, w]."""
    op = tensor.op
    value = constant_value(tensor)
    if value is not None:
        return w.initializer(_turned(_grouped(value, groups), depthwise), op.name)
    if op.type == "dequantize_linear" and constant_value(op.inputs[0]) is not None:
        codes = constant_value(op.inputs[0])
        assert codes is not None
        axis = op.attrs["axis"] % 4
        channels = codes.shape[2] * codes.shape[3] if depthwise else codes.shape[axis]
        several = codes.shape[3] if depthwise and axis == 2 else 1
        scale, zero = _parameters(op, channels, several)
        across = 0 if depthwise else [2, 3, 1, 0][axis]
        given = [
            w.initializer(_turned(_grouped(codes, groups), depthwise), op.inputs[0].op.name),
            w.initializer(scale, op.inputs[1].op.name),
            w.initializer(zero, op.inputs[2].op.name),
        ]
        return w.emit("DequantizeLinear", given, op.name, axis=across if scale.ndim else None)
    if depthwise:
        raise UnimplementedError(f"{op.where()}: weights of a depthwise op must be constants", op)
    return w.emit("Transpose", [w.plain(tensor)], f"{op.name}/oihw", perm=(3, 2, 0, 1))


def _turned(value: np.ndarray[Any, Any], depthwise: bool) -> np.ndarray[Any, Any]:
    if depthwise:
        h, width, c, m = value.shape
        return np.ascontiguousarray(value.transpose(2, 3, 0, 1).reshape(c * m, 1, h, width))
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1))


def groups_of(weights: np.ndarray[Any, Any] | None) -> int:
    """Into how many groups a filter HWIO falls: its weights between them are zero.

    >>> groups_of(np.eye(4)[None, None]), groups_of(np.ones((1, 1, 4, 4)))
    (4, 1)
    """
    if weights is None:
        return 1
    used = weights.any(axis=(0, 1))
    inputs, outputs = used.shape
    for groups in range(math.gcd(inputs, outputs), 1, -1):
        if math.gcd(inputs, outputs) % groups:
            continue
        blocks = used.reshape(groups, inputs // groups, groups, outputs // groups).any(axis=(1, 3))
        if np.array_equal(blocks, np.eye(groups, dtype=bool)):
            return groups
    return 1


def _grouped(weights: np.ndarray[Any, Any], groups: int) -> np.ndarray[Any, Any]:
    """A filter HWIO without the zeros between its groups."""
    if groups == 1:
        return weights
    height, width, inputs, outputs = weights.shape
    blocks = weights.reshape(height, width, groups, inputs // groups, groups, outputs // groups)
    every = np.arange(groups)
    kept = blocks[:, :, every, :, every, :]  # [group, height, width, in, out]
    return kept.transpose(1, 2, 3, 0, 4).reshape(height, width, inputs // groups, outputs)


def _codes(tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """Constant weights, or the codes of quantised ones whose zero point is 0."""
    op = tensor.op
    if op.type != "dequantize_linear":
        return constant_value(tensor)
    zero = constant_value(op.inputs[2])
    return constant_value(op.inputs[0]) if zero is not None and not zero.any() else None


def _parameters(op: Operation, channels: int, several: int) -> tuple[Any, Any]:
    """Scale and zero point of a dequantize op with constant ones; a channel of `several` outputs
    gives each its own."""
    found = [constant_value(tensor) for tensor in op.inputs[1:3]]
    if found[0] is None or found[1] is None:
        raise UnimplementedError(f"{op.where()}: scale and zero point must be constants", op)
    scale, zero = np.repeat(found[0], several) if several > 1 else found[0], found[1]
    if scale.size == 1:
        return scale.reshape(()), zero.reshape(())
    zero = np.repeat(zero, several) if several > 1 and zero.size > 1 else zero
    return scale, np.ascontiguousarray(np.broadcast_to(zero, (channels,)))


def bias_behind(w: Writer, op: Operation) -> tuple[Operation, Tensor] | None:
    """The op that alone uses the result of `op` and adds one constant per channel to it."""
    user = w.only_user(op.outputs[0])
    if user is None or user.type not in ("bias_add", "add"):
        return None
    other = user.inputs[1] if user.inputs[0] is op.outputs[0] else user.inputs[0]
    channels = op.outputs[0].shape.dims[-1] if op.outputs[0].shape.dims else None
    constant = constant_value(other) is not None or (
        other.op.type == "dequantize_linear" and constant_value(other.op.inputs[0]) is not None
    )
    return (user, other) if constant and other.shape.dims == (channels,) else None


def _with_bias(w: Writer, op: Operation, inputs: list[str]) -> Operation:
    """The op at which a convolution ends: itself, or the one that adds the bias, which is then
    one more of its `inputs`."""
    behind = bias_behind(w, op)
    if behind is None:
        return op
    inputs.append(w.plain(behind[1]))
    w.done.add(behind[0])
    return behind[0]


def convolution(w: Writer, op: Operation) -> None:
    """Conv, with the bias behind it."""
    depthwise = op.type == "depthwise_conv2d"
    sizes = op.inputs[1].shape.sizes()
    attrs = _window(op, sizes[:2], op.inputs[0])
    groups = 1 if depthwise else groups_of(_codes(op.inputs[1]))
    inputs = [w.first(op.inputs[0]), _kernel(w, op.inputs[1], depthwise, groups)]
    end = _with_bias(w, op, inputs)
    group = sizes[2] if depthwise else groups if groups > 1 else None
    w.result("Conv", inputs, end.outputs[0], first=True, group=group, **attrs)


def transposed(w: Writer, op: Operation) -> None:
    """ConvTranspose: the gradient of a convolution to its image, of a size that is known."""
    shape = constant_value(op.inputs[0])
    image = op.inputs[2].shape.dims
    if shape is None or image is None or None in image[1:3]:
        raise UnimplementedError(f"{op.where()}: the sizes of its images must be known", op)
    kernel = op.inputs[1].shape.sizes()[:2]
    attrs = _window(op, kernel, op.outputs[0])
    pads = attrs["pads"]
    extra = []
    for i in (0, 1):
        reach = (kernel[i] - 1) * op.attrs["dilations"][i] + 1
        steps = int(image[i + 1] or 0) - 1
        whole = op.attrs["strides"][i] * steps + reach - pads[i] - pads[i + 2]
        extra.append(int(shape[i + 1]) - whole)
    # HWIO of the convolution, whose outputs are the inputs here: [I, O, h, w]
    inputs = [w.first(op.inputs[2]), _kernel(w, op.inputs[1], False)]
    end = _with_bias(w, op, inputs)
    w.result("ConvTranspose", inputs, end.outputs[0], first=True, output_padding=extra, **attrs)


def pool(w: Writer, op: Operation) -> None:
    """MaxPool and AveragePool, where padding never counts; GlobalAveragePool."""
    kind = "MaxPool" if op.type == "max_pool" else "AveragePool"
    shape = op.inputs[0].shape.dims
    whole = shape is not None and shape[1:3] == tuple(op.attrs["ksize"])
    if kind == "AveragePool" and whole and op.attrs["padding"] in ("VALID", ((0, 0), (0, 0))):
        w.result("GlobalAveragePool", [w.first(op.inputs[0])], op.outputs[0], first=True)
        return
    attrs = _window(op, op.attrs["ksize"], op.inputs[0])
    w.result(kind, [w.first(op.inputs[0])], op.outputs[0], first=True, **attrs)


def product(w: Writer, op: Operation) -> None:
    """MatMul, or Gemm where matrices meet a bias."""
    turned = [bool(op.attrs[f"transpose_{side}"]) for side in "ab"]
    matrices = all(tensor.shape.rank == 2 for tensor in op.inputs)
    behind = bias_behind(w, op) if matrices else None
    if behind is not None or matrices and any(turned):
        inputs, end = [w.plain(tensor) for tensor in op.inputs], op
        if behind is not None:
            end = behind[0]
            inputs.append(w.plain(behind[1]))
            w.done.add(end)
        flags: dict[str, Any] = {
            f"trans{side}": 1 for side, on in zip("AB", turned, strict=True) if on
        }
        w.result("Gemm", inputs, end.outputs[0], **flags)
        return
    names = []
    for tensor, on in zip(op.inputs, turned, strict=True):
        name = w.plain(tensor)
        if on:
            rank = tensor.shape.rank
            if rank is None:
                raise UnimplementedError(f"{op.where()}: its operands need a known rank", op)
            perm = (*range(rank - 2), rank - 1, rank - 2)
            name = w.emit("Transpose", [name], f"{op.name}/transposed", perm=perm)
        names.append(name)
    w.result("MatMul", names, op.outputs[0])


def quantize(w: Writer, op: Operation) -> None:
    """QuantizeLinear and DequantizeLinear, in the layout of what they take."""
    kind = "QuantizeLinear" if op.type == "quantize_linear" else "DequantizeLinear"
    source, result = op.inputs[0], op.outputs[0]
    scale = constant_value(op.inputs[1])
    axis = None if scale is not None and scale.ndim == 0 else op.attrs["axis"]
    rank = source.shape.rank or 0
    zero = constant_value(op.inputs[2])
    names = [w.plain(op.inputs[1])]
    if source.dtype.name != "int32":  # the standard wants none for int32
        if scale is not None and zero is not None and zero.shape != scale.shape:
            full = np.ascontiguousarray(np.broadcast_to(zero, scale.shape))
            names.append(w.initializer(full, op.inputs[2].op.name))
        else:
            names.append(w.plain(op.inputs[2]))

    mean = source.op
    if kind == "QuantizeLinear" and mean.type == "reduce_mean" and _over_image(mean):
        # next to each other, so that a runtime sees a quantised pool
        pooled = w.emit("GlobalAveragePool", [w.first(mean.inputs[0])], f"{mean.name}/mean")
        codes = w.emit(kind, [pooled, *names], f"{op.name}/codes")
        axes = w.initializer(np.array([2, 3], np.int64), f"{op.name}/axes")
        w.result("Squeeze", [codes, axes], result)
        return

    def make(first: bool) -> None:
        where = None if axis is None else [0, 2, 3, 1][axis % 4] if first else axis % max(rank, 1)
        value = w.first(source) if first else w.plain(source)
        w.result(kind, [value, *names], result, first=first, axis=where)

    if w.is_first(source):
        make(True)
    else:
        make(False)
        if rank == 4:  # so that a convolution finds it next to itself
            w.remake(result, lambda: make(True))


def _over_image(op: Operation) -> bool:
    """Whether a reduction takes rows and columns away."""
    axes, image = op.attrs["axis"], op.inputs[0].shape.rank == 4
    return image and axes is not None and sorted(a % 4 for a in axes) == [1, 2] and (
        not op.attrs["keepdims"]
    )  # fmt: skip


def quantised_convolution(w: Writer, op: Operation) -> None:
    """QLinearConv."""
    x, x_scale, x_zero, kernel, k_scale, k_zero, y_scale, y_zero, *bias = op.inputs
    value, scale, zero = (constant_value(tensor) for tensor in (kernel, k_scale, k_zero))
    if value is None or scale is None or zero is None:
        raise UnimplementedError(f"{op.where()}: its weights must be constants", op)
    zero = np.ascontiguousarray(np.broadcast_to(zero, scale.shape))
    inputs = [
        w.first(x), w.plain(x_scale), w.plain(x_zero),
        w.initializer(_turned(value, False), kernel.op.name),
        w.plain(k_scale), w.initializer(zero, k_zero.op.name),
        w.plain(y_scale), w.plain(y_zero), *map(w.plain, bias),
    ]  # fmt: skip
    attrs = _window(op, kernel.shape.sizes()[:2], x)
    w.result("QLinearConv", inputs, op.outputs[0], first=True, **attrs)


def quantised_product(w: Writer, op: Operation) -> None:
    """QLinearMatMul."""
    names = [w.plain(tensor) for tensor in op.inputs]
    scale, zero = constant_value(op.inputs[4]), constant_value(op.inputs[5])
    if scale is not None and zero is not None and scale.shape != zero.shape:
        full = np.ascontiguousarray(np.broadcast_to(zero, scale.shape))
        names[5] = w.initializer(full, op.inputs[5].op.name)
    w.result("QLinearMatMul", names, op.outputs[0])


def relu(w: Writer, op: Operation) -> None:
    """Relu. Where its limit is not that of the int8 behind it, a runtime's integer convolution
    cannot take it in: then the values are quantised before as well, with the same numbers. As
    relu keeps the order of values, the codes behind it stay what they are."""
    user, source = w.only_user(op.outputs[0]), op.inputs[0]
    root = source.op.inputs[0].op if source.op.type in ("bias_add", "add") else source.op
    if user is None or user.type != "quantize_linear" or root.type not in LINEAR:
        elementwise(w, op)
        return
    zero = constant_value(user.inputs[2])
    if zero is None or zero.size != 1 or int(zero) <= np.iinfo(zero.dtype).min:
        elementwise(w, op)
        return
    first = w.is_first(source)
    names = [w.plain(tensor) for tensor in user.inputs[1:3]]
    value = w.first(source) if first else w.plain(source)
    codes = w.emit("QuantizeLinear", [value, *names], f"{op.name}/codes")
    real = w.emit("DequantizeLinear", [codes, *names], f"{op.name}/real")
    w.result("Relu", [real], op.outputs[0], first=first)


def normalisation(w: Writer, op: Operation) -> None:
    """LRN: the standard divides alpha by the number of channels it adds."""
    size = 2 * op.attrs["depth_radius"] + 1
    attrs = {"alpha": op.attrs["alpha"] * size, "beta": op.attrs["beta"], "bias": op.attrs["bias"]}
    w.result("LRN", [w.first(op.inputs[0])], op.outputs[0], first=True, size=size, **attrs)


RULES: dict[str, Rule] = {
    "conv2d": convolution,
    "depthwise_conv2d": convolution,
    "conv2d_backprop_input": transposed,
    "max_pool": pool,
    "avg_pool": pool,
    "matmul": product,
    "quantize_linear": quantize,
    "dequantize_linear": quantize,
    "qlinear_conv": quantised_convolution,
    "qlinear_matmul": quantised_product,
    "lrn": normalisation,
    "relu": relu,
}
