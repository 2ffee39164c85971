# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every changed bit of a stored ledger is found by an audit of all blocks and the end; nothing raises."""

import random
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from planetmint.model.block import BlockEvents, BlockRecord
from planetmint.model.election import ChainRecord
from planetmint.model.transaction import Asset, Operation
from planetmint.model.validator import Validator
from planetmint.storage.sqlite import FILE_NAME, SqliteStore
from planetmint.testing.store_conformance import (
    ANYBODY,
    FOUNDING,
    Chain,
    digest,
    election,
    header_of,
    ref,
    transaction,
    transfer,
)

FLIPS = 100

FOUNDING_BLOCK = BlockRecord(header_of(0), (), (), (), BlockEvents(0, header_of(0).app_hash, ()))

WORDS = ["red", "fox", "gold", "under_score", "Qm" + "aB3" * 15, "naïve", "dog"]


@pytest.fixture(autouse=True)
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few ids begin a round, so that there are some in the tree of ids and a round is under way."""
    monkeypatch.setattr("planetmint.storage.sqlite.recent.RecentIds.__init__.__defaults__", (40,), raising=True)


@pytest.fixture
def chain() -> Chain:
    """Blocks with everything that a block can do."""
    chance = random.Random(5)
    chain = Chain()
    for height in range(1, 45):
        made = [
            transaction(
                f"{height} {number}",
                owners=[(ANYBODY,), (digest(f"{height} {number}")[:44],)],
                assets=[Asset(None, " ".join(chance.choices(WORDS, k=5)))],
                metadata={"x": " ".join(chance.choices(WORDS, k=3))},
            )
            for number in range(height % 7)
        ]
        if height % 7 > 1:
            spent = [ref(f"{height} 0"), *([ref(f"{height - 2} 1")] if height % 7 > 3 else [])]
            made.append(transfer(f"t {height}", *spent, asset=f"{height} 0"))
        chain.block(*made)
    wish = Validator(b"\x07" * 32, 9)
    chain.block(
        transaction("e", Operation.VALIDATOR_ELECTION, metadata="an election"),
        validators=(*FOUNDING.validators, wish),
        elections=[election("e", 45, change=wish), election("m", 45)],
        chain=ChainRecord("conformance-migrated-at-height-44", 45, synced=False),
    )
    return chain


@pytest.fixture
async def ledger(chain: Chain, tmp_path: Path) -> Path:
    """The file of that chain, closed."""
    path = tmp_path / "whole" / FILE_NAME
    store = SqliteStore(path)
    await store.open()
    await store.found(FOUNDING, header_of(0))
    for block in chain.blocks:
        await store.save_block(block)
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    progress = connection.execute("SELECT max(indexed), max(round_end) FROM blocks").fetchone()
    connection.close()
    assert progress[0] > 40 and len(chain.transactions) > 100
    return path


async def audit(path: Path, chain: Chain) -> list[str]:
    """What an audit of the whole file finds."""
    store = SqliteStore(path, read_only=True)
    await store.open()
    found = [sentence for block in (FOUNDING_BLOCK, *chain.blocks) for sentence in await store.audit(block)]
    found += await store.audit_end(chain.end())
    await store.close()
    return found


def tables_of(path: Path) -> list[str]:
    """Every table with rows, those behind the word index too."""
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    connection.close()
    return [name for name in names if name != "words"]


def flip(path: Path, table: str, chance: random.Random) -> tuple[str, Sequence[object]]:
    """Change one random bit of one random stored value; tell its column and its row as it was."""
    connection = sqlite3.connect(path, isolation_level=None)
    columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    where = " AND ".join(f"{column} IS ?" for column in columns)
    while True:
        row = chance.choice(rows)
        place = chance.randrange(len(columns))
        if row[place] == b"":
            continue
        update = f"UPDATE OR IGNORE {table} SET {columns[place]} = ? WHERE {where}"
        if connection.execute(update, (flipped(row[place], chance), *row)).rowcount == 1:
            connection.close()
            return columns[place], row


def flipped(value: object, chance: random.Random) -> object:
    """The value with one bit changed."""
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(63)
    if isinstance(value, str):
        changed = flipped(value.encode(), chance)
        assert isinstance(changed, bytes)
        return changed.decode("latin-1")
    assert isinstance(value, bytes)
    bit = chance.randrange(8 * len(value))
    return bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(value))


async def test_each_of_a_hundred_random_bit_flips_in_any_table_is_found(
    ledger: Path, chain: Chain, tmp_path: Path
) -> None:
    assert await audit(ledger, chain) == []
    tables = tables_of(ledger)
    assert {"chain", "blocks", "validators", "elections", "transactions", "outputs", "spends", "ids"} < set(tables)
    assert {"words_data", "words_idx", "words_config"} < set(tables)
    chance = random.Random()
    seed = chance.getrandbits(64)
    chance.seed(seed)
    for number in range(FLIPS):
        copy = tmp_path / str(number) / FILE_NAME
        copy.parent.mkdir()
        shutil.copy(ledger, copy)
        table = tables[number % len(tables)]
        column, row = flip(copy, table, chance)
        assert await audit(copy, chain), f"seed {seed}: {table}.{column} of {row} is changed and not found"
        shutil.rmtree(copy.parent)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            "UPDATE transactions SET body = x'00' WHERE id = (SELECT id FROM transactions WHERE height = 9)",
            "block 9",
        ),
        ("DELETE FROM transactions WHERE height = 10", "of block 10 is missing"),
        ("DELETE FROM outputs WHERE place >> 20 = (SELECT max(sequence) FROM transactions)", "table outputs"),
        ("UPDATE blocks SET events = '[]' WHERE height = 11", "the events of block 11"),
        ("UPDATE blocks SET header = 'text' WHERE height = 12", "the header of block 12"),
        ("UPDATE blocks SET header = x'c3' WHERE height = 45", "the header of block 45"),
        ("DELETE FROM blocks WHERE height = 13", "block 13 is missing"),
        ("UPDATE blocks SET next = next + 1 WHERE height = 14", "block 14"),
        ("INSERT INTO outputs VALUES (5, x'00')", "table outputs: output at place 5 of block 1 is there"),
        ("INSERT INTO spends VALUES ((1 << 20) + 1, 99)", "table spends: the number of rows"),
        ("INSERT INTO ids VALUES (5, 7)", "table ids"),
        ("INSERT INTO elections VALUES (zeroblob(32), x'00')", "table elections: the record of election 00000000"),
        ("UPDATE elections SET election = CAST(election AS TEXT)", "table elections"),
        ("INSERT INTO validators VALUES (17, x'00')", "the set that block 16 stores is there"),
        ("INSERT INTO validators VALUES (170, x'00')", "table validators: the number of rows"),
        ("INSERT INTO words (rowid, links) VALUES (3, 'more')", "of block 2"),
        ("INSERT INTO words (rowid, links) VALUES (3000, 'more')", "number 3000"),
        ("INSERT INTO words (words) VALUES ('delete-all')", "table words"),
        ("DROP TABLE elections", "no such table"),
        ("DROP TABLE words", "word"),
        ("DELETE FROM words_config", "setting version"),
        ("UPDATE words_data SET block = x'ffffffffffffffffffff'", "list of segments"),
        ("UPDATE words_data SET block = x'ffffffffffffffffffff' WHERE id > 10", "word index"),
    ],
)
async def test_damage_is_named_and_does_not_raise(ledger: Path, chain: Chain, damage: str, named: str) -> None:
    connection = sqlite3.connect(ledger)
    connection.execute(damage)
    connection.commit()
    connection.close()
    found = await audit(ledger, chain)
    assert any(named in sentence for sentence in found), found


async def test_a_damaged_page_is_told_of_and_does_not_raise(ledger: Path, chain: Chain) -> None:
    """Bytes of the file itself, not of a value."""
    chance = random.Random(4)
    whole = ledger.read_bytes()
    for page in chance.sample(range(1, len(whole) // 4096), k=8):
        ledger.write_bytes(whole[: page * 4096] + chance.randbytes(4096) + whole[(page + 1) * 4096 :])
        assert await audit(ledger, chain), f"page {page} is overwritten"


async def test_an_audit_in_part_speaks_of_the_audited_blocks_alone(ledger: Path, chain: Chain) -> None:
    store = SqliteStore(ledger, read_only=True)
    await store.open()
    for block in chain.blocks[20:30]:
        assert await store.audit(block) == ()
    assert await store.audit_end(chain.end()) == ()
    await store.close()


async def test_an_audit_goes_on_beside_a_writer(ledger: Path, chain: Chain) -> None:
    store = SqliteStore(ledger)
    await store.open()
    reader = SqliteStore(ledger, read_only=True)
    await reader.open()
    before = chain.end()
    for block in list(chain.blocks):
        await store.save_block(chain.block(transaction(f"later {block.header.height}", metadata="later words")))
        assert await reader.audit(block) == ()
    (told,) = await reader.audit_end(before)
    assert "newest block is 90, not 45" in told
    for block in chain.blocks[45:]:
        assert await reader.audit(block) == ()
    assert await reader.audit_end(chain.end()) == ()
    await reader.close()
    await store.close()
