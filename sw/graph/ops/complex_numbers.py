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
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.shapes import broadcast
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


fft, ifft = _public("fft", 1, False), _public("ifft", 1, True)
fft2d, ifft2d = _public("fft2d", 2, False), _public("ifft2d", 2, True)
fft3d, ifft3d = _public("fft3d", 3, False), _public("ifft3d", 3, True)
