# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's choice by real nodes: missing or of another version at start, and chains without contracts.

A machine without the engine is played by a Python in which the package `zenroom` cannot be found.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from planetmint.chain import found_chain, founding_header, sign_header
from planetmint.consensus.cometbft.server import Address
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.model.validator import Validator
from planetmint.runtime.keys import load_or_make_key
from planetmint.runtime.node import Node
from planetmint.runtime.settings import (
    AbciSettings,
    ConfigurationError,
    ConsensusSettings,
    DataSettings,
    ServerSettings,
    Settings,
    TendermintSettings,
    WsServerSettings,
)
from planetmint.sandbox import find_engine
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.build import Builder, Built, Dialect
from tests.support.abci import AbciClient, Refused, app_state, info, init_chain
from tests.support.node import HOST, NodeProcess

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "zenroom 3.16.1"
OTHER = "zenroom 9.9.9"
INSTALL = 'pip install "planetmint-node[zenroom]"'
DOUBLE = """Given I have a 'number' named 'count'
When I create the result of 'count' + 'count'
Then print the 'result'
"""
BUILD = Builder(Dialect.PLANETMINT_2)
SCRIPTED = BUILD.draft_create("alice").scripted({"count": 21}, {"result": 42}, code=DOUBLE).signed()
PLAIN = BUILD.create("alice")
COMET = {"PLANETMINT_CONSENSUS_ENGINE": "cometbft"}

_HIDE = """
import importlib.metadata

_version = importlib.metadata.version


def version(name):
    if name == "zenroom":
        raise importlib.metadata.PackageNotFoundError(name)
    return _version(name)


importlib.metadata.version = version
"""


@pytest.fixture
def without_engine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which the extra was not installed."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_HIDE)
    return {"PYTHONPATH": str(folder)}


def on(engine: str) -> ChainParameters:
    return ChainParameters(contracts=ContractParameters("bound", "on", engine))


def found(folder: Path, parameters: ChainParameters) -> None:
    """A database that stands at block 0 of a chain, with the validator's key."""

    async def _found() -> None:
        folder.mkdir(mode=0o700)
        key = load_or_make_key(folder)
        founding = found_chain("ours", parameters, (Validator(key.public, 10),), time=1)
        store = SqliteStore(folder / "ledger.db")
        await store.open()
        await store.found(founding, sign_header(founding_header(founding, key.public), key.secret))
        await store.close()

    asyncio.run(_found())


