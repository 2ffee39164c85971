# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bytes in, a checked transaction or a precise refusal out: everything that needs no ledger.

The order of checks is that of validation 2: structure at the top, id, schema, names in data, then the
objects (fulfillments, amounts, keys, candidates, scripts). Total over bytes: bounds on the text come first.
"""

from collections.abc import Callable, Sequence
from hashlib import sha3_256

from planetmint.conditions import decode_fulfillment, has_zenroom, listed_keys
from planetmint.model import json
from planetmint.model.condition import Ed25519Details, Fulfillment
from planetmint.model.election import candidate
from planetmint.model.errors import (
    AmountError,
    InvalidHash,
    InvalidScript,
    InvalidSignature,
    InvalidTransaction,
    SchemaValidationError,
    TransactionTooLarge,
    ValidationError,
)
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import MAX_AMOUNT, Input, Operation, Output, Transaction
from planetmint.rules import schema
from planetmint.rules.data import check_data
from planetmint.rules.operations import FORMS

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
    read = _read_inputs(members, inputs, text, parameters)
    outputs = _check_outputs(forms)
    if operation is Operation.VALIDATOR_ELECTION:
        candidate(assets[0])
    if script is not None and version == "3.0":
        # Contracts are not built into rules version 1: every chain switches them off.
        raise InvalidScript("this chain does not run scripts", rule="script.off", field="script")
    return Transaction(
        transaction_id, version, operation, read, outputs, assets, metadata, script, text.full(transaction_id)
    )


def _check_outputs(forms: Sequence[Output | schema.TooDeep]) -> tuple[Output, ...]:
    """Amounts of all outputs, then the depth of their conditions and their keys (validation 2, step 5)."""
    for index, form in enumerate(forms):
        _check_amount(form.amount, f"outputs[{index}].amount")
    outputs = []
    for index, form in enumerate(forms):
        if isinstance(form, schema.TooDeep):
            raise form.refusal
        _check_condition(form, f"outputs[{index}]")
        outputs.append(form)
    return tuple(outputs)


def _check_amount(amount: int, field: str) -> None:
    if amount < 1:
        raise AmountError("`amount` must be greater than 0", rule="amount.minimum", field=field)
    if amount > MAX_AMOUNT:
        raise AmountError(f"`amount` must be <= {MAX_AMOUNT}", rule="amount.maximum", field=field)


def _check_condition(output: Output, field: str) -> None:
    """No contracts, and all keys within the condition (transactions 2.3)."""
    details = output.details
    if type(details) is Ed25519Details:
        inside = all(key == details.public_key for key in output.public_keys)
    else:
        if has_zenroom(details):
            raise InvalidSignature(
                "this chain does not accept contracts", rule="contracts.off", field=f"{field}.condition"
            )
        inside = listed_keys(details).issuperset(output.public_keys)
    if not inside:
        raise ValidationError(
            "public_keys must occur in the condition", rule="output.public_keys", field=f"{field}.public_keys"
        )


def _read_inputs(
    members: JsonObject, forms: Sequence[schema.InputForm], text: _Text, parameters: ChainParameters
) -> tuple[Input, ...]:
    message = _messages(members, text)
    inputs = []
    for index, form in enumerate(forms):
        field = f"inputs[{index}].fulfillment"
        if form.fulfillment is None:
            raise InvalidSignature(UNREADABLE, rule="fulfillment.encoding", field=field)
        fulfillment = _read_fulfillment(form.fulfillment, field, parameters)
        if has_zenroom(fulfillment):
            raise InvalidSignature("this chain does not accept contracts", rule="contracts.off", field=field)
        inputs.append(Input(form.owners_before, form.fulfills, fulfillment, message(form)))
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
