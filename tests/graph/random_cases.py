"""Random gradient cases of element-wise ops, reductions, products, shaping and indexing."""

from typing import Any

import numpy as np

import systolica as st
from sw.graph.shapes import Shape
from tests.graph.random_draw import Draw, draws, ints

# Where each function is smooth, when that is not everywhere.
DOMAINS = {
    "acos": (-0.9, 0.9), "acosh": (1.2, 3), "asin": (-0.9, 0.9), "atanh": (-0.9, 0.9),
    "digamma": (0.5, 3), "lgamma": (0.5, 3), "log": (0.5, 2), "log1p": (-0.5, 2),
    "reciprocal": (0.5, 2), "rsqrt": (0.5, 2), "sqrt": (0.5, 2), "tan": (-1.2, 1.2),
}  # fmt: skip


@draws("asinh", "atan", "cos", "cosh", "erf", "erfc", "exp", "expm1", "identity", "l2_loss", "neg",
       "sigmoid", "sin", "sinh", "softplus", "square", "tanh", *DOMAINS)  # fmt: skip
def smooth(r: Draw, name: str) -> Any:
    return [r.uniform(*DOMAINS.get(name, (-2, 2)), *r.shape())], {}


@draws("abs", "elu", "relu", "relu6", "softsign")
def kinked(r: Draw, name: str) -> Any:
    return [r.apart(*r.shape())], {}


@draws("relu_grad", "relu6_grad")
def gated(r: Draw, name: str) -> Any:
    shape = r.shape()
    return [r.normal(*shape), np.float32(r.apart(*shape))], {}


@draws("cast", "check_numerics", "ensure_shape", "gelu", "placeholder_with_default", "print")
def unary(r: Draw, name: str) -> Any:
    x = r.normal(*r.shape())
    return [x], {
        "cast": {"dtype": "float64"},
        "check_numerics": {"message": "bad"},
        "ensure_shape": {"shape": Shape([None] * x.ndim)},
        "gelu": {"approximate": r.flag()},
        "placeholder_with_default": {"shape": x.shape},
        "print": {"first": 0},
    }[name]


@draws("add", "div", "mul", "pow", "squared_difference", "sub")
def pair(r: Draw, name: str) -> Any:
    shape = r.shape()
    return [r.uniform(0.5, 2, *r.part(shape)), r.uniform(0.5, 2, *r.part(shape))], {}


@draws("atan2", "maximum", "minimum", "mod")
def kinked_pair(r: Draw, name: str) -> Any:
    shape = r.shape()
    y = r.uniform(0.5, 2, *r.part(shape))
    if name == "atan2":
        return [r.normal(*r.part(shape)), y], {}
    whole, share = r.ids(4, *shape), r.uniform(0.2, 0.8, *shape)
    if name == "mod":
        return [(whole + share) * y, y], {}
    return [r.apart(*r.part(shape)), r.ids(9, *y.shape) * 0.71 - 3.0], {}


@draws("betainc", "igamma", "igammac", "polygamma", "zeta")
def special(r: Draw, name: str) -> Any:
    """Differentiable in the last input alone: lists count as constants."""
    shape = r.shape(1)
    if name == "polygamma":
        return [r.rng.integers(1, 4, shape).tolist(), r.uniform(0.5, 2, *shape)], {}
    low = 1.5 if name == "zeta" else 0.5
    lists = [r.uniform(low, 4, *shape).tolist() for _ in range(2 if name == "betainc" else 1)]
    return [*lists, r.uniform(0.1, 0.9, *shape) * (1 if name == "betainc" else 2)], {}


@draws("where")
def choice(r: Draw, name: str) -> Any:
    shape = r.shape()
    test = np.asarray(r.rng.integers(0, 2, r.part(shape)), bool)
    return [test, r.normal(*r.part(shape)), r.normal(*r.part(shape))], {}


@draws("add_n")
def sum_of_many(r: Draw, name: str) -> Any:
    shape = r.shape()
    return [r.normal(*shape) for _ in range(r.int(1, 4))], {}


@draws("reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum")
def reduction(r: Draw, name: str) -> Any:
    x = r.apart(*r.shape())
    axes = [int(a) for a in r.rng.permutation(x.ndim)[: r.int(0, x.ndim)]]
    axis = r.one(None, tuple(a - x.ndim if r.flag() else a for a in axes))
    if name == "reduce_prod":
        x = x * 0.3 * r.rng.integers(0, 2, x.shape)  # also zeros
    return [x], {"axis": axis, "keepdims": r.flag()}


@draws("mean_share", "sum_to_shape", "broadcast_to")
def spreading(r: Draw, name: str) -> Any:
    shape = r.shape()
    part = r.part(shape)
    if name == "mean_share":
        return [r.normal(*shape[1:]), np.zeros(shape, np.float32)], {}
    if name == "sum_to_shape":
        return [r.normal(*shape), ints(part)], {}
    return [r.normal(*part), ints(shape)], {}


