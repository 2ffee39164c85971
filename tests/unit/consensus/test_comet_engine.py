# SPDX-License-Identifier: AGPL-3.0-or-later
"""CometBFT behind `ports.Consensus`: transactions handed over in batches, verdicts heard, trouble told."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from planetmint.app import Mode
from planetmint.consensus.cometbft import CometEngine, submissions
from planetmint.model.errors import DuplicateTransaction, InvalidTransaction, TransactionTooLarge
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import ChainHalted, CommitTimeout, EngineError, MempoolFull
from planetmint.rules import decode_transaction
from planetmint.testing.build import Builder, Built, Dialect
from tests.support.abci import CometNode, begin_store, check_tx, comet_node, init_chain, until

BUILD = Builder(Dialect.PLANETMINT_2)


def creates(count: int, size: int = 0) -> list[Built]:
    return [BUILD.create(f"owner-{number}", data="x" * size or None) for number in range(count)]


def decoded(items: Sequence[Built]) -> list[Transaction]:
    return [decode_transaction(item.canonical, ChainParameters()) for item in items]


async def submit(node: CometNode, items: Sequence[Built]) -> list[InvalidTransaction | EngineError | None]:
    return await asyncio.wait_for(node.engine.submit(decoded(items)), 20)


async def test_a_submission_is_answered_when_the_engines_check_has_come_and_committed_by_a_block() -> None:
    (item,) = creates(1)
    async with comet_node() as node:
        comet = await node.ready()
        await node.app.submit(item.canonical, Mode.SYNC)
        await until(lambda: comet.pool == [item.canonical])
        await comet.make_block()
        assert await node.store.height_of(item.id) == 1
        assert node.engine.waiting == 0


async def test_mode_commit_is_answered_by_the_block() -> None:
    (item,) = creates(1)
    async with comet_node() as node:
        comet = await node.ready()
        waits = asyncio.create_task(node.app.submit(item.canonical, Mode.COMMIT))
        await until(lambda: comet.pool == [item.canonical])
        assert not waits.done()
        await comet.make_block()
        assert (await asyncio.wait_for(waits, 5)).id == item.id


async def test_transactions_go_out_together_and_every_one_is_answered() -> None:
    items = creates(1_000)
    async with comet_node() as node:
        comet = await node.ready()
        assert await submit(node, items) == [None] * 1_000
        await until(lambda: len(comet.pool) == 1_000)
        assert sorted(comet.pool) == sorted(item.canonical for item in items)
        assert max(comet.posts) == submissions.MAX_BATCH
        assert len(comet.posts) == 3


async def test_a_request_is_never_longer_than_the_engine_takes() -> None:
    items = creates(6, size=250_000)
    async with comet_node() as node:
        comet = await node.ready()
        assert await submit(node, items) == [None] * 6
        assert sum(comet.posts) == 6
        assert max(comet.posts) <= 2


async def test_what_this_node_has_just_verified_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with comet_node() as node:
        comet = await node.ready()
        looks: list[int] = []
        check = node.lifecycle.check_txs

        async def counted(raws: Sequence[bytes]) -> list[InvalidTransaction | None]:
            looks.append(len(raws))
            return await check(raws)

        monkeypatch.setattr(node.lifecycle, "check_txs", counted)
        assert await submit(node, creates(5)) == [None] * 5
        assert looks == []
        await comet.check([creates(6)[5].canonical])
        assert looks == [1]


async def test_what_was_verified_on_an_older_head_is_verified_again() -> None:
    source = BUILD.create("alice", [(5, "alice")])
    one = BUILD.transfer([source.spend()], [(5, "bob")])
    other = BUILD.transfer([source.spend()], [(5, "carol")])
    async with comet_node() as node:
        comet = await node.ready()
        await comet.add([source.canonical])
        await comet.make_block()
        comet.silent = True
        answers = asyncio.create_task(submit(node, [other]))
        await until(lambda: other.canonical in comet.cache)
        comet.pool = [one.canonical]
        await comet.make_block()
        await comet.add([other.canonical])
        (verdict,) = await answers
        assert isinstance(verdict, InvalidTransaction)
        assert verdict.code == "DoubleSpend"


async def test_a_transaction_that_waits_for_its_check_is_known() -> None:
    (item,) = creates(1)
    async with comet_node() as node:
        comet = await node.ready()
        comet.silent = True
        first = asyncio.create_task(submit(node, [item]))
        await until(lambda: item.canonical in comet.cache)
        (again,) = await submit(node, [item])
        assert isinstance(again, DuplicateTransaction)
        assert again.rule == "mempool.known"
        await comet.add([item.canonical])
        assert await first == [None]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("tx already exists in cache", DuplicateTransaction),
        ("Tx already exists in cache", DuplicateTransaction),
        ("mempool is full: number of txs 5000 (max: 5000)", MempoolFull),
        ("mempool is still rechecking after a new committed block, so it is considered as full", MempoolFull),
        ("Tx too large. Max size is 1048576, but got 1048577", TransactionTooLarge),
        ("app connection error: EOF", EngineError),
    ],
)
async def test_the_engines_words_become_our_errors(words: str, kind: type[Exception]) -> None:
    good, bad = creates(2)
    async with comet_node() as node:
        comet = await node.ready()
        comet.refuse = lambda raw: words if raw == bad.canonical else None
        answers = await submit(node, [good, bad])
        assert answers[0] is None
        assert type(answers[1]) is kind
        comet.refuse = lambda raw: None
        if kind is not DuplicateTransaction:
            assert await submit(node, [bad]) == [None]


async def test_an_engine_that_takes_small_batches_only_gets_small_ones() -> None:
    async with comet_node() as node:
        comet = await node.ready()
        comet.max_batch = 10
        assert await submit(node, creates(35)) == [None] * 35
        assert comet.posts == [10, 10, 10, 5]


async def test_an_engine_that_takes_short_bodies_only_gets_short_ones() -> None:
    async with comet_node() as node:
        comet = await node.ready()
        comet.max_body = 30_000
        assert await submit(node, creates(100)) == [None] * 100
        comet.max_body = 100
        (answer,) = await submit(node, creates(101)[100:])
        assert type(answer) is EngineError
        assert "takes no transaction as long" in str(answer)


async def test_a_check_that_does_not_come_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "CHECK_TIMEOUT", 0.05)
    (item,) = creates(1)
    async with comet_node() as node:
        comet = await node.ready()
        comet.silent = True
        (answer,) = await submit(node, [item])
        assert type(answer) is EngineError
        assert "may still" in str(answer)
        assert node.engine.waiting == 0
        (verdict,) = await comet.check([item.canonical])
        assert verdict.code == 0


async def lost_answer(
    node: CometNode, item: Built
) -> "asyncio.Task[list[InvalidTransaction | EngineError | None]]":
    """A submission that reached the engine, whose connection then broke before the answer."""
    comet = await node.ready()
    comet.silent = True
    await node.engine._rpc.status()  # so that there is a connection to use again

    async def taken_and_lost(body: bytes) -> Any:
        answer = await comet.answer(body)
        if b"broadcast" in body and comet.posts == [1]:
            raise ConnectionResetError
        return answer

    node.rpc.answer = taken_and_lost
    waits = asyncio.create_task(submit(node, [item]))
    await until(lambda: item.canonical in comet.cache)
    await until(lambda: not node.engine._submissions._senders)
    return waits


async def test_a_connection_that_breaks_after_the_engine_took_a_transaction_makes_nobody_its_own_duplicate() -> (
    None
):
    (item,) = creates(1)
    async with comet_node() as node:
        waits = await lost_answer(node, item)
        assert not waits.done()
        assert node.comet is not None
        await node.comet.add([item.canonical])
        assert await waits == [None]
        assert node.comet.posts == [1]


async def test_a_connection_that_breaks_and_a_check_that_does_not_come_are_an_error_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submissions, "CHECK_TIMEOUT", 0.2)
    (item,) = creates(1)
    async with comet_node() as node:
        (answer,) = await (await lost_answer(node, item))
        assert type(answer) is EngineError
        assert "may still" in str(answer)
        assert node.comet is not None
        assert node.comet.posts == [1]


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    async with comet_node() as node:
        comet = await node.ready()
        comet.silent = True
        waits = asyncio.create_task(submit(node, creates(3)))
        await until(lambda: len(comet.cache) == 3)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert node.engine.waiting == 0


# Trouble


async def test_without_an_engine_nothing_is_taken_and_the_trouble_says_what_to_start() -> None:
    (item,) = creates(1)
    async with comet_node(connect=False) as node:
        assert f'proxy_app = "{node.engine.address}"' in str(node.engine.trouble)
        (answer,) = await submit(node, [item])
        assert type(answer) is EngineError
        with pytest.raises(EngineError, match="not connected"):
            await node.app.submit(item.canonical, Mode.ASYNC)
        await node.connect()
        await node.ready()
        assert await submit(node, [item]) == [None]


async def test_an_rpc_that_does_not_answer_is_told_and_found_again() -> None:
    items = creates(2)
    async with comet_node() as node:
        await node.ready()
        await node.rpc.stop()
        (answer,) = await submit(node, items[:1])
        assert type(answer) is EngineError
        assert f":{node.rpc.port}" in str(node.engine.trouble)
        assert node.engine.status is None or node.engine.status.height == 0
        await node.rpc.start()
        await node.ready()
        assert await submit(node, items[1:]) == [None]


async def test_those_who_wait_for_a_check_hear_when_the_engine_goes() -> None:
    async with comet_node() as node:
        comet = await node.ready()
        comet.silent = True
        waits = asyncio.create_task(submit(node, creates(3)))
        await until(lambda: len(comet.cache) == 3)
        await comet.close()
        answers = await waits
        assert [type(answer) for answer in answers] == [EngineError] * 3
        assert "gone" in str(answers[0])
        comet = await node.connect()
        comet.silent = False
        assert await submit(node, creates(3)) == [None] * 3


async def test_an_engine_that_catches_up_is_trouble_until_it_has() -> None:
    async with comet_node() as node:
        comet = await node.ready()
        behind = True
        answer_one = comet._one

        async def status(request):  # type: ignore[no-untyped-def]
            answer = await answer_one(request)
            answer["result"]["sync_info"]["catching_up"] = behind
            return answer

        comet._one = status  # type: ignore[method-assign]
        await until(lambda: "fetches blocks" in str(node.engine.trouble))
        behind = False
        await node.ready()


async def test_a_halted_chain_takes_nothing() -> None:
    store = await begin_store(2)
    async with comet_node(store, connect=False) as node:
        (answer,) = await submit(node, creates(1))
        assert type(answer) is ChainHalted
        assert "new" in str(answer)
        comet = await node.connect(genesis=init_chain("new"))
        await node.ready()
        assert await submit(node, creates(1)) == [None]
        await until(lambda: len(comet.pool) == 1)


# The end


async def test_stopping_answers_who_waits_and_takes_nothing_more() -> None:
    async with comet_node() as node:
        comet = await node.ready()
        comet.silent = True
        waits = asyncio.create_task(submit(node, creates(2)))
        await until(lambda: len(comet.cache) == 2)
        await node.engine.stop()
        assert ["stopping" in str(answer) for answer in await waits] == [True, True]
        assert node.engine.waiting == 0
        assert ["stopping" in str(answer) for answer in await submit(node, creates(1))] == [True]
        assert node.engine.task is not None
        assert node.engine.task.done()
        assert node.engine.task.exception() is None
        await node.engine.stop()


async def test_who_looks_after_the_engine_says_why_it_is_absent() -> None:
    engine = CometEngine("tcp://127.0.0.1:0", "http://127.0.0.1:1", absent=lambda: "it is started again in 2 s")
    async with comet_node(connect=False) as node:
        await engine.start(node.lifecycle)
        assert engine.trouble == "the consensus engine is not connected: it is started again in 2 s"
        await engine.stop()


async def test_stopping_before_the_start_is_harmless() -> None:
    engine = CometEngine("tcp://127.0.0.1:0", "http://127.0.0.1:1")
    assert "not begun" in str(engine.trouble)
    await engine.stop()


async def test_a_transaction_that_the_engine_forgets_is_a_timeout() -> None:
    (item,) = creates(1)
    async with comet_node(commit_timeout=0.1) as node:
        comet = await node.ready()
        waits = asyncio.create_task(node.app.submit(item.canonical, Mode.COMMIT))
        await until(lambda: bool(comet.pool))
        comet.pool.clear()
        with pytest.raises(CommitTimeout):
            await waits


async def test_a_check_of_a_stranger_does_not_answer_for_ours() -> None:
    ours, other = creates(2)
    async with comet_node() as node:
        comet = await node.ready()
        comet.silent = True
        waits = asyncio.create_task(submit(node, [ours]))
        await until(lambda: ours.canonical in comet.cache)
        await comet.mempool.call(check_tx(other.canonical))
        await comet.mempool.call(check_tx(ours.canonical, recheck=True))
        assert not waits.done()
        await comet.add([ours.canonical])
        assert await waits == [None]


async def test_stopping_ends_also_where_the_engine_goes_at_the_same_moment() -> None:
    async with comet_node() as node:
        await node.ready()
        # What a lost connection does right before: the watch wakes up together with its cancellation.
        await until(lambda: not node.engine._look.is_set())
        node.engine._look.set()
        await asyncio.wait_for(node.engine.stop(), 20)
