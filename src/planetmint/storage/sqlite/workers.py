# SPDX-License-Identifier: AGPL-3.0-or-later
"""The threads and connections of an open ledger: one that writes, a few that read, one in the event loop."""

import asyncio
import queue
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from planetmint.storage.sqlite.record import SAVE_SCHEMA
from planetmint.storage.sqlite.session import Session, connect

T = TypeVar("T")

_READERS = 2
_READER_CACHE, _WRITER_CACHE = 16, 128
"""Megabytes of pages at most. Readers take most pages straight from the mapped file."""


class Workers:
    """What runs on behalf of one open store."""

    def __init__(self, path: Path) -> None:
        reader = partial(connect, path, write=False, cache_megabytes=_READER_CACHE)
        self.inline = Session(path, reader)
        self._writer = Session(path, lambda: _connect_writer(path))
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._read_threads = ThreadPoolExecutor(_READERS, thread_name_prefix="ledger-reader")
        self._readers = [Session(path, reader) for _ in range(_READERS)]
        self._free: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for session in self._readers:
            self._free.put(session)

    async def write(self, job: Callable[[Session], T]) -> T:
        """Run `job` where writes happen, after those before it."""
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, job, self._writer)

    async def read(self, job: Callable[[Session], T]) -> T:
        """Run `job`, which may be long, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._run, job)

    def _run(self, job: Callable[[Session], T]) -> T:
        session = self._free.get()
        try:
            return job(session)
        finally:
            self._free.put(session)

    def close(self) -> None:
        """Wait for what is under way and let go of every connection, the writer's last: it tidies the file."""
        self._read_threads.shutdown()
        self._write_thread.shutdown()
        for session in (self.inline, *self._readers, self._writer):
            session.close()


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = connect(path, write=True, cache_megabytes=_WRITER_CACHE)
    try:
        connection.executescript(SAVE_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
