# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every storage backend must do, as checks that its author runs in five lines.

```python
@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_my_store(check: StoreCheck, tmp_path: Path) -> None:
    await check(lambda: MyStore(tmp_path / "data"))
```

The blocks here are made of values by hand and need no signatures: a store believes what it is given.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, Founding, Spend, TransactionEvent
from planetmint.model.condition import Ed25519Details, Ed25519Fulfillment
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.json import JsonObject, JsonValue, canonical
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.model.search import parse_search
from planetmint.model.transaction import (
    MAX_AMOUNT,
    Asset,
    Input,
    Operation,
    Output,
    OutputRecord,
    OutputRef,
    Transaction,
)
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.ports.errors import StoreError
from planetmint.ports.store import Found, LedgerEnd, Page, Paging, StateReads, Store
from planetmint.rules import decode_canonical
from planetmint.testing.build import Builder, Contract, Dialect, Draft, all_of
from planetmint.testing.build import Spend as BuiltSpend

T = TypeVar("T")

MakeStore = Callable[[], Store]
"""Makes a store that is not open. All stores that one `MakeStore` makes are over the same data, empty at first."""

StoreCheck = Callable[[MakeStore], Awaitable[None]]
"""Raises AssertionError where the contract is broken."""

ALL = Paging()
ANYBODY, SOMEBODY, NOBODY = "4K9sWUMFwTgaDGPfdynrbxWqWS6sWmKbZoTjxLtVUibD", "8Ycf" * 11, "Ct6Q" * 11
"""Public keys."""


def digest(text: str) -> str:
    """An id: 64 lower-case hex digits."""
    return hashlib.sha3_256(text.encode()).hexdigest()


FOUNDING = Founding(
    chain_id="conformance",
    parameters=ChainParameters(),
    validators=(Validator(b"\x01" * 32, 10), Validator(b"\x00\xff" * 16, 2**60 - 1)),
    time=1_700_000_000_000_000_001,
    label="0123abcd",
    app_hash=digest("founding"),
)


@dataclass
class Chain:
    """Makes the blocks of a chain by hand, and remembers what the store must therefore answer.

    Attributes:
        blocks: Those made, from height 1 on.
        records: Every output made, in commit order, with its spender.
    """

    blocks: list[BlockRecord] = field(default_factory=list)
    records: dict[OutputRef, OutputRecord] = field(default_factory=dict)

    def block(
        self,
        *transactions: Transaction,
        validators: ValidatorSet | None = None,
        elections: Sequence[ElectionRecord] = (),
        chain: ChainRecord | None = None,
    ) -> BlockRecord:
        """The block of these transactions at the next height; counts as made."""
        made = block_of(len(self.blocks) + 1, transactions, validators)
        block = replace(made, elections=tuple(elections), chain=chain)
        self.blocks.append(block)
        self.records.update((record.ref, record) for record in block.created)
        for spend in block.spent:
            self.records[spend.ref] = self.records[spend.ref]._replace(spender=spend.spender)
        return block

    def end(self) -> LedgerEnd:
        """What the ledger holds besides the blocks made."""
        records = {record.election_id: record for block in self.blocks for record in block.elections}
        chains = [block.chain for block in self.blocks if block.chain is not None]
        return LedgerEnd(
            founding=FOUNDING,
            head=header_of(len(self.blocks)),
            elections=tuple(records[item] for item in sorted(records)),
            chain=chains[-1] if chains else ChainRecord(FOUNDING.chain_id),
            validator_sets=1 + sum(block.validators is not None for block in self.blocks),
            transactions=len(self.transactions),
            outputs=len(self.records),
            spends=sum(record.spender is not None for record in self.records.values()),
        )

    @property
    def transactions(self) -> list[Transaction]:
        """All in commit order."""
        return [transaction for block in self.blocks for transaction in block.transactions]


def block_of(
    height: int, transactions: Sequence[Transaction], validators: ValidatorSet | None = None
) -> BlockRecord:
    """A block of these transactions; the outputs that they spend are taken as there."""
    created = tuple(record for item in transactions for record in records_of(item))
    spent = tuple(Spend(ref, item.id) for item in transactions for ref in item.spends)
    events = BlockEvents(height, digest(f"state {height}"), tuple(map(event_of, transactions)))
    return BlockRecord(header_of(height), tuple(transactions), created, spent, events, validators)


def header_of(height: int) -> BlockHeader:
    """The header of a block; all its members differ from height to height."""
    return BlockHeader(
        height=height,
        time=FOUNDING.time + 1_000_000_007 * height,
        previous_hash=digest(f"header {height - 1}"),
        root=digest(f"root {height}"),
        app_hash=digest(f"state {height}"),
        proposer=digest(f"proposer {height}"),
        signature=(digest(f"signature {height}") * 2 if height % 2 else ""),
    )


def transaction(
    name: str,
    operation: Operation = Operation.CREATE,
    *,
    owners: Sequence[Sequence[str]] = ((ANYBODY,),),
    spends: Iterable[OutputRef] = (),
    assets: Sequence[Asset] = (),
    metadata: JsonValue = None,
    amount: int = 1,
) -> Transaction:
    """A transaction.

    Args:
        name: Its id is made from this.
        owners: Public keys per output.
        assets: Empty: an asset without data, but for a TRANSFER the one named `name`.
    """
    details = Ed25519Details(ANYBODY)
    outputs = tuple(Output(amount, tuple(keys), details, f"ni:///sha-256;{name}") for keys in owners)
    proof = Ed25519Fulfillment(b"\x02" * 32, b"\x03" * 64)
    inputs = tuple(Input((ANYBODY,), ref, proof, b"\x04" * 32) for ref in spends)
    body: JsonValue = {
        "id": digest(name),
        "operation": operation.value,
        "assets": [{"id": asset.id} if asset.id else {"data": asset.data} for asset in assets],
        "inputs": [[item.fulfills.transaction_id, item.fulfills.output_index] for item in inputs if item.fulfills],
        "outputs": [{"amount": str(amount), "public_keys": list(keys)} for keys in owners],
        "metadata": metadata,
    }
    return Transaction(
        id=digest(name),
        version="3.0",
        operation=operation,
        inputs=inputs,
        outputs=outputs,
        assets=tuple(assets),
        metadata=metadata,
        script=None,
        canonical=canonical(body),
    )


