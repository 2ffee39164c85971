# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ledger's file: its layout, its owner, its faults."""

import asyncio
import gzip
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from planetmint.model.election import ChainRecord
from planetmint.model.search import parse_search
from planetmint.model.transaction import Asset
from planetmint.ports.errors import LayoutError, StoreError, StoreFull
from planetmint.ports.store import StateReads
from planetmint.storage.sqlite import FILE_NAME, SqliteStore, migrate
from planetmint.storage.sqlite.layout import APPLICATION_ID, VERSION, id_hash
from planetmint.storage.sqlite.record import KEY
from planetmint.testing.store_conformance import (
    ALL,
    ANYBODY,
    FOUNDING,
    Chain,
    block_of,
    digest,
    election,
    header_of,
    ref,
    transaction,
    transfer,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path)
    await opened.open()
    await opened.found(FOUNDING, header_of(0))
    yield opened
    await opened.close()


def edit(path: Path, *statements: str) -> None:
    """Change the file behind the store's back."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def refusal(path: Path) -> StoreError:
    """How opening fails."""
    store = SqliteStore(path)
    with pytest.raises(StoreError) as raised:
        await store.open()
    await store.close()
    return raised.value


async def test_nothing_is_made_before_the_store_is_opened(path: Path) -> None:
    SqliteStore(path)
    assert list(path.parent.iterdir()) == []


async def test_a_directory_stands_for_the_ledger_in_it(path: Path) -> None:
    store = SqliteStore(path.parent)
    await store.open()
    await store.close()
    assert path.exists()


async def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a" / "b" / FILE_NAME)
    await store.open()
    await store.close()


async def test_the_file_says_whose_it_is(store: SqliteStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_an_older_layout_names_the_command_to_run(store: SqliteStore, path: Path) -> None:
    await store.close()
    edit(path, "PRAGMA user_version = 0")
    error = await refusal(path)
    assert isinstance(error, LayoutError) and "planetmint migrate" in str(error)


async def test_a_newer_layout_says_so(store: SqliteStore, path: Path) -> None:
    await store.close()
    edit(path, f"PRAGMA user_version = {VERSION + 1}")
    error = await refusal(path)
    assert isinstance(error, LayoutError)
    assert "newer" in str(error) and "planetmint migrate" in str(error)


async def test_another_programs_file_is_left_alone(path: Path) -> None:
    edit(path, "CREATE TABLE notes (text)")
    before = path.read_bytes()
    error = await refusal(path)
    assert isinstance(error, LayoutError) and "planetmint migrate" in str(error)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]
    connection.close()
    assert len(path.read_bytes()) == len(before)


async def test_a_file_that_is_no_database_is_a_store_error(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)
    assert "not a database" in str(await refusal(path))


LAYOUT_1 = Path(__file__).with_name("layout_1.db.gz")
"""A ledger written by the first layout: two transactions in block 1, none in 2, one and a validator set in 3."""


async def test_a_ledger_of_layout_1_is_migrated_and_goes_on(path: Path) -> None:
    path.write_bytes(gzip.decompress(LAYOUT_1.read_bytes()))
    error = await refusal(path)
    assert isinstance(error, LayoutError) and "layout 1" in str(error) and "run `planetmint migrate`" in str(error)
    assert migrate(path) == 1
    assert migrate(path) == VERSION
    chain = Chain()
    chain.block(transaction("a", metadata="old words"), transaction("b", assets=[Asset(None, "content")]))
    chain.block()
    chain.block(transfer("t", ref("a"), asset="a"), validators=FOUNDING.validators[:1])
    store = SqliteStore(path)
    await store.open()
    assert await store.founding() == FOUNDING
    assert await store.elections() == ()
    view = await store.read_state(StateReads([], [], [digest("e")]))
    assert view.chain() == ChainRecord(FOUNDING.chain_id)
    assert view.validator_changes() == (4, 1)
    waiting = ChainRecord("next", 4, synced=False)
    await store.save_block(chain.block(transaction("e"), elections=[election("e", 4)], chain=waiting))
    assert await store.elections() == (election("e", 4),)
    for block in chain.blocks:
        assert await store.audit(block) == ()
    assert await store.audit_end(chain.end()) == ()
    await store.close()


async def test_an_empty_ledger_of_layout_1_is_migrated(path: Path) -> None:
    path.write_bytes(gzip.decompress(LAYOUT_1.read_bytes()))
    edit(path, *(f"DELETE FROM {table}" for table in ("chain", "blocks", "validators", "transactions", "outputs")))
    assert migrate(path) == 1
    store = SqliteStore(path)
    await store.open()
    assert await store.head() is None
    await store.close()


async def test_a_migrated_ledger_has_the_tables_of_a_new_one(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.db"
    old.write_bytes(gzip.decompress(LAYOUT_1.read_bytes()))
    migrate(old)
    assert schema(old) == schema(path)


def schema(path: Path) -> set[tuple[str, str]]:
    """Names and statements of a file's tables and indexes."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return set(rows)


