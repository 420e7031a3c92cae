"""Layers as functions with activation, normalisation and regulariser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.graph import GraphKeys
from sw.graph.initializers import Initializer, Ones, Zeros, xavier
from sw.graph.layers import BatchNormalization, Dense
from sw.graph.layers import dropout as layers_dropout
from sw.graph.layers import flatten as layers_flatten
from sw.graph.ops.conv import conv2d as nn_conv2d
from sw.graph.ops.conv_variants import conv2d_transpose, separable_conv2d
from sw.graph.ops.indexing import one_hot
from sw.graph.ops.nn import moments
from sw.graph.ops.pool import avg_pool, max_pool
from sw.graph.tensor import Tensor
from sw.graph.variable_scope import get_variable, variable_scope

Function = Callable[..., Any] | None


def relu(inputs: Any, num_outputs: int, **options: Any) -> Tensor:
    """`fully_connected` with ReLU."""
    return fully_connected(inputs, num_outputs, **options)


def _finish(
    x: Any,
    size: int,
    normalizer: Function,
    how: Any,
    activation: Function,
    biases: Any,
    penalty: Any,
) -> Tensor:
    if normalizer is not None:
        x = normalizer(x, **(how or {}))
    elif biases is not None:
        start = biases if callable(biases) else Zeros()
        x = apply("bias_add", x, get_variable("biases", [size], initializer=start,
                                              regularizer=penalty))  # fmt: skip
    out: Tensor = activation(x) if activation is not None else x
    return out


def _relu(x: Any) -> Any:
    return apply("relu", x)


def fully_connected(
    inputs: Any,
    num_outputs: int,
    activation_fn: Function = _relu,
    normalizer_fn: Function = None,
    normalizer_params: Any = None,
    weights_initializer: Initializer | None = None,
    weights_regularizer: Any = None,
    biases_initializer: Any = Zeros,
    biases_regularizer: Any = None,
    reuse: Any = None,
    scope: Any = None,
) -> Tensor:
    """[..., C] to [..., num_outputs]; a bias unless there is a normaliser."""
    with variable_scope(scope, "fully_connected", reuse=reuse):
        x = graph_of((inputs,)).convert(inputs)
        layer = Dense(
            num_outputs,
            use_bias=False,
            kernel_initializer=weights_initializer or xavier(),
            kernel_regularizer=weights_regularizer,
            name="weights",
            reuse=reuse,
        )
        start = biases_initializer() if isinstance(biases_initializer, type) else biases_initializer
        return _finish(
            layer(x), num_outputs, normalizer_fn, normalizer_params, activation_fn, start,
            biases_regularizer,
        )  # fmt: skip


def _pair(value: Any) -> list[int]:
    return [int(v) for v in np.broadcast_to(value, 2)]


def conv2d(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    rate: Any = 1,
    activation_fn: Function = _relu,
    normalizer_fn: Function = None,
    normalizer_params: Any = None,
    weights_initializer: Initializer | None = None,
    weights_regularizer: Any = None,
    biases_initializer: Any = Zeros,
    biases_regularizer: Any = None,
    reuse: Any = None,
    scope: Any = None,
) -> Tensor:
    """Convolution with a bias unless there is a normaliser."""
    with variable_scope(scope, "Conv", reuse=reuse):
        x = graph_of((inputs,)).convert(inputs)
        shape = [*_pair(kernel_size), x.shape[3], num_outputs]
        start = weights_initializer or xavier()
        w = get_variable("weights", shape, x.dtype, start, weights_regularizer)
        x = nn_conv2d(x, w, _pair(stride), padding, dilations=_pair(rate))
        bias = biases_initializer() if isinstance(biases_initializer, type) else biases_initializer
        return _finish(
            x, num_outputs, normalizer_fn, normalizer_params, activation_fn, bias,
            biases_regularizer,
        )  # fmt: skip


def convolution2d_in_plane(
    inputs: Any,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    activation_fn: Function = _relu,
    reuse: Any = None,
    scope: Any = None,
) -> Tensor:
    """One filter for all channels: only the plane is mixed."""
    with variable_scope(scope, "ConvInPlane", reuse=reuse):
        x = graph_of((inputs,)).convert(inputs)
        depth = x.shape[3] or 1
        w = get_variable("weights", [*_pair(kernel_size), 1, 1], x.dtype, xavier())
        wide = apply("tile", w, multiples=(1, 1, depth, 1))
        out = apply("depthwise_conv2d", x, wide, strides=tuple(_pair(stride)), padding=padding)
        bias = get_variable("biases", [1], x.dtype, Zeros())
        out = out + bias
        done: Tensor = activation_fn(out) if activation_fn else out
        return done


def convolution2d_transpose(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    activation_fn: Function = _relu,
    normalizer_fn: Function = None,
    normalizer_params: Any = None,
    reuse: Any = None,
    scope: Any = None,
) -> Tensor:
    """The transpose of a convolution: an image larger by the stride. The size must be known."""
    with variable_scope(scope, "Conv2d_transpose", reuse=reuse):
        x = graph_of((inputs,)).convert(inputs)
        kernel, step = _pair(kernel_size), _pair(stride)
        w = get_variable("weights", [*kernel, num_outputs, x.shape[3]], x.dtype, xavier())
        sizes = [
            (n or 0) * s + (max(k - s, 0) if padding == "VALID" else 0)
            for n, s, k in zip(x.shape.as_list()[1:3], step, kernel, strict=True)
        ]
        rows = x.shape[0] if x.shape[0] is not None else apply("shape", x)[0]
        shape: Any = [rows, *sizes, num_outputs]
        if x.shape[0] is None:
            shape = apply("stack", *[np.int32(v) if isinstance(v, int) else v for v in shape])
        out = conv2d_transpose(x, w, shape, step, padding)
        return _finish(
            out, num_outputs, normalizer_fn, normalizer_params, activation_fn, Zeros(), None
        )


def separable_convolution2d(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    depth_multiplier: int,
    stride: Any = 1,
    padding: str = "SAME",
    activation_fn: Function = _relu,
    normalizer_fn: Function = None,
    normalizer_params: Any = None,
    reuse: Any = None,
    scope: Any = None,
) -> Tensor:
    """A convolution per channel, then one of 1x1."""
    with variable_scope(scope, "SeparableConv2d", reuse=reuse):
        x = graph_of((inputs,)).convert(inputs)
        depth = int(x.shape[3] or 1)
        deep = get_variable(
            "depthwise_weights", [*_pair(kernel_size), depth, depth_multiplier], x.dtype, xavier()
        )
        point = get_variable(
            "pointwise_weights", [1, 1, depth * depth_multiplier, num_outputs], x.dtype, xavier()
        )
        out = separable_conv2d(x, deep, point, _pair(stride), padding)
        return _finish(
            out, num_outputs, normalizer_fn, normalizer_params, activation_fn, Zeros(), None
        )


def max_pool2d(
    inputs: Any, kernel_size: Any, stride: Any = 2, padding: str = "VALID", scope: Any = None
) -> Tensor:
    """Maxima of windows."""
    return max_pool(inputs, _pair(kernel_size), _pair(stride), padding)


def avg_pool2d(
    inputs: Any, kernel_size: Any, stride: Any = 2, padding: str = "VALID", scope: Any = None
) -> Tensor:
    """Means of windows."""
    return avg_pool(inputs, _pair(kernel_size), _pair(stride), padding)


def batch_norm(
    inputs: Any,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Function = None,
    updates_collections: str | None = GraphKeys.UPDATE_OPS,
    is_training: Any = True,
    reuse: Any = None,
    scope: Any = None,
) -> Tensor:
    """Batch normalisation; with `updates_collections` None the moving averages move at once."""
    with variable_scope(scope, "BatchNorm", reuse=reuse):
        graph = graph_of((inputs,))
        layer = BatchNormalization(
            momentum=decay, epsilon=epsilon, center=center, scale=scale, name="norm", reuse=reuse
        )
        before = len(graph.root.get_collection(GraphKeys.UPDATE_OPS))
        out = layer(inputs, training=is_training)
        if updates_collections is None:
            pending = graph.root.collection_list(GraphKeys.UPDATE_OPS)
            moved = pending[before:]
            del pending[before:]
            with graph.control_dependencies(moved):
                out = apply("identity", out)
        done: Tensor = activation_fn(out) if activation_fn else out
        return done


def layer_norm(
    inputs: Any,
    center: bool = True,
    scale: bool = True,
    activation_fn: Function = None,
    reuse: Any = None,
    scope: Any = None,
) -> Tensor:
    """Each row to mean 0 and variance 1 over all its axes (Ba, Kiros and Hinton, 2016)."""
    with variable_scope(scope, "LayerNorm", reuse=reuse):
        x = graph_of((inputs,)).convert(inputs)
        mean, variance = moments(x, list(range(1, x.shape.rank or 2)), keep_dims=True)
        out = (x - mean) * apply("rsqrt", variance + 1e-12)
        size = [x.shape[-1]]
        if scale:
            out = out * get_variable("gamma", size, x.dtype, Ones())
        if center:
            out = out + get_variable("beta", size, x.dtype, Zeros())
        done: Tensor = activation_fn(out) if activation_fn else out
        return done


def bias_add(
    inputs: Any,
    activation_fn: Function = None,
    initializer: Any = None,
    regularizer: Any = None,
    reuse: Any = None,
    scope: Any = None,
) -> Tensor:
    """A bias that is learnt, per channel."""
    with variable_scope(scope, "BiasAdd", reuse=reuse):
        x = graph_of((inputs,)).convert(inputs)
        start = initializer or Zeros()
        bias = get_variable("biases", [x.shape[-1]], x.dtype, start, regularizer)
        out = apply("bias_add", x, bias)
        done: Tensor = activation_fn(out) if activation_fn else out
        return done


def dropout(
    inputs: Any, keep_prob: float = 0.5, noise_shape: Any = None, is_training: Any = True,
    scope: Any = None,
) -> Tensor:  # fmt: skip
    """In training, elements are kept with probability `keep_prob`."""
    return layers_dropout(inputs, 1.0 - keep_prob, noise_shape, training=is_training)


def flatten(inputs: Any, scope: Any = None) -> Tensor:
    """[N, ...] to [N, all the rest]."""
    return layers_flatten(inputs)


def one_hot_encoding(
    labels: Any, num_classes: int, on_value: float = 1.0, off_value: float = 0.0, scope: Any = None
) -> Tensor:
    """`one_hot` as floats."""
    return one_hot(labels, num_classes, float(on_value), float(off_value))


def repeat(
    inputs: Any, repetitions: int, layer: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    """`layer` over and over, its scopes numbered."""
    scope = options.pop("scope", None) or getattr(layer, "__name__", "repeat")
    with variable_scope(scope):
        for number in range(repetitions):
            inputs = layer(inputs, *args, scope=f"{scope}_{number + 1}", **options)
    return inputs


def stack(inputs: Any, layer: Callable[..., Any], stack_args: Any, **options: Any) -> Any:
    """`layer` with each of `stack_args` in turn, its scopes numbered."""
    scope = options.pop("scope", None) or getattr(layer, "__name__", "stack")
    with variable_scope(scope):
        for number, args in enumerate(stack_args):
            given = args if isinstance(args, (list, tuple)) else [args]
            inputs = layer(inputs, *given, scope=f"{scope}_{number + 1}", **options)
    return inputs


def unit_norm(inputs: Any, dim: int, epsilon: float = 1e-7, scope: Any = None) -> Tensor:
    """Scaled to length 1 along `dim`."""
    x = graph_of((inputs,)).convert(inputs)
    squares = apply("reduce_sum", apply("square", x), axis=(dim,), keepdims=True)
    out: Tensor = x / apply("sqrt", squares + epsilon)
    return out
