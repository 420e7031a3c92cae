"""`st.layers`: functions and classes of layers, named as in TensorFlow 1.x's `tf.layers`."""

from sw.graph.layers.base import Layer
from sw.graph.layers.convolution import (
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    SeparableConv2D,
    conv1d,
    conv2d,
    conv2d_transpose,
    separable_conv2d,
)
from sw.graph.layers.core import Dense, Dropout, Flatten, dense, dropout, flatten
from sw.graph.layers.normalization import BatchNormalization, batch_normalization
from sw.graph.layers.pooling import (
    average_pooling1d,
    average_pooling2d,
    max_pooling1d,
    max_pooling2d,
)

__all__ = [
    "BatchNormalization",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "SeparableConv2D",
    "average_pooling1d",
    "average_pooling2d",
    "batch_normalization",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "dense",
    "dropout",
    "flatten",
    "max_pooling1d",
    "max_pooling2d",
    "separable_conv2d",
]