def transfer(
    name: str, *spends: OutputRef, asset: str, owners: Sequence[Sequence[str]] = ((SOMEBODY,),)
) -> Transaction:
    """A TRANSFER of the asset whose transaction was made from the name `asset`."""
    assets = [Asset(digest(asset))]
    return transaction(name, Operation.TRANSFER, owners=owners, spends=spends, assets=assets)


def ref(name: str, index: int = 0) -> OutputRef:
    """An output of the transaction that was made from `name`."""
    return OutputRef(digest(name), index)


def records_of(made: Transaction) -> Iterable[OutputRecord]:
    """The outputs of a transaction as the store gets them."""
    items = [asset.data if made.operation is Operation.DECOMPOSE else None for asset in made.assets]
    for index, output in enumerate(made.outputs):
        item = items[index] if index < len(items) else None
        yield OutputRecord(
            OutputRef(made.id, index),
            output.amount,
            output.uri,
            output.public_keys,
            made.asset_id,
            made.operation,
            item if isinstance(item, str) else None,
        )


def event_of(made: Transaction) -> TransactionEvent:
    """What the streams tell about a transaction."""
    keys = tuple(dict.fromkeys(key for output in made.outputs for key in output.public_keys))
    return TransactionEvent(made.id, made.asset_id, made.asset_ids, made.operation, keys, (ANYBODY,))


@asynccontextmanager
async def opened(make_store: MakeStore) -> AsyncIterator[Store]:
    """A store, open inside the block."""
    store = make_store()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def stored(make_store: MakeStore, *blocks: BlockRecord) -> AsyncIterator[Store]:
    """An open store in which a chain is founded that has these blocks."""
    async with opened(make_store) as store:
        await store.found(FOUNDING, header_of(0))
        for block in blocks:
            await store.save_block(block)
        yield store


async def walk(read: Callable[[Paging], Awaitable[Page[T]]], limit: int) -> list[T]:
    """A whole list, in parts of `limit`."""
    items: list[T] = []
    page = await read(Paging(limit))
    items += page.items
    while page.next is not None:
        assert len(page.items) == limit, "a part before the last one has fewer items than asked for"
        page = await read(Paging(limit, page.next))
        assert page.items, "a cursor leads to an empty part"
        items += page.items
    return items


async def expect_list(read: Callable[[Paging], Awaitable[Page[T]]], expected: Sequence[T]) -> None:
    """The whole list is `expected`, at once and in parts of 1, 2 and 3."""
    whole = await read(ALL)
    assert whole == Page(tuple(expected)), f"expected {expected}, got {whole}"
    for limit in (1, 2, 3, len(expected) + 1):
        assert await walk(read, limit) == list(expected), f"in parts of {limit} the list is another one"


async def expect_error(action: Awaitable[object]) -> None:
    """`action` raises StoreError."""
    try:
        await action
    except StoreError as error:
        assert str(error), "the error says nothing"
        return
    raise AssertionError("no StoreError was raised")


async def empty_store_has_nothing(make_store: MakeStore) -> None:
    """Before the founding every question has an empty answer."""
    async with opened(make_store) as store:
        assert await store.founding() is None
        assert await store.head() is None
        assert await store.validators() == ()
        assert await store.block(0) is None
        assert await store.summary(0) is None
        assert await store.events(1, 10) == ()
        assert await store.transaction(digest("a")) is None
        assert await store.height_of(digest("a")) is None
        view = await store.read_state(StateReads([digest("a")], [ref("a")]))
        assert not view.has_transaction(digest("a"))
        assert view.output(ref("a")) is None
        assert view.validators() == ()
        await expect_list(lambda paging: store.outputs_by_key(ANYBODY, None, paging), [])
        await expect_error(store.save_block(block_of(1, [])))
        await expect_error(store.save_blocks([block_of(1, [])]))
        await expect_error(store.begin_chain(ChainRecord("")))
        assert await store.elections() == ()


async def founding_is_kept(make_store: MakeStore) -> None:
    """The founding document, the first validators and block 0 are there, and no second founding is possible."""
    async with opened(make_store) as store:
        await store.found(FOUNDING, header_of(0))
        assert await store.founding() == FOUNDING
        assert await store.validators() == FOUNDING.validators
        assert await store.head() == header_of(0)
        await expect_error(store.found(FOUNDING, header_of(0)))
        block = await store.block(0)
        assert block is not None and block.summary.header == header_of(0)
        assert block.summary.transaction_ids == () and block.transactions == ()
        assert await store.summary(0) == block.summary
        assert await store.events(1, 10) == ()
        assert (await store.read_state(StateReads([], []))).validators() == FOUNDING.validators


async def what_was_saved_survives_a_restart(make_store: MakeStore) -> None:
    """A store that is closed and made again has the same chain, and the chain goes on."""
    chain = Chain()
    first = chain.block(transaction("a"), transaction("b"))
    async with stored(make_store, first):
        pass
    async with opened(make_store) as store:
        assert await store.founding() == FOUNDING
        assert await store.head() == header_of(1)
        assert await store.transaction(digest("b")) == first.transactions[1].canonical
        await store.save_block(chain.block(transfer("t", ref("a"), asset="a")))
    async with opened(make_store) as store:
        assert await store.head() == header_of(2)
        view = await store.read_state(StateReads([], [ref("a"), ref("t")]))
        assert [view.output(ref("a")), view.output(ref("t"))] == [chain.records[ref("a")], chain.records[ref("t")]]
        assert await store.height_of(digest("t")) == 2


