"""Complex numbers: their parts, and Fourier transforms.

The gradient of a real loss with respect to a complex tensor z is dL/d(Re z) + i dL/d(Im z), as in
TensorFlow, so that a step against it goes downhill.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import as_dtype, complex64, complex128, float64
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.ops.helpers import shape_of
from sw.graph.ops.shaping import static_ints
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.shapes import broadcast, normalise_axis
from sw.graph.tensor import Tensor


def _complex_type(inputs: tuple[Tensor, ...]) -> TensorType:
    if inputs[0].dtype.name not in ("float32", "float64"):
        raise DTypeError(f"float32 or float64 parts are needed, not {inputs[0].dtype}")
    kind = complex128 if inputs[0].dtype is float64 else complex64
    return TensorType(kind, broadcast(inputs[0].shape, inputs[1].shape))


def _part_type(inputs: tuple[Tensor, ...]) -> TensorType:
    if not inputs[0].dtype.is_complex:
        raise DTypeError(f"complex numbers are needed, not {inputs[0].dtype}")
    return TensorType(inputs[0].dtype.real_dtype, inputs[0].shape)


def _to_complex(xp: Any, real: Any, imag: Any) -> Any:
    kind = np.complex128 if real.dtype == np.float64 else np.complex64
    return (real + 1j * imag).astype(kind)


def _zero(g: Tensor) -> Tensor:
    out: Tensor = apply("zeros_like", g)
    return out


def _sum_to(g: Tensor, like: Tensor) -> Tensor:
    if g.shape.known and g.shape == like.shape:
        return g
    out: Tensor = apply("sum_to_shape", g, shape_of(like))
    return out


register_op(
    "complex",
    kernel=_to_complex,
    infer=_complex_type,
    gradient=lambda op, g: [
        _sum_to(apply("real", g), op.inputs[0]),
        _sum_to(apply("imag", g), op.inputs[1]),
    ],
    share_dtype=True,
    host_only=True,
    doc="inputs[0] + i inputs[1].",
)
register_op(
    "real",
    kernel=lambda xp, z: z.real.copy(),
    infer=_part_type,
    gradient=lambda op, g: [apply("complex", g, _zero(g))],
    host_only=True,
    doc="The real part.",
)
register_op(
    "imag",
    kernel=lambda xp, z: z.imag.copy(),
    infer=_part_type,
    gradient=lambda op, g: [apply("complex", _zero(g), g)],
    host_only=True,
    doc="The imaginary part.",
)
register_op(
    "conj",
    kernel="conj",
    gradient=lambda op, g: [apply("conj", g)],
    host_only=True,
    doc="The complex conjugate.",
)
register_op(
    "angle",
    kernel=lambda xp, z: np.angle(z).astype(z.real.dtype),
    infer=_part_type,
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="The angle in (-pi, pi].",
)


def _transform_type(inputs: tuple[Tensor, ...], axes: int, inverse: bool) -> TensorType:
    if not inputs[0].dtype.is_complex:
        raise DTypeError(f"complex numbers are needed, not {inputs[0].dtype}; use st.cast")
    rank = inputs[0].shape.rank
    if rank is not None and rank < axes:
        raise ShapeError(f"{axes} axes to transform, but shape {inputs[0].shape}")
    return TensorType(inputs[0].dtype, inputs[0].shape)


def _transform(xp: Any, x: Any, axes: int, inverse: bool) -> Any:
    last = tuple(range(-axes, 0))
    return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=last).astype(x.dtype)


def _transform_grad(op: Any, g: Tensor) -> list[Tensor]:
    axes, inverse = op.attrs["axes"], op.attrs["inverse"]
    shape = op.inputs[0].shape
    if shape.dims is not None and None not in shape.dims[-axes:]:
        count: Any = float(np.prod([d for d in shape.dims[-axes:] if d is not None]))
    else:
        sizes = apply("shape", op.inputs[0])[-axes:]
        count = apply("cast", apply("reduce_prod", sizes), dtype=g.dtype)
    back = apply("fft", g, axes=axes, inverse=not inverse)
    return [back / count if inverse else back * count]


register_op(
    "fft",
    kernel=_transform,
    infer=_transform_type,
    gradient=_transform_grad,
    attrs={"axes": 1, "inverse": False},
    host_only=True,
    doc="The discrete Fourier transform over the last `axes` axes; the inverse divides by n.",
)


def complex_(real: Any, imag: Any, name: str | None = None) -> Tensor:
    """`real + i imag`: complex64 of float32, complex128 of float64."""
    out: Tensor = apply("complex", real, imag, name=name)
    return out


def _part(op: str, x: Any, name: str | None) -> Tensor:
    tensor = graph_of((x,)).convert(x)
    out: Tensor = apply(op, tensor, name=name) if tensor.dtype.is_complex else tensor
    return out


def real(input: Any, name: str | None = None) -> Tensor:
    """The real part; of a real tensor itself."""
    return _part("real", input, name)


def imag(input: Any, name: str | None = None) -> Tensor:
    """The imaginary part of a complex tensor, zeros for a real one."""
    tensor = graph_of((input,)).convert(input)
    if not tensor.dtype.is_complex:
        return _zero(tensor)
    return _part("imag", tensor, name)


def conj(x: Any, name: str | None = None) -> Tensor:
    """The complex conjugate; of a real tensor itself."""
    return _part("conj", x, name)


def angle(input: Any, name: str | None = None) -> Tensor:
    """The angle of each complex number."""
    out: Tensor = apply("angle", input, name=name)
    return out


def _public(name_: str, axes: int, inverse: bool) -> Any:
    def function(input: Any, name: str | None = None) -> Tensor:
        tensor = graph_of((input,)).convert(input)
        if tensor.dtype.is_floating:
            kind = as_dtype("complex128" if tensor.dtype is float64 else "complex64")
            tensor = apply("cast", tensor, dtype=kind)
        out: Tensor = apply("fft", tensor, name=name or name_, axes=axes, inverse=inverse)
        return out

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = (
        f"The {'inverse ' if inverse else ''}Fourier transform over the last "
        f"{axes if axes > 1 else ''} ax{'e' if axes > 1 else 'i'}s."
    )
    return function


def _chosen(tensor: Tensor, fft_length: Any, axes: Any, real: bool) -> tuple[list[int], list[int]]:
    """(the axes, counted from the front, and the length of each in the time domain)."""
    rank = tensor.shape.rank
    if rank is None:
        raise ShapeError(f"the rank of {tensor!r} must be known")
    given = range(rank) if axes is None else axes
    chosen = [normalise_axis(int(a), rank) for a in given]
    if len(set(chosen)) != len(chosen) or not chosen:
        raise ShapeError(f"axes {list(given)} are not different axes of shape {tensor.shape}")
    if fft_length is not None:
        lengths = [int(n) for n in static_ints(fft_length, "fft_length")]
        if len(lengths) != len(chosen):
            raise ShapeError(f"{len(lengths)} lengths for {len(chosen)} axes")
    else:
        known = [tensor.shape[a] for a in chosen]
        if None in known:
            raise ShapeError(f"fft_length is needed: {tensor.shape} is not known")
        lengths = [int(n or 0) for n in known]
        if real:
            lengths[-1] = 2 * (lengths[-1] - 1)
    return chosen, lengths


def _fitted(x: Tensor, axes: list[int], lengths: list[int]) -> Tensor:
    """`x` cut or filled with zeros to `lengths` along `axes`, and these moved to the end."""
    rank = len(x.shape)
    for axis, length in zip(axes, lengths, strict=True):
        have = x.shape[axis]
        if have is None:
            raise ShapeError(f"axis {axis} of {x!r} must be known")
        if have > length:
            x = apply("strided_slice", x, spec=(*[(None, None, None)] * axis, (0, length, None)))
        elif have < length:
            pads = [(0, length - have) if a == axis else (0, 0) for a in range(rank)]
            x = apply("pad", x, paddings=tuple(pads))
    others = [a for a in range(rank) if a not in axes]
    out: Tensor = apply("transpose", x, perm=(*others, *axes))
    return out


def _back_in_place(x: Tensor, axes: list[int]) -> Tensor:
    rank = len(x.shape)
    order = [a for a in range(rank) if a not in axes] + axes
    out: Tensor = apply("transpose", x, perm=tuple(order.index(a) for a in range(rank)))
    return out


def _complex(tensor: Tensor) -> Tensor:
    if tensor.dtype.is_complex:
        return tensor
    kind = complex128 if tensor.dtype is float64 else complex64
    out: Tensor = apply("cast", tensor, dtype=kind)
    return out


def _any_axes(name_: str, inverse: bool) -> Any:
    def function(
        input: Any, fft_length: Any = None, axes: Any = None, name: str | None = None
    ) -> Tensor:
        graph = graph_of((input,))
        with graph.name_scope(name or name_):
            tensor = _complex(graph.convert(input))
            chosen, lengths = _chosen(tensor, fft_length, axes, False)
            ready = _fitted(tensor, chosen, lengths)
            out = apply("fft", ready, axes=len(chosen), inverse=inverse)
            return _back_in_place(out, chosen)

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = (
        f"The {'inverse ' if inverse else ''}Fourier transform over `axes` (default: all), each "
        "cut or filled with zeros to its `fft_length` first."
    )
    return function


fftnd, ifftnd = _any_axes("fftnd", False), _any_axes("ifftnd", True)


def rfftnd(input: Any, fft_length: Any = None, axes: Any = None, name: str | None = None) -> Tensor:
    """`fftnd` of real numbers; of the last of `axes` only the first n // 2 + 1 elements, the others
    being their conjugates."""
    graph = graph_of((input,))
    with graph.name_scope(name or "rfftnd"):
        tensor = graph.convert(input)
        if not tensor.dtype.is_floating:
            raise DTypeError(f"real numbers are needed, not {tensor.dtype}")
        chosen, lengths = _chosen(tensor, fft_length, axes, False)
        ready = _complex(_fitted(tensor, chosen, lengths))
        whole = apply("fft", ready, axes=len(chosen), inverse=False)
        half = apply("strided_slice", whole, spec=("...", (0, lengths[-1] // 2 + 1, None)))
        return _back_in_place(half, chosen)


def irfftnd(
    input: Any, fft_length: Any = None, axes: Any = None, name: str | None = None
) -> Tensor:
    """The inverse of `rfftnd`: real numbers; the default length of the last axis is even."""
    graph = graph_of((input,))
    with graph.name_scope(name or "irfftnd"):
        tensor = graph.convert(input)
        if not tensor.dtype.is_complex:
            raise DTypeError(f"complex numbers are needed, not {tensor.dtype}")
        chosen, lengths = _chosen(tensor, fft_length, axes, True)
        last = lengths[-1]
        half = _fitted(tensor, chosen, [*lengths[:-1], last // 2 + 1])
        if len(chosen) > 1:
            # the other axes as complex numbers first; then each row is half of a symmetric one
            rank = len(half.shape)
            moved = _back_in_place(half, chosen)
            half = _fitted(moved, chosen[:-1], lengths[:-1])
            half = apply("fft", half, axes=len(chosen) - 1, inverse=True)
            half = _back_in_place(half, chosen[:-1])
            order = [a for a in range(rank) if a not in chosen] + chosen
            half = apply("transpose", half, perm=tuple(order))
        mirrored = apply("strided_slice", half, spec=("...", (1, (last + 1) // 2, None)))
        axis = len(half.shape) - 1
        mirrored = apply("reverse", apply("conj", mirrored), axis=(axis,))
        whole = apply("concat", half, mirrored, axis=axis)
        out = apply("real", apply("fft", whole, axes=1, inverse=True))
        return _back_in_place(out, chosen)


fft, ifft = _public("fft", 1, False), _public("ifft", 1, True)
fft2d, ifft2d = _public("fft2d", 2, False), _public("ifft2d", 2, True)
fft3d, ifft3d = _public("fft3d", 3, False), _public("ifft3d", 3, True)
