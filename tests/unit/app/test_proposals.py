# SPDX-License-Identifier: AGPL-3.0-or-later
"""A node that proposed a block does not execute it again when it is decided, and any other block it does."""

from collections.abc import AsyncIterator

import pytest

from planetmint.model.errors import DoubleSpend
from planetmint.ports.store import StateReads
from planetmint.storage.memory import MemoryStore
from planetmint.storage.snapshot import Snapshot
from planetmint.testing.build import Builder, Built, Dialect
from tests.support.ledger import PUBLIC, START, Running, running, standing

BUILD = Builder(Dialect.PLANETMINT_2)
CREATE = BUILD.create("alice", [(5, "alice")], data="gold")
TO_BOB = BUILD.transfer([CREATE.spend()], [(5, "bob")])
TO_CAROL = BUILD.transfer([CREATE.spend()], [(5, "carol")])
PLENTY = 10**6


class CountingStore(MemoryStore):
    """Counts how often the state is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def read_state(self, reads: StateReads) -> Snapshot:
        self.reads += 1
        return await super().read_state(reads)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
async def node(store: CountingStore) -> AsyncIterator[Running]:
    async with running(store, make_blocks=False) as parts:
        yield parts


async def propose(node: Running, *built: Built) -> list[bytes]:
    return await node.lifecycle.prepare_proposal([item.canonical for item in built], PLENTY)


async def decide(node: Running, raws: list[bytes]) -> tuple[list[type | None], str]:
    """Decide and commit a block; the classes of its verdicts, and its hash."""
    height = (await standing(node)).height + 1
    block = await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
    await node.lifecycle.commit()
    return [None if verdict is None else type(verdict) for verdict in block.verdicts], block.app_hash


async def test_a_block_decided_as_proposed_is_not_executed_again(node: Running, store: CountingStore) -> None:
    raws = await propose(node, TO_CAROL, CREATE, TO_BOB, CREATE)
    assert raws == [CREATE.canonical, TO_BOB.canonical]
    before = store.reads
    verdicts, app_hash = await decide(node, raws)
    assert store.reads == before
    assert verdicts == [None, None]
    # The same block has the same hash where it was never proposed.
    async with running(make_blocks=False) as other:
        assert (await decide(other, raws))[1] == app_hash
        assert await other.store.block(1) == await node.store.block(1)


async def test_another_block_than_the_proposed_one_is_executed(node: Running, store: CountingStore) -> None:
    await propose(node, CREATE, TO_BOB)
    before = store.reads
    verdicts, _ = await decide(node, [CREATE.canonical, TO_CAROL.canonical, TO_BOB.canonical])
    assert store.reads == before + 1
    assert verdicts == [None, None, DoubleSpend]


async def test_what_was_proposed_for_an_earlier_height_counts_no_more(node: Running) -> None:
    await decide(node, [CREATE.canonical])
    raws = await propose(node, TO_BOB)
    await decide(node, [TO_CAROL.canonical])
    verdicts, _ = await decide(node, raws)
    assert verdicts == [DoubleSpend]
