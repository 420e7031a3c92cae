"""Which padding `space_to_batch_nd` needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_value, graph_of
from sw.graph.errors import InvalidArgumentError
from sw.graph.tensor import Tensor


def required_space_to_batch_paddings(
    input_shape: Any, block_shape: Any, base_paddings: Any = None, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(paddings, crops), int32 [M, 2]: the smallest paddings, of at least `base_paddings`, that
    make `input_shape` a multiple of `block_shape`, and the crops that undo what they added."""
    graph = graph_of((input_shape, block_shape))
    with graph.name_scope(name or "required_space_to_batch_paddings"):
        sizes, blocks = (graph.convert(v, graph.convert(np.int32(0)).dtype)
                         for v in (input_shape, block_shape))  # fmt: skip
        count = sizes.shape.num_elements()
        if count is None:
            raise InvalidArgumentError("the number of blocked axes must be known")
        base = np.zeros((count, 2), np.int32) if base_paddings is None else base_paddings
        given = graph.convert(base, sizes.dtype)
        static = [constant_value(t) for t in (sizes, blocks, given)]
        if all(v is not None for v in static):
            s, b, p = (np.asarray(v) for v in static)
            more = -(s + p.sum(1)) % b
            pads = np.stack([p[:, 0], p[:, 1] + more], 1).astype(np.int32)
            crops = np.stack([np.zeros_like(more), more], 1).astype(np.int32)
            return graph.convert(pads), graph.convert(crops)
        before, after = given[:, 0], given[:, 1]
        extra = apply("mod", -(sizes + before + after), blocks)
        zero = apply("zeros_like", extra)
        return (
            apply("stack", before, after + extra, axis=1),
            apply("stack", zero, extra, axis=1),
        )
