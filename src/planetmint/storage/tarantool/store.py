# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store in a Tarantool server: one procedure a block, one a question.

A node that opens a ledger for writing raises its writer epoch; saves of earlier epochs are refused, whoever sent
them and however late they arrive. After a save whose answer was lost the epoch is raised before anything else is
asked, so that the save has happened by then or never will (decision record 0007).
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, BlockSummary, Founding
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.search import SearchQuery
from planetmint.model.transaction import Operation, OutputRecord, OutputRef
from planetmint.model.validator import ValidatorSet
from planetmint.ports.errors import LayoutError, StoreError
from planetmint.ports.store import Cursor, Found, LedgerEnd, Page, Paging, StateReads, StoredBlock
from planetmint.storage.checks import check_begins
from planetmint.storage.snapshot import Snapshot
from planetmint.storage.tarantool import audit, queries, record
from planetmint.storage.tarantool.address import Address
from planetmint.storage.tarantool.session import FULL, Session, Value, raw, wire

T = TypeVar("T")

LAYOUT = 1
"""Version of the layout that this program writes; `layout` in procedures.lua."""

PROCEDURES = 1
"""Version of the procedures that it calls; `version` in procedures.lua. Later ones do for it, too."""

MAX_EVENT_BLOCKS = 1_000

_MAX_NUMBER = 2**52
"""Greater numbers are no heights, sequence numbers or places."""

_NO_SET: tuple[int, ValidatorSet] = (-1, ())
_PART = 1_000
_TURN = 100


