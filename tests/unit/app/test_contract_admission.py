# SPDX-License-Identifier: AGPL-3.0-or-later
"""Transactions with contracts on their way in: run before they join a batch; no other one waits (D5, D15)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from planetmint.app import Mode, intake
from planetmint.app.contracts import ContractJudge
from planetmint.consensus.solo import SoloEngine
from planetmint.model.errors import DoubleSpend, DuplicateTransaction, InputDoesNotExist, InvalidScript
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from planetmint.testing.build import Built
from tests.support.ledger import SECRET, Running, StepClock, running
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


class Node(NamedTuple):
    parts: Running
    engine: ScriptedEngine


@asynccontextmanager
async def node_with(*, make_blocks: bool = True, most_waiting: int = 64) -> AsyncIterator[Node]:
    engine = ScriptedEngine()
    judge = ContractJudge(engine, most_waiting=most_waiting)
    solo = SoloEngine(SECRET, StepClock())
    async with running(parameters=PARAMETERS, contracts=judge, engine=solo, make_blocks=make_blocks) as parts:
        yield Node(parts, engine)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with node_with() as parts:
        yield parts


async def until(condition: Callable[[], bool]) -> None:
    """Wait, bounded, until `condition()` holds."""
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("the condition did not come to hold")


async def bulk(node: Node, *items: Built, mode: Mode = Mode.COMMIT) -> list[type[Exception] | None]:
    async def lines() -> AsyncIterator[bytes]:
        for item in items:
            yield item.canonical

    outcomes = [outcome async for outcome in node.parts.app.submit_lines(lines(), mode)]
    assert [outcome.transaction_id for outcome in outcomes] == [item.id for item in items]
    return [None if outcome.error is None else type(outcome.error) for outcome in outcomes]


# One by one


@pytest.mark.parametrize("mode", list(Mode))
async def test_every_mode_takes_what_its_contract_accepts_and_refuses_the_rest(node: Node, mode: Mode) -> None:
    good, bad = scripted("agrees"), scripted("differs")
    assert (await node.parts.app.submit(good.canonical, mode)).id == good.id
    with pytest.raises(InvalidScript):
        await node.parts.app.submit(bad.canonical, mode)
    await until(lambda: node.parts.feed.head == 1)
    assert await node.parts.store.height_of(good.id) == 1
    # The block needed no run of its own.
    assert node.engine.runs == [(code("agrees"), Patience.ADMISSION), (code("differs"), Patience.ADMISSION)]


async def test_a_stalled_contract_delays_no_ordinary_transaction_and_no_other_contract(node: Node) -> None:
    node.engine.gates["stalled"]
    stalled = asyncio.ensure_future(node.parts.app.submit(scripted("agrees stalled").canonical, Mode.COMMIT))
    await until(lambda: node.engine.running == 1)
    for number in range(3):
        await node.parts.app.submit(SCRIPTED.create(f"owner-{number}").canonical, Mode.COMMIT)
    await node.parts.app.submit(scripted("agrees").canonical, Mode.COMMIT)
    assert not stalled.done()
    node.engine.gates["stalled"].set()
    await stalled


async def test_what_the_ledger_refuses_is_not_run(node: Node) -> None:
    known = scripted("agrees")
    await node.parts.app.submit(known.canonical, Mode.COMMIT)
    node.engine.runs.clear()
    with pytest.raises(DuplicateTransaction):
        await node.parts.app.submit(known.canonical, Mode.ASYNC)
    spend = SCRIPTED.draft_transfer([scripted("nobody made this").spend()], [(3, "bob")])
    with pytest.raises(InputDoesNotExist):
        await node.parts.app.submit(spend.scripted({}, ["ok"], code=code("agrees")).signed().canonical, Mode.ASYNC)
    assert node.engine.runs == []


async def test_what_could_not_be_found_out_is_not_taken_and_says_so(node: Node) -> None:
    with pytest.raises(ContractOverrun):
        await node.parts.app.submit(scripted("long").canonical, Mode.ASYNC)
    node.engine.failure = UNAVAILABLE
    with pytest.raises(ContractsUnavailable):
        await node.parts.app.submit(scripted("agrees").canonical, Mode.ASYNC)
    node.engine.failure = None
    await node.parts.app.submit(scripted("agrees").canonical, Mode.COMMIT)


async def test_a_sender_waits_only_so_long_for_the_contracts(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_JUDGING", 0.02)
    node.engine.gates["stalled"]
    with pytest.raises(ContractsUnavailable):
        await node.parts.app.submit(scripted("agrees stalled").canonical, Mode.ASYNC)
    await until(lambda: node.engine.running == 0)


async def test_a_flood_of_contracts_is_turned_away_and_ordinary_ones_are_taken() -> None:
    async with node_with(most_waiting=3) as node:
        node.engine.gates["stalled"]
        flood = [
            asyncio.ensure_future(
                node.parts.app.submit(scripted(f"agrees stalled {number}").canonical, Mode.ASYNC)
            )
            for number in range(20)
        ]
        await until(lambda: sum(task.done() for task in flood) == 15)
        await node.parts.app.submit(SCRIPTED.create("bob").canonical, Mode.COMMIT)
        node.engine.gates["stalled"].set()
        answers = await asyncio.gather(*flood, return_exceptions=True)
        assert sum(isinstance(answer, ContractsUnavailable) for answer in answers) == 15


async def test_a_sender_that_goes_ends_the_run_of_its_contract(node: Node) -> None:
    node.engine.gates["stalled"]
    task = asyncio.ensure_future(node.parts.app.submit(scripted("agrees stalled").canonical, Mode.COMMIT))
    await until(lambda: node.engine.running == 1)
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: node.engine.running == 0)
    assert node.engine.ended == []


# Many lines


async def test_bulk_tells_the_fate_of_every_line_in_order(node: Node) -> None:
    first, bad = scripted("agrees 1"), scripted("differs")
    items = [
        first,
        SCRIPTED.create("bob"),
        bad,
        SCRIPTED.transfer([first.spend()], [(3, "bob")]),
        SCRIPTED.transfer([bad.spend()], [(3, "bob")]),
        scripted("long"),
        first,
        scripted("agrees 2"),
    ]
    expected = [None, None, InvalidScript, None, InputDoesNotExist, ContractOverrun, DuplicateTransaction, None]
    assert await bulk(node, *items) == expected
    assert len(node.engine.runs) == 4


async def test_lines_with_contracts_may_build_on_one_another(node: Node) -> None:
    first = scripted("agrees 1")
    draft = SCRIPTED.draft_transfer([first.spend()], [(3, "bob")])
    second = draft.scripted({}, ["ok"], code=code("agrees 2")).signed()
    draft = SCRIPTED.draft_transfer([first.spend()], [(3, "carol")])
    rival = draft.scripted({}, ["ok"], code=code("agrees 3")).signed()
    assert await bulk(node, first, second, rival) == [None, None, DoubleSpend]


async def test_bulk_runs_nothing_that_the_ledger_holds_already(node: Node) -> None:
    first = scripted("agrees 1")
    draft = SCRIPTED.draft_transfer([first.spend()], [(3, "bob")])
    second = draft.scripted({}, ["ok"], code=code("agrees 2")).signed()
    assert await bulk(node, first, second) == [None, None]
    node.parts.verifier.contracts.follow(PARAMETERS)
    node.engine.runs.clear()
    node.parts.verifier.contracts._verdicts.clear()
    draft = SCRIPTED.draft_transfer([first.spend()], [(3, "carol")])
    rival = draft.scripted({}, ["ok"], code=code("agrees 3")).signed()
    assert await bulk(node, first, second, rival) == [DuplicateTransaction, DoubleSpend, DoubleSpend]
    assert node.engine.runs == []


async def test_bulk_asks_once_about_a_line_whose_contracts_cannot_be_run(node: Node) -> None:
    node.engine.failure = UNAVAILABLE
    items = [scripted("agrees 1"), SCRIPTED.create("bob"), scripted("agrees 2")]
    assert await bulk(node, *items) == [ContractsUnavailable, None, ContractsUnavailable]
    assert len(node.engine.runs) == 2


async def test_bulk_runs_several_contracts_at_a_time() -> None:
    async with node_with() as node:
        items = [scripted(f"agrees {number}") for number in range(30)]
        assert await bulk(node, *items) == [None] * 30
        assert node.engine.most == 2


# Blocks of one


async def test_solo_leaves_contracts_beyond_the_bound_for_the_next_block() -> None:
    pair = guarded(["agrees 3", "agrees 4"])
    items = [scripted("agrees 0"), scripted("agrees 1"), SCRIPTED.create("bob"), scripted("agrees 2"), pair]
    items += [SCRIPTED.create("carol")]
    items += [scripted(f"agrees {number}") for number in (5, 6, 7)]
    async with node_with(make_blocks=False) as node:
        judged = [decoded(item) for item in items]
        assert await node.parts.verifier.contracts.judge(judged, Patience.ADMISSION) == {}
        assert await node.parts.engine.submit(judged) == [None] * len(items)
        await node.parts.engine.start(node.parts.lifecycle)
        await until(lambda: node.parts.engine.waiting == 0)
        blocks = [[event.transaction_id for event in block.events] for block in node.parts.blocks]
        ids = [item.id for item in items]
        assert blocks == [ids[:4], ids[4:8], ids[8:]]


async def test_solo_waits_for_the_engine_of_contracts_and_goes_on() -> None:
    async with node_with(make_blocks=False) as node:
        node.engine.failure = UNAVAILABLE
        assert await node.parts.engine.submit([decoded(scripted("agrees"))]) == [None]
        await node.parts.engine.start(node.parts.lifecycle)
        await until(lambda: node.parts.engine.trouble is not None)
        assert "no block can be made at present: block 1 waits for" in str(node.parts.engine.trouble)
        node.engine.failure = None
        await until(lambda: node.parts.feed.head == 1)
        assert node.parts.engine.trouble is None


async def test_solo_can_be_stopped_while_contracts_are_not_judged() -> None:
    async with node_with(make_blocks=False) as node:
        node.engine.failure = UNAVAILABLE
        assert await node.parts.engine.submit([decoded(scripted("agrees"))]) == [None]
        await node.parts.engine.start(node.parts.lifecycle)
        await until(lambda: node.parts.engine.trouble is not None)
        await node.parts.engine.stop()
        assert node.parts.engine.waiting == 1
