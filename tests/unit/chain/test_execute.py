# SPDX-License-Identifier: AGPL-3.0-or-later
"""A block applied: verdicts, effects, events and the app hash of docs/decisions/0002, computed here once more."""

import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest

from planetmint.chain import BlockResult, Candidate, Outcome, admit, execute_block, next_app_hash, within_block
from planetmint.model.block import BlockHeader, Spend, TransactionEvent
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.errors import (
    DoubleSpend,
    DuplicateTransaction,
    InputDoesNotExist,
    InvalidScript,
    InvalidSignature,
    InvalidTransaction,
    SchemaValidationError,
)
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Operation, OutputRecord, OutputRef, Transaction
from planetmint.model.validator import Validator
from planetmint.rules import check_signatures, created_outputs, decode_transaction, verify_transaction
from planetmint.state.overlay import Overlay
from planetmint.testing.build import Builder, Built, Dialect, all_of, public_key, raw_key, validator_set
from planetmint.testing.ledger import BlockLedger, EmptyLedger
from tests.support import app_hash, elections

A, B, C = (Builder(dialect) for dialect in Dialect)
BEFORE = "5a" * 32

GOLD = A.create("alice", [(5, "alice"), ("0002", all_of("alice", "bob"))], data={"a": 1})
TO_BOB = A.transfer([GOLD.spend()], [(5, "bob")])
ONWARD = B.transfer([TO_BOB.spend(), GOLD.spend(1)], [(3, "carol"), (4, "bob")])
RIVAL = A.transfer([GOLD.spend()], [(5, "carol")])
COPPER = C.create("carol", [(4, "carol")], data="QmCopper")
ALLOY = C.compose([COPPER.spend()], [(1, "carol")], data="QmAlloy")
PARTS = C.decompose(ALLOY.spend(), ["QmLeft", ""], [(1, "carol")] * 4)
LEFT = C.create("carol", [(1, "dora")], data="QmLeft", consumes=PARTS.spend())
NONSENSE = SchemaValidationError("nonsense", rule="json.syntax")


def decoded(built: Built) -> Transaction:
    return decode_transaction(built.canonical, ChainParameters())


def execute(*items: Built | InvalidTransaction, height: int = 1, view: Overlay | None = None) -> BlockResult:
    candidates = [item if isinstance(item, InvalidTransaction) else decoded(item) for item in items]
    return execute_block(view or Overlay(EmptyLedger()), height, candidates, BEFORE, check_signatures)


def test_verdicts_stand_in_block_order_and_the_rest_goes_on() -> None:
    result = execute(TO_BOB, GOLD, NONSENSE, GOLD, RIVAL, TO_BOB, COPPER)
    kinds = [None if verdict is None else type(verdict) for verdict in result.verdicts]
    assert kinds == [
        InputDoesNotExist,
        None,
        SchemaValidationError,
        DuplicateTransaction,
        None,
        DoubleSpend,
        None,
    ]
    assert result.verdicts[2] is NONSENSE
    assert [item.id for item in result.transactions] == [GOLD.id, RIVAL.id, COPPER.id]


def test_transactions_of_a_block_see_those_before_them() -> None:
    result = execute(GOLD, TO_BOB, ONWARD)
    assert result.verdicts == (None, None, None)


def test_effects_stand_in_block_order_and_hold_what_was_made_and_spent_within_the_block() -> None:
    result = execute(GOLD, TO_BOB, ONWARD)
    refs = [record.ref for record in result.created]
    assert refs == [(GOLD.id, 0), (GOLD.id, 1), (TO_BOB.id, 0), (ONWARD.id, 0), (ONWARD.id, 1)]
    assert result.spent == (
        Spend(OutputRef(GOLD.id, 0), TO_BOB.id),
        Spend(OutputRef(TO_BOB.id, 0), ONWARD.id),
        Spend(OutputRef(GOLD.id, 1), ONWARD.id),
    )


def test_the_view_is_left_alone() -> None:
    view = Overlay(EmptyLedger())
    execute(GOLD, TO_BOB, view=view)
    assert not view.has_transaction(GOLD.id)
    assert view.output(OutputRef(GOLD.id, 0)) is None


