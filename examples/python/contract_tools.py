# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a program needs to make transactions with contracts: keys, outputs, ids, signatures, and a node.

It uses `planetmint.conditions` of the node's own package, and nothing of the node that runs. Transactions are
those of version 3.0, each about one asset.
"""

import json
import os
import urllib.error
import urllib.request
from hashlib import sha3_256
from typing import Any

import base58
from nacl.signing import SigningKey

from planetmint.conditions import contract_fulfillment, details_uri, encode_fulfillment, fulfill, read_details
from planetmint.model.json import canonical

Json = dict[str, Any]


class Refused(Exception):
    """What the node answered instead of taking a transaction."""

    def __init__(self, answer: Json) -> None:
        super().__init__(answer["message"])
        self.answer = answer


def public(key: SigningKey) -> str:
    """The public key as it stands in transactions."""
    return base58.b58encode(bytes(key.verify_key)).decode()


# Conditions


def owner(key: SigningKey) -> Json:
    """Signs with `key`."""
    return {"type": "ed25519-sha-256", "public_key": public(key)}


def contract(key: SigningKey) -> Json:
    """A contract. The script is not written here: the URI commits to it. The key is for people to read."""
    return {"type": "zenroom-sha-256", "public_key": public(key)}


def some_of(number: int, *branches: Json) -> Json:
    """`number` of `branches`."""
    return {"type": "threshold-sha-256", "threshold": number, "subconditions": list(branches)}


def output(details: Json, owners: list[SigningKey], *scripts: str) -> Json:
    """An output of 1.

    Args:
        details: Who may spend it.
        owners: Who owns it; with a contract in `details`, all of them have to sign.
        scripts: The text of each contract in `details`, in order.
    """
    return {
        "amount": "1",
        "condition": {"details": details, "uri": details_uri(read(details), scripts)},
        "public_keys": [public(key) for key in owners],
    }


def read(details: Json) -> Any:
    """The package's own form of a condition."""
    return read_details(details, "details", max_depth=16, max_leaves=1000)


# Transactions


def create(key: SigningKey, outputs: list[Json]) -> Json:
    """Register a new asset; `key` is the one that does so."""
    content = base58.b58encode(b"\x12\x20" + os.urandom(32)).decode()  # stands for the id of some document
    return transaction("CREATE", [{"data": content}], {"owners_before": [public(key)], "fulfills": None}, outputs)


def transfer(made: Json, outputs: list[Json]) -> Json:
    """Spend the first output of `made`."""
    asset = made["id"] if made["operation"] == "CREATE" else made["assets"][0]["id"]
    spent = {
        "owners_before": made["outputs"][0]["public_keys"],
        "fulfills": {"transaction_id": made["id"], "output_index": 0},
    }
    return transaction("TRANSFER", [{"id": asset}], spent, outputs)


def transaction(operation: str, assets: list[Json], spent: Json, outputs: list[Json]) -> Json:
    """A transaction that nobody has signed yet."""
    return {
        "id": None,
        "version": "3.0",
        "operation": operation,
        "assets": assets,
        "inputs": [{**spent, "fulfillment": None}],
        "outputs": outputs,
        "metadata": None,
    }


def script(code: str, inputs: Json, outputs: Any) -> Json:
    """The member `script`: every node runs `code` over `inputs` and compares with `outputs`."""
    return {"code": code, "state": "0" * 64, "inputs": inputs, "outputs": outputs}


def message(made: Json) -> bytes:
    """The 32 bytes that the input signs."""
    text = canonical({**made, "id": None, "inputs": [{**made["inputs"][0], "fulfillment": None}]})
    spent = made["inputs"][0]["fulfills"]
    if spent is not None:
        text += f"{spent['transaction_id']}{spent['output_index']}".encode()
    return sha3_256(text).digest()


def sign(made: Json, details: Json, keys: list[SigningKey], *contracts: Any) -> Json:
    """Fulfil `details` in the name of `keys`, one of `contracts` for each in it, and set the id."""
    fulfillment = fulfill(read(details), message(made), [bytes(key) for key in keys], contracts)
    inputs = [{**made["inputs"][0], "fulfillment": encode_fulfillment(fulfillment)}]
    unnamed = {**made, "id": None, "inputs": inputs}
    return {**unnamed, "id": sha3_256(canonical(unnamed)).hexdigest()}


# The node


def send(node: str, made: Json, arguments: str = "mode=commit") -> Json:
    """Post a transaction and return the answer.

    Raises:
        Refused: The node did not take it.
    """
    request = urllib.request.Request(f"{node}/api/v1/transactions?{arguments}", canonical(made))
    try:
        with urllib.request.urlopen(request) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as refusal:
        raise Refused(json.load(refusal)) from None


def get(node: str, path: str) -> Any:
    """What the node answers under `path`."""
    with urllib.request.urlopen(f"{node}/api/v1/{path}") as answer:
        return json.load(answer)


__all__ = [
    "Refused",
    "SigningKey",
    "contract",
    "contract_fulfillment",
    "create",
    "get",
    "message",
    "output",
    "owner",
    "public",
    "script",
    "send",
    "sign",
    "some_of",
    "transfer",
]