async def closed_store_answers_with_an_error(make_store: MakeStore) -> None:
    """Closing twice is harmless; a closed store raises StoreError."""
    async with stored(make_store) as store:
        await store.close()
        await expect_error(store.head())
        await expect_error(store.save_block(block_of(1, [transaction("a")])))
        await expect_error(store.save_blocks([block_of(1, [transaction("a")])]))
        await expect_error(store.begin_chain(ChainRecord(FOUNDING.chain_id)))
        await expect_error(store.elections())
        await expect_error(store.audit(block_of(1, [])))
        await expect_error(store.audit_end(Chain().end()))
        await store.close()


async def blocks_come_back_whole(make_store: MakeStore) -> None:
    """Headers, ids and transactions of full and empty blocks; None for heights that are not there."""
    chain = Chain()
    blocks = [chain.block(*map(transaction, "dcba")), chain.block(), chain.block(transaction("e"))]
    async with stored(make_store, *blocks) as store:
        for block in blocks:
            found = await store.block(block.header.height)
            assert found is not None
            assert found.summary == await store.summary(block.header.height)
            assert found.summary.header == block.header
            assert found.summary.transaction_ids == tuple(item.id for item in block.transactions)
            assert found.transactions == tuple(item.canonical for item in block.transactions)
        for height in (-1, 4, 2**63 - 1, 2**63, 10**40, -(10**40)):
            assert await store.block(height) is None
            assert await store.summary(height) is None
        assert await store.head() == blocks[-1].header


async def transactions_are_found_by_id(make_store: MakeStore) -> None:
    """Body and height of transactions of every operation; None for what is no id at all."""
    chain = Chain()
    made = [transaction(operation.value, operation) for operation in Operation]
    async with stored(make_store, chain.block(*made[:3]), chain.block(*made[3:])) as store:
        for place, item in enumerate(made):
            assert await store.transaction(item.id) == item.canonical
            assert await store.height_of(item.id) == (1 if place < 3 else 2)
        for wrong in (digest("x"), digest("CREATE").upper(), digest("CREATE")[:63], "", "é" * 64, " " * 64):
            assert await store.transaction(wrong) is None
            assert await store.height_of(wrong) is None


async def contracts_come_back_unchanged(make_store: MakeStore) -> None:
    """Scripts as they were sent, whatever they hold, and outputs by the URI that commits to a contract."""
    guarded = all_of("alice", Contract("Given nothing", {"a": 1}, {"\u00e9": None}))
    gold = Builder(Dialect.PLANETMINT_1).draft_create(guarded, [(5, guarded)], data="gold")
    first = _read(gold.scripted(_SCRIPTED, [7.0, 7], code="Given\n", policies={"raw": _SCRIPTED}))
    spend = BuiltSpend(first.id, 0, guarded, first.id)
    moved = Builder(Dialect.PLANETMINT_2).draft_transfer([spend], [(5, guarded)])
    second = _read(moved.scripted({}, _SCRIPTED, code='# "\u2028\U0001f512\t'))
    made = (first, second)
    async with stored(make_store, Chain().block(*made)) as store:
        for item in made:
            assert await store.transaction(item.id) == item.canonical
        found = await store.block(1)
        assert found is not None
        assert found.transactions == tuple(item.canonical for item in made)
        await expect_list(by_asset(store, [first.id], None, last=False), [item.canonical for item in made])
        view = await store.read_state(StateReads([], [OutputRef(item.id, 0) for item in made]))
        for item in made:
            record = view.output(OutputRef(item.id, 0))
            assert record is not None
            assert (record.uri, record.public_keys) == (item.outputs[0].uri, item.outputs[0].public_keys)


_SCRIPTED: JsonObject = {
    "7": [7, 7.0, -0.0, 1e22, 5e-324, 10**307, True, None],
    "": {"\x00\x1f\x7f": "\x00\u2028\U0001f512", "script": {"output": [[], {}]}},
}
"""Numbers and texts that a store could spell otherwise."""


def _read(draft: Draft) -> Transaction:
    """A signed transaction as nodes on a chain with contracts read it."""
    parameters = ChainParameters(contracts=ContractParameters(zenroom="bound", scripts="on", engine="any"))
    return decode_canonical(draft.signed().canonical, parameters)


async def state_answers_what_was_asked(make_store: MakeStore) -> None:
    """Existence of transactions, outputs with their spenders, the newest validators."""
    chain = Chain()
    big = transaction("big", owners=[(ANYBODY,), (ANYBODY, SOMEBODY)], amount=MAX_AMOUNT)
    parts = transaction(
        "parts", Operation.DECOMPOSE, owners=[(ANYBODY,)] * 2, assets=[Asset(None, "x"), Asset(None, "y")]
    )
    spender = transfer("t", ref("big", 1), asset="big")
    within = transfer("w", ref("t"), asset="big")
    blocks = [chain.block(big, parts), chain.block(spender, within, validators=FOUNDING.validators[:1])]
    async with stored(make_store, *blocks) as store:
        refs = [*chain.records, ref("big", 2), ref("none"), ref("big", 2**20), ref("big", 10**30), ref("big", -1)]
        view = await store.read_state(StateReads([digest("big"), digest("none"), digest("w")], refs))
        assert [view.output(item) for item in refs] == [chain.records.get(item) for item in refs]
        assert view.has_transaction(digest("big")) and view.has_transaction(digest("w"))
        assert not view.has_transaction(digest("none"))
        assert view.validators() == FOUNDING.validators[:1] == await store.validators()
        many = StateReads([item.id for item in chain.transactions] * 300, list(chain.records) * 300)
        view = await store.read_state(many)
        assert all(view.output(item) == record for item, record in chain.records.items())


