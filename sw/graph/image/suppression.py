"""Non-maximum suppression: of boxes that overlap, the one with the best score stays.

A box is [y1, x1, y2, x2] by any two opposite corners.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import apply, constant_value, register_op
from sw.graph.dtypes import int32
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.helpers import require_rank
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

_NO_SCORE = float("-inf")
Similarity = Callable[[int, int], float]


def _areas(boxes: Any) -> Similarity:
    """Intersection over union of two boxes by their numbers."""
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    area = np.prod(high - low, 1)

    def similarity(a: int, b: int) -> float:
        if area[a] <= 0 or area[b] <= 0:
            return 0.0
        side = np.minimum(high[a], high[b]) - np.maximum(low[a], low[b])
        shared = float(max(side[0], 0) * max(side[1], 0))
        return shared / float(area[a] + area[b] - shared)

    return similarity


def _select(
    similarity: Similarity, scores: Any, most: int, threshold: float, least: float, sigma: float
) -> tuple[list[int], list[float]]:
    """(numbers, scores) of those that stay, best first. With `sigma` an overlap lowers a score by
    exp(-overlap^2 / (2 sigma)) in place of removing it (Bodla et al., "Soft-NMS", ICCV 2017)."""
    queue = [(-float(s), i, 0) for i, s in enumerate(scores) if s > least]
    heapq.heapify(queue)
    kept: list[int] = []
    values: list[float] = []
    while queue and len(kept) < most:
        negative, at, begin = heapq.heappop(queue)
        score, gone = -negative, False
        for other in reversed(kept[begin:]):  # those that came since it was last looked at
            overlap = similarity(at, other)
            if not sigma and overlap > threshold:
                gone = True
                break
            if sigma:
                score *= float(np.exp(-0.5 / sigma * overlap * overlap))
            if score <= least:
                break
        if gone:
            continue
        if score == -negative:
            kept.append(at)
            values.append(score)
        elif score > least:
            heapq.heappush(queue, (-score, at, len(kept)))
    return kept, values


def _suppress(
    xp: Any, boxes: Any, scores: Any, most: Any, threshold: float, least: float, sigma: float,
    overlaps: bool,
) -> Any:  # fmt: skip
    if len(boxes) != len(scores):
        raise InvalidArgumentError(f"{len(scores)} scores for {len(boxes)} boxes")
    similarity: Similarity = (lambda a, b: float(boxes[a, b])) if overlaps else _areas(boxes)
    kept, values = _select(similarity, scores, int(most), threshold, least, sigma)
    return np.asarray(kept, np.int32), np.asarray(values, scores.dtype)


def _suppress_type(inputs: tuple[Tensor, ...], overlaps: bool, **attrs: Any) -> list[TensorType]:
    require_rank(inputs[0], 2, "the overlaps [N, N]" if overlaps else "the boxes [N, 4]")
    require_rank(inputs[1], 1, "the scores [N]")
    wide = inputs[0].shape.dims[1] if inputs[0].shape.dims else None
    if not overlaps and wide not in (None, 4):
        raise ShapeError(f"a box has 4 numbers: shape {inputs[0].shape}")
    inputs[0].shape[:1].merge(inputs[1].shape)
    return [TensorType(int32, Shape((None,))), TensorType(inputs[1].dtype, Shape((None,)))]


register_op(
    "non_max_suppression",
    kernel=_suppress,
    infer=_suppress_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"threshold": 0.5, "least": _NO_SCORE, "sigma": 0.0, "overlaps": False},
    host_only=True,
    doc="The boxes with the best scores that overlap no better one by more than the threshold, and "
    "their scores.",
)


def _combined(
    xp: Any, boxes: Any, scores: Any, per_class: int, total: int, threshold: float, least: float,
    pad: bool, clip: bool,
) -> Any:  # fmt: skip
    batch, _, classes = scores.shape
    size = min(total, per_class * classes) if pad else total
    out = (
        np.zeros((batch, size, 4), boxes.dtype),
        np.zeros((batch, size), scores.dtype),
        np.zeros((batch, size), scores.dtype),
        np.zeros(batch, np.int32),
    )
    for image in range(batch):
        found: list[tuple[float, int, int]] = []
        for number in range(classes):
            own = boxes[image, :, number if boxes.shape[2] > 1 else 0]
            kept, values = _select(
                _areas(own), scores[image, :, number], per_class, threshold, least, 0.0
            )
            found += [(v, number, at) for v, at in zip(values, kept, strict=True)]
        found = sorted(found, key=lambda item: -item[0])[:size]
        for place, (value, number, at) in enumerate(found):
            box = boxes[image, at, number if boxes.shape[2] > 1 else 0]
            out[0][image, place] = np.clip(box, 0, 1) if clip else box
            out[1][image, place], out[2][image, place] = value, number
        out[3][image] = len(found)
    return out


def _combined_type(
    inputs: tuple[Tensor, ...], per_class: int, total: int, pad: bool, **attrs: Any
) -> list[TensorType]:
    require_rank(inputs[0], 4, "the boxes [batch, N, classes or 1, 4]")
    require_rank(inputs[1], 3, "the scores [batch, N, classes]")
    batch, _, classes = inputs[1].shape.dims or (None,) * 3
    size: int | None = total
    if pad:
        size = None if classes is None else min(total, per_class * classes)
    kind = inputs[1].dtype
    return [
        TensorType(inputs[0].dtype, Shape((batch, size, 4))),
        TensorType(kind, Shape((batch, size))),
        TensorType(kind, Shape((batch, size))),
        TensorType(int32, Shape((batch,))),
    ]


register_op(
    "combined_non_max_suppression",
    kernel=_combined,
    infer=_combined_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs=dict.fromkeys(("per_class", "total", "threshold", "least", "pad", "clip"), REQUIRED),
    host_only=True,
    doc="Suppression class by class over a batch; the best of all classes: boxes, scores, classes, "
    "how many.",
)


def _checked(value: float, what: str) -> float:
    if not 0 <= value <= 1:
        raise InvalidArgumentError(f"{what} {value} is not in [0, 1]")
    return float(value)


def non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: float = 0.5,
    score_threshold: float = _NO_SCORE,
    name: str | None = None,
) -> Tensor:
    """int32 positions of at most `max_output_size` boxes, by falling score, none of which overlaps
    an earlier one with an intersection over union above `iou_threshold`; only boxes with a score
    above `score_threshold` count."""
    return non_max_suppression_with_scores(
        boxes, scores, max_output_size, iou_threshold, score_threshold, 0.0, name
    )[0]


def non_max_suppression_with_scores(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: float = 0.5,
    score_threshold: float = _NO_SCORE,
    soft_nms_sigma: float = 0.0,
    name: str | None = None,
) -> list[Tensor]:
    """(positions as of `non_max_suppression`, their scores). With `soft_nms_sigma` above 0 an
    overlap lowers the score of a box (which the results show) instead of removing it."""
    if soft_nms_sigma < 0:
        raise InvalidArgumentError(f"soft_nms_sigma {soft_nms_sigma} is negative")
    how = {
        "threshold": _checked(iou_threshold, "iou_threshold"),
        "least": float(score_threshold),
        "sigma": float(soft_nms_sigma),
    }
    out: list[Tensor] = apply(
        "non_max_suppression", boxes, scores, max_output_size, name=name, **how
    )
    return out


def non_max_suppression_padded(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: float = 0.5,
    score_threshold: float = _NO_SCORE,
    pad_to_max_output_size: bool = False,
    name: str | None = None,
) -> tuple[Tensor, Tensor]:
    """(positions as of `non_max_suppression`, how many). With `pad_to_max_output_size` zeros follow
    up to `max_output_size`."""
    found = non_max_suppression(
        boxes, scores, max_output_size, iou_threshold, score_threshold, name
    )
    count = apply("size", found)
    if pad_to_max_output_size:
        size = found.op.graph.convert(max_output_size, int32)
        rest = apply("fill", apply("stack", size - count, axis=0), np.int32(0))
        found = apply("concat", found, rest, axis=0)
        known = constant_value(max_output_size)
        found.set_shape([None if known is None else int(known)])
    return found, count


def non_max_suppression_overlaps(
    overlaps: Any,
    scores: Any,
    max_output_size: Any,
    overlap_threshold: float = 0.5,
    score_threshold: float = _NO_SCORE,
    name: str | None = None,
) -> Tensor:
    """`non_max_suppression` of things whose `overlaps` [N, N] are given."""
    how = {"threshold": float(overlap_threshold), "least": float(score_threshold)}
    out: list[Tensor] = apply(
        "non_max_suppression", overlaps, scores, max_output_size, name=name, overlaps=True, **how
    )
    return out[0]


def combined_non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_size_per_class: int,
    max_total_size: int,
    iou_threshold: float = 0.5,
    score_threshold: float = _NO_SCORE,
    pad_per_class: bool = False,
    clip_boxes: bool = True,
    name: str | None = None,
) -> list[Tensor]:
    """(boxes [batch, M, 4], scores [batch, M], classes [batch, M], how many [batch]) that stay when
    each class is suppressed by itself, the best of all classes first, zeros after them.

    `boxes`: [batch, N, classes, 4], or [batch, N, 1, 4] for all classes; `scores`: [batch, N,
    classes]. M is `max_total_size`; with `pad_per_class` at most `max_output_size_per_class` times
    the classes. `clip_boxes` cuts boxes at 0 and 1.
    """
    if max_output_size_per_class < 1 or max_total_size < 1:
        raise InvalidArgumentError("the sizes of the output must be positive")
    out: list[Tensor] = apply(
        "combined_non_max_suppression",
        boxes,
        scores,
        name=name,
        per_class=int(max_output_size_per_class),
        total=int(max_total_size),
        threshold=_checked(iou_threshold, "iou_threshold"),
        least=float(score_threshold),
        pad=bool(pad_per_class),
        clip=bool(clip_boxes),
    )
    return out
