# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bytes in, a checked transaction or a precise refusal out: everything that needs no ledger.

The order of checks is that of validation 2: structure at the top, id, schema, names in data, then the
objects (fulfillments, amounts, keys, candidates, scripts). Total over bytes: bounds on the text come first.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha3_256

from planetmint.conditions import contract_leaves, decode_fulfillment, has_zenroom, listed_keys, signers
from planetmint.model import json
from planetmint.model.condition import Ed25519Details, Ed25519Fulfillment, Fulfillment
from planetmint.model.election import candidate
from planetmint.model.errors import (
    AmountError,
    InvalidHash,
    InvalidSignature,
    InvalidTransaction,
    SchemaValidationError,
    TransactionTooLarge,
    ValidationError,
)
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ChainParameters, ZenroomMode
from planetmint.model.transaction import MAX_AMOUNT, Input, Operation, Output, Transaction
from planetmint.rules import schema
from planetmint.rules.contracts import contract_calls
from planetmint.rules.data import check_data
from planetmint.rules.operations import FORMS, Form

_COMMON = ("version", "operation", "inputs", "outputs", "metadata")
_ID_LENGTH = len('"') + 64 + len('"')
UNREADABLE = "Fulfillment URI couldn't been parsed"


def decode_transaction(body: bytes, parameters: ChainParameters) -> Transaction:
    """Read a transaction in any JSON spelling and make every check that needs no ledger.

    Signatures are read here and verified by `check_signatures`.

    Raises:
        InvalidTransaction: SchemaValidationError, TransactionTooLarge, InvalidHash, ValidationError, AmountError,
            InvalidSignature, ThresholdTooDeep, InvalidPublicKey or InvalidScript.
    """
    value = json.parse(body, max_depth=parameters.max_json_depth, max_digits=parameters.max_number_digits)
    members = schema.read_object(value, None)
    version, operation = _read_kind(members)
    text = _Text(members, version)
    if text.length > parameters.max_transaction_bytes:
        raise TransactionTooLarge(
            f"the canonical form has {text.length} bytes, {parameters.max_transaction_bytes} are allowed",
            rule="size",
        )
    transaction_id = _check_id(members, text)
    return _read_content(members, version, operation, transaction_id, text, parameters)


def decode_canonical(raw: bytes, parameters: ChainParameters) -> Transaction:
    """As `decode_transaction`, for bytes from consensus: they must be the transaction's canonical form.

    Otherwise unlimited spellings of one transaction could fill mempools and blocks (consensus-and-storage 1).
    """
    transaction = decode_transaction(raw, parameters)
    if transaction.canonical != raw:
        raise SchemaValidationError("the bytes are not the canonical form of the transaction", rule="canonical")
    return transaction


def _read_kind(members: JsonObject) -> tuple[str, Operation]:
    """Version and operation, and that all members are there and no others (an `id` is asked for later)."""
    for name in ("version", "operation"):
        if name not in members:
            raise schema.invalid(f"{name!r} is a required property", "required", name)
    version, operation = members["version"], members["operation"]
    if version not in ("2.0", "3.0") or not isinstance(version, str):
        raise schema.invalid(f"{schema.show(version)} is not one of ['2.0', '3.0']", "enum", "version")
    form = FORMS.get((version, operation)) if isinstance(operation, str) else None
    if form is None:
        known = [str(name) for kind, name in FORMS if kind == version]
        raise schema.invalid(f"{schema.show(operation)} is not one of {known}", "enum", "operation")
    asset = "asset" if version == "2.0" else "assets"
    schema.read_members(members, None, (*_COMMON, asset), ("id", "script"))
    return version, form.operation


