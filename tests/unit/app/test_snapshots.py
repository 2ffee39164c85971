# SPDX-License-Identifier: AGPL-3.0-or-later
"""Snapshots: what one node offers another takes whole or not at all (consensus-and-storage 4, decision D10)."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import pytest

from planetmint.app import BlockLifecycle, CommittedFeed, SignatureCache, Verifier, snapshots, transfer
from planetmint.app.snapshots import Origin, SnapshotService
from planetmint.chain import archive, found_chain, founding_header
from planetmint.chain.archive import (
    ArchivedBlock,
    ArchiveEnd,
    Cutter,
    Record,
    RecordReader,
    encode_block,
    encode_end,
    encode_founding,
    pack,
    unpack,
)
from planetmint.chain.derive import derive_block, derive_founding, follow
from planetmint.model.block import BlockHeader, BlockRecord, Founding
from planetmint.ports.errors import StoreError
from planetmint.ports.snapshots import ChunkVerdict, Snapshot
from planetmint.ports.store import StateReads, Store
from planetmint.rules import decode_canonical
from planetmint.storage.memory import MemoryStore
from tests.support.chains import BUILDER, MIGRATED_AT, bulky, dump, elected, grow, ordinary
from tests.support.ledger import StepClock

PIECE_BYTES = 64 << 10


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a size that does not need chains of megabytes."""
    for module in (archive, snapshots):
        monkeypatch.setattr(module, "PIECE_BYTES", PIECE_BYTES)
    monkeypatch.setattr(transfer, "_BATCH_BLOCKS", 4)
    monkeypatch.setattr(transfer, "_ATTEMPTS", 2)


class MemorySpool:
    """Implements `Spool` in memory."""

    def __init__(self) -> None:
        self.chunks: dict[int, bytes] = {}
        self.marked = False

    def clear(self) -> None:
        self.chunks, self.marked = {}, False

    def put(self, index: int, chunk: bytes) -> None:
        self.chunks[index] = chunk

    def get(self, index: int) -> bytes:
        return self.chunks[index]

    def mark(self) -> None:
        self.marked = True


class MemoryNotes:
    """Implements `Notes` in memory."""

    def __init__(self) -> None:
        self.data: bytes | None = None

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data


class CountingStore(MemoryStore):
    """Remembers which blocks were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    async def block(self, height: int):  # type: ignore[no-untyped-def]
        self.read.append(height)
        return await super().block(height)


class BreakingStore(MemoryStore):
    """Takes some batches of blocks and then no more."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches

    async def save_blocks(self, blocks: Sequence[BlockRecord]) -> None:
        if self.batches == 0:
            raise StoreError("the disk is full")
        self.batches -= 1
        await super().save_blocks(blocks)


async def opened(blocks: Sequence[Sequence[bytes]] = (), *, signed: bool = False) -> CountingStore:
    store = CountingStore()
    await store.open()
    if blocks:
        await grow(store, blocks, signed=signed)
    return store


async def served(store: Store, height: int) -> tuple[Snapshot, list[bytes]]:
    """The snapshot after a block and its chunks, as a peer gets them."""
    service = SnapshotService(store, MemorySpool())
    await service.make(height)
    (snapshot,) = await service.offers()
    chunks = [await service.chunk(snapshot.height, snapshot.format, index) for index in range(snapshot.chunks)]
    return snapshot, [chunk for chunk in chunks if chunk is not None]


async def trusted(store: Store, height: int) -> bytes:
    """The app hash after a block."""
    summary = await store.summary(height)
    assert summary is not None
    return bytes.fromhex(summary.header.app_hash)


async def origin(store: Store) -> Origin:
    """What the genesis of the engine that made the chain says."""
    founding, chain = await store.founding(), (await store.read_state(StateReads((), ()))).chain()
    renaming = await store.summary(chain.shift)
    assert founding is not None
    assert renaming is not None
    return Origin(founding.label, renaming.header.time + (1_000_000 if chain.shift else 0))