async def state_does_not_change_while_it_is_held(make_store: MakeStore) -> None:
    """A view shows the ledger as it was when it was read."""
    chain = Chain()
    async with stored(make_store, chain.block(transaction("a"))) as store:
        before = chain.records[ref("a")]
        view = await store.read_state(StateReads([digest("t")], [ref("a"), ref("t")]))
        await store.save_block(chain.block(transfer("t", ref("a"), asset="a"), validators=FOUNDING.validators[1:]))
        assert view.output(ref("a")) == before and before.spender is None
        assert view.output(ref("t")) is None and not view.has_transaction(digest("t"))
        assert view.validators() == FOUNDING.validators
        assert await store.validators() == FOUNDING.validators[1:]


async def refused_block_leaves_nothing(make_store: MakeStore) -> None:
    """A block of another height, or one that cannot be, is refused whole; the right one is taken afterwards."""
    chain = Chain()
    first = chain.block(transaction("a"))
    new = transaction("new", assets=[Asset(None, "content")], metadata="words")
    wrong = {
        "a height again": block_of(1, [new]),
        "a height too far": block_of(3, [new]),
        "a stored transaction": block_of(2, [new, transaction("a")]),
        "a transaction twice": block_of(2, [new, new]),
        "an output of an unknown transaction": block_of(2, [new, transfer("t", ref("none"), asset="a")]),
        "an output that was never made": block_of(2, [new, transfer("t", ref("a", 7), asset="a")]),
        "an output spent twice in the block": block_of(
            2, [new, transfer("t", ref("a"), asset="a"), transfer("u", ref("a"), asset="a")]
        ),
    }
    async with stored(make_store, first) as store:
        for block in wrong.values():
            await expect_error(store.save_block(block))
            await _expect_only_first(store)
        await store.save_block(chain.block(transfer("t", ref("a"), asset="a"), new))
        again = block_of(3, [transaction("c"), transfer("u", ref("a"), asset="a")])
        await expect_error(store.save_block(again))
        assert await store.transaction(digest("c")) is None
        view = await store.read_state(StateReads([], [ref("a")]))
        assert view.output(ref("a")) == chain.records[ref("a")]
        assert (await store.metadata_by_content("words", ALL)).items == (Found(new.id, new.canonical),)


async def _expect_only_first(store: Store) -> None:
    """Nothing of a second block is stored."""
    assert await store.head() == header_of(1)
    assert await store.block(2) is None
    assert await store.transaction(digest("new")) is None
    assert len(await store.events(1, 100)) == 1
    assert (await store.outputs_by_key(ANYBODY, None, ALL)).items == (ref("a"),)
    assert (await store.outputs_by_key(ANYBODY, True, ALL)).items == ()
    assert (await store.assets_by_content("content", ALL)).items == ()
    assert (await store.search_metadata(parse_search("words"), ALL)).items == ()


async def outputs_are_listed_by_key(make_store: MakeStore) -> None:
    """All, spent and unspent outputs of a key in commit order, each once, in parts of any size."""
    chain = Chain()
    mixed = transaction("mixed", owners=[(ANYBODY,), (SOMEBODY,), (SOMEBODY, ANYBODY), (ANYBODY, ANYBODY)])
    first = chain.block(mixed, transaction("b"))
    second = chain.block(
        transfer("t", ref("mixed", 2), ref("b"), asset="mixed", owners=[(ANYBODY,), (SOMEBODY,)]),
        transaction("vote", Operation.VOTE),
        transfer("u", ref("t", 1), asset="mixed", owners=[(SOMEBODY,)]),
    )
    async with stored(make_store, first, second) as store:
        for key in (ANYBODY, SOMEBODY, NOBODY, "", "\0", "\ud800", '"'):
            mine = [record for record in chain.records.values() if key in record.public_keys]
            for spent in (None, True, False):
                expected = [item.ref for item in mine if spent is None or (item.spender is not None) is spent]
                await expect_list(partial(store.outputs_by_key, key, spent), expected)


async def long_lists_are_whole(make_store: MakeStore) -> None:
    """Lists of more items than any store reads at once."""
    chain = Chain()
    many = [
        chain.block(*(transaction(f"{height} {place}", owners=[(ANYBODY,)] * 3) for place in range(150)))
        for height in range(3)
    ]
    async with stored(make_store, *many) as store:
        refs = list(chain.records)
        assert (await store.outputs_by_key(ANYBODY, None, ALL)).items == tuple(refs)
        assert await walk(lambda paging: store.outputs_by_key(ANYBODY, False, paging), 101) == refs
        assert (await store.outputs_by_key(ANYBODY, True, Paging(1))) == Page(())
        block = await store.block(2)
        assert block is not None and block.transactions == tuple(item.canonical for item in many[1].transactions)


def by_asset(
    store: Store, ids: Sequence[str], operation: Operation | None, *, last: bool
) -> Callable[[Paging], Awaitable[Page[bytes]]]:
    """The list of some assets' transactions."""
    return lambda paging: store.transactions_by_asset(ids, operation, last=last, paging=paging)


