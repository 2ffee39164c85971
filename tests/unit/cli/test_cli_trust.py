# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands `backup`, `restore`, `verify` and `status` as an operator meets them."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from planetmint.chain.archive import (
    ArchivedBlock,
    ArchiveEnd,
    FileReader,
    FileWriter,
    RecordReader,
    encode_block,
    encode_end,
    encode_founding,
)
from planetmint.cli.verify import nanoseconds
from planetmint.ports.store import Store
from planetmint.runtime.snapshots import RESTORING_FILE
from planetmint.storage.sqlite import SqliteStore
from tests.support.chains import ADDRESS, MIGRATED_AT, Blocks, bulky, dump, elected, grow, ordinary
from tests.unit.cli.conftest import Planetmint


@pytest.fixture
def data(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder; nothing answers where the Web API would be."""
    folder = home / "data"
    folder.mkdir()
    use(monkeypatch, folder)
    monkeypatch.setenv("PLANETMINT_SERVER_BIND", "127.0.0.1:9")
    return folder


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PLANETMINT_DATA_DIR", str(folder))


def fill(folder: Path, blocks: Blocks, *, signed: bool = True) -> None:
    """Make a ledger in a data folder, or go on with the one that is there."""

    async def work(store: Store) -> None:
        await grow(store, blocks, signed=signed)

    _in_store(SqliteStore(folder / "ledger.db"), work)


def dumped(folder: Path) -> list[object]:
    return _in_store(SqliteStore(folder / "ledger.db", read_only=True), dump)  # type: ignore[return-value]


def _in_store(store, work):  # type: ignore[no-untyped-def]
    async def _work() -> object:
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(_work())


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("blocks", [ordinary, elected])
def test_what_is_restored_is_what_was_backed_up(
    blocks: object, signed: bool, data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    fill(data, blocks(), signed=signed)  # type: ignore[operator]
    made = planetmint("backup", str(home / "one"))
    assert made.code == 0
    (head,) = [line.split()[1] for line in made.out.splitlines() if line.startswith("head ")]
    use(monkeypatch, home / "second")
    restored = planetmint("restore", str(home / "one"), "--expect-head", head)
    assert restored.code == 0, restored.err
    assert restored.out.splitlines()[1:] == made.out.splitlines()[1:]
    assert planetmint("backup", str(home / "two")).code == 0
    assert (home / "one").read_bytes() == (home / "two").read_bytes()
    assert planetmint("verify").code == 0
    use(monkeypatch, data)
    assert dumped(data) == dumped(home / "second")


def test_a_chain_that_waits_for_its_migration_is_restored_so(
    data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    fill(data, elected()[:MIGRATED_AT], signed=False)
    assert planetmint("backup", str(home / "waiting")).code == 0
    use(monkeypatch, home / "second")
    assert planetmint("restore", str(home / "waiting")).code == 0
    assert dumped(data) == dumped(home / "second")


def test_a_backup_of_later_is_restored_up_to_the_migration(
    data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    fill(data, elected()[:MIGRATED_AT], signed=False)
    waiting = dumped(data)
    fill(data, elected()[MIGRATED_AT:], signed=False)
    assert planetmint("backup", str(home / "later")).code == 0
    use(monkeypatch, home / "second")
    assert planetmint("restore", str(home / "later"), "--height", str(MIGRATED_AT)).code == 0
    assert dumped(home / "second") == waiting
    # The rest of the chain can follow.
    fill(home / "second", elected()[MIGRATED_AT:], signed=False)
    assert dumped(home / "second") == dumped(data)


def test_a_height_that_the_backup_does_not_reach_restores_nothing(
    data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    fill(data, ordinary())
    assert planetmint("backup", str(home / "short")).code == 0
    use(monkeypatch, home / "second")
    outcome = planetmint("restore", str(home / "short"), "--height", "7")
    assert outcome.code == 1
    assert "ends at block 6, before block 7" in outcome.err
    assert not (home / "second" / "ledger.db").exists()


def test_a_damaged_or_other_backup_restores_nothing_and_the_right_one_does_afterwards(
    data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    fill(data, ordinary())
    made = planetmint("backup", str(home / "good"))
    app_hash = made.out.split()[made.out.split().index("hash") + 1]
    good = (home / "good").read_bytes()
    use(monkeypatch, home / "second")
    wrong = {
        "is no archive": b"no archive",
        "cut off": good[:-10],
        "more after the end": good + b"x",
        "damaged": good[:200] + bytes([good[200] ^ 8]) + good[201:],
        "block 2 does not follow": _rearranged(good),
    }
    for reason, content in wrong.items():
        (home / "wrong").write_bytes(content)
        outcome = planetmint("restore", str(home / "wrong"))
        assert outcome.code == 1
        assert "Nothing was restored" in outcome.err
        assert reason in outcome.err
        assert not (home / "second" / "ledger.db").exists()
        assert not (home / "second" / RESTORING_FILE).exists()
    for option in ("--expect-app-hash", "--expect-head"):
        outcome = planetmint("restore", str(home / "good"), option, "ab" * 32)
        assert outcome.code == 1
        assert f"not {'ab' * 32}" in outcome.err
        assert not (home / "second" / "ledger.db").exists()
        assert planetmint("restore", str(home / "good"), option, "ab").code == 2
    assert planetmint("restore", str(home / "good"), "--expect-app-hash", app_hash.upper()).code == 0
    assert dumped(data) == dumped(home / "second")


def _rearranged(file: bytes) -> bytes:
    """The archive with two transactions of a block in each other's place, and all its checksums made anew."""
    records = RecordReader()
    parts = []
    for piece in FileReader().feed(file):
        for record in records.feed(piece):
            if isinstance(record, ArchivedBlock):
                moved = record.transactions[::-1] if record.header.height == 2 else record.transactions
                parts.append(encode_block(record.header, moved))
            elif isinstance(record, ArchiveEnd):
                parts.append(encode_end(record))
            else:
                parts.append(encode_founding(record))
    writer = FileWriter()
    return b"".join([*writer.feed(b"".join(parts)), writer.finish()])


def test_a_restore_into_a_database_that_holds_a_chain_is_refused(
    data: Path, planetmint: Planetmint, home: Path
) -> None:
    fill(data, ordinary())
    assert planetmint("backup", str(home / "one")).code == 0
    before = dumped(data)
    outcome = planetmint("restore", str(home / "one"))
    assert outcome.code == 1
    assert "holds a chain already" in outcome.err
    assert dumped(data) == before


def test_an_interrupted_restore_is_named_by_start_and_repeated_or_dropped(
    data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    fill(data, ordinary())
    assert planetmint("backup", str(home / "one")).code == 0
    second = home / "second"
    use(monkeypatch, second)
    second.mkdir()
    fill(second, bulky(2, 100))
    (second / RESTORING_FILE).write_text("")
    outcome = planetmint("start")
    assert outcome.code == 1
    assert "A restore into the database" in outcome.err
    assert "restore was interrupted" in planetmint("status").out
    outcome = planetmint("restore", str(home / "one"))
    assert outcome.code == 0
    assert "An earlier restore was interrupted" in outcome.err
    assert dumped(second) == dumped(data)
    (second / RESTORING_FILE).write_text("")
    assert planetmint("-y", "drop").code == 0
    assert not (second / RESTORING_FILE).exists()


@pytest.mark.parametrize("killed_after", range(7))
def test_a_restore_that_is_killed_at_any_moment_can_be_run_again(
    killed_after: int, data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    fill(data, [*ordinary(), *bulky(6, 100)])
    assert planetmint("backup", str(home / "one")).code == 0
    use(monkeypatch, home / "second")
    code = f"""
import os, signal, sys
from planetmint.app import transfer
from planetmint.cli.main import run
from planetmint.storage.sqlite import SqliteStore
transfer._BATCH_BLOCKS = 3
left = {killed_after}
def dying(name):
    method = getattr(SqliteStore, name)
    async def call(self, *arguments):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return await method(self, *arguments)
    return call
for name in ("open", "found", "save_blocks", "close"):
    setattr(SqliteStore, name, dying(name))
sys.exit(run(["restore", {str(home / "one")!r}]))
"""
    killed = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert planetmint("restore", str(home / "one")).code == 0
    assert dumped(home / "second") == dumped(data)


def test_a_backup_that_fails_leaves_no_file_and_no_half_of_one(
    data: Path, planetmint: Planetmint, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "kept").write_text("an older backup")
    assert planetmint("backup", str(home / "kept")).code == 1
    fill(data, ordinary())

    async def broken(self: SqliteStore, height: int) -> None:
        return None

    monkeypatch.setattr(SqliteStore, "block", broken)
    outcome = planetmint("backup", str(home / "kept"))
    assert outcome.code == 1
    assert "run `planetmint verify`" in outcome.err
    assert (home / "kept").read_text() == "an older backup"
    assert sorted(path.name for path in home.iterdir() if "kept" in path.name) == ["kept"]
    assert planetmint("backup", str(home / "nowhere" / "file")).code == 1


def test_backup_and_restore_work_in_a_pipe(data: Path, home: Path) -> None:
    fill(data, ordinary())
    command = [sys.executable, "-m", "planetmint"]
    made = subprocess.run([*command, "backup", "-"], env=dict(os.environ), capture_output=True, check=True)
    second = {**os.environ, "PLANETMINT_DATA_DIR": str(home / "second")}
    subprocess.run([*command, "restore", "-"], env=second, input=made.stdout, capture_output=True, check=True)
    assert dumped(home / "second") == dumped(data)


def test_verify_prints_a_summary_and_exits_with_0(data: Path, planetmint: Planetmint) -> None:
    fill(data, ordinary())
    outcome = planetmint("verify")
    summary = json.loads(outcome.out)
    assert outcome.code == 0
    assert (summary["height"], summary["differences"], summary["found"]) == (6, 0, [])
    assert summary["end_checked"] is True
    assert json.loads(planetmint("verify", "--from", "5").out)["from"] == 5
    assert planetmint("verify", "--from", "-1").code == 2


def test_verify_names_block_and_record_and_exits_with_1(data: Path, planetmint: Planetmint) -> None:
    fill(data, ordinary())
    with closing(sqlite3.connect(data / "ledger.db", isolation_level=None)) as connection:
        (body,) = connection.execute("SELECT body FROM transactions WHERE sequence = 2").fetchone()
        changed = body.replace(b'"amount":"4"', b'"amount":"5"')
        assert changed != body
        connection.execute("UPDATE transactions SET body = ? WHERE sequence = 2", (changed,))
        ids = connection.execute("SELECT id FROM transactions WHERE sequence = 2").fetchone()[0].hex()
    outcome = planetmint("verify")
    assert outcome.code == 1
    summary = json.loads(outcome.out)
    assert summary["differences"] == len(summary["found"]) > 0
    assert any(item["height"] == 1 and ids in item["text"] for item in summary["found"])
    assert f"block 1: transaction {ids} is damaged" in outcome.err


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE blocks SET header = x'00' WHERE height = 6", "block 6: the block cannot be read"),
        ("UPDATE blocks SET header = x'00' WHERE height = 3", "block 3: the block cannot be read"),
        ("UPDATE blocks SET header = x'00' WHERE height = 0", "block 0: the block cannot be read"),
        ("UPDATE chain SET founding = x'7b7d'", "the founding document cannot be read"),
        ("UPDATE blocks SET ids = x'00' WHERE height = 6", "block 6: "),
        ("DELETE FROM blocks WHERE height = 6", "table "),
        ("DELETE FROM blocks WHERE height = 2", "block 2: the block is missing"),
        ("UPDATE transactions SET body = x'ff' WHERE sequence = 0", "block 1: transaction "),
        ("UPDATE outputs SET output = x'00'", "table outputs"),
        ("DELETE FROM spends", "table spends"),
        ("UPDATE validators SET validators = x'00'", "table validators"),
    ],
)
def test_records_that_cannot_be_read_at_all_are_named(
    statement: str, named: str, data: Path, planetmint: Planetmint
) -> None:
    fill(data, ordinary())
    with closing(sqlite3.connect(data / "ledger.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement)
    outcome = planetmint("verify")
    assert outcome.code == 1
    assert any(line.startswith(named) or f": {named}" in line for line in outcome.err.splitlines()), outcome.err
    assert json.loads(outcome.out)["differences"] > 0


@pytest.mark.parametrize("command", [("verify",), ("backup", "x")])
def test_without_a_database_there_is_nothing_to_do(
    command: Sequence[str], data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    for _ in range(2):
        outcome = planetmint(*command)
        assert outcome.code == 1
        assert "yet" in outcome.err
        planetmint("init")


def test_status_of_a_node_that_is_down_tells_of_its_ledger_and_exits_with_3(
    data: Path, planetmint: Planetmint
) -> None:
    assert planetmint("status").code == 3
    fill(data, elected(), signed=False)
    outcome = planetmint("status")
    assert outcome.code == 3
    assert "not running" in outcome.out
    told = json.loads(planetmint("status", "--json").out)
    assert told["exit_code"] == 3
    assert told["node"]["running"] is False
    assert told["chain"]["height"] == len(elected())
    assert told["chain"]["chain_id"] == f"tests-migrated-at-height-{MIGRATED_AT - 1}"
    assert told["database"]["size"] > 0
    for value in (told["chain"]["app_hash"], told["chain"]["chain_id"], told["database"]["place"], "power 10"):
        assert value in outcome.out


def test_status_says_that_a_migration_waits(data: Path, planetmint: Planetmint) -> None:
    fill(data, elected()[:MIGRATED_AT], signed=False)
    assert f"halted after block {MIGRATED_AT}" in planetmint("status").out
    assert json.loads(planetmint("status", "--json").out)["chain"]["migration_waits"] is True


def test_status_of_an_engine_that_does_not_answer_says_so(
    data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", "cometbft")
    monkeypatch.setenv("PLANETMINT_TENDERMINT_PORT", "9")
    outcome = planetmint("status")
    assert outcome.code == 3
    assert "cometbft at http://127.0.0.1:9 does not answer" in outcome.out


class Engine(BaseHTTPRequestHandler):
    """Answers as the engine's RPC does for block 6 of the common history."""

    time: ClassVar[str] = "2023-11-14T22:13:26Z"
    proposer: ClassVar[str] = ADDRESS.hex().upper()
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        header = {"time": self.time, "proposer_address": self.proposer}
        body = json.dumps({"jsonrpc": "2.0", "id": -1, "result": {"header": header}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def engine(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Engine]]:
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", "cometbft")
    with HTTPServer(("127.0.0.1", 0), Engine) as server:
        monkeypatch.setenv("PLANETMINT_TENDERMINT_PORT", str(server.server_port))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Engine
        server.shutdown()
        thread.join()


def test_time_and_proposer_of_the_newest_block_are_held_against_the_engines_header(
    data: Path, engine: type[Engine], planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(data, ordinary(), signed=False)
    outcome = planetmint("verify")
    assert outcome.code == 0, outcome.err
    assert engine.asked[-1] == "/header?height=6"
    for name, value in (("time", "2023-11-14T22:13:26.000000001Z"), ("proposer", "00" * 20)):
        with monkeypatch.context() as changed:
            changed.setattr(engine, name, value)
            outcome = planetmint("verify")
        assert outcome.code == 1
        assert f"block 6: the header's {name} is" in outcome.err
        (found,) = json.loads(outcome.out)["found"]
        assert found["height"] == 6


def test_an_engine_that_does_not_answer_is_no_difference(
    data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", "cometbft")
    monkeypatch.setenv("PLANETMINT_TENDERMINT_PORT", "9")
    fill(data, ordinary(), signed=False)
    outcome = planetmint("verify")
    assert outcome.code == 0
    assert "The engine does not answer" in outcome.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("2023-11-14T22:13:20.000000001Z", 1_700_000_000_000_000_001),
    ],
)
def test_the_engines_times_are_read_to_the_nanosecond(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


class Health(BaseHTTPRequestHandler):
    """Answers as the Web API does about the node's health."""

    ready: ClassVar[bool] = True

    def do_GET(self) -> None:
        assert self.path == "/health/ready"
        body = json.dumps({"ready": self.ready, "detail": "these are the node's words"}).encode()
        self.send_response(200 if self.ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("ready", "engine", "code"), [(True, "solo", 0), (False, "solo", 4), (True, "cometbft", 4)]
)
def test_the_exit_code_of_status_tells_whether_the_node_is_well(
    ready: bool, engine: str, code: int, data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(data, ordinary(), signed=engine == "solo")
    monkeypatch.setattr(Health, "ready", ready)
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", engine)
    monkeypatch.setenv("PLANETMINT_TENDERMINT_PORT", "9")
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        monkeypatch.setenv("PLANETMINT_SERVER_BIND", f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        outcome = planetmint("status")
        told = json.loads(planetmint("status", "--json").out)
        server.shutdown()
        thread.join()
    assert (outcome.code, told["exit_code"]) == (code, code)
    assert "running, these are the node's words" in outcome.out
    assert told["node"]["ready"] is ready


def test_status_of_a_running_node_without_a_readable_database_is_trouble(
    data: Path, planetmint: Planetmint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        monkeypatch.setenv("PLANETMINT_SERVER_BIND", f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        outcome = planetmint("status")
        server.shutdown()
        thread.join()
    assert outcome.code == 4
    assert "There is no database" in outcome.out
