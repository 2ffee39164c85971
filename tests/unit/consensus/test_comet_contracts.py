# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts under CometBFT: what a machine's own limits decide is never told as a verdict (transactions 6)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from planetmint.app import Mode
from planetmint.app import lifecycle as lifecycle_module
from planetmint.app.contracts import ContractJudge
from planetmint.model.errors import InvariantViolated
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from tests.support.abci import (
    COMMIT,
    CometNode,
    FakeComet,
    comet_node,
    finalize,
    process,
    until,
)
from tests.support.scripted_engine import PARAMETERS, SCRIPTED, UNAVAILABLE, ScriptedEngine, decoded, scripted

PLAIN = [SCRIPTED.create(f"owner-{number}") for number in range(3)]


class Node(NamedTuple):
    parts: CometNode
    engine: ScriptedEngine
    comet: FakeComet


@asynccontextmanager
async def node_with() -> AsyncIterator[Node]:
    engine = ScriptedEngine()
    async with comet_node(parameters=PARAMETERS, contracts=ContractJudge(engine)) as parts:
        yield Node(parts, engine, await parts.ready())


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with node_with() as parts:
        yield parts


async def test_check_tells_a_refusal_from_what_could_not_be_found_out(node: Node) -> None:
    items = [PLAIN[0], scripted("agrees"), scripted("differs"), scripted("long")]
    verdicts = await node.comet.check([item.canonical for item in items])
    assert [verdict.code for verdict in verdicts] == [0, 0, 1, 2]
    assert verdicts[2].codespace == "InvalidScript"
    assert "grants" in verdicts[3].log
    node.engine.failure = UNAVAILABLE
    (verdict,) = await node.comet.check([scripted("agrees 2").canonical])
    assert (verdict.code, verdict.log) == (2, "no worker could be started")


async def test_a_recheck_that_finds_nothing_out_drops_nothing(node: Node) -> None:
    node.engine.failure = UNAVAILABLE
    items = [scripted("agrees").canonical, PLAIN[0].canonical]
    assert [verdict.code for verdict in await node.comet.check(items, recheck=True)] == [0, 0]


