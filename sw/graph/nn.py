"""`st.nn`: the functions of neural networks, under TensorFlow's names."""

# ruff: noqa: F401 (a face only passes names on)

from sw.graph import rnn as rnn_cell
from sw.graph.losses import compute_average_loss, scale_regularization_loss
from sw.graph.ops.activations import (
    elu,
    gelu,
    leaky_relu,
    log_sigmoid,
    relu,
    relu6,
    sigmoid,
    silu,
    softplus,
    softsign,
    swish,
    tanh,
)
from sw.graph.ops.conv import conv2d, depthwise_conv2d
from sw.graph.ops.conv_variants import (
    atrous_conv2d,
    atrous_conv2d_transpose,
    conv1d,
    conv1d_transpose,
    conv2d_backprop_filter,
    conv2d_backprop_input,
    conv2d_transpose,
    conv_transpose,
    convolution,
    depthwise_conv2d_backprop_filter,
    depthwise_conv2d_backprop_input,
    separable_conv2d,
    with_space_to_batch,
)
from sw.graph.ops.ctc import ctc_beam_search_decoder, ctc_greedy_decoder, ctc_loss
from sw.graph.ops.ctc_variants import (
    collapse_repeated,
    ctc_beam_search_decoder_v2,
    ctc_loss_v2,
    ctc_unique_labels,
)
from sw.graph.ops.embedding import (
    embedding_lookup,
    embedding_lookup_sparse,
    safe_embedding_lookup_sparse,
)
from sw.graph.ops.loss import (
    l2_loss,
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    sparse_softmax_cross_entropy_with_logits,
)
from sw.graph.ops.morphology import (
    dilation2d,
    erosion2d,
    fractional_avg_pool,
    fractional_max_pool,
    max_pool_with_argmax,
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
    fused_batch_norm,
    log_poisson_loss,
    normalize_moments,
    relu_layer,
    selu,
    sufficient_statistics,
    weighted_cross_entropy_with_logits,
    weighted_moments,
    xw_plus_b,
    zero_fraction,
)
from sw.graph.ops.pool import avg_pool, max_pool
from sw.graph.ops.pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool_v2,
    max_pool1d,
    max_pool2d,
    max_pool_v2,
    pool,
)
from sw.graph.ops.rearranging import depth_to_space, space_to_batch, space_to_depth
from sw.graph.ops.resizing import local_response_normalization
from sw.graph.ops.samplers import (
    all_candidate_sampler,
    compute_accidental_hits,
    fixed_unigram_candidate_sampler,
    learned_unigram_candidate_sampler,
)
from sw.graph.ops.sampling import (
    log_uniform_candidate_sampler,
    nce_loss,
    sampled_softmax_loss,
    uniform_candidate_sampler,
)
from sw.graph.ops.sorting import in_top_k, top_k
from sw.graph.ops.volumes import (
    avg_pool3d,
    conv3d,
    conv3d_backprop_filter,
    conv3d_transpose,
    max_pool3d,
)
from sw.graph.rnn import seq2seq
from sw.graph.rnn.driving import raw_rnn, static_bidirectional_rnn, static_state_saving_rnn
from sw.graph.rnn.unrolling import bidirectional_dynamic_rnn, dynamic_rnn, static_rnn

lrn = local_response_normalization
depthwise_conv2d_native = depthwise_conv2d
depthwise_conv2d_native_backprop_filter = depthwise_conv2d_backprop_filter
depthwise_conv2d_native_backprop_input = depthwise_conv2d_backprop_input
conv3d_backprop_filter_v2 = conv3d_backprop_filter
softmax_cross_entropy_with_logits_v2 = softmax_cross_entropy_with_logits
rnn, bidirectional_rnn, state_saving_rnn = (
    static_rnn,
    static_bidirectional_rnn,
    static_state_saving_rnn,
)
