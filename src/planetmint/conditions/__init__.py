# SPDX-License-Identifier: AGPL-3.0-or-later
"""Crypto-conditions: what an output asks of its spender, and how an input shows it.

Read a tree from JSON, derive its condition and URI, read a fulfillment from text, and find out who signed and
whether the signatures verify. Pure functions over the values of `planetmint.model.condition`.
Source: transactions 5.
"""

from planetmint.conditions.derive import (
    condition_der,
    contract_condition,
    derive_condition,
    fingerprint_contents,
    fulfillment_condition,
)
from planetmint.conditions.details import listed_keys, read_details, write_details
from planetmint.conditions.evaluate import contract_leaves, has_zenroom, signed_parts, signers, verify_signatures
from planetmint.conditions.fulfillment import decode_fulfillment, encode_fulfillment, fulfillment_der
from planetmint.conditions.sign import contract_fulfillment, fulfill
from planetmint.conditions.uri import (
    condition_uri,
    details_uri,
    fulfillment_uri,
    is_condition_uri,
    may_commit,
    parse_condition_uri,
)

__all__ = [
    "condition_der",
    "condition_uri",
    "contract_condition",
    "contract_fulfillment",
    "contract_leaves",
    "decode_fulfillment",
    "derive_condition",
    "details_uri",
    "encode_fulfillment",
    "fingerprint_contents",
    "fulfill",
    "fulfillment_condition",
    "fulfillment_der",
    "fulfillment_uri",
    "has_zenroom",
    "is_condition_uri",
    "listed_keys",
    "may_commit",
    "parse_condition_uri",
    "read_details",
    "signed_parts",
    "signers",
    "verify_signatures",
    "write_details",
]
