# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a block: what may be repeated, what is told to whom, and a store that is not sure itself."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from typing import NoReturn

import pytest

from planetmint.app import Mode
from planetmint.app import lifecycle as module
from planetmint.app.lifecycle import BlockLifecycle, Waiter, reads_of
from planetmint.chain import UnknownRules, found_chain, founding_header, header_hash, sign_header
from planetmint.model.errors import (
    DoubleSpend,
    DuplicateTransaction,
    InputDoesNotExist,
    InvalidTransaction,
    InvariantViolated,
    SchemaValidationError,
)
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import OutputRef, Transaction
from planetmint.model.validator import Validator
from planetmint.ports.errors import ChainMismatch, CommitTimeout, StoreError
from planetmint.ports.store import StateReads
from planetmint.rules import decode_canonical, decode_transaction
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import Builder, Built, Dialect
from tests.support.ledger import PUBLIC, SECRET, START, FailingStore, Running, running, standing
from tests.support.stores import LateStore, UnsureStore

BUILD = Builder(Dialect.PLANETMINT_2)
CREATE = BUILD.create("alice", [(5, "alice")], data="gold")
TO_BOB = BUILD.transfer([CREATE.spend()], [(5, "bob")])
TO_CAROL = BUILD.transfer([CREATE.spend()], [(5, "carol")])


@pytest.fixture
async def node() -> AsyncIterator[Running]:
    async with running(make_blocks=False) as parts:
        yield parts


def decoded(built: Built) -> Transaction:
    return decode_transaction(built.canonical, ChainParameters())


def waiting(node: Running, built: Built) -> Waiter:
    waiter: Waiter = asyncio.get_running_loop().create_future()
    node.lifecycle.await_commit(decoded(built), waiter)
    return waiter


async def finalize(node: Running, *built: Built | bytes) -> list[type[InvalidTransaction] | None]:
    """Decide the next block; the class of each verdict."""
    raws = [item if isinstance(item, bytes) else item.canonical for item in built]
    height = (await standing(node)).height + 1
    block = await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
    return [None if verdict is None else type(verdict) for verdict in block.verdicts]


async def block_of(node: Running, *built: Built | bytes) -> None:
    """Decide and store the next block."""
    await finalize(node, *built)
    await node.lifecycle.commit()


# Info and founding


async def test_a_new_chain_is_at_height_0_with_the_founding_hash(node: Running) -> None:
    founding = await node.store.founding()
    assert founding is not None
    info = await standing(node)
    assert (info.height, info.app_hash) == (0, founding.app_hash)


async def test_founding_may_be_repeated_with_the_same_document(node: Running) -> None:
    founding = found_chain("tests", ChainParameters(), (Validator(PUBLIC, 10),), START)
    header = sign_header(founding_header(founding, PUBLIC), SECRET)
    assert await node.lifecycle.init_chain(founding, header) == founding.app_hash
    assert (await standing(node)).height == 0


async def test_founding_with_another_document_is_a_mismatch(node: Running) -> None:
    other = found_chain("other", ChainParameters(), (Validator(PUBLIC, 10),), START)
    with pytest.raises(
        ChainMismatch, match=r"chain 'tests', which was founded with another genesis than .* 'other'"
    ):
        await node.lifecycle.init_chain(other, sign_header(founding_header(other, PUBLIC), SECRET))


async def test_a_chain_of_unknown_rules_is_not_taken_up(node: Running) -> None:
    store = MemoryStore()
    await store.open()
    founding = found_chain("tests", ChainParameters(), (Validator(PUBLIC, 10),), START)
    later = replace(founding, parameters=ChainParameters(rules_version=2))
    await store.found(later, founding_header(later, PUBLIC))
    with pytest.raises(UnknownRules, match="version 2"):
        await BlockLifecycle(store, node.feed, node.verifier).load()


async def test_nothing_can_be_done_before_the_founding(node: Running) -> None:
    store = MemoryStore()
    await store.open()
    lifecycle = BlockLifecycle(store, node.feed, node.verifier)
    assert await lifecycle.load() is False
    assert lifecycle.head is None
    assert await lifecycle.info() is None
    with pytest.raises(InvariantViolated, match="no chain"):
        await lifecycle.finalize_block(1, START, PUBLIC, [])
    with pytest.raises(InvariantViolated, match="no chain"):
        await lifecycle.begin_chain("tests", ())


# Finalize, commit, discard


