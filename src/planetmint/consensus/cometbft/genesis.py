# SPDX-License-Identifier: AGPL-3.0-or-later
"""The application's part of a genesis file: the chain's parameters, and what a migrated chain goes on from.

It is `app_state`: `{"planetmint": {"parameters": {...}, "migrated_from": {...}}}`, the latter after a migration
only. Source: consensus-and-storage 8, elections-and-operations 4.
"""

from typing import NamedTuple

from planetmint.model import json
from planetmint.model.errors import SchemaValidationError
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import (
    BOUNDS,
    CONTRACT_BOUNDS,
    CONTRACT_MODES,
    ChainParameters,
    parameters_from_json,
)
from planetmint.ports.consensus import Migrated
from planetmint.ports.errors import ChainMismatch

SECTION = "planetmint"
"""Our member of `app_state`."""

_MAX_DEPTH = 32
_MAX_DIGITS = 20
_ADVICE = (
    "All nodes of a chain need the same genesis file: take it from a node that works, or make it by the tools."
)


class Genesis(NamedTuple):
    """The application's part; `migrated_from` is None for a chain that begins with its genesis."""

    parameters: ChainParameters
    migrated_from: Migrated | None = None

    def to_json(self) -> JsonObject:
        """The whole of `app_state`."""
        section: JsonObject = {"parameters": self.parameters.to_json()}
        if self.migrated_from is not None:
            height, app_hash, label = self.migrated_from
            section["migrated_from"] = {"app_hash": app_hash, "height": height, "label": label}
        return {SECTION: section}


def read_app_state(text: bytes) -> Genesis:
    """Read `app_state`; one that is empty or has no part of ours stands for the default parameters.

    Raises:
        ChainMismatch: It is not what this node can follow; the message names the member.
    """
    if not text.strip():
        return Genesis(ChainParameters())
    try:
        document = json.parse(text, max_depth=_MAX_DEPTH, max_digits=_MAX_DIGITS)
    except SchemaValidationError as error:
        raise _refused("app_state", f"it cannot be read ({error.reason})") from None
    section = _object(_object(document, "app_state").get(SECTION, {}), SECTION)
    _only(section, ("parameters", "migrated_from"), SECTION)
    parameters = _object(section.get("parameters", {}), "parameters")
    origin = section.get("migrated_from")
    return Genesis(_parameters(parameters), None if origin is None else _origin(_object(origin, "migrated_from")))


def _parameters(value: JsonObject) -> ChainParameters:
    _only(value, (*BOUNDS, "contracts"), "parameters")
    contracts = _object(value.get("contracts", {}), "contracts")
    _only(contracts, (*CONTRACT_BOUNDS, *CONTRACT_MODES, "engine"), "contracts")
    for members, bounds in ((value, BOUNDS), (contracts, CONTRACT_BOUNDS)):
        for name, (least, highest) in bounds.items():
            if name in members:
                _number(members[name], name, least, highest)
    for name, choices in CONTRACT_MODES.items():
        if contracts.get(name, choices[0]) not in choices:
            raise _refused(name, f"it must be one of {', '.join(choices)}")
    engine = contracts.get("engine")
    if engine is not None and not isinstance(engine, str):
        raise _refused("engine", "it must be a text or null")
    return parameters_from_json(value)


def _origin(value: JsonObject) -> Migrated:
    _only(value, ("app_hash", "height", "label"), "migrated_from")
    app_hash, label = value.get("app_hash"), value.get("label")
    if not isinstance(app_hash, str) or not isinstance(label, str):
        raise _refused("migrated_from", "app_hash and label must be texts")
    return Migrated(_number(value.get("height"), "height", 1, 2**63 - 1), app_hash, label)


def _object(value: JsonValue, name: str) -> JsonObject:
    if not isinstance(value, dict):
        raise _refused(name, "it must be an object")
    return value


def _only(value: JsonObject, names: tuple[str, ...], where: str) -> None:
    unknown = sorted(value.keys() - set(names))
    if unknown:
        raise _refused(where, f"this version of the node does not know `{unknown[0]}`")


def _number(value: JsonValue, name: str, least: int, highest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= highest:
        raise _refused(name, f"it must be a whole number from {least} to {highest}")
    return value


def _refused(name: str, reason: str) -> ChainMismatch:
    return ChainMismatch(f"the genesis file cannot be followed, `{name}`: {reason}. {_ADVICE}")
