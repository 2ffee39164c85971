# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts are judged once, the most urgent first, and what could not be found out is no verdict (D15)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from planetmint.app.contracts import Allowance, ContractJudge
from planetmint.contracts import ContractCall
from planetmint.model.errors import InvalidScript, InvalidSignature, InvariantViolated
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import ChainMismatch, ContractError, ContractOverrun, ContractsUnavailable
from planetmint.testing.build import Builder, Dialect
from tests.support.scripted_engine import (
    NAME,
    PARAMETERS,
    SECONDS,
    UNAVAILABLE,
    ScriptedEngine,
    code,
    decoded,
    guarded,
    scripted,
)

ADMISSION, PROPOSAL, DECIDED = Patience


@asynccontextmanager
async def judging(
    width: int = 2, *, seconds: float = 4.0, capacity: int = 100, most_waiting: int = 64
) -> AsyncIterator[tuple[ContractJudge, ScriptedEngine]]:
    """A judge that follows a chain with contracts; nothing may be left running."""
    engine = ScriptedEngine(width)
    judge = ContractJudge(engine, seconds=seconds, capacity=capacity, most_waiting=most_waiting)
    judge.follow(PARAMETERS)
    yield judge, engine
    judge.close()
    await until(lambda: engine.running == 0)


async def until(condition: Callable[[], bool]) -> None:
    """Let others work, bounded, until `condition()` holds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition did not come to hold")


async def verdict(
    judge: ContractJudge, transaction: Transaction, patience: Patience = ADMISSION
) -> Exception | None:
    """What is said of one transaction."""
    for error in (await judge.judge([transaction], patience)).values():
        return error
    try:
        judge.check(transaction)
    except (InvalidScript, InvalidSignature) as refusal:
        return refusal
    return None


def asked(judge: ContractJudge, transaction: Transaction, patience: Patience) -> asyncio.Task[Exception | None]:
    return asyncio.ensure_future(verdict(judge, transaction, patience))


# Verdicts


async def test_a_contract_that_says_what_its_transaction_declares_is_accepted_and_run_once() -> None:
    async with judging() as (judge, engine):
        for patience in (ADMISSION, PROPOSAL, DECIDED):
            assert await verdict(judge, decoded(scripted("agrees")), patience) is None
        assert engine.runs == [(code("agrees"), ADMISSION)]


@pytest.mark.parametrize(
    ("words", "rule"), [("differs", "contract.output"), ("fails", "contract.failed")], ids=["differs", "fails"]
)
async def test_a_refusal_is_remembered_and_told_anew(words: str, rule: str) -> None:
    async with judging() as (judge, engine):
        transaction = decoded(scripted(words))
        first, second = [await verdict(judge, transaction) for _ in range(2)]
        for told in (first, second):
            assert isinstance(told, InvalidScript)
            assert (told.rule, told.field) == (rule, "script")
        assert first is not second
        assert str(first) == str(second)
        assert len(engine.runs) == 1


async def test_a_contract_of_a_condition_is_refused_by_its_class_and_place() -> None:
    async with judging() as (judge, _):
        refusal = await verdict(judge, decoded(guarded(["1 agrees ", "2 differs"])))
        assert isinstance(refusal, InvalidSignature)
        assert (refusal.rule, refusal.field) == ("contract.output", "inputs[0].fulfillment")


async def test_the_first_contract_that_does_not_agree_ends_the_run() -> None:
    async with judging() as (judge, engine):
        await verdict(judge, decoded(guarded(["1 agrees ", "2 differs", "3 deadly "])), DECIDED)
        assert [script for script, _ in engine.runs] == [code("1 agrees "), code("2 differs")]


async def test_transactions_without_contracts_need_no_engine() -> None:
    judge = ContractJudge(None)
    built = Builder(Dialect.PLANETMINT_2).create("alice")
    assert await verdict(judge, decoded(built)) is None
    assert (judge.name, judge.width) == (None, 1)


async def test_a_contract_that_was_not_judged_is_a_bug_where_its_verdict_is_asked_for() -> None:
    async with judging() as (judge, _):
        with pytest.raises(InvariantViolated, match="did not run"):
            judge.check(decoded(scripted("agrees")))


async def test_no_more_verdicts_are_kept_than_there_is_room_for() -> None:
    for capacity, kept in ((40, 40), (3, 8 * PARAMETERS.contracts.max_per_block)):
        async with judging(capacity=capacity) as (judge, engine):
            items = [decoded(scripted(f"agrees no {number}")) for number in range(kept + 2)]
            for item in items:
                await verdict(judge, item)
            assert [judge.knows(item) for item in items] == [False, False, *[True] * kept]
            await verdict(judge, items[0])
            assert engine.runs[-1][0] == code("agrees no 0")


async def test_a_verdict_that_is_asked_for_is_not_the_next_one_to_be_forgotten() -> None:
    # Else one that comes in between would make a bug of a block whose contracts were all judged.
    async with judging(capacity=40) as (judge, _):
        items = [decoded(scripted(f"agrees no {number}")) for number in range(60)]
        await judge.judge(items[:40], ADMISSION)
        assert await judge.judge(items[:5], DECIDED) == {}
        await judge.judge(items[40:], ADMISSION)
        for item in items[:5]:
            judge.check(item)
        assert not judge.knows(items[5])


async def test_no_verdict_of_a_block_is_forgotten_while_the_rest_of_it_is_judged() -> None:
    # Asked about as an old one and forgotten before `check`, one would make a bug of a block (reported as a stop).
    async with judging(width=1, capacity=3) as (judge, engine):
        most = 8 * PARAMETERS.contracts.max_per_block
        old, new = decoded(scripted("agrees as of old")), decoded(scripted("agrees, a new one"))
        await verdict(judge, old)
        gate = engine.gates["a new one"]
        block = asyncio.ensure_future(judge.judge([old, new], DECIDED, 60.0))
        await until(lambda: engine.running == 1)
        # What others find meanwhile.
        for number in range(2 * most):
            judge._remember(decoded(scripted(f"agrees no {number}")), None, SECONDS)
        gate.set()
        assert await block == {}
        judge.check(old)
        judge.check(new)


async def test_what_is_held_is_kept_until_it_is_let_go() -> None:
    async with judging(width=2, capacity=3) as (judge, _):
        most = 8 * PARAMETERS.contracts.max_per_block
        items = [decoded(scripted(f"agrees no {number}")) for number in range(2 * most + 2)]
        held = items[: most + 1]
        with judge.holding(held), judge.holding(held[:1]):
            await judge.judge(items, ADMISSION)
            for item in held:
                judge.check(item)
            with judge.holding(held):
                pass
            await verdict(judge, items[-1])
            assert all(map(judge.knows, held))
        await verdict(judge, decoded(scripted("agrees again")))
        assert [judge.knows(item) for item in items].count(True) == most - 1


async def test_refusals_make_no_acceptance_be_forgotten() -> None:
    async with judging(capacity=3) as (judge, _):
        most = 8 * PARAMETERS.contracts.max_per_block
        good = decoded(scripted("agrees"))
        await verdict(judge, good)
        bad = [decoded(scripted(f"differs no {number}")) for number in range(2 * most)]
        for item in bad:
            await verdict(judge, item)
        assert judge.knows(good)
        assert [judge.knows(item) for item in bad] == [False] * most + [True] * most
        with judge.holding(bad[-1:]):
            await judge.judge(bad[:most], ADMISSION)
            with pytest.raises(InvalidScript):
                judge.check(bad[-1])


async def test_a_bug_of_the_engine_reaches_who_asks() -> None:
    async with judging() as (judge, engine):

        async def broken(call: ContractCall, patience: Patience) -> Execution:
            raise RuntimeError("a bug")

        engine.run = broken  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="a bug"):
            await judge.judge([decoded(scripted("agrees"))], ADMISSION)


# Asking together


async def test_those_who_ask_at_the_same_time_share_one_run() -> None:
    async with judging() as (judge, engine):
        engine.gates["agrees"]
        tasks = [asked(judge, decoded(scripted("agrees")), ADMISSION) for _ in range(5)]
        await until(lambda: engine.running == 1)
        engine.gates["agrees"].set()
        assert await asyncio.gather(*tasks) == [None] * 5
        assert len(engine.runs) == 1


async def test_a_transaction_that_stands_twice_in_a_block_runs_once() -> None:
    async with judging() as (judge, engine):
        assert await judge.judge([decoded(scripted("agrees"))] * 2, DECIDED) == {}
        assert len(engine.runs) == 1


async def test_a_run_goes_on_for_who_is_still_there_and_ends_when_nobody_is() -> None:
    async with judging() as (judge, engine):
        engine.gates["agrees"]
        first, second = [asked(judge, decoded(scripted("agrees")), ADMISSION) for _ in range(2)]
        await until(lambda: engine.running == 1)
        first.cancel()
        await asyncio.wait([first])
        assert engine.running == 1
        second.cancel()
        await asyncio.wait([second])
        await until(lambda: engine.running == 0)
        assert engine.ended == []
        # Nothing of it stands in the way of the next one.
        engine.gates["agrees"].set()
        assert await verdict(judge, decoded(scripted("agrees"))) is None


async def test_those_who_gave_up_waiting_take_no_turn() -> None:
    async with judging(width=1) as (judge, engine):
        engine.gates["agrees 0"]
        running = asked(judge, decoded(scripted("agrees 0")), ADMISSION)
        await until(lambda: engine.running == 1)
        waiting = [asked(judge, decoded(scripted(f"agrees {number}")), ADMISSION) for number in (1, 2)]
        await until(lambda: judge.figures.waiting == 2)
        waiting[0].cancel()
        engine.gates["agrees 0"].set()
        assert await asyncio.gather(running, waiting[1]) == [None, None]
        assert not engine.began("agrees 1")
        assert judge.figures.waiting == 0
        more = [decoded(scripted(f"agrees {number}")) for number in (3, 4, 5)]
        assert await asyncio.gather(*(verdict(judge, item) for item in more)) == [None] * 3
        assert engine.most == 1, "nor do they give back one that they never had"


async def test_no_more_contracts_run_at_once_than_the_engine_is_wide() -> None:
    async with judging(width=3) as (judge, engine):
        items = [decoded(scripted(f"agrees {number}")) for number in range(12)]
        singles = [asked(judge, item, ADMISSION) for item in items[:6]]
        assert await judge.judge(items[6:], ADMISSION) == {}
        await asyncio.gather(*singles)
        assert engine.most == 3


# Overruns


async def test_an_overrun_is_no_verdict_and_does_not_burn_time_again() -> None:
    async with judging() as (judge, engine):
        transaction = decoded(scripted("long"))
        for _ in range(3):
            assert isinstance(await verdict(judge, transaction), ContractOverrun)
        assert engine.began("long") == [ADMISSION]
        assert not judge.knows(transaction)


@pytest.mark.parametrize("patience", [ADMISSION, PROPOSAL])
async def test_what_was_ended_from_outside_is_not_held_against_it(patience: Patience) -> None:
    # Else one mishap would have this node reject every proposal with the transaction.
    async with judging() as (judge, engine):
        transaction = decoded(scripted("agrees"))
        engine.killed = 1
        assert isinstance(await verdict(judge, transaction, patience), ContractOverrun)
        assert judge.figures.overruns == 1
        assert await verdict(judge, transaction, patience) is None


async def test_what_overran_is_run_again_with_more_patience() -> None:
    async with judging() as (judge, engine):
        transaction = decoded(scripted("longer"))
        assert isinstance(await verdict(judge, transaction, PROPOSAL), ContractOverrun)
        assert isinstance(await verdict(judge, transaction, ADMISSION), ContractOverrun)
        assert await verdict(judge, transaction, DECIDED) is None
        assert await verdict(judge, transaction, ADMISSION) is None
        assert engine.began("longer") == [PROPOSAL, DECIDED]


async def test_what_ends_the_engine_in_a_decided_block_has_to_do_so_again_to_be_believed() -> None:
    async with judging() as (judge, engine):
        assert isinstance(await verdict(judge, decoded(scripted("deadly")), DECIDED), ContractOverrun)
        assert engine.began("deadly") == [DECIDED] * 3
        engine.killed = 2
        assert await verdict(judge, decoded(scripted("agrees")), DECIDED) is None
        assert engine.began("agrees") == [DECIDED] * 3
        engine.killed = 1
        assert isinstance(await verdict(judge, decoded(scripted("agrees 2"))), ContractOverrun)


async def test_who_joins_with_more_patience_gets_a_verdict_where_the_run_had_less() -> None:
    async with judging() as (judge, engine):
        engine.gates["longer"]
        first = asked(judge, decoded(scripted("longer")), ADMISSION)
        await until(lambda: engine.running == 1)
        second = asked(judge, decoded(scripted("longer")), DECIDED)
        await asyncio.sleep(0)
        engine.gates["longer"].set()
        assert await asyncio.gather(first, second) == [None, None]
        assert engine.began("longer") == [ADMISSION, DECIDED]


async def test_who_asks_with_more_patience_at_the_moment_of_an_overrun_does_not_hear_of_it() -> None:
    async with judging() as (judge, engine):
        gate = engine.gates["longer"]
        first = asked(judge, decoded(scripted("longer")), ADMISSION)
        await until(lambda: engine.running == 1)

        async def right_after() -> Exception | None:
            # Its own worker begins in the turn of the event loop in which the other run has just ended.
            await gate.wait()
            return await verdict(judge, decoded(scripted("longer")), DECIDED)

        second = asyncio.ensure_future(right_after())
        await asyncio.sleep(0)
        gate.set()
        assert isinstance(await first, ContractOverrun)
        assert await second is None


async def test_what_was_unavailable_is_asked_again() -> None:
    async with judging() as (judge, engine):
        engine.failure = UNAVAILABLE
        assert isinstance(await verdict(judge, decoded(scripted("agrees")), DECIDED), ContractsUnavailable)
        engine.failure = None
        assert await verdict(judge, decoded(scripted("agrees")), DECIDED) is None


async def test_the_contracts_of_one_transaction_have_a_bound_together_that_no_block_knows() -> None:
    async with judging(seconds=SECONDS) as (judge, engine):
        transaction = decoded(guarded([f"agrees {number}" for number in range(4)]))
        assert isinstance(await verdict(judge, transaction, ADMISSION), ContractOverrun)
        assert len(engine.runs) == 2, "the one that crosses the bound is the last"
        assert isinstance(await verdict(judge, transaction, PROPOSAL), ContractOverrun)
        assert len(engine.runs) == 5
        assert await verdict(judge, transaction, DECIDED) is None
        assert judge.seconds(transaction) == 4 * SECONDS


# Bounds and order


async def test_only_so_many_wait_for_admission_and_any_number_for_a_block() -> None:
    async with judging(width=1, most_waiting=3) as (judge, engine):
        engine.gates["agrees"]
        items = [decoded(scripted(f"agrees {number}")) for number in range(6)]
        waiting = [asked(judge, item, ADMISSION) for item in items[:4]]
        await until(lambda: judge.figures.waiting == 3)
        refused = await verdict(judge, items[4], ADMISSION)
        assert isinstance(refused, ContractsUnavailable)
        assert "too many" in str(refused)
        decided = [asked(judge, item, DECIDED) for item in items[4:]]
        await until(lambda: judge.figures.waiting == 5)
        engine.gates["agrees"].set()
        assert await asyncio.gather(*waiting, *decided) == [None] * 6


async def test_a_decided_block_comes_before_proposals_and_these_before_admission() -> None:
    async with judging(width=1) as (judge, engine):
        engine.gates["agrees 0"]
        order = [ADMISSION, ADMISSION, ADMISSION, PROPOSAL, DECIDED, PROPOSAL]
        tasks = []
        for number, patience in enumerate(order):
            tasks.append(asked(judge, decoded(scripted(f"agrees {number}")), patience))
            await until(lambda number=number: judge.figures.waiting == number)
        engine.gates["agrees 0"].set()
        await asyncio.gather(*tasks)
        assert engine.ended == [code(f"agrees {number}") for number in (0, 4, 3, 5, 1, 2)]


async def test_a_run_that_waits_becomes_urgent_when_a_block_asks_for_it() -> None:
    async with judging(width=1) as (judge, engine):
        engine.gates["agrees 0"]
        tasks = [asked(judge, decoded(scripted(f"agrees {number}")), ADMISSION) for number in range(4)]
        await until(lambda: judge.figures.waiting == 3)
        tasks.append(asked(judge, decoded(scripted("agrees 3")), DECIDED))
        await asyncio.sleep(0)
        engine.gates["agrees 0"].set()
        await asyncio.gather(*tasks)
        assert engine.ended[:2] == [code("agrees 0"), code("agrees 3")]
        assert engine.began("agrees 3") == [DECIDED]


async def test_what_others_wait_behind_comes_before_submissions_however_many_wait() -> None:
    async with judging(width=1, most_waiting=2) as (judge, engine):
        engine.gates["agrees 0"]
        tasks = [asked(judge, decoded(scripted(f"agrees {number}")), ADMISSION) for number in range(3)]
        await until(lambda: judge.figures.waiting == 2)
        # One that is a submission, too, and one that is not.
        checks = asyncio.ensure_future(judge.judge_in_passing([decoded(scripted(f"agrees {n}")) for n in (2, 3)]))
        proposed = asked(judge, decoded(scripted("agrees 4")), PROPOSAL)
        await until(lambda: judge.figures.waiting == 4)
        engine.gates["agrees 0"].set()
        assert await checks == {}
        assert await asyncio.gather(*tasks, proposed) == [None] * 4
        assert engine.ended == [code(f"agrees {number}") for number in (0, 4, 2, 3, 1)]


async def test_a_transaction_with_many_contracts_makes_way_between_them() -> None:
    async with judging(width=1) as (judge, engine):
        engine.gates["agrees 0"]
        many = asked(judge, decoded(guarded(["agrees 0", "agrees 1", "agrees 2"])), ADMISSION)
        await until(lambda: engine.running == 1)
        other = asked(judge, decoded(scripted("agrees 8")), ADMISSION)
        urgent = asked(judge, decoded(scripted("agrees 9")), DECIDED)
        await until(lambda: judge.figures.waiting == 2)
        engine.gates["agrees 0"].set()
        assert await asyncio.gather(many, other, urgent) == [None] * 3
        # And when it has used its slice, to what waits like itself.
        assert engine.ended == [code(f"agrees {number}") for number in (0, 9, 1, 8, 2)]


async def test_transactions_with_many_contracts_take_turns_and_hold_up_no_short_one() -> None:
    async with judging(width=1) as (judge, engine):
        engine.gates["agrees a0"]
        long = [guarded([f"agrees {name}{number}" for number in range(4)]) for name in "abc"]
        tasks = [asked(judge, decoded(item), ADMISSION) for item in long]
        tasks.append(asked(judge, decoded(scripted("agrees z0")), ADMISSION))
        await until(lambda: judge.figures.waiting == 3)
        engine.gates["agrees a0"].set()
        assert await asyncio.gather(*tasks) == [None] * 4
        order = " ".join(script.partition("agrees ")[2][:2] for script in engine.ended)
        assert order == "a0 a1 b0 b1 c0 c1 z0 a2 a3 b2 b3 c2 c3"


async def test_a_run_that_is_ended_while_it_makes_way_keeps_no_turn() -> None:
    async with judging(width=1) as (judge, engine):
        engine.gates["agrees 0"]
        engine.gates["agrees 9"]
        many = asked(judge, decoded(guarded(["agrees 0", "agrees 1"])), ADMISSION)
        await until(lambda: engine.running == 1)
        urgent = asked(judge, decoded(scripted("agrees 9")), DECIDED)
        await until(lambda: judge.figures.waiting == 1)
        engine.gates["agrees 0"].set()
        await until(lambda: len(engine.began("agrees 9")) == 1)
        many.cancel()
        await asyncio.wait([many])
        engine.gates["agrees 9"].set()
        assert await urgent is None
        items = [decoded(scripted(f"agrees {number}")) for number in (4, 5, 6)]
        assert await judge.judge(items, ADMISSION) == {}
        assert engine.most == 1


# Time


async def test_what_is_not_judged_in_time_could_not_be_found_out_and_is_ended() -> None:
    async with judging() as (judge, engine):
        engine.gates["stalled"]
        items = [decoded(scripted(words)) for words in ("agrees", "agrees stalled")]
        errors = await judge.judge(items, ADMISSION, 0.05)
        assert list(errors) == [items[1].id]
        assert isinstance(errors[items[1].id], ContractsUnavailable)
        await until(lambda: engine.running == 0)
        assert judge.knows(items[0])


async def test_without_time_nothing_is_run_and_what_is_known_is_told() -> None:
    async with judging() as (judge, engine):
        items = [decoded(scripted(words)) for words in ("agrees 1", "agrees 2")]
        await verdict(judge, items[0])
        errors = await judge.judge(items, ADMISSION, 0.0)
        assert list(errors) == [items[1].id]
        assert len(engine.runs) == 1


async def test_the_first_contract_of_a_proposal_that_cannot_be_judged_settles_it() -> None:
    async with judging() as (judge, engine):
        engine.gates["stalled"]
        items = [
            decoded(scripted(words)) for words in ("agrees 1", "agrees stalled", "longer", "deadly", "deadly 2")
        ]
        errors = await judge.judge([*items, *(decoded(scripted(f"agrees {n}")) for n in range(2, 9))], PROPOSAL)
        assert judge.knows(items[0])
        assert isinstance(errors[items[2].id], ContractOverrun)
        assert isinstance(errors[items[1].id], ContractsUnavailable), "what ran was ended"
        for number in (6, 7, 8):
            assert not engine.began(f"agrees {number}"), "what came long after it was not begun"
            assert isinstance(errors[decoded(scripted(f"agrees {number}")).id], ContractsUnavailable)
        await until(lambda: engine.running == 0 and judge.figures.waiting == 0)


async def test_runs_for_a_decided_block_go_on_when_nobody_waits_for_the_moment() -> None:
    async with judging() as (judge, engine):
        engine.gates["agrees"]
        transaction = decoded(scripted("agrees"))
        errors = await judge.judge([transaction], DECIDED, 0.01)
        assert isinstance(errors[transaction.id], ContractsUnavailable)
        assert engine.running == 1
        engine.gates["agrees"].set()
        assert await judge.judge([transaction], DECIDED, 60.0) == {}
        assert engine.began("agrees") == [DECIDED]


async def test_checks_that_others_wait_for_use_up_what_they_may_and_get_it_back_in_time() -> None:
    async with judging() as (judge, engine):
        engine.gates["stalled"]
        allowance = Allowance(0.01, 0.0, 0.0)
        judge._allowance = allowance
        stalled, fine = decoded(scripted("agrees stalled")), decoded(scripted("agrees"))
        assert isinstance((await judge.judge_in_passing([stalled]))[stalled.id], ContractsUnavailable)
        assert allowance.left == 0.0
        assert list(await judge.judge_in_passing([fine])) == [fine.id]
        assert not engine.began("agrees'")
        allowance.left = 60.0
        allowance._most = 60.0
        assert await judge.judge_in_passing([fine]) == {}


def test_an_allowance_grows_with_the_time_and_not_beyond_its_most() -> None:
    allowance = Allowance(2.0, 0.5, 100.0)
    assert allowance.look(100.0) == 2.0
    allowance.use(1.5)
    assert allowance.look(100.0) == 0.5
    assert allowance.look(101.0) == 1.0
    allowance.use(5.0)
    assert allowance.look(101.0) == 0.0
    assert allowance.look(1_000.0) == 2.0


# Trials


async def test_a_trial_tells_of_every_contract_and_leaves_nothing_behind() -> None:
    async with judging() as (judge, engine):
        transaction = decoded(guarded(["1 agrees ", "2 differs", "3 agrees "]))
        trials = await judge.trial(transaction)
        assert [trial.call.script for trial in trials] == [
            code(f"{word}") for word in ("1 agrees ", "2 differs", "3 agrees ")
        ]
        assert [type(trial.error) for trial in trials] == [type(None), InvalidSignature, type(None)]
        assert all(trial.execution is not None for trial in trials)
        assert not judge.knows(transaction)
        assert await judge.trial(decoded(scripted("long"))) != []
        assert engine.began("long") == [ADMISSION]
        assert isinstance(await verdict(judge, decoded(scripted("long"))), ContractOverrun)
        assert engine.began("long") == [ADMISSION, ADMISSION], "the trial's overrun was not remembered"


async def test_a_trial_ends_with_the_contract_that_overruns() -> None:
    async with judging() as (judge, _):
        trials = await judge.trial(decoded(guarded(["1 agrees", "2 long  ", "3 agrees"])))
        assert [trial.execution is None for trial in trials] == [False, True]
        assert isinstance(trials[1].error, ContractOverrun)


async def test_only_so_many_trials_are_under_way_as_contracts_run_at_once() -> None:
    async with judging(width=1) as (judge, engine):
        engine.gates["agrees"]
        first = asyncio.ensure_future(judge.trial(decoded(scripted("agrees"))))
        await until(lambda: engine.running == 1)
        with pytest.raises(ContractsUnavailable):
            await judge.trial(decoded(scripted("agrees 2")))
        engine.gates["agrees"].set()
        assert len(await first) == 1
        assert len(await judge.trial(decoded(scripted("agrees 2")))) == 1


async def test_a_trial_without_contracts_or_without_an_engine() -> None:
    assert await ContractJudge(None).trial(decoded(Builder(Dialect.PLANETMINT_2).create("alice"))) == []
    judge = ContractJudge(None)
    judge._parameters = PARAMETERS
    with pytest.raises(ContractsUnavailable, match="no contract engine"):
        await judge.trial(decoded(scripted("agrees")))


# The chain and the end


async def test_a_chain_with_contracts_asks_for_its_engine_by_name() -> None:
    contracts = PARAMETERS.contracts
    for judge in (ContractJudge(None), ContractJudge(ScriptedEngine())):
        judge.follow(ChainParameters())
        judge.follow(replace(PARAMETERS, contracts=ContractParameters("off", "off", "other 1")))
    ContractJudge(ScriptedEngine()).follow(PARAMETERS)
    with pytest.raises(ChainMismatch, match="`scripted 1`, and this node has no contract engine"):
        ContractJudge(None).follow(PARAMETERS)
    with pytest.raises(ChainMismatch, match="`scripted 2`, and this node has `scripted 1`"):
        ContractJudge(ScriptedEngine()).follow(
            replace(PARAMETERS, contracts=replace(contracts, engine="scripted 2"))
        )
    assert ContractJudge(ScriptedEngine()).name == NAME


async def test_verdicts_of_one_chain_are_not_those_of_another() -> None:
    async with judging() as (judge, engine):
        transaction = decoded(scripted("agrees"))
        await verdict(judge, transaction)
        judge.follow(PARAMETERS)
        assert judge.knows(transaction)
        judge.follow(replace(PARAMETERS, max_inputs=7))
        assert not judge.knows(transaction)
        await verdict(judge, transaction)
        assert len(engine.runs) == 2


async def test_a_judge_that_is_closed_ends_what_runs_and_says_so() -> None:
    async with judging(width=1) as (judge, engine):
        engine.gates["agrees"]
        tasks = [asked(judge, decoded(scripted(f"agrees {patience}")), patience) for patience in Patience]
        await until(lambda: engine.running == 1 and judge.figures.waiting == 2)
        judge.close()
        answers: list[Exception | None] = await asyncio.gather(*tasks)
        assert [type(answer) for answer in answers] == [ContractsUnavailable] * 3
        assert isinstance(await verdict(judge, decoded(scripted("agrees"))), ContractError)
        await until(lambda: engine.running == 0)


async def test_figures_count_what_was_done() -> None:
    async with judging() as (judge, engine):
        await verdict(judge, decoded(guarded(["agrees 1", "agrees 2"])))
        await verdict(judge, decoded(scripted("long")))
        engine.failure = UNAVAILABLE
        await verdict(judge, decoded(scripted("agrees")))
        figures = judge.figures
        assert (figures.runs, figures.overruns, figures.unavailable, figures.waiting) == (2, 1, 1, 0)
        assert figures.seconds == 2 * SECONDS
