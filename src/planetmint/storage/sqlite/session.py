# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection to the ledger's file that comes back by itself after an error, and errors in the port's words."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planetmint.ports.errors import StoreError, StoreFull

Row = tuple[Any, ...]

_MEGABYTE = 1 << 20
_BUSY_SECONDS = 10
_MAP_BYTES = 1 << 40
"""More than any ledger; SQLite lowers it to what it was built for."""

_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR})
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""Primary codes of errors that come from what stands in the file."""


def connect(path: Path, *, write: bool, cache_megabytes: int, create: bool = False) -> sqlite3.Connection:
    """Open the file as every connection of the store does; raises sqlite3.Error."""
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_SECONDS,
        cached_statements=256,
    )
    try:
        _prepare(connection, write, cache_megabytes)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, write: bool, cache_megabytes: int) -> None:
    connection.execute(f"PRAGMA cache_size = {-cache_megabytes * _MEGABYTE // 1024}")
    connection.execute(f"PRAGMA mmap_size = {_MAP_BYTES}")
    connection.execute("PRAGMA temp_store = MEMORY")
    if not write:
        connection.execute("PRAGMA query_only = ON")
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {64 * _MEGABYTE}")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("PRAGMA foreign_keys = ON")


def translated(error: sqlite3.Error, path: Path) -> StoreError:
    """The port's error for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in DAMAGED:
        return StoreError(f"{path} is damaged ({error}): put it back from a backup, or set another data folder")
    kind = StoreFull if primary in _FULL else StoreError
    return kind(f"{path}: {error}")


class Session:
    """One connection, used by one thread at a time; opened when first used and again after an error."""

    def __init__(self, path: Path, make: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._make = make
        self._connection: sqlite3.Connection | None = None

    def rows(self, sql: str, parameters: Row = ()) -> list[Row]:
        """All rows of one statement; raises StoreError."""
        try:
            return self.connection().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self.failed(error) from error

    def row(self, sql: str, parameters: Row = ()) -> Row | None:
        """The first row; raises StoreError."""
        rows = self.rows(sql, parameters)
        return rows[0] if rows else None

    def changes(self, sql: str, parameters: Row = ()) -> int:
        """How many rows one statement changed, those inside a virtual table too; raises StoreError."""
        try:
            connection = self.connection()
            before = connection.total_changes
            connection.execute(sql, parameters)
            return connection.total_changes - before
        except sqlite3.Error as error:
            raise self.failed(error) from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see one and the same state, and writes go together; raises StoreError."""
        self.rows("BEGIN")
        try:
            yield
            self.rows("COMMIT")
        except BaseException:
            self.close()
            raise

    def connection(self) -> sqlite3.Connection:
        """The connection itself; raises sqlite3.Error."""
        if self._connection is None:
            self._connection = self._make()
        return self._connection

    def failed(self, error: sqlite3.Error) -> StoreError:
        """Drop the connection, which rolls back what was under way, and answer the port's error."""
        self.close()
        return translated(error, self._path)

    def close(self) -> None:
        """Let go of the connection; the next use opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
