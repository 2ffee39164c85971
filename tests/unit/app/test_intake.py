# SPDX-License-Identifier: AGPL-3.0-or-later
"""Submissions whose sender is gone, engines that take their time, faults in the middle of a batch."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import structlog

from planetmint.app import BulkOutcome, Ledger, Mode, admission, bulk
from planetmint.app.lifecycle import Waiter
from planetmint.model.errors import (
    DoubleSpend,
    DuplicateTransaction,
    InputDoesNotExist,
    InvalidSignature,
    InvalidTransaction,
    InvariantViolated,
    SchemaValidationError,
)
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.consensus import Lifecycle
from planetmint.ports.errors import CommitTimeout, EngineError, MempoolFull, StoreError
from planetmint.ports.store import StateReads
from planetmint.rules import decode_transaction
from planetmint.storage.memory import MemoryStore
from planetmint.storage.snapshot import Snapshot
from planetmint.testing.build import Builder, Built, Dialect
from tests.support.ledger import PUBLIC, START, FailingStore, Running, running, standing

BUILD = Builder(Dialect.PLANETMINT_1)
ITEMS = [BUILD.create(f"owner-{number}", data=f"item {number}") for number in range(12)]


class SlowEngine:
    """An engine across a network: it takes a transaction when told to, and knows committed state only."""

    orders_dependents = False

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.taken: list[Transaction] = []
        self.batches: list[int] = []
        self.refusals: dict[str, InvalidTransaction | EngineError] = {}
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0

    async def start(self, lifecycle: Lifecycle) -> None:
        """Nothing begins by itself here."""

    async def stop(self) -> None:
        """Nothing ends here."""

    async def submit(self, transactions: Sequence[Transaction]) -> list[InvalidTransaction | EngineError | None]:
        self.asked += 1
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.batches.append(len(transactions))
        self.taken.extend(item for item in transactions if item.id not in self.refusals)
        return [self.refusals.get(item.id) for item in transactions]


@asynccontextmanager
async def slow(store: MemoryStore | None = None) -> AsyncIterator[tuple[Running, SlowEngine, Ledger]]:
    """A ledger over a `SlowEngine`; complaints of the event loop fail the test."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with running(store, make_blocks=False) as node:
        engine = SlowEngine()
        app = Ledger(node.store, node.feed, node.lifecycle, engine, node.verifier, commit_timeout=60)
        yield node, engine, app
    await asyncio.sleep(0)
    assert complaints == []


