# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signed headers: what is hashed, what is signed, and that nothing in them can be changed."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from nacl.signing import SigningKey, VerifyKey

from planetmint.chain import header_hash, sign_header, verify_header
from planetmint.model.block import BlockHeader

KEY = SigningKey(sha256(b"tests/header").digest())
SECRET = bytes(KEY) + bytes(KEY.verify_key)
HEADER = BlockHeader(
    height=7,
    time=1_700_000_000_123_456_789,
    previous_hash="ab" * 32,
    root="cd" * 32,
    app_hash="ef" * 32,
    proposer=bytes(KEY.verify_key).hex(),
)


def test_hash_is_over_the_canonical_json_of_decision_2() -> None:
    text = json.dumps(
        {
            "app_hash": "ef" * 32,
            "height": 7,
            "previous_hash": "ab" * 32,
            "proposer": bytes(KEY.verify_key).hex(),
            "root": "cd" * 32,
            "time": 1_700_000_000_123_456_789,
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    assert header_hash(HEADER) == sha256(text.encode()).hexdigest()


def test_signature_is_a_plain_ed25519_one_behind_the_domain() -> None:
    signed = sign_header(HEADER, SECRET)
    message = b"planetmint/block-header/1\n" + bytes.fromhex(header_hash(HEADER))
    VerifyKey(bytes(KEY.verify_key)).verify(message, bytes.fromhex(signed.signature))
    assert verify_header(signed)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 8},
        {"time": 1},
        {"previous_hash": "00" * 32},
        {"root": "00" * 32},
        {"app_hash": "00" * 32},
        {"proposer": "00" * 32},
        {"signature": "00" * 64},
        {"signature": "not hex"},
        {"signature": ""},
    ],
)
def test_a_changed_header_does_not_verify(change: dict[str, int | str]) -> None:
    assert not verify_header(replace(sign_header(HEADER, SECRET), **change))  # type: ignore[arg-type]
