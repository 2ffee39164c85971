# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes snapshots of the ledger for nodes that join, and takes those of others (decision D10).

Chunks are pieces of the archive's stream. A snapshot that is offered is no file: the hashes of its pieces and
where each begins are kept, and a piece that somebody asks for is read from the store again. The chain only grows,
so the next snapshot goes on where the last one's full pieces end.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple, Protocol

import structlog

from planetmint.app.transfer import Derivation, LedgerWriter, archive_end, archive_parts, newest_chain
from planetmint.chain.archive import (
    FORMAT,
    PIECE_BYTES,
    ArchiveEnd,
    ArchiveError,
    RecordReader,
    encode_end,
    pack,
    piece_hash,
    unpack,
)
from planetmint.chain.derive import Standing, Underivable
from planetmint.chain.header import header_hash
from planetmint.model.block import BlockEvents, BlockRecord
from planetmint.model.election import ChainRecord
from planetmint.ports.clock import Clock
from planetmint.ports.errors import StoreError
from planetmint.ports.feed import EventFeed
from planetmint.ports.snapshots import ChunkVerdict, Snapshot
from planetmint.ports.store import Store

INTERVAL = 1_000
"""Blocks from one snapshot to the next, where nothing else is set."""

MAX_CHUNKS = 1 << 16
"""Of a snapshot that is taken: 256 GiB."""

_KEPT = 3
_KEPT_PIECES = 4
"""Packed pieces in memory: whoever joins asks several peers for neighbouring ones."""

_HASH_BYTES = 32
_MOST_AHEAD = 600 * 1_000_000_000
"""Nanoseconds by which the newest block of a snapshot may be ahead of this machine's clock. Times are covered by
no app hash, and until the engine's are past it, the blocks after it are kept with later times than their own."""

_CACHED_BYTES = 16 << 20
"""Of canonical transactions up to which a snapshot's blocks stay in memory until they are written; decoded they
take some ten times as much. Larger ones are derived twice."""

