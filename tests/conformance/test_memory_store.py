# SPDX-License-Identifier: AGPL-3.0-or-later
"""The memory store against the contract."""

import pytest

from planetmint.storage.memory import MemoryStore
from planetmint.testing.store_conformance import STORE_CHECKS, StoreCheck


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_memory_store(check: StoreCheck) -> None:
    store = MemoryStore()
    await check(lambda: store)
