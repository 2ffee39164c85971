# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Merkle root against the recursive definition of RFC 6962, section 2.1, written out here."""

from hashlib import sha256

import pytest

from planetmint.chain import merkle_root


def defined(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962: the split is at the largest power of two below the number of leaves."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + defined(leaves[:split]) + defined(leaves[split:])).digest()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17, 31, 33, 100])
def test_root_is_that_of_rfc_6962(count: int) -> None:
    leaves = [sha256(bytes([number])).digest() for number in range(count)]
    assert merkle_root([leaf.hex() for leaf in leaves]) == defined(leaves).hex()


def test_order_changes_the_root() -> None:
    first, second = "11" * 32, "22" * 32
    assert merkle_root([first, second]) != merkle_root([second, first])