async def test_calls_that_come_together_share_the_time_that_contracts_may_take(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planetmint.app.contracts._MOST_IN_PASSING", 0.05)
    monkeypatch.setattr("planetmint.app.contracts._SHARE_IN_PASSING", 0.0)
    node.engine.gates["stalled"]
    hostile = [scripted(f"agrees stalled {number}").canonical for number in range(20)]
    raws = [PLAIN[0].canonical, *hostile, PLAIN[1].canonical]
    verdicts = await asyncio.wait_for(node.comet.check(raws), 20)
    assert [verdict.code for verdict in verdicts] == [0, *[2] * 20, 0]
    # What is used up is used up: not even one more of them is begun.
    begun = len(node.engine.runs)
    assert [verdict.code for verdict in await node.comet.check(hostile[:2])] == [2, 2]
    assert len(node.engine.runs) == begun


async def test_a_submission_is_checked_by_the_run_that_it_had(node: Node) -> None:
    item = scripted("agrees")
    await node.parts.app.submit(item.canonical, Mode.SYNC)
    await until(lambda: node.comet.pool == [item.canonical])
    await node.comet.make_block()
    assert await node.parts.store.height_of(item.id) == 1
    assert len(node.engine.runs) == 1


async def test_a_sender_hears_why_the_engines_check_found_nothing_out(node: Node) -> None:
    # Handed over before a block that changes the head: the check cannot vouch for it and asks again.
    item = decoded(scripted("long"))
    (answer,) = await node.parts.engine.submit([item])
    assert answer is None, "what this node vouches for is not asked about"
    node.comet.silent = True
    waits = asyncio.ensure_future(node.parts.engine.submit([decoded(scripted("long 2"))]))
    await until(lambda: scripted("long 2").canonical in node.comet.cache)
    node.comet.pool = [PLAIN[0].canonical]
    await node.comet.make_block()
    await node.comet.add([scripted("long 2").canonical])
    (told,) = await waits
    assert isinstance(told, ContractOverrun)


async def test_a_proposal_is_rejected_for_what_this_machine_cannot_run_and_no_other_reason(node: Node) -> None:
    for item, status in ((scripted("longer"), 2), (scripted("long"), 1), (scripted("differs"), 1)):
        answer = await node.comet.consensus.call(process(1, [PLAIN[0].canonical, item.canonical]))
        assert answer.process_proposal.status == status


async def test_a_decided_block_is_answered_when_its_contracts_are_judged_and_trouble_told_meanwhile(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle_module, "_DECIDED", 0.01)
    node.engine.gates["stalled"]
    raws = [PLAIN[0].canonical, scripted("agrees stalled").canonical]
    answer = asyncio.ensure_future(node.comet.consensus.call(finalize(1, raws)))
    await until(lambda: node.parts.engine.trouble is not None)
    assert "block 1 waits for the contracts of 1 transactions" in str(node.parts.engine.trouble)
    with pytest.raises(Exception, match="waits for the contracts"):
        await node.parts.app.submit(PLAIN[1].canonical, Mode.ASYNC)
    assert not answer.done()
    node.engine.gates["stalled"].set()
    block = (await asyncio.wait_for(answer, 20)).finalize_block
    assert [result.code for result in block.tx_results] == [0, 0]
    assert node.engine.began("stalled") == [Patience.DECIDED]
    await node.comet.consensus.call(COMMIT)
    assert node.parts.engine.trouble is None


async def test_a_node_can_be_stopped_while_a_decided_contract_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle_module, "_DECIDED", 0.01)
    async with node_with() as node:
        node.engine.gates["stalled"]
        answer = asyncio.ensure_future(
            node.comet.consensus.call(finalize(1, [scripted("agrees stalled").canonical]))
        )
        await until(lambda: node.parts.engine.trouble is not None)
        await asyncio.wait_for(node.parts.engine.stop(), 20)
        answer.cancel()
    await until(lambda: node.engine.running == 0)


async def test_an_engine_that_comes_back_meets_the_run_that_it_left(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle_module, "_DECIDED", 0.01)
    node.engine.gates["stalled"]
    raws = [scripted("agrees stalled").canonical]
    first = asyncio.ensure_future(node.comet.consensus.call(finalize(1, raws)))
    await until(lambda: node.parts.engine.trouble is not None)
    await node.comet.close()
    await asyncio.wait([first])
    comet = await FakeComet.connect(node.parts.engine.address, genesis=node.parts.genesis)
    second = asyncio.ensure_future(comet.consensus.call(finalize(1, raws)))
    node.engine.gates["stalled"].set()
    block = (await asyncio.wait_for(second, 20)).finalize_block
    assert [result.code for result in block.tx_results] == [0]
    assert node.engine.began("stalled") == [Patience.DECIDED]
    await comet.close()


async def test_a_decided_contract_that_ends_the_engine_ends_the_node_with_words_for_its_operator(
    node: Node,
) -> None:
    with pytest.raises(EOFError):
        await node.comet.consensus.call(finalize(1, [scripted("deadly").canonical]))
    assert node.parts.engine.task is not None
    with pytest.raises(InvariantViolated, match=r"cannot be run to its end on this machine .* more memory"):
        await node.parts.engine.task


async def test_unavailable_contracts_and_their_overruns_are_told_apart_to_senders(node: Node) -> None:
    with pytest.raises(ContractOverrun):
        await node.parts.app.submit(scripted("long").canonical, Mode.SYNC)
    node.engine.failure = UNAVAILABLE
    with pytest.raises(ContractsUnavailable):
        await node.parts.app.submit(scripted("agrees").canonical, Mode.SYNC)
