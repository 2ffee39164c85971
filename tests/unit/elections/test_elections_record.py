# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one transaction means for an election, taken by itself: also where no rule would let it through."""

from dataclasses import replace

import pytest

from planetmint.elections import cast_votes, end_block, open_election
from planetmint.model.condition import Ed25519Details
from planetmint.model.errors import InvariantViolated
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Asset, Output, Transaction
from planetmint.rules import decode_transaction
from planetmint.testing.build import Builder, Built, Dialect, ballot_box, public_key, validator_set
from planetmint.testing.ledger import BlockLedger

BUILDER = Builder(Dialect.PLANETMINT_2)
POWERS = {"v0": 10, "v1": 20}
ELECTION = BUILDER.validator_election(POWERS, "new", 3)
ADDRESS = ballot_box(ELECTION.id).public_key
VOTER = public_key("v0")


def decoded(built: Built) -> Transaction:
    return decode_transaction(built.canonical, ChainParameters())


@pytest.mark.parametrize(
    ("keys", "locked_to", "votes"),
    [
        ((ADDRESS,), ADDRESS, 10),
        ((ADDRESS,), VOTER, 0),
        ((VOTER,), ADDRESS, 0),
        ((), ADDRESS, 0),
        ((ADDRESS, ADDRESS), ADDRESS, 0),
        ((ADDRESS, VOTER), ADDRESS, 0),
    ],
)
def test_an_output_counts_that_lists_the_address_alone_and_is_locked_to_it(
    keys: tuple[str, ...], locked_to: str, votes: int
) -> None:
    vote = decoded(BUILDER.vote([ELECTION.spend()], amount=10))
    output = Output(10, keys, Ed25519Details(locked_to), vote.outputs[0].uri)
    assert cast_votes(replace(vote, outputs=(output,))) == votes
    assert cast_votes(replace(vote, outputs=(output, vote.outputs[0]))) == votes + 10


def test_the_total_is_that_of_the_outputs_and_the_candidate_is_read() -> None:
    record = open_election(decoded(ELECTION), 7)
    assert (record.total, record.votes, record.height, record.concluded_at) == (30, 0, 7, None)
    assert record.change == validator_set({"new": 3})[0]
    assert open_election(decoded(BUILDER.migration_election(POWERS)), 7).change is None


def test_an_election_without_a_candidate_is_a_bug() -> None:
    with pytest.raises(InvariantViolated):
        open_election(replace(decoded(ELECTION), assets=(Asset(None, {"power": 3}),)), 7)


def test_a_validator_election_waits_where_a_set_is_stored_for_the_next_height_already() -> None:
    """Validation 4.5, point 3; a migration does not wait."""
    ledger = BlockLedger(validator_set(POWERS))
    migration = BUILDER.migration_election(POWERS)
    ledger.good_block(ELECTION.canonical, migration.canonical)
    votes = [decoded(BUILDER.vote([one.spend(1)], amount=20)) for one in (ELECTION, migration)]
    assert end_block(ledger, 2, votes).updates
    ledger.sets.append((3, ledger.validators()))
    outcome = end_block(ledger, 2, votes)
    assert (outcome.updates, outcome.validators) == ((), None)
    assert outcome.chain is not None
