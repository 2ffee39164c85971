# SPDX-License-Identifier: AGPL-3.0-or-later
"""`backup`, `restore`, `verify` and `status` beside nodes that run, and over real databases."""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from planetmint.storage.tarantool import TarantoolStore, drop
from planetmint.testing.build import Builder, Dialect
from tests.functional.test_tarantool import flipped, put_back, replace_row, stored_rows
from tests.support.chains import bulky, dump, elected, grow, ordinary
from tests.support.network import Network, low_ports
from tests.support.node import NodeProcess
from tests.support.tarantool import Server, running
from tests.unit.app.test_ledger_check import checked

BUILDER = Builder(Dialect.BIGCHAINDB)


def planetmint(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planetmint", *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


class Traffic:
    """Posts transactions from a thread until it is left."""

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url}/api/v1/transactions"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._post)
        self.posted = 0

    def __enter__(self) -> "Traffic":
        self._thread.start()
        while self.posted < 20 and self._thread.is_alive():
            self._ended.wait(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _post(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self._ended.is_set():
                item = BUILDER.create("alice", data={"seed": os.urandom(8).hex()})
                answer = client.post(self._url, params={"mode": "sync"}, content=item.canonical)
                self.posted += answer.status_code == 202


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("trust") / "node") as node:
        yield node


def test_a_busy_node_is_verified_backed_up_and_restored_byte_by_byte(
    embedded: NodeProcess, tmp_path: Path
) -> None:
    env = embedded.environment()
    with Traffic(embedded.base_url) as traffic:
        made = planetmint(env, "backup", str(tmp_path / "one"))
        assert made.returncode == 0, made.stderr
        verified = planetmint(env, "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert json.loads(verified.stdout)["differences"] == 0
        assert traffic.posted >= 20
    second = {**env, "PLANETMINT_DATA_DIR": str(tmp_path / "second")}
    restored = planetmint(second, "restore", str(tmp_path / "one"))
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout.splitlines()[1:] == made.stdout.splitlines()[1:]
    assert planetmint(second, "backup", str(tmp_path / "two")).returncode == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert planetmint(second, "verify").returncode == 0


def test_status_of_a_node_that_runs_exits_with_0(embedded: NodeProcess) -> None:
    told = planetmint(embedded.environment(), "status", "--json")
    assert told.returncode == 0, told.stdout
    document = json.loads(told.stdout)
    assert document["node"]["ready"] is True
    assert document["chain"]["height"] >= 0
    assert "running, transactions are taken" in planetmint(embedded.environment(), "status").stdout


def test_a_restore_beside_a_running_node_is_refused(embedded: NodeProcess, tmp_path: Path) -> None:
    env = embedded.environment()
    assert planetmint(env, "backup", str(tmp_path / "one")).returncode == 0
    refused = planetmint(env, "restore", str(tmp_path / "one"))
    assert refused.returncode == 1
    assert "Stop it first" in refused.stderr


def test_a_restored_node_goes_on_with_its_key(embedded: NodeProcess, tmp_path: Path) -> None:
    assert planetmint(embedded.environment(), "backup", str(tmp_path / "one")).returncode == 0
    again = NodeProcess(tmp_path / "again")
    restored = planetmint(again.environment(), "restore", str(tmp_path / "one"))
    assert "put the validator's key back too" in restored.stderr
    key = "priv_validator_key.json"
    (again.data_dir / key).write_bytes((embedded.data_dir / key).read_bytes())
    with again:
        item = BUILDER.create("bob")
        answer = httpx.post(
            f"{again.base_url}/api/v1/transactions?mode=commit", content=item.canonical, trust_env=False
        )
        assert answer.status_code == 202
    assert json.loads(planetmint(again.environment(), "verify").stdout)["differences"] == 0


def test_a_busy_tarantool_node_is_verified_and_its_backup_restored_into_both_databases(tmp_path: Path) -> None:
    with Network(tmp_path / "net", 1, backend="tarantool_db") as network:
        node = network.nodes[0]
        with Traffic(node.process.base_url):
            node.run("backup", str(tmp_path / "one"))
            verified = planetmint(node.process.environment(), "verify")
            assert json.loads(verified.stdout)["differences"] == 0
            assert "does not answer" not in verified.stderr
        assert json.loads(node.run("status", "--json"))["exit_code"] == 0
        env = node.process.environment()
        network.stop()
        down = planetmint(env, "status", "--json")
        assert (down.returncode, json.loads(down.stdout)["node"]["running"]) == (3, False)
        assert json.loads(down.stdout)["chain"]["height"] > 0
        for backend in ("tarantool_db", "sqlite"):
            (port,) = low_ports(1)
            folder = network.folder / backend
            second = {key: value for key, value in env.items() if not key.startswith("PLANETMINT_DATABASE_")}
            second |= {"PLANETMINT_DATA_DIR": str(folder), "PLANETMINT_DATABASE_BACKEND": backend}
            if backend == "tarantool_db":
                second |= {"PLANETMINT_DATABASE_PORT": str(port), "PLANETMINT_DATABASE_MEMORY": "268435456"}
            restored = planetmint(second, "restore", str(tmp_path / "one"))
            assert restored.returncode == 0, restored.stderr
            assert planetmint(second, "backup", str(tmp_path / backend)).returncode == 0
            assert (tmp_path / backend).read_bytes() == (tmp_path / "one").read_bytes()
            verified = planetmint(second, "verify")
            assert verified.returncode == 0, verified.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("flips"), administered=True) as one:
        yield one


async def test_hundred_of_hundred_random_bit_flips_in_tarantool_are_found_by_verify(server: Server) -> None:
    await drop(server.address)
    seed = random.randrange(2**32)
    chosen = random.Random(seed)
    store = TarantoolStore(server.address)
    await store.open()
    try:
        await grow(store, [*ordinary(), *bulky(2, 200)])
        assert (await checked(store))[1] == []
        rows = await stored_rows(server)
        for number in range(100):
            space, row = chosen.choice(rows)
            damaged = flipped(row, chosen)
            await replace_row(server, space, row, damaged)
            _, found = await checked(store)
            assert found, f"seed {seed}, number {number}: {space} {row} became {damaged}"
            await put_back(server, space, damaged, [kept for name, kept in rows if name == space])
        assert (await checked(store))[1] == []
    finally:
        await store.close()


@pytest.mark.parametrize("signed", [True, False])
async def test_elections_and_a_migration_in_tarantool_are_as_they_must_be(server: Server, signed: bool) -> None:
    await drop(server.address)
    store = TarantoolStore(server.address)
    await store.open()
    try:
        await grow(store, elected(), signed=signed)
        assert (await checked(store))[1] == []
        assert len(await dump(store)) > 10
    finally:
        await store.close()
