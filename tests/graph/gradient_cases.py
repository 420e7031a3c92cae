"""One or more cases per differentiable op: float64 inputs are differentiated, others are constant.

A case is (inputs, attrs) or (inputs, attrs, outputs): only `outputs` are summed into the loss
(the second output of a fused loss is its own gradient and is not differentiated).
"""

from typing import Any

import numpy as np

from tests.graph.array_cases import ARRAY_CASES
from tests.graph.case_values import apart, ints, normal, positive
from tests.graph.matrix_cases import MATRIX_CASES
from tests.graph.network_cases import NETWORK_CASES

CONV = {"strides": (2, 1), "padding": "SAME", "dilations": (1, 1)}
DILATED = {"strides": (1, 1), "padding": ((1, 0), (2, 1)), "dilations": (2, 1)}
VALID = {"strides": (1, 2), "padding": "VALID", "dilations": (1, 1)}
POOL = {"ksize": (2, 3), "strides": (2, 1), "padding": "SAME"}
POOL_VALID = {"ksize": (2, 2), "strides": (1, 2), "padding": "VALID"}
ONE_HOT = np.eye(4)[[1, 3, 0]]
MIXED = np.asarray([[0.2, 0.3, 0.1, 0.4]] * 3)


def _broadcasting(left: Any, right: Any) -> list[Any]:
    return [
        ([left(2, 3), right(2, 3)], {}),
        ([left(2, 3), right(3)], {}),
        ([left(2, 1, 3), right(4, 1)], {}),
        ([left(), right(2)], {}),
    ]


_PLAIN: list[Any] = [([normal(2, 3)], {})]
_POSITIVE: list[Any] = [([positive(2, 3)], {})]
_KINKED: list[Any] = [([apart(3, 4)], {})]
_AXES: list[Any] = [
    ([apart(2, 3, 2)], {"axis": None, "keepdims": False}),
    ([apart(2, 3, 2)], {"axis": (1,), "keepdims": False}),
    ([apart(2, 3, 2)], {"axis": (0, -1), "keepdims": True}),
]

