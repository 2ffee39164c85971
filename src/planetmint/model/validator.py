# SPDX-License-Identifier: AGPL-3.0-or-later
"""Validators: who may make blocks, and with what power."""

import base64
from typing import NamedTuple

from planetmint.model.errors import InvalidPowerChange
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


def change_validators(validators: ValidatorSet, change: Validator) -> ValidatorSet:
    """The set after a validator election: the change replaces in place, is put at the end, or removes.

    Asked when an election is proposed and again when it concludes, on the set of that moment.

    Args:
        validators: The newest set.
        change: A key and its new power (0 or more); 0 removes it.

    Raises:
        InvalidPowerChange: The new power is a third of the present total or more; the key to be removed is no
            validator; none would be left; the total would be beyond the engine's bound.

    Source: validation 4.4, rule 6.
    """
    key, power = change
    if 3 * power >= sum(validator.power for validator in validators):
        raise InvalidPowerChange(
            "`power` change must be less than 1/3 of total power", rule="election.power", field="asset"
        )
    changed = {validator.public_key: validator for validator in validators}
    if power == 0:
        if changed.pop(key, None) is None:
            raise InvalidPowerChange(
                "only a validator can be removed", rule="election.unknown_validator", field="asset"
            )
        if not changed:
            raise InvalidPowerChange(
                "the last validator cannot be removed", rule="election.last_validator", field="asset"
            )
    else:
        changed[key] = change
    after = tuple(changed.values())
    if sum(validator.power for validator in after) > MAX_TOTAL_POWER:
        raise InvalidPowerChange(
            f"the total power of validators must be <= {MAX_TOTAL_POWER}", rule="election.total", field="asset"
        )
    return after
