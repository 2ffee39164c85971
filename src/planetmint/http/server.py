# SPDX-License-Identifier: AGPL-3.0-or-later
"""The listener of the Web API: uvicorn's connections inside the node's own event loop.

uvicorn's server object is left out: it takes over signals, ends the process when a port is taken and looks
for its end ten times a second. What it does besides is binding, accepting and stopping, which stands here.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from ssl import SSLContext
from typing import cast

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from planetmint.http.protocol import Connection, demote_bad_requests, use_old_status_lines

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept between two requests."""

_BACKLOG = 2_048
_SWEEP_SECONDS = 5.0
_POLL_SECONDS = 0.005
_UNAVAILABLE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class HttpServer:
    """Serves an ASGI application on one host and port.

    Args:
        app: The application.
        host: A name or address, IPv6 with or without brackets; empty for all addresses. A name with several
            addresses is served on each of them.
        port: 0 for any free one, see `port`.
        max_connections: More are answered with 503.
        ssl_context: For https on the socket itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        max_connections: int = 10_000,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._max_connections = max_connections
        self._ssl = ssl_context
        self._state = ServerState()
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; before `start` the one that was asked for."""
        return self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is taken, the host is unknown, or the address is not this machine's.
        """
        use_old_status_lines()
        logging.getLogger("uvicorn.error").addFilter(demote_bad_requests)
        config = _config(self._app)
        loop = asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            one = Connection(config, self._state, {}, loop)
            one.max_connections = self._max_connections
            return one

        sockets = await _bind(self._host, self._port)
        self._port = sockets[0].getsockname()[1]
        for one in sockets:
            self._listeners.append(await loop.create_server(connection, sock=one, ssl=self._ssl, backlog=_BACKLOG))
        self._sweeper = loop.create_task(self._sweep())

    async def stop(self, grace: float = 5.0) -> None:
        """Take no more connections, let requests under way end for `grace` seconds, then cut them off.

        May be called twice.
        """
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in list(self._state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        # uvicorn tells nobody when a connection ends.
        while (self._state.connections or self._state.tasks) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        await self._cut_off()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
            self._sweeper = None

    async def _cut_off(self) -> None:
        for connection in list(self._state.connections):
            connection.transport.abort()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            for connection in list(self._state.connections):
                cast(Connection, connection).expire(loop.time())


def _config(app: ASGIApp) -> Config:
    """uvicorn's settings for a connection."""
    config = Config(
        app,
        interface="asgi3",
        lifespan="off",
        ws="none",
        http=Connection,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.load()
    return config


async def _bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host`, all with the same port.

    Raises:
        OSError: As `HttpServer.start`.
    """
    name = host.removeprefix("[").removesuffix("]") or None
    found = await asyncio.get_running_loop().getaddrinfo(
        name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                one = _bound(family, (address[0], port, *address[2:]), alone=len(found) == 1)
            except OSError as error:
                if error.errno not in _UNAVAILABLE:
                    raise
                missing = error  # an address family that this machine lacks; another one may do
                continue
            sockets.append(one)
            port = one.getsockname()[1]
        if not sockets and missing is not None:
            raise missing
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _bound(family: int, address: tuple[object, ...], *, alone: bool) -> socket.socket:
    """One bound socket; an IPv6 one takes IPv4 too where it stands for all addresses alone."""
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            both = alone and address[0] == "::"
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        one.bind(address)
        one.setblocking(False)
    except OSError as error:
        one.close()
        raise OSError(error.errno, f"{error.strerror}: {address[0]}, port {address[1]}") from None
    return one
