# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a contract is refused: its purpose decides the class, the rule and the field say what and where."""

from planetmint.contracts.call import Purpose
from planetmint.model.errors import InvalidScript, InvalidSignature, InvalidTransaction


def refusal(purpose: Purpose, field: str, rule: str, reason: str) -> InvalidTransaction:
    """InvalidScript for the script of a transaction, InvalidSignature for a leaf of a fulfillment.

    Args:
        purpose: Why the contract runs.
        field: Where it stands in the transaction.
        rule: Stable name of the broken rule, like ``contract.statements``.
        reason: One sentence for people.
    """
    kind = InvalidScript if purpose is Purpose.SCRIPT else InvalidSignature
    return kind(reason, rule=rule, field=field)
