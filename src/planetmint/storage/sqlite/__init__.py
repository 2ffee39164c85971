# SPDX-License-Identifier: AGPL-3.0-or-later
"""The embedded store: one SQLite file, written by one process and read by any."""

from planetmint.storage.sqlite.layout import migrate
from planetmint.storage.sqlite.store import FILE_NAME, SqliteStore

__all__ = ["FILE_NAME", "SqliteStore", "migrate"]