async def transactions_are_listed_by_asset(make_store: MakeStore) -> None:
    """By one or several ids, of all or one operation, or the newest alone (http-api 4.2)."""
    a, b, c, d = (digest(name) for name in "abcd")
    made = {
        "a": transaction("a"),
        "b": transaction("b", assets=[Asset(None, "data")]),
        "t1": transfer("t1", ref("a"), asset="a"),
        "c": transaction("c", Operation.COMPOSE, assets=[Asset(a), Asset(b), Asset(None, "made of two")]),
        "d": transaction("d", Operation.DECOMPOSE, assets=[Asset(c), Asset(None, "x"), Asset(None, "y")]),
        "t2": transfer("t2", ref("t1"), asset="a"),
        "e": transaction("e", Operation.VALIDATOR_ELECTION),
        "v": transaction("v", Operation.VOTE, assets=[Asset(digest("e"))]),
    }
    every = list(made.values())
    chain = Chain()
    async with stored(make_store, chain.block(*every[:3]), chain.block(*every[3:])) as store:

        async def expect(ids: list[str], operation: Operation | None, *names: str) -> None:
            bodies = [made[name].canonical for name in names]
            for last, expected in ((False, bodies), (True, bodies[-1:])):
                await expect_list(by_asset(store, ids, operation, last=last), expected)

        await expect([a], None, "a", "t1", "c", "t2")
        await expect([a], Operation.CREATE, "a")
        await expect([a], Operation.TRANSFER, "t1", "t2")
        await expect([b, a, b], None, "a", "b", "t1", "c", "t2")
        await expect([b, a], Operation.CREATE, "a", "b")
        await expect([c], None, "c", "d")
        await expect([c, d], None, "c", "d")
        await expect([c], Operation.CREATE)
        await expect([digest("e")], None, "e", "v")
        await expect([digest("t1")], None)
        await expect([digest("none"), "", "not hex", a[:63], a.upper(), "\ud800"], None)
        await expect([], None)


async def contents_are_found(make_store: MakeStore) -> None:
    """Transactions by the text that is an asset's data or the metadata, of ordinary operations (http-api 6.2)."""
    text = 'Qm "quoted" é \u0007'
    ordinary = [Operation.CREATE, Operation.TRANSFER, Operation.COMPOSE, Operation.DECOMPOSE]
    made = [
        transaction(operation.value, operation, assets=[Asset(None, "other"), Asset(None, text)], metadata=text)
        for operation in Operation
    ]
    near = [
        transaction("near", assets=[Asset(None, text + " ")], metadata=text[:-1]),
        transaction("inside", assets=[Asset(None, {"data": text})], metadata={"metadata": text}),
        transaction("crossed", assets=[Asset(None, "crossed")], metadata="swapped"),
    ]
    chain = Chain()
    async with stored(make_store, chain.block(*near, *made[:2]), chain.block(*made[2:])) as store:
        expected = [Found(item.id, item.canonical) for item in made if item.operation in ordinary]
        await expect_list(lambda paging: store.assets_by_content(text, paging), expected)
        await expect_list(lambda paging: store.metadata_by_content(text, paging), expected)
        await expect_list(lambda paging: store.assets_by_content("swapped", paging), [])
        await expect_list(lambda paging: store.metadata_by_content("crossed", paging), [])
        for strange in ("", "\0", "\ud800", "x" * 100_000, '"', "\\"):
            await expect_list(partial(store.assets_by_content, strange), [])
            await expect_list(partial(store.metadata_by_content, strange), [])


async def searches_find_words(make_store: MakeStore) -> None:
    """Words, phrases and exclusions in texts; more distinct words first, then commit order (http-api 6.1)."""
    cid = "QmaozNR7DZHQK1ZcU9p7QdrshMvXqWK6gpu5rmrkPdT3L4"
    texts: dict[str, JsonValue] = {
        "one": {"a": "The quick brown fox", "fox": "jumps", "n": 7},
        "two": ["lazy DOGS", {"b": {"c": "brown dög"}}],
        "three": {"a": "quick", "b": "brown"},
        "four": f"see {cid}",
        "five": cid.lower(),
        "six": {"key": None, "running": [True, 1.5]},
        "seven": "foxes foxes foxes under_score",
    }
    made = {name: transaction(name, assets=[Asset(None, text)], metadata=text) for name, text in texts.items()}
    chain = Chain()
    async with stored(
        make_store, chain.block(*list(made.values())[:3]), chain.block(*list(made.values())[3:])
    ) as store:

        async def expect(search: str, *names: str) -> None:
            query = parse_search(search)
            found = [Found(made[name].id, made[name].canonical) for name in names]
            await expect_list(lambda paging: store.search_assets(query, paging), found)
            await expect_list(lambda paging: store.search_metadata(query, paging), found)

        await expect("fox", "one", "seven")
        await expect("FOXES jumping", "one", "seven")
        await expect("dog brown", "two", "one", "three")
        await expect("brown fox quick", "one", "three", "two", "seven")
        await expect('"quick brown"', "one")
        await expect('"quick brown" lazy', "one")
        await expect('"brown dog" "lazy dog"', "two")
        await expect("brown -dogs", "one", "three")
        await expect('brown -"quick brown"', "two", "three")
        await expect("dôg -quick", "two")
        await expect(cid, "four")
        await expect(cid.lower(), "five")
        await expect(cid[:-1])
        await expect("under_score under", "seven")
        await expect("running key null 7 true")
        await expect("-fox")
        await expect('the of "and"')
        await expect("")
        await expect('fo" OR fox* NEAR(brown) ^quick asset:dog {metadata}', "one", "two", "three", "seven")


async def best_matches_come_first_however_late_they_are(make_store: MakeStore) -> None:
    """A part of a list of matches holds the best ones, not the first ones."""
    chain = Chain()
    texts = ["red"] * 7 + ["red fox", "fox", "big red fox", "fox red"]
    made = [transaction(str(place), metadata=text) for place, text in enumerate(texts)]
    async with stored(make_store, chain.block(*made)) as store:
        order = [9, 7, 10, *range(7), 8]
        found = [Found(made[place].id, made[place].canonical) for place in order]
        await expect_list(partial(store.search_metadata, parse_search("fox big red")), found)