class TarantoolStore:
    """Implements `Store` in a server.

    Args:
        address: Where it is, and who logs in.
        read_only: Only read, beside a node that writes: nothing is laid out and nobody is shut out.
    """

    def __init__(self, address: Address, *, read_only: bool = False) -> None:
        self.address = address
        self._read_only = read_only
        self._owner = secrets.token_hex(8)
        self._session: Session | None = None
        self._epoch = 0
        self._in_doubt = False
        self._settling = asyncio.Lock()
        # The newest validator set that was read, and its height: it is sent again only where it has changed.
        self._sets: tuple[int, ValidatorSet] = _NO_SET
        self._failures = 0
        # After a save of our own: where the ledger ends. Only we can have added to it if the next save is taken.
        self._end: tuple[int, int, int] | None = None

    async def open(self) -> None:
        """See `Store`. Retries, as often as the address says, while the server starts."""
        if self._session is not None:
            return
        session = Session(self.address)
        try:
            await session.connect()
            await self._begin(session)
        except BaseException:
            await session.close()
            raise
        self._session, self._in_doubt, self._end = session, False, None

    async def close(self) -> None:
        """See `Store`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def founding(self) -> Founding | None:
        """See `Store`."""
        text = await self._one("meta", "founding")
        return None if text is None else record.decode_founding(raw(text))

    async def found(self, founding: Founding, header: BlockHeader) -> None:
        """See `Store`."""
        if header.height != 0:
            raise StoreError(f"the founding block has height 0, not {header.height}")
        rows: list[bytes] = []
        record.add_row(rows, record.BLOCKS, record.block_row(0, 0, 0, record.encode_header(header)))
        record.add_row(rows, record.VALIDATORS, record.validators_row(1, founding.validators))
        chain = record.encode(ChainRecord(founding.chain_id))
        await self._write("found", wire(record.encode(founding)), wire(chain), wire(b"".join(rows)))

    async def save_block(self, block: BlockRecord) -> None:
        """See `Store`."""
        await self.save_blocks((block,))

    async def save_blocks(self, blocks: Sequence[BlockRecord]) -> None:
        """See `Store`."""
        if not blocks:
            return
        end, self._end = self._end or await self._read_end(), None
        batch = record.Batch(*end)
        for block in blocks:
            batch.add(block, await _terms(block))
        save = batch.save
        elections: list[Value] = [wire(item) for item in save.elections]
        await self._write(
            "save",
            save.height,
            save.first,
            save.postings,
            wire(b"".join(save.rows)),
            wire(b"".join(save.spends)),
            elections,
            None if save.chain is None else wire(save.chain),
        )
        self._end = batch.end

    async def begin_chain(self, chain: ChainRecord) -> None:
        """See `Store`."""
        text = await self._one("meta", "chain")
        stored = None if text is None else record.decode_chain(raw(text))
        check_begins(stored, chain)
        if stored != chain:
            await self._write("begin_chain", text, wire(record.encode(chain)))

    async def head(self) -> BlockHeader | None:
        """See `Store`."""
        row = _row(await self._one("head"))
        return None if row is None else record.decode_header(row[0], raw(row[3]))

    async def read_state(self, reads: StateReads) -> Snapshot:
        """See `Store`."""
        ids = {key: item for item in reads.transaction_ids if (key := record.id_bytes(item)) is not None}
        refs = {key: item for item in reads.outputs if (key := record.reference(item)) is not None}
        votes = {key for item in reads.elections if (key := record.id_bytes(item)) is not None}
        known, failures = self._sets, self._failures
        answer = await self._call(
            "read_state",
            wire(b"".join(ids)),
            wire(b"".join(refs)),
            wire(b"".join(votes)),
            known[0],
        )
        snapshot, known = _checked(lambda: _snapshot(answer, list(ids.values()), list(refs.values()), known))
        if failures == self._failures:
            self._sets = known
        return snapshot

    async def transaction(self, transaction_id: str) -> bytes | None:
        """See `Store`."""
        key = record.id_bytes(transaction_id)
        found = None if key is None else await self._one("transaction", wire(key))
        return None if found is None else raw(found)

    async def height_of(self, transaction_id: str) -> int | None:
        """See `Store`."""
        key = record.id_bytes(transaction_id)
        row = _row(None if key is None else await self._one("place_of", wire(key)))
        return None if row is None else row[0]

    async def transactions_by_asset(
        self, asset_ids: Sequence[str], operation: Operation | None, *, last: bool, paging: Paging
    ) -> Page[bytes]:
        """See `Store`."""
        keys = [key for item in dict.fromkeys(asset_ids) if (key := record.id_bytes(item)) is not None]
        if not keys:
            return Page(())
        codes = [place for place, item in enumerate(record.OPERATIONS) if operation in (None, item)]
        terms = [record.asset_term(key, code) for key in keys for code in codes]
        after, count = _after(paging), None if last else _count(paging)
        own = await self._own(keys, codes)
        if last:
            found = [max([*own, *await queries.last_numbers(self._open, terms)], default=-1)]
        else:
            found = [*own, *await queries.numbers(self._open, terms, after, count)]
        places = sorted({number for number in found if number > after})[:count]
        return await self._page([(number,) for number in places], paging, lambda item: item.canonical)

    async def outputs_by_key(self, public_key: str, spent: bool | None, paging: Paging) -> Page[OutputRef]:
        """See `Store`."""
        if not _is_text(public_key):
            return Page(())
        key, after, count = wire(public_key.encode()), _after(paging), _count(paging)
        found: list[tuple[Cursor, OutputRef]] = []
        while count is None or len(found) < count:
            most = _PART if count is None else min(count - len(found), _PART)
            rows = _rows(await self._one("by_key", key, spent, after + 1, most))
            part = sorted((place, raw(name).hex()) for place, name in rows)[:most]
            found += [((place,), OutputRef(name, place & _INDEX_MASK)) for place, name in part]
            if len(part) < most:
                break
            after = part[-1][0]
        return _cut(found, paging)

    async def search_assets(self, query: SearchQuery, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return await self._search(record.ASSET_WORD, query, paging)

    async def search_metadata(self, query: SearchQuery, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return await self._search(record.METADATA_WORD, query, paging)

    async def assets_by_content(self, content: str, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return await self._by_content(record.ASSET_CONTENT, content, paging)

    async def metadata_by_content(self, content: str, paging: Paging) -> Page[Found]:
        """See `Store`."""
        return await self._by_content(record.METADATA_CONTENT, content, paging)

    async def block(self, height: int) -> StoredBlock | None:
        """See `Store`."""
        row = await self._summary(height)
        if row is None:
            return None
        _, first, following, _ = row
        bodies: list[bytes] = []
        while first + len(bodies) < following:
            part = _rows(await self._one("bodies_between", first + len(bodies), following))
            if not part:
                raise StoreError(f"the ledger is damaged: transactions of block {height} are missing")
            bodies += map(raw, part)
        return StoredBlock(await self._to_summary(height, row), tuple(bodies))

    async def summary(self, height: int) -> BlockSummary | None:
        """See `Store`."""
        row = await self._summary(height)
        return None if row is None else await self._to_summary(height, row)

    async def events(self, from_height: int, max_events: int) -> tuple[BlockEvents, ...]:
        """See `Store`."""
        start = max(from_height, 1)
        if start > _MAX_NUMBER:
            return ()
        first, heads = await self._call("heads", start, min(max_events, _MAX_NUMBER), MAX_EVENT_BLOCKS)
        blocks: list[BlockEvents] = []
        last = heads[-1][1] if heads else first
        events = [event async for event in audit.events(self._open, first, last)]
        for height, following, header in heads:
            app_hash = record.decode_header(height, raw(header)).app_hash
            own = tuple(events[: following - first])
            del events[: following - first]
            blocks.append(BlockEvents(height, app_hash, own))
            first = following
        return tuple(blocks)

    async def validators(self) -> ValidatorSet:
        """See `Store`."""
        row = _row(await self._one("validators"))
        return () if row is None else record.decode_validators(raw(row[1]))

    async def elections(self) -> tuple[ElectionRecord, ...]:
        """See `Store`."""
        found: list[ElectionRecord] = []
        after: Value = ""
        while rows := _rows(await self._one("elections", after, _PART)):
            found += [record.decode_election(raw(text)) for _, text in rows]
            after = rows[-1][0]
        return tuple(found)

    async def audit(self, block: BlockRecord) -> tuple[str, ...]:
        """See `Store`."""
        return await audit.audit_block(self._open, block, await _terms(block))

    async def audit_end(self, end: LedgerEnd) -> tuple[str, ...]:
        """See `Store`."""
        return await audit.audit_end(self._open, end)

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise StoreError(f"{self.address} is not open")
        return self._session

    async def _begin(self, session: Session) -> None:
        """Check the layout, make it where there is none, and take over."""
        about = await self._about(session)
        if about["layout"] == 0 and not self._read_only:
            _check_writable(about, self.address)
            await session.call("migrate")
        elif about["layout"] != LAYOUT:
            check_layout(about["layout"], self.address)
        if self._read_only:
            return
        _check_writable(about, self.address)
        answer = await session.call("fence", self._owner)
        self._epoch = int(answer[0])

    async def _read_end(self) -> tuple[int, int, int]:
        """Height of the next block, number of its first transaction, rows of postings so far."""
        row = _row(await self._one("head"))
        if row is None:
            raise StoreError("no chain is founded here")
        return row[0] + 1, row[1], row[2]

    async def _about(self, session: Session) -> dict[str, Value]:
        """What the server says of itself once it has started, or has had as many chances as the address gives."""
        tries = 1
        while True:
            about = about_of(await session.call("about"), self.address)
            if not about["starting"] or tries == self.address.max_tries:
                return about
            tries += 1
            await asyncio.sleep(self.address.reconnect_delay)

    async def _call(self, name: str, *arguments: Value) -> list[Value]:
        """What a procedure answers; where the outcome of a save is unknown, it is settled first."""
        session = self._open
        if self._in_doubt:
            await self._settle(session)
        return await session.call(name, *arguments)

    async def _one(self, name: str, *arguments: Value) -> Value:
        """The first value that a procedure answers."""
        answer = await self._call(name, *arguments)
        return answer[0] if answer else None

    async def _settle(self, session: Session) -> None:
        """Shut out what this store itself may still have under way."""
        async with self._settling:
            if not self._in_doubt:
                return
            answer = await session.call("fence_again", self._owner)
            if not answer or answer[0] is None:
                raise StoreError(f"another node has taken over the ledger in {self.address}")
            self._epoch, self._in_doubt = int(answer[0]), False

    async def _write(self, name: str, *arguments: Value) -> None:
        """Call a procedure that writes; StoreError where it refused, or where its answer was lost."""
        if self._read_only:
            raise StoreError(f"{self.address} is open for reading alone")
        await self._settle_if_needed()
        try:
            answer = await self._open.call(name, self._epoch, *arguments)
        except BaseException:
            self._in_doubt = True
            self._forget_sets()
            raise
        if answer[:1] == [True]:
            return
        self._forget_sets()
        _, reason, code, *_ = (*answer, "no answer", 0, 0)
        if code in FULL:
            raise self._open.full(str(reason))
        raise StoreError(f"{self.address} did not take it: {reason}")

    async def _settle_if_needed(self) -> None:
        if self._in_doubt:
            await self._settle(self._open)

    def _forget_sets(self) -> None:
        """Somebody may have read the set of a block while it was being written that is not stored now."""
        self._sets = _NO_SET
        self._failures += 1

    async def _own(self, keys: Sequence[bytes], codes: Sequence[int]) -> list[int]:
        """Numbers of the transactions that are the assets themselves and of one of some operations."""
        rows = _rows(await self._one("places_of", wire(b"".join(keys))))
        return [row[1] for row in rows if row and row[2] & record.OWN_ASSET and row[2] & 15 in codes]

    async def _search(self, kind: bytes, query: SearchQuery, paging: Paging) -> Page[Found]:
        after = None if paging.after is None or len(paging.after) != 2 else (paging.after[0], paging.after[1])
        if after is not None and after[1] > _MAX_NUMBER:
            after = (after[0], _MAX_NUMBER)
        search = queries.Search(self._open, kind, query, after, _count(paging))
        return await self._page(await search.places(), paging, lambda item: item)

    async def _by_content(self, kind: bytes, content: str, paging: Paging) -> Page[Found]:
        if not _is_text(content):
            return Page(())
        term, count = record.term(kind, content), _count(paging)
        found = await queries.numbers(self._open, [term], _after(paging), count)
        return await self._page([(number,) for number in found], paging, lambda item: item)

    async def _page(self, places: Sequence[Cursor], paging: Paging, form: Callable[[Found], T]) -> Page[T]:
        """The transactions at some places, whose last members are their numbers."""
        part = _cut([(place, place) for place in places], paging)
        found = await queries.bodies(self._open, [place[-1] for place in part.items])
        return Page(tuple(map(form, found)), part.next)

    async def _summary(self, height: int) -> list[Value] | None:
        """Header, first number, number after the last, and the first ids of a block."""
        return _row(await self._one("summary", height)) if 0 <= height <= _MAX_NUMBER else None

    async def _to_summary(self, height: int, row: Sequence[Value]) -> BlockSummary:
        header, first, following, text = _checked(lambda: (raw(row[0]), int(row[1]), int(row[2]), raw(row[3])))
        while len(text) < 32 * (following - first):
            more = raw(await self._one("ids", first + len(text) // 32, following))
            if not more:
                raise StoreError(f"the ledger is damaged: transactions of block {height} are missing")
            text += more
        ids = text.hex()
        names = tuple(ids[start : start + 64] for start in range(0, len(ids), 64))
        return BlockSummary(record.decode_header(height, header), names)


_INDEX_MASK = (1 << record.INDEX_BITS) - 1


async def _terms(block: BlockRecord) -> list[set[bytes]]:
    """The terms of a block's transactions. They take longest, so others get turns in between."""
    terms: list[set[bytes]] = []
    for place, item in enumerate(block.transactions, 1):
        terms.append(record.terms_of(item))
        if place % _TURN == 0:
            await asyncio.sleep(0)
    return terms


