"""What this machine has for Systolica and what it lacks, with the command that installs it."""

from collections.abc import Sequence

from rich.table import Table

from sim.rtl.toolchain import Tool, find_tools

__all__ = ["Tool", "as_json", "check", "healthy", "table"]


def check() -> list[Tool]:
    """Every tool in the order of use; a missing one says why and how to install it."""
    return find_tools()


def healthy(tools: Sequence[Tool]) -> bool:
    """Whether everything required is there; optional tools do not count."""
    return all(tool.found or not tool.required for tool in tools)


def table(tools: Sequence[Tool]) -> Table:
    """For people: one row for each tool."""
    result = Table(box=None, pad_edge=False)
    for heading in ("", "tool", "for", "found, or how to install"):
        result.add_column(heading)
    for tool in tools:
        if tool.found:
            mark, text = "[green]ok[/]", tool.version or tool.path or ""
        else:
            mark = "[red]missing[/]" if tool.required else "[yellow]optional[/]"
            text = f"{tool.missing}; install: {tool.install}"
        result.add_row(mark, tool.name, tool.purpose, text)
    return result


def as_json(tools: Sequence[Tool]) -> dict[str, object]:
    """For machines: `ok` and one object for each tool."""
    fields = ("name", "path", "version", "purpose", "missing", "install", "required")
    return {
        "ok": healthy(tools),
        "tools": [{field: getattr(tool, field) for field in fields} for tool in tools],
    }
