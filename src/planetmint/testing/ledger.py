# SPDX-License-Identifier: AGPL-3.0-or-later
"""A ledger in memory for tests: transactions as bytes go in, verdicts come out, by the rules of the chain."""

from collections.abc import Iterable

from planetmint.chain import admit
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import OutputRecord, OutputRef, Transaction
from planetmint.model.validator import ValidatorSet
from planetmint.rules import check_signatures, decode_transaction
from planetmint.state.overlay import Overlay


class EmptyLedger:
    """A `StateView` of a chain without transactions."""

    def __init__(self, validators: ValidatorSet = ()) -> None:
        self._validators = validators

    def has_transaction(self, transaction_id: str) -> bool:
        """See `StateView`."""
        return False

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """See `StateView`."""
        return None

    def validators(self) -> ValidatorSet:
        """See `StateView`."""
        return self._validators

    def validator_changes(self) -> tuple[int, ...]:
        """See `StateView`."""
        return (1,)

    def election(self, election_id: str) -> ElectionRecord | None:
        """See `StateView`."""
        return None

    def chain(self) -> ChainRecord:
        """See `StateView`."""
        return ChainRecord("tests")


class Ledger:
    """Takes transactions one after the other, each on top of those before."""

    def __init__(self, parameters: ChainParameters | None = None, validators: ValidatorSet = ()) -> None:
        self._parameters = parameters or ChainParameters()
        self._overlay = Overlay(EmptyLedger(validators))

    def take(self, body: bytes) -> Transaction:
        """Add a transaction.

        Args:
            body: JSON in any spelling.

        Raises:
            InvalidTransaction: It breaks a rule; nothing was added.
        """
        transaction = decode_transaction(body, self._parameters)
        return admit(transaction, self._overlay, check_signatures)[0]

    def take_all(self, bodies: Iterable[bytes]) -> None:
        """Add transactions that have to be valid.

        Raises:
            AssertionError: One of them was refused: the test is wrong, not the product.
        """
        for number, body in enumerate(bodies):
            try:
                self.take(body)
            except InvalidTransaction as error:
                raise AssertionError(f"transaction {number} is refused: {error.code}: {error.reason}") from error

    def verdict(self, body: bytes) -> InvalidTransaction | None:
        """Why a transaction is refused here; None where it was accepted (and added)."""
        try:
            self.take(body)
        except InvalidTransaction as error:
            return error
        return None
