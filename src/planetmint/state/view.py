# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the rules may read of the ledger, and a view with pending changes on top of it."""

from typing import Protocol

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
