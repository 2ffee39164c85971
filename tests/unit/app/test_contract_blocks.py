# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts in the life of a block (transactions 6): what a node's own limits decide, and what they never do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

import pytest

from planetmint.app import BlockLifecycle, CommittedFeed
from planetmint.app import lifecycle as module
from planetmint.app.contracts import ContractJudge
from planetmint.app.lifecycle import Waiter
from planetmint.chain import found_chain, founding_header
from planetmint.model.errors import (
    DuplicateTransaction,
    InvalidScript,
    InvalidSignature,
    InvalidTransaction,
    InvariantViolated,
)
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ChainMismatch, ContractOverrun, ContractsUnavailable, StoreError
from planetmint.ports.store import StateReads, Store
from planetmint.state.view import StateView
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import Built, identified
from tests.support.ledger import ALONE, PUBLIC, START, Running, running, standing
from tests.support.scripted_engine import (
    PARAMETERS,
    SCRIPTED,
    UNAVAILABLE,
    ScriptedEngine,
    code,
    decoded,
    guarded,
    scripted,
)

ADMISSION, PROPOSAL, DECIDED = Patience
ROOM = 1_000_000
PLAIN = SCRIPTED.create("alice", [(5, "alice")], data="gold")
TO_BOB = SCRIPTED.transfer([PLAIN.spend()], [(5, "bob")])


class Node(NamedTuple):
    parts: Running
    engine: ScriptedEngine

    @property
    def lifecycle(self) -> BlockLifecycle:
        return self.parts.lifecycle


@asynccontextmanager
async def node_with(store: Store | None = None) -> AsyncIterator[Node]:
    engine = ScriptedEngine()
    judge = ContractJudge(engine)
    async with running(store, make_blocks=False, parameters=PARAMETERS, contracts=judge) as parts:
        yield Node(parts, engine)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with node_with() as parts:
        yield parts


def raws(items: Sequence[Built]) -> list[bytes]:
    return [item.canonical for item in items]


def forged(built: Built) -> Built:
    """The same with a signature that does not verify."""
    other = scripted("agrees somewhere else")
    wire = {
        **built.wire,
        "inputs": [{**built.wire["inputs"][0], "fulfillment": other.wire["inputs"][0]["fulfillment"]}],
    }
    return replace(built, wire=identified(wire))


async def checked(node: Node, *items: Built) -> list[type[Exception] | None]:
    """The class of what a check says of each."""
    return [None if found is None else type(found) for found in await node.lifecycle.check_txs(raws(items))]


async def prepared(node: Node, *items: Built, room: int = ROOM) -> list[Built]:
    chosen = await node.lifecycle.prepare_proposal(raws(items), room)
    return [item for item in items if item.canonical in chosen]


async def processed(node: Node, *items: Built | bytes) -> bool:
    height = (await standing(node.parts)).height + 1
    bodies = [item if isinstance(item, bytes) else item.canonical for item in items]
    return await node.lifecycle.process_proposal(height, bodies)


async def decide(node: Node, *items: Built) -> list[InvalidTransaction | None]:
    height = (await standing(node.parts)).height + 1
    block = await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws(items))
    return list(block.verdicts)


def kinds(verdicts: Sequence[InvalidTransaction | None]) -> list[type[InvalidTransaction] | None]:
    return [None if verdict is None else type(verdict) for verdict in verdicts]


# One verdict for all


async def test_check_prepare_process_and_decide_share_one_run(node: Node) -> None:
    good, bad = scripted("agrees"), scripted("differs")
    assert await checked(node, good, bad) == [None, InvalidScript]
    assert await prepared(node, good, bad) == [good]
    assert await processed(node, good, bad)
    assert kinds(await decide(node, good, bad)) == [None, InvalidScript]
    await node.lifecycle.commit()
    assert sorted(node.engine.runs) == sorted([(code("agrees"), ADMISSION), (code("differs"), ADMISSION)])
    assert await node.parts.store.height_of(good.id) == 1


async def test_contracts_of_a_block_that_nobody_saw_before_are_run_for_it(node: Node) -> None:
    items = [PLAIN, scripted("agrees"), scripted("fails"), TO_BOB]
    assert kinds(await decide(node, *items)) == [None, None, InvalidScript, None]
    assert {patience for _, patience in node.engine.runs} == {DECIDED}


async def test_what_signatures_or_the_ledger_refuse_is_not_run(node: Node) -> None:
    known = scripted("agrees 1")
    await decide(node, known)
    await node.lifecycle.commit()
    node.engine.runs.clear()
    wrong = forged(scripted("agrees 2"))
    assert await checked(node, known, wrong) == [DuplicateTransaction, InvalidSignature]
    assert await prepared(node, wrong) == []
    assert await processed(node, wrong)
    assert kinds(await decide(node, wrong)) == [InvalidSignature]
    assert node.engine.runs == []


