# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the rules may read of the ledger, and a view with pending changes on top of it."""

from typing import Protocol

from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.transaction import OutputRecord, OutputRef
from planetmint.model.validator import ValidatorSet


class StateView(Protocol):
    """The ledger as the rules see it; answers never change while a view is held."""

    def has_transaction(self, transaction_id: str) -> bool:
        """Whether a transaction of this id is in the ledger."""
        ...

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """An output, spent or not; None where none of this name was made."""
        ...

    def validators(self) -> ValidatorSet:
        """The newest validator set."""
        ...

    def validator_changes(self) -> tuple[int, ...]:
        """Heights from which the newest validator set and the one before it hold, newest first.

        One height (1) on a chain whose set has never changed.
        """
        ...

    def election(self, election_id: str) -> ElectionRecord | None:
        """The record of an election; None where no such election is in the ledger."""
        ...

    def chain(self) -> ChainRecord:
        """The chain's newest record."""
        ...
