"""Every case in TensorFlow itself and here: values, dtypes, and what is refused.

    make compare-tensorflow

Runs in an environment of its own that has TensorFlow beside our few dependencies. Prints the
differences with their reasons and `equal/total`; fails if a difference has none.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow.compat.v1 as tf

import systolica as st
from tests.verification.tensorflow_cases import Case, cases

# (what differs, pattern of the case's name, why that is meant)
REASONS: tuple[tuple[str, str, str], ...] = (
    ("only TensorFlow refuses", r".*(float16|uint8|int32|int64|bool).*",
     "TensorFlow has no kernel for that type; the meaning is NumPy's"),
    ("only Systolica refuses", r".*(int32|int64|uint8|bool).*",
     "a function of real numbers takes floats here: cast first"),
    ("dtype", r"(divide|truediv) .*", "wider floats for integers, as NumPy"),
    ("dtype", r"losses\..*", "float64 stays float64; TensorFlow computes every loss in float32"),
    ("only TensorFlow refuses", r"i?r?fftnd",
     "TensorFlow has no kernel for the CPU; tests/graph/test_guards.py has NumPy's"),
    ("only TensorFlow refuses", r"total_variation", "arrays are taken as tensors"),
    ("value", r"(mod|floormod|truncatemod|floordiv|pow) .*", "undefined for 0, or overflow"),
    ("value", r".*(float16).*", "half precision is computed in float32 and rounded once"),
)  # fmt: skip


def outcome(case: Case, module: Any) -> Any:
    """The arrays of a case, or the error that it raises while building or running."""
    try:
        with module.Graph().as_default(), module.Session() as session:
            made = case(module)
            found = session.run(list(made) if isinstance(made, (tuple, list)) else [made])
            return [np.asarray(f) for f in found]
    except Exception as error:
        return error


def difference(ours: Any, theirs: Any) -> str | None:
    """What differs, None when nothing does. Two refusals are equal."""
    failed = isinstance(ours, Exception), isinstance(theirs, Exception)
    if all(failed):
        return None
    if any(failed):
        return "only Systolica refuses" if failed[0] else "only TensorFlow refuses"
    if [o.dtype for o in ours] != [t.dtype for t in theirs]:
        return "dtype"
    if [o.shape for o in ours] != [t.shape for t in theirs]:
        return "shape"
    for o, t in zip(ours, theirs, strict=True):
        loose = {"float16": 2e-3, "float64": 1e-6}.get(o.dtype.name, 2e-4)
        if o.dtype == np.bool_ or o.dtype.kind in "iu":
            if not np.array_equal(o, t):
                return "value"
        elif not np.allclose(o, t, rtol=loose, atol=loose, equal_nan=True):
            return "value"
    return None


def main() -> int:
    """Compare; the exit status."""
    tf.disable_eager_execution()
    table = cases()
    kinds: Counter[str] = Counter()
    unknown = 0
    for name, case in table:
        ours, theirs = outcome(case, st), outcome(case, tf)
        what = difference(ours, theirs)
        if what is None:
            kinds["both refuse" if isinstance(ours, Exception) else "equal"] += 1
            continue
        why = next((w for k, p, w in REASONS if k == what and re.fullmatch(p, name)), None)
        unknown += why is None
        kinds["with a reason" if why else "WITHOUT A REASON"] += 1
        shown = [str(v).splitlines()[0][:90] for v in (ours, theirs) if isinstance(v, Exception)]
        print(f"{name:28} {what:24} {why or 'NO REASON: ' + ' | '.join(shown or [''])}")
    same = kinds["equal"] + kinds["both refuse"]
    print(", ".join(f"{k}: {v}" for k, v in sorted(kinds.items())))
    print(f"equal to TensorFlow {tf.__version__}: {same}/{len(table)}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