def resealed(stream: bytes, height: int) -> tuple[Snapshot, list[bytes]]:
    """A snapshot of any stream, as a peer offers it who made that up."""
    cutter = Cutter()
    pieces = [*cutter.feed(stream), cutter.rest]
    metadata = b"".join(sha256(piece).digest() for piece in pieces)
    snapshot = Snapshot(height, 1, len(pieces), sha256(metadata).digest(), metadata)
    return snapshot, [pack(piece) for piece in pieces]


def records(chunks: Sequence[bytes]) -> list[Record]:
    reader = RecordReader()
    return [record for chunk in chunks for record in reader.feed(unpack(chunk))]


def encoded(items: Sequence[Record]) -> bytes:
    parts = []
    for item in items:
        if isinstance(item, Founding):
            parts.append(encode_founding(item))
        elif isinstance(item, ArchivedBlock):
            parts.append(encode_block(item.header, item.transactions))
        else:
            parts.append(encode_end(item))
    return b"".join(parts)


def padded(size: int) -> bytes:
    return BUILDER.create("alice", metadata={"text": "x" * size}).canonical


async def give(service: SnapshotService, chunks: Sequence[bytes]) -> list[ChunkVerdict]:
    return [await service.add_chunk(index, chunk) for index, chunk in enumerate(chunks)]


@pytest.mark.parametrize("signed", [True, False])
async def test_the_taker_holds_what_the_maker_holds(signed: bool) -> None:
    store, empty = await opened(ordinary(), signed=signed), await opened()
    snapshot, chunks = await served(store, 6)
    spool = MemorySpool()
    taken: list[BlockHeader | None] = []

    async def remember() -> None:
        taken.append(await empty.head())

    service = SnapshotService(empty, spool, taken=remember)
    assert await service.take(snapshot, await trusted(store, 6))
    assert await give(service, chunks) == [ChunkVerdict.ACCEPTED] * snapshot.chunks
    assert await dump(empty) == await dump(store)
    assert taken == [await store.head()]
    assert (spool.chunks, spool.marked) == ({}, False)


