"""What a command has to say, to machines and to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.table import Table


class CommandError(Exception):
    """The user asked for what cannot be; one line says why."""


@dataclass(frozen=True)
class Answer:
    """`data` is the JSON object, `shown` what people read instead; `ok`: exit status 0."""

    data: dict[str, Any]
    shown: Sequence[RenderableType]
    ok: bool = True


def facts(rows: Sequence[tuple[str, str]]) -> Table:
    """Two columns: what, and how much."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def listing(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> str:
    """Columns as wide as they need to be, for no terminal to fold; `right`: flush right."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for heading, cell, width in zip(headings, cells, widths, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join(map(line, (headings, *rows)))