def _snapshot(
    answer: Sequence[Value], ids: Sequence[str], refs: Sequence[OutputRef], known: tuple[int, ValidatorSet]
) -> tuple[Snapshot, tuple[int, ValidatorSet]]:
    """The state of an answer, and its newest validator set with its height; `known` where that is not sent."""
    present, outputs, votes, heights, newest, chain = _state(answer)
    if newest is not None:
        known = (heights[0], record.decode_validators(raw(newest)))
    found = {refs[place]: _output(refs[place], *rest) for place, *rest in outputs}
    elections = [record.decode_election(raw(text)) for text in votes]
    snapshot = Snapshot(
        frozenset(ids[place] for place in present),
        found,
        known[1] if heights else (),
        tuple(heights),
        {item.election_id: item for item in elections},
        ChainRecord("") if chain is None else record.decode_chain(raw(chain)),
    )
    return snapshot, known


def _output(
    ref: OutputRef, row: Sequence[Value], kind: int, assets: Sequence[Value], spender: Value
) -> OutputRecord:
    """An output as the rules see it, of its row and what its transaction's row says."""
    _, spent, _, amount, uri, keys, asset, *item = row
    asset_id = ref.transaction_id if asset == 0 else raw(assets[asset - 1]).hex()
    return OutputRecord(
        ref,
        amount,
        record.decode_uri(raw(uri).decode()),
        tuple(raw(key).decode() for key in keys),
        asset_id,
        record.OPERATIONS[kind & 15],
        raw(item[0]).decode() if item and item[0] is not None else None,
        raw(spender).hex() if spent else None,
    )


