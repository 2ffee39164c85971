# SPDX-License-Identifier: AGPL-3.0-or-later
"""The all-in-one installation script in a bare Debian: nothing there but what a minimal system has.

The root has a network of its own while the node runs, so the ports are those that every installation has.
"""

import json
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bare_root import BareRoot, end

SOURCE = "/usr/src/planetmint"
SCRIPT = f"{SOURCE}/deploy/install"
SETTINGS = "/etc/planetmint/planetmint.json"
HTTP = "http://localhost:9984"
pytestmark = pytest.mark.timeout(1_800)  # with everything to fetch and an engine to build
STREAM = "ws://localhost:9985/api/v1/streams/valid_transactions"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareRoot]:
    with BareRoot(tmp_path_factory.mktemp("install") / "root") as bare:
        bare.copy_source(SOURCE)
        yield bare


def client(root: BareRoot) -> int:
    """Post and see; the height."""
    done = root.beside(sys.executable, "-m", "tests.support.first_client", "post", HTTP, STREAM)
    assert done.returncode == 0, done.stdout
    return int(done.stdout)


class Running:
    """The node as the script says to start it by hand; a context manager that waits until it is ready."""

    def __init__(self, root: BareRoot) -> None:
        self.root = root

    def __enter__(self) -> "Running":
        with (self.root.path / "node.log").open("a") as log:
            self.process = subprocess.Popen(
                self.root.command(["planetmint", "start"]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        probe = f"import httpx; httpx.get('{HTTP}/').raise_for_status()"
        deadline = time.monotonic() + 120
        while self.root.beside(sys.executable, "-c", probe).returncode != 0:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
        return self

    def __exit__(self, *_: object) -> None:
        assert end(self.process) == 0, self.log

    @property
    def log(self) -> str:
        return (self.root.path / "node.log").read_text()


def test_a_bare_debian_becomes_a_complete_node_with_one_command(root: BareRoot) -> None:
    """Packages, engine, program, user, settings, units; then a block, a restart, an upgrade, and away with it."""
    assert not (root.path / "usr/bin/python3").exists()  # bare indeed

    done = root.run(SCRIPT, online=True)
    assert "planetmint start" in done.stdout  # what to do where systemd does not run
    for place in ("http://localhost:9984/", "ws://localhost:9985/", "26656", SETTINGS, "/var/lib/planetmint"):
        assert place in done.stdout
    assert mode(root, SETTINGS) == 0o640
    assert mode(root, "/var/lib/planetmint") == 0o700
    shown = json.loads(root.run("/bin/sh", "-c", "planetmint show-config 2>/dev/null").stdout)
    assert (shown["consensus"]["engine"], shown["database"]["backend"]) == ("cometbft", "tarantool_db")
    # Go was needed for building alone.
    assert root.run("sh", "-c", "command -v go", expect=None).stdout == ""
    assert root.run("ls", "/tmp").stdout == ""

    with Running(root):
        height = client(root)
        programs = root.run(
            "sh", "-c", "for one in /proc/[0-9]*; do tr '\\0' ' ' <$one/cmdline; stat -c %U $one; done"
        )
        owners = {line.rpartition(" ")[2] for line in programs.stdout.splitlines() if "versions/" in line}
        assert owners == {"planetmint"}  # nothing of it runs as root

    # Again: an upgrade. Settings and data stay, the version before stays for a way back.
    before = content(root, SETTINGS)
    key = content(root, "/var/lib/planetmint/cometbft/config/priv_validator_key.json")
    again = root.run(SCRIPT, "--no-start", online=True)
    assert "Keeping" in again.stdout
    assert "Building" not in again.stdout  # the engine did not change
    assert content(root, SETTINGS) == before
    assert content(root, "/var/lib/planetmint/cometbft/config/priv_validator_key.json") == key
    assert len(list((root.path / "opt/planetmint/versions").iterdir())) == 2
    root.run(SCRIPT, "--no-start", online=True)
    assert len(list((root.path / "opt/planetmint/versions").iterdir())) == 2
    with Running(root):
        assert client(root) > height

    # What data were made with cannot be changed by an option.
    refused = root.run(SCRIPT, "--engine", "solo", online=True, expect=1)
    assert "--engine solo, but" in refused.stdout

    gone = root.run(SCRIPT, "--uninstall")
    assert "Kept" in gone.stdout
    for name in ("opt/planetmint", "usr/local/bin/planetmint", "usr/local/lib/systemd/system/planetmint.service"):
        assert not (root.path / name).exists(), name
    assert content(root, SETTINGS) == before
    assert content(root, "/var/lib/planetmint/cometbft/config/priv_validator_key.json") == key
    root.run(SCRIPT, "--uninstall")  # twice does no harm


def test_the_embedded_node_installs_without_engine_and_tarantool_at_another_place(root: BareRoot) -> None:
    root.run("sh", "-c", "rm -rf /var/lib/planetmint /etc/planetmint; userdel planetmint || true")
    done = root.run(SCRIPT, "--engine", "solo", "--backend=sqlite", "--prefix", "/srv/node", online=True)
    assert "26656" not in done.stdout
    assert not (root.path / "srv/node/current/bin/cometbft").exists()
    unit = content(root, "/usr/local/lib/systemd/system/planetmint.service").decode()
    assert "ExecStart=/srv/node/current/bin/planetmint start" in unit
    with Running(root) as node:
        assert client(root) == 1
        assert "contracts.ready engine='zenroom 3.16.1'" in node.log
    assert (root.path / "var/lib/planetmint/ledger.db").exists()
    root.run(SCRIPT, "--uninstall", "--prefix", "/srv/node")
    assert (root.path / "var/lib/planetmint/ledger.db").exists()


def test_the_script_refuses_what_it_cannot_do_in_one_line(root: BareRoot) -> None:
    assert root.run(SCRIPT, "--engine", "raft", expect=2).stdout.startswith("deploy/install: --engine is solo or")
    assert root.run(SCRIPT, "--backend", expect=2).stdout.startswith("deploy/install: --backend needs a value")
    assert root.run(SCRIPT, "--prefix", "here", expect=2).stdout.startswith(
        "deploy/install: --prefix is an absolute"
    )
    assert root.run(SCRIPT, "--prefix", "/usr", expect=1).stdout == (
        "deploy/install: /usr exists and was not made by this script: "
        "name another place by --prefix, or move it away\n"
    )
    assert root.run(SCRIPT, "--uninstall", "--prefix", "/usr", expect=1).stdout.startswith(
        "deploy/install: /usr was not"
    )
    nobody = ("setpriv", "--reuid", "nobody", "--clear-groups", SCRIPT)
    assert root.run(*nobody, expect=1).stdout.startswith("deploy/install: run it as root")
    alone = root.run(
        "sh", "-c", f"mkdir -p /srv/a/deploy && cp {SCRIPT} /srv/a/deploy && /srv/a/deploy/install", expect=1
    )
    assert alone.stdout.startswith("deploy/install: /srv/a/pyproject.toml is missing: run the script in its place")
    assert "Usage: deploy/install" in root.run(SCRIPT, "--help").stdout
    assert not (root.path / "opt/planetmint/current").exists()


def mode(root: BareRoot, place: str) -> int:
    return stat.S_IMODE((root.path / place.lstrip("/")).stat().st_mode)


def content(root: BareRoot, place: str) -> bytes:
    return Path(root.path, place.lstrip("/")).read_bytes()
