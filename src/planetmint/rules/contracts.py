# SPDX-License-Identifier: AGPL-3.0-or-later
"""The contracts of a transaction: which runs of the engine its verdict takes.

One for the `script` of a 3.0 transaction and one for every zenroom leaf of a fulfillment, in the order of inputs
and leaves. Nothing is run here. Source: transactions 5.4 and 6, decision D18.
"""

from collections.abc import Iterator

from planetmint.conditions import signers
from planetmint.contracts import ContractCall, Purpose, check_bounds, engine_json, refusal, seed
from planetmint.model import json
from planetmint.model.condition import Fulfillment, ThresholdFulfillment, ZenroomFulfillment
from planetmint.model.errors import InvalidTransaction, SchemaValidationError
from planetmint.model.json import JsonObject
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Input, Transaction

ADDED = "transaction"
"""Member of a leaf's data that the node adds in mode ``bound``; nothing a sender writes can stand in its place."""


def contract_calls(transaction: Transaction, parameters: ChainParameters) -> tuple[ContractCall, ...]:
    """The runs that decide about `transaction`, their texts held against the chain's bounds.

    Raises:
        InvalidScript: About `script`: the chain runs none, or the text is beyond a bound.
        InvalidSignature: About a zenroom leaf: the chain takes none, there is no `script` member to run it with,
            its texts cannot be read, or they are beyond a bound.
    """
    calls = []
    if transaction.version == "3.0" and transaction.script is not None:
        calls.append(_script_call(transaction, parameters))
    for index, item in enumerate(transaction.inputs):
        field = f"inputs[{index}].fulfillment"
        calls.extend(
            _leaf_call(transaction, item, leaf, field, parameters) for leaf in _zenroom_leaves(item.fulfillment)
        )
    return tuple(calls)


def _script_call(transaction: Transaction, parameters: ChainParameters) -> ContractCall:
    field, purpose = "script", Purpose.SCRIPT
    if parameters.contracts.scripts == "off":
        raise refusal(purpose, field, "script.off", "this chain does not run scripts")
    members = _members(transaction.script)
    code = str(members["code"])
    data = _text(members["inputs"], purpose, field)
    check_bounds(purpose, field, code, data, None, parameters.contracts)
    return ContractCall(field, purpose, code, data, None, seed(code, data, None), members["outputs"])


def _leaf_call(
    transaction: Transaction, item: Input, leaf: ZenroomFulfillment, field: str, parameters: ChainParameters
) -> ContractCall:
    purpose = Purpose.CONDITION
    if parameters.contracts.zenroom == "off":
        raise refusal(purpose, field, "contracts.off", "this chain does not accept contracts")
    if transaction.script is None:
        reason = "a contract in a fulfillment needs the member `script` of its transaction"
        raise refusal(purpose, field, "contract.script", reason)
    members = _members(transaction.script)
    names = ("inputs", "outputs") if transaction.version == "3.0" else ("input", "output")
    script = _utf8(leaf.script, field)
    own = _read(leaf.data, "data", field, parameters) or {}
    data = {**own, **_members(members[names[0]])}
    keys = _text(_read(leaf.keys, "keys", field, parameters), purpose, field)
    drawn = seed(script, _text(data, purpose, field), keys)
    if parameters.contracts.zenroom == "bound":
        data[ADDED] = {"message": item.message.hex(), "signers": [*signers(item.fulfillment)]}
    text = _text(data, purpose, field)
    check_bounds(purpose, field, script, text, keys, parameters.contracts)
    return ContractCall(field, purpose, script, text, keys, drawn, members[names[1]])


def _zenroom_leaves(fulfillment: Fulfillment) -> Iterator[ZenroomFulfillment]:
    if isinstance(fulfillment, ZenroomFulfillment):
        yield fulfillment
    elif isinstance(fulfillment, ThresholdFulfillment):
        for item in fulfillment.fulfillments:
            yield from _zenroom_leaves(item)


def _members(value: json.JsonValue) -> JsonObject:
    """`value` as an object: the schema has found `script`, its inputs and its code to be so."""
    return value if isinstance(value, dict) else {}


def _utf8(script: bytes, field: str) -> str:
    try:
        return script.decode("utf-8")
    except UnicodeDecodeError:
        raise refusal(Purpose.CONDITION, field, "contract.bytes", "the contract is not UTF-8") from None


def _read(octets: bytes, name: str, field: str, parameters: ChainParameters) -> JsonObject | None:
    """Data or keys of a leaf: a JSON object, or null."""
    try:
        value = json.parse(octets, max_depth=parameters.max_json_depth, max_digits=parameters.max_number_digits)
    except SchemaValidationError as error:
        raise _unreadable(name, field, error.reason) from None
    if value is not None and not isinstance(value, dict):
        raise _unreadable(name, field, "neither an object nor null")
    return value


def _unreadable(name: str, field: str, found: str) -> InvalidTransaction:
    return refusal(Purpose.CONDITION, field, "contract.data", f"{name} of the contract cannot be read: {found}")


def _text(value: json.JsonValue, purpose: Purpose, field: str) -> str:
    try:
        return engine_json(value)
    except ValueError:
        raise refusal(purpose, field, "contract.data", "a number beyond a double is refused") from None


__all__ = ["contract_calls"]