async def searches_know_their_texts(make_store: MakeStore) -> None:
    """Assets of CREATE and COMPOSE alone, metadata of every operation, and neither finds the other's words."""
    made = [
        transaction(
            operation.value,
            operation,
            assets=[Asset(None, "apple"), Asset(None, {"x": "pear"})],
            metadata={"y": "plum"},
        )
        for operation in Operation
    ]
    chain = Chain()
    async with stored(make_store, chain.block(*made)) as store:
        found = [Found(item.id, item.canonical) for item in made]
        worded = [pair for pair, item in zip(found, made, strict=True) if item.operation in ("CREATE", "COMPOSE")]
        await expect_list(lambda paging: store.search_assets(parse_search("pears apples"), paging), worded)
        await expect_list(lambda paging: store.search_metadata(parse_search("plums"), paging), found)
        await expect_list(lambda paging: store.search_assets(parse_search("plum"), paging), [])
        await expect_list(lambda paging: store.search_metadata(parse_search("apple"), paging), [])
        await expect_list(lambda paging: store.search_assets(parse_search('"apple pear"'), paging), [])


async def events_come_in_whole_blocks(make_store: MakeStore) -> None:
    """In order, without holes, as many blocks as the bound allows and at least one."""
    chain = Chain()
    sizes = [2, 0, 3, 1, 0, 0, 5]
    blocks = [
        chain.block(*(transaction(f"{place} {number}") for number in range(size)))
        for place, size in enumerate(sizes)
    ]
    async with stored(make_store, *blocks) as store:
        every = [block.events for block in blocks]
        for start in range(1, len(blocks) + 1):
            for bound in (1, 2, 3, 5, 6, 7, 11, 10**30):
                found = await store.events(start, bound)
                assert list(found) == every[start - 1 : start - 1 + len(found)] and found
                more = every[start - 1 : start + len(found)]
                assert len(found) == 1 or sum(len(block.events) for block in found) <= bound
                assert len(more) == len(found) or sum(len(block.events) for block in more) > bound
        for beyond in (len(blocks) + 1, 2**63, 10**40):
            assert await store.events(beyond, 10) == ()


async def events_come_at_most_a_thousand_blocks_at_once(make_store: MakeStore) -> None:
    """However few events they have."""
    chain = Chain()
    async with stored(make_store, *(chain.block() for _ in range(1_002))) as store:
        found = await store.events(1, 10_000)
        assert [block.height for block in found] == list(range(1, 1_001))
        assert [block.height for block in await store.events(3, 10_000)] == list(range(3, 1_003))


async def strange_cursors_do_no_harm(make_store: MakeStore) -> None:
    """Cursors pass through clients: any integers lead to some part of the list."""
    chain = Chain()
    item = transaction("a", assets=[Asset(None, "word")], metadata="word")
    async with stored(make_store, chain.block(item)) as store:
        for cursor in ((), (0,), (-1,), (2**63 - 1,), (2**64,), (-(2**80),), (1, 2), (-(2**70), 2**70), (1, 2, 3)):
            paging = Paging(5, cursor)
            query = parse_search("word")
            sizes = [
                len((await store.outputs_by_key(ANYBODY, None, paging)).items),
                len((await store.transactions_by_asset([item.id], None, last=False, paging=paging)).items),
                len((await store.search_assets(query, paging)).items),
                len((await store.metadata_by_content("word", paging)).items),
            ]
            assert set(sizes) <= {0, 1}


def election(
    name: str,
    height: int = 1,
    *,
    votes: int = 0,
    change: Validator | None = None,
    concluded_at: int | None = None,
) -> ElectionRecord:
    """The record of an election whose transaction was made from `name`."""
    operation = Operation.CHAIN_MIGRATION_ELECTION if change is None else Operation.VALIDATOR_ELECTION
    return ElectionRecord(digest(name), operation, height, 2**60, votes, change, concluded_at)


async def elections_are_kept_as_the_newest_block_left_them(make_store: MakeStore) -> None:
    """Each block replaces the records that it changes, and no others (elections-and-operations 3)."""
    chain = Chain()
    wish = Validator(b"\x07" * 32, 2**60 - 1)
    first, second = election("e", change=wish), election("m")
    third = election("f", 2, change=Validator(b"\xff" * 32, 0))
    opened_, voted, done = first, replace(first, votes=7), replace(first, votes=2**59, concluded_at=3)
    blocks = [
        chain.block(transaction("e", Operation.VALIDATOR_ELECTION), elections=[opened_, second]),
        chain.block(transaction("v", Operation.VOTE), elections=[third, voted]),
        chain.block(transaction("w", Operation.VOTE), elections=[done]),
        chain.block(),
    ]
    asked = [*map(digest, ("e", "f", "m", "none")), "", "no id", digest("e").upper()]
    expected: dict[str, ElectionRecord] = {}
    async with stored(make_store) as store:
        for block in blocks:
            before = dict(expected)
            held = await store.read_state(StateReads([], [], asked))
            await store.save_block(block)
            expected |= {item.election_id: item for item in block.elections}
            view = await store.read_state(StateReads([], [], asked))
            assert [view.election(item) for item in asked] == [expected.get(item) for item in asked]
            assert [held.election(item) for item in asked] == [before.get(item) for item in asked]
            assert await store.elections() == tuple(expected[item] for item in sorted(expected))
        await expect_error(store.save_block(replace(block_of(9, []), elections=(opened_,))))
        assert (await store.read_state(StateReads([], [], asked))).election(digest("e")) == done
    async with opened(make_store) as store:
        assert await store.elections() == tuple(expected[item] for item in sorted(expected))


async def validator_changes_are_dated(make_store: MakeStore) -> None:
    """A set holds from the height after its block; the two newest are known (elections-and-operations 3)."""
    chain = Chain()
    sets = FOUNDING.validators[:1], FOUNDING.validators[1:]
    async with stored(make_store) as store:
        for validators, expected in [(None, (1,)), (sets[0], (3, 1)), (None, (3, 1)), (sets[1], (5, 3))]:
            before = await store.read_state(StateReads([], []))
            heights = before.validator_changes()
            await store.save_block(chain.block(validators=validators))
            view = await store.read_state(StateReads([], []))
            assert view.validator_changes() == expected
            assert view.validators() == await store.validators() == (validators or before.validators())
            assert before.validator_changes() == heights
    async with opened(make_store) as store:
        assert (await store.read_state(StateReads([], []))).validator_changes() == (5, 3)


