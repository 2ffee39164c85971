# SPDX-License-Identifier: AGPL-3.0-or-later
"""Public keys as people and the wire write them: base58 text of 32 bytes.

The alphabet is that of Bitcoin. Text and bytes are one to one, so that keys may be compared in either form.
Source: transactions 2.3.
"""

from functools import lru_cache

KEY_BYTES = 32

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_TEXT_LENGTHS = (44, 43)
_CACHED_KEYS = 16_384


def decode_public_key(text: str) -> bytes | None:
    """The 32 bytes of a key, or None where `text` is not 43 or 44 base58 characters of exactly 32 bytes.

    A key with so many leading zero bytes that its text is shorter than 43 characters is refused: every
    published server does so.
    """
    return _decode(text) if len(text) in _TEXT_LENGTHS else None


@lru_cache(maxsize=_CACHED_KEYS)
def encode_public_key(raw: bytes) -> str:
    """Base58 text of a key of 32 bytes. Raises ValueError for any other length."""
    if len(raw) != KEY_BYTES:
        raise ValueError(f"a public key has {KEY_BYTES} bytes, not {len(raw)}")
    number = int.from_bytes(raw, "big")
    pairs = []
    while number:
        number, pair = divmod(number, 58 * 58)
        pairs.append(_PAIRS[pair])
    leading_zeros = KEY_BYTES - len(raw.lstrip(b"\0"))
    return "1" * leading_zeros + "".join(reversed(pairs)).lstrip("1")


@lru_cache(maxsize=_CACHED_KEYS)
def _decode(text: str) -> bytes | None:
    number = 0
    try:
        for character in text:
            number = number * 58 + _VALUES[character]
    except KeyError:
        return None
    leading_zeros = len(text) - len(text.lstrip("1"))
    if leading_zeros + (number.bit_length() + 7) // 8 != KEY_BYTES:
        return None
    return number.to_bytes(KEY_BYTES, "big")
