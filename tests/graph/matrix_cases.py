"""Gradient cases of linear algebra; see `gradient_cases`."""

from typing import Any

import numpy as np

from tests.graph.case_values import ints, normal

DOUBLE = normal(2, 3, 3) + 4 * np.eye(3)
SINGLE = normal(3, 3) + 4 * np.eye(3)
POSITIVE = SINGLE @ SINGLE.T
SPREAD = np.diag([1.0, 3.0, 6.0]) + 0.3 * normal(3, 3)

MATRIX_CASES: dict[str, list[Any]] = {
    "cholesky": [([POSITIVE], {}), ([np.stack([POSITIVE, POSITIVE + np.eye(3)])], {})],
    "dynamic_partition": [
        ([normal(5, 2), ints(1, 0, 2, 1, 1)], {"num_partitions": 3}),
        ([normal(2, 3), ints([0, 1, 0], [1, 1, 0])], {"num_partitions": 2}),
    ],
    "dynamic_stitch": [
        ([ints(2, 0), ints([1, 3]), normal(2, 3), normal(1, 2, 3)], {}),
        ([ints(2, 0, 2), ints([1, 2]), normal(3, 3), normal(1, 2, 3)], {}),
    ],
    "einsum": [
        ([normal(2, 3), normal(3, 4)], {"equation": "ij,jk->ik"}),
        ([normal(2, 3, 4), normal(2, 4)], {"equation": "bij,bj->bi"}),
        ([normal(2, 3), normal(4)], {"equation": "ij,k->kj"}),
        ([normal(2, 3, 2)], {"equation": "ijk->j"}),
        ([normal(2), normal(3), normal(2, 3)], {"equation": "i,j,ij->"}),
    ],
    "matrix_band_part": [([normal(2, 3, 4)], {"lower": 1, "upper": 0})],
    "matrix_determinant": [([SINGLE], {}), ([DOUBLE], {})],
    "matrix_diag": [([normal(2, 3)], {})],
    "matrix_diag_part": [([normal(2, 3, 4)], {}), ([normal(4, 3)], {})],
    "matrix_inverse": [([SINGLE], {}), ([DOUBLE], {})],
    "matrix_set_diag": [([normal(2, 3, 4), normal(2, 3)], {})],
    "matrix_solve": [
        ([DOUBLE, normal(2, 3, 2)], {"adjoint": False}),
        ([SINGLE, normal(3, 2)], {"adjoint": True}),
    ],
    "matrix_square_root": [([POSITIVE], {}), ([np.stack([POSITIVE, SPREAD @ SPREAD.T])], {})],
    "matrix_triangular_solve": [
        ([SINGLE, normal(3, 2)], {"lower": lower, "adjoint": adjoint})
        for lower in (True, False)
        for adjoint in (True, False)
    ],
    "qr": [([SINGLE], {}), ([normal(4, 3) + 3 * np.eye(4, 3)], {})],
    "self_adjoint_eig": [([SPREAD], {})],
    "svd": [([SPREAD], {"full_matrices": False}, (0,)),
            ([normal(2, 4, 3)], {"full_matrices": False}, (0,))],
    "swap_axes": [([normal(2, 3, 4)], {})],
}  # fmt: skip
