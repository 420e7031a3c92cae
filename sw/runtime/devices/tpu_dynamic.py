"""Dynamic quantisation at the border: float32 in, exact int32 on the core, float32 out.

Weights are symmetric int8 per output channel, activations asymmetric int8 per tensor from the
range that they have in this run. `y = (sum(x_q * w_q) - x_zero * sum(w_q)) * (s_x * s_w)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from hw.tpu.config import TpuConfig
from hw.tpu.program import TpuProgram
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.constants import pack_weights
from sw.compiler.tpu.layers import Activation, Convolution, result_size
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.steps import DynamicStep
from sw.graph.errors import InternalError, InvalidArgumentError
from sw.graph.operation import Operation

Geometry = tuple[tuple[int, ...], ...]


def require_finite(values: NDArray[np.generic], op: Operation, what: str) -> None:
    """Raises `InvalidArgumentError` naming the op and the first NaN or infinity in `values`."""
    finite = np.isfinite(values)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InvalidArgumentError(
            f"op {op.where()}: {what} is {values[index]} at index {list(index)}, which cannot be "
            "quantised for the TPU",
            op,
        )


def given_name(value: str) -> str:
    """What the user calls a value: received ones bear their sender's name."""
    return value.removeprefix("recv/")


@dataclass(frozen=True, eq=False)
class DynamicWeights:
    """int8 `codes` `[kh, kw, cin, cout]`, their float32 `scale` and int64 `sums` `[cout]`, and
    `packed`, the bytes that a program keeps them as."""

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    sums: NDArray[np.int64]
    packed: NDArray[np.uint8]


def quantise_weights(step: DynamicStep, weights: NDArray[np.float32], array: int) -> DynamicWeights:
    """float32 weights, `[K, N]` or HWIO, for a core of that width."""
    require_finite(weights, step.op, f"weight {given_name(step.weights)!r}")
    scale = numerics.weight_scales(weights)
    codes = numerics.quantize(weights, scale).reshape((1,) * (4 - weights.ndim) + weights.shape)
    sums = codes.sum(axis=(0, 1, 2), dtype=np.int64)
    return DynamicWeights(codes, scale, sums, pack_weights(codes, array))


@dataclass(frozen=True, eq=False)
class DynamicInput:
    """int8 `codes` NHWC, padded, with their scale and zero point."""

    codes: NDArray[np.int8]
    scale: np.float32
    zero_point: int


def quantise_input(step: DynamicStep, x: NDArray[np.float32]) -> DynamicInput:
    """float32 `x` by its own range; rows of a matmul become the columns of one image."""
    require_finite(x, step.op, f"input {given_name(step.x)!r}")
    scale, zero_point = numerics.activation_quantization(float(x.min()), float(x.max()))
    codes = numerics.quantize(x, scale, zero_point)
    if step.op.type == "matmul":
        codes = codes.reshape(1, 1, -1, x.shape[-1])
    elif step.padding != ((0, 0), (0, 0)):
        pads = ((0, 0), *step.padding, (0, 0))
        codes = np.pad(codes, pads, constant_values=np.int8(zero_point))
    return DynamicInput(codes, scale, zero_point)


def geometry(step: DynamicStep, x: DynamicInput, weights: DynamicWeights) -> Geometry:
    """All that the instructions depend on: steps that agree in it can share a program."""
    return (x.codes.shape, weights.codes.shape, step.strides, step.dilations)


def compile_dynamic(
    step: DynamicStep, x: DynamicInput, weights: DynamicWeights, core: TpuConfig
) -> TpuProgram:
    """The program of a step, whose image begins with the packed weights; raises `CompileError`."""
    codes, kernel = x.codes, weights.codes
    sizes = [
        result_size(codes.shape[1 + i], kernel.shape[i], step.strides[i], step.dilations[i], (0, 0))
        for i in (0, 1)
    ]
    batch, height, width, channels = codes.shape
    network = Network(
        ("x",),
        (
            Convolution(
                step.op.name,
                "x",
                "y",
                kernel,
                strides=step.strides,
                dilations=step.dilations,
                accumulators=True,
            ),
        ),
        ("y",),
        (
            Activation("x", (batch, height, width, channels)),
            Activation("y", (batch, sizes[0], sizes[1], kernel.shape[3])),
        ),
    )
    program = compile_network(network, core, packing=False)
    if not np.array_equal(program.image[: weights.packed.size], weights.packed):
        raise InternalError(f"op {step.op.where()}: its program does not begin with its weights")
    return program


def finish(
    accumulators: NDArray[np.int32], x: DynamicInput, weights: DynamicWeights
) -> NDArray[np.float32]:
    """The float32 result of the core's int32 sums, `[..., cout]`."""
    total = numerics.wrap_int32(accumulators.astype(np.int64) - x.zero_point * weights.sums)
    return numerics.dequantize(total, x.scale * weights.scale)
