# SPDX-License-Identifier: AGPL-3.0-or-later
"""One HTTP connection: uvicorn's protocol on httptools, with the bounds that it lacks.

Bounded here: bytes of a request's head and trailer, bytes of a body that nobody reads any more, requests that are
sent ahead of the answers, the number of connections, and how long a client may leave a request or an answer half
done. The status lines are replaced here too.
"""

import asyncio
import http
import logging
import re

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from planetmint.http.answers import CLOSE, CONTENT_TYPE_JSON, Answer, json_answer
from planetmint.http.body import DRAINED_BYTES
from planetmint.http.errors import NOT_UNDERSTOOD
from planetmint.model.json import JsonObject

HEAD_BYTES = 65_536
"""Bytes of a request's head after which no more are read; one read may go beyond."""

READ_SECONDS = 30.0
"""How long a client may pause within a request, or keep a fresh connection without one."""

HEAD_SECONDS = 60.0
"""How long the head of a request may take from its first byte to its last."""

PARSED_BYTES = 16_384
"""Bytes that are parsed before it is looked whether requests wait: each one takes many times its size."""

WRITE_SECONDS = 60.0
"""How long a client may take nothing of an answer."""

_OFFER = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)

# Old servers wrote these in capitals, and two of the phrases differ between versions of Python.
_OLD_PHRASES = {413: "REQUEST ENTITY TOO LARGE", 422: "UNPROCESSABLE ENTITY"}


def use_old_status_lines() -> None:
    """Make uvicorn write status lines as the old servers did: ``400 BAD REQUEST`` (http-api 2.2).

    uvicorn has no setting for them, but one table; it is changed for the whole process. Pinned by
    tests/unit/http/test_http_server.py.
    """
    for status in http.HTTPStatus:
        phrase = _OLD_PHRASES.get(status, status.phrase.upper())
        STATUS_LINE[status.value] = f"HTTP/1.1 {status.value} {phrase}\r\n".encode("ascii")


def _without_offers(data: bytes) -> bytes:
    """Hide offers of another protocol from the parser, which would take the body for that protocol's.

    Some client libraries offer HTTP/2 with every request; they are answered by HTTP/1.1. An offer whose name is
    cut in two by the network stays.
    """
    head, separator, rest = data.partition(b"\r\n\r\n")
    return _OFFER.sub(b"\r\nX-Offered:", head) + separator + rest


def quiet_log(record: logging.LogRecord) -> bool:
    """A filter for uvicorn's log, which warns of every client that speaks no HTTP and of every request cut off.

    The first could fill the log at anybody's will, and is for debugging; the second belongs to stopping.
    """
    if record.levelno == logging.WARNING and record.msg == "Invalid HTTP request received.":
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class _Flow(FlowControl):
    """uvicorn's switch for reading, which stays off while requests wait for earlier ones."""

    held = False

    def resume_reading(self) -> None:
        """Read on, unless requests wait."""
        if not self.held:
            super().resume_reading()


def _plain(status: int, message: str) -> Answer:
    body: JsonObject = {"message": message, "status": status}
    return json_answer(body, status)


_BAD_REQUEST = _plain(400, NOT_UNDERSTOOD)
_HEAD_TOO_LONG = _plain(431, f"The head of the request is longer than {HEAD_BYTES} bytes.")
_TRAILER_TOO_LONG = _plain(431, f"What stands around the request's body is longer than {HEAD_BYTES} bytes.")
_TOO_MANY_CONNECTIONS = _plain(503, "The node has too many connections at present.")._replace(
    headers=((b"retry-after", b"5"),)
)