async def chain_record_is_kept_and_begun(make_store: MakeStore) -> None:
    """A block's chain record is stored with it; only that chain can be begun, as often as asked."""
    chain = Chain()
    waiting = ChainRecord("conformance-migrated-at-height-1", 2, synced=False)
    begun = replace(waiting, synced=True)

    async def expect(store: Store, record: ChainRecord) -> None:
        assert (await store.read_state(StateReads([], []))).chain() == record

    async with stored(make_store, chain.block()) as store:
        await expect(store, ChainRecord(FOUNDING.chain_id))
        await expect_error(store.begin_chain(begun))
        await expect_error(store.save_block(replace(block_of(3, []), chain=waiting)))
        await expect(store, ChainRecord(FOUNDING.chain_id))
        held = await store.read_state(StateReads([], []))
        await store.save_block(chain.block(transaction("vote"), chain=waiting))
        assert held.chain() == ChainRecord(FOUNDING.chain_id)
        await expect(store, waiting)
        for wrong in (replace(begun, chain_id="other"), replace(begun, shift=1), ChainRecord(FOUNDING.chain_id)):
            await expect_error(store.begin_chain(wrong))
            await expect(store, waiting)
        await store.begin_chain(begun)
        await expect(store, begun)
    async with opened(make_store) as store:
        await expect(store, begun)
        await store.begin_chain(begun)
        await store.save_block(chain.block(transaction("after")))
        await expect(store, begun)


def _eventful_chain() -> Chain:
    """A few blocks with everything in them that a block can do."""
    chain = Chain()
    wish = Validator(b"\x07" * 32, 9)
    chain.block(
        transaction("a", owners=[(ANYBODY,), (SOMEBODY, ANYBODY)], assets=[Asset(None, "content")]),
        transaction("b", assets=[Asset(None, {"text": "red foxes"})], metadata={"a": "brown dog", "b": "dog"}),
        transaction("c", assets=[Asset(None, "other")], metadata="content"),
    )
    chain.block(
        transfer("t", ref("a"), asset="a"),
        transfer("u", ref("t"), ref("b"), asset="b", owners=[(NOBODY,), (ANYBODY,)]),
        transaction("e", Operation.VALIDATOR_ELECTION, metadata="an election"),
        elections=[election("e", 2, change=wish), election("f", 2)],
    )
    chain.block()
    chain.block(
        transaction("v", Operation.VOTE, spends=[ref("e")], assets=[Asset(digest("e"))]),
        validators=(*FOUNDING.validators, wish),
        elections=[election("e", 2, votes=2**60, change=wish, concluded_at=4)],
    )
    chain.block(
        transaction(
            "parts", Operation.DECOMPOSE, spends=[ref("c")], assets=[Asset(digest("c")), Asset(None, "x")]
        ),
        elections=[election("f", 2, votes=2**60, concluded_at=5)],
        chain=ChainRecord("conformance-migrated-at-height-4", 5, synced=False),
    )
    return chain


async def blocks_are_saved_together(make_store: MakeStore) -> None:
    """Several blocks in one write are stored as if one after the other."""
    chain = _eventful_chain()
    async with stored(make_store, *chain.blocks[:1]) as store:
        await store.save_blocks([])
        assert await store.head() == header_of(1)
        await store.save_blocks(chain.blocks[1:4])
        await store.save_blocks(chain.blocks[4:])
        await store.save_block(chain.block(transfer("w", ref("u"), asset="b")))
        await _expect_whole(store, chain)
    async with opened(make_store) as store:
        await store.save_blocks([chain.block(transfer("x", ref("w"), asset="b")), chain.block(transaction("y"))])
        await _expect_whole(store, chain)


async def _expect_whole(store: Store, chain: Chain) -> None:
    """The store holds this chain: by its reads and by its own audit."""
    for block in chain.blocks:
        found = await store.block(block.header.height)
        assert found is not None and found.summary.header == block.header
        assert found.transactions == tuple(item.canonical for item in block.transactions)
        assert [await store.height_of(item.id) for item in block.transactions] == [block.header.height] * len(
            block.transactions
        )
        assert await store.audit(block) == ()
    assert await store.audit_end(chain.end()) == ()
    end = chain.end()
    view = await store.read_state(StateReads([item.id for item in chain.transactions], list(chain.records)))
    assert {item: view.output(item) for item in chain.records} == chain.records
    assert await store.events(1, 1_000) == tuple(block.events for block in chain.blocks)
    assert await store.elections() == end.elections
    assert view.chain() == end.chain
    for key in (ANYBODY, SOMEBODY, NOBODY):
        mine = [item.ref for item in chain.records.values() if key in item.public_keys]
        await expect_list(partial(store.outputs_by_key, key, None), mine)


async def blocks_are_saved_together_or_not_at_all(make_store: MakeStore) -> None:
    """One block that cannot be stored, wherever it stands, keeps all of them out."""
    chain = _eventful_chain()
    good = chain.blocks[1:4]
    wrong = {
        "a height left out": block_of(6, [transaction("x")]),
        "a height again": block_of(4, [transaction("x")]),
        "a stored transaction": block_of(5, [transaction("a")]),
        "a transaction of a block before it": block_of(5, [transfer("t", asset="a")]),
        "an output of an unknown transaction": block_of(5, [transfer("x", ref("none"), asset="a")]),
        "an output spent in a block before it": block_of(5, [transfer("x", ref("a"), asset="a")]),
    }
    async with stored(make_store, *chain.blocks[:1]) as store:
        for block in wrong.values():
            await expect_error(store.save_blocks([*good, block]))
            assert await store.head() == header_of(1)
            assert await store.block(2) is None and await store.elections() == ()
            assert await store.validators() == FOUNDING.validators
            assert await store.transaction(digest("t")) is None
            view = await store.read_state(StateReads([digest("t"), digest("e")], [ref("a"), ref("t")]))
            assert not view.has_transaction(digest("t")) and view.output(ref("t")) is None
            output = view.output(ref("a"))
            assert output is not None and output.spender is None
            assert (await store.search_metadata(parse_search("election"), ALL)).items == ()
        await store.save_blocks(chain.blocks[1:])
        await _expect_whole(store, chain)


