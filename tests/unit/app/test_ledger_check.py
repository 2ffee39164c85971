# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever is changed in a stored ledger is found, and named by block and record."""

import random
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from planetmint.app import Mode, SignatureCache, Verifier
from planetmint.app.contracts import ContractJudge
from planetmint.app.verify import Difference, LedgerCheck, Verified
from planetmint.chain import sign_header
from planetmint.chain.derive import derive_founding, follow
from planetmint.contracts import EngineAnswer
from planetmint.model.block import BlockHeader, BlockRecord, BlockSummary
from planetmint.ports.errors import ContractOverrun, StoreError
from planetmint.ports.store import LedgerEnd, Store, StoredBlock
from planetmint.rules import decode_canonical
from planetmint.runtime.scratch import scratch_file
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.build import Wire
from tests.support.chains import BUILDER, SECRET, bulky, elected, grow, ordinary
from tests.support.ledger import PUBLIC, START, running
from tests.support.scripted_engine import PARAMETERS, SCRIPTED, ScriptedEngine, scripted

Reads = Callable[[int], Awaitable[StoredBlock | None]]


async def checked(
    store: Store, start: int = 0, contracts: ContractJudge | None = None
) -> tuple[Verified, list[Difference]]:
    found: list[Difference] = []
    verifier = Verifier(SignatureCache(1_000), threads=1, contracts=contracts)
    with scratch_file() as scratch:
        outcome = await LedgerCheck(store, verifier, scratch, found.append, start=start).run()
    verifier.close()
    assert outcome.differences == len(found)
    return outcome, found


class ShowingStore(MemoryStore):
    """Shows blocks other than they are; audits nothing, so that what is found is found by deriving."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[int, StoredBlock | None] = {}
        self.newest: BlockHeader | None = None

    async def head(self) -> BlockHeader | None:
        return self.newest or await super().head()

    async def audit_end(self, end: LedgerEnd) -> tuple[str, ...]:
        return ()

    async def block(self, height: int) -> StoredBlock | None:
        return self.shown[height] if height in self.shown else await super().block(height)

    async def audit(self, block: BlockRecord) -> tuple[str, ...]:
        return ()


async def showing(blocks: Sequence[Sequence[bytes]], *, signed: bool = True) -> ShowingStore:
    store = ShowingStore()
    await store.open()
    await grow(store, blocks, signed=signed)
    return store


async def forged(blocks: Sequence[Sequence[bytes]]) -> ShowingStore:
    """A chain whose maker accepts everything; all its headers and hashes follow from its transactions."""
    store = await showing([])
    founding = await store.founding()
    assert founding is not None
    first = await block_of(store, 0)
    standing = derive_founding(founding, first.summary.header)
    for raws in blocks:
        transactions = [decode_canonical(raw, founding.parameters) for raw in raws]
        header = replace(standing.head, time=standing.head.time + 1)
        record = follow(standing, header, transactions)
        record = replace(record, header=sign_header(record.header, SECRET))
        summary = BlockSummary(record.header, tuple(item.id for item in transactions))
        store.shown[record.header.height] = StoredBlock(summary, tuple(raws))
        standing = standing.after(record)
    store.newest = standing.head
    return store


def _forge(wire: Wire) -> None:
    """Another's signature in the place of one's own."""
    wire["inputs"][0]["fulfillment"] = BUILDER.create("mallory").wire["inputs"][0]["fulfillment"]


async def block_of(store: Store, height: int) -> StoredBlock:
    block = await store.block(height)
    assert block is not None
    return block


def with_header(block: StoredBlock, **changes: object) -> StoredBlock:
    header = replace(block.summary.header, **changes)  # type: ignore[arg-type]
    return block._replace(summary=block.summary._replace(header=header))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("blocks", [ordinary, elected])
async def test_a_sound_ledger_has_no_differences(
    blocks: Callable[[], list[list[bytes]]], signed: bool, tmp_path: Path
) -> None:
    for store in (MemoryStore(), SqliteStore(tmp_path / "ledger.db")):
        await store.open()
        await grow(store, blocks(), signed=signed)
        outcome, found = await checked(store)
        assert found == []
        assert outcome.whole
        assert outcome.head == await store.head()
        assert outcome.transactions > 5
        await store.close()


async def test_hundred_of_hundred_random_bit_flips_in_stored_records_are_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteStore(path)
    await store.open()
    await grow(store, [*ordinary(), *bulky(3, 200)])
    await store.close()
    seed = random.randrange(2**32)
    chosen = random.Random(seed)
    sound = path.read_bytes()
    for number in range(100):
        path.write_bytes(sound)
        what = flip_bit(path, chosen)
        damaged = SqliteStore(path, read_only=True)
        await damaged.open()
        try:
            _, found = await checked(damaged)
        finally:
            await damaged.close()
        assert found, f"seed {seed}, number {number}: {what}"
    path.write_bytes(sound)


TABLES = {
    "chain": ("rowid", ("founding", "newest")),
    "blocks": ("rowid", ("header", "ids", "events", "next")),
    "transactions": ("rowid", ("height", "kind", "id", "body")),
    "outputs": ("rowid", ("place", "output")),
    "spends": ("rowid", ("place", "spender")),
    "validators": ("rowid", ("height", "validators")),
}


def flip_bit(path: Path, chosen: random.Random) -> str:
    """Change one bit of one value of a stored record; says which."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        table = chosen.choice([name for name in TABLES for _ in range(1 + (name in ("blocks", "transactions")))])
        key, columns = TABLES[table]
        rows = [row[0] for row in connection.execute(f"SELECT {key} FROM {table}")]
        row, column = chosen.choice(rows), chosen.choice(columns)
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (row,)).fetchone()
        if isinstance(value, int):
            changed: object = value ^ 1 << chosen.randrange(8)
        elif not value:
            return flip_bit(path, chosen)
        else:
            at = chosen.randrange(8 * len(value))
            changed = bytearray(value)
            changed[at >> 3] ^= 1 << (at & 7)
        try:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (changed, row))
        except sqlite3.IntegrityError:
            return flip_bit(path, chosen)
        return f"{table}.{column} of {row}"


