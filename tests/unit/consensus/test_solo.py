# SPDX-License-Identifier: AGPL-3.0-or-later
"""The producer of blocks for one node (decision D8): what makes a block, its bounds, trouble, and the end."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
import structlog

from planetmint.app import Mode
from planetmint.chain import verify_header
from planetmint.consensus.solo import SoloEngine
from planetmint.model.block import BlockRecord
from planetmint.model.election import ChainRecord
from planetmint.model.errors import DuplicateTransaction, InvariantViolated
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import EngineError, MempoolFull, StoreError, StoreFull
from planetmint.ports.store import StateReads
from planetmint.rules import decode_transaction
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import Builder, Built, Dialect, validator_set
from tests.support.ledger import PUBLIC, SECRET, FailingStore, Running, StepClock, running, standing
from tests.support.stores import LateStore, UnsureStore

BUILD = Builder(Dialect.BIGCHAINDB)


def creates(count: int, size: int = 0) -> list[Built]:
    return [BUILD.create(f"owner-{number}", metadata={"pad": "x" * size}) for number in range(count)]


def decoded(built: Built) -> Transaction:
    return decode_transaction(built.canonical, ChainParameters())


async def submit(node: Running, items: Sequence[Built]) -> list[type]:
    """Hand items to the engine in one call; the classes of its answers."""
    return [type(answer) for answer in await node.engine.submit([decoded(item) for item in items])]


async def until(condition: Callable[[], bool]) -> None:
    """Wait, bounded, until `condition()` holds."""
    for _ in range(6_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition did not come to hold")


def ids(node: Running) -> list[list[str]]:
    """Ids per published block."""
    return [[event.transaction_id for event in block.events] for block in node.blocks]


async def test_what_waits_when_a_block_can_begin_is_that_block_in_order() -> None:
    items = creates(5)
    async with running(make_blocks=False) as node:
        await submit(node, items)
        await node.engine.start(node.lifecycle)
        await until(lambda: node.feed.head == 1)
        assert ids(node) == [[item.id for item in items]]
        assert node.engine.waiting == 0


async def test_a_block_holds_at_most_so_many_transactions() -> None:
    items = creates(7)
    engine = SoloEngine(SECRET, StepClock(), max_block_transactions=3)
    async with running(engine=engine, make_blocks=False) as node:
        await submit(node, items)
        await engine.start(node.lifecycle)
        await until(lambda: engine.waiting == 0)
        assert list(map(len, ids(node))) == [3, 3, 1]
        assert [one for block in ids(node) for one in block] == [item.id for item in items]


async def test_a_block_holds_at_most_so_many_bytes_but_always_one_transaction() -> None:
    items = [*creates(2), *creates(1, size=5_000), *creates(4)[2:]]
    engine = SoloEngine(SECRET, StepClock(), max_block_bytes=3_000)
    async with running(engine=engine, make_blocks=False) as node:
        await submit(node, items)
        await engine.start(node.lifecycle)
        await until(lambda: engine.waiting == 0)
        assert list(map(len, ids(node))) == [2, 1, 2]


@pytest.mark.parametrize("bounds", [{"max_waiting": 2}, {"max_waiting_bytes": 2_000}])
async def test_beyond_its_bounds_the_queue_takes_nothing(bounds: dict[str, int]) -> None:
    items = creates(3)
    engine = SoloEngine(SECRET, StepClock(), **bounds)
    async with running(engine=engine, make_blocks=False) as node:
        assert await submit(node, items) == [type(None), type(None), MempoolFull]
        await engine.start(node.lifecycle)
        await until(lambda: engine.waiting == 0)
        assert await submit(node, items[2:]) == [type(None)]
        await until(lambda: node.feed.head == 2)


async def test_the_same_transaction_waits_once_and_may_come_again_later() -> None:
    (item,) = creates(1)
    async with running(make_blocks=False) as node:
        assert await submit(node, [item, item]) == [type(None), DuplicateTransaction]
        assert await submit(node, [item]) == [DuplicateTransaction]
        await node.engine.start(node.lifecycle)
        await until(lambda: node.engine.waiting == 0)
        await submit(node, [item])
        await until(lambda: node.engine.waiting == 0)
        assert node.feed.head == 1, "a block of refused transactions only was made"


async def test_headers_are_signed_by_the_engine_with_the_time_of_its_clock() -> None:
    clock = StepClock()
    engine = SoloEngine(SECRET, clock)
    async with running(engine=engine) as node:
        await node.app.submit(creates(1)[0].canonical, Mode.COMMIT)
        head = await node.store.head()
        assert head is not None
        assert verify_header(head)
        assert (head.time, head.proposer) == (clock.time, PUBLIC.hex())


# Trouble


async def test_a_failing_store_is_tried_for_ever_and_said_once() -> None:
    store = FailingStore()
    (item,) = creates(1)
    with structlog.testing.capture_logs() as logs:
        async with running(store) as node:
            store.failure = StoreFull("no space")
            await submit(node, [item])
            await until(lambda: store.refused >= 3)
            assert node.engine.trouble is not None
            assert "no space" in node.engine.trouble
            assert not node.app.health().ready
            store.failure = None
            await until(lambda: node.engine.trouble is None)
            assert node.app.health().ready
            assert ids(node) == [[item.id]]
    assert [entry["event"] for entry in logs] == ["block.not_stored", "block.stored_again"]


async def test_pauses_between_attempts_grow_up_to_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FailingStore()
    store.failure = StoreError("no")
    pauses: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(delay: float) -> None:
        if delay >= 0.05:
            pauses.append(delay)
        await real_sleep(0)

    async with running(store) as node:
        await submit(node, creates(1))
        with monkeypatch.context() as patched:
            patched.setattr("planetmint.consensus.solo.engine.asyncio.sleep", sleep)
            for _ in range(2_000):
                await real_sleep(0.005)
                if len(pauses) >= 8:
                    break
        store.failure = None
    assert pauses[:8] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


@pytest.mark.parametrize("unreadable", [0, 1, 3])
async def test_a_block_stored_although_an_error_came_is_made_once_and_told(unreadable: int) -> None:
    store = UnsureStore()
    first, second = creates(2)
    async with running(store) as node:
        store.lies, store.unreadable = 1, unreadable
        await node.app.submit(first.canonical, Mode.COMMIT)
        await until(lambda: node.engine.trouble is None)
        await node.app.submit(second.canonical, Mode.COMMIT)
        assert ids(node) == [[first.id], [second.id]]
        assert store.saves == 2
        head = await node.store.head()
        assert head is not None
        assert node.lifecycle.head == head
        assert verify_header(head)


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_block_that_lands_late_is_made_once_and_told(after: int) -> None:
    store = LateStore()
    first, second = creates(2)
    reads = 0

    def land() -> bool:
        nonlocal reads
        reads += 1
        return reads > after + 1

    async with running(store) as node:
        store.late, store.land = True, land
        await node.app.submit(first.canonical, Mode.COMMIT)
        await until(lambda: node.engine.trouble is None)
        await node.app.submit(second.canonical, Mode.COMMIT)
        assert ids(node) == [[first.id], [second.id]]
        assert node.lifecycle.head == await node.store.head()


# Migration


async def decide_migration(node: Running) -> None:
    """Have the only validator decide a migration, and go on posting right away."""
    election = BUILD.migration_election({"validator": 10})
    vote = BUILD.vote([election.spend(0)], amount=10)
    await node.app.submit(election.canonical, Mode.COMMIT)
    await node.app.submit(vote.canonical, Mode.COMMIT)


async def test_a_decided_migration_is_carried_out_at_once_and_blocks_go_on() -> None:
    async with running(validators=validator_set({"validator": 10})) as node:
        await decide_migration(node)
        await until(lambda: node.lifecycle.halted is None)
        assert (await standing(node)).chain == ChainRecord("tests-migrated-at-height-1", shift=2)
        await node.app.submit(creates(1)[0].canonical, Mode.COMMIT)
        assert [block.height for block in node.blocks] == [1, 2, 3]
        view = await node.store.read_state(StateReads((), ()))
        assert view.chain().synced


async def test_what_waits_when_a_migration_is_decided_comes_into_the_next_block() -> None:
    election = BUILD.migration_election({"validator": 10})
    vote = BUILD.vote([election.spend(0)], amount=10)
    engine = SoloEngine(SECRET, StepClock(), max_block_transactions=1)
    validators = validator_set({"validator": 10})
    async with running(engine=engine, validators=validators, make_blocks=False) as node:
        await submit(node, [election, vote, *creates(2)])
        await engine.start(node.lifecycle)
        await until(lambda: engine.waiting == 0)
        assert list(map(len, ids(node))) == [1, 1, 1, 1]
        assert (await standing(node)).chain.synced


class HaltingStore(MemoryStore):
    """Does not take that a chain begins anew, so often as told."""

    refusals = 0

    async def begin_chain(self, chain: ChainRecord) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreError("no")
        await super().begin_chain(chain)


async def test_beginning_the_chain_anew_is_tried_until_the_store_takes_it() -> None:
    store = HaltingStore()
    async with running(store, validators=validator_set({"validator": 10})) as node:
        store.refusals = 2
        await decide_migration(node)
        await until(lambda: node.lifecycle.halted is None)
        assert store.refusals == 0
        assert [block.height for block in node.blocks] == [1, 2]
        await node.app.submit(creates(1)[0].canonical, Mode.COMMIT)


async def test_a_node_that_ended_before_the_chain_began_anew_does_so_at_its_start() -> None:
    store = HaltingStore()
    async with running(store, validators=validator_set({"validator": 10})) as node:
        store.refusals = 1_000
        await decide_migration(node)
        await node.engine.stop()
    store.refusals = 0
    async with running(store) as node:
        await until(lambda: node.lifecycle.halted is None)
        assert (await standing(node)).chain.synced
        await node.app.submit(creates(1)[0].canonical, Mode.COMMIT)
        assert [block.height for block in node.blocks] == [3]


# The end


async def test_stopping_writes_what_waits() -> None:
    items = creates(10)
    engine = SoloEngine(SECRET, StepClock(), max_block_transactions=4)
    async with running(engine=engine) as node:
        await submit(node, items)
        await engine.stop()
        assert [one for block in ids(node) for one in block] == [item.id for item in items]
        await engine.stop()


async def test_stopping_before_the_start_is_harmless() -> None:
    await SoloEngine(SECRET, StepClock()).stop()


async def test_a_stopped_engine_takes_nothing_that_it_could_not_write() -> None:
    async with running() as node:
        await node.engine.stop()
        assert await submit(node, creates(2)) == [EngineError, EngineError]
        assert node.engine.trouble == "the node is stopping"


async def test_stopping_during_trouble_gives_up_and_says_what_is_lost() -> None:
    store = FailingStore()
    with structlog.testing.capture_logs() as logs:
        async with running(store) as node:
            store.failure = StoreFull("no space")
            await submit(node, creates(3))
            await until(lambda: node.engine.trouble is not None)
            await asyncio.wait_for(node.engine.stop(), 60)
    (lost,) = [entry for entry in logs if entry["event"] == "transactions.lost"]
    assert (lost["log_level"], lost["count"]) == ("error", 3)


class BrokenStore(MemoryStore):
    """A store whose failure is a bug, not an error of the store."""

    async def save_block(self, block: BlockRecord) -> None:
        raise InvariantViolated("the ledger has two heads")


async def test_an_invariant_violated_ends_the_task_and_nothing_more_is_taken() -> None:
    async with running(BrokenStore()) as node:
        await submit(node, creates(1))
        task = node.engine.task
        assert task is not None
        with pytest.raises(InvariantViolated, match="two heads"):
            await asyncio.wait_for(asyncio.shield(task), 30)
        assert not node.app.health().ready
        assert "two heads" in node.app.health().detail
        with pytest.raises(EngineError, match="two heads"):
            await node.app.submit(creates(2)[1].canonical, Mode.ASYNC)
