"""`st.contrib.layers`: layers as functions, initialisers, regularisers, by their names of 2016."""

# ruff: noqa: F401 (a face only passes names on)

from sw.graph.contrib.layer_functions import (
    avg_pool2d,
    batch_norm,
    bias_add,
    conv2d,
    convolution2d_in_plane,
    convolution2d_transpose,
    dropout,
    flatten,
    fully_connected,
    layer_norm,
    max_pool2d,
    one_hot_encoding,
    relu,
    repeat,
    separable_convolution2d,
    stack,
    unit_norm,
)
from sw.graph.initializers import variance_scaling as variance_scaling_initializer
from sw.graph.initializers import xavier as xavier_initializer
from sw.graph.ops.embedding import safe_embedding_lookup_sparse
from sw.graph.regularizers import (
    apply_regularization,
    l1_l2_regularizer,
    l1_regularizer,
    l2_regularizer,
    sum_regularizer,
)

convolution2d = conv2d
xavier_initializer_conv2d = xavier_initializer
