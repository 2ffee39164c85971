# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trying transactions out (issue 5, item 5): the verdict of a submission, what it takes, nothing left behind."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from planetmint.app import DryRun, Mode
from planetmint.app.contracts import ContractJudge
from planetmint.app.trial import Trials
from planetmint.consensus.solo import SoloEngine
from planetmint.contracts import ContractCall, EngineAnswer
from planetmint.model.errors import (
    DoubleSpend,
    DuplicateTransaction,
    InputDoesNotExist,
    InvalidHash,
    InvalidScript,
    InvalidSignature,
    InvalidTransaction,
    SchemaValidationError,
)
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.consensus import Consensus
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import (
    ContractError,
    ContractOverrun,
    ContractsUnavailable,
    MempoolFull,
    StoreError,
)
from planetmint.ports.store import StateReads
from planetmint.state.view import StateView
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import Builder, Built, Contract, Dialect, all_of, m_of_n, validator_set
from tests.support.ledger import SECRET, Running, StepClock, running

OLD, MIDDLE, NEW = (
    Builder(dialect) for dialect in (Dialect.BIGCHAINDB, Dialect.PLANETMINT_1, Dialect.PLANETMINT_2)
)
POWERS = {"tests/validator": 10, "second": 10, "third": 10}
"""The maker of the blocks and two who only vote."""

ENGINE = "test engine 1"
WITH_CONTRACTS = ChainParameters(contracts=ContractParameters("bound", "on", ENGINE))
OK = "Given nothing\nThen print the string 'ok'\n"
SAYS_OK = EngineAnswer(b'{"output":["ok"]}\n', b"")
FAILS = "Given I have a 'string' named 'missing'\nThen print the string 'ok'\n"
ENDLESS = "Given nothing\nWhen I write string 'endless' in 'x'\nThen print the string 'ok'\n"


def _set(event: asyncio.Event) -> asyncio.Event:
    event.set()
    return event


@dataclass
class Engine:
    """Answers as the real one does to three scripts, and can be held up.

    Attributes:
        free: While clear, runs wait; set where the test does not give one.
        failure: Raised by every run.
        answer: To scripts without a fault.
    """

    name: str = ENGINE
    width: int = 2
    free: asyncio.Event = field(default_factory=lambda: _set(asyncio.Event()))
    failure: ContractError | None = None
    answer: EngineAnswer = SAYS_OK
    runs: list[tuple[str, Patience]] = field(default_factory=list)

    async def run(self, call: ContractCall, patience: Patience) -> Execution:
        self.runs.append((call.script, patience))
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        if "endless" in call.script:
            raise ContractOverrun("it took more than 1 second of processor time")
        if "missing" in call.script:
            return Execution(EngineAnswer(b"", b"[!] Error at Zencode line 1\n"), 0.01, 18_000_000)
        return Execution(self.answer, 0.008, 17_000_000)


@asynccontextmanager
async def node_with(contracts: Engine | None = None, **options: Any) -> AsyncIterator[Running]:
    """A running ledger, on a chain with contracts where there is an engine for them."""
    options.setdefault("validators", validator_set(POWERS))
    if contracts is not None:
        options |= {"parameters": WITH_CONTRACTS, "contracts": ContractJudge(contracts)}
    async with running(**options) as node:
        yield node


def scripted(code: str, expected: Any = None, builder: Builder = NEW, owner: str = "alice") -> Built:
    """A CREATE with a script that is to print ``ok``."""
    draft = builder.draft_create(owner, data=builder.dialect.content(code))
    return draft.scripted({}, ["ok"] if expected is None else expected, code=code).signed()


def everything(node: Running) -> dict[str, object]:
    """What a node knows, as far as a submission could change it."""
    lifecycle, verifier, engine = node.lifecycle, node.verifier, node.engine
    judge = verifier.contracts
    return {
        "store": {name: copy(value) for name, value in vars(node.store).items() if name.startswith("_")},
        "blocks": list(node.blocks),
        "head": lifecycle.head,
        "published": node.feed.head,
        "waiting": engine.waiting,
        "decoded": dict(lifecycle._decoded),
        "decoded bytes": lifecycle._decoded_bytes,
        "valid": dict(lifecycle._standing._valid),
        "waiters": dict(lifecycle._waiters),
        "proposed": lifecycle._proposed,
        "verified": list(verifier.cache._verified),
        "refused": list(verifier.cache._refused),
        "verdicts": [*judge._verdicts._accepted, *judge._verdicts._refused],
        "overruns": list(judge._overruns),
        "runs": list(judge._runs),
        "trials": judge._trials,
    }


