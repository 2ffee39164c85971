# SPDX-License-Identifier: AGPL-3.0-or-later
"""Submissions: when they are answered, what they promise, and what happens in trouble (http-api 4.3)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from planetmint.app import BulkOutcome, Mode
from planetmint.chain import header_hash, verify_header
from planetmint.consensus.solo import SoloEngine
from planetmint.model.errors import (
    DoubleSpend,
    DuplicateTransaction,
    InputDoesNotExist,
    InvalidSignature,
    SchemaValidationError,
)
from planetmint.ports.errors import CommitTimeout, EngineError, MempoolFull, StoreFull
from planetmint.testing.build import Builder, Built, Dialect
from tests.support.ledger import SECRET, FailingStore, StepClock, running

BUILD = Builder(Dialect.BIGCHAINDB)


async def lines_of(*transactions: bytes) -> AsyncIterator[bytes]:
    for transaction in transactions:
        yield transaction


async def until(condition: object) -> None:
    """Wait, bounded, until `condition()` holds."""
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition did not come to hold")


@pytest.mark.parametrize("mode", list(Mode))
async def test_every_mode_takes_a_good_transaction(mode: Mode) -> None:
    create = BUILD.create("alice")
    async with running() as node:
        answer = await node.app.submit(create.canonical, mode)
        assert (answer.id, answer.canonical) == (create.id, create.canonical)
        await until(lambda: node.feed.head == 1)
        assert await node.store.transaction(create.id) == create.canonical


async def test_commit_answers_when_the_node_can_already_be_asked() -> None:
    create = BUILD.create("alice")
    async with running() as node:
        await node.app.submit(create.canonical, Mode.COMMIT)
        assert await node.store.height_of(create.id) == 1
        assert [event.transaction_id for event in node.blocks[0].events] == [create.id]


async def test_transactions_that_arrive_together_share_a_block() -> None:
    creates = [BUILD.create(f"owner-{number}") for number in range(50)]
    async with running() as node:
        await asyncio.gather(*(node.app.submit(item.canonical, Mode.COMMIT) for item in creates))
        assert node.feed.head < 50
        seen = [event.transaction_id for block in node.blocks for event in block.events]
        assert sorted(seen) == sorted(item.id for item in creates)


async def test_no_block_is_made_without_transactions() -> None:
    async with running() as node:
        await asyncio.sleep(0.05)
        assert node.feed.head == 0


async def test_two_spends_may_wait_and_the_second_one_is_refused_by_the_block() -> None:
    create = BUILD.create("alice")
    first = BUILD.transfer([create.spend()], [(1, "bob")])
    second = BUILD.transfer([create.spend()], [(1, "carol")])
    async with running() as node:
        await node.app.submit(create.canonical, Mode.COMMIT)
        answers = await asyncio.gather(
            node.app.submit(first.canonical, Mode.COMMIT),
            node.app.submit(second.canonical, Mode.COMMIT),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [type(answer) for answer in refused] == [DoubleSpend]
        assert node.feed.head == 2


async def test_a_block_of_losers_only_is_not_made() -> None:
    create = BUILD.create("alice")
    first = BUILD.transfer([create.spend()], [(1, "bob")])
    second = BUILD.transfer([create.spend()], [(1, "carol")])
    engine = SoloEngine(SECRET, StepClock(), max_block_transactions=1)
    async with running(engine=engine) as node:
        await node.app.submit(create.canonical, Mode.COMMIT)
        await asyncio.gather(
            node.app.submit(first.canonical, Mode.COMMIT),
            node.app.submit(second.canonical, Mode.COMMIT),
            return_exceptions=True,
        )
        assert node.feed.head == 2
        assert engine.waiting == 0


async def test_what_waits_already_is_a_duplicate() -> None:
    create = BUILD.create("alice")
    async with running(make_blocks=False) as node:
        await node.app.submit(create.canonical, Mode.ASYNC)
        with pytest.raises(DuplicateTransaction):
            await node.app.submit(create.canonical, Mode.ASYNC)


async def test_a_bad_signature_is_refused_and_not_remembered_as_good() -> None:
    forged = BUILD.create("alice").changed(
        lambda wire: wire["inputs"][0].update(fulfillment=BUILD.create("bob").wire["inputs"][0]["fulfillment"])
    )
    async with running() as node:
        for _ in range(2):
            with pytest.raises(InvalidSignature):
                await node.app.submit(forged.canonical, Mode.COMMIT)
        assert node.feed.head == 0


async def test_a_full_queue_is_said_and_takes_nothing() -> None:
    engine = SoloEngine(SECRET, StepClock(), max_waiting=1)
    async with running(engine=engine, make_blocks=False) as node:
        await node.app.submit(BUILD.create("alice").canonical, Mode.ASYNC)
        with pytest.raises(MempoolFull):
            await node.app.submit(BUILD.create("bob").canonical, Mode.ASYNC)
        assert engine.waiting == 1


async def test_commit_gives_up_and_says_that_it_may_still_be_committed() -> None:
    async with running(make_blocks=False, commit_timeout=0.05) as node:
        with pytest.raises(CommitTimeout, match="may still be committed"):
            await node.app.submit(BUILD.create("alice").canonical, Mode.COMMIT)


async def test_a_store_that_fails_loses_nothing_and_goes_on_by_itself() -> None:
    store = FailingStore()
    accepted, refused = BUILD.create("alice"), BUILD.create("bob")
    async with running(store) as node:
        store.failure = StoreFull("no space left on the disk")
        await node.app.submit(accepted.canonical, Mode.ASYNC)
        await until(lambda: not node.app.health().ready)
        with pytest.raises(EngineError, match="no space left"):
            await node.app.submit(refused.canonical, Mode.ASYNC)
        store.failure = None
        await until(lambda: node.app.health().ready)
        assert await node.store.transaction(accepted.id) == accepted.canonical
        await node.app.submit(refused.canonical, Mode.COMMIT)
        assert [block.height for block in node.blocks] == [1, 2]


async def test_what_was_accepted_is_written_before_the_engine_stops() -> None:
    creates = [BUILD.create(f"owner-{number}") for number in range(20)]
    async with running() as node:
        for item in creates:
            await node.app.submit(item.canonical, Mode.ASYNC)
        await node.engine.stop()
        seen = [event.transaction_id for block in node.blocks for event in block.events]
        assert seen == [item.id for item in creates]


async def test_headers_are_signed_and_chained() -> None:
    async with running() as node:
        for name in ("alice", "bob", "carol"):
            await node.app.submit(BUILD.create(name).canonical, Mode.COMMIT)
        summaries = [await node.store.summary(height) for height in range(4)]
        headers = [summary.header for summary in summaries if summary is not None]
        assert len(headers) == 4
        assert all(verify_header(header) for header in headers)
        hashes = [header_hash(header) for header in headers]
        assert [header.previous_hash for header in headers[1:]] == hashes[:-1]


async def test_times_of_blocks_grow_when_the_clock_is_set_back() -> None:
    clock = StepClock()
    async with running(engine=SoloEngine(SECRET, clock)) as node:
        await node.app.submit(BUILD.create("alice").canonical, Mode.COMMIT)
        clock.time -= 3_600_000_000_000
        await node.app.submit(BUILD.create("bob").canonical, Mode.COMMIT)
        first, second = [await node.store.summary(height) for height in (1, 2)]
        assert first is not None
        assert second is not None
        assert second.header.time == first.header.time + 1


async def bulk(node: object, mode: Mode, *transactions: bytes) -> list[BulkOutcome]:
    return [item async for item in node.app.submit_lines(lines_of(*transactions), mode)]  # type: ignore[attr-defined]


def chain_of(length: int) -> list[Built]:
    """A CREATE and transfers of it, each spending the one before."""
    built = [BUILD.create("owner-0")]
    for number in range(1, length):
        built.append(BUILD.transfer([built[-1].spend()], [(1, f"owner-{number}")]))
    return built


@pytest.mark.parametrize("mode", list(Mode))
async def test_bulk_lines_may_spend_outputs_of_lines_before(mode: Mode) -> None:
    chain = chain_of(600)
    async with running() as node:
        outcomes = await bulk(node, mode, *(item.canonical for item in chain))
        assert [outcome.error for outcome in outcomes] == [None] * 600
        assert [outcome.transaction_id for outcome in outcomes] == [item.id for item in chain]
        await until(lambda: node.engine.waiting == 0)
        for item in chain:
            assert await node.store.height_of(item.id) is not None


async def test_bulk_judges_each_line_as_if_posted_alone_at_that_point() -> None:
    create, transfer, again = chain_of(3)
    rival = BUILD.transfer([create.spend()], [(1, "carol")])
    async with running() as node:
        outcomes = await bulk(
            node,
            Mode.COMMIT,
            transfer.canonical,
            create.canonical,
            b"{nonsense",
            transfer.canonical,
            rival.canonical,
            create.canonical,
            again.canonical,
        )
    assert [type(outcome.error) for outcome in outcomes] == [
        InputDoesNotExist,
        type(None),
        SchemaValidationError,
        type(None),
        DoubleSpend,
        DuplicateTransaction,
        type(None),
    ]


async def test_bulk_answers_a_sender_that_waits_for_its_answers() -> None:
    gate: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def slow() -> AsyncIterator[bytes]:
        while (line := await gate.get()) is not None:
            yield line

    async with running() as node:
        outcomes = node.app.submit_lines(slow(), Mode.COMMIT)
        for item in chain_of(3):
            gate.put_nowait(item.canonical)
            outcome = await asyncio.wait_for(anext(outcomes), 5)
            assert outcome == BulkOutcome(item.id, None)
        gate.put_nowait(None)
        assert [item async for item in outcomes] == []


async def test_bulk_lines_after_a_full_queue_are_all_refused() -> None:
    engine = SoloEngine(SECRET, StepClock(), max_waiting=2)
    async with running(engine=engine, make_blocks=False) as node:
        outcomes = await bulk(node, Mode.ASYNC, *(BUILD.create(f"o{n}").canonical for n in range(5)))
    assert [type(outcome.error) for outcome in outcomes] == [type(None)] * 2 + [MempoolFull] * 3
