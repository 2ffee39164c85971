# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Merkle root against the recursive definition of RFC 6962, section 2.1, written out for the tests."""

from hashlib import sha256

import pytest

from planetmint.chain import merkle_root
from tests.support.app_hash import merkle_root as defined_root


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17, 31, 33, 100])
def test_root_is_that_of_rfc_6962(count: int) -> None:
    leaves = [sha256(bytes([number])).digest() for number in range(count)]
    assert merkle_root([leaf.hex() for leaf in leaves]) == defined_root(leaves).hex()


def test_order_changes_the_root() -> None:
    first, second = "11" * 32, "22" * 32
    assert merkle_root([first, second]) != merkle_root([second, first])
