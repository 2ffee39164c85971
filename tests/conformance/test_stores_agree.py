# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stores give the same answers to the same questions about the same chain, cursors included."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planetmint.model.search import parse_search
from planetmint.model.transaction import Asset, Operation, OutputRef, Transaction
from planetmint.ports.store import Found, Page, Paging, StateReads, Store
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from planetmint.storage.tarantool import TarantoolStore
from planetmint.testing.store_conformance import (
    ANYBODY,
    FOUNDING,
    NOBODY,
    SOMEBODY,
    Chain,
    digest,
    header_of,
    transaction,
)
from tests.support.tarantool import Server, running

T = TypeVar("T")

Read = Callable[[Store, Paging], Awaitable[Page[T]]]

WORDS = ["red", "fox", "foxes", "the", "blue", "Qm" + "aB3" * 12, "Qm" + "Ab3" * 12, "naïve", "x_y"]
KEYS = [ANYBODY, SOMEBODY, NOBODY]

texts = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)
values = st.recursive(
    texts | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
searches = st.lists(
    st.tuples(st.sampled_from(["", "-"]), texts, st.booleans()).map(
        lambda part: part[0] + (f'"{part[1]}"' if part[2] else part[1])
    ),
    min_size=1,
    max_size=4,
).map(" ".join)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """A chain of a few blocks, whose transactions spend what earlier ones made."""
    chain = Chain()
    number = 0
    unspent: list[OutputRef] = []
    for _ in range(draw(st.integers(0, 5))):
        block: list[Transaction] = []
        for _ in range(draw(st.integers(0, 5))):
            number += 1
            block.append(draw(transactions(f"tx {number}", number, unspent)))
        chain.block(*block, validators=draw(st.sampled_from([None, None, FOUNDING.validators[:1]])))
    return chain


@st.composite
def transactions(draw: st.DrawFn, name: str, number: int, unspent: list[OutputRef]) -> Transaction:
    """A transaction of any operation; takes what it spends out of `unspent` and adds what it makes."""
    count = draw(st.integers(0, min(2, len(unspent))))
    spends = [unspent.pop(draw(st.integers(0, len(unspent) - 1))) for _ in range(count)]
    older = st.integers(1, number).map(lambda place: Asset(digest(f"tx {place}")))
    made = transaction(
        name,
        draw(st.sampled_from(Operation)),
        owners=draw(st.lists(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3), max_size=3)),
        spends=spends,
        assets=draw(st.lists(older | values.map(lambda data: Asset(None, data)), max_size=3)),
        metadata=draw(values),
    )
    unspent.extend(OutputRef(made.id, index) for index in range(len(made.outputs)))
    return made


def same(answers: Sequence[T]) -> T:
    """The one answer that all gave."""
    assert all(answer == answers[0] for answer in answers), answers
    return answers[0]


async def same_list(stores: Sequence[Store], read: Read[T], limit: int) -> None:
    """The list is the same at once and in parts, cursor by cursor."""
    same([await read(store, Paging()) for store in stores])
    after = None
    while True:
        after = same([await read(store, Paging(limit, after)) for store in stores]).next
        if after is None:
            return


def by_key(key: str, spent: bool | None) -> Read[OutputRef]:
    return lambda store, page: store.outputs_by_key(key, spent, page)


def by_asset(ids: Sequence[str], operation: Operation | None, *, last: bool) -> Read[bytes]:
    return lambda store, page: store.transactions_by_asset(ids, operation, last=last, paging=page)


def asset_content(text: str) -> Read[Found]:
    return lambda store, page: store.assets_by_content(text, page)


def metadata_content(text: str) -> Read[Found]:
    return lambda store, page: store.metadata_by_content(text, page)


async def compare(chain: Chain, search: str, limit: int, stores: Sequence[Store]) -> None:
    """Ask all stores everything."""
    for store in stores:
        await store.open()
        await store.found(FOUNDING, header_of(0))
        for block in chain.blocks:
            await store.save_block(block)
    ids = [item.id for item in chain.transactions] + [digest("none")]
    refs = [*chain.records, OutputRef(ids[0], 9)]
    views = [await store.read_state(StateReads(ids, refs)) for store in stores]
    assert [view.validators() for view in views] == [await store.validators() for store in stores]
    for ref in refs:
        assert same([view.output(ref) for view in views]) == chain.records.get(ref)
    for item in ids:
        same([view.has_transaction(item) for view in views])
        same([await store.transaction(item) for store in stores])
        same([await store.height_of(item) for store in stores])
    for height in range(-1, len(chain.blocks) + 2):
        same([await store.block(height) for store in stores])
        same([await store.events(height, limit) for store in stores])
    for key in KEYS:
        for spent in (None, True, False):
            await same_list(stores, by_key(key, spent), limit)
    for operation in (None, Operation.CREATE, Operation.TRANSFER):
        for wanted in (ids[:1], ids[1:4], ids):
            await same_list(stores, by_asset(wanted, operation, last=False), limit)
            await same_list(stores, by_asset(wanted, operation, last=True), limit)
    query = parse_search(search)
    await same_list(stores, lambda store, page: store.search_assets(query, page), limit)
    await same_list(stores, lambda store, page: store.search_metadata(query, page), limit)
    for text in (*WORDS, search):
        await same_list(stores, asset_content(text), limit)
        await same_list(stores, metadata_content(text), limit)
    for store in stores:
        await store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("tarantool")) as started:
        yield started


@given(chains(), searches, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_memory_sqlite_and_tarantool_answer_equally(server: Server, chain: Chain, search: str, limit: int) -> None:
    server.empty()
    with TemporaryDirectory() as folder:
        stores = (MemoryStore(), SqliteStore(Path(folder) / "ledger.db"), TarantoolStore(server.address))
        asyncio.run(compare(chain, search, limit, stores))