CASES: dict[str, list[Any]] = {
    "abs": _KINKED,
    "add": _broadcasting(normal, normal),
    "add_n": [([normal(2, 3), normal(2, 3), normal(2, 3)], {})],
    "avg_pool": [([normal(2, 5, 4, 2)], POOL), ([normal(1, 4, 5, 2)], POOL_VALID)],
    "avg_pool_grad": [([ints(1, 4, 4, 2), normal(1, 2, 4, 2)], POOL)],
    "bias_add": [([normal(2, 3, 4), normal(4)], {})],
    "broadcast_to": [([normal(3, 1), ints(2, 3, 4)], {})],
    "cast": [([normal(2, 3)], {"dtype": "float64"})],
    "check_numerics": [([normal(3)], {"message": "bad"})],
    "concat": [([normal(2, 3), normal(2, 1), normal(2, 2)], {"axis": 1})],
    "conv2d": [
        ([normal(2, 5, 4, 3), normal(3, 2, 3, 2)], CONV),
        ([normal(1, 5, 4, 2), normal(2, 3, 2, 3)], DILATED),
        ([normal(1, 4, 6, 2), normal(2, 3, 2, 2)], VALID),
        ([normal(2, 3, 3, 2), normal(1, 1, 2, 4)], {"strides": (1, 1), "padding": "SAME"}),
    ],
    "conv2d_backprop_filter": [([normal(1, 5, 4, 2), ints(3, 2, 2, 2), normal(1, 3, 4, 2)], CONV)],
    "conv2d_backprop_input": [([ints(1, 5, 4, 2), normal(3, 2, 2, 2), normal(1, 3, 4, 2)], CONV)],
    "cos": _PLAIN,
    "depthwise_conv2d": [
        ([normal(2, 5, 4, 3), normal(3, 2, 3, 2)], CONV),
        ([normal(1, 5, 4, 2), normal(2, 3, 2, 1)], DILATED),
    ],
    "depthwise_conv2d_backprop_filter": [
        ([normal(1, 5, 4, 2), ints(3, 2, 2, 2), normal(1, 3, 4, 4)], CONV)
    ],
    "depthwise_conv2d_backprop_input": [
        ([ints(1, 5, 4, 2), normal(3, 2, 2, 2), normal(1, 3, 4, 4)], CONV)
    ],
    "div": _broadcasting(normal, positive),
    "elu": _KINKED,
    "erf": _PLAIN,
    "exp": _PLAIN,
    "expand_dims": [([normal(2, 3)], {"axis": 1})],
    "fill": [([ints(2, 3), normal()], {})],
    "gather": [
        ([normal(4, 3), ints(0, 2, 2)], {"axis": 0}),
        ([normal(2, 4, 3), ints([0, 3], [3, 1])], {"axis": 1}),
    ],
    "gather_grad": [([normal(3, 2), ints(0, 2, 2), ints(4, 2)], {"axis": 0})],
    "gelu": [([normal(2, 3)], {"approximate": False}), ([normal(2, 3)], {"approximate": True})],
    "identity": _PLAIN,
    "l2_loss": _PLAIN,
    "log": _POSITIVE,
    "log1p": _POSITIVE,
    "log_softmax": [([normal(3, 4)], {"axis": -1}), ([normal(3, 4)], {"axis": 0})],
    "matmul": [
        ([normal(2, 3), normal(3, 4)], {"transpose_a": False, "transpose_b": False}),
        ([normal(3, 2), normal(3, 4)], {"transpose_a": True, "transpose_b": False}),
        ([normal(2, 3), normal(4, 3)], {"transpose_a": False, "transpose_b": True}),
        ([normal(3, 2), normal(4, 3)], {"transpose_a": True, "transpose_b": True}),
        ([normal(2, 2, 3), normal(3, 4)], {"transpose_a": False, "transpose_b": False}),
        ([normal(2, 1, 3, 2), normal(3, 4, 3)], {"transpose_a": True, "transpose_b": True}),
    ],
    "max_pool": [([apart(2, 5, 4, 2)], POOL), ([apart(1, 4, 5, 2)], POOL_VALID)],
    "maximum": _broadcasting(apart, normal),
    "mean_share": [([normal(2), np.zeros((2, 3), np.float32)], {})],
    "minimum": _broadcasting(apart, normal),
    "mod": [([positive(2, 3) + 3, np.full(3, 2.6)], {})],
    "mul": _broadcasting(normal, normal),
    "neg": _PLAIN,
    "mirror_pad_grad": [
        ([normal(5, 7)], {"paddings": ((1, 1), (2, 0)), "mode": mode})
        for mode in ("REFLECT", "SYMMETRIC")
    ],
    "pad": [
        ([normal(2, 3)], {"paddings": ((1, 0), (2, 3))}),
        ([normal(3, 4)], {"paddings": ((2, 1), (0, 3)), "mode": "REFLECT"}),
        ([normal(3, 4)], {"paddings": ((3, 1), (0, 4)), "mode": "SYMMETRIC"}),
    ],
    "placeholder_with_default": [([normal(2, 3)], {"shape": (2, 3)})],
    "pow": _broadcasting(positive, normal),
    "reciprocal": _POSITIVE,
    "reduce_max": _AXES,
    "reduce_mean": _AXES,
    "reduce_min": _AXES,
    "reduce_prod": [
        ([normal(2, 3)], {"axis": None, "keepdims": False}),
        ([np.asarray([[1.5, 0.0, 2.0], [3.0, 1.0, 0.5]])], {"axis": (1,), "keepdims": True}),
    ],
    "reduce_sum": _AXES,
    "relu": _KINKED,
    "relu6": _KINKED,
    "relu6_grad": [([normal(3, 4), np.float32(apart(3, 4))], {})],
    "relu_grad": [([normal(3, 4), np.float32(apart(3, 4))], {})],
    "reshape": [([normal(2, 3), ints(3, -1)], {})],
    "rsqrt": _POSITIVE,
    "sigmoid": _PLAIN,
    "sin": _PLAIN,
    "softmax": [([normal(3, 4)], {"axis": -1}), ([normal(3, 4)], {"axis": 0})],
    "softmax_cross_entropy": [
        ([normal(3, 4), ONE_HOT.astype(np.float64)], {}, (0,)),
        ([normal(3, 4), MIXED], {}, (0,)),
    ],
    "softplus": _PLAIN,
    "softsign": _KINKED,
    "sparse_softmax_cross_entropy": [([normal(3, 4), ints(1, 3, 0)], {}, (0,))],
    "split": [([normal(2, 6)], {"axis": 1, "sizes": (1, 3, 2)})],
    "sqrt": _POSITIVE,
    "square": _PLAIN,
    "squared_difference": _broadcasting(normal, normal),
    "squeeze": [([normal(1, 3, 1)], {"axis": None}), ([normal(1, 3, 1)], {"axis": (0,)})],
    "stack": [([normal(2, 3), normal(2, 3)], {"axis": 1})],
    "strided_slice": [
        ([normal(4, 5)], {"spec": ((1, None, 2), -2)}),
        ([normal(4, 5)], {"spec": (None, "...", (None, None, -1))}),
    ],
    "strided_slice_grad": [([normal(2), ints(4, 3)], {"spec": ((1, None, 2), 1)})],
    "sub": _broadcasting(normal, normal),
    "sum_to_shape": [([normal(2, 3, 4), ints(3, 1)], {})],
    "tanh": _PLAIN,
    "tile": [([normal(2, 3)], {"multiples": (2, 3)})],
    "tile_grad": [([normal(4, 9), ints(2, 3)], {"multiples": (2, 3)})],
    "transpose": [([normal(2, 3, 4)], {"perm": (2, 0, 1)})],
    "unstack": [([normal(3, 2)], {"axis": 0, "num": 3})],
    "where": [([np.asarray([True, False, True]), normal(2, 3), normal(3)], {})],
}
CASES |= MATRIX_CASES | ARRAY_CASES
for _name, _cases in NETWORK_CASES.items():
    CASES[_name] = CASES.get(_name, []) + _cases
