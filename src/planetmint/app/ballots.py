# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections and votes as a validator's operator makes and signs them: pure functions over values.

The node itself never signs for anybody; commands do, with the key that their user names.
Source: elections-and-operations 1 and 5, transactions 4.2 and 4.3.
"""

import base64
from collections.abc import Sequence
from hashlib import sha3_256
from typing import Literal, NamedTuple

from nacl.bindings import crypto_sign_seed_keypair

from planetmint.conditions import details_uri, encode_fulfillment, fulfill, write_details
from planetmint.model import json
from planetmint.model.condition import Ed25519Details
from planetmint.model.election import election_address
from planetmint.model.errors import InvalidProposer
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.keys import encode_public_key
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Operation, OutputRef, Transaction
from planetmint.model.validator import Validator, ValidatorSet, change_validators
from planetmint.rules import decode_transaction

Version = Literal["2.0", "3.0"]
"""The dialect that is written."""


class Share(NamedTuple):
    """Power in an election that a key may give: an unspent output and its amount."""

    ref: OutputRef
    amount: int


def public_key_of(seed: bytes) -> bytes:
    """The public key (32 bytes) of an Ed25519 seed (32 bytes)."""
    return crypto_sign_seed_keypair(seed)[0]


def propose_validator(
    change: Validator, node_id: str, nonce: str, validators: ValidatorSet, seed: bytes, version: Version = "3.0"
) -> Transaction:
    """An election that gives a key a power, 0 to remove it.

    Args:
        change: The key and its new power.
        node_id: Of the validator's node, kept on the chain as information only.
        nonce: Makes elections of equal content differ.
        validators: The newest set: the voters.
        seed: Of the validator that proposes it, 32 bytes.
        version: The dialect.

    Raises:
        InvalidTransaction: The rules refuse it: InvalidProposer, InvalidPowerChange, or one of the form.
    """
    _require_validator(seed, validators)
    change_validators(validators, change)
    value = base64.b16encode(change.public_key).decode("ascii")
    data: JsonObject = {
        "public_key": {"value": value, "type": "ed25519-base16"},
        "power": change.power,
        "node_id": node_id,
        "seed": nonce,
    }
    return _propose(Operation.VALIDATOR_ELECTION, data, validators, seed, version)


def propose_migration(nonce: str, validators: ValidatorSet, seed: bytes, version: Version = "3.0") -> Transaction:
    """An election that ends the chain under its present name; arguments and errors as `propose_validator`."""
    _require_validator(seed, validators)
    return _propose(Operation.CHAIN_MIGRATION_ELECTION, {"seed": nonce}, validators, seed, version)


def cast_vote(
    election_id: str,
    shares: Sequence[Share],
    seed: bytes,
    version: Version = "3.0",
    *,
    holder: bytes | None = None,
) -> Transaction:
    """A VOTE that gives all of `shares` to an election, or to somebody who may vote instead.

    Args:
        election_id: 64 lower-case hex digits.
        shares: At least one; all of them owned by the key of `seed` alone.
        seed: 32 bytes.
        version: The dialect.
        holder: The public key (32 bytes) that is to vote instead; None: the election is given them.

    Raises:
        InvalidTransaction: The form is refused.
    """
    owner = encode_public_key(public_key_of(seed))
    inputs = [_input(owner, share.ref) for share in shares]
    receiver = election_address(election_id) if holder is None else encode_public_key(holder)
    outputs = [_output(receiver, sum(share.amount for share in shares))]
    return _signed(Operation.VOTE, {"id": election_id}, inputs, outputs, seed, version)


def _require_validator(seed: bytes, validators: ValidatorSet) -> None:
    if public_key_of(seed) not in {validator.public_key for validator in validators}:
        raise InvalidProposer("Public key is not a part of the validator set", rule="election.proposer")


def _propose(
    operation: Operation, data: JsonObject, validators: ValidatorSet, seed: bytes, version: Version
) -> Transaction:
    inputs = [_input(encode_public_key(public_key_of(seed)), None)]
    outputs = [_output(encode_public_key(validator.public_key), validator.power) for validator in validators]
    return _signed(operation, {"data": data}, inputs, outputs, seed, version)


def _input(owner: str, fulfills: OutputRef | None) -> JsonObject:
    reference: JsonValue = None
    if fulfills is not None:
        transaction_id, index = fulfills
        reference = {"transaction_id": transaction_id, "output_index": index}
    return {"owners_before": [owner], "fulfills": reference, "fulfillment": None}


def _output(public_key: str, amount: int) -> JsonObject:
    details = Ed25519Details(public_key)
    condition: JsonObject = {"details": write_details(details), "uri": details_uri(details)}
    return {"amount": str(amount), "condition": condition, "public_keys": [public_key]}


def _signed(
    operation: Operation,
    asset: JsonObject,
    inputs: Sequence[JsonObject],
    outputs: Sequence[JsonObject],
    seed: bytes,
    version: Version,
) -> Transaction:
    """The transaction, each input signed with the one key, its form checked."""
    document: JsonObject = {
        "id": None,
        "version": version,
        "operation": operation.value,
        "inputs": list(inputs),
        "outputs": list(outputs),
        "metadata": None,
    }
    if version == "2.0":
        document["asset"] = asset
    else:
        document["assets"] = [asset]
    text = json.canonical(document)
    document["inputs"] = [_signed_input(item, text, seed) for item in inputs]
    document["id"] = sha3_256(json.canonical(document)).hexdigest()
    return decode_transaction(json.canonical(document), ChainParameters())


def _signed_input(item: JsonObject, text: bytes, seed: bytes) -> JsonObject:
    match item["fulfills"]:
        case {"transaction_id": str(transaction_id), "output_index": int(index)}:
            text += f"{transaction_id}{index}".encode("ascii")
    details = Ed25519Details(encode_public_key(public_key_of(seed)))
    fulfillment = fulfill(details, sha3_256(text).digest(), [seed])
    return {**item, "fulfillment": encode_fulfillment(fulfillment)}
