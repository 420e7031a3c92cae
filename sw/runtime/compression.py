"""Transfers in 16 bits: a float32 on its way to another device is a bfloat16, rounded to nearest.

Lossy, as the papers on TensorFlow have it between devices: 8 bits of precision remain, a relative
error of at most 2^-8 for normal numbers. The exponent keeps its range; beyond bfloat16's largest
number, 3.39e38, rounding gives infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.compiler.partition import Plan
from sw.graph.dtypes import bfloat16, float32


def compressible(plan: Plan) -> frozenset[str]:
    """The keys of the float32 values that cross between two devices."""
    crossing = set(plan.transfers)
    return frozenset(
        op.attrs["key"]
        for part in plan.partitions
        for op in part.graph.get_operations()
        if op.type == "recv" and op.attrs["key"] in crossing and op.outputs[0].dtype is float32
    )


def narrow(value: Any) -> Any:
    """A float32 value as it travels: as bfloat16."""
    with np.errstate(all="ignore"):  # IEEE arithmetic, as in the kernels
        return value.astype(bfloat16.numpy)


def widen(value: Any) -> Any:
    """A value that travelled as bfloat16, as it is used: as float32."""
    with np.errstate(all="ignore"):
        return value.astype(float32.numpy)
