# SPDX-License-Identifier: AGPL-3.0-or-later
"""As much of an HTTP client as the engine's RPC needs: POST of a body, on connections that stay open."""

import asyncio
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from planetmint.ports.errors import EngineError

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that are taken."""

_IDLE = 5.0
"""Seconds after which a connection is not used again; the engine closes one after ten."""


class Target(NamedTuple):
    """Where the RPC answers: a Unix socket's path, or else host and port."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        """As a URL."""
        if self.path is not None:
            return f"unix://{self.path}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def read_target(url: str) -> Target:
    """Read `http://host:port` or `unix:///path`.

    Raises:
        ValueError: It is neither.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return Target("localhost", 0, parts.path)
    if parts.scheme not in ("http", "tcp") or not parts.hostname or parts.port is None:
        raise ValueError(f"`{url}` is neither http://host:port nor unix:///path")
    return Target(parts.hostname, parts.port)


class Unanswered(Exception):
    """A request that may go out only once was sent, and no answer came: it may have had its effect, or will."""


class HttpClient:
    """Posts to one place; as many connections as there are requests at the same time."""

    def __init__(self, target: Target, *, timeout: float = 10.0) -> None:
        """
        Args:
            timeout: Seconds for connecting and for an answer, each.
        """
        self.target = target
        self._timeout = timeout
        self._idle: list[_Exchange] = []
        host = f"[{target.host}]" if ":" in target.host else target.host
        self._head = (
            f"POST / HTTP/1.1\r\nHost: {host}:{target.port}\r\nContent-Type: application/json\r\n".encode()
        )

    async def post(self, body: bytes, *, once: bool = False) -> bytes:
        """The body of the answer to `body`, whatever its status.

        Args:
            once: It is not to arrive twice. Otherwise it is sent again where a connection that was used before
                breaks: that one was most often closed while nobody looked.

        Raises:
            Unanswered: It was sent `once` and not answered.
            EngineError: No answer; the request may have had its effect, unless it was to go out `once`.
        """
        request = b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)
        exchange = self._reusable()
        fresh = exchange is None
        try:
            exchange = exchange or await self._connect()
            async with asyncio.timeout(self._timeout):
                answer = await exchange.send(request)
        except OSError as error:
            self._drop(exchange)
            late = isinstance(error, TimeoutError)
            reason = f"no answer within {self._timeout:g} seconds" if late else str(error) or type(error).__name__
            if once and exchange is not None and exchange.sent:
                raise Unanswered(reason) from None
            if fresh or late:
                raise EngineError(reason) from None
            return await self.post(body, once=once)
        except BaseException:
            self._drop(exchange)
            raise
        if exchange.keep:
            self._idle.append(exchange)
        else:
            exchange.close()
        return answer

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _reusable(self) -> "_Exchange | None":
        now = asyncio.get_running_loop().time()
        while self._idle:
            exchange = self._idle.pop()
            if exchange.keep and now - exchange.used < _IDLE:
                return exchange
            exchange.close()
        return None

    async def _connect(self) -> "_Exchange":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout):
            if self.target.path is not None:
                _, exchange = await loop.create_unix_connection(_Exchange, self.target.path)
            else:
                _, exchange = await loop.create_connection(_Exchange, self.target.host, self.target.port)
        return exchange

    def _drop(self, exchange: "_Exchange | None") -> None:
        if exchange is not None:
            exchange.close()


class _Exchange(asyncio.Protocol):
    """One connection: a request, its answer, the next request.

    Attributes:
        keep: Whether another request may follow.
        used: When the last answer came, by the event loop's clock.
        sent: Whether bytes of the request at hand were written.
    """

    def __init__(self) -> None:
        self.keep = True
        self.used = 0.0
        self.sent = False
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._size = 0
        self._answer: asyncio.Future[bytes] | None = None

    async def send(self, request: bytes) -> bytes:
        """The body of the answer. Raises OSError where the connection breaks or does not speak HTTP."""
        self.sent = False
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._parts, self._size = [], 0
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self.sent = True
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Use it no more."""
        self.keep = False
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"the answer is not HTTP ({error})"))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(ConnectionResetError("the connection was closed before the answer was complete"))

    def _fail(self, error: OSError) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    # What the parser calls

    def on_body(self, part: bytes) -> None:
        """A part of the answer's body."""
        self._size += len(part)
        if self._size > MAX_ANSWER:
            self._fail(ConnectionError(f"the answer is longer than {MAX_ANSWER} bytes"))
        else:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        """The answer is complete."""
        self.used = asyncio.get_running_loop().time()
        self.keep = self.keep and self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(b"".join(self._parts))