_BLOCK_BYTES = 500
"""What a block without transactions counts for there."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Spool(Protocol):
    """Where chunks wait until all have come. Raises StoreError, and nothing else.

    `mark` says durably that the store is being filled: a node that finds the mark at its start empties the store.
    """

    def clear(self) -> None:
        """Forget all chunks and the mark."""
        ...

    def put(self, index: int, chunk: bytes) -> None:
        """Keep a chunk."""
        ...

    def get(self, index: int) -> bytes:
        """A chunk that is kept."""
        ...

    def mark(self) -> None:
        """Say that the store is being filled."""
        ...


class Notes(Protocol):
    """Where the places of pieces are kept over a restart; what is lost is found again from the store."""

    def load(self) -> bytes | None:
        """What was saved last; None where nothing is there."""
        ...

    def save(self, data: bytes) -> None:
        """Replace it; a failure is only logged."""
        ...


class NoNotes:
    """Implements `Notes` for a node that looks at everything again after a restart."""

    def load(self) -> bytes | None:
        """See `Notes`."""
        return None

    def save(self, data: bytes) -> None:
        """See `Notes`."""


class Origin(NamedTuple):
    """What the engine's genesis says of the chain; nothing that a snapshot tells has to be believed for it.

    Attributes:
        label: The chain's, as in `Founding`.
        time: Of the genesis in nanoseconds, so that no block of the engine is earlier.
    """

    label: str
    time: int


def _unknown() -> Origin | None:
    return None


class Place(NamedTuple):
    """Where a piece begins: `skip` bytes after the beginning of the part of the block of `height`.

    The end of the stream counts as the part of the block after the last one.
    """

    height: int
    skip: int


@dataclass(slots=True)
class Pieces:
    """The full pieces of the stream up to some block.

    Attributes:
        label: Of the chain.
        hashes: Of the pieces.
        places: Where each begins; and last, where what fills no piece yet begins.
    """

    label: str
    hashes: list[bytes] = field(default_factory=list)
    places: list[Place] = field(default_factory=lambda: [Place(0, 0)])

    def copy(self) -> "Pieces":
        """The same, to go on from in another way."""
        return Pieces(self.label, list(self.hashes), list(self.places))

    def to_bytes(self, newest: str) -> bytes:
        """What `pieces_from_bytes` reads: checksum, form, label and `newest`, then a line for each piece.

        Args:
            newest: Hash of the header of the block in which the last piece ends: it names all blocks before.
        """
        lines = [f"{FORMAT} {self.label} {newest}"]
        lines += [
            f"{digest.hex()} {place.height} {place.skip}"
            for digest, place in zip(self.hashes, self.places[1:], strict=True)
        ]
        text = "\n".join(lines).encode()
        return sha256(text).hexdigest().encode() + b"\n" + text


def pieces_from_bytes(data: bytes, label: str) -> tuple[Pieces, str] | None:
    """The pieces and `newest` that `Pieces.to_bytes` wrote; None where it is damaged or of another chain."""
    digest, _, text = data.partition(b"\n")
    if sha256(text).hexdigest().encode() != digest:
        return None
    first, *lines = text.decode().split("\n")
    form, found, newest = first.split(" ")
    if (form, found) != (str(FORMAT), label):
        return None
    pieces = Pieces(label)
    for line in lines:
        piece, height, skip = line.split(" ")
        pieces.hashes.append(bytes.fromhex(piece))
        pieces.places.append(Place(int(height), int(skip)))
    return pieces, newest


class _Cut:
    """Goes on cutting the stream where `pieces` end, and adds to these."""

    def __init__(self, pieces: Pieces, begun: bytes = b"") -> None:
        self.pieces = pieces
        self.begun = bytearray(begun)
        self._skip = 0 if begun else pieces.places[-1].skip

    async def feed(self, height: int, part: bytes) -> None:
        """Take the part of the next block; the first one is that in which the pieces end."""
        at, self._skip = self._skip, 0
        while len(self.begun) + len(part) - at >= PIECE_BYTES:
            end = at + PIECE_BYTES - len(self.begun)
            piece = bytes(self.begun) + part[at:end]
            self.begun.clear()
            at = end
            self.pieces.hashes.append(await asyncio.to_thread(piece_hash, piece))
            self.pieces.places.append(Place(height, at))
        self.begun += part[at:]


@dataclass(frozen=True, slots=True)
class _Offer:
    """A snapshot that this node serves, by its height here; `places` are those of its pieces."""

    height: int
    end: ArchiveEnd
    places: tuple[Place, ...]
    metadata: bytes


@dataclass(slots=True)
class _Taking:
    """A snapshot under way.

    Attributes:
        snapshot, app_hash: As offered, and trusted.
        have: Indexes of the chunks that are kept.
        next: The first chunk that the derivation has not seen.
        first: After block 0.
        renamed_at: Time of the block with which the chain got its present name.
        blocks: Derived ones while they are few enough to be kept, else None.
        held: Whether the ledger holds it already.
    """

    snapshot: Snapshot
    app_hash: bytes
    reader: RecordReader = field(default_factory=RecordReader)
    derivation: Derivation = field(default_factory=Derivation)
    have: set[int] = field(default_factory=set)
    next: int = 0
    first: Standing | None = None
    renamed_at: int = 0
    blocks: list[BlockRecord] | None = field(default_factory=list)
    kept_bytes: int = 0
    held: bool = False


class SnapshotService:
    """Implements `ports.Snapshots`.

    Args:
        store: The ledger.
        spool: Where chunks wait.
        interval: Blocks from one snapshot to the next; 0 makes none.
        taken: Awaited when the store holds a snapshot: the node goes on from it.
        notes: Keeps the places of pieces over a restart.
        clock: Snapshots that end in the future are refused; without one they are not.
        origin: Asked for what the engine's genesis says; None where nobody knows. Then a label is believed as it
            is told, and snapshots of chains that have migrated are refused.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool,
        *,
        interval: int = INTERVAL,
        taken: Callable[[], Awaitable[object]] | None = None,
        notes: Notes | None = None,
        clock: Clock | None = None,
        origin: Callable[[], Origin | None] = _unknown,
    ) -> None:
        self._store = store
        self._spool = spool
        self._interval = interval
        self._taken = taken
        self._notes = notes or NoNotes()
        self._clock = clock
        self._origin = origin
        self._full: Pieces | None = None
        self._offers: OrderedDict[int, _Offer] = OrderedDict()
        self._packed: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._taking: _Taking | None = None
        self._one = asyncio.Lock()
        self._wanted = 0
        self._maker: asyncio.Task[None] | None = None
        self._detach: Callable[[], None] = lambda: None

    def start(self, feed: EventFeed) -> None:
        """Make snapshots in the background from now on, as blocks are committed."""
        if self._interval > 0:
            self._detach = feed.attach(self._look)
            self._want(feed.head)

    async def stop(self) -> None:
        """Make no more; may be called twice."""
        self._detach()
        maker, self._maker = self._maker, None
        if maker is not None:
            maker.cancel()
            await asyncio.wait({maker})

    def _look(self, events: BlockEvents) -> None:
        self._want(events.height)

    def _want(self, head: int) -> None:
        """Have the newest snapshot made that there can be; all nodes make them at the same heights."""
        height = head - head % self._interval
        if height <= self._wanted:
            return
        self._wanted = height
        if self._maker is None or self._maker.done():
            self._maker = asyncio.create_task(self._make_wanted())

    async def _make_wanted(self) -> None:
        try:
            while self._wanted not in self._offers:
                await self.make(self._wanted)
        except (StoreError, ArchiveError) as error:
            _log.warning("snapshot.failed", height=self._wanted, error=str(error))

    async def make(self, height: int) -> None:
        """Make the snapshot after a committed block.

        Raises:
            StoreError, ArchiveError: A block cannot be read.
        """
        end = await archive_end(self._store, height)
        pieces = await self._known(height)
        cut = _Cut(pieces)
        async for reached, part in archive_parts(self._store, height, start=pieces.places[-1].height):
            await cut.feed(reached, part)
        self._full = pieces
        last = _Cut(pieces.copy(), bytes(cut.begun))
        await last.feed(height + 1, encode_end(end))
        hashes, places = last.pieces.hashes, last.pieces.places
        if last.begun:
            hashes.append(piece_hash(bytes(last.begun)))
        self._offers[height] = _Offer(height, end, tuple(places[: len(hashes)]), b"".join(hashes))
        while len(self._offers) > _KEPT:
            gone, _ = self._offers.popitem(last=False)
            for key in [key for key in self._packed if key[0] == gone]:
                del self._packed[key]
        self._notes.save(pieces.to_bytes(await self._header_hash(pieces.places[-1].height)))
        _log.info("snapshot.made", height=height, chunks=len(hashes))

    async def _known(self, height: int) -> Pieces:
        """The pieces that are known and end before this block: those of the last snapshot, or none."""
        founding = await self._store.founding()
        if founding is None:
            raise StoreError("no chain is founded yet")
        if self._full is None:
            self._full = await self._noted(founding.label)
        if self._full is None or self._full.places[-1].height > height:
            return Pieces(founding.label)
        return self._full.copy()

    async def _noted(self, label: str) -> Pieces | None:
        """The pieces that were known before a restart, where the store still holds the same blocks."""
        data = self._notes.load()
        read = None if data is None else pieces_from_bytes(data, label)
        if read is None:
            return None
        pieces, newest = read
        return pieces if await self._header_hash(pieces.places[-1].height) == newest else None

    async def _header_hash(self, height: int) -> str:
        summary = await self._store.summary(height)
        return "" if summary is None else header_hash(summary.header)

    async def offers(self) -> tuple[Snapshot, ...]:
        """See `Snapshots`."""
        if not self._offers:
            return ()
        chain = await newest_chain(self._store)
        return tuple(
            Snapshot(
                height=offer.height - chain.shift,
                format=FORMAT,
                chunks=len(offer.places),
                hash=sha256(offer.metadata).digest(),
                metadata=offer.metadata,
            )
            for offer in reversed(self._offers.values())
            if _is_served(offer, chain)
        )

    async def chunk(self, height: int, format: int, index: int) -> bytes | None:
        """See `Snapshots`."""
        if not self._offers or format != FORMAT:
            return None
        chain = await newest_chain(self._store)
        offer = self._offers.get(height + chain.shift)
        if offer is None or not _is_served(offer, chain) or not 0 <= index < len(offer.places):
            return None
        key = (offer.height, index)
        if key in self._packed:
            return self._packed[key]
        try:
            piece = await self._piece(offer, offer.places[index])
        except ArchiveError as error:
            raise StoreError(str(error)) from None
        packed = await asyncio.to_thread(pack, piece)
        self._packed[key] = packed
        while len(self._packed) > _KEPT_PIECES:
            self._packed.popitem(last=False)
        return packed

    async def _piece(self, offer: _Offer, place: Place) -> bytes:
        """A piece of the stream again, from the store."""
        stream = bytearray()
        async for _, part in archive_parts(self._store, offer.height, start=place.height):
            stream += part
            if len(stream) >= place.skip + PIECE_BYTES:
                break
        else:
            stream += encode_end(offer.end)
        return bytes(stream[place.skip : place.skip + PIECE_BYTES])

    async def take(self, snapshot: Snapshot, app_hash: bytes) -> bool:
        """See `Snapshots`."""
        async with self._one:
            return await self._take(snapshot, app_hash)

    async def _take(self, snapshot: Snapshot, app_hash: bytes) -> bool:
        self._taking = None
        possible = (
            snapshot.format == FORMAT
            and snapshot.height >= 1
            and 1 <= snapshot.chunks <= MAX_CHUNKS
            and len(snapshot.metadata) == snapshot.chunks * _HASH_BYTES
            and sha256(snapshot.metadata).digest() == snapshot.hash
            and len(app_hash) == _HASH_BYTES
        )
        if not possible:
            return False
        if await self._store.founding() is not None:
            if not await self._holds(snapshot, app_hash):
                return False
            # The engine ended before it noted that it was given this one.
            self._taking = _Taking(snapshot, app_hash, held=True)
            return True
        self._spool.clear()
        self._taking = _Taking(snapshot, app_hash)
        return True

    async def _holds(self, snapshot: Snapshot, app_hash: bytes) -> bool:
        """Whether the ledger stands where the snapshot ends."""
        head, chain = await self._store.head(), await newest_chain(self._store)
        return (
            head is not None
            and chain.synced
            and head.height - chain.shift == snapshot.height
            and head.app_hash == app_hash.hex()
        )

    async def add_chunk(self, index: int, chunk: bytes) -> ChunkVerdict:
        """See `Snapshots`."""
        async with self._one:
            return await self._add_chunk(index, chunk)

    async def _add_chunk(self, index: int, chunk: bytes) -> ChunkVerdict:
        taking = self._taking
        if taking is None:
            return ChunkVerdict.REJECTED
        if taking.held:
            return ChunkVerdict.ACCEPTED
        wanted = taking.snapshot.metadata[index * _HASH_BYTES : (index + 1) * _HASH_BYTES] if index >= 0 else b""
        try:
            piece = await asyncio.to_thread(unpack, chunk)
        except ArchiveError:
            return ChunkVerdict.REFETCH
        if piece_hash(piece) != wanted:
            return ChunkVerdict.REFETCH
        if index not in taking.have:
            self._spool.put(index, chunk)
            taking.have.add(index)
        try:
            await self._derive(taking)
            if taking.next < taking.snapshot.chunks:
                return ChunkVerdict.ACCEPTED
            self._check_end(taking)
        except (ArchiveError, Underivable) as error:
            _log.warning("snapshot.rejected", height=taking.snapshot.height, error=str(error))
            self._taking = None
            self._spool.clear()
            return ChunkVerdict.REJECTED
        await self._write(taking)
        return ChunkVerdict.ACCEPTED

    async def _derive(self, taking: _Taking) -> None:
        """Derive the blocks of the chunks that are there without a gap; nothing is stored."""
        while taking.next in taking.have:
            piece = await asyncio.to_thread(self._unpacked, taking.next)
            taking.next += 1
            for record in taking.reader.feed(piece):
                _keep(taking, taking.derivation.add(record))
                standing = taking.derivation.standing
                if standing is not None and standing.head.height == standing.chain_record.shift:
                    taking.renamed_at = standing.head.time
                await asyncio.sleep(0)

    def _unpacked(self, index: int) -> bytes:
        return unpack(self._spool.get(index))

    def _check_end(self, taking: _Taking) -> None:
        """All chunks were derived: do they lead to the trusted hash?"""
        taking.reader.finish()
        standing = taking.derivation.standing
        if standing is None or not taking.derivation.finished:
            raise ArchiveError("the archive does not end")
        engine_height = standing.head.height - standing.chain_record.shift
        if engine_height != taking.snapshot.height or not standing.chain_record.synced:
            raise Underivable(f"it ends at the engine's height {engine_height}")
        if standing.head.app_hash != taking.app_hash.hex():
            raise Underivable("it does not lead to the app hash that the engine trusts")
        if self._clock is not None and standing.head.time > self._clock.now() + _MOST_AHEAD:
            raise Underivable("its newest block is of the future")
        self._check_origin(standing, taking.renamed_at)

    def _check_origin(self, standing: Standing, renamed_at: int) -> None:
        """Hold what no app hash covers against the engine's genesis: the label, and when the chain was renamed.

        An engine's blocks that are not later than the renaming would be refused for ever.
        """
        origin, chain = self._origin(), standing.chain_record
        if origin is None and chain.shift:
            raise Underivable(
                "the chain has migrated, and the engine's genesis file, against which that is held, is not "
                "known: set tendermint.home to the engine's home"
            )
        if origin is None:
            return
        if standing.founding.label != origin.label:
            raise Underivable(
                f"its chain has the label {standing.founding.label}, that of the engine's genesis {origin.label}"
            )
        if chain.shift and renamed_at > origin.time:
            raise Underivable(f"its block {chain.shift} is later than the engine's genesis")

    async def _write(self, taking: _Taking) -> None:
        """Fill the store with what was derived; goes on where an attempt before has ended."""
        standing = taking.derivation.standing
        if standing is None:
            return
        self._spool.mark()
        stored = await self._store.head()
        writer = LedgerWriter(self._store, stored=-1 if stored is None else stored.height)
        async for block in self._blocks(taking, writer):
            await writer.add(block)
        await writer.finish(standing.chain_record)
        _log.info("snapshot.taken", height=standing.head.height, app_hash=standing.head.app_hash)
        self._spool.clear()
        self._taking = None
        if self._taken is not None:
            await self._taken()

    async def _blocks(self, taking: _Taking, writer: LedgerWriter) -> AsyncIterator[BlockRecord]:
        """The derived blocks, kept or derived once more; the chain is founded before the first one."""
        if taking.blocks is not None and taking.first is not None:
            await writer.begin(taking.first)
            for block in taking.blocks:
                yield block
            return
        reader, derivation = RecordReader(), Derivation()
        for index in range(taking.snapshot.chunks):
            piece = await asyncio.to_thread(self._unpacked, index)
            for record in reader.feed(piece):
                begun = derivation.standing is not None
                derived = derivation.add(record)
                if not begun and derivation.standing is not None:
                    await writer.begin(derivation.standing)
                if derived is not None:
                    yield derived
                await asyncio.sleep(0)


def _keep(taking: _Taking, block: BlockRecord | None) -> None:
    """Keep a derived block while all of them are few; None stands for block 0."""
    if block is None:
        taking.first = taking.first or taking.derivation.standing
        return
    if taking.blocks is None:
        return
    taking.kept_bytes += sum(len(item.canonical) for item in block.transactions) + _BLOCK_BYTES
    taking.blocks.append(block)
    if taking.kept_bytes > _CACHED_BYTES:
        taking.blocks = None


def _is_served(offer: _Offer, chain: ChainRecord) -> bool:
    """Whether engines can ask for a snapshot: those of before a migration have no heights any more."""
    return chain.synced and offer.height > chain.shift