async def test_a_waiter_hears_the_verdict_of_a_contract(node: Node) -> None:
    bad = scripted("differs")
    waiter: Waiter = asyncio.get_running_loop().create_future()
    node.lifecycle.await_commit(decoded(bad), waiter)
    await decide(node, bad)
    await node.lifecycle.discard()
    with pytest.raises(InvalidScript):
        await waiter


# CheckTx


async def test_a_check_that_overruns_or_cannot_be_run_is_no_verdict(node: Node) -> None:
    long = scripted("long")
    assert await checked(node, PLAIN, long, scripted("agrees")) == [None, ContractOverrun, None]
    node.engine.failure = UNAVAILABLE
    assert await checked(node, scripted("agrees 2")) == [ContractsUnavailable]
    node.engine.failure = None
    assert await checked(node, scripted("agrees 2")) == [None]
    assert kinds(await decide(node, long)) == [None], "the block's verdict is another matter"


async def test_a_check_gives_a_stalled_contract_only_so_much_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planetmint.app.contracts._MOST_IN_PASSING", 0.05)
    node.engine.gates["stalled"]
    answers = await checked(node, scripted("agrees stalled"), PLAIN)
    assert answers == [ContractsUnavailable, None]
    # Recheck of what waits already costs no run.
    assert await checked(node, PLAIN) == [None]


# Proposals


async def test_prepare_leaves_out_what_is_not_judged(node: Node) -> None:
    items = [PLAIN, scripted("long"), scripted("agrees"), TO_BOB]
    assert await prepared(node, *items) == [PLAIN, items[2], TO_BOB]
    node.engine.failure = UNAVAILABLE
    assert await prepared(node, PLAIN, scripted("agrees 2")) == [PLAIN]


@pytest.mark.parametrize("room", [ROOM, 3_900], ids=["all fit", "some fit"])
async def test_prepare_leaves_contracts_beyond_the_bound_of_a_block_for_later(node: Node, room: int) -> None:
    # Bound: 4. The pair does not fit after three, the single one after it does.
    items = [scripted("agrees 1"), guarded(["agrees 2", "agrees 3"]), guarded(["agrees 4", "agrees 5"])]
    items += [scripted("agrees 6"), PLAIN, scripted("agrees 7")]
    sizes = sum(len(item.canonical) for item in items)
    assert sizes > 3_900
    chosen = await prepared(node, *items, room=room)
    assert chosen == [item for item in [items[0], items[1], items[3], PLAIN] if item in chosen]
    assert items[2] not in chosen
    assert items[5] not in chosen
    if room == ROOM:
        assert chosen == [items[0], items[1], items[3], PLAIN]
        assert await processed(node, *chosen)
        assert kinds(await decide(node, *chosen)) == [None] * 4
        await node.lifecycle.commit()
        assert await prepared(node, *items) == [items[2], items[5]], "what is in a block takes no room"