async def until(condition: Callable[[], bool]) -> None:
    """Wait, bounded, until `condition()` holds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("the condition did not come to hold")


async def commit(node: Running, *items: Built) -> None:
    """Make the next block."""
    height = (await standing(node)).height + 1
    await node.lifecycle.finalize_block(height, START + height, PUBLIC, [item.canonical for item in items])
    await node.lifecycle.commit()


async def test_a_sender_that_goes_while_the_engine_thinks_spoils_nothing_for_the_others() -> None:
    async with slow() as (_, engine, app):
        engine.gate.clear()
        requests = [asyncio.ensure_future(app.submit(item.canonical, Mode.SYNC)) for item in ITEMS[:5]]
        await until(lambda: engine.asked > 0)
        requests[0].cancel()
        requests[3].cancel()
        await asyncio.sleep(0)
        engine.gate.set()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert isinstance(answers[3], asyncio.CancelledError)
        assert [answers[number].id for number in (1, 2, 4)] == [ITEMS[number].id for number in (1, 2, 4)]
        assert (await app.submit(ITEMS[5].canonical, Mode.SYNC)).id == ITEMS[5].id


async def test_a_sender_that_goes_while_waiting_for_its_block_leaves_nothing_behind() -> None:
    async with slow() as (node, engine, app):
        request = asyncio.ensure_future(app.submit(ITEMS[0].canonical, Mode.COMMIT))
        await until(lambda: len(engine.taken) == 1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert node.lifecycle._waiters == {}
        await commit(node, ITEMS[0])


@pytest.mark.parametrize(
    "refusal",
    [
        DuplicateTransaction("waits already", rule="mempool.known"),
        MempoolFull("full"),
        EngineError("no answer"),
    ],
)
async def test_a_refusal_by_the_engine_reaches_its_sender_and_leaves_nothing_behind(
    refusal: InvalidTransaction | EngineError,
) -> None:
    async with slow() as (node, engine, app):
        engine.refusals[ITEMS[1].id] = refusal
        answers = await asyncio.gather(
            *(app.submit(item.canonical, Mode.SYNC) for item in ITEMS[:3]), return_exceptions=True
        )
        assert answers[1] is refusal
        assert [type(answer) for answer in answers] == [Transaction, type(refusal), Transaction]
        assert node.lifecycle._waiters == {}
        assert set(node.lifecycle._decoded) == {ITEMS[0].canonical, ITEMS[2].canonical}


async def test_what_was_verified_together_is_handed_over_together() -> None:
    async with slow() as (_, engine, app):
        forged = ITEMS[1].changed(
            lambda wire: wire["inputs"][0].update(fulfillment=ITEMS[0].wire["inputs"][0]["fulfillment"])
        )
        items = [ITEMS[0], forged, *ITEMS[2:]]
        answers = await asyncio.gather(
            *(app.submit(item.canonical, Mode.ASYNC) for item in items), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Transaction, InvalidSignature, *[Transaction] * 10]
        assert engine.batches == [11]
        assert [item.id for item in engine.taken] == [item.id for item in (ITEMS[0], *ITEMS[2:])]


async def test_an_engine_that_raises_leaves_nothing_behind() -> None:
    async with slow() as (node, engine, app):
        engine.failure = InvariantViolated("a bug")
        answers = await asyncio.gather(
            *(app.submit(item.canonical, Mode.COMMIT) for item in ITEMS), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {InvariantViolated}
        outcomes = app.submit_lines(lines_of(*ITEMS), Mode.COMMIT)
        with pytest.raises(InvariantViolated):
            await anext(outcomes)
        assert node.lifecycle._waiters == {}
        assert node.lifecycle._decoded == {}


async def test_a_verdict_about_an_earlier_copy_is_not_told_to_a_later_one() -> None:
    create = BUILD.create("alice")
    first, second = (BUILD.transfer([create.spend()], [(1, name)]) for name in ("bob", "carol"))
    gate, blockers, held = asyncio.Event(), list[asyncio.Future[Transaction]](), list[StateReads]()

    class Gated(MemoryStore):
        async def read_state(self, reads: StateReads) -> Snapshot:
            if any(item.id in reads.transaction_ids for item in ITEMS[:2]):
                held.append(reads)
                await gate.wait()
            return await super().read_state(reads)

    async with slow(Gated()) as (node, engine, app):
        await commit(node, create)
        # Both batches that may be worked on wait for the store, so that the late one stays in the queue.
        for item in ITEMS[:2]:
            blockers.append(asyncio.ensure_future(app.submit(item.canonical, Mode.SYNC)))
            await until(lambda: len(held) == len(blockers))
        late = asyncio.ensure_future(app.submit(second.canonical, Mode.COMMIT))
        await asyncio.sleep(0)
        await commit(node, first, second)
        gate.set()
        await asyncio.gather(*blockers)
        with pytest.raises(DoubleSpend):
            await late
        assert second.id not in [item.id for item in engine.taken]


class OnceBroken(MemoryStore):
    """Its next read of the state meets a bug."""

    broken = False

    async def read_state(self, reads: StateReads) -> Snapshot:
        if self.broken:
            self.broken = False
            raise InvariantViolated("a bug")
        return await super().read_state(reads)


async def test_a_bug_in_one_batch_reaches_its_senders_and_the_next_batch_is_taken() -> None:
    store = OnceBroken()
    async with slow(store) as (_, _, app):
        store.broken = True
        with pytest.raises(InvariantViolated, match="a bug"):
            await app.submit(ITEMS[0].canonical, Mode.ASYNC)
        assert (await app.submit(ITEMS[0].canonical, Mode.ASYNC)).id == ITEMS[0].id


async def test_what_waits_behind_a_batch_with_a_bug_is_taken_without_another_submission() -> None:
    store = OnceBroken()
    async with slow(store) as (_, _, app):
        store.broken = True
        answers = await asyncio.wait_for(
            asyncio.gather(
                *(app.submit(item.canonical, Mode.ASYNC) for item in ITEMS * 60), return_exceptions=True
            ),
            120,
        )
        kinds = {type(answer) for answer in answers}
        assert kinds == {InvariantViolated, Transaction}


async def test_the_same_transaction_twice_at_once_enters_once() -> None:
    async with running() as node:
        answers = await asyncio.gather(
            *(node.app.submit(ITEMS[0].canonical, Mode.COMMIT) for _ in range(5)), return_exceptions=True
        )
        taken = [answer for answer in answers if isinstance(answer, Transaction)]
        assert len(taken) == 1
        assert sum(isinstance(answer, DuplicateTransaction) for answer in answers) == 4
        assert [len(block.events) for block in node.blocks] == [1]
        assert node.lifecycle._waiters == {}


async def test_a_refused_copy_does_not_take_the_decoded_transaction_from_the_one_that_waits() -> None:
    async with running(make_blocks=False) as node:
        copies = [node.app.submit(ITEMS[0].canonical, Mode.ASYNC) for _ in range(3)]
        answers = await asyncio.gather(*copies, return_exceptions=True)
        assert sum(isinstance(answer, DuplicateTransaction) for answer in answers) == 2
        assert list(node.lifecycle._decoded) == [ITEMS[0].canonical]


async def test_a_store_that_cannot_be_read_refuses_the_whole_batch_and_takes_the_next() -> None:
    class Unreadable(FailingStore):
        async def read_state(self, reads: StateReads) -> Snapshot:
            if self.failure is not None:
                raise self.failure
            return await super().read_state(reads)

    store = Unreadable()
    async with slow(store) as (_, engine, app):
        store.failure = StoreError("no")
        answers = await asyncio.gather(
            *(app.submit(item.canonical, Mode.ASYNC) for item in ITEMS), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {StoreError}
        store.failure = None
        await app.submit(ITEMS[0].canonical, Mode.SYNC)
        assert [item.id for item in engine.taken] == [ITEMS[0].id]


async def test_mode_async_does_not_wait_for_an_engines_check_and_mode_sync_does() -> None:
    async with slow() as (_, engine, app):
        engine.gate.clear()
        await asyncio.wait_for(app.submit(ITEMS[0].canonical, Mode.ASYNC), 5)
        waits = asyncio.create_task(app.submit(ITEMS[1].canonical, Mode.SYNC))
        await until(lambda: engine.asked == 2)
        assert not waits.done() and engine.taken == []
        engine.gate.set()
        await asyncio.wait_for(waits, 5)
        await until(lambda: {item.id for item in engine.taken} == {ITEMS[0].id, ITEMS[1].id})


async def test_a_copy_of_what_waits_in_the_engine_hears_what_the_engine_says() -> None:
    async with slow() as (_, engine, app):
        await app.submit(ITEMS[0].canonical, Mode.ASYNC)
        await until(lambda: len(engine.taken) == 1)
        engine.refusals[ITEMS[0].id] = DuplicateTransaction("it waits", rule="mempool.known", field="id")
        with pytest.raises(DuplicateTransaction):
            await app.submit(ITEMS[0].canonical, Mode.ASYNC)


async def test_with_too_many_unchecked_mode_async_waits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planetmint.app.intake._MOST_APART", 1)
    async with slow() as (_, engine, app):
        engine.gate.clear()
        await asyncio.wait_for(app.submit(ITEMS[0].canonical, Mode.ASYNC), 5)
        waits = asyncio.create_task(app.submit(ITEMS[1].canonical, Mode.ASYNC))
        await until(lambda: engine.asked == 2)
        assert not waits.done()
        engine.gate.set()
        await asyncio.wait_for(waits, 5)


async def test_a_transaction_that_the_engine_refuses_after_the_answer_is_said_in_the_log() -> None:
    async with slow() as (_, engine, app):
        engine.refusals[ITEMS[0].id] = MempoolFull("full")
        with structlog.testing.capture_logs() as logs:
            await app.submit(ITEMS[0].canonical, Mode.ASYNC)
            await until(lambda: any(entry["event"] == "transaction.not_taken" for entry in logs))


# Bulk


async def lines_of(*items: Built) -> AsyncIterator[bytes]:
    for item in items:
        yield item.canonical


async def test_bulk_gives_all_lines_of_a_chunk_together_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []
    real = bulk.committed

    async def committed(waiter: Waiter, timeout: float) -> None:
        timeouts.append(timeout)
        await real(waiter, timeout)

    monkeypatch.setattr(bulk, "committed", committed)
    async with running(make_blocks=False, commit_timeout=0.1) as node:
        outcomes = [outcome async for outcome in node.app.submit_lines(lines_of(*ITEMS), Mode.COMMIT)]
        assert {type(outcome.error) for outcome in outcomes} == {CommitTimeout}
        assert len(timeouts) == len(ITEMS)
        assert set(timeouts[1:]) == {0.0}
        assert node.lifecycle._waiters == {}


async def test_bulk_that_is_given_up_leaves_nothing_behind() -> None:
    async with slow() as (node, engine, app):

        async def load() -> list[BulkOutcome]:
            return [outcome async for outcome in app.submit_lines(lines_of(*ITEMS), Mode.COMMIT)]

        request = asyncio.ensure_future(load())
        await until(lambda: len(engine.taken) == len(ITEMS))
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert node.lifecycle._waiters == {}
        await commit(node, *ITEMS)


async def test_bulk_waits_for_the_parent_where_the_engine_knows_committed_state_only() -> None:
    create = BUILD.create("alice")
    transfer = BUILD.transfer([create.spend()], [(1, "bob")])
    async with slow() as (node, engine, app):

        async def load() -> list[BulkOutcome]:
            return [outcome async for outcome in app.submit_lines(lines_of(create, transfer), Mode.SYNC)]

        request = asyncio.ensure_future(load())
        await until(lambda: len(engine.taken) == 1)
        await asyncio.sleep(0.01)
        assert [item.id for item in engine.taken] == [create.id]
        await commit(node, create)
        assert [outcome.error for outcome in await request] == [None, None]
        assert [item.id for item in engine.taken] == [create.id, transfer.id]
        assert node.lifecycle._waiters == {}


async def test_bulk_lines_that_have_nothing_to_do_with_one_another_are_handed_over_together() -> None:
    create = BUILD.create("alice")
    transfer = BUILD.transfer([create.spend()], [(1, "bob")])
    rival = BUILD.transfer([create.spend()], [(1, "carol")])
    async with slow() as (node, engine, app):
        await commit(node, create)
        items = (*ITEMS[:5], transfer, ITEMS[5], rival, *ITEMS[6:], ITEMS[0])
        outcomes = [outcome async for outcome in app.submit_lines(lines_of(*items), Mode.SYNC)]
        refused = {outcome.transaction_id: type(outcome.error) for outcome in outcomes if outcome.error}
        assert refused == {rival.id: DoubleSpend, ITEMS[0].id: DuplicateTransaction}
        assert engine.batches == [7, 6]


async def test_bulk_lines_on_top_of_a_refused_one_are_judged_without_it() -> None:
    create = BUILD.create("alice")
    first = BUILD.transfer([create.spend()], [(1, "bob")])
    second = BUILD.transfer([create.spend()], [(1, "carol")])
    on_top = BUILD.transfer([first.spend()], [(1, "dora")])
    async with slow() as (node, engine, app):
        await commit(node, create)
        engine.refusals[first.id] = EngineError("not this one")
        lines = lines_of(ITEMS[0], first, on_top, second)
        outcomes = [outcome async for outcome in app.submit_lines(lines, Mode.SYNC)]
        assert [type(outcome.error) for outcome in outcomes] == [
            type(None),
            EngineError,
            InputDoesNotExist,
            type(None),
        ]
        assert [item.id for item in engine.taken] == [ITEMS[0].id, second.id]


async def test_bulk_lines_before_one_that_waits_for_its_parent_do_not_wait_with_it() -> None:
    parents = [BUILD.create("alice", data="one"), BUILD.create("alice", data="two")]
    children = [BUILD.transfer([parent.spend()], [(1, "bob")]) for parent in parents]
    async with slow() as (node, engine, app):

        async def load() -> list[BulkOutcome]:
            return [outcome async for outcome in app.submit_lines(lines_of(*parents, *children), Mode.SYNC)]

        request = asyncio.ensure_future(load())
        await until(lambda: len(engine.taken) == 2)
        await commit(node, parents[0])
        await until(lambda: len(engine.taken) == 3)
        assert engine.taken[-1].id == children[0].id
        await commit(node, parents[1])
        assert [outcome.error for outcome in await request] == [None] * 4
        assert node.lifecycle._waiters == {}


async def test_bulk_in_trouble_refuses_every_line() -> None:
    async with slow() as (_, engine, app):
        engine.trouble = "no blocks"
        outcomes = [outcome async for outcome in app.submit_lines(lines_of(*ITEMS), Mode.ASYNC)]
        assert [(item.transaction_id, type(item.error)) for item in outcomes] == [
            (built.id, EngineError) for built in ITEMS
        ]
        assert engine.taken == []


async def test_bulk_lets_others_have_their_turn_between_large_lines() -> None:
    large = [BUILD.create("alice", data=f"{number}" * 100_000) for number in range(8)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with slow() as (node, _, app):
        seen: list[int] = []
        real = node.lifecycle.__class__.parameters.fget

        def parameters(self: object) -> object:
            seen.append(turns)
            return real(self)  # type: ignore[misc]

        ticking = asyncio.ensure_future(others())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(node.lifecycle), "parameters", property(parameters))
            outcomes = [outcome async for outcome in app.submit_lines(lines_of(*large), Mode.ASYNC)]
        ticking.cancel()
        assert [outcome.error for outcome in outcomes] == [None] * 8
        assert len(set(seen)) >= 8


# Large bodies


@pytest.mark.parametrize("size", [10, admission.LARGE + 1])
async def test_large_bodies_are_read_beside_the_event_loop(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def decode(body: bytes, parameters: ChainParameters) -> Transaction:
        threads.append(threading.current_thread().name)
        return decode_transaction(body, parameters)

    monkeypatch.setattr(admission, "decode_transaction", decode)
    good = BUILD.create("alice", data="x" * size)
    bad = good.changed(lambda wire: wire.update(metadata=1))
    main = threading.current_thread().name
    claimed: list[str] = []

    def claim(line: bytes) -> str | None:
        claimed.append(threading.current_thread().name)
        return "0" * 64

    monkeypatch.setattr(bulk, "claimed_id", claim)
    async with slow() as (_, _, app):
        assert (await app.submit(good.canonical, Mode.SYNC)).id == good.id
        with pytest.raises(SchemaValidationError):
            await app.submit(bad.canonical, Mode.SYNC)
        outcomes = [outcome async for outcome in app.submit_lines(lines_of(good, bad), Mode.SYNC)]
        assert [type(outcome.error) for outcome in outcomes] == [type(None), SchemaValidationError]
        assert [outcome.transaction_id for outcome in outcomes] == [good.id, "0" * 64]
    assert {name == main for name in threads} == {size < admission.LARGE}
    assert [name == main for name in claimed] == [size < admission.LARGE]
    assert len(threads) == 4