@draws("cumprod", "cumsum")
def running(r: Draw, name: str) -> Any:
    x = r.normal(*r.shape(1))
    if name == "cumprod" and r.flag():
        x[r.rng.uniform(size=x.shape) < 0.3] = 0
    return [x], {"axis": r.axis(x.ndim), "exclusive": r.flag(), "reverse": r.flag()}


@draws("log_softmax", "softmax")
def normalising(r: Draw, name: str) -> Any:
    x = r.normal(*r.shape(1))
    return [x], {"axis": r.axis(x.ndim)}


@draws("softmax_cross_entropy", "sparse_softmax_cross_entropy")
def cross_entropy(r: Draw, name: str) -> Any:
    rows, classes = r.int(1, 4), r.int(2, 5)
    x = r.normal(rows, classes)
    if name.startswith("sparse"):
        return [x, r.ids(classes, rows)], {}, (0,)
    share = r.uniform(0, 1, rows, classes)
    return [x, (share / share.sum(1, keepdims=True))], {}, (0,)


@draws("bias_add")
def bias(r: Draw, name: str) -> Any:
    shape = r.shape(2, 4)
    return [r.normal(*shape), r.normal(shape[-1])], {}


@draws("matmul")
def product(r: Draw, name: str) -> Any:
    batch, (m, k, n) = r.shape(0, 2), r.sizes(3)
    ta, tb = r.flag(), r.flag()
    a = r.normal(*r.part(batch), *((k, m) if ta else (m, k)))
    b = r.normal(*r.part(batch), *((n, k) if tb else (k, n)))
    return [a, b], {"transpose_a": ta, "transpose_b": tb}


@draws("einsum")
def einsum(r: Draw, name: str) -> Any:
    size = dict(zip("ijkl", r.sizes(4, 1, 3), strict=True))
    terms = ["".join(r.rng.permutation(list(size))[: r.int(1, 3)]) for _ in range(r.int(1, 3))]
    letters = sorted(set("".join(terms)))
    out = "".join(r.rng.permutation(letters)[: r.int(0, 3)])
    inputs = [r.normal(*(size[c] for c in term)) for term in terms]
    return inputs, {"equation": f"{','.join(terms)}->{out}"}


@draws("cholesky", "matrix_determinant", "matrix_inverse", "matrix_solve", "matrix_square_root",
       "matrix_triangular_solve", "qr", "self_adjoint_eig", "svd")  # fmt: skip
def linear_algebra(r: Draw, name: str) -> Any:
    """Well-conditioned matrices; eigenvalues and singular values apart."""
    batch, n = r.shape(0, 2), r.int(1, 4)
    batch = batch if n < 4 else batch[:1]
    x = 0.3 * r.normal(*batch, n, n) + np.diag(1 + 2.0 * np.arange(n))
    if name in ("cholesky", "matrix_square_root"):
        return [x @ x.swapaxes(-1, -2) + np.eye(n)], {}
    if name == "matrix_solve":
        return [x, r.normal(*batch, n, r.int(1, 3))], {"adjoint": r.flag()}
    if name == "matrix_triangular_solve":
        sides = {"lower": r.flag(), "adjoint": r.flag()}
        return [x, r.normal(*batch, n, r.int(1, 3))], sides
    if name == "svd":
        taller = np.concatenate([x, 0.1 * r.normal(*batch, r.int(0, 2), n)], -2)
        wide = r.flag()
        return [taller.swapaxes(-1, -2) if wide else taller], {"full_matrices": False}, (0,)
    if name == "qr":
        return [np.concatenate([x, r.normal(*batch, r.int(0, 2), n)], -2)], {}
    return [x], {}


@draws("matrix_band_part", "matrix_diag", "matrix_diag_part", "matrix_set_diag", "swap_axes")
def matrix_parts(r: Draw, name: str) -> Any:
    shape = r.shape(2, 4)
    x = r.normal(*shape)
    if name == "matrix_band_part":
        return [x], {"lower": r.int(-1, shape[-2] - 1), "upper": r.int(-1, shape[-1] - 1)}
    if name == "matrix_set_diag":
        return [x, r.normal(*shape[:-2], min(shape[-2:]))], {}
    return [r.normal(*shape[1:]) if name == "matrix_diag" else x], {}


@draws("expand_dims", "squeeze", "reshape", "transpose", "tile", "tile_grad", "pad",
       "mirror_pad_grad", "reverse", "roll", "fill")  # fmt: skip