async def submitted(node: Running, item: Built) -> InvalidTransaction | ContractOverrun | None:
    """What a submission is answered."""
    try:
        await node.app.submit(item.canonical, Mode.COMMIT)
    except (InvalidTransaction, ContractOverrun) as refusal:
        return refusal
    return None


def same(tried: DryRun, other: InvalidTransaction | ContractOverrun | None) -> bool:
    """Whether a trial found what a submission was answered."""

    def parts(error: Exception | None) -> tuple[object, ...]:
        return (type(error), str(error), getattr(error, "rule", None), getattr(error, "field", None))

    return parts(tried.refusal) == parts(other)


async def history(node: Running) -> dict[str, Built]:
    """Transactions of every operation and dialect that may follow on what is committed here."""
    bicycle = OLD.create("alice", [(4, "alice")])
    canvas, paint = NEW.create("alice", data="canvas"), NEW.create("alice", data="paint")
    election = OLD.validator_election(POWERS, "candidate", 3)
    for item in (bicycle, canvas, paint, election):
        await node.app.submit(item.canonical, Mode.COMMIT)
    return {
        "create 2.0": OLD.create("carol"),
        "create 2.0 of Planetmint": MIDDLE.create("carol"),
        "create 3.0": NEW.create("carol"),
        "create by several": OLD.create(all_of("carol", "dave", "erin")),
        "transfer": OLD.transfer([bicycle.spend()], [(3, "bob"), (1, "carol")]),
        "compose": NEW.compose([canvas.spend(), paint.spend()], [(1, "alice")], data="painting"),
        "decompose": NEW.decompose(canvas.spend(), ["left", "right"]),
        "validator election": NEW.validator_election(POWERS, "candidate", 3, by="second"),
        "migration election": OLD.migration_election(POWERS),
        "vote": OLD.vote([election.spend(1)], amount=10),
    }


# The verdict


@pytest.mark.parametrize(
    "name",
    [
        "create 2.0",
        "create 2.0 of Planetmint",
        "create 3.0",
        "create by several",
        "transfer",
        "compose",
        "decompose",
        "validator election",
        "migration election",
        "vote",
    ],
)
async def test_a_trial_of_every_operation_and_dialect_says_what_its_submission_gets(name: str) -> None:
    async with node_with() as node:
        item = (await history(node))[name]
        before = everything(node)
        for _ in range(3):
            tried = await node.app.dry_run(item.canonical)
            assert (tried.transaction_id, tried.refusal, tried.hindrance) == (item.id, None, None)
        assert everything(node) == before
        assert await submitted(node, item) is None
        again = await node.app.dry_run(item.canonical)
        assert isinstance(again.refusal, DuplicateTransaction | DoubleSpend)
        assert same(again, await submitted(node, item))