class _Text:
    """Canonical JSON of a transaction in the pieces that its three uses share, each written once.

    In the order of keys `id` and `inputs` come after `asset` (`assets`) and before everything else, so the full
    text, the one hashed for the id and the one that is signed differ only there.
    """

    def __init__(self, members: JsonObject, version: str) -> None:
        name = "asset" if version == "2.0" else "assets"
        between = (name, "id", "inputs")
        self._head = json.canonical({name: members[name]})[:-1] + b',"id":'
        self._inputs = b',"inputs":' + json.canonical(members["inputs"]) + b","
        self._tail = json.canonical({key: item for key, item in members.items() if key not in between})[1:]

    @property
    def length(self) -> int:
        """Bytes of the full text."""
        return len(self._head) + _ID_LENGTH + len(self._inputs) + len(self._tail)

    def full(self, transaction_id: str) -> bytes:
        """The whole transaction."""
        return b'%b"%b"%b%b' % (self._head, transaction_id.encode("ascii"), self._inputs, self._tail)

    def for_id(self) -> bytes:
        """What is hashed for the id (transactions 4.2)."""
        return b"%bnull%b%b" % (self._head, self._inputs, self._tail)

    def signed(self, inputs: JsonValue) -> bytes:
        """What is signed (transactions 4.3), with `inputs` in place of the transaction's own."""
        return b'%bnull,"inputs":%b,%b' % (self._head, json.canonical(inputs), self._tail)


def _check_id(members: JsonObject, text: _Text) -> str:
    """The id recomputed from the content.

    Raises:
        InvalidHash: It is missing or another one stands in the transaction.
    """
    if "id" not in members:
        raise InvalidHash("No transaction id found!", rule="id", field="id")
    computed = sha3_256(text.for_id()).hexdigest()
    claimed = members["id"]
    if claimed != computed:
        shown = claimed[:128] if isinstance(claimed, str) else schema.show(claimed)
        reason = f"The transaction's id '{shown}' isn't equal to the hash of its body, i.e. it's not valid."
        raise InvalidHash(reason, rule="id", field="id")
    return computed


def _read_content(
    members: JsonObject,
    version: str,
    operation: Operation,
    transaction_id: str,
    text: _Text,
    parameters: ChainParameters,
) -> Transaction:
    form = FORMS[version, operation]
    inputs = schema.read_inputs(
        members["inputs"],
        parameters,
        at_least=form.least_inputs,
        at_most=form.most_inputs,
        spending=form.spending,
    )
    forms = schema.read_outputs(members["outputs"], parameters)
    if form.electoral:
        schema.check_electoral(forms)
    assets = schema.read_assets(members, version, operation)
    metadata = members["metadata"]
    schema.check_metadata(metadata, version)
    script = members.get("script")
    if "script" in members:
        schema.check_script(script, version)
    if not form.electoral:
        for asset in assets:
            check_data(asset.data, "asset")
        check_data(metadata, "metadata")
    read = _read_inputs(members, inputs, text, form, parameters)
    outputs = _check_outputs(forms, parameters.contracts.zenroom)
    if operation is Operation.VALIDATOR_ELECTION:
        candidate(assets[0])
    transaction = Transaction(
        transaction_id, version, operation, read, outputs, assets, metadata, script, text.full(transaction_id)
    )
    contracts = _count_contracts(transaction, parameters)
    return replace(transaction, contracts=contracts) if contracts else transaction


def _count_contracts(transaction: Transaction, parameters: ChainParameters) -> int:
    """The runs of contracts that the verdict takes, after their texts were held against the chain's bounds."""
    count = 1 if transaction.script is not None and transaction.version == "3.0" else 0
    for item in transaction.inputs:
        if type(item.fulfillment) is not Ed25519Fulfillment:
            count += sum(1 for _ in contract_leaves(item.fulfillment))
    # Asked before the calls are made: each of them has a copy of the transaction's data.
    if count > parameters.contracts.max_per_block:
        raise InvalidSignature(
            f"the transaction runs {count} contracts, a block may run {parameters.contracts.max_per_block}",
            rule="contract.count",
            field="inputs",
        )
    return len(contract_calls(transaction, parameters)) if count else 0


def _check_outputs(forms: Sequence[Output | schema.TooDeep], mode: ZenroomMode) -> tuple[Output, ...]:
    """Amounts of all outputs, then the depth of their conditions and their keys (validation 2, step 5)."""
    for index, form in enumerate(forms):
        _check_amount(form.amount, f"outputs[{index}].amount")
    outputs = []
    for index, form in enumerate(forms):
        if isinstance(form, schema.TooDeep):
            raise form.refusal
        _check_condition(form, f"outputs[{index}]", mode)
        outputs.append(form)
    return tuple(outputs)


