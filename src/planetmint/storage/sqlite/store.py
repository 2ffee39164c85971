# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store in one SQLite file.

One thread writes. Short look-ups run in the event loop, where they take some ten microseconds; whatever may be
long runs in a few reader threads. Readers see what is committed and wait for nobody.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, BlockSummary, Founding
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.search import SearchQuery
from planetmint.model.transaction import Operation, OutputRef
from planetmint.model.validator import ValidatorSet
from planetmint.ports.errors import StoreError
from planetmint.ports.store import Cursor, Found, LedgerEnd, Page, Paging, StateReads, StoredBlock
from planetmint.storage.checks import check_begins
from planetmint.storage.snapshot import Snapshot
from planetmint.storage.sqlite import layout, lock, queries, record
from planetmint.storage.sqlite.audit import Auditor
from planetmint.storage.sqlite.layout import MAX_INTEGER
from planetmint.storage.sqlite.recent import ROUND, Progress, RecentIds, Step
from planetmint.storage.sqlite.session import Row, Session, translated
from planetmint.storage.sqlite.workers import Workers

T = TypeVar("T")

FILE_NAME = "ledger.db"
"""Of the ledger's file in a data directory."""

MAX_EVENT_BLOCKS = 1_000

_SHORT = 100
"""Lists made from at most so many index entries are read in the event loop."""


class _Newest(NamedTuple):
    """What holds after the newest block: the validator set, the heights of it and the one before, the chain."""

    validators: ValidatorSet = ()
    heights: tuple[int, ...] = ()
    chain: ChainRecord = ChainRecord("")


