# SPDX-License-Identifier: AGPL-3.0-or-later
"""The listener of the Web API: uvicorn's connections inside the node's own event loop.

uvicorn's server object is left out: it takes over signals, ends the process when a port is taken and looks
for its end ten times a second. What it does besides is binding, accepting and stopping, which stands here.
"""

import asyncio
import contextlib
import logging
from ssl import SSLContext
from typing import cast

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from planetmint.http.protocol import Connection, quiet_log, use_old_status_lines
from planetmint.listening import bound_sockets

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept between two requests."""

_BACKLOG = 2_048
_SWEEP_SECONDS = 5.0
_POLL_SECONDS = 0.005
_END_SECONDS = 0.5


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
        self._hurried = False

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
        logging.getLogger("uvicorn.error").addFilter(quiet_log)
        config = _config(self._app)
        loop = asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            one = Connection(config, self._state, {}, loop)
            one.max_connections = self._max_connections
            return one

        sockets = await bound_sockets(self._host, self._port)
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
        while self._busy() and loop.time() < deadline and not self._hurried:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        await self._cut_off()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
            self._sweeper = None

    def hurry(self) -> None:
        """Make `stop`, now or later, wait for no request."""
        self._hurried = True

    def _busy(self) -> bool:
        return bool(self._state.connections or self._state.tasks)

    async def _cut_off(self) -> None:
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._state.tasks:  # who waits for a client ends by itself when that one is gone
            await asyncio.wait(list(self._state.tasks), timeout=_END_SECONDS)
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
