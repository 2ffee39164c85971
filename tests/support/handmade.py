# SPDX-License-Identifier: AGPL-3.0-or-later
"""Version 2.0 and 3.0 transactions made by hand: no code of the node and none of a driver is used.

Enough for tests that speak HTTP themselves: CREATE and TRANSFER with single ed25519 owners. The ids and signed
bytes follow transactions 4; conditions and fulfillments follow transactions 5.2 and 5.3.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import base58
from nacl.signing import SigningKey

Transaction = dict[str, Any]


@dataclass(frozen=True)
class Owner:
    """An ed25519 key pair."""

    key: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def raw(self) -> bytes:
        """The 32 bytes of the public key."""
        return bytes(self.key.verify_key)

    @property
    def public_key(self) -> str:
        """The public key as it stands in transactions."""
        return base58.b58encode(self.raw).decode()


def canonical(value: object) -> bytes:
    """Canonical JSON of values without control characters, which is all that is made here."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def cid(content: str) -> str:
    """Content id, version 0, of a text: base58 of its sha2-256 multihash."""
    return base58.b58encode(b"\x12\x20" + hashlib.sha256(content.encode()).digest()).decode()


def output(owner: Owner, amount: int = 1) -> dict[str, Any]:
    """An output of one owner."""
    content = b"\x30\x22\x80\x20" + owner.raw
    fingerprint = _base64url(hashlib.sha256(content).digest())
    return {
        "amount": str(amount),
        "condition": {
            "details": {"type": "ed25519-sha-256", "public_key": owner.public_key},
            "uri": f"ni:///sha-256;{fingerprint}?fpt=ed25519-sha-256&cost=131072",
        },
        "public_keys": [owner.public_key],
    }


def create_3(
    signer: Owner,
    data: str | None = None,
    metadata: str | None = None,
    outputs: Sequence[dict[str, Any]] | None = None,
) -> Transaction:
    """A signed CREATE, version 3.0; without outputs the signer gets the asset."""
    return _signed(
        {
            "version": "3.0",
            "operation": "CREATE",
            "assets": [{"data": data}],
            "metadata": metadata,
            "inputs": [_input(signer)],
            "outputs": list(outputs or [output(signer)]),
        },
        [signer],
    )


def create_2(
    signer: Owner, data: object = None, metadata: object = None, outputs: Sequence[dict[str, Any]] | None = None
) -> Transaction:
    """A signed CREATE, version 2.0; without outputs the signer gets the asset."""
    return _signed(
        {
            "version": "2.0",
            "operation": "CREATE",
            "asset": {"data": data},
            "metadata": metadata,
            "inputs": [_input(signer)],
            "outputs": list(outputs or [output(signer)]),
        },
        [signer],
    )


def transfer(
    spent: Sequence[tuple[Transaction, int]], signers: Sequence[Owner], outputs: Sequence[dict[str, Any]]
) -> Transaction:
    """A signed TRANSFER in the version of the first transaction that it spends; one signer per input."""
    source = spent[0][0]
    member, asset = (
        ("asset", source.get("asset")) if source["version"] == "2.0" else ("assets", source["assets"][0])
    )
    link = {"id": (asset or {}).get("id", source["id"])}
    return _signed(
        {
            "version": source["version"],
            "operation": "TRANSFER",
            member: link if member == "asset" else [link],
            "metadata": None,
            "inputs": [
                _input(signer, {"transaction_id": one["id"], "output_index": index})
                for signer, (one, index) in zip(signers, spent, strict=True)
            ],
            "outputs": list(outputs),
        },
        signers,
    )


def _input(owner: Owner, fulfills: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"fulfillment": None, "fulfills": fulfills, "owners_before": [owner.public_key]}


def _signed(draft: Transaction, signers: Sequence[Owner]) -> Transaction:
    draft = draft | {"id": None}
    text = canonical(draft)
    fulfillments = []
    for one, signer in zip(draft["inputs"], signers, strict=True):
        spent = one["fulfills"]
        link = f"{spent['transaction_id']}{spent['output_index']}".encode() if spent else b""
        signature = signer.key.sign(hashlib.sha3_256(text + link).digest()).signature
        fulfillments.append(_base64url(b"\xa4\x64\x80\x20" + signer.raw + b"\x81\x40" + signature))
    for one, fulfillment in zip(draft["inputs"], fulfillments, strict=True):
        one["fulfillment"] = fulfillment
    return draft | {"id": hashlib.sha3_256(canonical(draft)).hexdigest()}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
