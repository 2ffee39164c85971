# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections over whole blocks: when they conclude, with what effect, and what has none (validation 4.5)."""

import pytest

from planetmint.elections import ElectionStatus, election_status
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.transaction import Operation
from planetmint.model.validator import MAX_TOTAL_POWER, Validator
from planetmint.testing.build import Builder, Built, Dialect, Powers, ballot_box, raw_key, validator_set
from planetmint.testing.ledger import BlockLedger

A, B, C = (Builder(dialect) for dialect in Dialect)
FOUR = {"v0": 10, "v1": 10, "v2": 10, "v3": 10}
ALONE = {"v0": 10}


def chain(powers: Powers = FOUR, chain_id: str = "tests") -> BlockLedger:
    return BlockLedger(validator_set(powers), chain_id)


def ballot(election: Built, voter: int, power: int = 10, build: Builder = C) -> bytes:
    """The vote of one of the voters with all of its power."""
    return build.vote([election.spend(voter)], amount=power).canonical


def record(ledger: BlockLedger, election: Built) -> ElectionRecord:
    return ledger.elections[election.id]


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("key_type", ["ed25519-base16", "ed25519-base32", "ed25519-base64"])
def test_two_thirds_of_the_power_conclude_an_election_of_any_dialect_and_spelling(
    dialect: Dialect, key_type: str
) -> None:
    build, ledger = Builder(dialect), chain()
    election = build.validator_election(FOUR, "new", 3, key_type=key_type)
    opened = ledger.good_block(election.canonical)
    assert opened.elections == (
        ElectionRecord(election.id, Operation.VALIDATOR_ELECTION, 1, 40, 0, Validator(raw_key("new"), 3)),
    )
    assert (opened.validators, opened.updates, opened.chain) == (None, (), None)
    half = ledger.good_block(*(ballot(election, voter, build=build) for voter in (3, 0)))
    assert (half.validators, half.updates) == (None, ())
    assert record(ledger, election).votes == 20
    last = ledger.good_block(ballot(election, 1, build=build))
    assert last.updates == (Validator(raw_key("new"), 3),)
    assert last.validators == validator_set({**FOUR, "new": 3})
    assert record(ledger, election).votes == 30
    assert record(ledger, election).concluded_at == 3
    assert ledger.validator_changes() == (4, 1)


@pytest.mark.parametrize(("votes", "concluded"), [(5, False), (6, True)])
def test_the_majority_is_exact_where_floating_point_is_not(votes: int, concluded: bool) -> None:
    """2/3 of 9 is 6 (spec: integers, 3 * votes >= 2 * total)."""
    powers = {"v0": 9}
    ledger, election = chain(powers), C.validator_election(powers, "new", 2)
    ledger.good_block(election.canonical)
    shares = [(votes, ballot_box(election.id)), (9 - votes, "v0")]
    ledger.good_block(C.vote([election.spend()], shares).canonical)
    assert (record(ledger, election).concluded_at is not None) is concluded


def test_a_majority_of_huge_powers_is_exact() -> None:
    """One share less than two thirds of 2**60 - 4, which doubles cannot tell apart."""
    power = 2**60 - 4
    powers = {"v0": power}
    ledger, election = chain(powers), C.validator_election(powers, "new", 1)
    ledger.good_block(election.canonical)
    needed = 2 * power // 3
    assert 3 * needed == 2 * power
    shares = [(needed - 1, ballot_box(election.id)), (power - needed, "v0"), (1, "v0")]
    first = C.vote([election.spend()], shares)
    assert ledger.good_block(first.canonical).validators is None
    last = C.vote([first.spend(2)], amount=1)
    assert ledger.good_block(last.canonical).updates == (Validator(raw_key("new"), 1),)


