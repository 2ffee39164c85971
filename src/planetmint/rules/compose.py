# SPDX-License-Identifier: AGPL-3.0-or-later
"""COMPOSE: several assets become one new asset. Source: transactions 3.2, validation 4.3."""

from planetmint.model.errors import AssetIdMismatch, ValidationError
from planetmint.model.transaction import Transaction
from planetmint.rules.spending import (
    SignatureCheck,
    check_spending_signatures,
    find_inputs,
    refuse_decomposed,
)
from planetmint.state.view import StateView


def verify(transaction: Transaction, view: StateView, check: SignatureCheck) -> None:
    """Hold a COMPOSE against the ledger; amounts are free.

    Raises:
        InputDoesNotExist, DoubleSpend: About its references.
        InvalidSignature: A fulfillment does not fit or does not verify.
        ValidationError: Not exactly one new asset, or not exactly one output.
        AssetIdMismatch: The assets named are not those of the inputs, or an input is of a DECOMPOSE.
    """
    records = find_inputs(transaction, view)
    refuse_decomposed(records)
    check_spending_signatures(transaction, records, check)
    if sum(asset.id is None for asset in transaction.assets) != 1:
        raise ValidationError(
            "COMPOSE must describe exactly one new asset", rule="compose.new_asset", field="assets"
        )
    if len(transaction.outputs) != 1:
        raise ValidationError("COMPOSE must have exactly one output", rule="compose.output", field="outputs")
    named = {asset.id for asset in transaction.assets if asset.id is not None}
    if named != {record.asset_id for record in records}:
        raise AssetIdMismatch(
            "The assets of a COMPOSE must be exactly the assets of its inputs",
            rule="compose.assets",
            field="assets",
        )
