"""Every file that registers operators; importing this one makes them known."""

from sw.graph.onnx import (
    convolution,
    elementwise,
    pooling,
    products,
    quantised,
    shaping,
)
from sw.graph.onnx.kernels import arithmetic, casting, recurrent, windows
from sw.graph.onnx.kernels import quantised as quantised_kernels

__all__ = [
    "arithmetic",
    "casting",
    "convolution",
    "elementwise",
    "pooling",
    "products",
    "quantised",
    "quantised_kernels",
    "recurrent",
    "shaping",
    "windows",
]
