"""Cases for `make compare-tensorflow`: functions of a module `m`, which is `systolica` or
`tensorflow.compat.v1`, to tensors. What only one of both refuses is a difference like another
value or another dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

RNG = np.random.default_rng(7)
X = RNG.uniform(0.1, 0.9, (3, 4))
S = RNG.standard_normal((3, 4))
I = np.asarray([[7, -7, 3], [2, 5, -9]])  # noqa: E741 (a matrix of integers)
J = np.asarray([3, 2, -4])
M = RNG.standard_normal((2, 3, 3)) + 4 * np.eye(3)
P = M @ M.swapaxes(1, 2)
R = RNG.standard_normal((2, 3, 2))
IMAGE = RNG.uniform(0, 1, (2, 6, 8, 3)).astype(np.float32)
VOLUME = RNG.standard_normal((1, 4, 5, 4, 2)).astype(np.float32)
K2 = RNG.standard_normal((3, 2, 3, 4)).astype(np.float32)
K3 = RNG.standard_normal((2, 2, 3, 2, 3)).astype(np.float32)
Z = (S + 1j * X).astype(np.complex64)
BOXES = np.asarray([[0.1, 0.2, 0.8, 0.9], [0.0, 0.0, 1.2, 1.0]], np.float32)
LARGE = RNG.uniform(0, 1, (2, 16, 13, 3)).astype(np.float32)
BYTES = (LARGE * 255).astype(np.uint8)
SPREAD = RNG.uniform(0, 0.6, (12, 4)).astype(np.float32) + np.float32([0, 0, 0.4, 0.4])
WEIGHTS = RNG.uniform(0, 1, 12).astype(np.float32)
LOGITS = RNG.standard_normal((5, 2, 4)).astype(np.float32)
PLACES = np.asarray([[0, 1], [1, 0], [1, 2]])
IDS = np.asarray([0, 0, 2], np.int32)

UNARY = [
    "abs",
    "acos",
    "asin",
    "atan",
    "ceil",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "floor",
    "is_finite",
    "is_inf",
    "is_nan",
    "lgamma",
    "log",
    "log1p",
    "negative",
    "reciprocal",
    "rint",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "zeros_like",
    "ones_like",
    "asinh",
    "atanh",
]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "floordiv",
    "mod",
    "maximum",
    "minimum",
    "pow",
    "squared_difference",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "truediv",
    "div",
    "floor_div",
    "floormod",
    "truncatediv",
    "truncatemod",
    "atan2",
]
REDUCTIONS = [
    "reduce_sum",
    "reduce_mean",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_logsumexp",
]
ACTIVATIONS = [
    "elu",
    "relu",
    "relu6",
    "selu",
    "softplus",
    "softsign",
    "softmax",
    "log_softmax",
    "crelu",
    "leaky_relu",
]
TYPES = ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")
Case = Callable[[Any], Any]


def _simple() -> Iterator[tuple[str, Case]]:
    for kind in TYPES:
        a = (X * 4 if kind == "uint8" else X if kind.startswith("float") else S * 3).astype(kind)
        b = (X.T.copy().T * 2 + 1).astype(kind)
        for name in UNARY:
            yield f"{name} {kind}", lambda m, n=name, a=a: getattr(m, n)(m.constant(a))
        for name in BINARY:
            yield (
                f"{name} {kind}",
                lambda m, n=name, a=a, b=b: getattr(m, n)(m.constant(a), m.constant(b)),
            )
        for name in REDUCTIONS:
            yield f"{name} {kind}", lambda m, n=name, a=a: getattr(m, n)(m.constant(a), 1)
        for name in ("argmax", "argmin", "cumsum", "cumprod"):
            yield f"{name} {kind}", lambda m, n=name, a=a: getattr(m, n)(m.constant(a), 1)
        for name in ACTIVATIONS:
            yield f"nn.{name} {kind}", lambda m, n=name, a=a: getattr(m.nn, n)(m.constant(a))
        for other in TYPES:
            yield f"cast {kind} {other}", lambda m, a=a, o=other: m.cast(m.constant(a), o)
        yield f"mixed {kind}", lambda m, a=a: m.constant(a) + m.constant(np.float32(1))
        yield f"matmul {kind}", lambda m, a=a, b=b: m.matmul(a, b, transpose_b=True)
        yield f"negative index {kind}", lambda m, a=a: m.constant(a)[-1, ::2]


ARRAY: dict[str, Case] = {
    "batch_to_space": lambda m: m.batch_to_space(np.tile(IMAGE, (2, 1, 1, 1)), [[1, 0], [0, 2]], 2),
    "space_to_batch": lambda m: m.space_to_batch(IMAGE, [[1, 1], [0, 2]], 2),
    "depth_to_space": lambda m: m.depth_to_space(np.tile(IMAGE, (1, 1, 1, 4)), 2),
    "space_to_depth": lambda m: m.space_to_depth(IMAGE, 2),
    "boolean_mask": lambda m: m.boolean_mask(S, S[:, 0] > 0),
    "concat": lambda m: m.concat([S, X], -1),
    "dynamic_partition": lambda m: m.dynamic_partition(S, IDS, 3),
    "dynamic_stitch": lambda m: m.dynamic_stitch([[0, 2], [1]], [S[:2], S[2:]]),
    "expand_dims": lambda m: m.expand_dims(S, 1),
    "gather": lambda m: m.gather(S, [2, 0]),
    "gather outside": lambda m: m.gather(S, [3]),
    "gather_nd": lambda m: m.gather_nd(S, PLACES),
    "invert_permutation": lambda m: m.invert_permutation([2, 0, 1]),
    "matrix_band_part": lambda m: m.matrix_band_part(S, 1, 0),
    "one_hot": lambda m: m.one_hot([0, 2, -1], 3),
    "pad": lambda m: m.pad(S, [[1, 0], [0, 2]], "SYMMETRIC"),
    "pad reflect": lambda m: m.pad(S, [[1, 0], [0, 2]], "REFLECT"),
    "range": lambda m: m.range(3, 18, 4),
    "range float": lambda m: m.range(0.0, 1.0, 0.3),
    "reshape": lambda m: m.reshape(S, [2, -1]),
    "reshape bad": lambda m: m.reshape(S, [5, -1]),
    "reverse": lambda m: m.reverse(S, [1]),
    "reverse_sequence": lambda m: m.reverse_sequence(S, [2, 3, 1], 1, 0),
    "scatter_nd": lambda m: m.scatter_nd(PLACES, np.float32([1, 2, 3]), [2, 3]),
    "segment_sum": lambda m: m.segment_sum(S, IDS),
    "segment_mean": lambda m: m.segment_mean(S, IDS),
    "segment_max": lambda m: m.segment_max(S, np.int32([0, 0, 1])),
    "sequence_mask": lambda m: m.sequence_mask([1, 3], 4),
    "setdiff1d": lambda m: m.setdiff1d([1, 2, 3], [2]),
    "shape": lambda m: m.shape(S),
    "slice": lambda m: m.slice(S, [1, 0], [2, -1]),
    "split": lambda m: m.split(S, [1, 3], 1),
    "split uneven": lambda m: m.split(S, 3, 1),
    "squeeze": lambda m: m.squeeze(S[None, :, None]),
    "stack": lambda m: m.stack([S, X], 1),
    "strided_slice": lambda m: m.strided_slice(S, [2, 0], [0, 4], [-1, 2]),
    "tile": lambda m: m.tile(S, [2, 1]),
    "top_k": lambda m: m.nn.top_k(S, 2),
    "transpose": lambda m: m.transpose(M, [2, 0, 1]),
    "unique": lambda m: m.unique([3, 1, 3, 2]),
    "unique_with_counts": lambda m: m.unique_with_counts([3, 1, 3, 2]),
    "unsorted_segment_sum": lambda m: m.unsorted_segment_sum(S, [2, -1, 0], 3),
    "unstack": lambda m: m.unstack(m.constant(S), axis=1),
    "where": lambda m: m.where(S > 0, S, X),
    "where indices": lambda m: m.where(S > 0),
    "histogram": lambda m: m.histogram_fixed_width(S, [-1.0, 1.0], 5),
    "edit_distance": lambda m: m.edit_distance(
        m.SparseTensor(PLACES, [1, 2, 3], [2, 3]), m.SparseTensor(PLACES, [1, 5, 3], [2, 3])
    ),
    "accumulate_n": lambda m: m.accumulate_n([m.constant(S), m.constant(X)]),
    "einsum": lambda m: m.einsum("bij,bjk->bik", M, R),
    "tensordot": lambda m: m.tensordot(M, R, [[1], [1]]),
    "broadcast bad": lambda m: m.constant(S) + m.constant(S[:2]),
    "constant": lambda m: m.constant([1, 2.5]),
    "constant int": lambda m: m.constant([1, 2]),
    "constant big": lambda m: m.constant(2**40),
    "constant shape": lambda m: m.constant(3, shape=[2, 2]),
    "fill": lambda m: m.fill([2, 3], 7),
    "linspace": lambda m: m.linspace(0.0, 1.0, 5),
    "eye": lambda m: m.eye(3),
    "sort": lambda m: m.sort(S, 0, "DESCENDING"),
    "argsort": lambda m: m.argsort(I, direction="DESCENDING"),
    "sort direction": lambda m: m.sort(S, direction="UP"),
    "searchsorted": lambda m: m.searchsorted(np.sort(S), X, side="right"),
    "batch_gather": lambda m: m.batch_gather(m.constant(S), [[0, 3], [1, 1], [2, 0]]),
    "repeat": lambda m: m.repeat(S, [2, 0, 3], 0),
    "repeat flat": lambda m: m.repeat(S, 2),
    "repeat bad": lambda m: m.repeat(S, [1, 2], 0),
    "unravel_index": lambda m: m.unravel_index([5, 11], [3, 4]),
    "unravel_index outside": lambda m: m.unravel_index([12], [3, 4]),
    "bincount": lambda m: m.bincount([[1, 3, 1], [0, 6, 1]]),
    "bincount weights": lambda m: m.bincount([1, 3, 1], [0.5, 2.0, 1.0], minlength=6),
    "bincount shorter": lambda m: m.bincount([1, 3, 1], maxlength=2),
    "bincount negative": lambda m: m.bincount([1, -3, 1]),
    "histogram_fixed_width_bins": lambda m: m.histogram_fixed_width_bins(S, np.float64([-1, 1]), 5),
    "broadcast_to": lambda m: m.broadcast_to(S, [2, 3, 4]),
    "broadcast_to bad": lambda m: m.broadcast_to(S, [3, 5]),
    "broadcast_dynamic_shape": lambda m: m.broadcast_dynamic_shape(
        m.constant([3, 1, 4]), m.constant([5, 1])
    ),
    "ensure_shape": lambda m: m.ensure_shape(S, [None, 4]),
    "ensure_shape bad": lambda m: m.ensure_shape(S, [4, 4]),
    "identity_n": lambda m: m.identity_n([m.constant(S), m.constant(X)]),
    "where_v2": lambda m: m.where_v2([True, False, True, False], S, 0.0),
    **{
        f"tensor_scatter {how}": lambda m, how=how: getattr(m, f"tensor_scatter_nd_{how}")(
            m.constant(S),
            [[0, 1], [2, 3], [0, 1]] if how != "update" else [[0, 1], [2, 3], [1, 1]],
            np.float64([1.0, -9.0, 0.5]),
        )
        for how in ("add", "sub", "min", "max", "update")
    },
    **{
        f"tensor_scatter {how} gradient": lambda m, how=how: m.gradients(
            getattr(m, f"tensor_scatter_nd_{how}")(
                x := m.constant(S), [[0, 1], [2, 3]], y := m.constant(np.float64([1.0, -9.0]))
            ),
            [x, y],
        )
        for how in ("add", "sub", "min", "max", "update")
    },
    "tensor_scatter outside": lambda m: m.tensor_scatter_nd_add(m.constant(S), [[3, 0]], [1.0]),
    **{
        f"unsorted {how}": lambda m, how=how: getattr(m, f"unsorted_segment_{how}")(
            m.constant(S), [2, -1, 2], 4
        )
        for how in ("sum", "mean", "sqrt_n", "prod", "min", "max")
    },
    **{
        f"unsorted {how} gradient": lambda m, how=how: m.gradients(
            getattr(m, f"unsorted_segment_{how}")(x := m.constant(S), [1, 0, 1], 2), x
        )
        for how in ("sum", "mean", "sqrt_n", "prod", "min", "max")
    },
    "get_static_value": lambda m: m.constant(m.get_static_value(m.constant(S)) * 2),
    "switch_case": lambda m: [
        m.switch_case(m.constant(i), [lambda: m.constant(1), lambda: m.constant(2)])
        for i in (0, 1, 5, -1)
    ],
    "vectorized_map": lambda m: m.vectorized_map(lambda r: m.reduce_sum(r) * r, m.constant(S)),
    "assert_near": lambda m: _after(m, m.assert_near(m.constant(S), S + 0.1)),
    "assert_near fine": lambda m: _after(m, m.assert_near(m.constant(S), S + 1e-16)),
    "assert_none_equal": lambda m: _after(m, m.assert_none_equal(m.constant(S), S)),
    "assert_rank_in": lambda m: _after(m, m.assert_rank_in(m.constant(S), [0, 1])),
    "assert_rank_in fine": lambda m: _after(m, m.assert_rank_in(m.constant(S), [0, 2])),
    "meshgrid": lambda m: m.meshgrid([1, 2, 3], [4, 5]),
}
MATHS: dict[str, Case] = {
    **{f"{n}": lambda m, n=n: getattr(m, n)(np.float64([0.5, 2.5]), np.float64([0.7, 3.0]))
       for n in ("igamma", "igammac")},
    "betainc": lambda m: m.betainc(np.float64(2), np.float64(3), np.float64(0.4)),
    "zeta": lambda m: m.zeta(np.float64(3), np.float64(2.5)),
    "polygamma": lambda m: m.polygamma(np.float64(2), np.float64(2.5)),
    "lbeta": lambda m: m.lbeta(X),
    "cholesky": lambda m: m.cholesky(P),
    "matrix_determinant": lambda m: m.matrix_determinant(M),
    "matrix_inverse": lambda m: m.matrix_inverse(M),
    "matrix_solve": lambda m: m.matrix_solve(M, R),
    "matrix_triangular_solve": lambda m: m.matrix_triangular_solve(M, R),
    "self_adjoint_eigvals": lambda m: m.self_adjoint_eigvals(P),
    "svd": lambda m: m.svd(M, compute_uv=False),
    "cross": lambda m: m.cross(S[:, :3], X[:, :3]),
    "norm": lambda m: m.norm(S),
    "trace": lambda m: m.trace(M),
    "complex": lambda m: m.complex(S, X),
    "complex abs": lambda m: m.abs(Z),
    **{f"{n} complex": lambda m, n=n: getattr(m, n)(m.constant(Z))
       for n in ("real", "imag", "conj", "angle", "exp", "log", "sqrt", "square", "fft", "ifft",
                 "fft2d", "ifft2d")},
    "complex matmul": lambda m: m.matmul(Z, Z, transpose_b=True),
    **{f"gradient {n}": lambda m, n=n: m.gradients(getattr(m, n)(x := m.constant(X)), x)
       for n in ("exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "lgamma", "digamma",
                 "asin", "acos", "atan", "sin", "cos", "square", "abs", "log1p", "reciprocal")},
    "gradient of complex": lambda m: m.gradients(m.real(m.square(z := m.constant(Z))), z),
    "gradient through round": lambda m: m.gradients(m.round(x := m.constant(X)) * x, x),
    "confusion_matrix": lambda m: m.confusion_matrix([0, 1, 1], [0, 1, 0]),
    "clip_by_value": lambda m: m.clip_by_value(S, -0.5, 0.5),
    "clip_by_norm": lambda m: m.clip_by_norm(S, 1.0),
    "div_no_nan": lambda m: m.div_no_nan(S, np.float64([1.0, 0.0, 2.0, 0.0])),
    "div_no_nan gradient": lambda m: m.gradients(
        m.div_no_nan(x := m.constant(S), y := m.constant(np.float64([1.0, 0.0, 2.0, 0.0]))),
        [x, y]),
    "log_sigmoid": lambda m: m.log_sigmoid(m.constant(S)),
    "matrix_square_root": lambda m: m.matrix_square_root(P),
    "matrix_square_root gradient": lambda m: m.gradients(
        m.matrix_square_root(x := m.constant(P)) * M, x),
    "hessians": lambda m: m.hessians(m.reduce_sum(m.matmul(x := m.constant(S[:2, :2]), x) ** 2), x),
    "custom_gradient": lambda m: m.gradients(m.custom_gradient(
        lambda v: (v * 2.0, lambda g: g * 5.0))(x := m.constant(S)), x),
    "fftnd": lambda m: m.fftnd(m.constant(Z), [3, 4], [0, 1]),
    "rfftnd": lambda m: m.rfftnd(m.constant(S), [3, 4], [0, 1]),
    "irfftnd": lambda m: m.irfftnd(m.constant(Z), [3, 6], [0, 1]),
    "global_norm": lambda m: m.global_norm([m.constant(S), m.constant(X)]),
}  # fmt: skip
NETWORKS: dict[str, Case] = {
    "conv2d": lambda m: m.nn.conv2d(IMAGE, K2, [1, 2, 1, 1], "SAME"),
    "conv2d dilated": lambda m: m.nn.conv2d(IMAGE, K2, [1, 1, 1, 1], "VALID",
                                            dilations=[1, 2, 2, 1]),
    "conv2d channels": lambda m: m.nn.conv2d(IMAGE, K2[:, :, :2], [1, 1, 1, 1], "SAME"),
    "conv2d_transpose": lambda m: m.nn.conv2d_transpose(
        np.ones((2, 3, 4, 4), np.float32), K2, [2, 6, 8, 3], [1, 2, 2, 1], "SAME"),
    "depthwise_conv2d": lambda m: m.nn.depthwise_conv2d(IMAGE, K2, [1, 1, 1, 1], "SAME"),
    "conv3d": lambda m: m.nn.conv3d(VOLUME, K3, [1, 1, 2, 1, 1], "SAME"),
    "conv1d": lambda m: m.nn.conv1d(IMAGE[0], K2[0], 1, "SAME"),
    "max_pool": lambda m: m.nn.max_pool(IMAGE, [1, 3, 2, 1], [1, 2, 2, 1], "SAME"),
    "avg_pool": lambda m: m.nn.avg_pool(IMAGE, [1, 3, 2, 1], [1, 2, 2, 1], "SAME"),
    "max_pool3d": lambda m: m.nn.max_pool3d(VOLUME, [1, 2, 2, 2, 1], [1, 2, 1, 2, 1], "SAME"),
    "avg_pool3d": lambda m: m.nn.avg_pool3d(VOLUME, [1, 2, 2, 2, 1], [1, 2, 1, 2, 1], "VALID"),
    "max_pool_with_argmax": lambda m: m.nn.max_pool_with_argmax(
        IMAGE, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
    "dilation2d": lambda m: m.nn.dilation2d(IMAGE, K2[..., 0], strides=[1, 2, 1, 1],
                                            rates=[1, 1, 1, 1], padding="SAME"),
    "erosion2d": lambda m: m.nn.erosion2d(IMAGE, K2[..., 0], strides=[1, 1, 1, 1],
                                          rates=[1, 1, 1, 1], padding="VALID"),
    **{f"{name} {rank}": lambda m, name=name, x=x: getattr(m.nn, name)(x, 2, 2, "SAME")
       for rank, x in (("1d", IMAGE[0]), ("2d", IMAGE), ("3d", VOLUME))
       for name in ((f"max_pool{rank}", f"avg_pool{rank}") if rank != "3d" else ())},
    **{f"{name} {x.ndim}": lambda m, name=name, x=x: getattr(m.nn, name)(x, 2, 2, "VALID")
       for x in (IMAGE[0], IMAGE, VOLUME) for name in ("max_pool_v2", "avg_pool_v2")},
    "conv1d_transpose": lambda m: m.nn.conv1d_transpose(
        IMAGE[0], K2[0].swapaxes(1, 2), [6, 16, 4], 2),
    "conv_transpose": lambda m: m.nn.conv_transpose(
        np.ones((2, 3, 4, 4), np.float32), K2, [2, 6, 8, 3], 2),
    "convolution 3d": lambda m: m.nn.convolution(VOLUME, K3, padding="SAME"),
    "depthwise input": lambda m: m.nn.depthwise_conv2d_backprop_input(
        IMAGE.shape, K2, np.ones((2, 6, 8, 12), np.float32), [1, 1, 1, 1], "SAME"),
    "depthwise filter": lambda m: m.nn.depthwise_conv2d_backprop_filter(
        IMAGE, K2.shape, np.ones((2, 6, 8, 12), np.float32), [1, 1, 1, 1], "SAME"),
    "fused_batch_norm": lambda m: m.nn.fused_batch_norm(
        IMAGE, np.float32([1, 2, 3]), np.float32([0, 1, 2])),
    "fused_batch_norm inference": lambda m: m.nn.fused_batch_norm(
        IMAGE, np.float32([1, 2, 3]), np.float32([0, 1, 2]), np.float32([1, 0, 1]),
        np.float32([1, 2, 1]), is_training=False)[0],
    "with_space_to_batch": lambda m: m.nn.with_space_to_batch(
        m.constant(IMAGE), [2, 3], "SAME",
        lambda x, axes, pad: m.nn.conv2d(x, K2, [1, 1, 1, 1], pad), K2.shape[:2]),
    "swish": lambda m: m.nn.swish(m.constant(S)),
    "silu": lambda m: m.nn.silu(m.constant(S), 1.5),
    "collapse_repeated": lambda m: m.nn.collapse_repeated([[1, 1, 2, 2, 1], [0, 0, 3, 3, 3]],
                                                          [5, 3]),
    "ctc_unique_labels": lambda m: m.nn.ctc_unique_labels(m.constant([[1, 1, 2], [4, 5, 4]])),
    "ctc_loss_v2": lambda m: m.nn.ctc_loss_v2(
        np.int32([[1, 1], [2, 0]]), LOGITS, [2, 1], [5, 3], blank_index=0),
    "compute_average_loss": lambda m: m.nn.compute_average_loss(S[:, 0], np.float64([1, 0, 2]), 8),
    "safe_embedding_lookup_sparse": lambda m: m.nn.safe_embedding_lookup_sparse(
        S, m.SparseTensor(PLACES, np.int64([2, -1, 1]), [3, 3])),
    "extract_volume_patches": lambda m: m.extract_volume_patches(
        VOLUME, [1, 2, 2, 1, 1], [1, 2, 1, 3, 1], "SAME"),
    **{f"decay {n}": lambda m, n=n: getattr(m.train, n)(0.2, m.constant(4), 10)
       for n in ("linear_cosine_decay", "cosine_decay", "cosine_decay_restarts")},
    "decay piecewise": lambda m: m.train.piecewise_constant_decay(
        m.constant(4), [3, 7], [1.0, 0.5, 0.1]),
    **{f"fake_quant {bits}": lambda m, bits=bits: m.fake_quant_with_min_max_vars_per_channel(
        6 * IMAGE - 3, np.float32([-2, -3, 0]), np.float32([2, 1, 3]), bits) for bits in (4, 8)},
    "fake_quant narrow": lambda m: m.fake_quant_with_min_max_args(
        6 * IMAGE - 3, -1.7, 2.2, narrow_range=True),
    "fake_quant gradient": lambda m: m.gradients(m.fake_quant_with_min_max_vars(
        x := m.constant(6 * IMAGE - 3), a := m.constant(-1.7), b := m.constant(2.2)), [x, a, b]),
    "psnr": lambda m: m.image.psnr(IMAGE, IMAGE[::-1], 1.0),
    "ssim": lambda m: m.image.ssim(LARGE, LARGE[::-1], 1.0),
    "ssim bytes": lambda m: m.image.ssim(BYTES, BYTES[::-1], 255),
    "ssim too small": lambda m: m.image.ssim(IMAGE, IMAGE, 1.0),
    "ssim_multiscale": lambda m: m.image.ssim_multiscale(
        LARGE, LARGE * 0.9, 1.0, (0.5, 0.5), filter_size=5),
    "sobel_edges": lambda m: m.image.sobel_edges(m.constant(IMAGE)),
    "sobel_edges gradient": lambda m: m.gradients(
        m.image.sobel_edges(x := m.constant(IMAGE)) * np.float32([1, 2]), x),
    "image_gradients": lambda m: m.image.image_gradients(m.constant(IMAGE)),
    **{f"image.{n}": lambda m, n=n: getattr(m.image, n)(IMAGE)
       for n in ("rgb_to_yiq", "yiq_to_rgb", "rgb_to_yuv", "yuv_to_rgb", "transpose")},
    "extract_patches": lambda m: m.image.extract_patches(
        IMAGE, [1, 2, 3, 1], [1, 2, 1, 1], [1, 1, 2, 1], "VALID"),
    "resize_image_with_pad": lambda m: m.image.resize_image_with_pad(IMAGE, 12, 10),
    "resize kept": lambda m: m.image.resize(IMAGE, [12, 10], preserve_aspect_ratio=True),
    "resize_with_crop_or_pad": lambda m: m.image.resize_with_crop_or_pad(IMAGE, 4, 11),
    "non_max_suppression scores": lambda m: m.image.non_max_suppression_with_scores(
        SPREAD, WEIGHTS, 10, 0.5, 0.1),
    "non_max_suppression soft": lambda m: m.image.non_max_suppression_with_scores(
        SPREAD, WEIGHTS, 10, 1.0, 0.1, 0.4),
    "non_max_suppression padded": lambda m: m.image.non_max_suppression_padded(
        SPREAD, WEIGHTS, 12, 0.4, 0.3, True),
    "non_max_suppression overlaps": lambda m: m.image.non_max_suppression_overlaps(
        np.minimum(1, 4 * np.outer(WEIGHTS, WEIGHTS)), WEIGHTS, 5, 0.6),
    "combined_non_max_suppression": lambda m: list(m.image.combined_non_max_suppression(
        SPREAD[None, :, None], np.stack([WEIGHTS, WEIGHTS[::-1]], -1)[None], 4, 6, 0.5, 0.2)),
    "lrn": lambda m: m.nn.local_response_normalization(IMAGE, 1, 1.0, 0.5, 0.75),
    "moments": lambda m: m.nn.moments(m.constant(S), [0]),
    "weighted_moments": lambda m: m.nn.weighted_moments(m.constant(S), [0], X),
    "batch_normalization": lambda m: m.nn.batch_normalization(S, S.mean(0), S.var(0), 1.0, 2.0,
                                                              1e-3),
    "l2_normalize": lambda m: m.nn.l2_normalize(S, 1),
    "softmax xent": lambda m: m.nn.softmax_cross_entropy_with_logits(labels=X, logits=S),
    "sparse xent": lambda m: m.nn.sparse_softmax_cross_entropy_with_logits(
        labels=[0, 3, 1], logits=S),
    "sparse xent outside": lambda m: m.nn.sparse_softmax_cross_entropy_with_logits(
        labels=[0, 4, 1], logits=S),
    "sigmoid xent": lambda m: m.nn.sigmoid_cross_entropy_with_logits(labels=X, logits=S),
    "weighted xent": lambda m: m.nn.weighted_cross_entropy_with_logits(X, S, 2.0),
    "log_poisson_loss": lambda m: m.nn.log_poisson_loss(X, S, compute_full_loss=True),
    "in_top_k": lambda m: m.nn.in_top_k(S.astype("f"), [0, 3, 1], 2),
    "ctc_loss": lambda m: m.nn.ctc_loss(
        m.SparseTensor([[0, 0], [0, 1], [1, 0]], np.int32([1, 1, 2]), [2, 2]), LOGITS, [5, 3]),
    "ctc_loss gradient": lambda m: m.gradients(m.nn.ctc_loss(
        m.SparseTensor([[0, 0], [0, 1], [1, 0]], np.int32([1, 1, 2]), [2, 2]),
        x := m.constant(LOGITS), [5, 3]), x),
    "ctc_greedy": lambda m: m.nn.ctc_greedy_decoder(LOGITS, [5, 3])[1],
    "ctc_beam": lambda m: m.nn.ctc_beam_search_decoder(LOGITS, [5, 3], top_paths=2,
                                                       merge_repeated=False)[1],
    "extract_image_patches": lambda m: m.extract_image_patches(
        IMAGE, [1, 2, 3, 1], [1, 2, 1, 1], [1, 1, 2, 1], "VALID"),
    "embedding_lookup": lambda m: m.nn.embedding_lookup([S[:2], S[2:]], [0, 1, 2]),
    "embedding_lookup_sparse": lambda m: m.nn.embedding_lookup_sparse(
        S, m.SparseTensor(PLACES, [2, 0, 1], [2, 3]), None, combiner="sqrtn"),
    "resize_bilinear": lambda m: m.image.resize_bilinear(IMAGE, [9, 5]),
    "resize_nearest": lambda m: m.image.resize_nearest_neighbor(IMAGE, [9, 5]),
    "resize_bicubic": lambda m: m.image.resize_bicubic(IMAGE, [9, 5]),
    "resize_area": lambda m: m.image.resize_area(IMAGE, [4, 5]),
    "crop_and_resize": lambda m: m.image.crop_and_resize(IMAGE, BOXES, [0, 1], [4, 3]),
    "non_max_suppression": lambda m: m.image.non_max_suppression(BOXES, [0.3, 0.9], 5, 0.4),
    "draw_bounding_boxes": lambda m: m.image.draw_bounding_boxes(
        IMAGE, np.stack([BOXES] * 2) * 0.8),
    "extract_glimpse": lambda m: m.image.extract_glimpse(
        IMAGE, [3, 4], np.float32([[0, 0], [-0.8, 0.5]]), uniform_noise=False),
    "rgb_to_hsv": lambda m: m.image.rgb_to_hsv(IMAGE),
    "hsv_to_rgb": lambda m: m.image.hsv_to_rgb(IMAGE),
    "adjust_hue": lambda m: m.image.adjust_hue(IMAGE, 0.3),
    "adjust_saturation": lambda m: m.image.adjust_saturation(IMAGE, 0.5),
    "adjust_contrast": lambda m: m.image.adjust_contrast(IMAGE, 0.5),
    "adjust_brightness": lambda m: m.image.adjust_brightness(IMAGE, 0.3),
    "per_image_standardization": lambda m: m.image.per_image_standardization(IMAGE[0]),
    "central_crop": lambda m: m.image.central_crop(IMAGE[0], 0.5),
    "rot90": lambda m: m.image.rot90(IMAGE[0], 3),
    "rgb_to_grayscale": lambda m: m.image.rgb_to_grayscale(IMAGE),
    "total_variation": lambda m: m.image.total_variation(IMAGE),
    **{f"losses.{n}": lambda m, n=n: getattr(m.losses, n)(X, S, weights=0.7)
       for n in ("absolute_difference", "mean_squared_error", "huber_loss", "hinge_loss",
                 "mean_pairwise_squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy")},
    "losses.log_loss": lambda m: m.losses.log_loss(X, X),
}  # fmt: skip
SPARSE: dict[str, Case] = {
    "add": lambda m: m.sparse_add(_sparse(m), m.sparse_reorder(_sparse(m))).values,
    "concat": lambda m: m.sparse_concat(1, [_sparse(m), _sparse(m)]).indices,
    "reduce_sum": lambda m: m.sparse_reduce_sum(_sparse(m), 1),
    "softmax": lambda m: m.sparse_softmax(_sparse(m)).values,
    "matmul": lambda m: m.sparse_tensor_dense_matmul(_sparse(m), X[:3]),
    "dense": lambda m: m.sparse_tensor_to_dense(_sparse(m)),
    "transpose": lambda m: m.sparse_transpose(_sparse(m)).indices,
    "retain": lambda m: m.sparse_retain(_sparse(m), [True, False, True]).values,
    "reshape": lambda m: m.sparse_reshape(_sparse(m), [3, 2]).indices,
    "maximum": lambda m: m.sparse_maximum(_sparse(m), _sparse(m)).values,
    "fill_empty_rows": lambda m: m.sparse_fill_empty_rows(_sparse(m), np.float64(9))[0].values,
    "unordered": lambda m: m.sparse_to_dense([[1], [0]], [2], [1.0, 2.0]),
    "outside": lambda m: m.sparse_to_dense([[5]], [2], [1.0]),
    "reduce_max": lambda m: m.sparse_reduce_max(_sparse(m), 1),
    "reduce_max_sparse": lambda m: m.sparse_reduce_max_sparse(_sparse(m), 0).values,
    "slice": lambda m: m.sparse_slice(_sparse(m), [0, 1], [2, 2]).indices,
    "merge": lambda m: m.sparse_to_indicator(m.SparseTensor(PLACES, [2, 0, 1], [2, 3]), 4),
}


def _after(m: Any, check: Any) -> Any:
    """A value that is computed after `check`; TensorFlow gives None for one that it has done."""
    with m.control_dependencies([] if check is None else [check]):
        return m.identity(m.constant(S))


def _sparse(m: Any) -> Any:
    return m.SparseTensor(PLACES, np.float64([1.5, 2.0, -0.5]), [2, 3])


def cases() -> list[tuple[str, Case]]:
    """All cases by name."""
    named = [(f"sparse {n}", c) for n, c in SPARSE.items()]
    return [*_simple(), *ARRAY.items(), *MATHS.items(), *NETWORKS.items(), *named]
