"""Fourier transforms and what goes with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel

Array = Any


def _complex(x: Array) -> Array:
    """[..., 1] or [..., 2] as complex numbers."""
    wide = np.complex128 if x.dtype == np.float64 else np.complex64
    return x[..., 0].astype(wide) if x.shape[-1] == 1 else (x[..., 0] + 1j * x[..., 1])


def _pairs(z: Array, kind: Any) -> Array:
    return np.stack([z.real, z.imag], -1).astype(kind)


@kernel("DFT")
def dft(
    x: Array,
    length: Array = None,
    along: Array = None,
    *,
    axis: Any = None,
    inverse: int = 0,
    onesided: int = 0,
    opset: int,
) -> Array:
    if along is not None:
        at = int(np.reshape(along, ()))
    else:
        at = (1 if opset < 20 else -2) if axis is None else int(axis)
    at = at % x.ndim  # the last axis holds real and imaginary part
    count = x.shape[at] if length is None else int(np.reshape(length, ()))
    if inverse and onesided:  # a half spectrum of real values
        count = 2 * (count - 1) if length is None else count
        real = np.fft.irfft(_complex(x), count, axis=at)
        return real[..., None].astype(x.dtype)
    z = (np.fft.ifft if inverse else np.fft.fft)(_complex(x), count, axis=at)
    if onesided:
        z = np.take(z, np.arange(count // 2 + 1), axis=at)
    return _pairs(z, x.dtype)


@kernel("STFT")
def stft(
    signal: Array, step: Array, window: Array = None, length: Array = None, *, onesided: int = 1
) -> Array:
    hop = int(np.reshape(step, ()))
    size = int(np.reshape(length, ())) if length is not None else len(window)
    shape = np.ones(size, signal.dtype) if window is None else window
    wave = _complex(signal if signal.ndim == 3 else signal[..., None])
    count = (wave.shape[1] - size) // hop + 1
    frames = np.stack([wave[:, i * hop : i * hop + size] * shape for i in range(count)], 1)
    z = np.fft.fft(frames, axis=-1)
    if onesided:
        z = z[..., : size // 2 + 1]
    return _pairs(z, signal.dtype)


@kernel("MelWeightMatrix")
def mel_weight_matrix(
    bins: Array,
    length: Array,
    rate: Array,
    low: Array,
    high: Array,
    *,
    output_datatype: int = 1,
    types: Any,
) -> Array:
    """Triangles, evenly spaced on the mel scale, over the bins of a spectrum."""
    count, size = int(bins), int(length)
    spectrum = size // 2 + 1

    def mel(hertz: float) -> float:
        return 2595 * float(np.log10(1 + hertz / 700))

    # the standard's step is a part in count + 2, not in count + 1
    first, last = mel(float(low)), mel(float(high))
    edges = first + np.arange(count + 2) * (last - first) / (count + 2)
    # whole bins of the spectrum
    hertz = 700 * (10 ** (edges / 2595) - 1)
    places = np.floor((size + 1) * hertz / int(rate)).astype(np.int64)
    out = np.zeros((spectrum, count))
    for i in range(count):
        left, top, right = places[i : i + 3]
        rising, falling = top - left, right - top
        for j in range(left, min(top + 1, spectrum) if rising else left):
            out[j, i] = (j - left) / rising
        if rising == 0 and top < spectrum:
            out[top, i] = 1
        for j in range(top, min(right, spectrum)):
            out[j, i] = (right - j) / falling
    return out.astype(types[0].dtype.numpy)
