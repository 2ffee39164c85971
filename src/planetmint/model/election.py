# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections as the ledger remembers them, and the record of a chain's name.

Source: elections-and-operations 1 and 3, validation 4.4 and 4.5.
"""

from dataclasses import dataclass

from planetmint.model.transaction import Operation
from planetmint.model.validator import Validator

MIGRATION_SUFFIX = "-migrated-at-height-"
"""Stands in a chain's name before the height after which it went on under that name."""


@dataclass(frozen=True, slots=True)
class ElectionRecord:
    """What the ledger knows of one election; each block that changes it stores it anew.

    Attributes:
        election_id: Id of the election transaction, 64 lower-case hex digits.
        operation: VALIDATOR_ELECTION or CHAIN_MIGRATION_ELECTION.
        height: Of the block that holds the election.
        total: Power of all its voters: the sum of its outputs' amounts.
        votes: Power that committed VOTE transactions gave to the election's address so far.
        change: What a validator election wants: a key and its new power, 0 to remove it; None for a migration.
        concluded_at: Height of the block that concluded it; None while none has.
    """

    election_id: str
    operation: Operation
    height: int
    total: int
    votes: int = 0
    change: Validator | None = None
    concluded_at: int | None = None


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """The name under which the engine knows the chain at present, and how engine heights become ours.

    Attributes:
        chain_id: At most 50 characters.
        shift: Height of a block here = the engine's height + `shift`; 0 until the first migration.
        synced: False from the conclusion of a migration until an engine began the chain of this name.
    """

    chain_id: str
    shift: int = 0
    synced: bool = True
