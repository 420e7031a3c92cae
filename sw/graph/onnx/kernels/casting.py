"""Cast between all element types, text included."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from sw.graph.dtypes import as_dtype, string
from sw.graph.onnx.registry import kernel
from sw.graph.onnx.types import element_type

Array = Any
_WITHOUT_INFINITY = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz", "float4_e2m1fn")


def cast_array(x: Array, kind: Any, saturate: bool = True, up: str = "up") -> Array:
    """`x` as NumPy dtype `kind`. Narrow floats saturate at their largest number, or become
    infinite or NaN, as `saturate` says."""
    x, kind = np.asarray(x), np.dtype(kind)
    name = kind.name
    if x.dtype == kind:
        return x
    if kind == np.object_:
        return _to_text(x)
    if x.dtype == np.object_:
        return _from_text(x, kind)
    if name == "float8_e8m0fnu":
        return _to_e8m0(x.astype(np.float32), kind, saturate, up)
    if name.startswith(("float8", "float4")):
        return _to_narrow(x, kind, saturate)
    if name in ("int4", "uint4", "int2", "uint2"):
        bits = int(name[-1])
        whole = x.astype(np.float32) if as_dtype(x.dtype).is_floating else x
        low = whole.astype(np.int64) & (1 << bits) - 1
        if name[0] == "i":
            low = np.where(low >> bits - 1, low - (1 << bits), low)
        return low.astype(np.int8).astype(kind)
    if (
        as_dtype(x.dtype).name.startswith(
            ("float8", "float4", "bfloat16", "int4", "uint4", "int2", "uint2")
        )
        and kind.kind in "iub"
    ):
        return x.astype(np.float32).astype(kind)
    return x.astype(kind)


def _to_narrow(x: Array, kind: Any, saturate: bool) -> Array:
    wide = x.astype(np.float32)
    out = wide.astype(kind)
    if not saturate and kind.name != "float4_e2m1fn":
        return out
    largest = np.float32(ml_dtypes.finfo(kind).max)
    clipped = np.clip(wide, -largest, largest)
    # an infinity saturates too, except that NaN stays NaN
    out = np.where(np.isnan(wide), wide, clipped).astype(kind)
    return out


def _to_e8m0(x: Array, kind: Any, saturate: bool, up: str) -> Array:
    """Powers of two, 2**-127 to 2**127: the exponent of `x`, rounded up, down or to nearest."""
    bits = np.abs(x).view(np.uint32).astype(np.int64)
    exponent, fraction = bits >> 23, bits & (1 << 23) - 1
    if up == "up":
        step = fraction > 0
        step &= ~((exponent == 0) & (fraction <= 1 << 22)) if saturate else step
    elif up == "nearest":
        step = fraction >= 1 << 22
    else:
        step = np.zeros(bits.shape, bool)
    code = exponent + step
    code = np.where(np.isnan(x), 255, np.minimum(code, 254 if saturate else 255))
    return code.astype(np.uint8).view(kind)


def _to_text(x: Array) -> Array:
    def show(value: Any) -> str:
        if isinstance(value, (bool, np.bool_)):
            return str(bool(value))
        if isinstance(value, (int, np.integer)):
            return str(int(value))
        number = float(value)
        if np.isnan(number):
            return "NaN"
        if np.isinf(number):
            return "INF" if number > 0 else "-INF"
        return f"{value:.8g}" if isinstance(value, np.floating) else f"{number:.8g}"

    flat = [show(v) for v in x.ravel()]
    return np.asarray(flat, np.object_).reshape(x.shape)


def _from_text(x: Array, kind: Any) -> Array:
    texts = [t.decode() if isinstance(t, bytes) else t for t in x.ravel()]
    if kind.kind in "iu":
        numbers: Any = np.asarray([int(t) for t in texts])
    elif kind.kind == "b":
        numbers = np.asarray([t not in ("", "0", "False", "false") for t in texts])
    else:
        numbers = np.asarray([float(t) for t in texts])
    return cast_array(numbers.reshape(x.shape), kind)


@kernel("Cast")
def cast(x: Array, *, to: int, saturate: int = 1, round_mode: str = "up") -> Array:
    return cast_array(x, element_type(to).numpy, bool(saturate), round_mode)


@kernel("CastLike")
def cast_like(x: Array, target: Array, *, saturate: int = 1, round_mode: str = "up") -> Array:
    target = np.asarray(target)
    kind = string.numpy if target.dtype.kind in "USO" else target.dtype
    return cast_array(x, kind, bool(saturate), round_mode)


@kernel("BitCast")
def bit_cast(x: Array, *, to: int) -> Array:
    return np.asarray(x).view(element_type(to).numpy)
