# SPDX-License-Identifier: AGPL-3.0-or-later
"""The readable tree of an output, `condition.details`: read strictly, written, and looked through.

Source: transactions 2.2, 2.3 and 5.3 (details objects); bounds in consensus-and-storage 8.
"""

from typing import Final, Literal

from planetmint.conditions.types import ED25519, THRESHOLD, TYPE_NAMES, ZENROOM
from planetmint.model.condition import Details, Ed25519Details, ThresholdDetails, ZenroomDetails
from planetmint.model.errors import SchemaValidationError, ThresholdTooDeep
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.keys import decode_public_key

MAX_THRESHOLD: Final = 100
"""Largest threshold of a details object."""

_ED25519_NAME = TYPE_NAMES[ED25519]
_THRESHOLD_NAME = TYPE_NAMES[THRESHOLD]
_ZENROOM_NAME = TYPE_NAMES[ZENROOM]
_LEAF_MEMBERS = frozenset({"type", "public_key"})
_THRESHOLD_MEMBERS = frozenset({"type", "threshold", "subconditions"})
_SHOWN = 120
"""Characters of an offending value that a reason may show."""

_Path = tuple["_Path", int] | None
"""Where a node stands: its parent's path and its index there; None at the root."""


def read_details(value: JsonValue, field: str, *, max_depth: int, max_leaves: int) -> Details:
    """Read `condition.details`.

    Args:
        value: Any JSON, nested no deeper than `ChainParameters.max_json_depth`.
        field: Path of `value` in the transaction, for errors.
        max_depth: Levels of thresholds in one another that are allowed.
        max_leaves: Keys and contracts that the tree may have in all.

    Raises:
        SchemaValidationError: Structure, types, keys, thresholds, unknown members, too many leaves.
        ThresholdTooDeep: Well-formed, but nested deeper than `max_depth`.
    """
    if isinstance(value, dict) and value.get("type") == _ED25519_NAME and max_leaves > 0:
        return Ed25519Details(_read_key(value, field, None))
    reader = _Reader(field, max_leaves)
    details = reader.read(value, None, 0)
    if reader.deepest > max_depth:
        raise ThresholdTooDeep(
            f"thresholds nest deeper than {max_depth} levels", rule="condition.depth", field=field
        )
    return details


def write_details(details: Details) -> JsonObject:
    """The JSON object that `read_details` reads as `details`."""
    match details:
        case Ed25519Details(public_key=public_key):
            return {"type": _ED25519_NAME, "public_key": public_key}
        case ZenroomDetails(public_key=public_key):
            return {"type": _ZENROOM_NAME, "public_key": public_key}
        case ThresholdDetails(threshold=threshold, subconditions=subconditions):
            nodes: list[JsonValue] = [write_details(item) for item in subconditions]
            return {"type": _THRESHOLD_NAME, "threshold": threshold, "subconditions": nodes}


def listed_keys(details: Details) -> frozenset[str]:
    """Keys of the ed25519 leaves, base58; a zenroom leaf's key commits to nothing and does not count."""
    if isinstance(details, Ed25519Details):
        return frozenset((details.public_key,))
    if isinstance(details, ZenroomDetails):
        return frozenset()
    return frozenset[str]().union(*map(listed_keys, details.subconditions))


class _Reader:
    """Reads one tree; counts its leaves and notes how deep it goes."""

    def __init__(self, field: str, max_leaves: int) -> None:
        self._field = field
        self._max_leaves = max_leaves
        self._leaves = 0
        self.deepest = 0

    def read(self, value: JsonValue, path: _Path, depth: int) -> Details:
        """Read the node at `path`, which has `depth` thresholds above it."""
        if not isinstance(value, dict):
            raise _fault(f"{_show(value)} is not of type 'object'", "type", self._field, path)
        if "type" not in value:
            raise _fault("'type' is a required property", "members", self._field, path)
        match value["type"]:
            case "ed25519-sha-256":
                self._count_leaf()
                return Ed25519Details(_read_key(value, self._field, path))
            case "zenroom-sha-256":
                self._count_leaf()
                return ZenroomDetails(_read_key(value, self._field, path))
            case "threshold-sha-256":
                return self._read_threshold(value, path, depth + 1)
            case other:
                raise _fault(
                    f"{_show(other)} is not one of {list(TYPE_NAMES.values())}", "type", self._field, path
                )

    def _read_threshold(self, node: JsonObject, path: _Path, depth: int) -> Details:
        _check_members(node, _THRESHOLD_MEMBERS, self._field, path)
        self.deepest = max(self.deepest, depth)
        threshold, items = node["threshold"], node["subconditions"]
        if not isinstance(threshold, int) or isinstance(threshold, bool):
            raise _fault(f"{_show(threshold)} is not of type 'integer'", "threshold", self._field, path)
        if not 1 <= threshold <= MAX_THRESHOLD:
            bound = (
                "less than the minimum of 1" if threshold < 1 else f"greater than the maximum of {MAX_THRESHOLD}"
            )
            raise _fault(f"{_show(threshold)} is {bound}", "threshold", self._field, path)
        if not isinstance(items, list):
            raise _fault(f"{_show(items)} is not of type 'array'", "subconditions", self._field, path)
        if not items:
            raise _fault("[] is too short", "subconditions", self._field, path)
        if threshold > len(items):
            reason = f"{threshold} is greater than the number of subconditions ({len(items)})"
            raise _fault(reason, "threshold", self._field, path)
        subconditions = []
        for index, item in enumerate(items):
            subconditions.append(self.read(item, (path, index), depth))
        return ThresholdDetails(threshold, tuple(subconditions))

    def _count_leaf(self) -> None:
        self._leaves += 1
        if self._leaves > self._max_leaves:
            raise _fault(f"the condition has more than {self._max_leaves} leaves", "leaves", self._field, None)


def _read_key(node: JsonObject, field: str, path: _Path) -> str:
    """The key of a leaf, which must have no other members."""
    _check_members(node, _LEAF_MEMBERS, field, path)
    key = node["public_key"]
    if not isinstance(key, str):
        raise _fault(f"{_show(key)} is not of type 'string'", "public_key", field, path)
    if decode_public_key(key) is None:
        raise _fault(f"{_show(key)} is not a base58 public key of 32 bytes", "public_key", field, path)
    return key


def _check_members(node: JsonObject, names: frozenset[str], field: str, path: _Path) -> None:
    if node.keys() == names:
        return
    missing = sorted(names - node.keys())
    if missing:
        raise _fault(f"'{missing[0]}' is a required property", "members", field, path)
    unknown = min(node.keys() - names)
    reason = f"Additional properties are not allowed ({_show(unknown)} was unexpected)"
    raise _fault(reason, "members", field, path)


_FaultName = Literal["type", "members", "public_key", "threshold", "subconditions", "leaves"]


def _fault(reason: str, fault: _FaultName, field: str, path: _Path) -> SchemaValidationError:
    return SchemaValidationError(reason, rule=f"condition.{fault}", field=field + _render(path))


def _render(path: _Path) -> str:
    steps = []
    while path is not None:
        path, index = path
        steps.append(f".subconditions[{index}]")
    return "".join(reversed(steps))


def _show(value: JsonValue) -> str:
    """`value` as it stands in a reason: short, whatever its size."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * _SHOWN:
        return "a large integer"
    text = repr(value[:_SHOWN]) if isinstance(value, str) else repr(value)
    return text if len(text) <= 2 * _SHOWN else text[: 2 * _SHOWN]
