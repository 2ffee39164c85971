# SPDX-License-Identifier: AGPL-3.0-or-later
"""The socket on which the engine finds the application: TCP or Unix, any number of connections.

Each connection is answered in order by a task of its own. CheckTx calls that have arrived together are answered
together. A connection that cannot be understood is closed, the others go on; so does the server when all are gone.
"""

import asyncio
import os
import socket
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import structlog

from planetmint.consensus.cometbft import wire
from planetmint.consensus.cometbft.framing import FrameReader, ProtocolError
from planetmint.consensus.cometbft.handler import Gone, Handler, Link
from planetmint.model.errors import InvariantViolated

MAX_TOGETHER = 512
"""CheckTx calls that are answered in one go."""

LONGEST_PATH = 107
"""Bytes that a Unix socket's path may have."""

_HELD = 32 * 1024 * 1024
"""Bytes of calls that may wait on one connection before it is read no further."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Address(NamedTuple):
    """Where a server listens: a path, or else host and port."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        """In the form in which the engine's configuration names it."""
        if self.path is not None:
            return f"unix://{self.path}"
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


def read_address(text: str) -> Address:
    """Read `tcp://host:port` or `unix:///path`.

    Raises:
        ValueError: It is neither.
    """
    scheme, found, rest = text.partition("://")
    if found and scheme == "unix" and rest:
        return Address("", 0, rest)
    host, colon, port = rest.rpartition(":")
    if scheme != "tcp" or not colon or not port.isascii() or not port.isdigit():
        raise ValueError(f"`{text}` is neither tcp://host:port nor unix:///path")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


class AbciServer:
    """Listens for the engine.

    Attributes:
        address: Where it listens; with the port that was given out, once started.
    """

    def __init__(
        self,
        address: Address,
        handler: Handler,
        *,
        failed: Callable[[BaseException], None],
        changed: Callable[[int, bool], None],
    ) -> None:
        """
        Args:
            failed: Told of an error after which the node cannot go on.
            changed: Told the number of connections whenever it changes, and whether one is lost that carried the
                checks of the mempool.
        """
        self.address = address
        self._handler = handler
        self._failed = failed
        self._changed = changed
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be used.
        """
        loop = asyncio.get_running_loop()
        if self.address.path is not None:
            _make_room(self.address.path)
            self._server = await loop.create_unix_server(self._connection, self.address.path)
            return
        host = self.address.host or None
        self._server = await loop.create_server(self._connection, host, self.address.port)
        port = self._server.sockets[0].getsockname()[1]
        self.address = self.address._replace(port=port)

    async def stop(self) -> None:
        """Close every connection once the call under way is answered; may be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in tuple(self._connections):
            connection.end()
        tasks = [connection.task for connection in self._connections]
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.address.path is not None:
            _remove(self.address.path)

    def _connection(self) -> "_Connection":
        return _Connection(self._handler, self._failed, self._opened, self._closed)

    def _opened(self, connection: "_Connection") -> None:
        self._connections.add(connection)
        self._changed(len(self._connections), False)

    def _closed(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        self._changed(len(self._connections), connection.link.checks)


class _Connection(asyncio.Protocol):
    """One connection of the engine."""

    def __init__(
        self,
        handler: Handler,
        failed: Callable[[BaseException], None],
        opened: Callable[["_Connection"], None],
        closed: Callable[["_Connection"], None],
    ) -> None:
        self._handler = handler
        self._failed = failed
        self._opened = opened
        self._closed = closed
        self._frames = FrameReader()
        self._calls: deque[tuple[wire.Call, int]] = deque()
        self._held = 0
        self._reading = True
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._ending = False
        self._broken: ProtocolError | None = None
        self.link = Link()
        self._transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None]

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._opened(self)
        self.task = asyncio.get_running_loop().create_task(self._work(self._transport))

    def connection_lost(self, error: Exception | None) -> None:
        self.link.lost.set()
        self._writable.set()
        self._wake.set()

    def data_received(self, data: bytes) -> None:
        if self._broken is not None:
            return
        try:
            for message in self._frames.feed(data):
                self._calls.append((wire.read_call(message), len(message)))
                self._held += len(message)
            self._broken = self._frames.error
        except ProtocolError as error:
            self._broken = error
        if self._held > _HELD and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._wake.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # The rest

    def end(self) -> None:
        """Answer the call under way and no other."""
        self._ending = True
        self.link.lost.set()
        self._wake.set()

    async def _work(self, transport: asyncio.Transport) -> None:
        try:
            while await self._more():
                await self._answer_next(transport)
                await self._writable.wait()
            if self._broken is not None:
                _log.error("engine.not_understood", reason=str(self._broken))
        except Gone:
            pass
        except InvariantViolated as error:
            # No answer: what the engine makes of one cannot be foreseen. Whoever watches ends the node.
            self._failed(error)
        finally:
            transport.close()
            self._closed(self)

    async def _more(self) -> bool:
        """Wait for a call; False when none will come or be answered any more."""
        while not self._calls and self._broken is None and not self.link.lost.is_set():
            self._wake.clear()
            await self._wake.wait()
        return bool(self._calls) and not self._ending and not self.link.lost.is_set()

    async def _answer_next(self, transport: asyncio.Transport) -> None:
        checks = self._take_checks()
        call = self._take() if not checks else checks[0]
        try:
            answer = await (self._handler.check(checks) if checks else self._handler.answer(call, self.link))
        except (Gone, InvariantViolated):
            raise
        except Exception as error:  # noqa: BLE001 - a bug: said in the log, and the engine must not go on
            _log.critical("engine.call_failed", call=call.kind.value, exc_info=error)
            answer = wire.exception(f"an error in the node's own code: {type(error).__name__}")
        transport.write(answer)

    def _take_checks(self) -> list[wire.CheckTx]:
        """The CheckTx calls at the front."""
        checks: list[wire.CheckTx] = []
        while self._calls and len(checks) < MAX_TOGETHER and isinstance(self._calls[0][0], wire.CheckTx):
            call = self._take()
            assert isinstance(call, wire.CheckTx)
            checks.append(call)
            self.link.checks = True
        return checks

    def _take(self) -> wire.Call:
        call, size = self._calls.popleft()
        self._held -= size
        if not self._reading and self._held <= _HELD // 2 and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return call


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _make_room(path: str) -> None:
    """Take away the socket that a server left behind which has ended without cleaning up.

    Raises:
        OSError: Somebody listens there, it is no socket, or the path is too long.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise OSError(
            f"the path of a socket may have {LONGEST_PATH} bytes, `{path}` has more: choose a shorter one"
        )
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(f"`{path}` is there already and no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            _remove(path)
            return
    raise OSError(f"somebody listens at `{path}` already")
