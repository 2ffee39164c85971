# SPDX-License-Identifier: AGPL-3.0-or-later
"""The SQLite store against the contract."""

from pathlib import Path

import pytest

from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.store_conformance import STORE_CHECKS, StoreCheck


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_sqlite_store(check: StoreCheck, tmp_path: Path) -> None:
    await check(lambda: SqliteStore(tmp_path / "ledger.db"))