class SqliteStore:
    """Implements `Store` over one file.

    Args:
        path: Of the file; a directory stands for `FILE_NAME` in it.
        read_only: Only read, beside a process that writes; nothing is made or locked.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path / FILE_NAME if path.is_dir() else path
        self._read_only = read_only
        self._lock: int | None = None
        self._newest_row: object = None
        self._newest_read = _Newest()
        self._workers: Workers | None = None
        self._recent: RecentIds | None = None
        self._auditor: Auditor | None = None

    async def open(self) -> None:
        """See `Store`. Raises StoreError where another process writes to the same file."""
        if self._workers is not None:
            return
        if self._read_only and not self._path.exists():
            raise StoreError(f"there is no ledger at {self._path}")
        try:
            if not self._read_only:
                self._lock = lock.take(self._path)
                layout.lay_out(self._path)
            self._workers = Workers(self._path)
            layout.check_version(self._workers.inline.connection(), self._path)
            if not self._read_only:
                queries.check_whole(self._workers.inline, self._path)
            self._recent_ids()
        except sqlite3.Error as error:
            await self.close()
            raise translated(error, self._path) from error
        except StoreError:
            await self.close()
            raise

    async def close(self) -> None:
        """See `Store`."""
        self._recent = None
        auditor, self._auditor = self._auditor, None
        if auditor is not None:
            auditor.close()
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()
        held, self._lock = self._lock, None
        if held is not None:
            os.close(held)

    async def drop(self) -> None:
        """Close and delete the ledger for good; raises StoreError where another process writes to it."""
        await self.close()
        with lock.held(self._path):
            try:
                for suffix in ("-wal", "-shm", ""):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{self._path} cannot be deleted: {error.strerror}") from error

    async def founding(self) -> Founding | None:
        """See `Store`."""
        row = self._open.inline.row("SELECT founding FROM chain")
        return None if row is None else record.decode_founding(row[0])

    async def found(self, founding: Founding, header: BlockHeader) -> None:
        """See `Store`."""
        self._check_writable()
        if await self.founding() is not None:
            raise StoreError("a chain is founded here already")
        if header.height != 0:
            raise StoreError(f"the founding block has height 0, not {header.height}")
        await self._open.write(lambda session: _found(session, founding, header))

    async def save_block(self, block: BlockRecord) -> None:
        """See `Store`."""
        self._check_writable()
        first = self._place_after_head(block)
        recent = self._recent_ids()
        older = self._older(block, recent, {})
        step = recent.step(len(block.transactions))
        words = await _words(block)
        parameters = record.parameters_of(block, first, older, step, words)
        recent.add([item.id for item in block.transactions], first)
        # What was begun ends, also where the caller is cancelled: the ids must be known once they are stored.
        await asyncio.shield(self._save(parameters, recent, step))

    async def save_blocks(self, blocks: Sequence[BlockRecord]) -> None:
        """See `Store`."""
        self._check_writable()
        if not blocks:
            return
        first = self._place_after_head(blocks[0])
        words = [one for block in blocks for one in await _words(block)]
        rows = await self._rows(blocks, first)
        await asyncio.shield(self._save_all(rows, first, record.encode(words)))

    async def begin_chain(self, chain: ChainRecord) -> None:
        """See `Store`."""
        self._check_writable()
        await self._open.write(lambda session: _begin_chain(session, chain))

    async def head(self) -> BlockHeader | None:
        """See `Store`."""
        row = self._open.inline.row(queries.HEAD)
        return None if row is None else record.decode_header(row[2])

    async def read_state(self, reads: StateReads) -> Snapshot:
        """See `Store`."""
        session = self._open.inline
        recent = self._recent_ids()
        with session.snapshot():
            wanted = {*reads.transaction_ids, *(ref.transaction_id for ref in reads.outputs)}
            sequences = queries.sequences(session, recent, wanted)
            outputs = queries.outputs(session, reads.outputs, sequences)
            elections = queries.elections(session, reads.elections)
            newest = self._newest(session)
        known = sequences.keys() & set(reads.transaction_ids)
        return Snapshot(known, outputs, newest.validators, newest.heights, elections, newest.chain)

    async def transaction(self, transaction_id: str) -> bytes | None:
        """See `Store`."""
        row = queries.transaction(self._open.inline, self._recent_ids(), transaction_id)
        return None if row is None else row[1]

    async def height_of(self, transaction_id: str) -> int | None:
        """See `Store`."""
        row = queries.transaction(self._open.inline, self._recent_ids(), transaction_id)
        return None if row is None else row[0]

    async def transactions_by_asset(
        self, asset_ids: Sequence[str], operation: Operation | None, *, last: bool, paging: Paging
    ) -> Page[bytes]:
        """See `Store`."""
        limit = 1 if last else _count(paging)
        ids = [item for item in dict.fromkeys(asset_ids) if queries.is_id(item)]
        asked = queries.AssetList(ids, operation, last, _after(paging, 1)[0], limit)
        own = queries.sequences(self._open.inline, self._recent_ids(), ids)
        links = queries.asset_links(ids)
        rows = await self._list(links, lambda session: queries.by_asset(session, asked, own))
        return _page([((sequence,), body) for sequence, body in rows], paging)

    async def outputs_by_key(self, public_key: str, spent: bool | None, paging: Paging) -> Page[OutputRef]:
        """See `Store`."""
        if not _is_text(public_key):
            return Page(())
        after, count = _after(paging, 1)[0], _count(paging)
        rows = await self._list(
            queries.key_links(public_key),
            lambda session: queries.by_key(session, public_key, spent, after, count),
        )
        return _page([((place,), ref) for place, ref in rows], paging)

    async def search_assets(self, query: SearchQuery, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return await self._search("asset", query, paging)

    async def search_metadata(self, query: SearchQuery, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return await self._search("metadata", query, paging)

    async def assets_by_content(self, content: str, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return await self._by_content(record.ASSET_CONTENT, content, paging)

    async def metadata_by_content(self, content: str, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return await self._by_content(record.METADATA_CONTENT, content, paging)

    async def block(self, height: int) -> StoredBlock | None:
        """See `Store`."""
        summary = await self.summary(height)
        if summary is None:
            return None
        job: Callable[[Session], tuple[bytes, ...]] = lambda session: queries.bodies(session, height)
        if len(summary.transaction_ids) <= _SHORT:
            return StoredBlock(summary, job(self._open.inline))
        return StoredBlock(summary, await self._open.read(job))

    async def summary(self, height: int) -> BlockSummary | None:
        """See `Store`."""
        row = self._open.inline.row(queries.SUMMARY, (_in_range(height),))
        return None if row is None else BlockSummary(record.decode_header(row[0]), queries.split_ids(row[1]))

    async def events(self, from_height: int, max_events: int) -> tuple[BlockEvents, ...]:
        """See `Store`."""
        bounds = (max(_in_range(from_height), 1), min(max_events, MAX_INTEGER >> 1), MAX_EVENT_BLOCKS)
        row = await self._open.read(lambda session: session.row(queries.EVENTS, bounds))
        return record.decode_events(row[0]) if row is not None and row[0] is not None else ()

    async def validators(self) -> ValidatorSet:
        """See `Store`."""
        return self._newest(self._open.inline).validators

    async def elections(self) -> tuple[ElectionRecord, ...]:
        """See `Store`."""
        rows = await self._open.read(lambda session: session.rows(queries.ELECTIONS))
        return tuple(record.decode_election(row[0]) for row in rows)

    async def audit(self, block: BlockRecord) -> tuple[str, ...]:
        """See `Store`. What the word index holds of the block is compared by the next `audit_end`."""
        workers, auditor = self._open, self._auditing()
        return await workers.read(lambda _: auditor.audit(block))

    async def audit_end(self, end: LedgerEnd) -> tuple[str, ...]:
        """See `Store`. Compares the word index as far as blocks were audited since the store was opened."""
        workers, auditor = self._open, self._auditing()
        return await workers.read(lambda _: auditor.audit_end(end))

    def _auditing(self) -> Auditor:
        if self._auditor is None:
            self._auditor = Auditor(self._path)
        return self._auditor

    @property
    def _open(self) -> Workers:
        if self._workers is None:
            raise StoreError(f"{self._path} is not open")
        return self._workers

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreError(f"{self._path} is open for reading alone")

    def _place_after_head(self, block: BlockRecord) -> int:
        """Sequence number that the transactions of `block` begin with; StoreError unless it follows the head."""
        head = self._open.inline.row(queries.HEAD)
        if head is None or block.header.height != head[0] + 1:
            newest = -1 if head is None else head[0]
            raise StoreError(f"block {block.header.height} does not follow block {newest}")
        place: int = head[1]
        return place

    def _older(self, block: BlockRecord, recent: RecentIds, pending: Mapping[str, int]) -> dict[str, int]:
        """Sequence numbers of the older transactions whose outputs a block spends.

        Args:
            pending: Those of transactions that are about to be stored with it.

        Raises:
            StoreError: It repeats a transaction.
        """
        ids = [item.id for item in block.transactions]
        session = self._open.inline
        known = queries.sequences(session, recent, [item for item in ids if recent.get(item) is not None])
        known |= {item: pending[item] for item in ids if item in pending}
        if known:
            raise StoreError(f"block {block.header.height} repeats the stored transactions {', '.join(known)}")
        older = {spend.ref.transaction_id for spend in block.spent}.difference(ids)
        found = {item: pending[item] for item in older if item in pending}
        return found | queries.sequences(session, recent, older.difference(found))

    async def _rows(self, blocks: Sequence[BlockRecord], first: int) -> list[Row]:
        """Parameters of each of several blocks, which count as stored in what is known of ids; without words."""
        recent = self._recent_ids()
        pending: dict[str, int] = {}
        rows: list[Row] = []
        try:
            for block in blocks:
                ids = [item.id for item in block.transactions]
                older = self._older(block, recent, pending)
                step = recent.step(len(ids))
                rows.append(record.parameters_of(block, first, older, step, ()))
                recent.done(step)
                recent.add(ids, first)
                pending |= {item: first + place for place, item in enumerate(ids)}
                first += len(ids)
                await asyncio.sleep(0)
        except BaseException:
            self._recent = None
            raise
        return rows

    async def _save(self, parameters: Row, recent: RecentIds, step: Step) -> None:
        try:
            await self._open.save(parameters)
        except BaseException:
            # Some of the ids taken in are not stored: what is there is read again.
            self._recent = None
            raise
        recent.done(step)

    async def _save_all(self, rows: Sequence[Row], first: int, words: bytes) -> None:
        try:
            await self._open.save_all(rows, first, words)
        except BaseException:
            self._recent = None
            raise

    def _recent_ids(self) -> RecentIds:
        """Ids that are not in the tree of ids yet; where this process only reads, another one adds to them."""
        if self._recent is None or len(self._recent) > 4 * ROUND:
            self._recent = queries.recent_ids(self._open.inline)
        elif self._read_only:
            queries.load_ids(self._open.inline, self._recent)
        return self._recent

    def _newest(self, session: Session) -> _Newest:
        """What holds after the newest block; decoded once."""
        rows = session.rows(queries.NEWEST)
        if rows != self._newest_row:
            self._newest_read = _read_newest(session, rows)
            self._newest_row = rows
        return self._newest_read

    async def _list(self, links: Collection[str], job: Callable[[Session], T]) -> T:
        """Run `job` in the event loop where few transactions stand under `links`, else beside it."""
        if queries.is_short(self._open.inline, links, _SHORT):
            return job(self._open.inline)
        return await self._open.read(job)

    async def _search(self, column: str, query: SearchQuery, paging: Paging) -> Page[Found]:
        after, count = _after(paging, 2), _count(paging)
        rows = await self._open.read(lambda session: queries.search(session, column, query, after, count))
        return _page(rows, paging)

    async def _by_content(self, kind: bytes, content: str, paging: Paging) -> Page[Found]:
        if not _is_text(content):
            return Page(())
        after, count = _after(paging, 1)[0], _count(paging)
        rows = await self._list(
            queries.content_links(kind, content),
            lambda session: queries.by_content(session, kind, content, after, count),
        )
        return _page(rows, paging)


async def _words(block: BlockRecord) -> list[record.Words]:
    """What the word index holds of the block's transactions. It takes longest, so others get turns in between."""
    keys = record.keys_of(block)
    words: list[record.Words] = []
    for place, item in enumerate(block.transactions, 1):
        words.append(record.words_of(item, keys.get(item.id, ())))
        if place % _SHORT == 0:
            await asyncio.sleep(0)
    return words


