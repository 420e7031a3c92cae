"""Gradient cases of volumes, morphology, sparse tensors, special functions and CTC; see
`gradient_cases`."""

from typing import Any

import numpy as np

from tests.graph.case_values import apart, ints, normal, positive

SAME3 = {"strides": (2, 1, 1), "padding": "SAME"}
VALID3 = {"strides": (1, 2, 1), "padding": "VALID"}
POOL3 = {"ksize": (2, 2, 1), **SAME3}
PATCHES = {"ksize": (2, 3), "strides": (1, 2), "rates": (2, 1), "padding": "SAME"}
DILATION = {"strides": (1, 2), "rates": (1, 1), "padding": "SAME"}
COMPLEX = ("angle", "complex", "conj", "fft", "imag", "real")  # tested in test_complex
PLACES = np.asarray([[0, 1], [1, 0], [1, 2]], np.int64)
RESIZES: list[Any] = [
    ([normal(1, 5, 4, 2), ints(*size)], {"method": method, "align_corners": False})
    for size, method in (((3, 2), "area"), ((7, 3), "area"), ((3, 6), "bicubic"))
]

NETWORK_CASES: dict[str, list[Any]] = {
    "avg_pool3d": [([normal(1, 4, 3, 3, 2)], POOL3)],
    "avg_pool3d_grad": [([ints(1, 4, 3, 3, 2), normal(1, 2, 3, 3, 2)], POOL3)],
    "conv3d": [
        ([normal(1, 4, 3, 3, 2), normal(2, 2, 3, 2, 3)], SAME3),
        ([normal(2, 3, 4, 2, 1), normal(2, 2, 1, 1, 2)], VALID3),
    ],
    "conv3d_backprop_filter": [
        ([normal(1, 4, 3, 3, 2), ints(2, 2, 3, 2, 3), normal(1, 2, 3, 3, 3)], SAME3)
    ],
    "conv3d_backprop_input": [
        ([ints(1, 4, 3, 3, 2), normal(2, 2, 3, 2, 3), normal(1, 2, 3, 3, 3)], SAME3)
    ],
    "ctc_loss": [
        ([normal(5, 2, 4), np.asarray([[0, 0], [0, 1], [1, 0]], np.int64), ints(1, 1, 2),
          ints(5, 3)], {}, (0,)),
        ([normal(4, 1, 3), np.asarray([[0, 0], [0, 1]], np.int64), ints(1, 0), ints(4)],
         {"merge": False}, (0,)),
        ([normal(2, 2, 3), np.asarray([[0, 0], [1, 0], [1, 1]], np.int64), ints(1, 0, 0),
          ints(2, 2)], {"longer": True}, (0,)),
    ],
    "dilation2d": [([apart(1, 4, 5, 2), apart(2, 2, 2) * 0.013], DILATION)],
    "extract_image_patches": [([normal(1, 5, 4, 2)], PATCHES)],
    "extract_image_patches_grad": [([normal(1, 5, 2, 12), ints(1, 5, 4, 2)], PATCHES)],
    "extract_volume_patches": [([normal(1, 4, 3, 3, 2)], POOL3)],
    "extract_volume_patches_grad": [([normal(1, 2, 3, 3, 8), ints(1, 4, 3, 3, 2)], POOL3)],
    "fractional_pool": [
        ([apart(1, 5, 4, 2), np.asarray([0, 2, 3, 5]), np.asarray([0, 1, 4])],
         {"how": how, "overlapping": overlapping})
        for how in ("max", "mean") for overlapping in (False, True)
    ],
    "max_pool3d": [([apart(1, 4, 3, 3, 2)], POOL3)],
    "max_pool_with_argmax": [
        ([apart(1, 4, 5, 2)], {"ksize": (2, 2), "strides": (2, 1), "padding": "SAME"}, (0,))
    ],
    "resize": RESIZES,
    "sparse_to_dense": [
        ([PLACES, ints(2, 3), normal(3), normal()], {}),
        ([PLACES, ints(2, 3), normal(), np.float64(0)], {}),
    ],
}  # fmt: skip

# Differentiable in their last input alone: the others are lists, which count as constants.
LAST_INPUT: dict[str, list[Any]] = {
    "betainc": [([[2.0, 3.0], [1.5, 4.0], np.asarray([0.3, 0.6])], {})],
    "igamma": [([[0.5, 3.0], positive(2)], {})],
    "igammac": [([[0.5, 3.0], positive(2)], {})],
    "polygamma": [([[1.0, 2.0], positive(2)], {})],
    "zeta": [([[2.5, 4.0], positive(2)], {})],
}
NETWORK_CASES |= LAST_INPUT
