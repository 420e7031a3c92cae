"""Einstein summation and tensor products over chosen axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _explicit(equation: str, count: int) -> tuple[list[str], str]:
    """The labels of each input and of the output; raises for what is not supported."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    letters = "".join(inputs)
    if not arrow:
        right = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if "." in text:
        raise InvalidArgumentError(f"einsum {equation!r}: ... is not supported")
    if len(inputs) != count:
        raise InvalidArgumentError(f"einsum {equation!r} is of {len(inputs)} inputs, not {count}")
    if not (letters + right).isalpha() and letters + right:
        raise InvalidArgumentError(f"einsum {equation!r}: labels are letters")
    for labels in (*inputs, right):
        if len(set(labels)) != len(labels):
            raise InvalidArgumentError(f"einsum {equation!r}: a label is repeated in {labels!r}")
    if not set(right) <= set(letters):
        raise InvalidArgumentError(f"einsum {equation!r}: the output has a label of no input")
    return inputs, right


def _type(inputs: tuple[Tensor, ...], equation: str) -> TensorType:
    labels, output = _explicit(equation, len(inputs))
    sizes: dict[str, int | None] = {}
    for tensor, names in zip(inputs, labels, strict=True):
        if tensor.shape.rank not in (None, len(names)):
            raise ShapeError(f"{names!r} needs rank {len(names)}, not shape {tensor.shape}")
        for label, size in zip(names, tensor.shape.dims or (None,) * len(names), strict=True):
            if sizes.get(label) is None:
                sizes[label] = size
            elif size is not None and size != sizes[label]:
                raise ShapeError(f"label {label!r} has sizes {sizes[label]} and {size}")
    return TensorType(inputs[0].dtype, Shape(tuple(sizes[c] for c in output)))


def _grad(op: Any, g: Tensor) -> list[Tensor]:
    labels, output = _explicit(op.attrs["equation"], len(op.inputs))
    grads = []
    for index, target in enumerate(labels):
        others = [
            (n, t) for i, (n, t) in enumerate(zip(labels, op.inputs, strict=True)) if i != index
        ]
        terms, operands = [output, *(n for n, _ in others)], [g, *(t for _, t in others)]
        have = set("".join(terms))
        alone = [c for c in target if c not in have]
        if alone:  # summed over here and nowhere else: the gradient repeats along it
            sizes = apply("shape", op.inputs[index])
            dims = apply("stack", *(sizes[target.index(c)] for c in alone), axis=0)
            operands.append(apply("fill", dims, np.ones((), g.dtype.numpy)))
            terms.append("".join(alone))
        grads.append(apply("einsum", *operands, equation=f"{','.join(terms)}->{target}"))
    return grads


register_op(
    "einsum",
    kernel=lambda xp, *values, equation: np.asarray(
        np.einsum(equation, *values, optimize=len(values) > 1), values[0].dtype
    ),
    infer=_type,
    gradient=_grad,
    attrs={"equation": REQUIRED},
    share_dtype=True,
    host_only=True,
    doc="Products of its inputs summed over the labels that the output does not have.",
)


def einsum(equation: str, *inputs: Any, name: str | None = None) -> Tensor:
    """`einsum("ij,jk->ik", a, b)`: letters only, none twice in one term."""
    graph = graph_of(inputs)
    values = [graph.convert(v) for v in inputs]
    left, right = _explicit(equation, len(values))
    out: Tensor = apply("einsum", *values, name=name, equation=f"{','.join(left)}->{right}")
    return out


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Sum over `axes`: a number n (the last n of `a` with the first n of `b`) or a pair of
    lists of axes. The ranks must be known."""
    graph = graph_of((a, b))
    x, y = graph.convert(a), graph.convert(b)
    if x.shape.rank is None or y.shape.rank is None:
        raise ShapeError("tensordot needs known ranks")
    if isinstance(axes, int):
        first = list(range(x.shape.rank - axes, x.shape.rank))
        second = list(range(axes))
    else:
        first, second = ([int(v) for v in np.atleast_1d(part)] for part in axes)
    if len(first) != len(second):
        raise ShapeError(f"axes {axes} do not pair")
    letters = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    left = [next(letters) for _ in range(x.shape.rank)]
    right = [next(letters) for _ in range(y.shape.rank)]
    for i, j in zip(first, second, strict=True):
        right[j] = left[i]
    summed = {left[i] for i in first}
    kept = [c for c in left + right if c not in summed]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", x, y, name=name)