async def test_finalize_stores_nothing_and_may_be_repeated_with_the_same_outcome(node: Running) -> None:
    raws = [CREATE.canonical, TO_BOB.canonical, TO_CAROL.canonical, b"nonsense"]
    first = await node.lifecycle.finalize_block(1, START, PUBLIC, raws)
    again = await node.lifecycle.finalize_block(1, START, PUBLIC, raws)
    assert first.app_hash == again.app_hash
    assert [str(verdict) for verdict in first.verdicts] == [str(verdict) for verdict in again.verdicts]
    assert (await standing(node)).height == 0
    assert await node.store.transaction(CREATE.id) is None
    assert node.blocks == []


async def test_the_block_that_was_finalized_last_is_the_one_that_is_committed(node: Running) -> None:
    await finalize(node, CREATE)
    await finalize(node, BUILD.create("bob"))
    await node.lifecycle.commit()
    assert await node.store.transaction(CREATE.id) is None
    assert await node.store.transaction(BUILD.create("bob").id) is not None


async def test_a_block_gives_each_transaction_its_verdict_in_order(node: Running) -> None:
    early = BUILD.transfer([TO_BOB.spend()], [(5, "carol")])
    verdicts = await finalize(node, CREATE, CREATE, early, TO_BOB, TO_CAROL, TO_BOB)
    assert verdicts == [None, DuplicateTransaction, InputDoesNotExist, None, DoubleSpend, DoubleSpend]


@pytest.mark.parametrize("height", [0, 2, -1])
async def test_a_block_that_does_not_follow_the_head_is_a_bug(node: Running, height: int) -> None:
    with pytest.raises(InvariantViolated, match="on top of block 0"):
        await node.lifecycle.finalize_block(height, START, PUBLIC, [])


async def test_committing_or_discarding_what_was_not_finalized_is_a_bug(node: Running) -> None:
    for call in (node.lifecycle.commit, node.lifecycle.discard):
        with pytest.raises(InvariantViolated, match="no block was finalized"):
            await call()
    with pytest.raises(InvariantViolated, match="no block was finalized"):
        node.lifecycle.header()


async def test_a_block_cannot_be_committed_twice(node: Running) -> None:
    await block_of(node, CREATE)
    with pytest.raises(InvariantViolated):
        await node.lifecycle.commit()
    assert (await standing(node)).height == 1


async def test_the_header_is_chained_and_commits_to_the_block(node: Running) -> None:
    before = node.lifecycle.head
    assert before is not None
    await node.lifecycle.finalize_block(1, START + 7, PUBLIC, [CREATE.canonical])
    header = node.lifecycle.header()
    assert (header.height, header.time, header.proposer) == (1, START + 7, PUBLIC.hex())
    assert header.previous_hash == header_hash(before)
    assert header.root == sha256(b"\x00" + bytes.fromhex(CREATE.id)).hexdigest()
    await node.lifecycle.commit(sign_header(header, SECRET))
    assert await node.store.head() == sign_header(header, SECRET) == node.lifecycle.head


async def test_an_empty_block_may_be_committed_and_keeps_the_app_hash(node: Running) -> None:
    await block_of(node, CREATE)
    before = await standing(node)
    await block_of(node)
    after = await standing(node)
    assert (after.height, after.app_hash) == (2, before.app_hash)
    assert [block.height for block in node.blocks] == [1, 2]
    assert node.blocks[1].events == ()


async def test_discard_leaves_the_chain_alone_and_tells_the_verdicts(node: Running) -> None:
    await block_of(node, CREATE)
    waiter = waiting(node, CREATE)
    assert await finalize(node, CREATE) == [DuplicateTransaction]
    await node.lifecycle.discard()
    assert (await standing(node)).height == 1
    with pytest.raises(DuplicateTransaction):
        await waiter


async def test_discarding_a_block_that_accepted_something_is_a_bug(node: Running) -> None:
    await finalize(node, CREATE)
    with pytest.raises(InvariantViolated, match="to be committed"):
        await node.lifecycle.discard()


# Who waits


async def test_commit_tells_the_height_to_accepted_ones_and_the_verdict_to_refused_ones(node: Running) -> None:
    good, also, bad = waiting(node, CREATE), waiting(node, CREATE), waiting(node, TO_CAROL)
    elsewhere = waiting(node, BUILD.create("dora"))
    await block_of(node, CREATE, TO_BOB, TO_CAROL)
    assert (await good, await also) == (1, 1)
    with pytest.raises(DoubleSpend):
        await bad
    assert not elsewhere.done()


async def test_the_first_fate_in_a_block_is_told_when_the_same_bytes_come_twice(node: Running) -> None:
    waiter = waiting(node, CREATE)
    await block_of(node, CREATE, CREATE)
    assert await waiter == 1


