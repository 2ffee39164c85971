# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections and votes against a ledger of several validators: what is allowed, and which fault is told first.

Each single fault stands in the catalogue of invalid transactions (`planetmint.testing.invalid.elections`).
"""

import pytest

from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters
from planetmint.rules import check_signatures, decode_transaction, verify_transaction
from planetmint.state.overlay import Overlay
from planetmint.testing.build import (
    Builder,
    Built,
    Dialect,
    Draft,
    Wire,
    all_of,
    ballot_box,
    m_of_n,
    output,
    validator_set,
)
from planetmint.testing.ledger import EmptyLedger, Ledger

POWERS = {"v0": 5, "v1": 10, "v2": 25}
VALIDATORS = validator_set(POWERS)
C = Builder(Dialect.PLANETMINT_2)


def verdict(*built: Built) -> tuple[str, str] | None:
    """Class and rule of the refusal of the last one, the others taken before."""
    ledger = Ledger(validators=VALIDATORS)
    ledger.take_all(one.canonical for one in built[:-1])
    error = ledger.verdict(built[-1].canonical)
    return None if error is None else (error.code, error.rule)


def swap_outputs(wire: Wire) -> None:
    wire["outputs"].reverse()


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("initiator", POWERS)
def test_any_validator_may_open_an_election_in_any_dialect(dialect: Dialect, initiator: str) -> None:
    build = Builder(dialect)
    assert verdict(build.validator_election(POWERS, "new", 13, by=initiator)) is None
    assert verdict(build.migration_election(POWERS, by=initiator)) is None


def test_the_order_of_voters_is_free() -> None:
    draft = C.draft_validator_election(POWERS, "new", 1)
    assert verdict(draft.changed(swap_outputs).signed()) is None


def test_amounts_of_voters_may_have_leading_zeros() -> None:
    draft = C.draft_migration_election(POWERS)
    assert verdict(draft.changed(lambda wire: wire["outputs"][0].update(amount="0005")).signed()) is None


def missing(wire: Wire) -> None:
    del wire["outputs"][1]


def doubled(wire: Wire) -> None:
    wire["outputs"][2] = wire["outputs"][1]


def exchanged(wire: Wire) -> None:
    first, second = wire["outputs"][:2]
    first["amount"], second["amount"] = second["amount"], first["amount"]


@pytest.mark.parametrize("change", [missing, doubled, exchanged])
def test_every_validator_has_one_output_of_its_power(change: object) -> None:
    wrong = C.draft_migration_election(POWERS).changed(change).signed()  # type: ignore[arg-type]
    assert verdict(wrong) == ("UnequalValidatorSet", "election.voters")


def test_a_power_just_below_a_third_passes_and_a_third_does_not() -> None:
    assert verdict(C.validator_election(POWERS, "new", 13)) is None
    assert verdict(C.validator_election(POWERS, "new", 14)) == ("InvalidPowerChange", "election.power")


def test_the_newest_stored_set_counts() -> None:
    newer = {**POWERS, "v3": 2}
    old, new = C.migration_election(POWERS), C.migration_election(newer)
    view = Overlay(EmptyLedger(validator_set(newer)))
    verify_transaction(decode_transaction(new.canonical, ChainParameters()), view, check_signatures)
    with pytest.raises(InvalidTransaction) as caught:
        verify_transaction(decode_transaction(old.canonical, ChainParameters()), view, check_signatures)
    assert caught.value.rule == "election.voters"


def test_rules_are_tried_in_the_order_of_validation_4_4() -> None:
    """One fault is taken away after the other, from the first rule to the last."""
    strangers = all_of("x", "y")

    def made(*, by: object, signed: bool, powers: dict[str, int]) -> Built:
        draft: Draft = C.draft_validator_election(powers, "new", 99, by=by)  # type: ignore[arg-type]
        built = draft.signed()
        return built if signed else built.changed(lambda wire: wire.update(metadata="later"))

    few = {"v0": 5}
    first = made(by=strangers, signed=False, powers=few)
    transaction = decode_transaction(first.canonical, ChainParameters())
    known = Overlay(EmptyLedger(VALIDATORS))
    known.apply(first.id, (), ())
    with pytest.raises(InvalidTransaction) as caught:
        verify_transaction(transaction, known, check_signatures)
    assert caught.value.rule == "election.duplicate"
    assert verdict(first) == ("InvalidSignature", "signature")
    assert verdict(made(by=strangers, signed=True, powers=few)) == ("MultipleInputsError", "election.one_owner")
    assert verdict(made(by="x", signed=True, powers=few)) == ("InvalidProposer", "election.proposer")
    assert verdict(made(by="v1", signed=True, powers=few)) == ("UnequalValidatorSet", "election.voters")
    assert verdict(made(by="v1", signed=True, powers=POWERS)) == ("InvalidPowerChange", "election.power")


def test_a_cache_may_answer_for_the_signatures_of_elections_and_votes() -> None:
    asked: list[str] = []
    ledger = Overlay(EmptyLedger(VALIDATORS))
    election = decode_transaction(C.migration_election(POWERS).canonical, ChainParameters())
    verify_transaction(election, ledger, lambda transaction: asked.append(transaction.id))
    assert asked == [election.id]
    assert check_signatures(election) is None  # type: ignore[func-returns-value]


def test_names_inside_metadata_of_elections_and_votes_are_free() -> None:
    """The rule about names never held for them (transactions 2.4)."""
    build = Builder(Dialect.BIGCHAINDB)
    odd = {"a.b": {"$c": 1}, "language": "klingon"}
    election = build.validator_election(POWERS, "new", 1, metadata=odd)
    vote = build.vote([election.spend(1)], amount=10, metadata=odd)
    assert verdict(election, vote) is None


@pytest.mark.parametrize("dialect", Dialect)
def test_shares_of_an_election_may_be_split_passed_on_and_cast_later(dialect: Dialect) -> None:
    build = Builder(dialect)
    election = build.migration_election(POWERS)
    part = build.vote([election.spend(2)], [(4, ballot_box(election.id)), (20, "v2"), (1, "friend")])
    onward = build.transfer([part.spend(1)], [(20, m_of_n(1, "friend", "aunt"))])
    late = build.vote([onward.spend(0, "aunt"), part.spend(2)], amount=21)
    assert verdict(election, part, onward, late) is None


def test_a_vote_in_another_dialect_than_the_elections_is_taken() -> None:
    election = Builder(Dialect.BIGCHAINDB).validator_election(POWERS, "new", 1)
    assert verdict(election, C.vote([election.spend()], amount=5)) is None


def test_the_first_asset_of_a_vote_counts_and_others_are_carried() -> None:
    election = C.migration_election(POWERS)
    draft = C.draft_vote([election.spend()], amount=5)
    more = draft.changed(lambda wire: wire["assets"].append({"id": "0" * 64})).signed()
    assert verdict(election, more) is None


def test_what_a_decompose_made_of_shares_cannot_be_cast() -> None:
    """Amounts of a DECOMPOSE are free: its outputs would be votes out of nothing."""
    election = C.migration_election(POWERS)
    parts = C.decompose(election.spend(), ["left"], [(1_000, "v0")])
    vote = C.vote([parts.spend()], amount=1_000)
    assert verdict(election, parts, vote) == ("AssetIdMismatch", "asset.decomposed")


def test_an_output_besides_that_nobody_is_named_for_is_refused_though_the_powers_are_right() -> None:
    hidden = {**output(1, "v0"), "public_keys": []}
    wrong = C.draft_migration_election(POWERS).changed(lambda wire: wire["outputs"].append(hidden)).signed()
    assert verdict(wrong) == ("UnequalValidatorSet", "election.voters")