async def test_prepare_bounds_the_time_that_the_others_have_to_spend(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROPOSED", 0.6)
    items = [scripted(f"agrees {number}") for number in range(4)]
    assert await prepared(node, *items) == items[:2]
    await decide(node, *items[:2])
    await node.lifecycle.commit()
    monkeypatch.setattr(module, "_PROPOSED", 0.1)
    assert await prepared(node, *items) == items[2:3], "one always goes"


async def test_prepare_looks_at_no_more_contracts_than_those_of_some_blocks(node: Node) -> None:
    items = [scripted(f"fails no {number}") for number in range(15)] + [scripted(f"agrees {n}") for n in range(5)]
    assert await prepared(node, PLAIN, *items, TO_BOB) == [PLAIN, items[15], TO_BOB]
    assert len(node.engine.runs) == 4 * PARAMETERS.contracts.max_per_block
    await decide(node, PLAIN, items[15], TO_BOB)
    await node.lifecycle.commit()
    assert await prepared(node, *items[15:]) == items[16:]


async def test_process_rejects_a_block_with_more_contracts_than_the_bound(node: Node) -> None:
    items = [scripted(f"agrees {number}") for number in range(5)]
    assert not await processed(node, PLAIN, *items)
    assert node.engine.runs == [], "nothing of it was run"
    assert await processed(node, PLAIN, *items[:4])


@pytest.mark.parametrize("words", ["longer", "deadly"])
async def test_process_rejects_what_overruns_here(node: Node, words: str) -> None:
    assert not await processed(node, PLAIN, scripted(words))
    assert await processed(node, PLAIN, scripted("long")), "a proposal has more time than admission"


async def test_process_rejects_what_cannot_be_run_now_and_takes_it_later(node: Node) -> None:
    node.engine.failure = UNAVAILABLE
    assert not await processed(node, scripted("agrees"))
    assert await processed(node, PLAIN)
    node.engine.failure = None
    assert await processed(node, scripted("agrees"))


async def test_process_rejects_a_block_whose_contracts_take_too_long_together(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROCESSING", 0.05)
    node.engine.gates["stalled"]
    assert not await processed(node, scripted("agrees"), scripted("agrees stalled"))


async def test_contracts_that_only_the_proposer_judges_in_time_do_not_hold_up_the_chain(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROCESSING", 0.05)
    waiting = [PLAIN, scripted("agrees heavy"), *(scripted(f"agrees {number}") for number in range(3))]
    async with node_with() as slow:
        gate = slow.engine.gates["heavy"]
        offered = []
        for _ in range(5):
            offered.append(await prepared(node, *waiting))
            if await processed(slow, *offered[-1]):
                break
        assert offered[0] == waiting
        assert offered[-1] == [PLAIN]
        assert [len(items) for items in offered] == [5, 2, 2, 1]
        # It goes on with ordinary transactions, and by and by with contracts.
        for _ in range(4):
            assert kinds(await decide(node, *offered[-1])) == [None] * len(offered[-1])
            await node.lifecycle.commit()
            offered.append(await prepared(node, TO_BOB, *waiting[2:]))
        assert offered[-4:] == [[TO_BOB], [], [], waiting[2:3]]
        gate.set()


async def test_a_proposal_is_judged_a_little_further_each_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow validator needs more rounds than one for what it has not seen before, but no more and no more work.
    monkeypatch.setattr(module, "_PROCESSING", 0.05)
    items = [scripted(f"agrees {number}") for number in range(4)]
    gates = [node.engine.gates[f"agrees {number}"] for number in range(4)]
    for gate in gates[:2]:
        gate.set()
    assert not await processed(node, *items)
    for gate in gates[2:]:
        gate.set()
    monkeypatch.setattr(module, "_PROCESSING", 60.0)
    assert await processed(node, *items)
    assert [len(node.engine.began(f"agrees {number}")) for number in range(4)] == [1, 1, 2, 2]


async def test_a_node_whose_proposals_are_decided_proposes_as_many_contracts_as_ever(node: Node) -> None:
    for block in range(3):
        items = [scripted(f"agrees {block} {number}") for number in range(5)]
        assert await prepared(node, *items) == items[:4]
        await decide(node, *items[:4])
        await node.lifecycle.commit()
    # One that another block was decided for; one without contracts says nothing.
    items = [scripted(f"agrees again {number}") for number in range(5)]
    for expected in (items[:4], items[:1]):
        assert await prepared(node, *items) == expected
        await decide(node)
        await node.lifecycle.commit()
    before = node.lifecycle._care
    assert await prepared(node, PLAIN) == [PLAIN]
    await decide(node)
    assert node.lifecycle._care == before
    for _ in range(before):
        assert await prepared(node) == []
        await decide(node)
    assert await prepared(node, *items) == items[:4]


async def test_process_accepts_blocks_with_contracts_that_refuse_and_with_nonsense(node: Node) -> None:
    assert await processed(node, scripted("differs"), b'{"script": 1}', b'{"script":1}', b"\xff", TO_BOB)
    assert node.engine.began("differs") == [PROPOSAL]


async def test_process_keeps_what_it_decoded_for_the_block_and_no_longer(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    decodes = []
    real = module.decode_canonical

    def counting(raw: bytes, parameters: ChainParameters) -> object:
        decodes.append(raw)
        return real(raw, parameters)

    monkeypatch.setattr(module, "decode_canonical", counting)
    item = scripted("agrees")
    assert await processed(node, PLAIN, item)
    assert decodes == [item.canonical], "what cannot hold contracts is not looked at"
    await decide(node, PLAIN, item)
    assert decodes == [item.canonical, PLAIN.canonical]
    await node.lifecycle.commit()
    await decide(node, item)
    assert decodes == [item.canonical, PLAIN.canonical, item.canonical]


async def test_a_chain_without_contracts_looks_at_no_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(make_blocks=False) as parts:
        monkeypatch.setattr(module, "decode_canonical", None)
        assert await parts.lifecycle.process_proposal(1, [scripted("agrees").canonical])


# Decided blocks


async def test_a_decided_block_is_judged_however_long_its_contracts_take(node: Node) -> None:
    items = [scripted("long"), scripted("longer")]
    assert not await processed(node, *items)
    assert kinds(await decide(node, *items)) == [None, None]


async def test_the_excess_of_a_decided_block_is_refused_and_not_run(node: Node) -> None:
    items = [scripted(f"agrees {number}") for number in range(3)]
    pair, single = guarded(["agrees 5", "agrees 6"]), scripted("agrees 7")
    waiter: Waiter = asyncio.get_running_loop().create_future()
    node.lifecycle.await_commit(decoded(pair), waiter)
    verdicts = await decide(node, *items, pair, PLAIN, single)
    assert kinds(verdicts) == [None, None, None, InvalidScript, None, None]
    assert verdicts[3] is not None
    assert verdicts[3].rule == "contract.block"
    assert not node.engine.began("agrees 5")
    await node.lifecycle.commit()
    with pytest.raises(InvalidScript, match="the block holds 3 contracts"):
        await waiter
    assert kinds(await decide(node, pair)) == [None]


async def test_a_decided_block_waits_for_the_engine_and_nothing_else(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DECIDED", 0.01)
    node.engine.gates["stalled"]
    items = [PLAIN, scripted("agrees stalled")]
    for _ in range(3):
        with pytest.raises(ContractsUnavailable, match="block 1 waits for the contracts of 1 transactions"):
            await decide(node, *items)
    assert node.engine.began("stalled") == [DECIDED], "it went on meanwhile"
    node.engine.gates["stalled"].set()
    monkeypatch.setattr(module, "_DECIDED", 60.0)
    assert kinds(await decide(node, *items)) == [None, None]
    node.engine.failure = UNAVAILABLE
    with pytest.raises(ContractsUnavailable, match="no worker could be started"):
        await decide(node, scripted("agrees"))
    node.engine.failure = None
    assert kinds(await decide(node, scripted("agrees"))) == [None]


async def test_a_decided_contract_that_ends_the_engine_stops_the_node_with_a_message(node: Node) -> None:
    with pytest.raises(InvariantViolated, match=r"block 1 is decided, .* more memory; .* snapshot"):
        await decide(node, PLAIN, scripted("deadly"))
    assert (await standing(node.parts)).height == 0


async def test_after_a_restart_a_block_is_judged_anew_with_the_same_outcome() -> None:
    items = [scripted("agrees"), scripted("differs"), scripted("long"), PLAIN]
    store = MemoryStore()
    hashes = []
    for patience_before in (True, False):
        async with node_with(store) as node:
            if patience_before:
                await checked(node, *items)
            verdicts = await decide(node, *items)
            hashes.append((node.lifecycle.header().app_hash, kinds(verdicts)))
            # Ended between the decision and the commit.
        await store.open()
    assert hashes[0] == hashes[1]
    assert hashes[0][1] == [None, InvalidScript, None, None]


async def test_no_number_of_others_makes_a_block_forget_its_verdicts_before_it_is_executed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = scripted("agrees")
    judge = node.parts.verifier.contracts
    monkeypatch.setattr(judge, "_capacities", (2, 2))
    real = node.parts.store.read_state

    async def slow(reads: StateReads) -> StateView:
        begun = len(node.engine.runs)
        others = [decoded(scripted(f"agrees too {begun + number}")) for number in range(5)]
        assert await judge.judge(others, ADMISSION) == {}
        return await real(reads)

    monkeypatch.setattr(node.parts.store, "read_state", slow)
    assert await checked(node, item) == [None]
    assert await prepared(node, PLAIN, item) == [PLAIN, item]
    assert await prepared(node, PLAIN, item, room=len(item.canonical)) in ([PLAIN], [item])
    assert kinds(await decide(node, item, PLAIN, TO_BOB)) == [None] * 3


async def test_a_store_that_fails_between_leaves_the_verdicts_known(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = scripted("agrees")
    real = node.parts.store.read_state

    async def failing(*_: object) -> object:
        raise StoreError("gone")

    monkeypatch.setattr(node.parts.store, "read_state", failing)
    with pytest.raises(StoreError):
        await decide(node, item)
    monkeypatch.setattr(node.parts.store, "read_state", real)
    assert kinds(await decide(node, item)) == [None]
    assert len(node.engine.runs) == 1


# The chain's engine


async def test_a_chain_whose_engine_is_not_here_is_neither_founded_nor_taken_up(node: Node) -> None:
    parameters = replace(PARAMETERS, contracts=ContractParameters("bound", "on", "scripted 2"))
    founding = found_chain("tests", parameters, ALONE, START)
    for judge in (None, ContractJudge(ScriptedEngine())):
        store = MemoryStore()
        await store.open()
        node.parts.verifier.contracts = judge or ContractJudge(None)
        lifecycle = BlockLifecycle(store, CommittedFeed(store), node.parts.verifier)
        with pytest.raises(ChainMismatch, match="`scripted 2`"):
            await lifecycle.init_chain(founding, founding_header(founding, PUBLIC))
        assert await store.founding() is None
        await store.found(founding, founding_header(founding, PUBLIC))
        with pytest.raises(ChainMismatch, match="`scripted 2`"):
            await lifecycle.load()
