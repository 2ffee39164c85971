# SPDX-License-Identifier: AGPL-3.0-or-later
"""The contracts of a transaction: which runs of the engine its verdict takes.

One for the `script` of a 3.0 transaction and one for every zenroom leaf of a fulfillment, in the order of inputs
and leaves. Nothing is run here. Source: transactions 5.4 and 6, decision D18.
"""

from collections.abc import Iterator

from planetmint.conditions import contract_leaves, signers
from planetmint.contracts import ContractCall, Purpose, make_call, refusal
from planetmint.model import json
from planetmint.model.condition import Ed25519Fulfillment, ZenroomFulfillment
from planetmint.model.errors import InvalidTransaction, SchemaValidationError
from planetmint.model.json import JsonObject
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction

ADDED = "transaction"
"""Member of a leaf's data that the node adds in mode ``bound``; nothing a sender writes can stand in its place."""


def contract_calls(transaction: Transaction, parameters: ChainParameters) -> tuple[ContractCall, ...]:
    """The runs that decide about `transaction`, their texts held against the chain's bounds.

    Raises:
        InvalidScript: About `script`: the chain runs none, or the text is beyond a bound.
        InvalidSignature: About a zenroom leaf: the chain takes none, there is no `script` member to run it with,
            its texts cannot be read, or they are beyond a bound. About either: data and keys of all contracts
            of the transaction together are beyond ``contracts.max_data_bytes``.
    """
    calls = []
    left = parameters.contracts.max_data_bytes
    for call in _all_calls(transaction, parameters):
        left -= len(call.data) + len(call.keys or "")
        if left < 0:
            # Many leaves may share large inputs: without this, the calls could be 200 times the transaction.
            allowed = parameters.contracts.max_data_bytes
            reason = f"data and keys of the transaction's contracts have more than {allowed} bytes together"
            raise refusal(call.purpose, call.field, "contract.data", reason)
        calls.append(call)
    return tuple(calls)


def _all_calls(transaction: Transaction, parameters: ChainParameters) -> Iterator[ContractCall]:
    if transaction.version == "3.0" and transaction.script is not None:
        yield _script_call(transaction, parameters)
    for index, item in enumerate(transaction.inputs):
        if isinstance(item.fulfillment, Ed25519Fulfillment):
            continue
        field = f"inputs[{index}].fulfillment"
        added: JsonObject = {"message": item.message.hex(), "signers": [*signers(item.fulfillment)]}
        for leaf in contract_leaves(item.fulfillment):
            yield _leaf_call(transaction, leaf, added, field, parameters)


def _script_call(transaction: Transaction, parameters: ChainParameters) -> ContractCall:
    if parameters.contracts.scripts == "off":
        raise refusal(Purpose.SCRIPT, "script", "script.off", "this chain does not run scripts")
    members = _members(transaction.script)
    return make_call(
        Purpose.SCRIPT,
        "script",
        str(members["code"]),
        _members(members["inputs"]),
        None,
        members["outputs"],
        parameters.contracts,
    )


def _leaf_call(
    transaction: Transaction,
    leaf: ZenroomFulfillment,
    added: JsonObject,
    field: str,
    parameters: ChainParameters,
) -> ContractCall:
    """The run of one leaf; `added` is what it may learn about the transaction (mode ``bound``)."""
    mode = parameters.contracts.zenroom
    if mode == "off":
        raise _refused(field, "contracts.off", "this chain does not accept contracts")
    if transaction.script is None:
        reason = "a contract in a fulfillment needs the member `script` of its transaction"
        raise _refused(field, "contract.script", reason)
    members = _members(transaction.script)
    inputs, outputs = ("inputs", "outputs") if transaction.version == "3.0" else ("input", "output")
    own = _read(leaf.data, "data", field, parameters) or {}
    return make_call(
        Purpose.CONDITION,
        field,
        _utf8(leaf.script, field),
        {**own, **_members(members[inputs])},
        _read(leaf.keys, "keys", field, parameters),
        members[outputs],
        parameters.contracts,
        added={ADDED: added} if mode == "bound" else None,
    )


def _members(value: json.JsonValue) -> JsonObject:
    """`value` as an object: the schema has found `script`, its inputs and its code to be so."""
    return value if isinstance(value, dict) else {}


def _utf8(script: bytes, field: str) -> str:
    try:
        return script.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused(field, "contract.bytes", "the contract is not UTF-8") from None


def _read(octets: bytes, name: str, field: str, parameters: ChainParameters) -> JsonObject | None:
    """Data or keys of a leaf: a JSON object, or null."""
    try:
        value = json.parse(octets, max_depth=parameters.max_json_depth, max_digits=parameters.max_number_digits)
    except SchemaValidationError as error:
        raise _refused(field, "contract.data", f"{name} of the contract: {error.reason}") from None
    if value is not None and not isinstance(value, dict):
        raise _refused(field, "contract.data", f"{name} of the contract are neither an object nor null")
    return value


def _refused(field: str, rule: str, reason: str) -> InvalidTransaction:
    return refusal(Purpose.CONDITION, field, rule, reason)


__all__ = ["contract_calls"]
