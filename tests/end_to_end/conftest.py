"""The command line as fixtures: what a user would see of a run, in this process."""

import json
import sys

import pytest

import sw.cli


@pytest.fixture
def systolica(monkeypatch, capsys):
    """Runs the command line in this process: (exit status, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["systolica", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            sw.cli.main()
        shown = capsys.readouterr()
        return stop.value.code or 0, shown.out, shown.err

    return run


@pytest.fixture
def ok(systolica):
    """The JSON object of a command that must succeed."""

    def run(*arguments):
        status, out, err = systolica(*arguments, "--json")
        assert status == 0, err
        assert len(out.splitlines()) == 1
        return json.loads(out)

    return run


@pytest.fixture
def refused(systolica):
    """The one line of a command that must fail, without "error: "."""

    def run(*arguments, status=1):
        found, out, err = systolica(*arguments)
        assert (found, out) == (status, "")
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run