def planetmint(
    node: NodeProcess, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planetmint", *arguments],
        env=node.environment() | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that failed."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return line


def submit(node: NodeProcess, built: Built) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(HOST, node.http_port, timeout=60)
    try:
        connection.request(
            "POST",
            "/api/v1/transactions?mode=commit",
            built.canonical,
            {"Content-Type": "application/json"},
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def workers_of(pid: int) -> list[int]:
    """Children of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and b"sandbox" in path.with_name("cmdline").read_bytes():
                found.append(int(path.parent.name))
    return found


def metrics(node: NodeProcess) -> str:
    with urllib.request.urlopen(f"{node.base_url}/metrics", timeout=30) as response:
        text: str = response.read().decode()
        return text


# A node that makes its own blocks


def test_a_chain_that_is_founded_here_runs_contracts_in_the_engine_of_this_machine(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "data") as node:
        assert submit(node, SCRIPTED)[0] == 202
        assert "planetmint_contract_runs_total 1.0" in metrics(node)
        told = json.loads(planetmint(node, "status", "--json").stdout)["contracts"]
        assert told == {"detail": None, "engine": ENGINE, "scripts": "on", "zenroom": "bound"}
        assert f"contracts       {ENGINE}, conditions bound, scripts on" in planetmint(node, "status").stdout
        workers = workers_of(node.pid)
        assert workers
    assert f"contracts.ready engine='{ENGINE}'" in node.log_path.read_text()
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_node_without_the_engine_of_its_chain_does_not_start_and_says_what_to_install(
    tmp_path: Path, without_engine: dict[str, str]
) -> None:
    found(tmp_path / "data", on(ENGINE))
    node = NodeProcess(tmp_path / "data")
    line = refusal(planetmint(node, "start", env=without_engine))
    assert f"`{ENGINE}`" in line
    assert "this machine has none" in line
    assert INSTALL in line


def test_a_node_with_another_version_of_the_engine_does_not_start_and_names_both(tmp_path: Path) -> None:
    found(tmp_path / "data", on(OTHER))
    node = NodeProcess(tmp_path / "data")
    line = refusal(planetmint(node, "start"))
    assert f"`{OTHER}`" in line
    assert f"`{ENGINE}`" in line
    assert 'pip install "zenroom==9.9.9"' in line
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect((HOST, node.http_port))


def test_a_ledger_is_verified_and_kept_and_brought_back_without_the_engine(
    tmp_path: Path, without_engine: dict[str, str]
) -> None:
    with NodeProcess(tmp_path / "data") as node:
        assert submit(node, SCRIPTED)[0] == 202
    assert planetmint(node, "verify", env=without_engine).returncode == 0
    backup = str(tmp_path / "ledger.backup")
    assert planetmint(node, "backup", backup, env=without_engine).returncode == 0
    other = without_engine | {"PLANETMINT_DATA_DIR": str(tmp_path / "other")}
    assert planetmint(node, "restore", backup, env=other).returncode == 0
    told = json.loads(planetmint(node, "status", "--json", env=other).stdout)["contracts"]
    assert INSTALL in told["detail"]


def test_without_an_engine_a_chain_without_contracts_is_founded_and_works(
    tmp_path: Path, without_engine: dict[str, str]
) -> None:
    with NodeProcess(tmp_path / "data", without_engine) as node:
        assert submit(node, PLAIN)[0] == 202
        status, body = submit(node, SCRIPTED)
        assert (status, body["class"], body["rule"]) == (400, "InvalidScript", "script.off")
        assert "contracts       off" in planetmint(node, "status").stdout
    assert INSTALL in node.log_path.read_text()
    # What was founded without contracts stays so, and any machine runs it.
    node.extra_env.clear()
    with node:
        assert submit(node, SCRIPTED)[0] == 400
        assert workers_of(node.pid) == []
        assert "planetmint_contract" not in metrics(node)


def test_contracts_that_are_asked_for_without_an_engine_found_nothing(
    tmp_path: Path, without_engine: dict[str, str]
) -> None:
    node = NodeProcess(tmp_path / "data", without_engine | {"PLANETMINT_CHAIN_CONTRACTS_ZENROOM": "published"})
    line = refusal(planetmint(node, "start"))
    assert "chain.contracts.zenroom=published" in line
    assert INSTALL in line
    assert refusal(planetmint(node, "init", env=COMET)).endswith(line.removeprefix("Error: "))
    found = refusal(planetmint(node, "network", "found", "--validator", "A" * 43 + "="))
    assert INSTALL in found


def test_trying_a_contract_out_without_an_engine_says_what_to_install(
    tmp_path: Path, without_engine: dict[str, str]
) -> None:
    node = NodeProcess(tmp_path / "data", without_engine)
    (tmp_path / "double.zen").write_text(DOUBLE)
    (tmp_path / "tx.json").write_bytes(SCRIPTED.canonical)
    assert INSTALL in refusal(planetmint(node, "contract", "run", str(tmp_path / "double.zen")))
    assert planetmint(node, "contract", "check", str(tmp_path / "double.zen")).returncode == 0
    done = planetmint(node, "contract", "check", str(tmp_path / "tx.json"))
    assert done.returncode == 1
    assert "script.off" in done.stdout
    assert INSTALL in done.stderr
    done = planetmint(node, "contract", "check", "--scripts", "on", str(tmp_path / "tx.json"))
    assert INSTALL in refusal(done)


@pytest.fixture
def program() -> Iterator[Path]:
    """A `zencode-exec` that every user may read: contracts run as nobody where the tests run as root."""
    engine = find_engine()
    assert engine is not None
    folder = Path(tempfile.mkdtemp(prefix="zencode-exec-"))
    folder.chmod(0o755)
    library = shutil.copy(engine.path, folder / "engine.so")
    made = folder / "zencode-exec"
    source = ROOT / "tests/support/zencode_exec.c"
    subprocess.run(["gcc", "-O1", f'-DENGINE="{library}"', str(source), "-o", str(made)], check=True)
    yield made
    shutil.rmtree(folder)


def test_a_program_that_is_set_is_the_engine_of_a_chain_that_is_founded_with_it(
    tmp_path: Path, without_engine: dict[str, str], program: Path
) -> None:
    named = {"PLANETMINT_CONTRACTS_PROGRAM": str(program)}
    with NodeProcess(tmp_path / "data", without_engine | named) as node:
        assert submit(node, SCRIPTED)[0] == 202
        told = json.loads(planetmint(node, "status", "--json").stdout)["contracts"]
        assert (told["engine"], told["detail"]) == ("zencode-exec 3.16.1", None)
    # The package is another engine to a chain, even in the same version.
    node.extra_env.clear()
    line = refusal(planetmint(node, "start"))
    assert "`zencode-exec 3.16.1`" in line
    assert f"`{ENGINE}`" in line
    assert "set contracts.program (PLANETMINT_CONTRACTS_PROGRAM) to a `zencode-exec` of version 3.16.1" in line


# Beside an engine


@pytest.fixture
def genesis(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the genesis file of a chain whose contracts run in some engine."""

    def _genesis(engine: str) -> Path:
        path = tmp_path / "genesis.json"
        node = NodeProcess(tmp_path / "founder", COMET)
        made = planetmint(node, "network", "found", "--validator", "A" * 43 + "=", "-o", str(path))
        assert made.returncode == 0, made
        document = json.loads(path.read_text())
        assert document["app_state"]["planetmint"]["parameters"]["contracts"]["engine"] == ENGINE
        document["app_state"]["planetmint"]["parameters"]["contracts"]["engine"] = engine
        path.write_text(json.dumps(document))
        return path

    return _genesis


@pytest.mark.parametrize("command", [("init", "--genesis"), ("network", "join", "--genesis")])
def test_a_genesis_that_names_another_engine_is_refused_when_it_is_given(
    tmp_path: Path, genesis: Callable[[str], Path], command: tuple[str, ...]
) -> None:
    node = NodeProcess(tmp_path / "data", COMET)
    line = refusal(planetmint(node, *command, str(genesis(OTHER))))
    assert f"`{OTHER}`" in line
    assert f"`{ENGINE}`" in line
    assert not (tmp_path / "data/cometbft/config/genesis.json").exists()


def test_who_joins_without_the_engine_is_told_at_once_what_to_install(
    tmp_path: Path, genesis: Callable[[str], Path], without_engine: dict[str, str]
) -> None:
    node = NodeProcess(tmp_path / "data", COMET)
    path = str(genesis(ENGINE))
    line = refusal(planetmint(node, "network", "join", "--genesis", path, env=without_engine))
    assert INSTALL in line
    joined = planetmint(node, "network", "join", "--genesis", path)
    assert joined.returncode == 0, joined
    # And again at the start, should the engine have gone meanwhile; consensus is not begun.
    line = refusal(planetmint(node, "start", env=without_engine))
    assert INSTALL in line
    assert not (tmp_path / "data/cometbft/data/blockstore.db").exists()


async def test_a_chain_that_an_outside_engine_brings_is_refused_before_anything_is_answered(
    tmp_path: Path,
) -> None:
    """Nothing here knows its genesis file: the application hears of the parameters by InitChain."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port = one.getsockname()[1]
    node = Node(
        Settings(
            data=DataSettings(dir=str(tmp_path / "data")),
            consensus=ConsensusSettings(engine="cometbft", managed=False),
            tendermint=TendermintSettings(host="engine.invalid"),
            abci=AbciSettings(host=HOST, port=port),
            server=ServerSettings(bind=f"{HOST}:0"),
            wsserver=WsServerSettings(host=HOST, port=0),
        )
    )
    starting = asyncio.create_task(node.start())
    client = await _connected(Address(HOST, port), starting)
    await client.call(info())
    with pytest.raises((Refused, EOFError)):
        await client.call(init_chain(app_state=app_state(on(OTHER))))
    with pytest.raises(ConfigurationError) as caught:
        await asyncio.wait_for(starting, 60)
    assert f"`{OTHER}`" in str(caught.value)
    assert f"`{ENGINE}`" in str(caught.value)
    assert node.http is None
    await client.close()
    store = SqliteStore(tmp_path / "data/ledger.db")
    await store.open()
    assert await store.founding() is None
    await store.close()


async def _connected(address: Address, starting: "asyncio.Task[None]") -> AbciClient:
    while True:
        assert not starting.done(), starting
        try:
            return await AbciClient.connect(address)
        except OSError:
            await asyncio.sleep(0.01)


# Its installation


def install(python: Path | str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What `make run`, the installation script and the image do after they have installed the node."""
    return subprocess.run(
        ["bash", str(ROOT / "deploy/contract-engine"), str(python)],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def pip_that_says(folder: Path, words: str) -> Path:
    """A Python whose pip installs nothing and says so."""
    path = folder / "python"
    path.write_text(
        f'#!/bin/sh\n[ "$2" = pip ] && {{ echo "{words}" >&2; exit 1; }}\nexec {sys.executable} "$@"\n'
    )
    path.chmod(0o755)
    return path


def test_where_the_engine_is_there_its_installation_says_nothing(tmp_path: Path) -> None:
    done = install(pip_that_says(tmp_path, "Could not reach anybody"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_where_there_is_no_wheel_one_line_says_that_contracts_are_off_and_why(
    tmp_path: Path, without_engine: dict[str, str]
) -> None:
    """And the installation of the node goes on."""
    words = "ERROR: No matching distribution found for zenroom==3.16.1"
    done = install(pip_that_says(tmp_path, words), without_engine)
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("There is no contract engine here")
    assert words in line
    assert "contracts are off on a chain that it founds" in line
    assert "docs/installation.md" in line


def test_every_way_to_install_the_node_installs_the_engine() -> None:
    makefile = (ROOT / "Makefile").read_text()
    run, _, development = makefile.partition("\n$(STAMP):")[2].partition("\n$(DEV_STAMP):")
    assert "deploy/contract-engine $(BIN)/python" in run
    assert "-r requirements-zenroom.lock" in development
    assert 'contract-engine" "$new/bin/python"' in (ROOT / "deploy/install").read_text()
    assert (
        "deploy/contract-engine /opt/planetmint/bin/python"
        in (ROOT / "deploy/container/Containerfile").read_text()
    )
    assert "!requirements-zenroom.lock" in (ROOT / ".dockerignore").read_text().splitlines()