async def audit_is_silent_where_all_is_well(make_store: MakeStore) -> None:
    """Nothing is found in what the store wrote itself, however often it was opened in between."""
    chain = _eventful_chain()
    async with stored(make_store, *chain.blocks):
        pass
    async with opened(make_store) as store:
        await _expect_whole(store, chain)
        begun = ChainRecord("conformance-migrated-at-height-4", 5)
        await store.begin_chain(begun)
        assert await store.audit_end(replace(chain.end(), chain=begun)) == ()


async def audit_finds_what_is_other_than_expected(make_store: MakeStore) -> None:
    """Each part of a block is compared; what differs is named by height, and by id where it has one."""
    chain = _eventful_chain()
    first, second, _, fourth, _ = chain.blocks
    made, output, spend = first.transactions[0], second.created[0], second.spent[0]
    wrong: dict[str, tuple[BlockRecord, str]] = {
        "a header": (replace(first, header=replace(first.header, proposer="")), ""),
        "events": (replace(first, events=first.events._replace(events=first.events.events[1:])), ""),
        "a body": (_with_first(first, replace(made, canonical=made.canonical + b" ")), made.id),
        "an output": (_with_output(second, output._replace(amount=2)), output.ref.transaction_id),
        "an output's owner": (
            _with_output(second, output._replace(public_keys=("x",))),
            output.ref.transaction_id,
        ),
        "a missing output": (
            replace(second, created=(*second.created, output._replace(ref=ref("t", 1)))),
            digest("t"),
        ),
        "a spender": (
            replace(second, spent=(spend._replace(spender=digest("u")), *second.spent[1:])),
            digest("a"),
        ),
        "a missing spend": (replace(fourth, spent=(*fourth.spent, Spend(ref("a", 1), digest("v")))), digest("a")),
        "validators": (replace(fourth, validators=FOUNDING.validators), ""),
        "missing validators": (replace(second, validators=FOUNDING.validators), ""),
        "a missing transaction": (block_of(1, [*first.transactions, transaction("z")]), digest("z")),
        "a transaction in another block": (block_of(2, first.transactions), made.id),
        "a missing block": (block_of(6, []), ""),
    }
    async with stored(make_store, *chain.blocks) as store:
        for name, (block, named) in wrong.items():
            found = await store.audit(block)
            assert found, f"{name} that is other than expected is not found"
            number = str(block.header.height)
            assert any(number in sentence and named in sentence for sentence in found), (name, found)
        await _expect_whole(store, chain)


def _with_first(block: BlockRecord, made: Transaction) -> BlockRecord:
    return replace(block, transactions=(made, *block.transactions[1:]))


def _with_output(block: BlockRecord, record: OutputRecord) -> BlockRecord:
    return replace(block, created=(record, *block.created[1:]))


async def audit_end_finds_what_is_other_than_expected(make_store: MakeStore) -> None:
    """Founding, head, elections, chain, and records beyond those of the blocks."""
    chain = _eventful_chain()
    end = chain.end()
    changed = replace(end.elections[0], votes=1)
    wrong: dict[str, LedgerEnd] = {
        "the founding": replace(end, founding=replace(FOUNDING, label="00000000")),
        "the first validators": replace(end, founding=replace(FOUNDING, validators=FOUNDING.validators[:1])),
        "the head's height": replace(end, head=header_of(4)),
        "the head": replace(end, head=replace(end.head, time=1)),
        "an election": replace(end, elections=(changed, *end.elections[1:])),
        "an election too many": replace(end, elections=end.elections[1:]),
        "a missing election": replace(end, elections=(*end.elections, election("none"))),
        "the chain's name": replace(end, chain=ChainRecord("other")),
        "the chain's beginning": replace(end, chain=replace(end.chain, synced=True)),
        "validator sets": replace(end, validator_sets=end.validator_sets - 1),
        "transactions": replace(end, transactions=end.transactions - 1),
        "outputs": replace(end, outputs=end.outputs - 1),
        "spends": replace(end, spends=end.spends - 1),
    }
    async with stored(make_store, *chain.blocks) as store:
        for block in chain.blocks:
            assert await store.audit(block) == ()
        for name, expected in wrong.items():
            assert await store.audit_end(expected), f"other than expected and not found: {name}"
        assert await store.audit_end(end) == ()


STORE_CHECKS: tuple[StoreCheck, ...] = (
    empty_store_has_nothing,
    founding_is_kept,
    what_was_saved_survives_a_restart,
    closed_store_answers_with_an_error,
    blocks_come_back_whole,
    transactions_are_found_by_id,
    contracts_come_back_unchanged,
    state_answers_what_was_asked,
    state_does_not_change_while_it_is_held,
    refused_block_leaves_nothing,
    outputs_are_listed_by_key,
    long_lists_are_whole,
    transactions_are_listed_by_asset,
    contents_are_found,
    searches_find_words,
    best_matches_come_first_however_late_they_are,
    searches_know_their_texts,
    events_come_in_whole_blocks,
    events_come_at_most_a_thousand_blocks_at_once,
    strange_cursors_do_no_harm,
    elections_are_kept_as_the_newest_block_left_them,
    validator_changes_are_dated,
    chain_record_is_kept_and_begun,
    blocks_are_saved_together,
    blocks_are_saved_together_or_not_at_all,
    audit_is_silent_where_all_is_well,
    audit_finds_what_is_other_than_expected,
    audit_end_finds_what_is_other_than_expected,
)
"""Every check of the contract; run each over empty data of its own."""