def _check_amount(amount: int, field: str) -> None:
    if amount < 1:
        raise AmountError("`amount` must be greater than 0", rule="amount.minimum", field=field)
    if amount > MAX_AMOUNT:
        raise AmountError(f"`amount` must be <= {MAX_AMOUNT}", rule="amount.maximum", field=field)


def _check_condition(output: Output, field: str, mode: ZenroomMode) -> None:
    """Contracts as the chain takes them, and all keys within the condition (transactions 2.3 and 5.4)."""
    details = output.details
    if type(details) is Ed25519Details:
        inside = all(key == details.public_key for key in output.public_keys)
    else:
        keys = listed_keys(details)
        if has_zenroom(details):
            _check_mode(mode, f"{field}.condition")
            if mode == "published":
                return
            _check_bound_output(output, keys, field)
        inside = keys.issuperset(output.public_keys)
    if not inside:
        raise ValidationError(
            "public_keys must occur in the condition", rule="output.public_keys", field=f"{field}.public_keys"
        )


def _check_bound_output(output: Output, keys: frozenset[str], field: str) -> None:
    """A contract restricts owners: their keys stand beside it, and they are told (transactions 5.4)."""
    if not keys:
        reason = "a contract must stand in a threshold beside the key of an owner"
        raise InvalidSignature(reason, rule="contracts.bound", field=f"{field}.condition")
    if not output.public_keys:
        reason = "public_keys must name the owners of what a contract guards"
        raise ValidationError(reason, rule="output.public_keys", field=f"{field}.public_keys")


def _check_mode(mode: ZenroomMode, field: str) -> None:
    if mode == "off":
        raise InvalidSignature("this chain does not accept contracts", rule="contracts.off", field=field)


def _check_contract(fulfillment: Fulfillment, field: str, form: Form, mode: ZenroomMode) -> None:
    """A fulfillment in which a contract occurs, be it by its fingerprint alone (transactions 5.4)."""
    _check_mode(mode, field)
    if form.electoral:
        reason = "elections and votes are signed by keys alone"
        raise InvalidSignature(reason, rule="contracts.electoral", field=field)
    if mode == "bound" and not signers(fulfillment):
        reason = "a contract must stand in a threshold beside the signature of an owner"
        raise InvalidSignature(reason, rule="contracts.bound", field=field)


def _read_inputs(
    members: JsonObject,
    forms: Sequence[schema.InputForm],
    text: _Text,
    form: Form,
    parameters: ChainParameters,
) -> tuple[Input, ...]:
    mode = parameters.contracts.zenroom
    message = _messages(members, text)
    inputs = []
    for index, item in enumerate(forms):
        field = f"inputs[{index}].fulfillment"
        if item.fulfillment is None:
            raise InvalidSignature(UNREADABLE, rule="fulfillment.encoding", field=field)
        fulfillment = _read_fulfillment(item.fulfillment, field, parameters)
        contract = has_zenroom(fulfillment)
        if contract:
            _check_contract(fulfillment, field, form, mode)
        keyless = contract and mode == "published"
        inputs.append(Input(item.owners_before, item.fulfills, fulfillment, message(item), keyless))
    return tuple(inputs)


def _read_fulfillment(text: str, field: str, parameters: ChainParameters) -> Fulfillment:
    try:
        return decode_fulfillment(
            text, max_depth=parameters.max_condition_depth, max_leaves=parameters.max_condition_leaves
        )
    except InvalidTransaction as refusal:
        refusal.field = field
        raise


def _messages(members: JsonObject, text: _Text) -> Callable[[schema.InputForm], bytes]:
    """What each input signs (transactions 4.3); the text that all of them share is hashed once."""
    unsigned: list[JsonValue] = [{**item, "fulfillment": None} for item in _objects(members["inputs"])]
    shared = sha3_256(text.signed(unsigned))

    def message(form: schema.InputForm) -> bytes:
        digest = shared.copy()
        if form.fulfills is not None:
            digest.update(f"{form.fulfills.transaction_id}{form.fulfills.output_index}".encode())
        return digest.digest()

    return message


def _objects(value: JsonValue) -> list[JsonObject]:
    """The inputs again, as objects: `schema.read_inputs` has found them to be so."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


__all__ = ["decode_canonical", "decode_transaction"]
