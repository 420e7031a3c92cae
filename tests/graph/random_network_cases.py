"""Random gradient cases of windows, images, segments, sequences, sparse and complex tensors, and
of control flow."""

from typing import Any

import numpy as np

import systolica as st
from tests.graph.random_draw import Draw, draws, ints


def windows(
    r: Draw, rank: int, dilated: bool = False, explicit: bool = False, covered: bool = False
) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Sizes of an input, of a kernel and of the output, and strides, rates and padding.

    `covered`: no window lies in the padding alone.
    """
    kernel = r.sizes(rank, 1, 3 if rank < 3 else 2)
    rates = r.sizes(rank, 1, 2) if dilated and r.flag() else (1,) * rank
    strides = r.sizes(rank, 1, 3) if max(rates) == 1 else (1,) * rank
    padding = r.one("SAME", "VALID", *([tuple(r.sizes(2, 0, 2) for _ in kernel)] * explicit))
    whole = [(k - 1) * d + 1 for k, d in zip(kernel, rates, strict=True)]
    small = padding != "VALID" and not covered
    inner = [r.int(1 - w if small else 0, 2) + w for w in whole]
    if isinstance(padding, tuple):
        inner = [max(n, w - a - b, 1) for n, w, (a, b) in zip(inner, whole, padding, strict=True)]
    ends = padding if isinstance(padding, tuple) else [(0, 0)] * rank
    outer = [
        -(-n // s) if padding == "SAME" else (n + a + b - w) // s + 1
        for n, w, s, (a, b) in zip(inner, whole, strides, ends, strict=True)
    ]
    return inner, kernel, outer, {"strides": strides, "rates": rates, "padding": padding}


CONVOLUTIONS = [f"{kind}{part}" for kind in ("conv2d", "depthwise_conv2d", "conv3d")
                for part in ("", "_backprop_input", "_backprop_filter")]  # fmt: skip


@draws(*CONVOLUTIONS)
def convolution(r: Draw, name: str) -> Any:
    rank = 3 if "3d" in name else 2
    inner, kernel, outer, attrs = windows(r, rank, rank == 2, rank == 2)
    rates = attrs.pop("rates")
    if rank == 2:
        attrs["dilations"] = rates
    batch, depth, count = r.sizes(3, 1, 2)
    depth_out = depth * count if "depthwise" in name else count
    x = r.normal(batch, *inner, depth)
    k = r.normal(*kernel, depth, count)
    y = r.normal(batch, *outer, depth_out)
    if name.endswith("input"):
        return [ints(x.shape), k, y], attrs
    if name.endswith("filter"):
        return [x, ints(k.shape), y], attrs
    return [x, k], attrs


@draws("avg_pool", "avg_pool_grad", "avg_pool3d", "avg_pool3d_grad", "max_pool", "max_pool3d",
       "max_pool_with_argmax")  # fmt: skip
def pooling(r: Draw, name: str) -> Any:
    inner, kernel, outer, attrs = windows(r, 3 if "3d" in name else 2)
    attrs = {"ksize": kernel, "strides": attrs["strides"], "padding": attrs["padding"]}
    batch, depth = r.sizes(2, 1, 2)
    if name.endswith("_grad"):
        return [ints((batch, *inner, depth)), r.normal(batch, *outer, depth)], attrs
    return [r.apart(batch, *inner, depth)], attrs, (0,)


@draws("dilation2d", "extract_image_patches", "extract_image_patches_grad")
def patches(r: Draw, name: str) -> Any:
    alone = name == "dilation2d"  # whose value over padding alone is -inf
    inner, kernel, outer, attrs = windows(r, 2, dilated=True, covered=alone)
    batch, depth = r.sizes(2, 1, 2)
    if name == "dilation2d":
        return [r.apart(batch, *inner, depth), r.apart(*kernel, depth) * 0.013], attrs
    attrs["ksize"] = kernel
    if name == "extract_image_patches":
        return [r.normal(batch, *inner, depth)], attrs
    return [r.normal(batch, *outer, depth * kernel[0] * kernel[1]),
            ints((batch, *inner, depth))], attrs  # fmt: skip


@draws("extract_volume_patches", "extract_volume_patches_grad")
def volume_patches(r: Draw, name: str) -> Any:
    inner, kernel, outer, attrs = windows(r, 3)
    attrs = {"ksize": kernel, "strides": attrs["strides"], "padding": attrs["padding"]}
    batch, depth = r.sizes(2, 1, 2)
    if name == "extract_volume_patches":
        return [r.normal(batch, *inner, depth)], attrs
    flat = r.normal(batch, *outer, depth * int(np.prod(kernel)))
    return [flat, ints((batch, *inner, depth))], attrs


@draws("fractional_pool")
def fractional(r: Draw, name: str) -> Any:
    h, w = r.sizes(2, 2, 5)
    ends = [sorted({0, n, *(r.int(1, n) for _ in range(2))}) for n in (h, w)]
    attrs = {"how": r.one("max", "mean"), "overlapping": r.flag()}
    return [r.apart(r.int(1, 2), h, w, 2), *(np.asarray(e) for e in ends)], attrs


@draws("resize", "resize_grad")
def resizing(r: Draw, name: str) -> Any:
    batch, *sizes, depth = r.sizes(4, 1, 5)
    size, shape = r.sizes(2, 1, 5), (min(batch, 2), *sizes, min(depth, 2))
    attrs = {"method": r.one("bilinear", "nearest", "area", "bicubic"), "align_corners": r.flag()}
    if name == "resize":
        return [r.normal(*shape), ints(size)], attrs
    return [r.normal(shape[0], *size, shape[3]), ints(shape)], attrs


@draws("crop_and_resize")
def crops(r: Draw, name: str) -> Any:
    images, boxes = r.normal(*r.sizes(2, 1, 2), r.int(2, 4), 2), r.int(1, 3)
    where = r.uniform(-0.3, 1.3, boxes, 4).astype(np.float32)
    rest = (where, r.ids(len(images), boxes), ints(r.sizes(2)))
    return [images, *rest], {"extrapolation": float(r.int(0, 2))}


@draws("lrn")
def response(r: Draw, name: str) -> Any:
    attrs = {"depth_radius": r.int(1, 3), "bias": 1 + r.int(0, 9) / 10, "alpha": 0.7, "beta": 0.6}
    return [r.normal(*r.sizes(3, 1, 2), r.int(1, 6))], attrs


@draws("space_to_depth")
def blocks(r: Draw, name: str) -> Any:
    (n, h, w, c), block, inward = r.sizes(4, 1, 2), r.int(2, 3), r.flag()
    shape = (n, h * block, w * block, c) if inward else (n, h, w, c * block * block)
    return [r.normal(*shape)], {"block": block, "inward": inward}


@draws("gather_or_zero", "segment_reduce", "segment_share", "unsorted_segment_reduce")
def segments(r: Draw, name: str) -> Any:
    ids = np.sort(r.ids(5, r.int(1, 6)))  # some numbers are left out
    x = r.apart(len(ids), *r.shape(0, 2))
    if name == "segment_reduce":
        return [x, ids], {"how": r.one("sum", "mean", "prod", "max", "min")}
    if name == "segment_share":
        return [x, ids], {"how": r.one("mean", "sqrt_n")}
    shape = r.shape(1, 2)
    if name == "gather_or_zero":
        return [r.normal(4, *r.shape(0, 2)), r.ids(5, *shape) - 1], {}
    x, ids, how = r.apart(*shape, *r.shape(0, 1)), r.ids(5, *shape) - 1, r.one("sum", "prod")
    if r.flag():
        # the extreme of no rows is as large as can be: here every segment has one
        ids, how = ids % 2, r.one("max", "min")
        ids.flat[-1], ids.flat[0] = 1, 0
    return [x, ids, ints(int(ids.max()) + 1 if how[0] == "m" else 4)], {"how": how}


@draws("top_k")
def top(r: Draw, name: str) -> Any:
    shape = r.shape(1)
    return [r.apart(*shape)], {"k": r.int(1, shape[-1])}, (0,)


@draws("dynamic_partition", "dynamic_stitch")
def partition(r: Draw, name: str) -> Any:
    shape, rest = r.shape(1, 2), r.shape(0, 2)
    if name == "dynamic_partition":
        return [r.normal(*shape, *rest), r.ids(3, *shape)], {"num_partitions": 3}
    # Places that are named twice take the last of their rows.
    kind = r.one(np.int32, np.int64)
    places = [r.ids(5, *r.shape(0, 2)).astype(kind) for _ in range(r.int(1, 3))]
    return [*places, *(r.normal(*p.shape, *rest) for p in places)], {}


@draws("reverse_sequence")
def backwards(r: Draw, name: str) -> Any:
    shape = r.shape(2)
    batch_axis, seq_axis = (int(a) for a in r.rng.permutation(len(shape))[:2])
    lengths = r.ids(shape[seq_axis] + 1, shape[batch_axis])
    return [r.normal(*shape), lengths], {"seq_axis": seq_axis, "batch_axis": batch_axis}


@draws("ctc_loss")
def sequence(r: Draw, name: str) -> Any:
    steps, rows, classes = r.int(4, 6), r.int(1, 3), r.int(3, 5)
    labels = [r.ids(classes - 1, r.int(1, 2)) for _ in range(rows)]
    places = [(i, j) for i, row in enumerate(labels) for j in range(len(row))]
    lengths = r.ids(steps - 3, rows) + ints(4)
    return [r.normal(steps, rows, classes), np.asarray(places, np.int64), np.concatenate(labels),
            lengths], {"merge": r.flag()}, (0,)  # fmt: skip


@draws("sparse_to_dense")
def sparse(r: Draw, name: str) -> Any:
    shape = r.shape(1)
    count = r.int(1, int(np.prod(shape)))
    flat = np.sort(r.rng.permutation(int(np.prod(shape)))[:count])
    places = np.stack(np.unravel_index(flat, shape), -1).astype(np.int64)
    return [places, ints(shape), r.normal(*r.one((), (count,))), r.normal()], {}


def parts(z: Any) -> list[Any]:
    return [st.real(z), st.imag(z)]


@draws("complex", "conj", "fft", "imag", "real")
def complex_numbers(r: Draw, name: str) -> Any:
    """Of z = x + iy, both parts of the result by both parts of z."""
    shape = r.shape(1)
    axes, inverse = r.int(1, len(shape)), r.flag()

    def build(x: Any, y: Any) -> Any:
        z = st.complex(x, y)
        if name == "fft":
            return parts(st.get_default_graph().apply("fft", z, axes=axes, inverse=inverse))
        if name == "conj":
            return parts(st.conj(z))
        return parts(z * z)  # so that one part depends on both

    return [r.normal(*shape), r.normal(*shape)], build


@draws(*(f"tensor_array_{n}" for n in ("write", "read", "stack", "unstack", "gather", "scatter",
                                       "concat", "split")))  # fmt: skip
def tensor_arrays(r: Draw, name: str) -> Any:
    """Rows in by one op and out by another; rows of `split` differ in length."""
    rows, rest = r.int(1, 4), r.shape(0, 2)
    order = r.rng.permutation(rows).tolist()
    again = r.ids(rows, r.int(1, 5)).tolist()
    lengths = ints(r.sizes(rows, 1, 3))
    flat = "split" in name or "concat" in name

    def build(x: Any) -> Any:
        array = st.TensorArray(st.float64, rows)
        if flat:
            array = array.split(x, lengths)
            return [array.concat(), array.read(again[0])]
        if name.endswith("write"):
            for i in order:
                array = array.write(i, x[i])
        elif name.endswith("scatter"):
            array = array.scatter(order, x)
        else:
            array = array.unstack(x)
        if name.endswith("read"):
            return [array.read(i) for i in again]
        return array.gather(again) if name.endswith("gather") else array.stack()

    return [r.normal(int(lengths.sum()) if flat else rows, *rest)], build


@draws("call", "cond", "while")
def flows(r: Draw, name: str) -> Any:
    shape, turns = r.shape(), r.int(0, 3)

    def build(x: Any, y: Any) -> Any:
        count = st.placeholder_with_default(np.int32(turns), [])
        if name == "call":
            function = st.Defun(st.float64, st.float64)(lambda a, b: (st.sin(a) * b, a + b * y))
            return function(function(x, y)[0], x)
        if name == "cond":
            return st.cond(count < 2, lambda: st.sin(x) * y, lambda: x + y * y)
        state = (st.constant(0), x)
        return st.while_loop(lambda i, v: i < count, lambda i, v: (i + 1, st.sin(v) * y), state)[1]

    return [r.normal(*shape), r.normal(*shape)], build
