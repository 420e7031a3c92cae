"""Where in the user's program an operation was made.

`caller()` is called once per operation, so it only walks frames and takes two fields; text is
made when an error needs it.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_OURS = (os.path.join(_ROOT, "sw") + os.sep, os.path.join(_ROOT, "systolica.py"))
_CONTEXTLIB = os.sep + "contextlib.py"


class Source(NamedTuple):
    """A line of a file; prints as `file:line`."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


UNKNOWN = Source("<unknown>", 0)


def caller() -> Source:
    """The nearest frame outside Systolica, or `UNKNOWN`."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_OURS) and not file.endswith(_CONTEXTLIB):
            return Source(file, frame.f_lineno)
        back = frame.f_back
        if back is None:
            break
        frame = back
    return UNKNOWN