def test_votes_in_the_block_of_the_election_count_and_do_not_conclude_it() -> None:
    ledger, election = chain(), C.validator_election(FOUR, "new", 3)
    result = ledger.good_block(election.canonical, *(ballot(election, voter) for voter in (0, 1, 2)))
    assert result.elections == (
        ElectionRecord(election.id, Operation.VALIDATOR_ELECTION, 1, 40, 30, Validator(raw_key("new"), 3)),
    )
    assert result.validators is None
    # Published code would never conclude it; here the next vote does (validation 4.5, point 4).
    late = ledger.good_block(ballot(election, 3))
    assert late.updates == (Validator(raw_key("new"), 3),)
    assert (record(ledger, election).votes, record(ledger, election).concluded_at) == (40, 2)


def test_an_election_concludes_once_and_later_votes_are_counted_without_effect() -> None:
    ledger, election = chain(), C.validator_election(FOUR, "new", 3)
    ledger.good_block(election.canonical)
    ledger.good_block(*(ballot(election, voter) for voter in (0, 1, 2)))
    later = ledger.good_block(ballot(election, 3))
    assert (later.validators, later.updates) == (None, ())
    assert (record(ledger, election).votes, record(ledger, election).concluded_at) == (40, 2)


def test_shares_that_are_passed_on_do_not_count_until_they_are_cast() -> None:
    ledger, election = chain(), C.validator_election(FOUR, "new", 3)
    ledger.good_block(election.canonical)
    given = C.vote([election.spend(0)], [(10, "friend")])
    sold = A.transfer([election.spend(1)], [(10, "friend")])
    result = ledger.good_block(given.canonical, sold.canonical)
    assert result.elections == ()
    assert record(ledger, election).votes == 0
    ledger.good_block(B.vote([given.spend(), sold.spend()], amount=20).canonical)
    assert record(ledger, election).votes == 20


def test_a_transfer_to_the_address_is_no_vote() -> None:
    ledger, election = chain(ALONE), C.validator_election(ALONE, "new", 3)
    ledger.good_block(election.canonical)
    result = ledger.good_block(C.transfer([election.spend()], [(10, ballot_box(election.id))]).canonical)
    assert (result.elections, result.validators) == ((), None)


def test_shares_sent_to_the_address_of_another_election_count_nowhere() -> None:
    ledger = chain(ALONE)
    first, second = (C.validator_election(ALONE, "new", 3, seed=seed) for seed in "ab")
    ledger.good_block(first.canonical, second.canonical)
    result = ledger.good_block(C.vote([first.spend()], [(10, ballot_box(second.id))]).canonical)
    assert (result.elections, result.validators) == ((), None)


def test_a_vote_about_an_ordinary_asset_moves_it_and_nothing_else() -> None:
    ledger, gold = chain(), C.create("alice", [(5, "alice")])
    ledger.good_block(gold.canonical)
    result = ledger.good_block(C.vote([gold.spend()], [(5, "bob")]).canonical)
    assert len(result.transactions) == 1
    assert result.elections == ()


def test_an_election_of_an_older_set_stays_without_effect() -> None:
    ledger = chain()
    first, second = (C.validator_election(FOUR, name, 3) for name in ("new", "other"))
    ledger.good_block(first.canonical, second.canonical)
    ledger.good_block(*(ballot(first, voter) for voter in (0, 1, 2)))
    ledger.good_block()
    assert election_status(record(ledger, second), 3, ledger.validator_changes()) is ElectionStatus.INCONCLUSIVE
    result = ledger.good_block(*(ballot(second, voter) for voter in (0, 1, 2, 3)))
    assert result.validators is None
    assert (record(ledger, second).votes, record(ledger, second).concluded_at) == (40, None)


def test_an_election_may_still_conclude_in_the_block_from_which_another_change_holds() -> None:
    """The set stored for height 3 does not hold before block 3; both changes are kept (validation 4.5, 3)."""
    ledger = chain()
    first, second = (C.validator_election(FOUR, name, 3) for name in ("new", "other"))
    ledger.good_block(first.canonical, second.canonical)
    ledger.good_block(*(ballot(first, voter) for voter in (0, 1, 2)))
    assert election_status(record(ledger, second), 2, ledger.validator_changes()) is ElectionStatus.ONGOING
    result = ledger.good_block(*(ballot(second, voter) for voter in (0, 1, 2)))
    assert result.validators == validator_set({**FOUR, "new": 3, "other": 3})