def test_a_refused_transaction_leaves_no_trace() -> None:
    overlay = Overlay(EmptyLedger())
    admit(decoded(GOLD), overlay, check_signatures)
    unsigned = RIVAL.changed(lambda wire: wire["outputs"][0].update(public_keys=[]))
    with pytest.raises(InvalidSignature):
        admit(decoded(unsigned), overlay, check_signatures)
    record = overlay.output(OutputRef(GOLD.id, 0))
    assert record is not None
    assert record.spender is None
    assert not overlay.has_transaction(unsigned.id)


@pytest.mark.parametrize(
    ("items", "height"),
    [
        ((GOLD,), 1),
        ((GOLD, TO_BOB, ONWARD), 7),
        ((COPPER, ALLOY, PARTS, LEFT), 2**40),
        ((GOLD, COPPER, TO_BOB), 3),
    ],
)
def test_the_app_hash_is_that_of_decision_2(items: tuple[Built, ...], height: int) -> None:
    result = execute(*items, height=height)
    assert result.verdicts == (None,) * len(items)
    assert result.app_hash == app_hash.next_hash(BEFORE, height, [item.wire for item in items])
    assert result.root == app_hash.root_of([item.wire for item in items])


def test_refused_transactions_do_not_touch_the_app_hash() -> None:
    assert execute(TO_BOB, GOLD, NONSENSE, GOLD).app_hash == execute(GOLD).app_hash


def test_a_block_that_accepts_nothing_keeps_the_app_hash() -> None:
    for result in (execute(), execute(NONSENSE, TO_BOB)):
        assert result.app_hash == BEFORE
        assert result.root == app_hash.root_of([])
        assert (result.transactions, result.created, result.spent) == ((), (), ())
        assert result.events.events == ()


def test_the_app_hash_covers_the_hash_before_the_height_and_the_order() -> None:
    view = Overlay(EmptyLedger())
    one = execute_block(view, 1, [decoded(GOLD), decoded(COPPER)], BEFORE, check_signatures).app_hash
    assert execute_block(view, 2, [decoded(GOLD), decoded(COPPER)], BEFORE, check_signatures).app_hash != one
    assert execute_block(view, 1, [decoded(COPPER), decoded(GOLD)], BEFORE, check_signatures).app_hash != one
    assert execute_block(view, 1, [decoded(GOLD), decoded(COPPER)], "00" * 32, check_signatures).app_hash != one


RECORD = OutputRecord(OutputRef("ab" * 32, 0), 5, "uri", ("key",), "cd" * 32, Operation.DECOMPOSE, "item")


@pytest.mark.parametrize(
    "other",
    [
        RECORD._replace(ref=OutputRef("ac" * 32, 0)),
        RECORD._replace(ref=OutputRef("ab" * 32, 1)),
        RECORD._replace(amount=6),
        RECORD._replace(uri="other"),
        RECORD._replace(public_keys=()),
        RECORD._replace(public_keys=("key", "key")),
        RECORD._replace(asset_id="ce" * 32),
        RECORD._replace(operation=Operation.TRANSFER),
        RECORD._replace(item=None),
        RECORD._replace(item=""),
    ],
)
def test_d10_the_app_hash_covers_everything_that_rules_may_ask_of_an_output(other: OutputRecord) -> None:
    root = app_hash.root_of([])
    assert next_app_hash(BEFORE, 1, root, [RECORD], []) != next_app_hash(BEFORE, 1, root, [other], [])


def test_d10_the_app_hash_covers_what_is_spent_and_by_whom() -> None:
    spend = Spend(OutputRef("ab" * 32, 0), "cd" * 32)
    hashes = {
        next_app_hash(BEFORE, 1, app_hash.root_of([]), [], spent)
        for spent in (
            [],
            [spend],
            [spend._replace(spender="ce" * 32)],
            [spend._replace(ref=OutputRef("ab" * 32, 1))],
        )
    }
    assert len(hashes) == 4


ELECTION = ElectionRecord(
    "ab" * 32, Operation.VALIDATOR_ELECTION, 3, 10, 7, Validator(bytes(32), 2), concluded_at=9
)


