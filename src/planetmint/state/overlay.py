# SPDX-License-Identifier: AGPL-3.0-or-later
"""A view with the changes of a block under way on top, so that its transactions see one another."""

from collections.abc import Iterable

from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.errors import InvariantViolated
from planetmint.model.transaction import OutputRecord, OutputRef
from planetmint.model.validator import ValidatorSet
from planetmint.state.view import StateView


class Overlay:
    """Implements `StateView`; changes stay here and never reach the view below."""

    def __init__(self, base: StateView) -> None:
        self._base = base
        self._transactions: set[str] = set()
        self._outputs: dict[OutputRef, OutputRecord] = {}

    def has_transaction(self, transaction_id: str) -> bool:
        """See `StateView`."""
        return transaction_id in self._transactions or self._base.has_transaction(transaction_id)

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """See `StateView`."""
        return self._outputs.get(ref) or self._base.output(ref)

    def validators(self) -> ValidatorSet:
        """See `StateView`."""
        return self._base.validators()

    def validator_changes(self) -> tuple[int, ...]:
        """See `StateView`."""
        return self._base.validator_changes()

    def election(self, election_id: str) -> ElectionRecord | None:
        """See `StateView`: as before the block, whose elections take effect at its end."""
        return self._base.election(election_id)

    def chain(self) -> ChainRecord:
        """See `StateView`."""
        return self._base.chain()

    def apply(self, transaction_id: str, spends: Iterable[OutputRef], created: Iterable[OutputRecord]) -> None:
        """Add a verified transaction's effects.

        Raises:
            InvariantViolated: It spends what is missing or spent: it cannot have been verified.
        """
        self._transactions.add(transaction_id)
        for ref in spends:
            record = self.output(ref)
            if record is None or record.spender is not None:
                raise InvariantViolated(f"transaction {transaction_id} spends {ref}, which is not unspent")
            self._outputs[ref] = record._replace(spender=transaction_id)
        for record in created:
            self._outputs[record.ref] = record
