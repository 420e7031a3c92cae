"""Gradient cases of functions, running sums, segments, sorting, scattering and images; see
`gradient_cases`."""

from typing import Any

import numpy as np

from sw.graph.shapes import Shape
from tests.graph.case_values import apart, ints, normal, positive

INSIDE = np.asarray([[-0.7, 0.2, 0.5], [0.9, -0.1, 0.35]])
SORTED_IDS = ints(0, 0, 1, 3, 3)
ANY_IDS = ints([2, 0], [-1, 2])
RESIZES: list[Any] = [
    ([normal(1, 4, 3, 2), ints(*size)], {"method": method, "align_corners": align})
    for size, method, align in (
        ((7, 5), "bilinear", False),
        ((3, 4), "bilinear", True),
        ((6, 2), "nearest", False),
        ((5, 5), "nearest", True),
    )
]
LRN = {"depth_radius": 2, "bias": 1.5, "alpha": 0.7, "beta": 0.6}


def _running(x: Any) -> list[Any]:
    return [
        ([x], {"axis": axis, "exclusive": exclusive, "reverse": reverse})
        for axis, exclusive, reverse in ((0, False, False), (1, True, False), (-1, False, True),
                                         (0, True, True))
    ]  # fmt: skip


ARRAY_CASES: dict[str, list[Any]] = {
    **{name: [([INSIDE], {})] for name in ("acos", "asin", "atanh")},
    **{name: [([normal(2, 3)], {})] for name in ("asinh", "atan", "cosh", "erfc", "expm1", "sinh",
                                                 "tan")},
    "acosh": [([positive(2, 3) + 1], {})],
    "atan2": [([normal(2, 3), positive(3)], {}), ([normal(2, 1), normal(3)], {})],
    "cumprod": [*_running(normal(3, 4)), ([np.asarray([[2.0, 0.0, 3.0]])],
                {"axis": 1, "exclusive": False, "reverse": False})],
    "cumsum": _running(normal(3, 4)),
    "digamma": [([positive(2, 3)], {}), ([-positive(3) * 0.7], {})],
    "dynamic_slice": [([normal(4, 3), ints(1, 0), ints(2, 2)], {})],
    "gather_nd": [
        ([normal(3, 4, 2), ints([0, 3], [2, 1], [0, 3])], {}),
        ([normal(3, 2), ints([[1]], [[2]])], {}),
    ],
    "gather_or_zero": [([normal(4, 2), ints([3, -1], [0, 3])], {})],
    "gather_rows": [([normal(4, 2), ints(3, 0, 3)], {})],
    "lgamma": [([positive(2, 3)], {}), ([-positive(3) * 0.7], {})],
    "lrn": [([normal(2, 2, 1, 6)], LRN)],
    "print": [([normal(2)], {"first": 0})],
    "resize": RESIZES,
    "resize_grad": [
        ([normal(1, 7, 5, 2), ints(1, 4, 3, 2)], {"method": "bilinear", "align_corners": False})
    ],
    "reverse": [([normal(2, 3, 2)], {"axis": (0, 2)})],
    "reverse_sequence": [([normal(2, 4, 2), ints(3, 1)], {"seq_axis": 1, "batch_axis": 0})],
    "roll": [([normal(3, 4)], {"shift": (1, -2), "axis": (0, 1)})],
    "scatter_nd": [([ints([1], [0], [1]), normal(3, 2), ints(4, 2)], {})],
    "segment_reduce": [
        ([apart(5, 2), SORTED_IDS], {"how": how}) for how in ("sum", "mean", "prod", "max", "min")
    ],
    "segment_share": [([normal(5, 2), SORTED_IDS], {"how": h}) for h in ("mean", "sqrt_n")],
    "space_to_depth": [
        ([normal(1, 4, 6, 3)], {"block": 2, "inward": True}),
        ([normal(1, 2, 3, 8)], {"block": 2, "inward": False}),
    ],
    "tensor_scatter": [
        ([apart(3, 4), ints([0, 1], [2, 3]), apart(2) * 1.03], {"how": how})
        for how in ("update", "add", "sub", "min", "max")
    ] + [([apart(4, 2), ints([[3]], [[1]], [[3]]), apart(3, 1, 2) * 1.03], {"how": how})
         for how in ("add", "sub", "min", "max")],
    "ensure_shape": [([normal(2, 3)], {"shape": Shape([None, 3])})],
    "top_k": [([apart(3, 5)], {"k": 3}, (0,))],
    "unsorted_segment_reduce": [
        ([normal(2, 2, 3), ANY_IDS, ints(4)[0]], {"how": how}) for how in ("sum", "prod")
    ] + [([apart(2, 2, 3), ints([1, 0], [-1, 1]), ints(2)[0]], {"how": how})
         for how in ("max", "min")],
}  # fmt: skip
