# SPDX-License-Identifier: AGPL-3.0-or-later
"""The threads and connections of an open ledger: one that writes, a few that read, one in the event loop.

Between blocks the writer merges segments of the word index, and a thread of its own copies the write-ahead log
into the file, so that no block has to wait for either.
"""

import asyncio
import queue
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from planetmint.ports.errors import StoreError
from planetmint.storage.sqlite.record import MERGE, SAVE, SAVE_SCHEMA, SAVE_WORDS
from planetmint.storage.sqlite.session import Row, Session, connect

T = TypeVar("T")

_READERS = 2
_READER_CACHE, _WRITER_CACHE = 16, 128
"""Megabytes of pages at most. Readers take most pages straight from the mapped file."""

_PAGE_BYTES = 4096
_MERGE_PAGES = 16
"""So much is merged at a time: about a millisecond."""
_LOG_PAGES = 2_000
"""So much in the log is worth copying."""
_LONG_LOG_PAGES = 16_000
"""From here on the writer itself copies the last part, so that the log begins anew."""


class Workers:
    """What runs on behalf of one open store."""

    def __init__(self, path: Path) -> None:
        reader = partial(connect, path, write=False, cache_megabytes=_READER_CACHE)
        self.inline = Session(path, reader)
        self._writer = Session(path, lambda: _connect_writer(path))
        self._copier = Session(path, partial(connect, path, write=True, cache_megabytes=1))
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._copy_thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-copier")
        self._read_threads = ThreadPoolExecutor(_READERS, thread_name_prefix="ledger-reader")
        self._readers = [Session(path, reader) for _ in range(_READERS)]
        self._free: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for session in self._readers:
            self._free.put(session)
        self._waiting_writes = 0
        self._unmerged = 0
        self._uncopied = 0
        self._copying = False
        self._closed = False

    async def write(self, job: Callable[[Session], T]) -> T:
        """Run `job` where writes happen, after those before it."""
        self._waiting_writes += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._write_thread, job, self._writer)
        finally:
            self._waiting_writes -= 1

    async def save(self, parameters: Row) -> None:
        """Store a block; durable when this returns. What is left to do for its pages is done later."""
        await self.write(lambda session: session.rows(SAVE, parameters))
        self._tidy(_size(parameters))

    async def save_all(self, blocks: Sequence[Row], first: int, words: bytes) -> None:
        """Store several blocks in one transaction, whose words are given beside them.

        Args:
            blocks: Parameters of each.
            first: Sequence number of their first transaction.
            words: JSON of all their words.
        """

        def job(session: Session) -> None:
            with session.snapshot():
                for parameters in blocks:
                    session.rows(SAVE, parameters)
                session.rows(SAVE_WORDS, (first, words))

        await self.write(job)
        self._tidy(len(words) + sum(map(_size, blocks)))

    def _tidy(self, written: int) -> None:
        """Have done later what so many bytes leave to do."""
        if self._closed:
            return
        pages = written // _PAGE_BYTES
        self._unmerged += 1 + pages // 4
        self._uncopied += 8 + 2 * pages
        if self._unmerged >= _MERGE_PAGES:
            self._write_thread.submit(self._merge, self._unmerged)
            self._unmerged = 0
        if self._uncopied >= _LOG_PAGES and not self._copying:
            self._copying = True
            self._uncopied = 0
            self._copy_thread.submit(self._copy)

    async def read(self, job: Callable[[Session], T]) -> T:
        """Run `job`, which may be long, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, job)

    def close(self) -> None:
        """Wait for what is under way and let go of every connection."""
        self._closed = True
        self._read_threads.shutdown()
        self._write_thread.shutdown()
        self._copy_thread.shutdown()
        for session in (self.inline, *self._readers, self._copier, self._writer):
            session.close()

    def _read(self, job: Callable[[Session], T]) -> T:
        session = self._free.get()
        try:
            return job(session)
        finally:
            self._free.put(session)

    def _merge(self, least: int) -> None:
        """Merge segments of the word index: so many pages at least, and what there is while nobody waits to write.

        It may be lost in a crash, and so needs no flush of its own. Failing is no harm either: the next block's
        error, if the trouble lasts, reaches somebody who can tell.
        """
        with suppress(StoreError):
            self._writer.rows("PRAGMA synchronous = NORMAL")
            pages = 0
            while not self._closed and (pages < least or self._waiting_writes == 0):
                if self._writer.changes(MERGE, (_MERGE_PAGES,)) < 2:
                    break
                pages += _MERGE_PAGES
        with suppress(StoreError):
            self._writer.rows("PRAGMA synchronous = FULL")

    def _copy(self) -> None:
        """Copy the log into the file as far as no reader minds."""
        with suppress(StoreError):
            _, length, _ = self._copier.rows("PRAGMA wal_checkpoint(PASSIVE)")[0]
            if length >= _LONG_LOG_PAGES:
                self._write_thread.submit(self._writer.rows, "PRAGMA wal_checkpoint(PASSIVE)").result()
        self._copying = False


def _size(parameters: Row) -> int:
    """Bytes of what a block writes, roughly."""
    return sum(len(item) for item in parameters if isinstance(item, bytes))


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = connect(path, write=True, cache_megabytes=_WRITER_CACHE)
    try:
        connection.executescript(SAVE_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
