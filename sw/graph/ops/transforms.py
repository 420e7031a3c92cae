"""Fourier transforms over any axes, each cut or filled with zeros first; of real numbers too."""

from __future__ import annotations

from typing import Any

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import complex64, complex128, float64
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.ops.shaping import static_ints
from sw.graph.shapes import normalise_axis
from sw.graph.tensor import Tensor


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