REFUSED: dict[str, Callable[[Built], Built | bytes]] = {
    "not JSON": lambda create: b"{",
    "no object": lambda create: b"[]",
    "structure": lambda create: create.changed(lambda wire: wire.update(extra=1)),
    "id": lambda create: create.changed(lambda wire: wire.update(id="0" * 64), new_id=False),
    "signature": lambda create: create.changed(
        lambda wire: wire["inputs"][0].update(fulfillment=OLD.create("bob").wire["inputs"][0]["fulfillment"])
    ),
    "input": lambda create: OLD.transfer([OLD.create("nobody").spend()], [(1, "bob")]),
    "amounts": lambda create: OLD.transfer([create.spend()], [(2, "bob")]),
    "a stranger": lambda create: OLD.transfer([replace(create.spend(), owner="mallory")], [(1, "mallory")]),
    "committed": lambda create: create,
    "a vote on nothing": lambda create: OLD.vote([OLD.migration_election(POWERS).spend()], amount=10),
    "proposer": lambda create: OLD.validator_election(POWERS, "candidate", 3, by="mallory"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_trial_is_refused_as_the_submission_is(name: str) -> None:
    create = OLD.create("alice")
    async with node_with() as node:
        assert await submitted(node, create) is None
        made = REFUSED[name](create)
        body = made if isinstance(made, bytes) else made.canonical
        before = everything(node)
        tried = await node.app.dry_run(body)
        assert everything(node) == before
        assert tried.refusal is not None
        with pytest.raises(InvalidTransaction) as refusal:
            await node.app.submit(body, Mode.COMMIT)
        assert same(tried, refusal.value)


async def test_a_text_that_is_no_transaction_shows_the_id_that_it_claims_and_no_cost() -> None:
    wrong = OLD.create("alice").changed(lambda wire: wire.update(id="0" * 64), new_id=False)
    async with node_with() as node:
        tried = await node.app.dry_run(wrong.canonical)
        assert (type(tried.refusal), tried.transaction_id, tried.cost) == (InvalidHash, "0" * 64, None)
        garbled = await node.app.dry_run(b"\xff")
        assert (type(garbled.refusal), garbled.transaction_id) == (SchemaValidationError, None)


async def test_what_waits_already_is_valid_and_says_that_it_waits() -> None:
    create = OLD.create("alice")
    async with node_with(make_blocks=False) as node:
        await node.app.submit(create.canonical, Mode.ASYNC)
        tried = await node.app.dry_run(create.canonical)
        assert tried.refusal is None
        assert tried.hindrance is not None
        assert "waits" in tried.hindrance
        # Only what is committed counts: a transaction that builds on one that waits is refused.
        child = OLD.transfer([create.spend()], [(1, "bob")])
        assert isinstance((await node.app.dry_run(child.canonical)).refusal, InputDoesNotExist)


async def test_a_node_that_makes_no_blocks_judges_all_the_same_and_says_so() -> None:
    async with node_with() as node:
        admission = node.app._admission
        node.app._trials = Trials(replace(admission, consensus=cast(Consensus, Troubled())))
        tried = await node.app.dry_run(OLD.create("alice").canonical)
        assert (tried.refusal, tried.hindrance) == (None, "no blocks are made")


async def test_a_store_that_does_not_answer_is_no_verdict() -> None:
    class Deaf(MemoryStore):
        deaf = False

        async def read_state(self, reads: StateReads) -> StateView:
            if self.deaf:
                raise StoreError("gone")
            return await super().read_state(reads)

    store = Deaf()
    async with node_with(store=store) as node:
        store.deaf = True
        with pytest.raises(StoreError):
            await node.app.dry_run(OLD.create("alice").canonical)
        store.deaf = False
        assert (await node.app.dry_run(OLD.create("alice").canonical)).refusal is None


class Troubled:
    """An engine that takes nothing."""

    orders_dependents = True
    trouble = "no blocks are made"


# Cost


async def test_transactions_5_1_the_cost_of_conditions_is_told_for_each_input_and_output() -> None:
    # Source: transactions 5.1, sum of the two largest of 131072 + 1024 for each of three subconditions.
    group = 2 * 131_072 + 3 * 1_024
    create = OLD.create("alice", [(1, m_of_n(2, "a", "b", "c")), (1, "alice")])
    async with node_with() as node:
        cost = (await node.app.dry_run(create.canonical)).cost
        assert cost is not None
        assert (cost.inputs, cost.outputs, cost.signatures, cost.contracts) == (1, 2, 1, 0)
        assert (cost.fulfillment_costs, cost.output_costs) == ((131_072,), (group, 131_072))
        assert (cost.bytes, cost.bytes_allowed) == (len(create.canonical), 700_000)
        await node.app.submit(create.canonical, Mode.COMMIT)
        spending = OLD.transfer([create.spend(0, "a", "c"), create.spend(1)], [(2, "bob")])
        spent = (await node.app.dry_run(spending.canonical)).cost
        assert spent is not None
        assert (spent.signatures, spent.fulfillment_costs) == (3, (group, 131_072))


# Contracts


async def test_a_script_that_does_what_it_declares_is_valid_and_leaves_no_verdict_behind() -> None:
    engine = Engine()
    item = scripted(OK)
    async with node_with(engine) as node:
        before = everything(node)
        for _ in range(3):
            tried = await node.app.dry_run(item.canonical)
            (run,) = tried.runs
            assert (tried.refusal, tried.cost and tried.cost.contracts, run.error) == (None, 1, None)
            assert run.execution == Execution(EngineAnswer(b'{"output":["ok"]}\n', b""), 0.008, 17_000_000)
        assert everything(node) == before
        assert engine.runs == [(OK, Patience.ADMISSION)] * 3
        assert await submitted(node, item) is None
        assert len(engine.runs) == 4, "the verdict of a trial was remembered"


@pytest.mark.parametrize(
    ("code", "expected", "kind", "rule"),
    [
        (OK, ["no"], InvalidScript, "contract.output"),
        (FAILS, ["ok"], InvalidScript, "contract.failed"),
    ],
)
async def test_a_script_that_fails_shows_the_engine_s_answer_and_is_refused_as_in_a_submission(
    code: str, expected: Any, kind: type[InvalidTransaction], rule: str
) -> None:
    item = scripted(code, expected)
    async with node_with(Engine()) as node:
        before = everything(node)
        tried = await node.app.dry_run(item.canonical)
        assert everything(node) == before
        assert isinstance(tried.refusal, kind)
        assert tried.refusal.rule == rule
        (run,) = tried.runs
        assert run.error is tried.refusal
        assert run.call.expected == expected
        assert run.execution is not None
        assert same(tried, await submitted(node, item))


async def test_transactions_6_an_overrun_is_told_and_is_no_verdict() -> None:
    item = scripted(ENDLESS)
    async with node_with(Engine()) as node:
        before = everything(node)
        tried = await node.app.dry_run(item.canonical)
        assert isinstance(tried.refusal, ContractOverrun)
        assert [(run.execution, run.error) for run in tried.runs] == [(None, tried.refusal)]
        assert everything(node) == before
        assert same(tried, await submitted(node, item))


async def test_contracts_of_forged_transactions_are_not_run() -> None:
    engine = Engine()
    forged = scripted(OK).changed(
        lambda wire: wire["inputs"][0].update(fulfillment=NEW.create("bob").wire["inputs"][0]["fulfillment"])
    )
    async with node_with(engine) as node:
        tried = await node.app.dry_run(forged.canonical)
        assert isinstance(tried.refusal, InvalidSignature)
        assert (tried.runs, engine.runs) == ((), [])


async def test_contracts_of_what_the_ledger_refuses_are_not_run_as_in_a_submission() -> None:
    engine = Engine()
    create = NEW.create("alice")
    first = NEW.transfer([create.spend()], [(1, "bob")])
    second = NEW.draft_transfer([create.spend()], [(1, "carol")]).scripted({}, ["ok"], code=OK).signed()
    async with node_with(engine) as node:
        assert (await submitted(node, create), await submitted(node, first)) == (None, None)
        tried = await node.app.dry_run(second.canonical)
        assert isinstance(tried.refusal, DoubleSpend)
        assert same(tried, await submitted(node, second))
        assert (tried.runs, engine.runs) == ((), [])


async def test_a_trial_keeps_no_more_than_the_beginning_of_what_an_engine_prints() -> None:
    loud = b" " * 1_000_000 + b'{"output":["ok"]}'
    async with node_with(Engine(answer=EngineAnswer(loud, b"x" * 65_536))) as node:
        tried = await node.app.dry_run(scripted(OK).canonical)
        (run,) = tried.runs
        assert tried.refusal is None
        assert run.execution is not None
        assert max(map(len, run.execution.answer)) <= 20_000


async def test_d18_a_spend_by_contract_is_tried_and_then_taken() -> None:
    guarded = all_of("alice", Contract(OK))
    create = NEW.create("alice", [(1, guarded)])
    async with node_with(Engine()) as node:
        assert (await node.app.dry_run(create.canonical)).refusal is None
        assert await submitted(node, create) is None
        move = NEW.draft_transfer([create.spend()], [(1, "bob")]).scripted({}, ["ok"], code=OK).signed()
        before = everything(node)
        tried = await node.app.dry_run(move.canonical)
        assert tried.refusal is None
        assert [run.call.field for run in tried.runs] == ["script", "inputs[0].fulfillment"]
        assert everything(node) == before
        assert await submitted(node, move) is None
        assert isinstance((await node.app.dry_run(move.canonical)).refusal, DoubleSpend)


async def test_a_chain_without_contracts_refuses_them_in_a_trial_as_in_a_submission() -> None:
    item = scripted(OK)
    async with node_with() as node:
        tried = await node.app.dry_run(item.canonical)
        assert isinstance(tried.refusal, InvalidScript)
        assert tried.refusal.rule == "script.off"
        assert same(tried, await submitted(node, item))


# Bounds


async def test_trials_with_contracts_are_as_many_as_run_at_once_and_ordinary_ones_go_on() -> None:
    engine = Engine(free=asyncio.Event())
    items = [scripted(OK + f"# {number}\n") for number in range(3)]
    async with node_with(engine) as node:
        under_way = [asyncio.create_task(node.app.dry_run(item.canonical)) for item in items[:2]]
        while len(engine.runs) < engine.width:
            await asyncio.sleep(0.01)
        with pytest.raises(ContractsUnavailable):
            await node.app.dry_run(items[2].canonical)
        ordinary = OLD.create("alice")
        assert (await node.app.dry_run(ordinary.canonical)).refusal is None
        assert await submitted(node, ordinary) is None
        engine.free.set()
        assert [tried.refusal for tried in await asyncio.gather(*under_way)] == [None, None]
        assert (await node.app.dry_run(items[2].canonical)).refusal is None


async def test_no_worker_is_no_verdict_and_leaves_nothing_behind() -> None:
    engine = Engine(failure=ContractsUnavailable("no worker starts"))
    async with node_with(engine) as node:
        before = everything(node)
        with pytest.raises(ContractsUnavailable):
            await node.app.dry_run(scripted(OK).canonical)
        assert everything(node) == before
        engine.failure = None
        assert (await node.app.dry_run(scripted(OK).canonical)).refusal is None


async def test_a_trial_that_is_given_up_frees_its_place() -> None:
    engine = Engine(width=1, free=asyncio.Event())
    async with node_with(engine) as node:
        before = everything(node)
        for _ in range(3):
            task = asyncio.create_task(node.app.dry_run(scripted(OK).canonical))
            while not node.verifier.contracts._trials:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert everything(node) == before
        engine.free.set()
        assert (await node.app.dry_run(scripted(OK).canonical)).refusal is None


async def test_trials_beside_submissions_change_nothing_of_their_outcome() -> None:
    creates = [OLD.create(f"owner-{number}") for number in range(40)]
    async with node_with() as node:
        taken = [node.app.submit(item.canonical, Mode.COMMIT) for item in creates]
        tries = [node.app.dry_run(item.canonical) for item in creates for _ in range(3)]
        answers = await asyncio.gather(*taken, *tries, return_exceptions=True)
        assert [one for one in answers if isinstance(one, BaseException)] == []
        seen = [event.transaction_id for block in node.blocks for event in block.events]
        assert sorted(seen) == sorted(item.id for item in creates)
        found = {type(one.refusal) for one in answers if isinstance(one, DryRun)}
        assert found <= {type(None), DuplicateTransaction}
        assert not node.lifecycle._decoded


async def test_trials_of_two_spends_take_neither_s_input_away() -> None:
    create = OLD.create("alice")
    first = OLD.transfer([create.spend()], [(1, "bob")])
    second = OLD.transfer([create.spend()], [(1, "carol")])
    async with node_with() as node:
        assert await submitted(node, create) is None
        for item in (first, second, first):
            assert (await node.app.dry_run(item.canonical)).refusal is None
        assert await submitted(node, second) is None
        assert isinstance((await node.app.dry_run(first.canonical)).refusal, DoubleSpend)


async def test_trials_are_not_counted_among_what_waits() -> None:
    engine = SoloEngine(SECRET, StepClock(), max_waiting=1)
    async with node_with(engine=engine, make_blocks=False) as node:
        for number in range(20):
            assert (await node.app.dry_run(OLD.create(f"owner-{number}").canonical)).hindrance is None
        await node.app.submit(OLD.create("alice").canonical, Mode.ASYNC)
        with pytest.raises(MempoolFull):
            await node.app.submit(OLD.create("bob").canonical, Mode.ASYNC)


async def test_a_transaction_that_was_tried_is_freed() -> None:
    async with node_with(Engine()) as node:
        ids = set()
        for number in range(30):
            item = scripted(OK + f"# {number}\n")
            ids.add(item.id)
            await node.app.dry_run(item.canonical)
        for _ in range(100):
            # A thread lets go of its last job a moment after it has answered.
            gc.collect()
            held = [one.id for one in gc.get_objects() if isinstance(one, Transaction) and one.id in ids]
            if not held:
                break
            await asyncio.sleep(0.01)
        assert held == []
