# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one accepted transaction means for an election: it opens one, or gives votes to one.

Source: elections-and-operations 1, validation 4.5.
"""

from planetmint.model.condition import Ed25519Details
from planetmint.model.election import ElectionRecord, candidate, election_address
from planetmint.model.transaction import Operation, Transaction


def open_election(transaction: Transaction, height: int) -> ElectionRecord:
    """The record of an accepted election in the block of `height`, before any vote."""
    change = candidate(transaction.assets[0]) if transaction.operation is Operation.VALIDATOR_ELECTION else None
    total = sum(output.amount for output in transaction.outputs)
    return ElectionRecord(transaction.id, transaction.operation, height, total, change=change)


def cast_votes(vote: Transaction) -> int:
    """The power that an accepted VOTE gives to its election.

    Returns:
        Sum of the amounts of those outputs that list the election's address alone and are locked to it.
    """
    address = election_address(vote.asset_id)
    condition = Ed25519Details(address)
    return sum(
        output.amount
        for output in vote.outputs
        if output.public_keys == (address,) and output.details == condition
    )
