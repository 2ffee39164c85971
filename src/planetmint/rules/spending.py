# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rules about spending that several operations share; letters are those of the table in validation 4.2."""

from collections.abc import Callable, Sequence

from planetmint.conditions import fulfillment_uri, has_zenroom, signers, verify_signatures
from planetmint.model.errors import AssetIdMismatch, DoubleSpend, InputDoesNotExist, InvalidSignature
from planetmint.model.transaction import Input, Operation, OutputRecord, OutputRef, Transaction
from planetmint.state.view import StateView

SignatureCheck = Callable[[Transaction], None]
"""Raises InvalidTransaction unless all signatures of a transaction verify and its contracts say what it declares.

`check_signatures` does where contracts are none, or judged apart; a node asks its caches of both.
"""

INVALID = "Transaction signature is invalid."


def check_signatures(transaction: Transaction) -> None:
    """Verify every signature of every input over its message, by libsodium, one at a time.

    Raises:
        InvalidSignature: One of them does not verify.
    """
    for index, item in enumerate(transaction.inputs):
        if not verify_signatures(item.fulfillment, item.message):
            raise InvalidSignature(INVALID, rule="signature", field=f"inputs[{index}].fulfillment")


def check_owners(transaction: Transaction) -> None:
    """The keys that sign are exactly `owners_before`: nobody creates in another's name (transactions 5.3).

    Raises:
        InvalidSignature: They differ.
    """
    for index, item in enumerate(transaction.inputs):
        if not item.keyless and set(signers(item.fulfillment)) != set(item.owners_before):
            raise InvalidSignature(INVALID, rule="signature.owners", field=f"inputs[{index}].owners_before")


def find_unspent(view: StateView, ref: OutputRef, index: int) -> OutputRecord:
    """Rules a, b, c for one input: the output exists and is unspent.

    Args:
        view: The ledger.
        ref: What the input spends.
        index: Of the input, for the message.

    Raises:
        InputDoesNotExist: No such transaction, or it has no output of this index.
        DoubleSpend: It is spent.
    """
    field = f"inputs[{index}].fulfills"
    record = view.output(ref)
    if record is None:
        raise InputDoesNotExist(f"input `{ref.transaction_id}` doesn't exist", rule="input.exists", field=field)
    if record.spender is not None:
        reason = f"input `{ref.transaction_id}` was already spent"
        raise DoubleSpend(reason, rule="input.unspent", field=field)
    return record


def find_inputs(transaction: Transaction, view: StateView) -> list[OutputRecord]:
    """Rules a to d for all inputs of a spending transaction, in order.

    Raises:
        InputDoesNotExist, DoubleSpend: See `find_unspent`; DoubleSpend also for a reference that occurs twice.
    """
    spends = transaction.spends
    records = [find_unspent(view, ref, index) for index, ref in enumerate(spends)]
    if len(set(spends)) != len(spends):
        raise DoubleSpend(f'tx "{transaction.id}" spends inputs twice', rule="input.twice", field="inputs")
    return records


def refuse_decomposed(records: Sequence[OutputRecord]) -> None:
    """Outputs of a DECOMPOSE are consumed by CREATE alone.

    Raises:
        AssetIdMismatch: One of `records` is such an output.
    """
    if any(record.operation is Operation.DECOMPOSE for record in records):
        raise AssetIdMismatch(
            "an output of a DECOMPOSE can only be consumed by a CREATE", rule="asset.decomposed", field="inputs"
        )


def check_fulfillment(item: Input, record: OutputRecord, index: int) -> None:
    """First half of rule h: the fulfillment is one for the output's condition (transactions 5.3).

    Where a contract occurs in it, the condition's details are not known here: whatever they really are, all owners
    have to sign (transactions 5.4). That the signatures verify is `SignatureCheck`'s matter.

    Raises:
        InvalidSignature: It derives to another URI, or an owner of what a contract guards did not sign.
    """
    if fulfillment_uri(item.fulfillment) != record.uri:
        raise InvalidSignature(INVALID, rule="signature.condition", field=f"inputs[{index}].fulfillment")
    if item.keyless or not has_zenroom(item.fulfillment):
        return
    if not set(signers(item.fulfillment)).issuperset(record.public_keys):
        raise InvalidSignature(
            "every owner of what a contract guards has to sign",
            rule="contracts.owners",
            field=f"inputs[{index}].fulfillment",
        )


def check_spending_signatures(
    transaction: Transaction, records: Sequence[OutputRecord], check: SignatureCheck
) -> None:
    """Rule h: each fulfillment fits its output's condition, and all signatures verify."""
    for index, (item, record) in enumerate(zip(transaction.inputs, records, strict=True)):
        check_fulfillment(item, record, index)
    check(transaction)