def test_one_validator_election_concludes_per_block_the_one_voted_for_first() -> None:
    ledger = chain()
    first, second = (C.validator_election(FOUR, name, 3) for name in ("new", "other"))
    ledger.good_block(first.canonical, second.canonical)
    votes = [
        ballot(second, 0),
        *(ballot(first, voter) for voter in (0, 1, 2)),
        ballot(second, 1),
        ballot(second, 2),
    ]
    result = ledger.good_block(*votes)
    assert result.updates == (Validator(raw_key("other"), 3),)
    assert [item.election_id for item in result.elections] == [second.id, first.id]
    assert (record(ledger, second).concluded_at, record(ledger, first).concluded_at) == (2, None)
    assert record(ledger, first).votes == 30


def test_an_election_whose_change_is_no_longer_allowed_is_concluded_without_effect() -> None:
    """Power 3 is less than a third of 11 when it is opened, and not of 9 when it concludes (validation 4.4)."""
    powers = {"v0": 6, "v1": 3, "v2": 2}
    ledger = chain(powers)
    removal, rise = C.validator_election(powers, "v2", 0), C.validator_election(powers, "new", 3)
    ledger.good_block(removal.canonical, rise.canonical)
    ledger.good_block(ballot(removal, 0, 6), ballot(removal, 1, 3))
    result = ledger.good_block(ballot(rise, 0, 6), ballot(rise, 1, 3))
    assert (result.validators, result.updates) == (None, ())
    assert record(ledger, rise).concluded_at == 3
    assert election_status(record(ledger, rise), 3, ledger.validator_changes()) is ElectionStatus.CONCLUDED
    assert ledger.validators() == validator_set({"v0": 6, "v1": 3})


def test_an_election_without_effect_leaves_room_for_another_in_the_same_block() -> None:
    powers = {"v0": 6, "v1": 3, "v2": 2}
    ledger = chain(powers)
    removal, rise = C.validator_election(powers, "v2", 0), C.validator_election(powers, "new", 3)
    small = C.validator_election(powers, "small", 1)
    ledger.good_block(removal.canonical, rise.canonical, small.canonical)
    ledger.good_block(ballot(removal, 0, 6), ballot(removal, 1, 3))
    votes = [ballot(election, voter, power) for election in (rise, small) for voter, power in ((0, 6), (1, 3))]
    result = ledger.good_block(*votes)
    assert result.updates == (Validator(raw_key("small"), 1),)
    assert record(ledger, rise).concluded_at == record(ledger, small).concluded_at == 3


def test_a_validator_is_never_removed_twice() -> None:
    """Two elections that remove the same one: the engine fails for good on a key that it does not have."""
    ledger = chain()
    removals = [C.validator_election(FOUR, "v3", 0, seed=seed) for seed in "ab"]
    ledger.good_block(*(one.canonical for one in removals))
    assert ledger.good_block(*(ballot(removals[0], voter) for voter in (0, 1, 2))).updates
    result = ledger.good_block(*(ballot(removals[1], voter) for voter in (0, 1, 2)))
    assert (result.validators, result.updates) == (None, ())
    assert record(ledger, removals[1]).concluded_at == 3


def test_the_set_keeps_its_order_a_change_in_place_new_ones_at_the_end() -> None:
    ledger = chain()
    steps = [("v1", 13, {**FOUR, "v1": 13}), ("new", 2, {**FOUR, "v1": 13, "new": 2})]
    steps.append(("v0", 0, {"v1": 13, "v2": 10, "v3": 10, "new": 2}))
    for name, power, expected in steps:
        before = {one: held for one in [*FOUR, "new"] for key, held in ledger.validators() if key == raw_key(one)}
        election = C.validator_election(before, name, power)
        ledger.good_block(election.canonical)
        ledger.good_block(*(ballot(election, at, held) for at, held in enumerate(before.values())))
        assert ledger.validators() == validator_set(expected)
        ledger.good_block()