async def test_migration_runs_every_step_once_and_keeps_what_is_done(store: SqliteStore, path: Path) -> None:
    await store.close()
    done: list[int] = []

    def step(connection: sqlite3.Connection) -> None:
        done.append(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.execute(f"CREATE TABLE step_{len(done)} (x)")

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        connection.execute("CREATE TABLE half (x)")

    with pytest.raises(StoreError, match="half"):
        migrate(path, {VERSION: step, VERSION + 1: fails}, VERSION + 2)
    assert migrate(path, {VERSION: step, VERSION + 1: step}, VERSION + 2) == VERSION + 1
    assert migrate(path, {}, VERSION + 2) == VERSION + 2
    assert done == [VERSION, VERSION + 1]
    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    connection.close()
    assert {"step_1", "step_2"} <= names and "half" not in names


async def test_migration_refuses_what_it_does_not_know(store: SqliteStore, path: Path) -> None:
    await store.close()
    with pytest.raises(LayoutError):
        migrate(path, {}, VERSION + 1)
    with pytest.raises(StoreError):
        migrate(path.parent / "none.db")
    assert not (path.parent / "none.db").exists()


async def test_migration_of_a_file_in_use_is_refused(store: SqliteStore, path: Path) -> None:
    with pytest.raises(StoreError, match="in use"):
        migrate(path)


async def test_a_missing_block_is_found_at_start(store: SqliteStore, path: Path) -> None:
    for height in (1, 2):
        await store.save_block(block_of(height, [transaction(str(height))]))
    await store.close()
    edit(path, "DELETE FROM blocks WHERE height = 1")
    assert "damaged" in str(await refusal(path))


async def test_missing_transactions_of_the_newest_block_are_found_at_start(store: SqliteStore, path: Path) -> None:
    await store.save_block(block_of(1, [transaction("a"), transaction("b")]))
    await store.close()
    edit(path, "DELETE FROM transactions WHERE sequence = 1")
    assert "newest block 1" in str(await refusal(path))


async def test_a_second_writer_is_refused_and_a_reader_is_not(store: SqliteStore, path: Path) -> None:
    assert "in use" in str(await refusal(path))
    script = f"""
        import asyncio, pathlib
        from planetmint.storage.sqlite import SqliteStore
        asyncio.run(SqliteStore(pathlib.Path({str(path)!r})).open())
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1 and "StoreError" in run.stderr and "in use" in run.stderr
    reader = SqliteStore(path, read_only=True)
    await reader.open()
    for height, name in enumerate("abc", 1):
        await store.save_block(block_of(height, [transaction(name)]))
        assert await reader.height_of(digest(name)) == height
        assert (await reader.outputs_by_key(ANYBODY, None, ALL)).items == tuple(map(ref, "abc"[:height]))
    with pytest.raises(StoreError):
        await reader.save_block(block_of(4, []))
    await reader.close()


async def test_a_reader_makes_no_file(path: Path) -> None:
    reader = SqliteStore(path, read_only=True)
    with pytest.raises(StoreError, match="there is no ledger at"):
        await reader.open()
    assert list(path.parent.iterdir()) == []


async def test_a_reader_sees_every_block_while_the_log_is_copied_into_the_file(
    store: SqliteStore, path: Path
) -> None:
    reader = SqliteStore(path, read_only=True)
    await reader.open()
    chain = Chain()
    for height in range(1, 31):
        made = [transaction(f"{height} {number}", metadata="word " * 200) for number in range(20)]
        await store.save_block(chain.block(*made, elections=[election("e", 1, votes=height)]))
        if height % 3 == 0:
            await store._open.write(lambda session: session.rows("PRAGMA wal_checkpoint(TRUNCATE)"))
        assert await reader.head() == header_of(height)
        assert await reader.elections() == (election("e", 1, votes=height),)
        assert (await reader.read_state(StateReads([made[7].id], []))).has_transaction(made[7].id)
        assert [await reader.audit(block) for block in chain.blocks[-2:]] == [()] * min(height, 2)
    await reader.close()


async def test_a_reader_reads_what_a_killed_writer_left(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    await store.save_block(block_of(1, [transaction("a")]))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (FILE_NAME, FILE_NAME + "-wal"):
        shutil.copy(path.with_name(name), copy / name)
    reader = SqliteStore(copy, read_only=True)
    await reader.open()
    assert await reader.height_of(digest("a")) == 1
    await reader.close()


async def test_ten_thousand_small_blocks_are_saved_together_and_words_of_them_are_found(
    store: SqliteStore,
) -> None:
    chain = Chain()
    for height in range(1, 10_001):
        chain.block(transaction(f"{height}", metadata=f"word{height}"))
    await store.save_blocks(chain.blocks[:9_999])
    await store.save_block(chain.blocks[-1])
    for height in (1, 5_000, 10_000):
        found = await store.search_metadata(parse_search(f"word{height}"), ALL)
        assert [hit.transaction_id for hit in found.items] == [digest(str(height))]
        assert await store.audit(chain.blocks[height - 1]) == ()


async def test_a_cancelled_save_of_several_blocks_ends_and_their_transactions_are_known(
    store: SqliteStore,
) -> None:
    chain = Chain()
    blocks = [chain.block(transaction(name)) for name in "abc"]
    for turns in range(1, 12):
        saving = asyncio.create_task(store.save_blocks(blocks))
        for _ in range(turns):
            await asyncio.sleep(0)
        saving.cancel()
        with suppress(asyncio.CancelledError, StoreError):
            await saving
        await store._open.write(lambda session: None)
        head = await store.head()
        assert head is not None and head.height in (0, 3)
        known = [await store.height_of(digest(name)) for name in "abc"]
        assert known == ([None] * 3 if head.height == 0 else [1, 2, 3])
    with pytest.raises(StoreError):
        await store.save_block(block_of(4, [transaction("b")]))


async def test_drop_deletes_the_ledger_and_a_new_one_can_be_made(store: SqliteStore, path: Path) -> None:
    await store.save_block(block_of(1, [transaction("a")]))
    await store.drop()
    assert [item.name for item in path.parent.iterdir() if "lock" not in item.name] == []
    await store.open()
    assert await store.head() is None
    await store.drop()
    await store.drop()


async def test_drop_leaves_the_ledger_of_another_process_alone(store: SqliteStore, path: Path) -> None:
    with pytest.raises(StoreError, match="in use"):
        await SqliteStore(path).drop()
    assert path.exists()


@pytest.mark.parametrize(
    "fault", ["PRAGMA max_page_count = 1", "PRAGMA query_only = ON"], ids=["full disk", "read-only disk"]
)
async def test_a_disk_that_takes_nothing_is_store_full_and_the_store_goes_on_afterwards(
    store: SqliteStore, fault: str
) -> None:
    chain = Chain()
    await store.save_block(chain.block(transaction("a")))
    block = chain.block(*(transaction(f"b{number}", metadata="word " * 50) for number in range(100)))
    await store._open.write(lambda session: session.rows(fault))
    with pytest.raises(StoreFull) as raised:
        await store.save_block(block)
    assert FILE_NAME in str(raised.value)
    assert await store.head() == header_of(1)
    assert await store.transaction(digest("b1")) is None
    assert (await store.search_metadata(parse_search("word"), ALL)).items == ()
    await store.save_block(block)
    await store.save_block(chain.block(transfer("t", ref("b7"), asset="b7")))
    assert await store.height_of(digest("b99")) == 2
    assert len((await store.search_metadata(parse_search("word"), ALL)).items) == 100


_FILE_SIZE_LIMIT = """
    import asyncio, pathlib, resource, signal
    from planetmint.ports.errors import StoreError
    from planetmint.storage.sqlite import SqliteStore
    from planetmint.testing.store_conformance import *

    async def main():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = SqliteStore(pathlib.Path({path!r}))
        await store.open()
        await store.found(FOUNDING, header_of(0))
        await store.save_block(block_of(1, [transaction("a")]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        errors = 0
        height = 2
        while errors < 5:
            try:
                await store.save_block(block_of(height, [transaction(f"{{height}} {{n}}") for n in range(30)]))
                height += 1
            except StoreError as error:
                print(type(error).__name__, error)
                errors += 1
                assert (await store.head()).height == height - 1
                assert await store.transaction(digest(f"{{height}} 0")) is None
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await store.save_block(block_of(height, [transaction(f"{{height}} {{n}}") for n in range(30)]))
        await store.close()
        await store.open()
        assert (await store.head()).height == height > 2
        print("went on")

    asyncio.run(main())
"""


def test_writes_that_the_system_refuses_are_store_full_and_leave_nothing(path: Path) -> None:
    script = textwrap.dedent(_FILE_SIZE_LIMIT.format(path=str(path)))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[-1] == "went on" and all(line.startswith("StoreFull") for line in lines[:-1]), run.stdout


async def test_a_cancelled_save_ends_and_its_transactions_are_known(store: SqliteStore) -> None:
    saving = asyncio.create_task(store.save_block(block_of(1, [transaction("a")])))
    await asyncio.sleep(0)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await store.height_of(digest("a")) in (None, 1)
    await store._open.write(lambda session: None)
    assert await store.height_of(digest("a")) == 1


async def test_ids_are_found_in_memory_in_the_tree_and_after_a_restart(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planetmint.storage.sqlite.recent.RecentIds.__init__.__defaults__", (20,), raising=True)
    chain = Chain()
    store = SqliteStore(path)
    await store.open()
    await store.found(FOUNDING, header_of(0))
    for height in range(1, 60):
        await store.save_block(chain.block(*(transaction(f"{height} {number}") for number in range(height % 7))))
        if height % 9 == 0:
            await store.close()
            await store.open()
    ids = [item.id for item in chain.transactions]
    view = await store.read_state(StateReads(ids, []))
    assert all(view.has_transaction(item) for item in ids)
    assert not view.has_transaction(digest("none"))
    with pytest.raises(StoreError):
        await store.save_block(block_of(60, [transaction("1 0")]))
    await store.close()
    connection = sqlite3.connect(path)
    in_tree = connection.execute("SELECT count(DISTINCT sequence) FROM ids").fetchone()[0]
    indexed = connection.execute("SELECT max(indexed) FROM blocks").fetchone()[0]
    connection.close()
    assert len(ids) > in_tree >= indexed > 20


async def test_ids_with_equal_beginnings_are_told_apart(store: SqliteStore) -> None:
    first, second = (transaction(name) for name in "ab")
    twin = first.id[:16] + second.id[16:]
    assert id_hash(twin) == id_hash(first.id)
    await store.save_block(block_of(1, [first]))
    assert await store.transaction(twin) is None
    assert not (await store.read_state(StateReads([twin], []))).has_transaction(twin)


async def test_texts_with_equal_hashes_are_told_apart(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("record", "queries"):
        monkeypatch.setattr(f"planetmint.storage.sqlite.{module}.link_of", lambda kind, text: "same")
    a = transaction("a", metadata="x")
    t = transfer("t", ref("a"), asset="a")
    await store.save_block(block_of(1, [a, t]))
    assert ANYBODY.encode() != KEY
    assert (await store.outputs_by_key(ANYBODY, None, ALL)).items == (ref("a"),)
    assert (await store.outputs_by_key(ANYBODY[:-1], None, ALL)).items == ()
    assert len((await store.metadata_by_content("x", ALL)).items) == 1
    assert (await store.metadata_by_content("y", ALL)).items == ()
    assert (await store.transactions_by_asset([digest("b")], None, last=False, paging=ALL)).items == ()
    found = await store.transactions_by_asset([digest("a")], None, last=False, paging=ALL)
    assert found.items == (a.canonical, t.canonical)


async def test_very_long_words_and_capitals_in_identifiers_are_told_apart(store: SqliteStore) -> None:
    words = [
        "a" * 40_000,
        "a" * 40_001,
        "A" + "a" * 39,
        "_A" + "a" * 38,
        "__a" + "a" * 37,
        "a" * 40,
        "Ж" * 40,
        "ж" * 40,
    ]
    made = [transaction(str(place), metadata=word) for place, word in enumerate(words)]
    await store.save_block(block_of(1, made))
    for word in words:
        found = await store.search_metadata(parse_search(word), ALL)
        wanted = [other.id for other, text in zip(made, words, strict=True) if text == word]
        assert [hit.transaction_id for hit in found.items] == wanted, word[:50]


async def test_rows_that_cannot_be_read_are_store_errors(store: SqliteStore, path: Path) -> None:
    await store.save_block(block_of(1, [transaction("a")]))
    edit(path, "UPDATE outputs SET output = '[]'", "UPDATE blocks SET events = '{', header = x'00'")
    for reading in (store.head(), store.events(1, 10), store.read_state(StateReads([], [ref("a")]))):
        with pytest.raises(StoreError, match="damaged"):
            await reading
    assert await store.height_of(digest("a")) == 1


async def test_a_search_for_very_many_words_is_answered(store: SqliteStore) -> None:
    await store.save_block(block_of(1, [transaction("a", metadata="w7 w8")]))
    words = " ".join(f'w{number} -x{number} "y{number} z"' for number in range(2_000))
    assert (await store.search_metadata(parse_search(words), ALL)).items == ()
    found = await store.search_metadata(parse_search(" ".join(f"w{number}" for number in range(2_000))), ALL)
    assert [hit.transaction_id for hit in found.items] == [digest("a")]
