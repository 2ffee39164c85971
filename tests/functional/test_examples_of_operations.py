# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands of docs/operations.md, typed one after the other beside a node."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from planetmint.testing.build import Builder, Dialect
from tests.support.node import NodeProcess

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def script() -> str:
    """All lines that a reader is shown to type, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return "\n".join(line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ "))


def test_the_commands_of_the_page_about_operations_run_as_they_stand(tmp_path: Path) -> None:
    lines = script()
    assert all(f"planetmint {name}" in lines for name in ("status", "verify", "backup", "restore"))
    with NodeProcess(tmp_path / "node") as node:
        for number in range(5):
            made = Builder(Dialect.BIGCHAINDB).create("alice", data={"number": number})
            url = f"{node.base_url}/api/v1/transactions?mode=commit"
            assert httpx.post(url, content=made.canonical, trust_env=False).status_code == 202
        env = node.environment()
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        typed = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", _beside(lines)],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=250,
        )
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert "The blocks 0 to 5 are in `ledger.backup`." in typed.stdout
    assert "The blocks 0 to 3 of the chain" in typed.stdout


def _beside(lines: str) -> str:
    """The node that runs answers to `status`, also where the page tells of one that does not."""
    away = "export PLANETMINT_SERVER_BIND=127.0.0.1:9"
    return lines.replace("\nplanetmint --yes drop", f"\n{away}\nplanetmint --yes drop")
