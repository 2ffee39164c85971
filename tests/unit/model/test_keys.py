# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keys in base58, against an independent implementation."""

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetmint.model.keys import decode_public_key, encode_public_key

ALICE = "CDx31U9UUfFVEV1kKqhpaJcHFro5n7VRTAYCvi9quMgr"
ALICE_BYTES = bytes.fromhex("a6c1c0f5601f61169cd7fbdeb1a611b457ccc6224c85c8e98809d2fbb800f1b7")

keys = st.integers(0, 6).flatmap(
    lambda zeros: st.binary(min_size=32 - zeros, max_size=32 - zeros).map(lambda rest: bytes(zeros) + rest)
)


def test_the_key_of_the_worked_example_is_read_and_written() -> None:
    assert decode_public_key(ALICE) == ALICE_BYTES
    assert encode_public_key(ALICE_BYTES) == ALICE


@given(keys)
def test_a_key_is_written_as_the_published_library_writes_it(raw: bytes) -> None:
    assert encode_public_key(raw) == base58.b58encode(raw).decode()


@given(keys)
def test_a_key_of_43_or_44_characters_is_read_back_and_a_shorter_one_is_refused(raw: bytes) -> None:
    text = encode_public_key(raw)
    assert decode_public_key(text) == (raw if len(text) >= 43 else None)


@given(st.text("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", min_size=42, max_size=45))
def test_text_is_a_key_only_if_it_stands_for_32_bytes(text: str) -> None:
    raw = base58.b58decode(text)
    accepted = len(raw) == 32 and len(text) in (43, 44)
    assert decode_public_key(text) == (raw if accepted else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ALICE + "r",
        ALICE[:-2],
        ALICE[:-1] + "0",
        ALICE[:-1] + "O",
        ALICE[:-1] + "I",
        ALICE[:-1] + "l",
        ALICE[:-1] + "\n",
        ALICE[:-1] + "１",
        ALICE[:-1] + "\ud800",
        " " + ALICE[1:],
        "z" * 44,
        "1" * 44,
        "1" * 43,
    ],
)
def test_what_is_not_a_key_is_refused(text: str) -> None:
    assert decode_public_key(text) is None


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33)])
def test_only_32_bytes_are_written(raw: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        encode_public_key(raw)