def _found(session: Session, founding: Founding, header: BlockHeader) -> None:
    """Write the founding and block 0 in one transaction."""
    with session.snapshot():
        name = record.encode(ChainRecord(founding.chain_id))
        session.rows("INSERT INTO chain VALUES (?, ?)", (record.encode(founding), name))
        session.rows("INSERT INTO validators VALUES (1, ?)", (record.encode(founding.validators),))
        events = record.encode(BlockEvents(0, header.app_hash, ()))
        values = (0, 0, record.encode(header), b"", *Progress(), events)
        session.rows(f"INSERT INTO blocks VALUES ({', '.join('?' * len(values))})", values)


def _begin_chain(session: Session, chain: ChainRecord) -> None:
    """Replace the chain record where it is that of the same chain."""
    row = session.row(queries.CHAIN)
    check_begins(None if row is None else record.decode_chain(row[0]), chain)
    session.rows(record.BEGIN_CHAIN, (record.encode(chain),))


def _read_newest(session: Session, rows: Sequence[Row]) -> _Newest:
    """From the rows of `queries.NEWEST`."""
    if not rows or rows[0][1] is None:
        return _Newest()
    row = session.row(queries.VALIDATORS, (rows[0][0],))
    validators = record.decode_validators(row[0]) if row else ()
    return _Newest(validators, tuple(row[0] for row in rows), record.decode_chain(rows[0][1]))


def _is_text(text: str) -> bool:
    """Whether `text` can stand in JSON at all: lone surrogates cannot, and nothing stored has any."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _in_range(number: int) -> int:
    """A number as SQLite can compare it."""
    return max(min(number, MAX_INTEGER), -1)


def _after(paging: Paging, length: int) -> tuple[int, ...]:
    """The cursor, in range; what stands before everything where there is none or it is no cursor of ours."""
    if paging.after is None or len(paging.after) != length:
        return (-MAX_INTEGER,) * length
    return tuple(max(min(number, MAX_INTEGER), -MAX_INTEGER) for number in paging.after)


def _count(paging: Paging) -> int:
    """How many rows to fetch: one more than wanted tells whether the list goes on; -1 for all."""
    return -1 if paging.limit is None else min(paging.limit, MAX_INTEGER - 1) + 1


def _page(items: Sequence[tuple[Cursor, T]], paging: Paging) -> Page[T]:
    if paging.limit is None or len(items) <= paging.limit:
        return Page(tuple(item for _, item in items))
    part = items[: paging.limit]
    return Page(tuple(item for _, item in part), part[-1][0])
