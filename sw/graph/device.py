"""Device names in TensorFlow's manner, with parts left out: "/job:worker/task:1/gpu:0", "/tpu:0".

A `DeviceSpec` is a partial name; `merge` lets an inner scope override an outer one part by part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from sw.graph.errors import InvalidArgumentError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A partial device name; a part that is None constrains nothing. `kind` is lower case."""

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    kind: str | None = None
    index: int | None = None

    def merge(self, inner: DeviceSpec) -> DeviceSpec:
        """This (outer) name with every part that `inner` gives replaced.

        A kind takes its index with it: "/gpu:1" under "/cpu:0" is gpu 1, "/gpu" is any gpu.
        """
        kind, index = (self.kind, self.index)
        if inner.kind is not None:
            index = inner.index if inner.kind != kind or inner.index is not None else index
            kind = inner.kind
        return DeviceSpec(
            self.job if inner.job is None else inner.job,
            self.replica if inner.replica is None else inner.replica,
            self.task if inner.task is None else inner.task,
            kind,
            index,
        )

    def matches(self, other: DeviceSpec) -> bool:
        """Whether the complete name `other` satisfies every part given here."""
        return all(
            getattr(self, f.name) is None or getattr(self, f.name) == getattr(other, f.name)
            for f in fields(self)
        )

    def __str__(self) -> str:
        text = ""
        if self.job is not None:
            text += f"/job:{self.job}"
        if self.replica is not None:
            text += f"/replica:{self.replica}"
        if self.task is not None:
            text += f"/task:{self.task}"
        if self.kind is not None:
            text += f"/{self.kind}:{'*' if self.index is None else self.index}"
        return text


def parse(text: Any) -> DeviceSpec:
    """The `DeviceSpec` that `text` names ("" names nothing).

    Raises `InvalidArgumentError` that shows the name, the part that is wrong and the right form.
    """
    if isinstance(text, DeviceSpec):
        return text
    if not isinstance(text, str):
        raise InvalidArgumentError(f"a device name is a string, not {text!r}")
    found: dict[str, Any] = {}

    def put(key: str, value: Any, part: str) -> None:
        if key in found:
            raise _malformed(text, part, f"names its {key} twice")
        found[key] = value

    body = text[1:] if text.startswith("/") else text
    if not body:
        if text == "/":
            raise _malformed(text, text, "is empty")
        return DeviceSpec()
    for part in body.split("/"):
        pieces = part.split(":")
        head = pieces[0].lower()
        if head in ("job", "replica", "task"):
            if len(pieces) != 2:
                raise _malformed(text, part, f"should be {head}:VALUE")
            if head == "job":
                if not _NAME.match(pieces[1]):
                    raise _malformed(text, part, "needs a name after job:")
                put("job", pieces[1], part)
            else:
                put(head, _number(text, part, pieces[1]), part)
            continue
        if head == "device":
            pieces = pieces[1:]
        if not 1 <= len(pieces) <= 2 or not _NAME.match(pieces[0]):
            raise _malformed(text, part, "is not KIND:NUMBER")
        put("kind", pieces[0].lower(), part)
        if len(pieces) == 2 and pieces[1] != "*":
            put("index", _number(text, part, pieces[1]), part)
    return DeviceSpec(**found)


def _number(text: str, part: str, digits: str) -> int:
    if not digits.isascii() or not digits.isdigit():
        raise _malformed(text, part, f"needs a number, not {digits!r}")
    return int(digits)


def _malformed(text: str, part: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"malformed device name {text!r}: {part!r} {why}; "
        "a device looks like /cpu:0, /tpu:0 or /job:worker/task:1/gpu:0"
    )
