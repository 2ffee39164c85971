# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts within the hardening of the systemd unit, which is played without systemd: needs root.

Its list of system calls is applied as the unit states it, namespaces are forbidden, processes are hidden, and the
node is not root.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/planetmint.service"
SMALL = """Given nothing
When I create the random object of '16' bytes
Then print the 'random object'
"""
GREEDY = """Given nothing
When I create the array of '200000' random objects
Then print the 'array'
"""

_INSIDE = """
import errno, os, sys
import pyseccomp

allowed = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
for name in sys.argv[1].split(","):
    try:
        allowed.add_rule(pyseccomp.ALLOW, name)
    except (OSError, RuntimeError, ValueError):
        pass  # a call of another machine's kind
allowed.load()
os.execv(sys.executable, [sys.executable, "-m", "planetmint", *sys.argv[2:]])
"""


def calls() -> set[str]:
    """The system calls that the unit leaves to its service."""
    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        for name in line.removeprefix("~").split():
            named = members(name)
            allowed = allowed - named if line.startswith("~") else allowed | named
    # RestrictNamespaces; threads and processes are made without it.
    return allowed - {"unshare", "setns"}


def members(name: str) -> set[str]:
    """A call, or those of a group, as the service manager of this machine knows it."""
    if not name.startswith("@"):
        return {name}
    shown = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in shown.stdout.splitlines()[1:]]
    return set().union(*(members(line) for line in lines if line and not line.startswith("#")))


def within_the_unit(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `planetmint` as the unit would."""
    command = [sys.executable, "-c", _INSIDE, ",".join(sorted(calls() | members("@default"))), *arguments]
    # Another user's id within, root's files without: what was installed here may belong to root.
    inside = ["setpriv", "--no-new-privs", *command]
    user = ["unshare", "--user", "--map-user=1000", "--map-group=1000", *inside]
    script = f"mount -t proc -o hidepid=invisible proc /proc && exec {shlex.join(user)}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLANETMINT_")}
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script],
        cwd=folder,
        env=kept | {"HOME": str(folder)} | {f"PLANETMINT_{name}": value for name, value in settings.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.zen").write_text(SMALL)
    (tmp_path / "greedy.zen").write_text(GREEDY)
    return tmp_path


def test_a_contract_runs_within_the_hardening_of_the_unit(folder: Path) -> None:
    done = within_the_unit(folder, "contract", "run", "small.zen")
    assert done.returncode == 0, done
    assert '{"random_object":' in done.stdout


def test_the_memory_of_a_contract_is_bounded_where_the_unit_hides_processes(folder: Path) -> None:
    done = within_the_unit(
        folder,
        "contract",
        "run",
        "greedy.zen",
        CONTRACTS_MEMORY_BYTES="33554432",
        CONTRACTS_SECONDS="60",
        CHAIN_CONTRACTS_MAX_NUMBER="1000000",
    )
    assert done.returncode == 1
    assert "more than 33,554,432 bytes of memory" in done.stderr


def test_the_unit_hides_processes_and_forbids_namespaces_as_is_played_here() -> None:
    lines = UNIT.read_text().splitlines()
    assert {"ProtectProc=invisible", "RestrictNamespaces=true", "NoNewPrivileges=true"} <= set(lines)
    assert {"SystemCallErrorNumber=EPERM", "User=planetmint", "CapabilityBoundingSet="} <= set(lines)
