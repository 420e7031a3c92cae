"""Windows of convolutions and pools: ONNX's attributes as our strides and paddings."""

from __future__ import annotations

from typing import NamedTuple

from sw.graph.errors import ModelError
from sw.graph.onnx.node import Node
from sw.graph.shapes import Shape

Pairs = tuple[tuple[int, int], ...]


class Geometry(NamedTuple):
    """One entry per spatial axis. `same`: TensorFlow's SAME, whatever the size."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pairs
    same: bool

    @property
    def padding(self) -> str | Pairs:
        """As our two-dimensional ops take it."""
        if self.same:
            return "SAME"
        return self.pads if any(map(any, self.pads)) else "VALID"


def geometry(node: Node, kernel: tuple[int, ...], spatial: Shape | None) -> Geometry | None:
    """The geometry of the node's window over an image whose spatial sizes are `spatial`; None
    when it depends on a size that is not known."""
    rank = len(kernel)
    strides = tuple(node.attr("strides", (1,) * rank))
    dilations = tuple(node.attr("dilations", (1,) * rank))
    pads = tuple(node.attr("pads", (0,) * (2 * rank)))
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank:
        raise ModelError(
            f"strides {strides}, dilations {dilations}, pads {pads} do not fit a window of {kernel}"
        )
    if min((*strides, *dilations, *kernel)) < 1:
        raise ModelError(
            f"kernel {kernel}, strides {strides} and dilations {dilations} must be positive"
        )
    auto = node.attr("auto_pad", "NOTSET")
    pairs = tuple(zip(pads[:rank], pads[rank:], strict=True))
    if auto in ("NOTSET", ""):
        return Geometry(kernel, strides, dilations, pairs, False)
    if auto == "VALID":
        return Geometry(kernel, strides, dilations, ((0, 0),) * rank, False)
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise ModelError(f"auto_pad {auto!r} is not known")
    if auto == "SAME_UPPER" and rank == 2:
        return Geometry(kernel, strides, dilations, ((0, 0),) * rank, True)
    if spatial is None or not spatial.known:
        return None
    made = []
    for size, k, s, d in zip(spatial.sizes(), kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small = total // 2
        made.append((small, total - small) if auto == "SAME_UPPER" else (total - small, small))
    return Geometry(kernel, strides, dilations, tuple(made), False)


def with_ceiling(found: Geometry, spatial: Shape | None) -> Geometry | None:
    """`ceil_mode`: enough padding at the end for the last, partial window; None when the sizes
    are not known."""
    if spatial is None or not spatial.known:
        return None
    if found.same:
        return found
    pads = []
    for size, k, s, d, (before, after) in zip(
        spatial.sizes(), found.kernel, found.strides, found.dilations, found.pads, strict=True
    ):
        extent = (k - 1) * d + 1
        steps = -(-(size + before + after - extent) // s)
        if steps * s >= size + before:  # a window must start inside the image or its left padding
            steps -= 1
        pads.append((before, max(after, steps * s + extent - size - before)))
    return found._replace(pads=tuple(pads))