class Connection(HttpToolsProtocol):
    """A client's connection; `max_connections` counts all of the server's."""

    max_connections = 10_000

    _in_head = True
    _head_bytes = 0
    _head_begun = 0.0
    _bodiless_bytes = 0
    _ignored_bytes = 0
    _unparsed = b""
    _running: RequestResponseCycle | None = None
    _last_read = 0.0
    _unwritten = 0
    _last_write = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or answer 503 where there are too many."""
        super().connection_made(transport)
        self._flow = self.flow = _Flow(transport)
        self.access_log = False
        self._last_read = self.loop.time()
        if len(self.connections) > self.max_connections:
            self._refuse(_TOO_MANY_CONNECTIONS)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client; they wait where requests wait."""
        self._last_read = self.loop.time()
        if self._flow.held:
            self._unparsed += data
            return
        self._parse(data)

    def on_response_complete(self) -> None:
        """A request is answered: the next one that was sent ahead follows."""
        super().on_response_complete()
        if self._flow.held and not self.pipeline and not self.transport.is_closing():
            self._flow.held = False
            data, self._unparsed = self._unparsed, b""
            self._flow.resume_reading()
            self._parse(data)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: nobody waits for the answers to what was sent ahead."""
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True  # uvicorn tells only the newest request, which may wait for this one
            running.message_event.set()
        super().connection_lost(exc)
        self.pipeline.clear()
        self._unparsed = b""

    def _parse(self, data: bytes) -> None:
        """Parse in pieces, until requests have to wait for earlier ones: then nothing more is read."""
        for start in range(0, len(data), PARSED_BYTES):
            if self.pipeline:
                self._unparsed = data[start:]
                break
            self._parse_piece(data[start : start + PARSED_BYTES])
            if self.transport.is_closing():
                return
        if self.pipeline:
            self._flow.held = True
            self._flow.pause_reading()

    def _parse_piece(self, data: bytes) -> None:
        if self._in_head:
            if self._head_bytes > HEAD_BYTES:
                self._refuse(_HEAD_TOO_LONG)
                return
            if not self._head_bytes:
                self._head_begun = self.loop.time()
            self._head_bytes += len(data)
            if b"pgrade" in data:
                data = _without_offers(data)
        else:
            # Sizes and extensions of chunks, and the trailer, whose fields the parser gathers.
            self._bodiless_bytes += len(data)
            if self._bodiless_bytes > HEAD_BYTES:
                self._refuse_trailer()
                return
        super().data_received(data)

    def _refuse_trailer(self) -> None:
        if self.cycle.response_started:
            self.transport.close()
        else:
            self._refuse(_TRAILER_TOO_LONG)

    def on_headers_complete(self) -> None:
        """The head is complete: what follows does not count."""
        self._in_head = False
        self._head_bytes = self._ignored_bytes = self._bodiless_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body; after the answer it is thrown away, within a bound."""
        self._bodiless_bytes = 0
        if self.cycle.response_complete:
            self._ignored_bytes += len(body)
            if self._ignored_bytes > DRAINED_BYTES:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete: the next one may follow."""
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP; after the answer to a request that came before them."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            self.flow.pause_reading()
        elif cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.close()
        else:
            self._refuse(_BAD_REQUEST)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing about what a client would rather speak."""

    def expire(self, now: float) -> None:
        """Close the connection where the client leaves something half done for too long."""
        unwritten = self.transport.get_write_buffer_size()
        if unwritten != self._unwritten:
            self._unwritten, self._last_write = unwritten, now
        elif unwritten:
            if now - self._last_write > WRITE_SECONDS:
                self.transport.abort()
        elif self._waits_for_client() and (now - self._last_read > READ_SECONDS or self._head_is_late(now)):
            self.transport.close()

    def _head_is_late(self, now: float) -> bool:
        return self._in_head and self._head_bytes > 0 and now - self._head_begun > HEAD_SECONDS

    def _waits_for_client(self) -> bool:
        """Whether the next move is the client's; idle connections between requests have their own timer."""
        if self.flow.read_paused:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return self.cycle.more_body
        return self.timeout_keep_alive_task is None

    def _refuse(self, answer: Answer) -> None:
        """Write an answer past the application and close."""
        lines = [STATUS_LINE[answer.status]]
        for name, value in (
            CONTENT_TYPE_JSON,
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
            CLOSE,
        ):
            lines += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*lines, b"\r\n", answer.body]))
        self.transport.close()
