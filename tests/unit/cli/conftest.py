# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs command lines in this process, with an environment and a home folder of their own."""

import io
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from planetmint.cli.main import run


class Outcome(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str


Planetmint = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a configuration file; no setting is in the environment."""
    for name in list(os.environ):
        if name.startswith(("PLANETMINT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Puts logging back as it was: `start` sets it up for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def planetmint(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Planetmint:
    """`planetmint("-y", "configure", answers="y\\n")` runs that command line."""

    def _run(*arguments: str, answers: str = "") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return _run
