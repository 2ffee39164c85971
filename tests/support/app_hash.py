# SPDX-License-Identifier: AGPL-3.0-or-later
"""The app hash computed a second time, from docs/decisions/0002 and the JSON of transactions alone.

No code of the node is used. Only for transactions without control characters, whose canonical form Python's own
JSON writer gives as well (transactions 4.1).
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

Wire = Mapping[str, Any]


def canonical(value: object) -> bytes:
    """Sorted keys, no blanks, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, by its recursive definition."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def root_of(accepted: Sequence[Wire]) -> str:
    """Merkle root over the ids of a block, 64 hex digits."""
    return merkle_root([bytes.fromhex(wire["id"]) for wire in accepted]).hex()


def founding_hash(chain_id: str, parameters: Mapping[str, object], validators: Sequence[Wire]) -> str:
    """The app hash before the first block."""
    return sha256(
        canonical({"chain_id": chain_id, "parameters": parameters, "validators": validators})
    ).hexdigest()


def next_hash(
    previous: str, height: int, accepted: Sequence[Wire], elections: Mapping[str, object] | None = None
) -> str:
    """The app hash after a block in which these transactions were accepted, in block order.

    `elections` are the members that its elections add (`tests.support.elections`).
    """
    if not accepted:
        return previous
    effects = {
        "created": [item for wire in accepted for item in created(wire)],
        "height": height,
        "root": root_of(accepted),
        "spent": [item for wire in accepted for item in spent(wire)],
        **(elections or {}),
    }
    return sha256(bytes.fromhex(previous) + canonical(effects)).hexdigest()


def created(wire: Wire) -> list[list[object]]:
    """Id, index, amount, URI, keys, asset id, operation and item of each output."""
    return [
        [
            wire["id"],
            index,
            str(int(output["amount"])),
            output["condition"]["uri"],
            output["public_keys"] or [],
            asset_id(wire),
            wire["operation"],
            _item(wire, index),
        ]
        for index, output in enumerate(wire["outputs"])
    ]


def spent(wire: Wire) -> list[list[object]]:
    """Reference and spender of each output that is spent."""
    references = [item["fulfills"] for item in wire["inputs"] if item["fulfills"] is not None]
    return [[item["transaction_id"], item["output_index"], wire["id"]] for item in references]


def asset_id(wire: Wire) -> str:
    """Own id for what opens an asset, else the first id that is named (transactions 3.1)."""
    if wire["operation"] in ("CREATE", "COMPOSE", "VALIDATOR_ELECTION", "CHAIN_MIGRATION_ELECTION"):
        return str(wire["id"])
    assets = [wire["asset"]] if wire["version"] == "2.0" else wire["assets"]
    return str(next(asset["id"] for asset in assets if "id" in asset))


def _item(wire: Wire, index: int) -> str | None:
    if wire["operation"] != "DECOMPOSE" or index >= len(wire["assets"]):
        return None
    data: str | None = wire["assets"][index].get("data")
    return data
