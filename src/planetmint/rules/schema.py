# SPDX-License-Identifier: AGPL-3.0-or-later
"""Structure of transactions: members, types and patterns, in all three dialects.

Each function reads one part of the JSON value and answers with model values, or raises
`SchemaValidationError` whose wording follows the published schemas' validator.
Source: transactions 1.1, 2 and 3; bounds in consensus-and-storage 8.
"""

import re
import reprlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

from planetmint.conditions import details_uri, is_condition_uri, listed_keys, may_commit, read_details
from planetmint.model.condition import Details, Ed25519Details
from planetmint.model.election import ELECTIONS, KEY_TYPES
from planetmint.model.errors import SchemaValidationError, ThresholdTooDeep
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.keys import decode_public_key
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Asset, Operation, Output, OutputRef
from planetmint.model.validator import MAX_TOTAL_POWER

HEX64 = "^[0-9a-f]{64}$"
AMOUNT = "^[0-9]{1,20}$"
FULFILLMENT = "^[a-zA-Z0-9_-]*$"

_HEX64 = re.compile(r"[0-9a-f]{64}")
_AMOUNT = re.compile(r"[0-9]{1,20}")
_FULFILLMENT = re.compile(r"[a-zA-Z0-9_-]*")

_NAMING = frozenset({Operation.TRANSFER, Operation.VOTE})
"""Operations that only name an asset."""

_TYPE_NAMES = {dict: "object", list: "array", str: "string"}

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = _shorten.maxlong = 80


class InputForm(NamedTuple):
    """An input whose structure was checked and whose fulfillment was not yet read.

    `fulfillment` is None where a details object stands in place of the text.
    """

    owners_before: tuple[str, ...]
    fulfills: OutputRef | None
    fulfillment: str | None


def show(value: JsonValue) -> str:
    """`value` as error messages print it: like Python's repr, but short."""
    return _shorten.repr(value)


def invalid(reason: str, kind: str, field: str | None) -> SchemaValidationError:
    """A schema violation; `kind` completes the rule's name."""
    return SchemaValidationError(reason, rule=f"schema.{kind}", field=field)


def read_object(value: JsonValue, field: str | None) -> JsonObject:
    """`value` if it is an object."""
    if not isinstance(value, dict):
        raise invalid(f"{show(value)} is not of type 'object'", "type", field)
    return value


def read_members(
    value: JsonValue, field: str | None, required: Collection[str], optional: Collection[str] = ()
) -> JsonObject:
    """`value` if it is an object with all of the `required` members and none but these and the `optional` ones."""
    members = read_object(value, field)
    for name in required:
        if name not in members:
            raise invalid(f"{name!r} is a required property", "required", _join(field, name))
    if len(members) > len(required):
        for name in members:
            if name not in required and name not in optional:
                reason = f"Additional properties are not allowed ({show(name)} was unexpected)"
                raise invalid(reason, "additional", field)
    return members


def read_array(value: JsonValue, field: str, *, at_least: int = 0, at_most: int | None = None) -> list[JsonValue]:
    """`value` if it is an array of an allowed length."""
    if not isinstance(value, list):
        raise invalid(f"{show(value)} is not of type 'array'", "type", field)
    if len(value) < at_least:
        raise invalid(f"{show(value)} is too short", "length", field)
    if at_most is not None and len(value) > at_most:
        raise invalid(f"{show(value)} is too long", "length", field)
    return value


def read_text(value: JsonValue, field: str) -> str:
    """`value` if it is a string."""
    if not isinstance(value, str):
        raise invalid(f"{show(value)} is not of type 'string'", "type", field)
    return value


def read_hash(value: JsonValue, field: str) -> str:
    """`value` if it is 64 lower-case hex digits."""
    text = read_text(value, field)
    if _HEX64.fullmatch(text) is None:
        raise invalid(f"{show(text)} does not match {HEX64!r}", "pattern", field)
    return text


def read_public_key(value: JsonValue, field: str) -> str:
    """`value` if it is the base58 text of 32 bytes, in 43 or 44 characters."""
    text = read_text(value, field)
    if decode_public_key(text) is None:
        raise invalid(f"{show(text)} is not a base58 public key of 32 bytes", "public_key", field)
    return text


def read_inputs(
    value: JsonValue, parameters: ChainParameters, *, at_least: int, at_most: int | None, spending: bool | None
) -> list[InputForm]:
    """Read `inputs`.

    Args:
        value: The member as sent.
        parameters: Its `max_inputs` bounds the number.
        at_least, at_most: Number of inputs that the operation allows; no upper bound of its own for None.
        spending: Whether `fulfills` must be an object (True), must be null (False) or may be either (None).
    """
    most = parameters.max_inputs if at_most is None else at_most
    items = read_array(value, "inputs", at_least=at_least, at_most=most)
    return [_read_input(item, f"inputs[{index}]", spending) for index, item in enumerate(items)]