# Migrations


def test_a_migration_names_the_chain_by_the_block_before_and_shifts_by_its_own() -> None:
    ledger, election = chain(chain_id="mint"), C.migration_election(FOUR)
    ledger.good_block()
    ledger.good_block(election.canonical)
    result = ledger.good_block(*(ballot(election, voter) for voter in (0, 1, 2)))
    assert result.chain == ChainRecord("mint-migrated-at-height-2", shift=3, synced=False)
    assert (result.validators, result.updates) == (None, ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("c", "c-migrated-at-height-1"),
        ("c-migrated-at-height-77", "c-migrated-at-height-1"),
        ("c-migrated-at-height-7-migrated-at-height-8", "c-migrated-at-height-1"),
        ("x" * 29, "x" * 29 + "-migrated-at-height-1"),
        ("x" * 30, "x" * 29 + "-migrated-at-height-1"),
        ("y" * 50, "y" * 29 + "-migrated-at-height-1"),
        ("-migrated-at-height-3", "-migrated-at-height-1"),
    ],
)
def test_a_name_has_one_suffix_and_at_most_50_characters(before: str, after: str) -> None:
    ledger, election = chain(ALONE, before), C.migration_election(ALONE)
    ledger.good_block(election.canonical)
    result = ledger.good_block(ballot(election, 0))
    assert result.chain is not None
    assert result.chain.chain_id == after
    assert len(after) <= 50


def test_one_migration_concludes_and_others_wait_while_it_is_pending() -> None:
    ledger = chain(ALONE)
    first, second = (C.migration_election(ALONE, seed=seed) for seed in "ab")
    ledger.good_block(first.canonical, second.canonical)
    result = ledger.good_block(ballot(second, 0), ballot(first, 0))
    assert result.chain is not None
    assert (record(ledger, second).concluded_at, record(ledger, first).concluded_at) == (2, None)
    third = C.migration_election(ALONE, seed="c")
    ledger.good_block(third.canonical)
    assert ledger.good_block(ballot(third, 0)).chain is None
    ledger.chain_record = ChainRecord("tests-migrated-at-height-1", shift=2)
    fourth = C.migration_election(ALONE, seed="d")
    ledger.good_block(fourth.canonical)
    assert ledger.good_block(ballot(fourth, 0)).chain == ChainRecord("tests-migrated-at-height-5", 6, synced=False)


@pytest.mark.parametrize("migration_first", [True, False])
def test_a_migration_and_a_validator_change_of_one_block_are_both_kept(migration_first: bool) -> None:
    """In published code a migration behind a validator election throws its update away."""
    ledger = chain(ALONE)
    election, migration = C.validator_election(ALONE, "new", 3), C.migration_election(ALONE)
    ledger.good_block(election.canonical, migration.canonical)
    votes = [ballot(migration, 0), ballot(election, 0)]
    result = ledger.good_block(*(votes if migration_first else reversed(votes)))
    assert result.updates == (Validator(raw_key("new"), 3),)
    assert result.validators == validator_set({**ALONE, "new": 3})
    assert result.chain == ChainRecord("tests-migrated-at-height-1", shift=2, synced=False)


def test_the_total_power_stays_within_the_engines_bound() -> None:
    powers = {"v0": MAX_TOTAL_POWER - 10}
    ledger = chain(powers)
    elections = [C.validator_election(powers, name, 6) for name in ("new", "other")]
    ledger.good_block(*(one.canonical for one in elections))
    for number, one in enumerate(elections):
        result = ledger.good_block(ballot(one, 0, MAX_TOTAL_POWER - 10))
        assert bool(result.updates) is (number == 0)
    assert sum(power for _, power in ledger.validators()) == MAX_TOTAL_POWER - 4
