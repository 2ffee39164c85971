# SPDX-License-Identifier: AGPL-3.0-or-later
"""Validators: who may make blocks, and with what power."""

import base64
from typing import NamedTuple

from planetmint.model.json import JsonValue

MAX_TOTAL_POWER = (2**63 - 1) // 8
"""The engine's bound on the power of a validator set."""


class Validator(NamedTuple):
    """One validator: its Ed25519 public key (32 bytes) and its power (1 or more)."""

    public_key: bytes
    power: int

    def to_json(self) -> dict[str, JsonValue]:
        """As `GET /validators` shows it (http-api 8)."""
        value = base64.b64encode(self.public_key).decode()
        return {"public_key": {"type": "ed25519-base64", "value": value}, "voting_power": self.power}


ValidatorSet = tuple[Validator, ...]
"""Validators in the order in which they were stored."""