@pytest.mark.parametrize("name", ["time", "previous_hash", "root", "app_hash", "proposer", "signature"])
async def test_a_changed_header_is_named_with_its_block(name: str) -> None:
    store = await showing(ordinary())
    block = await block_of(store, 3)
    value = getattr(block.summary.header, name)
    other = value + 1 if isinstance(value, int) else ("1" if value[0] == "0" else "0") + value[1:]
    store.shown[3] = with_header(block, **{name: other})
    _, found = await checked(store)
    assert 3 in {item.height for item in found}
    assert {item.height for item in found} <= {3, 4}


async def test_a_header_whose_hash_is_none_is_named_and_the_next_block_is_not_blamed_for_its_own() -> None:
    store = await showing(ordinary())
    store.shown[3] = with_header(await block_of(store, 3), app_hash="no hash at all")
    _, found = await checked(store)
    assert any(item.height == 3 and "app_hash" in item.text for item in found)
    assert {item.height for item in found} <= {3, 4}


async def test_a_signature_in_other_letters_is_not_the_one_that_was_made() -> None:
    store = await showing(ordinary())
    block = await block_of(store, 3)
    store.shown[3] = with_header(block, signature=block.summary.header.signature.upper())
    _, found = await checked(store)
    assert [(item.height, "signature" in item.text) for item in found] == [(3, True)]


async def test_where_the_engine_signs_a_changed_time_is_told_by_the_next_block() -> None:
    store = await showing(ordinary(), signed=False)
    block = await block_of(store, 3)
    store.shown[3] = with_header(block, time=block.summary.header.time + 1)
    _, found = await checked(store)
    assert [item.height for item in found] == [4]
    assert "previous_hash" in found[0].text


async def test_a_damaged_transaction_is_named_and_what_depends_on_it_is_not_blamed() -> None:
    made = BUILDER.create("alice")
    onward = BUILDER.transfer([made.spend()], [(1, "bob")])
    again = BUILDER.transfer([onward.spend()], [(1, "carol")])
    store = await showing([[made.canonical], [onward.canonical], [again.canonical], *ordinary()])
    block = await block_of(store, 1)
    store.shown[1] = block._replace(transactions=(block.transactions[0].replace(b"CREATE", b"CREATF"),))
    _, found = await checked(store)
    texts = [str(item) for item in found]
    assert any(text.startswith(f"block 1: transaction {made.id} is damaged") for text in texts)
    assert any(text.startswith("block 1: the header's app_hash") for text in texts)
    assert any(text.startswith(f"block 2: transaction {onward.id} cannot be checked") for text in texts)
    assert {item.height for item in found} <= {None, 1, 2}


async def test_a_transaction_that_stands_in_the_place_of_another_is_named() -> None:
    store = await showing(ordinary())
    block = await block_of(store, 1)
    other = BUILDER.create("mallory")
    store.shown[1] = block._replace(transactions=(other.canonical, *block.transactions[1:]))
    _, found = await checked(store)
    listed = block.summary.transaction_ids[0]
    assert any(
        str(item) == f"block 1: transaction {listed} is stored as another one, {other.id}" for item in found
    )


async def test_broken_rules_are_found_though_all_hashes_fit() -> None:
    made = BUILDER.create("alice")
    once = BUILDER.transfer([made.spend()], [(1, "bob")])
    twice = BUILDER.transfer([made.spend()], [(1, "carol")])
    unsigned = BUILDER.create("dora").changed(_forge)
    store = await forged([[made.canonical], [once.canonical], [twice.canonical], [unsigned.canonical]])
    _, found = await checked(store)
    texts = [str(item) for item in found]
    assert any(text.startswith(f"block 3: transaction {twice.id} breaks a rule (DoubleSpend") for text in texts)
    assert any(text.startswith(f"block 4: transaction {unsigned.id} breaks a rule (InvalidSig") for text in texts)
    assert {item.height for item in found} == {3, 4}


