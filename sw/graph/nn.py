"""`st.nn`: the functions of neural networks, under TensorFlow's names."""

# ruff: noqa: F401 (a face only passes names on)

from sw.graph import rnn as rnn_cell
from sw.graph.ops.activations import (
    elu,
    gelu,
    leaky_relu,
    relu,
    relu6,
    sigmoid,
    softplus,
    softsign,
    tanh,
)
from sw.graph.ops.conv import conv2d, depthwise_conv2d
from sw.graph.ops.conv_variants import (
    atrous_conv2d,
    atrous_conv2d_transpose,
    conv1d,
    conv2d_backprop_filter,
    conv2d_backprop_input,
    conv2d_transpose,
    convolution,
    separable_conv2d,
)
from sw.graph.ops.embedding import embedding_lookup
from sw.graph.ops.loss import (
    l2_loss,
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    sparse_softmax_cross_entropy_with_logits,
)
from sw.graph.ops.nn import (
    batch_normalization,
    bias_add,
    dropout,
    l2_normalize,
    log_softmax,
    moments,
    softmax,
)
from sw.graph.ops.nn_composites import (
    batch_norm_with_global_normalization,
    crelu,
    log_poisson_loss,
    normalize_moments,
    relu_layer,
    selu,
    sufficient_statistics,
    weighted_cross_entropy_with_logits,
    xw_plus_b,
    zero_fraction,
)
from sw.graph.ops.pool import avg_pool, max_pool
from sw.graph.ops.resizing import local_response_normalization
from sw.graph.ops.sampling import (
    log_uniform_candidate_sampler,
    nce_loss,
    sampled_softmax_loss,
    uniform_candidate_sampler,
)
from sw.graph.ops.sorting import in_top_k, top_k
from sw.graph.rnn.unrolling import bidirectional_dynamic_rnn, dynamic_rnn, static_rnn

lrn = local_response_normalization
