"""Gradient of ai.onnx.preview.training, by our own symbolic gradients."""

from __future__ import annotations

from typing import Any

from sw.graph.errors import ModelError
from sw.graph.gradients import gradients
from sw.graph.onnx.node import Node
from sw.graph.onnx.registry import TRAINING, handles


@handles("Gradient", domain=TRAINING)
def gradient(node: Node) -> Any:
    """d y / d x for each x named by `xs`, at the values that the model gives them."""
    names, target = node.attr("xs", ()), node.attr("y")
    if len(names) + len(node.attr("zs", ())) != len(node) or not names:
        raise ModelError(f"xs {list(names)} and zs do not name its {len(node)} inputs")
    y = node.scope.find(target).plain(node.graph)
    xs = [node.scope.find(name).plain(node.graph) for name in names]
    found = gradients([y], xs)
    return [node.make("zeros_like", x) if g is None else g for x, g in zip(xs, found, strict=True)]
