# SPDX-License-Identifier: AGPL-3.0-or-later
"""TCP links between nodes that a test can cut and heal: a relay for each, in a thread of its own.

A cut link goes silent, as a network that is down does; with `reset` it closes connections and refuses new ones, as
a machine that is off does. What was sent over a silent link passes when it is healed.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Self

HOST = "127.0.0.1"
_CHUNK = 65_536


class Link:
    """Relays connections from one port to another."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self._open = asyncio.Event()
        self._open.set()
        self._refuses = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self._close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, *, reset: bool) -> None:
        """Let nothing pass any more."""
        self._open.clear()
        self._refuses = reset
        if reset:
            self._close()

    def heal(self) -> None:
        """Let everything pass again, what waited first."""
        self._refuses = False
        self._open.set()

    def _close(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        self._writers.add(writer)
        await self._open.wait()
        try:
            there_reader, there = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(there)
        for one, other in ((reader, there), (there_reader, writer)):
            task = asyncio.create_task(self._pass_on(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                await self._open.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()


class Links:
    """Every link of a network; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: dict[tuple[int, int], Link] = {}

    def add(self, dialer: int, listener: int, port: int, target: int) -> None:
        """Relay `port` to `target`: how node `dialer` reaches node `listener`."""

        async def make() -> None:
            link = Link(port, target)
            await link.start()
            self._links[dialer, listener] = link

        self._do(make())

    def cut(self, groups: tuple[frozenset[int], ...], *, reset: bool = False) -> None:
        """Cut every link between two nodes that stand in no group together."""

        async def cut() -> None:
            for (dialer, listener), link in self._links.items():
                if not any({dialer, listener} <= group for group in groups):
                    link.cut(reset=reset)

        self._do(cut())

    def heal(self) -> None:
        """Heal every link."""

        async def heal() -> None:
            for link in self._links.values():
                link.heal()

        self._do(heal())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            for link in self._links.values():
                await link.stop()

        self._do(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
