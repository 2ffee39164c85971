# SPDX-License-Identifier: AGPL-3.0-or-later
"""Unpadded base64url, in its one right spelling."""

from binascii import Error, a2b_base64, b2a_base64

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def encode_base64url(raw: bytes) -> str:
    """Text of `raw` without padding."""
    return b2a_base64(raw, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def decode_base64url(text: str) -> bytes | None:
    """The octets that `text` spells; None where `encode_base64url` would not give this very text."""
    try:
        encoded = text.encode("ascii")
        raw = a2b_base64(encoded.translate(_FROM_URL) + b"=" * (-len(encoded) % 4))
    except (UnicodeEncodeError, Error):
        return None
    return raw if encode_base64url(raw) == text else None
