# SPDX-License-Identifier: AGPL-3.0-or-later
"""Merkle root over the ids of a block's transactions, in the shape of RFC 6962 (as CometBFT's own trees)."""

from collections.abc import Sequence
from hashlib import sha256


def merkle_root(transaction_ids: Sequence[str]) -> str:
    """Root over ids (64 hex digits each), hashed as 32 raw bytes; SHA-256 of nothing for an empty list.

    Returns:
        64 hex digits.

    Source: RFC 6962 section 2.1; decision D19.
    """
    if not transaction_ids:
        return sha256(b"").hexdigest()
    level = [sha256(b"\x00" + bytes.fromhex(item)).digest() for item in transaction_ids]
    while len(level) > 1:
        # Pairing from the left and carrying an odd last node up gives RFC 6962's split at a power of two.
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        level = above + level[len(above) * 2 :]
    return level[0].hex()
