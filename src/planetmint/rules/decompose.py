# SPDX-License-Identifier: AGPL-3.0-or-later
"""DECOMPOSE: one asset is split into descriptions that later CREATEs pick up.

Source: transactions 3.2, validation 4.3.
"""

from planetmint.model.errors import AssetIdMismatch, ValidationError
from planetmint.model.transaction import OutputRecord, Transaction
from planetmint.rules.spending import (
    SignatureCheck,
    check_spending_signatures,
    find_inputs,
    refuse_decomposed,
)
from planetmint.state.view import StateView


def verify(transaction: Transaction, view: StateView, check: SignatureCheck) -> None:
    """Hold a DECOMPOSE against the ledger: rules a b c d f h, then the shape of the split; amounts are free.

    Raises:
        InputDoesNotExist, DoubleSpend: About its reference.
        AssetIdMismatch: Another asset than the input's, or the input is itself of a DECOMPOSE.
        InvalidSignature: The fulfillment does not fit or does not verify.
        ValidationError: Not exactly one asset consumed, no new asset, or another owner in an output.
    """
    records = find_inputs(transaction, view)
    refuse_decomposed(records)
    named = [asset.id for asset in transaction.assets if asset.id is not None]
    if len(named) == 1 and named[0] != records[0].asset_id:
        raise AssetIdMismatch(
            "The asset id of the input does not match the asset id of the transaction",
            rule="decompose.asset",
            field="assets",
        )
    check_spending_signatures(transaction, records, check)
    if len(named) != 1:
        raise ValidationError("DECOMPOSE must name exactly one asset", rule="decompose.one_asset", field="assets")
    if len(transaction.assets) == 1:
        raise ValidationError(
            "DECOMPOSE must describe at least one new asset", rule="decompose.new_asset", field="assets"
        )
    _check_recipients(transaction, records[0])


def _check_recipients(transaction: Transaction, record: OutputRecord) -> None:
    if len(record.public_keys) != 1:
        raise ValidationError(
            "DECOMPOSE must consume an output of a single owner", rule="decompose.owner", field="inputs[0]"
        )
    for index, output in enumerate(transaction.outputs):
        if output.public_keys != record.public_keys:
            raise ValidationError(
                "DECOMPOSE outputs must go to the owner of the input",
                rule="decompose.recipient",
                field=f"outputs[{index}].public_keys",
            )
