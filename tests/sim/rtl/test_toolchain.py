"""A missing tool must be named in one line with the command that installs it."""

from pathlib import Path

import pytest

from sim.rtl import toolchain
from sw import doctor


def test_this_machine_can_build() -> None:
    tools = doctor.check()
    assert doctor.healthy(tools), [t.missing for t in tools if not t.found]
    assert doctor.table(tools).row_count == len(tools)
    assert doctor.as_json(tools)["ok"] is True


def test_empty_path_names_each_missing_tool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    toolchain.compiler.cache_clear()
    try:
        tools = {tool.name: tool for tool in doctor.check()}
        assert not doctor.healthy(list(tools.values()))
        for name in ("c++", "make", "perl", "ar"):
            assert not tools[name].found
            assert "apt-get install" in (tools[name].install or "")
            with pytest.raises(toolchain.ToolMissing, match="install it with"):
                toolchain.require(tools[name])
    finally:
        toolchain.compiler.cache_clear()