@pytest.mark.parametrize("kept", [0, 1 << 30])
async def test_chunks_come_in_any_order_and_more_than_once(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_CACHED_BYTES", kept)
    store, empty = await opened(bulky(24, 8_000)), await opened()
    snapshot, chunks = await served(store, 24)
    assert snapshot.chunks >= 3
    service = SnapshotService(empty, MemorySpool())
    assert await service.take(snapshot, await trusted(store, 24))
    for index in (2, 2, 0, *range(3, snapshot.chunks), 1):
        assert await service.add_chunk(index, chunks[index]) is ChunkVerdict.ACCEPTED
    assert await dump(empty, words=()) == await dump(store, words=())


async def test_nodes_with_equal_ledgers_offer_equal_snapshots_whenever_they_make_them() -> None:
    blocks = bulky(40, 5_000)
    late, steady = await opened(blocks), await opened(blocks)
    notes = MemoryNotes()
    for height in (3, 4, 11, 29, 40):
        # A new service each time: the node was restarted in between.
        service = SnapshotService(steady, MemorySpool(), notes=notes)
        await service.make(height)
        steadily = await service.offers()
        chunks = [await service.chunk(height, 1, index) for index in range(steadily[0].chunks)]
        assert (steadily[0], chunks) == await served(late, height)


async def test_a_snapshot_goes_on_where_the_full_pieces_of_the_last_one_end() -> None:
    store = await opened(bulky(30, 8_000))
    notes = MemoryNotes()
    service = SnapshotService(store, MemorySpool(), notes=notes)
    await service.make(20)
    store.read.clear()
    await service.make(30)
    assert min(store.read) >= 15
    store.read.clear()
    again = SnapshotService(store, MemorySpool(), notes=notes)
    await again.make(30)
    assert min(store.read) >= 20
    assert await again.offers() == (await service.offers())[:1]


async def test_notes_of_another_chain_or_damaged_ones_are_not_used() -> None:
    notes = MemoryNotes()
    one = await opened(bulky(20, 8_000, "one"))
    await SnapshotService(one, MemorySpool(), notes=notes).make(20)
    good = notes.data
    assert good is not None
    # The same founding, and other blocks: as after going on from an older backup.
    other = await opened(bulky(20, 8_000, "other"))
    for data in (good, good[:-1], b"", b"\n", good.replace(b"1 ", b"2 ")):
        notes.data = data
        service = SnapshotService(other, MemorySpool(), notes=notes)
        await service.make(20)
        assert (await service.offers())[0] == (await served(other, 20))[0]


async def test_pieces_end_anywhere_in_a_block_and_in_the_end_of_the_stream() -> None:
    base = await opened(bulky(8, 8_200))
    _, chunks = await served(base, 8)
    room = PIECE_BYTES - len(unpack(chunks[-1]))
    rests = set()
    # One transaction longer and longer: the last piece ends in it, before, inside and after the stream's end.
    for more in (room - 900, *range(room - 700, room, 90), room + 100):
        store = await opened([*bulky(8, 8_200), [padded(more)]])
        snapshot, chunks = await served(store, 9)
        stream = b"".join(unpack(chunk) for chunk in chunks)
        assert [len(unpack(chunk)) for chunk in chunks[:-1]] == [PIECE_BYTES] * (snapshot.chunks - 1)
        assert stream == encoded(records(chunks))
        assert resealed(stream, 9)[0].metadata == snapshot.metadata
        rests.add(len(chunks))
    assert len(rests) == 2


async def test_a_damaged_chunk_is_asked_for_again() -> None:
    store, empty = await opened(ordinary()), await opened()
    snapshot, chunks = await served(store, 6)
    service = SnapshotService(empty, MemorySpool())
    assert await service.take(snapshot, await trusted(store, 6))
    damaged = chunks[0][:100] + bytes([chunks[0][100] ^ 1]) + chunks[0][101:]
    for index, wrong in (
        (0, damaged),
        (0, b""),
        (0, pack(b"other")),
        (-1, chunks[0]),
        (snapshot.chunks, chunks[0]),
    ):
        assert await service.add_chunk(index, wrong) is ChunkVerdict.REFETCH
    assert await service.add_chunk(0, chunks[0]) is ChunkVerdict.ACCEPTED
    assert await dump(empty) == await dump(store)


async def test_a_snapshot_that_does_not_lead_to_the_trusted_hash_is_rejected_and_nothing_stays() -> None:
    store, empty = await opened(ordinary()), await opened()
    snapshot, chunks = await served(store, 6)
    spool = MemorySpool()
    service = SnapshotService(empty, spool)
    assert await service.take(snapshot, sha256(b"another").digest())
    assert (await give(service, chunks))[-1] is ChunkVerdict.REJECTED
    assert (await empty.founding(), await empty.head()) == (None, None)
    assert (spool.chunks, spool.marked) == ({}, False)
    assert await service.add_chunk(0, chunks[0]) is ChunkVerdict.REJECTED
    # The next one is taken.
    assert await service.take(snapshot, await trusted(store, 6))
    assert await give(service, chunks) == [ChunkVerdict.ACCEPTED]


async def test_every_forged_stream_is_rejected_and_nothing_stays() -> None:
    store = await opened(ordinary())
    _, chunks = await served(store, 6)
    honest = records(chunks)
    assert encoded(honest) == b"".join(unpack(chunk) for chunk in chunks)
    end = honest[-1]
    assert isinstance(end, ArchiveEnd)
    forged: list[list[Record]] = [
        honest[:-1],
        honest[:-2],
        [*honest[:-2], end],
        [*honest[:3], *honest[4:]],
        [honest[0], *honest[2:]],
        [*honest[:-1], end._replace(height=5)],
        [*honest[:-1], end._replace(app_hash="00" * 32)],
        [*honest[:-1], end._replace(chain=end.chain.__class__("tests", 0, False))],
        [*honest[:-1], end._replace(chain=end.chain.__class__("tests", 1))],
        [*honest[:-1], end._replace(chain=end.chain.__class__("other"))],
    ]
    for place, item in enumerate(honest):
        if isinstance(item, ArchivedBlock):
            without = item._replace(transactions=item.transactions[1:])
            twice = item._replace(transactions=(*item.transactions, *item.transactions))
            wrong = item._replace(transactions=(*item.transactions, b"{}"))
            changed = (wrong,) if not item.transactions else (without, twice, wrong)
            forged += [[*honest[:place], other, *honest[place + 1 :]] for other in changed]
    assert len(forged) > 20
    for items in forged:
        empty = await opened()
        service = SnapshotService(empty, MemorySpool())
        offered, pieces = resealed(encoded(items), 6)
        assert await service.take(offered, await trusted(store, 6))
        assert (await give(service, pieces))[-1] is ChunkVerdict.REJECTED
        assert (await empty.founding(), await empty.head()) == (None, None)


async def test_a_snapshot_of_another_height_than_it_says_is_rejected() -> None:
    store, empty = await opened(ordinary()), await opened()
    snapshot, chunks = await served(store, 6)
    service = SnapshotService(empty, MemorySpool())
    assert await service.take(snapshot._replace(height=7), await trusted(store, 6))
    assert (await give(service, chunks))[-1] is ChunkVerdict.REJECTED
    assert await empty.head() is None


async def test_impossible_offers_and_ledgers_with_blocks_take_nothing() -> None:
    store, empty = await opened(ordinary()), await opened()
    snapshot, _ = await served(store, 6)
    app_hash = await trusted(store, 6)
    service = SnapshotService(empty, MemorySpool())
    for wrong in (
        snapshot._replace(format=2),
        snapshot._replace(height=0),
        snapshot._replace(height=-1),
        snapshot._replace(chunks=0),
        snapshot._replace(chunks=2),
        snapshot._replace(chunks=-1),
        snapshot._replace(hash=bytes(32)),
        snapshot._replace(metadata=b""),
        snapshot._replace(metadata=snapshot.metadata + b"x"),
    ):
        assert not await service.take(wrong, app_hash)
    assert not await service.take(snapshot, b"short")
    longer = await opened([*ordinary(), *bulky(1, 100)])
    for ledger, other in ((longer, snapshot), (store, snapshot._replace(height=5))):
        assert not await SnapshotService(ledger, MemorySpool()).take(other, app_hash)
    assert not await SnapshotService(store, MemorySpool()).take(snapshot, sha256(b"another").digest())
    assert await service.add_chunk(0, b"") is ChunkVerdict.REJECTED


async def test_a_store_that_fails_while_it_is_filled_is_marked_for_the_next_start() -> None:
    store, breaking = await opened(bulky(24, 8_000)), BreakingStore(1)
    await breaking.open()
    snapshot, chunks = await served(store, 24)
    spool = MemorySpool()
    service = SnapshotService(breaking, spool)
    assert await service.take(snapshot, await trusted(store, 24))
    with pytest.raises(StoreError, match="the disk is full"):
        await give(service, chunks)
    assert await breaking.head() is not None
    assert spool.marked
    assert not await service.take(snapshot, await trusted(store, 24))


@pytest.mark.parametrize("kept", [0, 1 << 30])
async def test_a_store_that_comes_back_is_filled_to_the_end_when_the_chunk_is_given_again(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_CACHED_BYTES", kept)
    store = await opened([*elected(), *bulky(20, 8_000)])
    height = len(elected()) + 20
    snapshot, chunks = await served(store, height)
    for batches in range(3):
        breaking = BreakingStore(batches)
        await breaking.open()
        spool, told = MemorySpool(), await origin(store)
        service = SnapshotService(breaking, spool, origin=lambda told=told: told)  # type: ignore[misc]
        assert await service.take(snapshot, await trusted(store, height))
        await give(service, chunks[:-1])
        last = len(chunks) - 1
        with pytest.raises(StoreError, match="the disk is full"):
            await service.add_chunk(last, chunks[last])
        assert spool.marked
        breaking.batches = 1_000
        assert await service.add_chunk(last, chunks[last]) is ChunkVerdict.ACCEPTED
        assert not spool.marked
        assert await dump(breaking, words=()) == await dump(store, words=())


async def test_unknown_heights_formats_and_indexes_have_no_chunk() -> None:
    store = await opened(ordinary())
    service = SnapshotService(store, MemorySpool())
    assert await service.offers() == ()
    assert await service.chunk(6, 1, 0) is None
    await service.make(6)
    for height, form, index in ((5, 1, 0), (6, 2, 0), (6, 1, 1), (6, 1, -1), (-6, 1, 0)):
        assert await service.chunk(height, form, index) is None
    assert await service.chunk(6, 1, 0) is not None


async def test_snapshots_are_made_in_the_background_at_multiples_of_the_interval() -> None:
    store = await opened(ordinary())
    feed = CommittedFeed(store)
    feed.begin("label", 6)
    service = SnapshotService(store, MemorySpool(), interval=4)
    service.start(feed)
    while not await service.offers():
        await asyncio.sleep(0.001)
    assert [offer.height for offer in await service.offers()] == [4]
    await grow(store, bulky(8, 100))
    for height in range(7, 15):
        (events,) = await store.events(height, 1)
        feed.publish(events)
    while len(await service.offers()) < 2:
        await asyncio.sleep(0.001)
    assert [offer.height for offer in await service.offers()] == [12, 4]
    await service.stop()
    await service.stop()
    feed.publish((await store.events(14, 1))[0]._replace(height=15))
    assert len(await service.offers()) == 2


async def test_no_snapshots_are_made_with_interval_zero() -> None:
    store = await opened(ordinary())
    feed = CommittedFeed(store)
    feed.begin("label", 6)
    service = SnapshotService(store, MemorySpool(), interval=0)
    service.start(feed)
    await asyncio.sleep(0)
    assert await service.offers() == ()
    await service.stop()


async def test_only_the_newest_snapshots_are_kept() -> None:
    store = await opened(ordinary())
    service = SnapshotService(store, MemorySpool())
    for height in range(1, 7):
        await service.make(height)
    assert [offer.height for offer in await service.offers()] == [6, 5, 4]
    assert await service.chunk(3, 1, 0) is None


async def test_after_a_migration_heights_of_snapshots_are_those_of_the_engine() -> None:
    store, empty = await opened(elected()), await opened()
    service = SnapshotService(store, MemorySpool())
    for height in (MIGRATED_AT - 1, MIGRATED_AT, MIGRATED_AT + 4):
        await service.make(height)
    (offer,) = await service.offers()
    assert offer.height == 4
    chunk = await service.chunk(4, offer.format, 0)
    assert chunk is not None
    assert await service.chunk(10, offer.format, 0) is None
    told = await origin(store)
    taker = SnapshotService(empty, MemorySpool(), origin=lambda: told)
    assert await taker.take(offer, await trusted(store, MIGRATED_AT + 4))
    assert await taker.add_chunk(0, chunk) is ChunkVerdict.ACCEPTED
    assert (await empty.read_state(StateReads((), ()))).chain() == (
        await store.read_state(StateReads((), ()))
    ).chain()
    # Carried on with the same blocks, it comes to the same ledger.
    await grow(empty, elected()[MIGRATED_AT + 4 :], signed=False)
    assert await dump(empty) == await dump(store)


async def test_while_a_migration_waits_no_snapshots_are_offered() -> None:
    store = await opened(elected()[:MIGRATED_AT])
    assert not (await store.read_state(StateReads((), ()))).chain().synced
    service = SnapshotService(store, MemorySpool())
    for height in (MIGRATED_AT - 1, MIGRATED_AT):
        await service.make(height)
    assert await service.offers() == ()
    assert await service.chunk(MIGRATED_AT, 1, 0) is None
    assert await service.chunk(0, 1, 0) is None


async def test_a_snapshot_whose_newest_block_is_of_the_future_is_rejected() -> None:
    store = await opened(ordinary())
    _, chunks = await served(store, 6)
    honest = records(chunks)
    last = honest[-2]
    assert isinstance(last, ArchivedBlock)
    for ahead, verdict in ((0, ChunkVerdict.ACCEPTED), (601 * 10**9, ChunkVerdict.REJECTED)):
        empty = await opened()
        service = SnapshotService(empty, MemorySpool(), clock=StepClock())
        forged = last._replace(header=replace(last.header, time=last.header.time + ahead))
        offered, pieces = resealed(encoded([*honest[:-2], forged, honest[-1]]), 6)
        assert await service.take(offered, await trusted(store, 6))
        assert (await give(service, pieces))[-1] is verdict
        assert (await empty.head() is None) is (verdict is ChunkVerdict.REJECTED)


async def test_no_snapshot_with_any_bit_changed_is_believed() -> None:
    store = await opened(ordinary(), signed=True)
    snapshot, chunks = await served(store, 6)
    stream = b"".join(unpack(chunk) for chunk in chunks)
    app_hash = await trusted(store, 6)
    seed = random.randrange(2**32)
    chosen = random.Random(seed)
    for _ in range(150):
        place = chosen.randrange(8 * len(stream))
        changed = bytearray(stream)
        changed[place >> 3] ^= 1 << (place & 7)
        empty = await opened()
        service = SnapshotService(empty, MemorySpool())
        offered, pieces = resealed(bytes(changed), snapshot.height)
        assert await service.take(offered, app_hash)
        assert (await give(service, pieces))[-1] is ChunkVerdict.REJECTED, f"seed {seed}: bit {place}"
        assert (await empty.founding(), await empty.head()) == (None, None)


async def test_a_ledger_that_stands_where_a_snapshot_ends_takes_it_again_and_writes_nothing() -> None:
    store, empty = await opened(ordinary()), await opened()
    snapshot, chunks = await served(store, 6)
    app_hash = await trusted(store, 6)
    service = SnapshotService(empty, MemorySpool())
    assert await service.take(snapshot, app_hash)
    await give(service, chunks)
    # The engine ended before it noted the snapshot: it comes back without a chain and is offered the same one.
    spool = MemorySpool()
    again = SnapshotService(empty, spool)
    assert await again.take(snapshot, app_hash)
    assert await give(again, [*chunks, b"anything"]) == [ChunkVerdict.ACCEPTED] * (len(chunks) + 1)
    assert (spool.chunks, spool.marked) == ({}, False)
    assert await dump(empty) == await dump(store)


async def test_after_a_migration_too_a_ledger_takes_the_snapshot_again_where_it_stands() -> None:
    store = await opened(elected())
    height = len(elected())
    snapshot, _ = await served(store, height)
    assert snapshot.height == height - MIGRATED_AT
    assert await SnapshotService(store, MemorySpool()).take(snapshot, await trusted(store, height))
    waiting = await opened(elected()[:MIGRATED_AT])
    for engine_height in (0, 1, MIGRATED_AT):
        other = snapshot._replace(height=engine_height)
        assert not await SnapshotService(waiting, MemorySpool()).take(other, await trusted(waiting, MIGRATED_AT))


async def derivable(store: Store) -> None:
    """A ledger's blocks follow from one another, as `planetmint verify` and a restore want it."""
    founding, first = await store.founding(), await store.summary(0)
    assert founding is not None
    assert first is not None
    standing = derive_founding(founding, first.header)
    height = 1
    while (block := await store.block(height)) is not None:
        standing = standing.after(derive_block(standing, block.summary.header, block.transactions))
        height += 1


@pytest.mark.parametrize("blocks", [ordinary(), elected()], ids=["ordinary", "migrated"])
async def test_a_newest_time_that_a_snapshot_forges_stops_nobody_who_joins(blocks: list[list[bytes]]) -> None:
    real, empty = await opened(blocks, signed=False), await opened()
    told, height = await origin(real), len(blocks) - 1
    snapshot, chunks = await served(real, height)
    honest = records(chunks)
    last, following = honest[-2], await real.block(height + 1)
    assert isinstance(last, ArchivedBlock)
    assert following is not None
    time = following.summary.header.time
    forged = last._replace(header=replace(last.header, time=time + 5))
    offered, pieces = resealed(encoded([*honest[:-2], forged, honest[-1]]), snapshot.height)
    service = SnapshotService(empty, MemorySpool(), clock=StepClock(), origin=lambda: told)
    assert await service.take(offered, await trusted(real, height))
    assert (await give(service, pieces))[-1] is ChunkVerdict.ACCEPTED
    verifier = Verifier(SignatureCache(10), 1)
    lifecycle = BlockLifecycle(empty, CommittedFeed(empty), verifier)
    await lifecycle.load()
    for step, taken in ((1, list(following.transactions)), (2, []), (3, [])):
        await lifecycle.finalize_block(height + step, time + 3 * (step - 1), b"\0" * 20, taken)
        await lifecycle.commit()
    verifier.close()
    assert lifecycle.head is not None
    assert lifecycle.head.time == time + 8
    assert await trusted(empty, height + 1) == await trusted(real, height + 1)
    await derivable(empty)


async def test_a_snapshot_in_which_a_migration_is_later_than_the_genesis_is_rejected() -> None:
    real = await opened(elected())
    told, height = await origin(real), len(elected())
    snapshot, chunks = await served(real, height)
    for later, verdict in (
        (0, ChunkVerdict.ACCEPTED),
        (1_000_000, ChunkVerdict.ACCEPTED),
        (1_000_001, ChunkVerdict.REJECTED),
    ):
        pieces_of = await forged_from(records(chunks), later=later)
        offered, pieces = resealed(encoded(pieces_of), snapshot.height)
        empty = await opened()
        service = SnapshotService(empty, MemorySpool(), clock=StepClock(), origin=lambda: told)
        assert await service.take(offered, await trusted(real, height))
        assert (await give(service, pieces))[-1] is verdict
        assert (await empty.founding() is None) is (verdict is ChunkVerdict.REJECTED)


async def test_a_snapshot_of_a_migrated_chain_is_rejected_where_no_genesis_is_known() -> None:
    store, empty = await opened(elected()), await opened()
    snapshot, chunks = await served(store, len(elected()))
    service = SnapshotService(empty, MemorySpool())
    assert await service.take(snapshot, await trusted(store, len(elected())))
    assert (await give(service, chunks))[-1] is ChunkVerdict.REJECTED
    assert await empty.founding() is None


@pytest.mark.parametrize("blocks", [ordinary(), elected()], ids=["ordinary", "migrated"])
async def test_a_snapshot_of_a_chain_with_another_label_is_rejected(blocks: list[list[bytes]]) -> None:
    real, empty = await opened(blocks), await opened()
    told = await origin(real)
    snapshot, chunks = await served(real, len(blocks))
    forged = await forged_from(records(chunks), founded=-12_345)
    assert isinstance(forged[0], Founding)
    assert forged[0].label != told.label
    offered, pieces = resealed(encoded(forged), snapshot.height)
    service = SnapshotService(empty, MemorySpool(), origin=lambda: told)
    assert await service.take(offered, await trusted(real, len(blocks)))
    assert (await give(service, pieces))[-1] is ChunkVerdict.REJECTED
    assert await empty.founding() is None
    # The honest one is taken.
    assert await service.take(snapshot, await trusted(real, len(blocks)))
    assert (await give(service, chunks))[-1] is ChunkVerdict.ACCEPTED


async def forged_from(honest: Sequence[Record], *, founded: int = 0, later: int = 0) -> list[Record]:
    """A stream in which all follows from all: the founding is moved, and the blocks from the migration on."""
    first, block_0 = honest[0], honest[1]
    assert isinstance(first, Founding)
    assert isinstance(block_0, ArchivedBlock)
    founding = found_chain(first.chain_id, first.parameters, first.validators, first.time + founded)
    header = founding_header(founding, bytes.fromhex(block_0.header.proposer))
    made: list[Record] = [founding, ArchivedBlock(header, ())]
    standing = derive_founding(founding, header)
    for block in honest[2:-1]:
        assert isinstance(block, ArchivedBlock)
        moved = block.header.time + (later if block.header.height >= MIGRATED_AT else 0)
        taken = [decode_canonical(raw, founding.parameters) for raw in block.transactions]
        record = follow(standing, replace(block.header, time=moved), taken)
        made.append(ArchivedBlock(record.header, block.transactions))
        standing = standing.after(record)
    return [*made, honest[-1]]
