# SPDX-License-Identifier: AGPL-3.0-or-later
"""CREATE: a new asset, in 3.0 also out of an output of a DECOMPOSE. Source: validation 4.1."""

from planetmint.model.errors import AmountError, DuplicateTransaction, ValidationError
from planetmint.model.transaction import Transaction
from planetmint.rules.spending import SignatureCheck, check_fulfillment, check_owners, find_unspent
from planetmint.state.view import StateView


def verify(transaction: Transaction, view: StateView, check: SignatureCheck) -> None:
    """Hold a CREATE against the ledger.

    Raises:
        DuplicateTransaction: The id is in the ledger.
        InvalidSignature: A signature fails, somebody else signed, or it does not fit the consumed output.
        InputDoesNotExist, DoubleSpend: About the consumed output.
        ValidationError: The consumed output stands for other data.
        AmountError: The outputs do not add up to the consumed output.
    """
    if view.has_transaction(transaction.id):
        reason = f"transaction `{transaction.id}` already exists"
        raise DuplicateTransaction(reason, rule="create.duplicate", field="id")
    check(transaction)
    check_owners(transaction)
    if transaction.spends:
        _verify_consumption(transaction, view)


def _verify_consumption(transaction: Transaction, view: StateView) -> None:
    record = find_unspent(view, transaction.spends[0], 0)
    data = transaction.assets[0].data if transaction.assets else None
    if record.item is None or data != record.item:
        raise ValidationError(
            "CREATE must have matching asset description with input transaction",
            rule="create.item",
            field="assets[0].data",
        )
    check_fulfillment(transaction.inputs[0], record, 0)
    total = sum(output.amount for output in transaction.outputs)
    if total != record.amount:
        raise AmountError(
            f"The amount used in the inputs `{record.amount}` needs to be same as the amount used in the outputs "
            f"`{total}`",
            rule="create.amounts",
            field="outputs",
        )
