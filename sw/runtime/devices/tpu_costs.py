"""What an op costs on the TPU: the cycles of its program in the timing model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sw.compiler.partition import Partition
from sw.compiler.tpu.support import LINEAR, QLINEAR
from sw.graph.errors import OpError
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.state import Container
from sw.runtime.config import SessionConfig
from sw.runtime.devices.cpu_costs import sizes
from sw.runtime.devices.tpu import TpuDevice


class TpuCosts:
    """Seconds of matrix products and convolutions, each simulated once per set of sizes."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = replace(config, tpu="timing", verify=False, profile=False)
        self._second = 1e6 * config.tpu_clock_mhz
        self._known: dict[Any, float | None] = {}

    def seconds(self, op: Operation) -> float | None:
        """Of one run of a product; None for what is done at the border, or does not fit."""
        if op.type not in (*LINEAR, *QLINEAR):
            return None
        key = (op.type, str(op.attrs), *(sizes(t) for t in op.inputs))
        if key not in self._known:
            try:
                self._known[key] = self._cycles(op) / self._second
            except OpError:
                self._known[key] = None
        return self._known[key]

    def _cycles(self, op: Operation) -> int:
        """Of the op as a program of its own, on zeros."""
        graph = Graph()
        tensors, keys, values = [], [], []
        for at, tensor in enumerate(op.inputs):
            if tensor.op.type == "const":
                tensors.append(graph.copy_op(tensor.op, (), ()).outputs[tensor.index])
                continue
            attrs = {"dtype": tensor.dtype, "shape": sizes(tensor), "key": str(at)}
            tensors.append(graph.create_op("recv", (), attrs, f"recv/{at}").outputs[0])
            keys.append(str(at))
            values.append(np.zeros(sizes(tensor), tensor.dtype.numpy))
        made = graph.copy_op(op, tuple(tensors), ())
        graph.create_op("send", (made.outputs[0],), {"key": "y"}, "send/y")
        graph.finalize()
        device = TpuDevice("/tpu:0", self._config, Container())
        try:
            partition = Partition("/tpu:0", graph, tuple(keys), ("y",), ())
            device.compile(partition).run(values)
            return sum(report.cycles or 0 for report in device.reports())
        finally:
            device.close()
