"""Where the parts of a replicated model stand: variables on parameter servers, the rest on a
worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sw.graph.device import parse
from sw.graph.errors import InvalidArgumentError
from sw.graph.operation import Operation

_STATE = ("variable",)


def replica_device_setter(
    ps_tasks: int = 0,
    ps_device: str = "/job:ps",
    worker_device: str = "/job:worker",
    merge_devices: bool = True,
    cluster: Any = None,
    ps_ops: Any = None,
    ps_strategy: Callable[[Operation], int] | None = None,
) -> Callable[[Operation], str] | None:
    """A function for `st.device`: variables go to `ps_device`, its `ps_tasks` tasks in turn (or as
    `ps_strategy` says), everything else to `worker_device`. What an inner scope asks for stays.

    `cluster`: a dict from jobs to lists of addresses, of which the job of `ps_device` tells
    `ps_tasks`. None without parameter servers.
    """
    if cluster is not None:
        spec = cluster.as_dict() if hasattr(cluster, "as_dict") else cluster
        if not isinstance(spec, Mapping):
            raise InvalidArgumentError(f"cluster should be a dict from jobs to tasks: {cluster!r}")
        ps_tasks = len(spec.get(parse(ps_device).job or "ps", ()))
    if ps_tasks == 0:
        return None
    kinds = tuple(ps_ops or _STATE)
    following = iter(range(1 << 62))
    choose = ps_strategy or (lambda op: next(following) % ps_tasks)

    def where(op: Operation) -> str:
        chosen = parse(worker_device)
        if op.type in kinds:
            chosen = parse(f"{ps_device}/task:{choose(op)}")
        return str(chosen.merge(parse(op.device)))

    return where
