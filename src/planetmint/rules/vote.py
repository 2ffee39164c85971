# SPDX-License-Identifier: AGPL-3.0-or-later
"""VOTE: shares of an election go to its address, or to somebody who votes later.

Source: validation 4.2 and 4.4. What a vote does to its election is told at the end of the block.
"""

from planetmint.model.condition import Ed25519Details
from planetmint.model.errors import ValidationError
from planetmint.model.transaction import Transaction
from planetmint.rules import transfer
from planetmint.rules.spending import SignatureCheck
from planetmint.state.view import StateView


def verify(transaction: Transaction, view: StateView, check: SignatureCheck) -> None:
    """Hold a VOTE against the ledger: the rules of TRANSFER, and outputs that are what they show.

    Raises:
        ValidationError: An output is not locked to its one public key: it could be counted and spent again.
        InvalidTransaction: See `transfer.verify`.
    """
    transfer.verify(transaction, view, check)
    for index, output in enumerate(transaction.outputs):
        if len(output.public_keys) != 1 or output.details != Ed25519Details(output.public_keys[0]):
            raise ValidationError(
                "vote outputs must be locked to their public key",
                rule="vote.locked",
                field=f"outputs[{index}].public_keys",
            )
