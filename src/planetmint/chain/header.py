# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signed block headers of chains whose node makes its own blocks (decision D19)."""

from dataclasses import asdict, replace
from hashlib import sha256

from nacl.bindings import crypto_sign, crypto_sign_open
from nacl.exceptions import BadSignatureError

from planetmint.model import json
from planetmint.model.block import BlockHeader

DOMAIN = b"planetmint/block-header/1\n"
"""Goes before what is signed: the same key signs the engine's votes after a promotion."""

_SIGNATURE_BYTES = 64


def header_hash(header: BlockHeader) -> str:
    """SHA-256 of the header's canonical JSON without its signature, 64 hex digits."""
    members = asdict(header)
    del members["signature"]
    return sha256(json.canonical(members)).hexdigest()


def sign_header(header: BlockHeader, secret_key: bytes) -> BlockHeader:
    """The header with the maker's signature.

    Args:
        header: Its `proposer` is the public half of the key.
        secret_key: 64 bytes: seed and public key.
    """
    signed = crypto_sign(_signed_bytes(header), secret_key)
    return replace(header, signature=signed[:_SIGNATURE_BYTES].hex())


def verify_header(header: BlockHeader) -> bool:
    """Whether the signature is one by the header's own `proposer`, written as the maker wrote it."""
    try:
        signature = bytes.fromhex(header.signature)
        crypto_sign_open(signature + _signed_bytes(header), bytes.fromhex(header.proposer))
    except (BadSignatureError, ValueError):
        return False
    return signature.hex() == header.signature


def _signed_bytes(header: BlockHeader) -> bytes:
    return DOMAIN + bytes.fromhex(header_hash(header))
