# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks that need no look at the store give the verdicts of those that do."""

import random
from collections.abc import Sequence

import pytest

from planetmint.app import BlockLifecycle, CommittedFeed
from planetmint.app.standing import Standing
from planetmint.chain import BlockResult
from planetmint.model.block import BlockEvents
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import StoreError
from planetmint.ports.store import StateReads
from planetmint.rules import decode_transaction
from planetmint.storage.memory import MemoryStore
from planetmint.storage.snapshot import Snapshot
from planetmint.testing.build import Builder, Built, Dialect
from tests.support.ledger import PUBLIC, START, Running, running

A, C = Builder(Dialect.BIGCHAINDB), Builder(Dialect.PLANETMINT_2)


class CountingStore(MemoryStore):
    """Counts what is asked about single transactions; fails while `failure` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.failure: StoreError | None = None

    async def read_state(self, reads: StateReads) -> Snapshot:
        if self.failure is not None:
            raise self.failure
        if reads.transaction_ids:
            self.asked.append(len(reads.transaction_ids))
        return await super().read_state(reads)


def decoded(built: Built) -> Transaction:
    return decode_transaction(built.canonical, ChainParameters())


def raws(items: Sequence[Built]) -> list[bytes]:
    return [item.canonical for item in items]


async def make_block(node: Running, items: Sequence[Built]) -> None:
    height = node.feed.head + 1
    await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws(items))
    await node.lifecycle.commit()


async def codes(lifecycle: BlockLifecycle, items: Sequence[Built]) -> list[str | None]:
    found = await lifecycle.check_txs(raws(items))
    return [None if verdict is None else verdict.code for verdict in found]


async def afresh(node: Running, items: Sequence[Built]) -> list[str | None]:
    """The verdicts of a life cycle that remembers nothing."""
    other = BlockLifecycle(node.store, CommittedFeed(node.store), node.verifier)
    await other.load()
    return await codes(other, items)


def family(name: str) -> list[Built]:
    """Transactions that need, exclude and repeat one another."""
    first = A.create(f"{name} alice", [(5, "alice"), (3, "bob")])
    second = A.transfer([first.spend()], [(5, "carol")])
    rival = A.transfer([first.spend()], [(5, "dora")])
    both = A.transfer([first.spend(1)], [(3, "eve")])
    third = A.transfer([second.spend()], [(5, "alice")])
    copper = C.create("carol", [(4, "carol")], data=f"Qm{name}")
    alloy = C.compose([copper.spend()], [(1, "carol")], data=f"QmAlloy{name}")
    parts = C.decompose(alloy.spend(), [f"Qm{name}Left", f"Qm{name}Right"])
    return [first, second, rival, both, third, copper, alloy, parts]


@pytest.mark.parametrize("seed", range(10))
async def test_every_check_after_every_block_gives_the_verdict_of_a_full_one(seed: int) -> None:
    rng = random.Random(seed)
    items = [item for name in ("x", "y") for item in family(name)]
    async with running(make_blocks=False) as node:
        for _ in range(12):
            for item in rng.sample(items, 3):
                node.lifecycle.remember(decoded(item))
            assert await codes(node.lifecycle, items) == await afresh(node, items)
            asked = rng.sample(items, rng.randrange(len(items)))
            assert await codes(node.lifecycle, asked) == await afresh(node, asked)
            await make_block(node, rng.sample(items, rng.randrange(4)))


async def test_what_was_valid_before_a_block_that_left_it_alone_is_not_asked_for_again() -> None:
    store = CountingStore()
    waiting, other = A.create("waiting"), A.create("other")
    async with running(store, make_blocks=False) as node:
        assert await codes(node.lifecycle, [waiting]) == [None]
        for item in (other, A.create("third"), A.create("fourth")):
            await make_block(node, [item])
            store.asked.clear()
            assert await codes(node.lifecycle, [waiting]) == [None]
            assert store.asked == []
        store.failure = StoreError("away")
        assert await codes(node.lifecycle, [waiting, waiting]) == [None, None]


async def test_what_nobody_asked_about_for_two_blocks_is_verified_again() -> None:
    store = CountingStore()
    waiting = A.create("waiting")
    async with running(store, make_blocks=False) as node:
        assert await codes(node.lifecycle, [waiting]) == [None]
        await make_block(node, [A.create("one")])
        await make_block(node, [A.create("two")])
        store.asked.clear()
        assert await codes(node.lifecycle, [waiting]) == [None]
        assert store.asked == [1]


async def test_a_ledger_that_is_taken_up_anew_is_asked_again() -> None:
    store = CountingStore()
    waiting = A.create("waiting")
    async with running(store, make_blocks=False) as node:
        assert await codes(node.lifecycle, [waiting]) == [None]
        await node.lifecycle.load()
        store.asked.clear()
        assert await codes(node.lifecycle, [waiting]) == [None]
        assert store.asked == [1]


async def test_a_height_at_which_it_was_verified_counts_and_no_other() -> None:
    gold = A.create("alice", [(5, "alice")])
    one, rival = (A.transfer([gold.spend()], [(5, name)]) for name in ("bob", "carol"))
    async with running(make_blocks=False) as node:
        await make_block(node, [gold])
        node.lifecycle.remember(decoded(rival), 1)
        assert await codes(node.lifecycle, [rival]) == [None]
        await make_block(node, [one])
        assert await codes(node.lifecycle, [rival]) == ["DoubleSpend"]
        node.lifecycle.remember(decoded(rival), 1)
        assert await codes(node.lifecycle, [rival]) == ["DoubleSpend"]


def test_the_same_id_in_other_bytes_ends_it() -> None:
    item = decoded(A.create("alice"))
    standing = Standing()
    standing.clear(1)
    standing.found_valid(item, 1)
    assert standing.holds(item)
    # A threshold may be signed by others: the block holds the id, but not these bytes, and no input is spent.
    events = BlockEvents(2, "00" * 32, ())
    standing.advance(BlockResult(2, (None,), (item,), (), (), "00" * 32, "00" * 32, events))
    assert not standing.holds(item)
