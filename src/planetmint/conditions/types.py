# SPDX-License-Identifier: AGPL-3.0-or-later
"""The condition types that transactions may use: ids, names and fixed costs.

Preimage (0), prefix (1) and rsa (3) exist in the published libraries, but no transaction may hold them:
they are unknown here. Source: transactions 5.1.
"""

from typing import Final

THRESHOLD: Final = 2
ED25519: Final = 4
ZENROOM: Final = 5

TYPE_NAMES: Final = {THRESHOLD: "threshold-sha-256", ED25519: "ed25519-sha-256", ZENROOM: "zenroom-sha-256"}
TYPE_IDS: Final = {name: type_id for type_id, name in TYPE_NAMES.items()}
LEAF_TYPES: Final = frozenset({ED25519, ZENROOM})

FINGERPRINT_BYTES: Final = 32
"""Length of a SHA-256 digest."""

LEAF_COST: Final = 131_072
"""Cost of an ed25519 and of a zenroom condition."""

SUBCONDITION_COST: Final = 1_024
"""What each subcondition adds to the cost of a threshold."""

MAX_COST: Final = 2**32 - 1
"""Largest cost that a condition inside a fulfillment may claim; the published encoding's bound."""
