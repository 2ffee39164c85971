# SPDX-License-Identifier: AGPL-3.0-or-later
"""A ledger out of a store as an archive, and an archive into an empty store, block by block in bounded memory."""

import asyncio
from collections.abc import AsyncIterator, Callable

from planetmint.chain.archive import (
    ArchivedBlock,
    ArchiveEnd,
    ArchiveError,
    Record,
    encode_block,
    encode_founding,
)
from planetmint.chain.derive import Standing, Underivable, derive_block, derive_founding
from planetmint.model.block import BlockRecord, Founding
from planetmint.model.election import ChainRecord
from planetmint.ports.errors import StoreError
from planetmint.ports.store import StateReads, Store

Watch = Callable[[int], None]
"""Told the height of each block that is done."""

_BATCH_BLOCKS = 500
_BATCH_TRANSACTIONS = 2_000
_BATCH_BYTES = 8 << 20
_ATTEMPTS = 5


async def archive_parts(store: Store, until: int, *, start: int = 0) -> AsyncIterator[tuple[int, bytes]]:
    """The stream's parts for the blocks from `start` to `until`, each with its height; the end is not in it.

    Raises:
        StoreError: A block cannot be read, or is not whole.
        ArchiveError: A block is damaged.
    """
    for height in range(start, until + 1):
        stored = await store.block(height)
        if stored is None or len(stored.transactions) != len(stored.summary.transaction_ids):
            raise StoreError(f"block {height} is missing or not whole: run `planetmint verify`")
        part = encode_block(stored.summary.header, stored.transactions)
        if height == 0:
            founding = await store.founding()
            if founding is None:
                raise StoreError("the founding document is missing")
            part = encode_founding(founding) + part
        yield height, part
        # A store in the same process may answer without ever waiting; others want to go on too.
        await asyncio.sleep(0)


async def newest_chain(store: Store) -> ChainRecord:
    """The newest chain record."""
    return (await store.read_state(StateReads((), ()))).chain()


async def archive_end(store: Store, height: int) -> ArchiveEnd:
    """The stream's end after a stored block, which is one of those under the chain's present name.

    Raises:
        StoreError: There is no such block.
    """
    chain = await newest_chain(store)
    summary = await store.summary(height)
    if summary is None:
        raise StoreError(f"there is no block {height}")
    if height > chain.shift:
        chain = ChainRecord(chain.chain_id, chain.shift)
    return ArchiveEnd(height, summary.header.app_hash, chain)


class Derivation:
    """Takes an archive's records in order and re-derives its blocks.

    Attributes:
        standing: After the newest block; None before the founding.
        finished: Whether the end was there, or the block of `until`.

    Args:
        until: Take blocks up to this height alone; None for all.
    """

    def __init__(self, until: int | None = None) -> None:
        self.standing: Standing | None = None
        self.finished = False
        self._until = until
        self._founding: Founding | None = None

    def add(self, record: Record) -> BlockRecord | None:
        """Take the next record; the block that it is, but for block 0.

        Raises:
            ArchiveError, Underivable: It is not what follows.
        """
        if self.finished:
            return None
        if isinstance(record, Founding):
            self._founding = record
            return None
        if isinstance(record, ArchiveEnd):
            self._end(record)
            return None
        if self.standing is None:
            self.standing = self._begin(record)
            block = None
        else:
            block = derive_block(self.standing, record.header, record.transactions)
            self.standing = self.standing.after(block)
        self.finished = self._until == record.header.height
        return block

    @property
    def ended_early(self) -> bool:
        """Whether the block of `until` was reached: what follows it in the archive is not looked at."""
        return self.finished and self.standing is not None and self._until == self.standing.head.height

    def _begin(self, block: ArchivedBlock) -> Standing:
        if self._founding is None:
            raise ArchiveError("the archive does not begin with a founding document")
        if block.transactions:
            raise Underivable("block 0 holds transactions")
        return derive_founding(self._founding, block.header)

    def _end(self, end: ArchiveEnd) -> None:
        if self.standing is None:
            raise ArchiveError("the archive holds no block")
        if self._until is not None:
            raise ArchiveError(f"the archive ends at block {end.height}, before block {self._until}")
        head, chain = self.standing.head, self.standing.chain_record
        if (end.height, end.app_hash) != (head.height, head.app_hash):
            raise Underivable(f"the archive says that it ends at block {end.height}, and ends at {head.height}")
        if (end.chain.chain_id, end.chain.shift) != (chain.chain_id, chain.shift):
            raise Underivable("the archive ends with another chain's name than the one that follows")
        if chain.synced and not end.chain.synced:
            raise Underivable("the archive ends with a migration that was not decided")
        self.standing = self.standing.renamed(end.chain)
        self.finished = True


class LedgerWriter:
    """Fills a store with blocks that were derived, in batches.

    Every method raises StoreError where the store does not take them after some attempts.

    Args:
        store: Open for writing.
        stored: Height of the newest block that is there already, of the same chain; -1 for an empty store.
    """

    def __init__(self, store: Store, *, stored: int = -1) -> None:
        self._store = store
        self._stored = stored
        self._batch: list[BlockRecord] = []
        self._transactions = self._bytes = 0
        self._waiting: ChainRecord | None = None

    async def begin(self, standing: Standing) -> None:
        """Found the chain; `standing` is the one after block 0."""
        if self._stored < 0:
            await self._store.found(standing.founding, standing.head)

    async def add(self, block: BlockRecord) -> None:
        """Take the next block."""
        if block.header.height <= self._stored:
            self._waiting = block.chain
            return
        if self._waiting is not None:
            await self._begin_chain(self._waiting)
        self._batch.append(block)
        self._transactions += len(block.transactions)
        self._bytes += sum(len(item.canonical) for item in block.transactions)
        self._waiting = block.chain
        full = (
            len(self._batch) >= _BATCH_BLOCKS
            or self._transactions >= _BATCH_TRANSACTIONS
            or self._bytes >= _BATCH_BYTES
        )
        if full:
            await self._flush()

    async def finish(self, chain: ChainRecord) -> None:
        """Write what is left; `chain` is the newest record, as it stood when the archive was made."""
        await self._flush()
        if self._waiting is not None and chain.synced:
            await self._begin_chain(self._waiting)

    async def _begin_chain(self, waiting: ChainRecord) -> None:
        await self._flush()
        await self._store.begin_chain(ChainRecord(waiting.chain_id, waiting.shift))
        self._waiting = None

    async def _flush(self) -> None:
        if not self._batch:
            return
        await self._save(self._batch)
        self._batch = []
        self._transactions = self._bytes = 0

    async def _save(self, batch: list[BlockRecord]) -> None:
        """Store a batch; where that fails, look what became of it and try again."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._store.save_blocks(batch)
                return
            except StoreError:
                if attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(0.2 * attempt)
                head = await self._store.head()
                if head == batch[-1].header:
                    return
