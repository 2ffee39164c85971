# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stream port as the node sees it: start, stop, and a few counters."""

import asyncio
import contextlib
import socket

import structlog

from planetmint.listening import bound_sockets
from planetmint.ports.feed import EventFeed
from planetmint.streams.connection import Connection
from planetmint.streams.frames import GOING_AWAY
from planetmint.streams.hub import Hub
from planetmint.streams.settings import StreamSettings

BACKLOG = 4_096
"""Connections that the kernel may hold before they are accepted: a reconnect storm after a restart."""

_DRAIN_TIMEOUT = 2.0
_STOP_TIMEOUT = 3.0
_CLOSES_PER_TURN = 200
_SPARE_SOCKETS = 1_000
"""Sockets beyond the subscribers that may be asking for something else, or be about to subscribe."""

_UNSENT_BYTES = 128 * 1024
"""What the kernel may hold for a client that takes nothing, besides what it has sent."""

_OPTIONS = (
    ((socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES),)
    if hasattr(socket, "TCP_NOTSENT_LOWAT")
    else ()
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class StreamServer:
    """Serves the event stream on a port of its own.

    Args:
        feed: Where committed blocks come from.
        settings: Bounds and intervals.

    Attributes:
        refused: Connections that were not given what they asked for, since the start.
    """

    def __init__(self, feed: EventFeed, settings: StreamSettings) -> None:
        self.settings = settings
        self.hub = Hub(feed, settings.stall_timeout)
        self.label = ""
        self.refused = 0
        self._feed = feed
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._stopping = False
        self._all_gone = asyncio.Event()

    @property
    def port(self) -> int:
        """The TCP port that is listened on; 0 when stopped."""
        for server in self._servers:
            for one in server.sockets:
                return int(one.getsockname()[1])
        return 0

    @property
    def subscribers(self) -> int:
        """Connections that are streamed to."""
        return self.hub.subscribers

    @property
    def lagging(self) -> int:
        """Subscribers that are not served live at present."""
        return self.hub.lagging

    @property
    def messages_sent(self) -> int:
        """Messages written since the start."""
        return self.hub.messages_sent

    async def start(self, host: str, port: int) -> None:
        """Listen on every address of `host` that this machine has.

        Args:
            host: Name or address; empty for all addresses.
            port: 0 for a free one, see `port`.

        Raises:
            OSError: The port is taken or the host is unknown.
        """
        self.label = self._feed.label
        self.hub.start()
        loop = asyncio.get_running_loop()
        try:
            for one in await bound_sockets(host, port, _OPTIONS):
                server = await loop.create_server(
                    lambda: Connection(self), sock=one, backlog=BACKLOG, ssl=self.settings.tls
                )
                self._servers.append(server)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take no more clients, hand out the last blocks, close everybody with 1001; a few seconds at most."""
        self._stopping = True
        for server in self._servers:
            server.close()
        self._servers.clear()
        await self.hub.stop(_DRAIN_TIMEOUT)
        for count, connection in enumerate(tuple(self._connections), 1):
            connection.close(GOING_AWAY, "the node stops")
            if count % _CLOSES_PER_TURN == 0:
                await asyncio.sleep(0)
        if self._connections:
            self._all_gone.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), _STOP_TIMEOUT)
        for connection in tuple(self._connections):
            connection.abort()

    # -- what connections call

    def accepted(self, connection: Connection) -> bool:
        """See `connection.Port`."""
        self._connections.add(connection)
        if self._stopping or len(self._connections) > self.settings.max_connections + _SPARE_SOCKETS:
            self.refused += 1
            return False
        return True

    def ended(self, connection: Connection) -> None:
        """See `connection.Port`."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_gone.set()

    def room(self) -> bool:
        """See `connection.Port`."""
        return not self._stopping and self.hub.subscribers < self.settings.max_connections

    def count_refusal(self) -> None:
        """See `connection.Port`."""
        self.refused += 1