def _read_input(value: JsonValue, field: str, spending: bool | None) -> InputForm:
    members = read_members(value, field, ("owners_before", "fulfills", "fulfillment"))
    owners = read_array(members["owners_before"], f"{field}.owners_before")
    keys = tuple(read_public_key(key, f"{field}.owners_before") for key in owners)
    fulfills = _read_fulfills(members["fulfills"], f"{field}.fulfills", spending)
    return InputForm(keys, fulfills, _read_fulfillment(members["fulfillment"], f"{field}.fulfillment"))


def _read_fulfills(value: JsonValue, field: str, spending: bool | None) -> OutputRef | None:
    if value is None:
        if spending is True:
            raise invalid("None is not of type 'object'", "type", field)
        return None
    if spending is False:
        raise invalid(f"{show(value)} is not of type 'null'", "type", field)
    members = read_members(value, field, ("transaction_id", "output_index"))
    transaction_id = read_hash(members["transaction_id"], f"{field}.transaction_id")
    index = members["output_index"]
    if not isinstance(index, int) or isinstance(index, bool):
        raise invalid(f"{show(index)} is not of type 'integer'", "type", f"{field}.output_index")
    if index < 0:
        raise invalid(f"{show(index)} is less than the minimum of 0", "minimum", f"{field}.output_index")
    return OutputRef(transaction_id, index)


def _read_fulfillment(value: JsonValue, field: str) -> str | None:
    if isinstance(value, dict):
        return None
    text = read_text(value, field)
    if _FULFILLMENT.fullmatch(text) is None:
        raise invalid(f"{show(text)} does not match {FULFILLMENT!r}", "pattern", field)
    return text


class TooDeep(NamedTuple):
    """An output whose condition nests too deep, which is told only after all of the schema."""

    amount: int
    refusal: ThresholdTooDeep


def read_outputs(value: JsonValue, parameters: ChainParameters) -> list[Output | TooDeep]:
    """Read `outputs`; amounts are not yet held against their range."""
    items = read_array(value, "outputs", at_most=parameters.max_outputs)
    return [_read_output(item, f"outputs[{index}]", parameters) for index, item in enumerate(items)]


def _read_output(value: JsonValue, field: str, parameters: ChainParameters) -> Output | TooDeep:
    members = read_members(value, field, ("amount", "condition", "public_keys"))
    amount = read_text(members["amount"], f"{field}.amount")
    if _AMOUNT.fullmatch(amount) is None:
        raise invalid(f"{show(amount)} does not match {AMOUNT!r}", "pattern", f"{field}.amount")
    keys = members["public_keys"]
    listed = [] if keys is None else read_array(keys, f"{field}.public_keys")
    public_keys = tuple(read_public_key(key, f"{field}.public_keys") for key in listed)
    condition = read_members(members["condition"], f"{field}.condition", ("details", "uri"))
    uri = read_text(condition["uri"], f"{field}.condition.uri")
    try:
        details = read_details(
            condition["details"],
            f"{field}.condition.details",
            max_depth=parameters.max_condition_depth,
            max_leaves=parameters.max_condition_leaves,
        )
    except ThresholdTooDeep as refusal:
        return TooDeep(int(amount), refusal)
    _check_uri(uri, details, f"{field}.condition.uri", parameters)
    return Output(int(amount), public_keys, details, uri)


def _check_uri(uri: str, details: Details, field: str, parameters: ChainParameters) -> None:
    """The URI that spending asks for is that of the details, as far as it can be derived from them."""
    derived = details_uri(details)
    if derived is not None:
        if derived != uri:
            raise invalid(f"{show(uri)} is not the URI of the condition's details", "uri", field)
        return
    if not is_condition_uri(uri):
        raise invalid(f"{show(uri)} is not a condition URI", "pattern", field)
    # Else details could show the payee's key, while the URI is that of a key of the sender. Where they show no key
    # the output is refused whatever its URI is (see `decode`).
    bound = parameters.contracts.zenroom == "bound" and listed_keys(details)
    if bound and not may_commit(details, uri):
        reason = f"{show(uri)} is not a URI over the contracts of the condition's details"
        raise invalid(reason, "uri", field)


def check_electoral(outputs: Sequence[Output | TooDeep]) -> None:
    """Outputs of elections and votes are locked to a single ed25519 key each (transactions 3)."""
    for index, output in enumerate(outputs):
        if isinstance(output, TooDeep) or type(output.details) is not Ed25519Details:
            raise invalid(
                "the condition of an election's or vote's output must be a single ed25519 key",
                "ed25519",
                f"outputs[{index}].condition",
            )


def read_assets(members: JsonObject, version: str, operation: Operation) -> tuple[Asset, ...]:
    """Read `asset` (2.0) or `assets` (3.0) as the operation asks for it."""
    if version == "2.0":
        return (_read_asset_2_0(members["asset"], operation),)
    value = members["assets"]
    if operation is Operation.CREATE and value is None:
        return ()
    if operation is Operation.CREATE or operation in ELECTIONS:
        (item,) = read_array(value, "assets", at_least=1, at_most=1)
        if operation in ELECTIONS:
            return (_read_election(item, "assets[0]", operation),)
        return (Asset(None, _read_data(item, "assets[0]", nullable=True)),)
    items = read_array(value, "assets", at_least=1)
    mixed = operation not in _NAMING
    return tuple(_read_asset_3_0(item, f"assets[{index}]", mixed) for index, item in enumerate(items))


