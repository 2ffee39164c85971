# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store in dictionaries. Slow where a real one has an index, exact everywhere.

What was saved outlives `close` as long as the object does, so that a restart can be played in a test.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, BlockSummary, Founding
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.json import JsonValue
from planetmint.model.search import SearchQuery, tokens_of
from planetmint.model.transaction import Operation, OutputRecord, OutputRef, Transaction
from planetmint.model.validator import ValidatorSet
from planetmint.ports.errors import StoreError
from planetmint.ports.store import Cursor, Found, LedgerEnd, Page, Paging, StateReads, StoredBlock
from planetmint.storage.checks import Findings, check_begins
from planetmint.storage.snapshot import Snapshot

T = TypeVar("T")

MAX_EVENT_BLOCKS = 1_000

_ASSET_OPERATIONS = frozenset({Operation.CREATE, Operation.COMPOSE})
_CONTENT_OPERATIONS = frozenset({Operation.CREATE, Operation.TRANSFER, Operation.COMPOSE, Operation.DECOMPOSE})


class MemoryStore:
    """Implements `Store`. One event loop at a time."""

    def __init__(self) -> None:
        self._open = False
        self._clear()

    def _clear(self) -> None:
        """Hold nothing."""
        self._founding: Founding | None = None
        self._blocks: list[BlockRecord] = []
        self._transactions: list[Transaction] = []
        self._places: dict[str, int] = {}
        self._heights: dict[str, int] = {}
        self._outputs: dict[OutputRef, OutputRecord] = {}
        self._by_key: dict[str, list[tuple[int, OutputRef]]] = defaultdict(list)
        self._by_asset: dict[str, list[int]] = defaultdict(list)
        self._sets: list[tuple[int, ValidatorSet]] = []
        self._elections: dict[str, ElectionRecord] = {}
        self._chain: ChainRecord | None = None

    async def open(self) -> None:
        """See `Store`."""
        self._open = True

    async def close(self) -> None:
        """See `Store`."""
        self._open = False

    async def founding(self) -> Founding | None:
        """See `Store`."""
        self._check_open()
        return self._founding

    async def found(self, founding: Founding, header: BlockHeader) -> None:
        """See `Store`."""
        self._check_open()
        if self._founding is not None:
            raise StoreError("a chain is founded here already")
        if header.height != 0:
            raise StoreError(f"the founding block has height 0, not {header.height}")
        self._begin(founding, BlockRecord(header, (), (), (), BlockEvents(0, header.app_hash, ())))

    async def save_block(self, block: BlockRecord) -> None:
        """See `Store`."""
        self._check_open()
        self._add_block(block)

    async def save_blocks(self, blocks: Sequence[BlockRecord]) -> None:
        """See `Store`."""
        self._check_open()
        before, chain = list(self._blocks), self._chain
        try:
            for block in blocks:
                self._add_block(block)
        except StoreError:
            self._put_back(before, chain)
            raise

    async def begin_chain(self, chain: ChainRecord) -> None:
        """See `Store`."""
        self._check_open()
        check_begins(self._chain, chain)
        self._chain = chain

    async def head(self) -> BlockHeader | None:
        """See `Store`."""
        self._check_open()
        return self._blocks[-1].header if self._blocks else None

    async def read_state(self, reads: StateReads) -> Snapshot:
        """See `Store`."""
        self._check_open()
        known = {item for item in reads.transaction_ids if item in self._places}
        outputs = {ref: self._outputs[ref] for ref in reads.outputs if ref in self._outputs}
        elections = {item: self._elections[item] for item in reads.elections if item in self._elections}
        heights = tuple(height for height, _ in self._sets[:-3:-1])
        return Snapshot(
            known,
            outputs,
            self._sets[-1][1] if self._sets else (),
            heights,
            elections,
            self._chain or ChainRecord(""),
        )

    async def transaction(self, transaction_id: str) -> bytes | None:
        """See `Store`."""
        self._check_open()
        place = self._places.get(transaction_id)
        return None if place is None else self._transactions[place].canonical

    async def height_of(self, transaction_id: str) -> int | None:
        """See `Store`."""
        self._check_open()
        return self._heights.get(transaction_id)

    async def transactions_by_asset(
        self, asset_ids: Sequence[str], operation: Operation | None, *, last: bool, paging: Paging
    ) -> Page[bytes]:
        """See `Store`."""
        self._check_open()
        places = sorted({place for asset_id in asset_ids for place in self._by_asset.get(asset_id, ())})
        if operation is not None:
            places = [place for place in places if self._transactions[place].operation is operation]
        found = [((place,), self._transactions[place].canonical) for place in (places[-1:] if last else places)]
        return _page(found, paging)

    async def outputs_by_key(self, public_key: str, spent: bool | None, paging: Paging) -> Page[OutputRef]:
        """See `Store`."""
        self._check_open()
        mine = self._by_key.get(public_key, ())
        wanted = [((number,), ref) for number, ref in mine if spent is None or self._is_spent(ref) is spent]
        return _page(wanted, paging)

    async def search_assets(self, query: SearchQuery, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return self._search(
            query, paging, lambda tx: _asset_data(tx) if tx.operation in _ASSET_OPERATIONS else None
        )

    async def search_metadata(self, query: SearchQuery, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return self._search(query, paging, lambda transaction: transaction.metadata)

    async def assets_by_content(self, content: str, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return self._by_content(paging, lambda transaction: content in _asset_data(transaction))

    async def metadata_by_content(self, content: str, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return self._by_content(paging, lambda transaction: transaction.metadata == content)

    async def block(self, height: int) -> StoredBlock | None:
        """See `Store`."""
        summary = await self.summary(height)
        if summary is None:
            return None
        return StoredBlock(summary, tuple(item.canonical for item in self._blocks[height].transactions))

    async def summary(self, height: int) -> BlockSummary | None:
        """See `Store`."""
        self._check_open()
        if not 0 <= height < len(self._blocks):
            return None
        block = self._blocks[height]
        return BlockSummary(block.header, tuple(item.id for item in block.transactions))

    async def events(self, from_height: int, max_events: int) -> tuple[BlockEvents, ...]:
        """See `Store`."""
        self._check_open()
        chosen: list[BlockEvents] = []
        total = 0
        for block in islice(self._blocks, min(max(from_height, 1), len(self._blocks)), None):
            total += len(block.events.events)
            if chosen and (total > max_events or len(chosen) == MAX_EVENT_BLOCKS):
                break
            chosen.append(block.events)
        return tuple(chosen)

    async def validators(self) -> ValidatorSet:
        """See `Store`."""
        self._check_open()
        return self._sets[-1][1] if self._sets else ()

    async def elections(self) -> tuple[ElectionRecord, ...]:
        """See `Store`."""
        self._check_open()
        return tuple(self._elections[item] for item in sorted(self._elections))

    async def audit(self, block: BlockRecord) -> tuple[str, ...]:
        """See `Store`."""
        self._check_open()
        height = block.header.height
        if not 0 <= height < len(self._blocks):
            return (f"block {height} is missing",)
        stored, findings = self._blocks[height], Findings()
        findings.compare(f"the header of block {height}", stored.header, block.header)
        findings.compare(f"the events of block {height}", stored.events, block.events)
        ids = [tuple(item.id for item in one.transactions) for one in (stored, block)]
        findings.compare(f"the list of ids of block {height}", *ids)
        for transaction in block.transactions:
            self._audit_transaction(transaction, height, findings)
        for record in block.created:
            kept = self._outputs.get(record.ref)
            name = f"output {record.ref.output_index} of transaction {record.ref.transaction_id} in block {height}"
            findings.compare(name, kept and kept._replace(spender=None), record._replace(spender=None))
            entry = (self._output_place(record.ref), record.ref) if kept else None
            for key in dict.fromkeys(record.public_keys):
                findings.compare(f"the entry of key {key} for {name}", entry in self._by_key.get(key, ()), True)
        for spend in block.spent:
            kept = self._outputs.get(spend.ref)
            name = f"the spend of output {spend.ref.output_index} of transaction {spend.ref.transaction_id}"
            findings.compare(f"{name} in block {height}", kept and kept.spender, spend.spender)
        if block.validators is not None:
            sets = dict(self._sets)
            findings.compare(f"the validator set of block {height}", sets.get(height + 1), block.validators)
        return findings.sentences

    async def audit_end(self, end: LedgerEnd) -> tuple[str, ...]:
        """See `Store`."""
        self._check_open()
        findings = Findings()
        head = self._blocks[-1].header if self._blocks else None
        if head is None or head.height != end.head.height:
            newest = -1 if head is None else head.height
            return (f"the newest block is {newest}, not {end.head.height}",)
        findings.compare("the founding document", self._founding, end.founding)
        findings.compare("the newest header", head, end.head)
        expected = {item.election_id: item for item in end.elections}
        findings.compare_all(lambda item: f"the record of election {item}", self._elections, expected)
        findings.compare("the newest chain record", self._chain, end.chain)
        findings.compare("the number of validator sets", len(self._sets), end.validator_sets)
        findings.compare("the number of transactions", len(self._transactions), end.transactions)
        findings.compare("the number of outputs", len(self._outputs), end.outputs)
        spends = sum(record.spender is not None for record in self._outputs.values())
        findings.compare("the number of spends", spends, end.spends)
        first = self._sets[0][1] if self._sets else None
        findings.compare("the validator set of height 1", first, end.founding.validators)
        return findings.sentences

    def _audit_transaction(self, transaction: Transaction, height: int, findings: Findings) -> None:
        name = f"transaction {transaction.id} of block {height}"
        place = self._places.get(transaction.id)
        stored = None if place is None else self._transactions[place]
        findings.compare(name, stored and stored.canonical, transaction.canonical)
        findings.compare(f"the height of {name}", self._heights.get(transaction.id), height)
        for asset_id in transaction.asset_ids:
            findings.compare(
                f"the entry of asset {asset_id} for {name}", place in self._by_asset.get(asset_id, ()), True
            )

    def _check_open(self) -> None:
        if not self._open:
            raise StoreError("the store is not open")

    def _begin(self, founding: Founding, block: BlockRecord) -> None:
        self._founding = founding
        self._sets.append((1, founding.validators))
        self._chain = ChainRecord(founding.chain_id)
        self._blocks.append(block)

    def _add_block(self, block: BlockRecord) -> None:
        self._check_fits(block)
        for transaction in block.transactions:
            self._add_transaction(transaction, block.header.height)
        for record in block.created:
            self._outputs[record.ref] = record._replace(spender=None)
            for key in dict.fromkeys(record.public_keys):
                self._by_key[key].append((self._output_place(record.ref), record.ref))
        for spend in block.spent:
            self._outputs[spend.ref] = self._outputs[spend.ref]._replace(spender=spend.spender)
        if block.validators is not None:
            self._sets.append((block.header.height + 1, block.validators))
        self._elections.update((record.election_id, record) for record in block.elections)
        self._chain = block.chain or self._chain
        self._blocks.append(block)

    def _put_back(self, blocks: list[BlockRecord], chain: ChainRecord | None) -> None:
        """Hold these blocks again and nothing else."""
        founding = self._founding
        self._clear()
        if founding is None:
            return
        self._begin(founding, blocks[0])
        for block in blocks[1:]:
            self._add_block(block)
        self._chain = chain

    def _check_fits(self, block: BlockRecord) -> None:
        """Refuse, before anything changes, a block that cannot stand on the stored ones."""
        if not self._blocks or block.header.height != len(self._blocks):
            raise StoreError(f"block {block.header.height} does not follow block {len(self._blocks) - 1}")
        ids = [item.id for item in block.transactions]
        known = next((item for item in ids if item in self._places), None)
        if known is not None or len(set(ids)) < len(ids):
            raise StoreError(f"block {block.header.height} repeats a transaction ({known or 'within itself'})")
        spent: set[OutputRef] = set()
        made = {record.ref for record in block.created}
        for spend in block.spent:
            committed = self._outputs.get(spend.ref)
            free = spend.ref in made if committed is None else committed.spender is None
            if not free or spend.ref in spent:
                raise StoreError(f"block {block.header.height} spends {spend.ref}, which is not unspent")
            spent.add(spend.ref)

    def _add_transaction(self, transaction: Transaction, height: int) -> None:
        place = len(self._transactions)
        self._transactions.append(transaction)
        self._places[transaction.id] = place
        self._heights[transaction.id] = height
        for asset_id in transaction.asset_ids:
            self._by_asset[asset_id].append(place)

    def _output_place(self, ref: OutputRef) -> int:
        """Orders outputs by commit: place of the transaction, then index."""
        return self._places[ref.transaction_id] << 20 | ref.output_index

    def _is_spent(self, ref: OutputRef) -> bool:
        return self._outputs[ref].spender is not None

    def _search(self, query: SearchQuery, paging: Paging, text: Callable[[Transaction], JsonValue]) -> Page[Found]:
        self._check_open()
        scored = ((query.score(tokens_of(text(item))), place) for place, item in enumerate(self._transactions))
        best = sorted((-score, place) for score, place in scored if score)
        return _page([(cursor, self._found(cursor[1])) for cursor in best], paging)

    def _by_content(self, paging: Paging, matches: Callable[[Transaction], bool]) -> Page[Found]:
        self._check_open()
        ordinary = (pair for pair in enumerate(self._transactions) if pair[1].operation in _CONTENT_OPERATIONS)
        return _page([((place,), self._found(place)) for place, item in ordinary if matches(item)], paging)

    def _found(self, place: int) -> Found:
        transaction = self._transactions[place]
        return Found(transaction.id, transaction.canonical)


def _asset_data(transaction: Transaction) -> list[JsonValue]:
    return [asset.data for asset in transaction.assets]


def _page(items: Iterable[tuple[Cursor, T]], paging: Paging) -> Page[T]:
    """The part of a list that is wanted; `items` in order, each with its own cursor."""
    rest = [pair for pair in items if paging.after is None or pair[0] > paging.after]
    if paging.limit is None or len(rest) <= paging.limit:
        return Page(tuple(item for _, item in rest))
    part = rest[: paging.limit]
    return Page(tuple(item for _, item in part), part[-1][0])