async def test_a_block_that_is_missing_or_cannot_be_read_is_one_difference_and_the_rest_is_checked() -> None:
    class Broken(ShowingStore):
        async def block(self, height: int) -> StoredBlock | None:
            if height == 5:
                raise StoreError("a page is damaged")
            return await super().block(height)

    store = Broken()
    await store.open()
    await grow(store, [*ordinary(), *bulky(3, 100)])
    store.shown[7] = None
    changed = await block_of(store, 9)
    store.shown[9] = with_header(changed, root="00" * 32)
    _, found = await checked(store)
    texts = [str(item) for item in found]
    assert "block 5: the block cannot be read: a page is damaged" in texts
    assert any(text.startswith("block 7: the block is missing") for text in texts)
    assert any(text.startswith("block 9: the header's root") for text in texts)
    assert {item.height for item in found} <= {None, 5, 7, 9}


async def test_blocks_below_the_first_that_is_checked_are_followed_only() -> None:
    audited: list[int] = []

    class Noting(MemoryStore):
        async def audit(self, block: BlockRecord) -> tuple[str, ...]:
            audited.append(block.header.height)
            return await super().audit(block)

    store = Noting()
    await store.open()
    await grow(store, ordinary())
    outcome, found = await checked(store, start=4)
    assert found == []
    assert audited == [4, 5, 6]
    assert outcome.transactions == (await checked(store))[0].transactions


async def test_blocks_that_come_meanwhile_are_checked_too() -> None:
    class Growing(MemoryStore):
        more = ordinary()[3:]

        async def audit(self, block: BlockRecord) -> tuple[str, ...]:
            found = await super().audit(block)
            if self.more and block.header.height >= 3:
                raws = self.more.pop(0)
                await grow(self, [raws])
            return found

    store = Growing()
    await store.open()
    await grow(store, ordinary()[:3])
    outcome, found = await checked(store)
    assert found == []
    assert outcome.whole
    head = await store.head()
    assert isinstance(head, BlockHeader)
    assert (outcome.head, head.height) == (head, 6)


async def test_a_store_without_a_readable_beginning_is_told_so() -> None:
    store = await showing(ordinary())
    store.shown[0] = None
    outcome, found = await checked(store)
    assert outcome.head is None
    assert not outcome.whole
    assert any("nothing else can be checked" in str(item) for item in found)


async def with_contracts() -> MemoryStore:
    """A chain with contracts: three that agree, and an ordinary transaction."""
    store = MemoryStore()
    items = [scripted(f"agrees {number}") for number in range(3)]
    judge = ContractJudge(ScriptedEngine())
    async with running(store, parameters=PARAMETERS, contracts=judge) as node:
        for item in [*items, SCRIPTED.create("alice")]:
            await node.app.submit(item.canonical, Mode.COMMIT)
    await store.open()
    return store


async def test_contracts_are_run_again_and_what_they_do_not_say_is_named() -> None:
    store = await with_contracts()
    outcome, found = await checked(store, contracts=ContractJudge(ScriptedEngine()))
    assert (found, outcome.unjudged, outcome.transactions) == ([], 0, 4)
    other = ScriptedEngine()
    other.answer = lambda call, patience: EngineAnswer(b'{"output": ["changed"]}', b"")  # type: ignore[method-assign]
    _, found = await checked(store, start=3, contracts=ContractJudge(other))
    assert [item.height for item in found] == [3]
    assert "breaks a rule (InvalidScript: script did not produce the declared outputs)" in found[0].text


@pytest.mark.parametrize("failure", ["no engine", "another engine", "an engine that fails"])
async def test_contracts_that_cannot_be_run_are_counted_and_the_rest_is_checked(failure: str) -> None:
    store = await with_contracts()
    engine = ScriptedEngine()
    if failure == "another engine":
        engine.name = "scripted 2"
    if failure == "an engine that fails":
        engine.failure = ContractOverrun("it took too long")
    judge = ContractJudge(None if failure == "no engine" else engine)
    outcome, found = await checked(store, contracts=judge)
    assert (found, outcome.unjudged, outcome.transactions, outcome.whole) == ([], 3, 4, True)


async def test_a_block_with_more_contracts_than_the_chain_allows_is_a_difference() -> None:
    store = ShowingStore()
    source = await with_contracts()
    judge = ContractJudge(ScriptedEngine())
    async with running(store, parameters=PARAMETERS, contracts=judge, make_blocks=False) as node:
        for height in range(1, 5):
            block = await source.block(height)
            assert block is not None
            await node.lifecycle.finalize_block(height, START + height, PUBLIC, block.transactions)
            await node.lifecycle.commit()
        last = await store.block(4)
        assert last is not None
        many = [scripted(f"agrees {number}", "bob") for number in range(5)]
        summary = last.summary._replace(transaction_ids=tuple(item.id for item in many))
        store.shown[4] = last._replace(summary=summary, transactions=tuple(item.canonical for item in many))
        _, found = await checked(store, contracts=ContractJudge(ScriptedEngine()))
    assert any(
        f"{many[4].id} breaks a rule (InvalidScript: the block holds 4 contracts" in item.text for item in found
    )
