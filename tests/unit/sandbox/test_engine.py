# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which engine a machine has (issue: The engine's choice): the library of the package, a program, or none."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from planetmint.sandbox import EngineKind, find_engine


def _program(folder: Path, text: str) -> str:
    path = folder / "zencode-exec"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_library_of_the_package_is_found_with_its_version() -> None:
    kind = find_engine()
    assert kind is not None
    assert kind.name == f"zenroom {metadata.version('zenroom')}" == f"zenroom {kind.version}"
    assert kind.path.is_file()
    assert not kind.is_program


def test_finding_the_library_does_not_load_it() -> None:
    sys.modules.pop("zenroom", None)
    assert find_engine() is not None
    assert "zenroom" not in sys.modules


def test_no_package_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert find_engine() is None


def test_other_systems_than_linux_have_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert find_engine() is None
    assert find_engine("/bin/sh") is None


def test_program_is_asked_for_its_version_with_its_input_ready(tmp_path: Path) -> None:
    text = "#!/bin/sh\nread conf; read script; echo \"$script\" >&2; echo ' Release version: v4.37.2' >&2\n"
    program = _program(tmp_path, text)
    assert find_engine(program) == EngineKind("zencode-exec 4.37.2", Path(program), is_program=True)


@pytest.mark.parametrize("text", ["#!/bin/sh\n", "#!/bin/sh\necho Release version: v1 \n", "no program\n"])
def test_program_that_says_no_version_is_no_engine(tmp_path: Path, text: str) -> None:
    assert find_engine(_program(tmp_path, text)) is None


def test_program_that_is_missing_or_may_not_be_run_is_no_engine(tmp_path: Path) -> None:
    program = Path(_program(tmp_path, "#!/bin/sh\n"))
    program.chmod(0o644)
    assert find_engine(str(program)) is None
    assert find_engine(str(tmp_path / "missing")) is None
    assert find_engine(str(tmp_path)) is None
