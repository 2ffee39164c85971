# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which contract engine this machine has: the library in the `zenroom` package, or a configured program."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_VERSION = re.compile(rb"Release version: v?([0-9A-Za-z][0-9A-Za-z.+_-]*)")
_PROBE_SECONDS = 20.0
_PROBE = b"\nR2l2ZW4gbm90aGluZwo=\n\n\n\n\n"
"""A run of ``Given nothing``: no configuration, the script, no keys, no data."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """A contract engine of this machine.

    Attributes:
        name: Name and version as in the chain parameter `contracts.engine`.
        path: The engine's library, or the program.
        is_program: Whether `path` is a `zencode-exec` program, started anew for every contract.
    """

    name: str
    path: Path
    is_program: bool

    @property
    def version(self) -> str:
        """``3.16.1``."""
        return self.name.partition(" ")[2]


def find_engine(program: str | None = None) -> EngineKind | None:
    """The engine that contracts would run in; no contract is run to find out.

    Args:
        program: Path of a `zencode-exec` program (setting `contracts.program`), asked for its version by an empty
            script. None: the library that the `zenroom` package brings.

    Returns:
        None where there is no such engine: no package, a program that is missing or says no version.
    """
    if not sys.platform.startswith("linux"):
        return None
    return _find_library() if program is None else _ask_program(Path(program).absolute())


def _find_library() -> EngineKind | None:
    try:
        version = metadata.version("zenroom")
    except metadata.PackageNotFoundError:
        return None
    package = importlib.util.find_spec("zenroom")
    if package is None or package.origin is None:
        return None
    libraries = sorted(Path(package.origin).parent.parent.glob("zenroom*.so"))
    return EngineKind(f"zenroom {version}", libraries[0], is_program=False) if libraries else None


def _ask_program(program: Path) -> EngineKind | None:
    if not (program.is_file() and os.access(program, os.X_OK)):
        return None
    with tempfile.TemporaryFile() as text:  # the program gives up where its input is not there at its start
        text.write(_PROBE)
        text.seek(0)
        try:
            done = subprocess.run([program], stdin=text, capture_output=True, timeout=_PROBE_SECONDS, env={})
        except (OSError, subprocess.TimeoutExpired):
            return None
    found = _VERSION.search(done.stderr)
    return EngineKind(f"zencode-exec {found[1].decode()}", program, is_program=True) if found else None
