"""Calibration: from the values that a tensor takes to the range that its int8 codes cover.

`minmax` covers every value, `percentile` all but the outermost share, `mse` the range with the
least mean squared error of quantisation. All see the data once, through a histogram whose bins
are powers of two wide, so that the result does not depend on the order of the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from sw.graph.errors import InvalidArgumentError

METHODS = ("minmax", "percentile", "mse")
SIDE_BINS = 1 << 14
"""Bins on either side of zero: at least 64 to an int8 step of the whole range."""
SHRINKS = np.concatenate([np.linspace(1, 0.5, 26), np.geomspace(0.48, 0.01, 24)])
"""Shares of the whole range that `mse` tries on either side."""


class Histogram:
    """Counts of the values of one tensor, with their lowest and highest."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.width = 0.0
        self.counts = np.zeros(2 * SIDE_BINS, np.int64)

    def add(self, values: Any) -> None:
        """Count `values`; NaN and infinity only show in `low` and `high`."""
        real = np.asarray(values, np.float32).ravel()
        if not real.size:
            return
        low, high = float(np.min(real)), float(np.max(real))
        # np.minimum, unlike min, lets NaN through, to be reported
        self.low, self.high = float(np.minimum(self.low, low)), float(np.maximum(self.high, high))
        reach = max(-low, high)
        if not np.isfinite(reach) or not reach:
            self.counts[SIDE_BINS] += real.size if reach == 0 else 0
            return
        width = float(np.ldexp(1.0, int(np.frexp(reach / SIDE_BINS)[1])))
        self._widen(width)
        bins = np.floor(real / np.float32(self.width)).astype(np.int64) + SIDE_BINS
        self.counts += np.bincount(bins, minlength=2 * SIDE_BINS)

    def _widen(self, width: float) -> None:
        while self.width < width:
            if not self.width:
                # what was counted so far was zero, which lies in the same bin of any width
                self.width = width
                return
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros_like(self.counts)
            self.counts[SIDE_BINS // 2 : -SIDE_BINS // 2] = pairs
            self.width *= 2

    def points(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Centres of the bins that hold something, and how many values each holds."""
        used = np.flatnonzero(self.counts)
        centres = (used - SIDE_BINS + 0.5) * self.width
        return np.clip(centres, self.low, self.high), self.counts[used]

    def range(self, method: str, percentile: float) -> tuple[float, float]:
        """The range by one of `METHODS`; `percentile` is the share kept, from 50 to 100."""
        whole = (self.low, self.high)
        if method == "minmax" or not self.width or not np.isfinite(whole).all():
            return whole
        return self._percentile(percentile) if method == "percentile" else self._least_squares()

    def _percentile(self, kept: float) -> tuple[float, float]:
        values, counts = self.points()
        below = np.cumsum(counts)
        cut = (100 - kept) / 200 * below[-1]
        low = values[np.searchsorted(below, cut, "right")] if cut else self.low
        above = np.cumsum(counts[::-1])
        high = values[::-1][np.searchsorted(above, cut, "right")] if cut else self.high
        return float(low), float(high)

    def _least_squares(self) -> tuple[float, float]:
        values, counts = self.points()

        def best(candidates: list[tuple[float, float]]) -> tuple[float, float]:
            errors = [squared_error(values, counts, *candidate) for candidate in candidates]
            return candidates[int(np.argmin(errors))]

        low, high = best([(self.low * s, self.high * s) for s in SHRINKS])
        low, high = best([(low, high), *((low, self.high * s) for s in SHRINKS)])
        return best([(low, high), *((self.low * s, high) for s in SHRINKS)])


def squared_error(
    values: NDArray[np.float64], counts: NDArray[np.int64], low: float, high: float
) -> float:
    """Sum over `values`, each taken `counts` times, of the squared error of int8 over a range."""
    scale, zero_point = numerics.activation_quantization(low, high)
    step = float(scale)
    codes = np.clip(np.rint(values / step), -128 - zero_point, 127 - zero_point)
    return float(np.sum(counts * (codes * step - values) ** 2))


def check(method: str, percentile: float) -> None:
    """Raises `InvalidArgumentError` for what no calibration knows."""
    if method not in METHODS:
        raise InvalidArgumentError(f"method {method!r}: should be one of {', '.join(METHODS)}")
    if not 50 < percentile <= 100:
        raise InvalidArgumentError(f"percentile {percentile}: should be above 50, at most 100")