@pytest.mark.parametrize(
    "other",
    [
        replace(ELECTION, election_id="ac" * 32),
        replace(ELECTION, operation=Operation.CHAIN_MIGRATION_ELECTION),
        replace(ELECTION, height=4),
        replace(ELECTION, total=11),
        replace(ELECTION, votes=8),
        replace(ELECTION, change=Validator(bytes(31) + b"x", 2)),
        replace(ELECTION, change=Validator(bytes(32), 0)),
        replace(ELECTION, change=None),
        replace(ELECTION, concluded_at=8),
        replace(ELECTION, concluded_at=None),
    ],
)
def test_d10_the_app_hash_covers_whole_records_of_elections(other: ElectionRecord) -> None:
    root = app_hash.root_of([])
    hashes = [next_app_hash(BEFORE, 1, root, [], [], Outcome(records)) for records in ((ELECTION,), (other,), ())]
    assert len(set(hashes)) == 3
    assert hashes[2] == next_app_hash(BEFORE, 1, root, [], [])


def test_d10_the_app_hash_covers_the_validators_in_their_order_and_the_chain_that_begins() -> None:
    root = app_hash.root_of([])
    one, two = Validator(bytes(32), 2), Validator(b"x" * 32, 3)
    ends = [
        Outcome(),
        *(Outcome(validators=validators) for validators in ((one, two), (two, one), (one,))),
        *(Outcome(chain=ChainRecord(name, shift, synced=False)) for name, shift in (("a", 1), ("b", 1), ("a", 2))),
    ]
    hashes = [next_app_hash(BEFORE, 1, root, [], [], end) for end in ends]
    assert len(set(hashes)) == len(hashes)


def test_d10_hashes_of_blocks_with_elections_are_those_of_decision_2() -> None:
    powers = {"v0": 4, "v1": 5}
    election, migration = C.validator_election(powers, "new", 1), A.migration_election(powers, by="v1")
    votes = [
        build.vote([one.spend(at)], amount=held)
        for build, one, at, held in (
            (C, election, 1, 5),
            (A, migration, 0, 4),
            (B, election, 0, 4),
            (C, migration, 1, 5),
        )
    ]
    chain = BlockLedger(validator_set(powers), "mint")
    model = elections.Elections("mint", [(1, dict(validator_set(powers)))])
    previous = chain.app_hash
    for block in ([GOLD, election, migration], votes[:2], [], votes[2:]):
        result = chain.good_block(*(built.canonical for built in block))
        wires = [built.wire for built in block]
        previous = app_hash.next_hash(
            previous, result.height, wires, model.effects(model.add(result.height, wires))
        )
        assert result.app_hash == previous
    assert result.updates == (Validator(raw_key("new"), 1),)
    assert result.chain == ChainRecord("mint-migrated-at-height-3", 4, synced=False)


def test_a_result_is_what_a_store_keeps_under_a_header() -> None:
    powers = {"v0": 4}
    chain = BlockLedger(validator_set(powers), "mint")
    opened = [C.validator_election(powers, "new", 1), C.migration_election(powers)]
    chain.good_block(*(built.canonical for built in opened))
    result = chain.good_block(*(C.vote([built.spend()], amount=4).canonical for built in opened))
    header = BlockHeader(2, 5, "00" * 32, result.root, result.app_hash, "ab")
    kept = result.record(header)
    assert kept.header is header
    names = ("transactions", "created", "spent", "events", "validators", "elections", "chain")
    for name in names:
        assert getattr(kept, name) == getattr(result, name)
        assert getattr(kept, name), name


def test_an_output_of_a_decompose_stands_for_the_data_of_its_index() -> None:
    records = created_outputs(decoded(PARTS))
    assert [record.item for record in records] == ["QmLeft", "", None, None]
    assert {record.asset_id for record in records} == {ALLOY.id}
    assert {record.operation for record in records} == {Operation.DECOMPOSE}
    assert [record.item for record in created_outputs(decoded(COPPER))] == [None]


