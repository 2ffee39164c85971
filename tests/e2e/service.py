# SPDX-License-Identifier: AGPL-3.0-or-later
"""The installation script on a bare Debian on which systemd runs: `python -m tests.e2e.service` (`make service`).

The node as a service with all of its hardening; then engine and Tarantool as services of their own. Needs root,
and a kernel that gives a cgroup file system to a namespace.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.bare_root import BareRoot

SCRIPT = "/usr/src/planetmint/deploy/install"
SETTINGS = "etc/planetmint/planetmint.json"
HTTP = "http://localhost:9984"
STREAM = "ws://localhost:9985/api/v1/streams/valid_transactions"


def main() -> None:
    """Every step, each said."""
    with (
        tempfile.TemporaryDirectory(prefix="service", dir="/var/tmp") as name,
        BareRoot(Path(name) / "root", systemd=True) as root,
    ):
        root.copy_source("/usr/src/planetmint")
        for step in (installs, runs_contracts, restarts, survives_a_kill, upgrades, runs_apart, goes):
            began = time.monotonic()
            step(root)
            print(f"{step.__name__.replace('_', ' ')}: {time.monotonic() - began:.1f} s", flush=True)


def installs(root: BareRoot) -> None:
    """One command, and the service is active, enabled and ready."""
    done = root.run(SCRIPT, online=True)
    assert "The node is ready." in done.stdout, done.stdout
    assert root.run("systemctl", "is-enabled", "planetmint").stdout == "enabled\n"
    assert 'Status: "Ready' in root.run("systemctl", "status", "--no-pager", "planetmint").stdout
    assert post(root) > 0


def runs_contracts(root: BareRoot) -> None:
    """With all of the unit's hardening, which forbids namespaces, workers start and a contract is run."""
    done = root.beside(sys.executable, "-c", _POST_CONTRACT)
    assert done.returncode == 0, done.stdout + journal(root)
    told = root.run("journalctl", "--no-pager", "--unit", "planetmint").stdout
    (ready,) = [line for line in told.splitlines() if "contracts.ready" in line]
    assert "files" in ready
    assert "system calls" in ready


_POST_CONTRACT = f"""
import httpx
from planetmint.testing.build import Builder, Dialect

double = '''Given I have a 'number' named 'count'
When I create the result of 'count' + 'count'
Then print the 'result'
'''
draft = Builder(Dialect.PLANETMINT_2).draft_create("ann")
made = draft.scripted({{"count": 21}}, {{"result": 42}}, code=double).signed()
answer = httpx.post("{HTTP}/api/v1/transactions?mode=commit", content=made.canonical, timeout=60)
assert answer.status_code == 202, answer.text
"""


def restarts(root: BareRoot) -> None:
    """Stopping is quick and clean, and what was committed is there afterwards."""
    before = post(root)
    root.run("systemctl", "restart", "planetmint")
    assert "Result=success" in root.run("systemctl", "show", "--property", "Result", "planetmint").stdout
    assert post(root) > before


def survives_a_kill(root: BareRoot) -> None:
    """kill -9 of the node: the service manager starts it again, without leftovers of the first."""
    before, pid = post(root), main_pid(root)
    root.run("sh", "-c", f"kill -9 {pid}")
    wait(lambda: main_pid(root) not in (pid, "0"), "another process")
    assert post(root) > before


def upgrades(root: BareRoot) -> None:
    """The script again: another version, the same data, and the service runs it."""
    before, pid = post(root), main_pid(root)
    assert "The node is ready." in root.run(SCRIPT, online=True).stdout
    assert main_pid(root) != pid
    assert post(root) > before


def runs_apart(root: BareRoot) -> None:
    """Engine and Tarantool as services of their own, as docs/installation.md says."""
    root.run("systemctl", "disable", "--now", "planetmint")
    secret = root.path / "etc/planetmint/tarantool.env"
    secret.touch(mode=0o600)
    secret.write_text("PLANETMINT_TARANTOOL_PASSWORD=secret\n")
    settings = json.loads((root.path / SETTINGS).read_text())
    settings["database"] = {
        "backend": "tarantool_db",
        "managed": False,
        "login": "planetmint",
        "password": "secret",
    }
    settings["abci"] = {"socket": "/var/lib/planetmint/abci.sock"}
    (root.path / SETTINGS).write_text(json.dumps(settings))
    root.run("rm", "-r", "/var/lib/planetmint/cometbft", "/var/lib/planetmint/tarantool")
    root.run("systemctl", "enable", "--now", "planetmint-tarantool")
    root.run("planetmint", "init")
    settings["consensus"]["managed"] = False
    (root.path / SETTINGS).write_text(json.dumps(settings))
    root.run("systemctl", "enable", "--now", "cometbft", "planetmint")
    before = post(root)
    root.run("systemctl", "restart", "planetmint")
    assert post(root) > before
    root.run("systemctl", "restart", "planetmint-tarantool")
    assert post(root) > before + 1


def goes(root: BareRoot) -> None:
    """Uninstalling stops everything and keeps the data."""
    root.run(SCRIPT, "--uninstall")
    assert not (root.path / "usr/local/lib/systemd/system/planetmint.service").exists()
    assert (root.path / "var/lib/planetmint/cometbft/config/priv_validator_key.json").exists()
    assert root.run("systemctl", "is-active", "planetmint", expect=None).stdout == "inactive\n"


def main_pid(root: BareRoot) -> str:
    """Process id of the node, `0` while there is none."""
    return root.run("systemctl", "show", "--property", "MainPID", "--value", "planetmint").stdout.strip()


def post(root: BareRoot) -> int:
    """Wait until transactions are taken, post one, hear of it; the height."""
    probe = f"import httpx; assert httpx.get('{HTTP}/health/ready').status_code == 200"
    wait(lambda: root.beside(sys.executable, "-c", probe).returncode == 0, "readiness", root)
    done = root.beside(sys.executable, "-m", "tests.support.first_client", "post", HTTP, STREAM)
    assert done.returncode == 0, done.stdout + journal(root)
    return int(done.stdout)


def wait(condition: Callable[[], bool], what: str, root: BareRoot | None = None) -> None:
    """Wait for a condition, 120 seconds at most."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"no {what}" + (journal(root) if root is not None else "")
        time.sleep(0.2)


def journal(root: BareRoot) -> str:
    """The end of what the services have logged."""
    return root.run("journalctl", "--no-pager", "--lines", "60", expect=None).stdout


if __name__ == "__main__":
    main()