def reshaping(r: Draw, name: str) -> Any:
    x = r.normal(*r.shape(1))
    rank = x.ndim
    if name == "expand_dims":
        return [x], {"axis": r.axis(rank + 1)}
    if name == "squeeze":
        at = r.int(0, rank)
        return [np.expand_dims(x, at)], {"axis": r.one(None, (at,))}
    if name == "reshape":
        shapes = (ints([-1]), ints(x.shape[::-1]), ints([1, x.shape[0], -1]))
        return [x, r.one(*shapes)], {}
    if name == "transpose":
        return [x], {"perm": tuple(int(a) for a in r.rng.permutation(rank))}
    if name == "tile":
        return [x], {"multiples": r.sizes(rank, 1, 3)}
    if name == "tile_grad":
        many = r.sizes(rank, 1, 3)
        whole = [m * d for m, d in zip(many, x.shape, strict=True)]
        return [r.normal(*whole), ints(x.shape)], {"multiples": many}
    if name == "pad":
        mode = r.one("CONSTANT", "REFLECT", "SYMMETRIC")
        most = [2 if mode == "CONSTANT" else d - (mode == "REFLECT") for d in x.shape]
        return [x], {"paddings": tuple(r.sizes(2, 0, m) for m in most), "mode": mode}
    if name == "mirror_pad_grad":
        mode = r.one("REFLECT", "SYMMETRIC")
        pads = [r.sizes(2, 0, d - (mode == "REFLECT")) for d in x.shape]
        whole = [d + a + b for d, (a, b) in zip(x.shape, pads, strict=True)]
        return [r.normal(*whole)], {"paddings": tuple(pads), "mode": mode}
    if name == "fill":
        return [ints(x.shape), r.normal()], {}
    axes = tuple(int(a) for a in r.rng.permutation(rank)[: r.int(1, rank)])
    if name == "roll":
        return [x], {"shift": r.sizes(len(axes), -3, 3), "axis": axes}
    return [x], {"axis": axes}


@draws("concat", "split", "stack", "unstack")
def joining(r: Draw, name: str) -> Any:
    shape = list(r.shape(1))
    axis = r.axis(len(shape))
    sizes = r.sizes(r.int(1, 3))
    if name == "stack":
        return [r.normal(*shape) for _ in sizes], {"axis": axis}
    if name == "unstack":
        return [r.normal(*shape)], {"axis": axis, "num": shape[axis]}
    parts = []
    for size in sizes:
        shape[axis] = size
        parts.append(r.normal(*shape))
    if name == "concat":
        return parts, {"axis": axis}
    return [np.concatenate(parts, axis)], {"axis": axis, "sizes": sizes}


@draws("strided_slice", "strided_slice_grad", "dynamic_slice")
def slicing(r: Draw, name: str) -> Any:
    shape = r.shape(1)
    if name == "dynamic_slice":
        begin = [r.int(0, d - 1) for d in shape]
        size = [r.int(0, d - b) for d, b in zip(shape, begin, strict=True)]
        return [r.normal(*shape), ints(begin), ints(size)], {}
    spec: list[Any] = []
    for d in shape:
        ends = [r.one(None, r.int(-d - 1, d + 1)) for _ in range(2)]
        spec.append(r.one(r.axis(d), (*ends, r.one(-2, -1, None, 1, 2))))
    if r.flag():
        spec[r.int(0, len(spec) - 1)] = "..."
    if r.flag():
        spec.insert(r.int(0, len(spec)), None)  # a new axis
    x = r.normal(*shape)
    if name == "strided_slice":
        return [x], {"spec": tuple(spec)}
    index = tuple(slice(*s) if isinstance(s, tuple) else ... if s == "..." else s for s in spec)
    return [r.normal(*x[index].shape), ints(shape)], {"spec": tuple(spec)}


@draws("tensor_scatter")
def changing(r: Draw, name: str) -> Any:
    shape = r.shape(1)
    depth, how = r.int(1, len(shape)), r.one("update", "add", "sub", "min", "max")
    many = r.int(1, 3) if how != "update" else 1  # which of two writes stays is not said
    places = np.stack([r.ids(d, many) for d in shape[:depth]], -1)
    values = r.apart(2 * int(np.prod(shape)) + many * int(np.prod(shape[depth:])))
    x, updates = np.split(values, [int(np.prod(shape))])
    updates = updates[: many * int(np.prod(shape[depth:]))]
    return [x.reshape(shape), places, updates.reshape(many, *shape[depth:])], {"how": how}


@draws("own_gradient")
def own_rule(r: Draw, name: str) -> Any:
    """The rule is the true one, so that differences show whether it is used and for which input."""

    @st.custom_gradient
    def function(x: Any, y: Any) -> Any:
        return x * st.sin(y), lambda g: (g * st.sin(y), g * x * st.cos(y))

    shape = r.shape()
    return [r.normal(*shape), r.normal(*shape)], function


@draws("gather", "gather_grad", "gather_rows", "gather_nd", "scatter_nd")
def gathering(r: Draw, name: str) -> Any:
    shape, wanted = r.shape(1), r.shape(0, 2)
    axis = 0 if name == "gather_rows" else r.int(0, len(shape) - 1)
    index = r.ids(shape[axis], *(r.sizes(1) if name == "gather_rows" else wanted))
    x = r.normal(*shape)
    if name == "gather_rows":
        return [x, index], {}
    if name == "gather":
        return [x, index], {"axis": axis}
    if name == "gather_grad":
        return [r.normal(*np.take(x, index, axis).shape), index, ints(shape)], {"axis": axis}
    depth = r.int(1, len(shape))
    places = np.stack([r.ids(d, *(wanted or (2,))) for d in shape[:depth]], -1)
    if name == "gather_nd":
        return [x, places], {}
    return [places, r.normal(*places.shape[:-1], *shape[depth:]), ints(shape)], {}