@pytest.mark.parametrize(
    ("built", "asset_id"),
    [
        (GOLD, GOLD.id),
        (TO_BOB, GOLD.id),
        (COPPER, COPPER.id),
        (ALLOY, ALLOY.id),
        (PARTS, ALLOY.id),
        (LEFT, LEFT.id),
    ],
)
def test_transactions_3_1_asset_ids(built: Built, asset_id: str) -> None:
    assert decoded(built).asset_id == asset_id
    assert {record.asset_id for record in created_outputs(decoded(built))} == {asset_id}


def test_events_tell_assets_keys_and_signers_without_repeats() -> None:
    result = execute(GOLD, TO_BOB, ONWARD, COPPER, ALLOY)
    alice, bob, carol = map(public_key, ("alice", "bob", "carol"))
    assert result.events.height == 1
    assert result.events.app_hash == result.app_hash
    assert result.events.events == (
        TransactionEvent(GOLD.id, GOLD.id, (GOLD.id,), Operation.CREATE, (alice, bob), (alice,)),
        TransactionEvent(TO_BOB.id, GOLD.id, (GOLD.id,), Operation.TRANSFER, (bob,), (alice,)),
        replace_signers(
            TransactionEvent(ONWARD.id, GOLD.id, (GOLD.id,), Operation.TRANSFER, (carol, bob), ()), result, 2
        ),
        TransactionEvent(COPPER.id, COPPER.id, (COPPER.id,), Operation.CREATE, (carol,), (carol,)),
        TransactionEvent(ALLOY.id, ALLOY.id, (ALLOY.id, COPPER.id), Operation.COMPOSE, (carol,), (carol,)),
    )


def replace_signers(event: TransactionEvent, result: BlockResult, index: int) -> TransactionEvent:
    """The event with its signers, which stand in the order of the encoding inside a threshold."""
    signers = result.events.events[index].signers
    assert sorted(signers) == sorted(map(public_key, ("bob", "alice")))
    assert signers[0] == public_key("bob"), "the first input's signer comes first"
    return event._replace(signers=signers)


def test_the_check_of_signatures_that_is_handed_in_decides() -> None:
    def refuse(transaction: Transaction) -> None:
        raise InvalidSignature(f"no {transaction.id}", rule="signature")

    result = execute_block(Overlay(EmptyLedger()), 1, [decoded(GOLD)], BEFORE, refuse)
    assert [str(verdict) for verdict in result.verdicts] == [f"no {GOLD.id}"]


# The contracts of a block (consensus-and-storage 8)


def bringing(*counts: int | None) -> list[Candidate]:
    """Transactions that bring so many contracts, None for what is none; told apart by their ids."""
    one = decoded(GOLD)
    return [
        NONSENSE if count is None else replace(one, id=f"{number:064x}", contracts=count)
        for number, count in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("counts", "over"),
    [
        ((), []),
        ((0, None, 0), []),
        ((2, 3), []),
        ((2, 4), [1]),
        ((5, 0, 1), [2]),
        ((3, 3, 2, 1), [1, 3]),
        ((None, 4, 2, None, 1, 0, 1), [2, 6]),
        ((6,), [0]),
    ],
)
def test_a_transaction_that_would_take_the_contracts_above_the_bound_is_the_excess(
    counts: tuple[int | None, ...], over: list[int]
) -> None:
    candidates = bringing(*counts)
    within = within_block(candidates, 5)
    assert [number for number, item in enumerate(within) if item is not candidates[number]] == over
    for number in over:
        refusal = within[number]
        assert isinstance(refusal, InvalidScript)
        assert refusal.rule == "contract.block"


def test_blocks_without_contracts_are_passed_on_as_they_are() -> None:
    candidates = bringing(0, None, 0)
    assert within_block(candidates, 1) is candidates


@pytest.mark.parametrize("entry", [execute_block, admit, verify_transaction], ids=lambda entry: entry.__name__)
def test_decision_d15_no_way_into_the_rules_forgets_contracts_by_itself(entry: Callable[..., object]) -> None:
    """A default that verifies signatures alone would let a block's contracts through unjudged."""
    assert inspect.signature(entry).parameters["check"].default is inspect.Parameter.empty
