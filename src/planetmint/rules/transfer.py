# SPDX-License-Identifier: AGPL-3.0-or-later
"""TRANSFER: shares of one asset get new owners. Source: validation 4.2."""

from planetmint.model.errors import AmountError, AssetIdMismatch
from planetmint.model.transaction import Transaction
from planetmint.rules.spending import (
    SignatureCheck,
    check_spending_signatures,
    find_inputs,
    refuse_decomposed,
)
from planetmint.state.view import StateView


def verify(transaction: Transaction, view: StateView, check: SignatureCheck) -> None:
    """Hold a TRANSFER against the ledger: rules a to h in this order.

    Raises:
        InputDoesNotExist, DoubleSpend: About its references.
        AssetIdMismatch: Inputs of several assets, of another asset than named, or of a DECOMPOSE.
        AmountError: Inputs and outputs differ in amount.
        InvalidSignature: A fulfillment does not fit or does not verify.
    """
    records = find_inputs(transaction, view)
    if len({record.asset_id for record in records}) > 1:
        raise AssetIdMismatch(
            "All inputs of all transactions passed need to have the same asset id",
            rule="transfer.one_asset",
            field="inputs",
        )
    refuse_decomposed(records)
    if records[0].asset_id != transaction.asset_id:
        raise AssetIdMismatch(
            "The asset id of the input does not match the asset id of the transaction",
            rule="transfer.asset",
            field="asset.id" if transaction.version == "2.0" else "assets[0].id",
        )
    spent = sum(record.amount for record in records)
    made = sum(output.amount for output in transaction.outputs)
    if spent != made:
        raise AmountError(
            f"The amount used in the inputs `{spent}` needs to be same as the amount used in the outputs `{made}`",
            rule="transfer.amounts",
            field="outputs",
        )
    check_spending_signatures(transaction, records, check)