def _checked(read: Callable[[], T]) -> T:
    """What `read` makes of rows; StoreError where they are not as we write them."""
    try:
        return read()
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise StoreError(f"the ledger is damaged: {error}") from error


def about_of(answer: Sequence[Value], address: Address) -> dict[str, Value]:
    """What the server says of itself, where its procedures are new enough."""
    about = answer[0] if answer else None
    if not isinstance(about, dict):
        raise StoreError(f"{address} answered something else than was asked")
    if about["procedures"] < PROCEDURES:
        raise LayoutError(
            f"{address} has procedures {about['procedures']}, this program uses {PROCEDURES}: "
            "run `planetmint migrate`"
        )
    return about


def check_layout(found: int, address: Address) -> None:
    """Raise LayoutError for a layout that is not ours."""
    if found == 0:
        raise StoreError(f"there is no ledger in {address}")
    if found < LAYOUT:
        raise LayoutError(f"{address} has layout {found}, this program uses {LAYOUT}: run `planetmint migrate`")
    if found > LAYOUT:
        raise LayoutError(
            f"{address} has layout {found} of a newer program, this one uses {LAYOUT} and `planetmint migrate` "
            "cannot go back: install the newer program"
        )


def _check_writable(about: dict[str, Value], address: Address) -> None:
    """Refuse a server on which a saved block may be lost or cannot be saved at all."""
    if about["read_only"]:
        raise StoreError(
            f"{address} takes no writes: make it the one that does, or set box.cfg{{read_only=false}}"
        )
    if about["wal_mode"] != "fsync":
        raise StoreError(
            f"{address} runs with wal_mode='{about['wal_mode']}', with which blocks may be lost when the machine "
            "stops: start it with box.cfg{wal_mode='fsync'}"
        )


