# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection for audits: it reads on where the file is damaged, and notes what it cannot read."""

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from planetmint.storage.checks import Findings
from planetmint.storage.sqlite.session import DAMAGED, Row, Session, connect

_CACHE = 16
"""Megabytes of pages at most."""


_UNREADABLE = DAMAGED | {sqlite3.SQLITE_ERROR}
"""The statements themselves are right: an error in one comes from what stands in the file."""


class Reader(Session):
    """A connection that notes what it cannot read instead of failing; errors of other kinds are raised."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, partial(_connect, path))
        self.findings = Findings()

    def rows(self, sql: str, parameters: Row = ()) -> list[Row]:
        """All rows of one statement; none where the file is damaged there."""
        return list(self.each(sql, parameters))

    def each(self, sql: str, parameters: Row = ()) -> Iterator[Row]:
        """The rows of one statement one by one, as far as they can be read."""
        try:
            yield from self.connection().execute(sql, parameters)
        except sqlite3.Error as error:
            if (getattr(error, "sqlite_errorcode", 0) & 0xFF) not in _UNREADABLE:
                raise self.failed(error) from error
            self.findings.add(f"a part of the file cannot be read ({error}) by: {' '.join(sql.split())}")

    def word_instances(self) -> Iterator[Row]:
        """Sequence number, word, column and place of every word in the word index, texts as bytes."""
        connection = self.connection()
        usual, connection.text_factory = connection.text_factory, bytes
        try:
            self.rows("PRAGMA query_only = OFF")
            self.rows("CREATE VIRTUAL TABLE IF NOT EXISTS temp.instances USING fts5vocab(main, words, instance)")
            self.rows("PRAGMA query_only = ON")
            yield from self.each("SELECT doc, term, col, offset FROM temp.instances")
        finally:
            connection.text_factory = usual


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that only reads, and reads texts that are none."""
    connection = connect(path, write=False, cache_megabytes=_CACHE)
    connection.text_factory = _text
    return connection


def _text(data: bytes) -> str:
    """A text, which in a damaged file may be none."""
    return data.decode(errors="surrogateescape")
