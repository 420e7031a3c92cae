"""Systolica's public face: `import systolica as st`.

Names, argument order and semantics follow TensorFlow 1.x. Devices and their libraries load when a
session first uses them.
"""

# ruff: noqa: F401 (a face only passes names on)

import importlib
from types import SimpleNamespace
from typing import Any

from sw.graph import errors
from sw.graph import train as _train
from sw.graph.build import (
    add_to_collection,
    control_dependencies,
    convert_to_tensor,
    device,
    get_collection,
    name_scope,
    register_op,
    set_random_seed,
)
from sw.graph.device import DeviceSpec
from sw.graph.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from sw.graph.gradients import gradients
from sw.graph.graph import Graph, GraphKeys, get_default_graph, reset_default_graph
from sw.graph.operation import Operation
from sw.graph.ops import activations as _act
from sw.graph.ops import conv as _conv
from sw.graph.ops import loss as _loss
from sw.graph.ops import nn as _nn
from sw.graph.ops import pool as _pool
from sw.graph.ops.activations import sigmoid, tanh
from sw.graph.ops.arithmetic import (
    abs_,
    add,
    cast,
    ceil,
    cos,
    div,
    divide,
    erf,
    exp,
    floor,
    floordiv,
    floormod,
    log,
    log1p,
    maximum,
    minimum,
    mod,
    mul,
    multiply,
    neg,
    pow_,
    reciprocal,
    round_,
    rsqrt,
    sign,
    sin,
    sqrt,
    square,
    squared_difference,
    sub,
    subtract,
    truediv,
)
from sw.graph.ops.basic import (
    constant,
    group,
    identity,
    no_op,
    placeholder,
    placeholder_with_default,
    stop_gradient,
    tuple_,
)
from sw.graph.ops.checks import assert_, check_numerics
from sw.graph.ops.comparison import (
    equal,
    greater,
    greater_equal,
    is_finite,
    is_nan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    select,
    where,
)
from sw.graph.ops.creation import fill, ones, ones_like, range_, zeros, zeros_like
from sw.graph.ops.indexing import gather, one_hot, slice_, strided_slice
from sw.graph.ops.joining import concat, split, stack, unstack
from sw.graph.ops.linalg import add_n, matmul
from sw.graph.ops.quantized import dequantize_linear, qlinear_conv, qlinear_matmul, quantize_linear
from sw.graph.ops.random import random_normal, random_uniform, truncated_normal
from sw.graph.ops.reduction import (
    argmax,
    argmin,
    reduce_all,
    reduce_any,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
)
from sw.graph.ops.shaping import (
    expand_dims,
    pad,
    rank,
    reshape,
    shape,
    size,
    squeeze,
    tile,
    transpose,
)
from sw.graph.ops.variables import (
    Variable,
    assign,
    assign_add,
    assign_sub,
    global_variables,
    global_variables_initializer,
    initialize_all_variables,
    is_variable_initialized,
    trainable_variables,
    variables_initializer,
)
from sw.graph.shapes import Shape as TensorShape
from sw.graph.tensor import Tensor
from sw.runtime.config import SessionConfig
from sw.runtime.quantize import quantize
from sw.runtime.report import ProgramReport, RunReport, run_report
from sw.runtime.session import (
    InteractiveSession,
    RunMetadata,
    RunOptions,
    Session,
    get_default_session,
)

# TensorFlow's names where they are also Python's own: only this file spells them bare.
bool = bool_
abs = abs_
round = round_
pow = pow_
range = range_
slice = slice_
tuple = tuple_
Assert = assert_
negative = neg

nn = SimpleNamespace(
    avg_pool=_pool.avg_pool,
    batch_normalization=_nn.batch_normalization,
    bias_add=_nn.bias_add,
    conv2d=_conv.conv2d,
    depthwise_conv2d=_conv.depthwise_conv2d,
    dropout=_nn.dropout,
    elu=_act.elu,
    gelu=_act.gelu,
    l2_loss=_loss.l2_loss,
    l2_normalize=_nn.l2_normalize,
    leaky_relu=_act.leaky_relu,
    log_softmax=_nn.log_softmax,
    max_pool=_pool.max_pool,
    moments=_nn.moments,
    relu=_act.relu,
    relu6=_act.relu6,
    sigmoid=_act.sigmoid,
    sigmoid_cross_entropy_with_logits=_loss.sigmoid_cross_entropy_with_logits,
    softmax=_nn.softmax,
    softmax_cross_entropy_with_logits=_loss.softmax_cross_entropy_with_logits,
    softplus=_act.softplus,
    softsign=_act.softsign,
    sparse_softmax_cross_entropy_with_logits=_loss.sparse_softmax_cross_entropy_with_logits,
    tanh=_act.tanh,
)
train = SimpleNamespace(
    AdamOptimizer=_train.AdamOptimizer,
    GradientDescentOptimizer=_train.GradientDescentOptimizer,
    MomentumOptimizer=_train.MomentumOptimizer,
    Optimizer=_train.Optimizer,
)

# Names whose modules bring the core's description along, which few users need.
_LATER = {"compile": ("sw.compiler.tpu.ahead", "compile_graph")}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'systolica' has no attribute {name!r}")
    module, attribute = _LATER[name]
    found = globals()[name] = getattr(importlib.import_module(module), attribute)
    return found


if __name__ == "__main__":  # python -m systolica
    importlib.import_module("sw.cli").main()