def _state(answer: Sequence[Value]) -> Sequence[Value]:
    return answer if len(answer) == 6 else (*answer, *([None] * (6 - len(answer))))


def _row(value: Value) -> list[Value] | None:
    """One row, or none."""
    if value is None or isinstance(value, list):
        return value
    raise StoreError("the database answered something else than was asked")


def _rows(value: Value) -> list[Value]:
    """A list of rows; an empty one may come as a map."""
    if isinstance(value, list):
        return value
    if not value:
        return []
    raise StoreError("the database answered something else than was asked")


def _is_text(text: str) -> bool:
    """Whether `text` can stand in JSON at all: lone surrogates cannot, and nothing stored has any."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _after(paging: Paging) -> int:
    """The number or place after which a list goes on; -1 for its beginning, or a cursor that is none of ours."""
    if paging.after is None or len(paging.after) != 1:
        return -1
    return max(min(paging.after[0], _MAX_NUMBER), -1)


def _count(paging: Paging) -> int | None:
    """How many to fetch: one more than wanted tells whether the list goes on."""
    return None if paging.limit is None else min(paging.limit, _MAX_NUMBER) + 1


def _cut(items: Sequence[tuple[Cursor, T]], paging: Paging) -> Page[T]:
    if paging.limit is None or len(items) <= paging.limit:
        return Page(tuple(item for _, item in items))
    part = items[: paging.limit]
    return Page(tuple(item for _, item in part), part[-1][0])