async def test_what_is_told_is_durable_and_published_before(node: Running) -> None:
    waiter = waiting(node, CREATE)
    seen: list[tuple[int, bool]] = []
    node.feed.attach(lambda events: seen.append((events.height, waiter.done())))
    await block_of(node, CREATE)
    assert await waiter == 1
    assert await node.store.height_of(CREATE.id) == 1
    assert seen == [(1, False)]


async def test_a_waiter_that_gave_up_is_passed_over(node: Running) -> None:
    gone, stays = waiting(node, CREATE), waiting(node, CREATE)
    gone.cancel()
    await block_of(node, CREATE)
    assert await stays == 1


async def test_forgetting_a_waiter_leaves_nothing_behind(node: Running) -> None:
    first, second = waiting(node, CREATE), waiting(node, CREATE)
    node.lifecycle.forget(decoded(CREATE), first)
    node.lifecycle.forget(decoded(CREATE), first)
    await block_of(node, CREATE)
    assert await second == 1
    assert not first.done() or first.cancelled()
    assert node.lifecycle._waiters == {}


async def test_a_verdict_that_nobody_asks_for_any_more_is_no_complaint(node: Running) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await block_of(node, CREATE, TO_BOB)
    waiter = waiting(node, TO_CAROL)
    await finalize(node, TO_CAROL)
    await node.lifecycle.discard()
    node.lifecycle.forget(decoded(TO_CAROL), waiter)
    del waiter
    await asyncio.sleep(0)
    assert complaints == []


async def test_who_waits_for_a_transaction_that_the_engine_drops_hears_why(node: Running) -> None:
    first, second, other = waiting(node, CREATE), waiting(node, CREATE), waiting(node, TO_BOB)
    node.lifecycle.remember(decoded(CREATE))
    node.lifecycle.refused(CREATE.canonical, DoubleSpend("spent", rule="spent"))
    node.lifecycle.refused(b"nonsense", DoubleSpend("spent", rule="spent"))
    for waiter in (first, second):
        with pytest.raises(DoubleSpend):
            await waiter
    assert not other.done()
    assert node.lifecycle._decoded == {}


# What is remembered


async def test_remembered_transactions_are_bounded_in_number(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DECODED_CAPACITY", 3)
    for number in range(10):
        node.lifecycle.remember(decoded(BUILD.create("alice", data=f"item {number}")))
    assert len(node.lifecycle._decoded) == 3


async def test_remembered_transactions_are_bounded_in_bytes(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DECODED_BYTES", 100_000)
    for number in range(10):
        node.lifecycle.remember(decoded(BUILD.create("alice", data=f"{number}" * 30_000)))
        node.lifecycle.remember(decoded(BUILD.create("alice", data=f"{number}" * 30_000)))
    kept = list(node.lifecycle._decoded)
    assert sum(map(len, kept)) <= 100_000
    assert kept[-1] == BUILD.create("alice", data="9" * 30_000).canonical


async def test_what_a_block_brought_is_remembered_no_longer(node: Running) -> None:
    node.lifecycle.remember(decoded(CREATE))
    await block_of(node, CREATE)
    assert node.lifecycle._decoded == {}
    assert node.lifecycle._decoded_bytes == 0


# Mempool checks and proposals


async def checked(node: Running, *built: Built) -> list[type]:
    """The classes of the verdicts on transactions, each by itself."""
    return [type(verdict) for verdict in await node.lifecycle.check_txs([item.canonical for item in built])]


async def test_check_txs_looks_at_committed_state_only(node: Running) -> None:
    assert await checked(node, CREATE, TO_BOB, CREATE) == [type(None), InputDoesNotExist, type(None)]
    await block_of(node, CREATE)
    assert await checked(node, CREATE, TO_BOB, TO_CAROL) == [DuplicateTransaction, type(None), type(None)]
    assert await checked(node) == []


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b"\xff", b"{}", b"\x00", b'{"version":"3.0"}', b"[" * 10_000]
)
async def test_check_txs_and_blocks_have_a_verdict_on_any_bytes(node: Running, raw: bytes) -> None:
    (verdict,) = await node.lifecycle.check_txs([raw])
    assert isinstance(verdict, InvalidTransaction)
    assert await node.lifecycle.prepare_proposal([raw], 10**6) == []
    assert None not in await finalize(node, raw)


async def test_a_proposal_keeps_the_order_and_leaves_out_what_is_invalid_on_top(node: Running) -> None:
    raws = [item.canonical for item in (TO_BOB, CREATE, TO_CAROL, TO_BOB, CREATE)]
    assert await node.lifecycle.prepare_proposal(raws, 10**6) == [CREATE.canonical, TO_CAROL.canonical]


