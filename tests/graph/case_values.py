"""Random values that the gradient cases are made of."""

from typing import Any

import numpy as np

RNG = np.random.default_rng(20240611)


def normal(*shape: int) -> Any:
    """Normally distributed float64."""
    return np.asarray(RNG.standard_normal(shape))


def positive(*shape: int) -> Any:
    """Values in [0.5, 2)."""
    return RNG.uniform(0.5, 2, shape)


def apart(*shape: int) -> Any:
    """Values no two of which are close, and none close to 0 or 6: no ties, no kinks."""
    count = int(np.prod(shape))
    return (RNG.permutation(count) - count / 2 + 0.37).reshape(shape) * 0.71


def ints(*values: Any) -> Any:
    """An int32 array."""
    return np.asarray(values, np.int32)
