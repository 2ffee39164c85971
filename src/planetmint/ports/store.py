# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store: one atomic write per block, and indexed answers to everything that the node is asked.

One task writes; any number read what is committed and never wait for the writer. Methods are coroutines
because some stores live across a network; an embedded store may answer without ever suspending.
`planetmint.testing.store_conformance` is the executable form of this contract.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, BlockSummary, Founding
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.search import SearchQuery
from planetmint.model.transaction import Operation, OutputRef
from planetmint.model.validator import ValidatorSet
from planetmint.state.view import StateView

T = TypeVar("T")

Cursor = tuple[int, ...]
"""A place in a list, made by the store and opaque to everybody else. Same on every node with equal blocks."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list.

    Attributes:
        items: In the order of the list.
        next: Where the list goes on; None at its end (and always without a limit).
    """

    items: tuple[T, ...]
    next: Cursor | None = None


class Paging(NamedTuple):
    """Which part of a list is wanted.

    Attributes:
        limit: At most so many items, 1 or more; None for all.
        after: `Page.next` of the part before; None for the beginning.
    """

    limit: int | None = None
    after: Cursor | None = None


class StateReads(NamedTuple):
    """What some transactions may ask of the committed state, collected so that one trip fetches it all.

    Attributes:
        transaction_ids: Ids whose existence may be asked.
        outputs: Outputs that may be asked for.
        elections: Ids of elections that may be asked for.
    """

    transaction_ids: Collection[str]
    outputs: Collection[OutputRef]
    elections: Collection[str] = ()


class Found(NamedTuple):
    """A transaction that a search or a content look-up found.

    Attributes:
        transaction_id: Its id.
        canonical: Its canonical JSON.
    """

    transaction_id: str
    canonical: bytes


class StoredBlock(NamedTuple):
    """A block with its transactions' canonical JSON, in block order."""

    summary: BlockSummary
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LedgerEnd:
    """What a ledger holds besides its blocks, and how much of each kind: for `Store.audit_end`.

    Attributes:
        founding: The founding document.
        head: Header of the newest block.
        elections: All records, in the order of their ids.
        chain: The newest record.
        validator_sets: Number of stored sets, the first included.
        transactions, outputs, spends: Numbers of stored ones.
    """

    founding: Founding
    head: BlockHeader
    elections: tuple[ElectionRecord, ...]
    chain: ChainRecord
    validator_sets: int
    transactions: int
    outputs: int
    spends: int


class Store(Protocol):
    """What a storage backend does.

    Every method raises `StoreError` (or a subclass) when the backend fails, and nothing else.
    Order in lists is commit order: height, then position in the block, then output index.
    """

    async def open(self) -> None:
        """Connect, create the layout where there is none, check that it is whole.

        Raises:
            LayoutError: Another layout version; the message names the command to run.
        """
        ...

    async def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...

    async def founding(self) -> Founding | None:
        """What the chain began with; None before `found`."""
        ...

    async def found(self, founding: Founding, header: BlockHeader) -> None:
        """Store the founding document, its validators (from height 1 on) and block 0, atomically and durably.

        Raises:
            StoreError: A chain is founded here already.
        """
        ...

    async def save_block(self, block: BlockRecord) -> None:
        """Store a block and all its effects atomically; durable when this returns.

        The height must be the head's + 1. After an error nothing of the block is stored, or all of it: `head`
        tells which. Where it tells of the block before, the call may be repeated with the same or another block.
        """
        ...

    async def save_blocks(self, blocks: Sequence[BlockRecord]) -> None:
        """As `save_block` for several consecutive blocks in one atomic write: all of them or none."""
        ...

    async def begin_chain(self, chain: ChainRecord) -> None:
        """Replace the newest chain record by `chain`, durably: an engine has begun the chain that waited.

        Repeatable. Raises StoreError where the stored record has another id or shift.
        """
        ...

    async def head(self) -> BlockHeader | None:
        """Header of the newest block; None before the founding."""
        ...

    async def read_state(self, reads: StateReads) -> StateView:
        """Committed state that answers (at least) what `reads` lists; a consistent snapshot."""
        ...

    async def transaction(self, transaction_id: str) -> bytes | None:
        """Canonical JSON of a committed transaction of any operation."""
        ...

    async def height_of(self, transaction_id: str) -> int | None:
        """Height of the block that holds a transaction."""
        ...

    async def transactions_by_asset(
        self, asset_ids: Sequence[str], operation: Operation | None, *, last: bool, paging: Paging
    ) -> Page[bytes]:
        """Canonical JSON of the transactions of some assets, each once (http-api 4.2).

        Args:
            asset_ids: 64-digit lower-case hex; a transaction matches when any of its `asset_ids` is here.
            operation: None: all. CREATE: the one whose id is the asset id. TRANSFER: the transfers of the assets.
            last: Only the newest match.
        """
        ...

    async def outputs_by_key(self, public_key: str, spent: bool | None, paging: Paging) -> Page[OutputRef]:
        """Outputs that list `public_key`: all (None), spent ones (True) or unspent ones (False)."""
        ...

    async def search_assets(self, query: SearchQuery, paging: Paging) -> Page[Found]:
        """CREATE and COMPOSE transactions whose asset data matches; best first, see `SearchQuery`."""
        ...

    async def search_metadata(self, query: SearchQuery, paging: Paging) -> Page[Found]:
        """Transactions of any operation whose metadata matches; best first, see `SearchQuery`."""
        ...

    async def assets_by_content(self, content: str, paging: Paging) -> Page[Found]:
        """CREATE, TRANSFER, COMPOSE, DECOMPOSE transactions one of whose assets has `data` equal to this text."""
        ...

    async def metadata_by_content(self, content: str, paging: Paging) -> Page[Found]:
        """CREATE, TRANSFER, COMPOSE, DECOMPOSE transactions whose `metadata` equals this text."""
        ...

    async def block(self, height: int) -> StoredBlock | None:
        """A block with its transactions; None for a height that is not stored."""
        ...

    async def summary(self, height: int) -> BlockSummary | None:
        """A block's header and ids; None for a height that is not stored."""
        ...

    async def events(self, from_height: int, max_events: int) -> tuple[BlockEvents, ...]:
        """Events of stored blocks from `from_height` (1 or more) on, in order, without holes.

        Whole blocks: as many as hold together at most `max_events` events, but at least one block where there is
        one; never more than 1,000 blocks.
        """
        ...

    async def validators(self) -> ValidatorSet:
        """The newest stored validator set; empty before the founding."""
        ...

    async def elections(self) -> tuple[ElectionRecord, ...]:
        """Every election's record, in the order of their ids."""
        ...

    async def audit(self, block: BlockRecord) -> tuple[str, ...]:
        """Hold everything that is stored about one block against what must be stored, indexes included.

        Args:
            block: The block as re-derived from its transactions, `header` as stored.

        Returns:
            A sentence for each stored record that is missing or other than it must be, naming it; reads damaged
            records without raising. Raises StoreError only where the store cannot be read at all.
        """
        ...

    async def audit_end(self, end: LedgerEnd) -> tuple[str, ...]:
        """As `audit` for what belongs to no single block; also tells of records beyond those of the blocks."""
        ...