async def test_a_proposal_ends_before_the_first_that_does_not_fit(node: Running) -> None:
    others = [BUILD.create(name) for name in ("bob", "carol", "dora")]
    raws = [item.canonical for item in others]
    room = len(raws[0]) + len(raws[1])
    assert await node.lifecycle.prepare_proposal(raws, room) == raws[:2]
    assert await node.lifecycle.prepare_proposal(raws, room - 1) == raws[:1]
    assert await node.lifecycle.prepare_proposal(raws, 0) == []


async def test_something_invalid_that_does_not_fit_ends_no_proposal(node: Running) -> None:
    raws = [b"x" * 1_000_000, CREATE.canonical]
    assert await node.lifecycle.prepare_proposal(raws, 10_000) == [CREATE.canonical]


async def test_a_proposal_is_processed_by_its_height_alone_and_changes_nothing(node: Running) -> None:
    for raws in ([], [CREATE.canonical], [b"nonsense"], [CREATE.canonical] * 2):
        assert await node.lifecycle.process_proposal(1, raws)
        assert not await node.lifecycle.process_proposal(0, raws)
        assert not await node.lifecycle.process_proposal(2, raws)
    assert await finalize(node, CREATE) == [None]


def test_what_a_transaction_may_ask_is_its_id_and_the_outputs_that_it_spends() -> None:
    spends = [CREATE.spend(), BUILD.create("alice", [(5, "alice")], data="silver").spend()]
    both = BUILD.compose(spends, [(1, "alice")], data="alloy")
    reads = reads_of([decoded(CREATE), decoded(both)])
    assert set(reads.transaction_ids) == {CREATE.id, both.id}
    assert set(reads.outputs) == {OutputRef(spend.transaction_id, 0) for spend in spends}


# A store in trouble


async def test_a_commit_that_failed_may_be_repeated(node: Running) -> None:
    store = FailingStore()
    async with running(store, make_blocks=False) as failing:
        waiter = waiting(failing, CREATE)
        await finalize(failing, CREATE)
        store.failure = StoreError("no")
        for _ in range(3):
            with pytest.raises(StoreError):
                await failing.lifecycle.commit()
        assert (await standing(failing)).height == 0
        assert not waiter.done()
        assert failing.blocks == []
        store.failure = None
        await failing.lifecycle.commit()
        assert await waiter == 1
        assert [block.height for block in failing.blocks] == [1]


async def test_a_failed_block_may_be_finalized_anew_with_another_time() -> None:
    store = FailingStore()
    async with running(store, make_blocks=False) as node:
        await finalize(node, CREATE)
        store.failure = StoreError("no")
        with pytest.raises(StoreError):
            await node.lifecycle.commit()
        store.failure = None
        await node.lifecycle.finalize_block(1, START + 99, PUBLIC, [CREATE.canonical])
        await node.lifecycle.commit()
        head = await node.store.head()
        assert head is not None
        assert (head.height, head.time) == (1, START + 99)


async def test_a_block_that_is_stored_although_an_error_came_is_committed_once() -> None:
    store = UnsureStore()
    async with running(store, make_blocks=False) as node:
        waiter = waiting(node, CREATE)
        store.lies = 1
        await block_of(node, CREATE)
        assert await waiter == 1
        assert store.saves == 1
        assert (await standing(node)).height == 1
        await block_of(node, TO_BOB)
        assert [block.height for block in node.blocks] == [1, 2]


async def test_doubt_ends_when_the_store_can_be_read_again() -> None:
    store = UnsureStore()
    async with running(store, make_blocks=False) as node:
        waiter = waiting(node, CREATE)
        await finalize(node, CREATE)
        store.lies, store.unreadable = 1, 1
        with pytest.raises(StoreError):
            await node.lifecycle.commit()
        assert not waiter.done()
        with pytest.raises(StoreError, match="stored after all"):
            await node.lifecycle.finalize_block(1, START + 9, PUBLIC, [CREATE.canonical])
        assert await waiter == 1
        assert (await standing(node)).height == 1
        assert node.lifecycle.head == await node.store.head()
        assert [block.height for block in node.blocks] == [1]


async def test_a_commit_repeated_after_the_block_was_stored_ends_the_doubt() -> None:
    store = UnsureStore()
    async with running(store, make_blocks=False) as node:
        await finalize(node, CREATE)
        store.lies, store.unreadable = 1, 1
        with pytest.raises(StoreError):
            await node.lifecycle.commit()
        await node.lifecycle.commit()
        assert [block.height for block in node.blocks] == [1]
        assert node.lifecycle.head == await node.store.head()