def _read_asset_2_0(value: JsonValue, operation: Operation) -> Asset:
    if operation in _NAMING:
        return Asset(read_hash(read_members(value, "asset", ("id",))["id"], "asset.id"))
    if operation in ELECTIONS:
        return _read_election(value, "asset", operation)
    data = read_members(value, "asset", ("data",))["data"]
    if data is not None and not isinstance(data, (str, dict)):
        raise invalid(f"{show(data)} is not valid under any of the given schemas", "type", "asset.data")
    return Asset(None, data)


def _read_asset_3_0(value: JsonValue, field: str, mixed: bool) -> Asset:
    if mixed and "id" not in read_object(value, field):
        return Asset(None, _read_data(value, field, nullable=False))
    return Asset(read_hash(read_members(value, field, ("id",))["id"], f"{field}.id"))


def _read_election(value: JsonValue, field: str, operation: Operation) -> Asset:
    data = read_members(value, field, ("data",))["data"]
    candidate = ("node_id", "power", "public_key") if operation is Operation.VALIDATOR_ELECTION else ()
    members = read_members(data, f"{field}.data", candidate, ("seed",))
    if "seed" in members:
        read_text(members["seed"], f"{field}.data.seed")
    if candidate:
        _check_candidate(members, f"{field}.data")
    return Asset(None, data)


def _check_candidate(members: JsonObject, field: str) -> None:
    read_text(members["node_id"], f"{field}.node_id")
    power = members["power"]
    if not isinstance(power, int) or isinstance(power, bool):
        raise invalid(f"{show(power)} is not of type 'integer'", "type", f"{field}.power")
    if power < 0:
        raise invalid(f"{show(power)} is less than the minimum of 0", "minimum", f"{field}.power")
    if power > MAX_TOTAL_POWER:
        reason = f"{show(power)} is greater than the maximum of {MAX_TOTAL_POWER}"
        raise invalid(reason, "maximum", f"{field}.power")
    key = read_members(members["public_key"], f"{field}.public_key", ("type", "value"))
    if key["type"] not in KEY_TYPES:
        raise invalid(f"{show(key['type'])} is not one of {list(KEY_TYPES)}", "enum", f"{field}.public_key.type")
    read_text(key["value"], f"{field}.public_key.value")


def _read_data(value: JsonValue, field: str, *, nullable: bool) -> str | None:
    data = read_members(value, field, ("data",))["data"]
    if data is None and nullable:
        return None
    return read_text(data, f"{field}.data")


def check_metadata(value: JsonValue, version: str) -> None:
    """Null or a string; in 2.0 also an object with at least one member."""
    if value is None or isinstance(value, str):
        return
    if version == "2.0" and isinstance(value, dict):
        if not value:
            raise invalid("{} does not have enough properties", "length", "metadata")
        return
    raise invalid(f"{show(value)} is not valid under any of the given schemas", "type", "metadata")


def check_script(value: JsonValue, version: str) -> None:
    """Shape of `script`: B in 2.0, C in 3.0 (transactions 2.5)."""
    names = ("input", "output") if version == "2.0" else ("inputs", "outputs")
    members = read_members(value, "script", ("code", "state", *names), ("policies",))
    read_object(members[names[0]], f"script.{names[0]}")
    if not isinstance(members[names[1]], (dict, list)):
        raise invalid(f"{show(members[names[1]])} is not of type 'object', 'array'", "type", f"script.{names[1]}")
    # Not anchored, as published: longer text is accepted here and nowhere else (transactions 2.3).
    if _HEX64.search(read_text(members["state"], "script.state")) is None:
        raise invalid(f"{show(members['state'])} does not match '[0-9a-f]{{64}}'", "pattern", "script.state")
    if version == "2.0":
        _check_code_2_0(members["code"])
    else:
        read_text(members["code"], "script.code")
    _check_policies(members.get("policies", {}))


def _check_code_2_0(value: JsonValue) -> None:
    code = read_object(value, "script.code")
    if "transaction_id" in code:
        read_hash(read_members(code, "script.code", ("transaction_id",))["transaction_id"], "script.code")
        return
    members = read_members(code, "script.code", ("type", "raw", "parameters"))
    if members["type"] != "zenroom":
        raise invalid(f"{show(members['type'])} is not one of ['zenroom']", "enum", "script.code.type")
    read_text(members["raw"], "script.code.raw")
    for index, item in enumerate(read_array(members["parameters"], "script.code.parameters")):
        read_object(item, f"script.code.parameters[{index}]")


def _check_policies(value: JsonValue) -> None:
    policies = read_object(value, "script.policies")
    for name in ("raw", "txids"):
        if name in policies:
            read_object(policies[name], f"script.policies.{name}")


def _join(field: str | None, name: str) -> str:
    return name if field is None else f"{field}.{name}"
