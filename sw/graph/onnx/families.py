"""Every file that registers operators; importing this one makes them known."""

from sw.graph.onnx import (
    control,
    convolution,
    elementwise,
    pooling,
    products,
    quantised,
    shaping,
)
from sw.graph.onnx.kernels import (
    arithmetic,
    casting,
    indexing,
    rearranging,
    recurrent,
    reducing,
    sequences,
    text,
    windows,
)
from sw.graph.onnx.kernels import quantised as quantised_kernels

__all__ = [
    "arithmetic",
    "casting",
    "control",
    "convolution",
    "elementwise",
    "indexing",
    "pooling",
    "products",
    "quantised",
    "quantised_kernels",
    "rearranging",
    "recurrent",
    "reducing",
    "sequences",
    "shaping",
    "text",
    "windows",
]