async def test_a_block_in_doubt_is_settled_when_asked_and_published_once() -> None:
    store = UnsureStore()
    async with running(store, make_blocks=False) as node:
        waiter = waiting(node, CREATE)
        assert not await node.lifecycle.settle()
        await finalize(node, CREATE)
        store.lies, store.unreadable = 1, 2
        with pytest.raises(StoreError):
            await node.lifecycle.commit()
        with pytest.raises(StoreError):
            await node.lifecycle.settle()
        assert (await standing(node)).height == 0
        assert await node.lifecycle.settle()
        assert (await standing(node)).height == 1
        assert await waiter == 1
        assert not await node.lifecycle.settle()
        assert [block.height for block in node.blocks] == [1]


async def test_a_block_in_doubt_that_is_not_stored_stays_in_doubt() -> None:
    store = LateStore()
    async with running(store, make_blocks=False) as node:
        await finalize(node, CREATE)
        store.late = True
        with pytest.raises(StoreError):
            await node.lifecycle.commit()
        assert not await node.lifecycle.settle()
        assert (await standing(node)).height == 0
        await store.land_now()
        assert await node.lifecycle.settle()
        assert (await standing(node)).height == 1


async def test_a_store_that_fails_is_the_answer_for_those_alone_that_need_it(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = StoreError("away")

    async def away(reads: StateReads) -> NoReturn:
        raise failure

    assert await node.lifecycle.check_txs([CREATE.canonical]) == [None]
    monkeypatch.setattr(node.store, "read_state", away)
    first, junk, other = await node.lifecycle.check_txs([CREATE.canonical, b"junk", TO_BOB.canonical])
    assert first is None
    assert isinstance(junk, InvalidTransaction)
    assert other is failure


async def test_a_block_that_lands_while_it_is_tried_again_is_committed_once() -> None:
    store = LateStore()
    async with running(store, make_blocks=False) as node:
        waiter = waiting(node, CREATE)
        await finalize(node, CREATE)
        store.late = True
        with pytest.raises(StoreError):
            await node.lifecycle.commit()
        await node.lifecycle.finalize_block(1, START + 99, PUBLIC, [CREATE.canonical])
        await node.lifecycle.commit()
        head = await node.store.head()
        assert head is not None
        assert (head.height, head.time) == (1, START + 1)
        assert node.lifecycle.head == head
        assert await waiter == 1


async def test_a_foreign_block_in_the_store_is_a_bug() -> None:
    store = UnsureStore()
    async with running(store, make_blocks=False) as node:
        await finalize(node, BUILD.create("mallory"))
        foreign = node.lifecycle._finalized
        await finalize(node, CREATE)
        mine, node.lifecycle._finalized = node.lifecycle._finalized, foreign
        head = node.lifecycle.head
        await node.lifecycle.commit()
        node.lifecycle._finalized, node.lifecycle._head = mine, head
        with pytest.raises(InvariantViolated, match="another block"):
            await node.lifecycle.commit()


async def test_a_restarted_node_goes_on_where_the_store_stands() -> None:
    store = MemoryStore()
    async with running(store) as node:
        await node.app.submit(CREATE.canonical, Mode.COMMIT)
    async with running(store) as node:
        assert (await standing(node)).height == 1
        assert node.feed.head == 1
        await node.app.submit(TO_BOB.canonical, Mode.COMMIT)
        assert [block.height for block in node.blocks] == [2]


async def test_large_transactions_that_a_block_brings_anew_are_read_beside_the_event_loop(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def decode(raw: bytes, parameters: ChainParameters) -> Transaction:
        threads.append(threading.current_thread().name)
        return decode_canonical(raw, parameters)

    monkeypatch.setattr(module, "decode_canonical", decode)
    large = BUILD.create("alice", data="x" * module.LARGE)
    assert await finalize(node, CREATE, large, b"x" * module.LARGE) == [None, None, SchemaValidationError]
    main = threading.current_thread().name
    assert [name == main for name in threads] == [True, False, False]


async def test_giving_up_tells_everybody_who_waits_once(node: Running) -> None:
    first, second, gone = waiting(node, CREATE), waiting(node, TO_BOB), waiting(node, TO_BOB)
    gone.cancel()
    node.lifecycle.give_up("the node stops")
    for waiter in (first, second):
        with pytest.raises(CommitTimeout, match="the node stops; it may still be committed"):
            await waiter
    node.lifecycle.give_up("again")
    await block_of(node, CREATE)
