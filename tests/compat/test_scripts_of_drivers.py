# SPDX-License-Identifier: AGPL-3.0-or-later
"""What docs/contracts.md says about scripts and the published drivers is what these do."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.compat import environments
from tests.compat.environments import PythonEnvironment

HERE = Path(__file__).resolve().parent
PAGE = (environments.ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.timeout(1200)  # the first test may have to build the environment

ENGINE = """\
#!/bin/sh
cat >/dev/null
echo '{"output":["ok"]}'
"""
"""A program under the name that newer releases of `zenroom` start; the answer is that of the script."""


def fulfilled(environment: PythonEnvironment, path: str | None = None) -> str:
    environment.prepare()
    package = environment.name.partition("-")[0]
    variables = {**os.environ, "PATH": path or os.environ["PATH"]}
    command = [str(environment.python), str(HERE / "programs" / "script_through_fulfill.py"), package]
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    "environment",
    [environments.BIGCHAINDB_062, environments.PLANETMINT_094, environments.PLANETMINT_0111],
    ids=lambda one: one.name,
)
def test_python_drivers_of_version_2_drop_a_script_when_they_sign(environment: PythonEnvironment) -> None:
    assert fulfilled(environment) == "dropped"


def test_python_driver_of_version_3_needs_a_program_to_sign_a_script_and_changes_it_then(tmp_path: Path) -> None:
    assert fulfilled(environments.PLANETMINT_0185, str(tmp_path)) == "FileNotFoundError"
    program = tmp_path / "zencode-exec"
    program.write_text(ENGINE)
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert fulfilled(environments.PLANETMINT_0185, path) == "changed"


def test_every_driver_that_is_tested_is_in_the_chapter() -> None:
    section = PAGE.split("## With the published drivers")[1].split("\n## ")[0]
    for name in environments.ALL:
        driver, _, version = name.removeprefix("js-").removeprefix("java-").rpartition("-")
        assert driver in section, name
        assert version in section, name
