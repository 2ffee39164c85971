# SPDX-License-Identifier: AGPL-3.0-or-later
"""One client of the stream port: its socket, from the first byte of its request to the last of its stream.

A connection is in one of five phases, in this order, and may skip some: it sends its request (`HEAD`), the store
is asked whether its cursor exists (`CHECKING`), it is streamed to (`OPEN`), it is told that this is the end
(`CLOSING`), it is gone (`GONE`).
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from http import HTTPStatus
from typing import Protocol, cast

import structlog

from planetmint.ports.errors import StoreError
from planetmint.streams.batch import Batch
from planetmint.streams.cursor import Position
from planetmint.streams.errors import BadParameter
from planetmint.streams.frames import GOING_AWAY, PING, TRY_AGAIN_LATER, close_frame, pong_frame
from planetmint.streams.hub import Hub
from planetmint.streams.incoming import Closed, Incoming, Pinged
from planetmint.streams.request import (
    HEAD_END,
    MAX_HEAD_BYTES,
    Answer,
    BadHead,
    Request,
    Upgrade,
    bad_parameter_answer,
    busy_answer,
    decide,
    error_answer,
    parse_head,
)
from planetmint.streams.settings import StreamSettings
from planetmint.streams.subscription import Subscription

CLOSE_GRACE = 3.0
"""Seconds that a client has to answer a close frame or to take the last bytes."""

_MISSED_PINGS = 2
_FRAMES_PER_TURN = 200
"""So many frames of one client are looked at before the loop does other work."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Phase(IntEnum):
    """See the module."""

    HEAD = 0
    CHECKING = 1
    OPEN = 2
    CLOSING = 3
    GONE = 4


class Port(Protocol):
    """What a connection needs of the server that accepted it."""

    settings: StreamSettings
    hub: Hub
    label: str

    def accepted(self, connection: "Connection") -> bool:
        """Count a connection; False when it must go at once."""
        ...

    def ended(self, connection: "Connection") -> None:
        """The socket is gone."""
        ...

    def room(self) -> bool:
        """Whether another subscriber may join."""
        ...

    def count_refusal(self) -> None:
        """A request was answered with something else than a stream."""
        ...


class Connection(asyncio.Protocol):
    """See the module; a `Subscriber` of the hub while it is open."""

    __slots__ = (
        "_buffer",
        "_check",
        "_incoming",
        "_missed",
        "_parsing",
        "_port",
        "_progress",
        "_streaming",
        "_timer",
        "_transport",
        "_unanswered_ping",
        "phase",
        "subscription",
    )

    subscription: Subscription

    def __init__(self, port: Port) -> None:
        self.phase = Phase.HEAD
        self._port = port
        self._transport: asyncio.Transport
        self._buffer = b""
        self._incoming: Incoming | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._check: asyncio.Task[None] | None = None
        self._streaming = False
        self._parsing = False
        self._missed = 0
        self._unanswered_ping: bytes | None = None
        self._progress = (0, 0.0)

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        # uvloop's transports are not subclasses of asyncio's.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        if not self._port.accepted(self):
            transport.abort()
            return
        transport.set_write_buffer_limits(high=self._port.settings.high_water)
        self._after(self._port.settings.head_timeout, self._head_timed_out)

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        self._missed = 0
        if self.phase is Phase.HEAD:
            self._read_head(data)
        elif self.phase is Phase.CHECKING:
            self._buffer += data
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._transport.abort()
        elif self._streaming:
            self._incoming = self._incoming or Incoming(self._port.settings.max_message_bytes)
            self._incoming.feed(data)
            if not self._parsing:
                self._read_frames(self._incoming)

    def eof_received(self) -> bool:
        """The client sends no more; without a close frame that is the end."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone, for whatever reason."""
        self._leave(Phase.GONE)
        self._stop_timer()
        if self._check is not None:
            self._check.cancel()
        self._port.ended(self)

    def pause_writing(self) -> None:
        """More than the high-water mark waits to be taken."""
        self._note_progress()
        if self.phase is Phase.OPEN:
            self._port.hub.pause(self)

    def resume_writing(self) -> None:
        """The client has taken most of what waited."""
        if self.phase is not Phase.OPEN:
            return
        self._missed = 0
        if self._unanswered_ping is not None:
            self._write(pong_frame(self._unanswered_ping))
            self._unanswered_ping = None
        self._port.hub.resume(self)

    # -- what the hub and the server call

    def write_batch(self, batch: Batch) -> int:
        """See `hub.Subscriber`."""
        delivery = self.subscription.take(batch)
        if delivery is None or not delivery.data:
            return 0
        self._port.hub.messages_sent += delivery.messages
        self._write(delivery.data)
        return len(delivery.data)

    def check_stall(self) -> None:
        """See `hub.Subscriber`."""
        size, since = self._progress
        now = asyncio.get_running_loop().time()
        waiting = self._transport.get_write_buffer_size()
        if waiting < size:
            self._progress = (waiting, now)
        elif now - since >= self._port.settings.stall_timeout:
            log.info("closed a subscriber that takes nothing", waiting_bytes=waiting)
            self.close(TRY_AGAIN_LATER, f"too slow; resume after={self.subscription.cursor}")

    def close(self, code: int | None, reason: str = "") -> None:
        """Send a close frame and wait a little for the client's; a connection that is not open is just dropped."""
        if self.phase >= Phase.CLOSING:
            return
        if self.phase is not Phase.OPEN:
            self._transport.abort()
            return
        self._leave(Phase.CLOSING)
        self._write(close_frame(code, reason))
        self._after(CLOSE_GRACE, self._transport.abort)

    def abort(self) -> None:
        """Drop the socket."""
        self._transport.abort()

    # -- the request

    def _read_head(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(HEAD_END)
        if len(head) > MAX_HEAD_BYTES:
            self._answer(error_answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request head is too long"))
        elif end:
            self._buffer = rest
            self._decide(head)
        elif not (b"A" <= self._buffer[:1] <= b"Z"):
            self._answer(error_answer(HTTPStatus.BAD_REQUEST, "not an HTTP/1 request"))

    def _decide(self, head: bytes) -> None:
        port = self._port
        try:
            request = parse_head(head)
        except BadHead as bad:
            self._answer(bad.answer)
            return
        decision = decide(request, label=port.label, head=port.hub.head, room=port.room())
        if isinstance(decision, Answer):
            self._answer(decision, request)
            return
        start = decision.wanted.start
        if start is not None and start.skip:
            self.phase = Phase.CHECKING
            self._check = asyncio.get_running_loop().create_task(self._check_start(request, decision, start))
        else:
            self._open(decision)

    async def _check_start(self, request: Request, upgrade: Upgrade, start: Position) -> None:
        """Grant the handshake if the transaction that the client names exists."""
        hub = self._port.hub
        try:
            exists = await hub.history.holds(start.height + 1, start.skip - 1)
        except StoreError as error:
            log.error("a cursor cannot be looked up", error=str(error))
            self._answer(error_answer(HTTPStatus.SERVICE_UNAVAILABLE, "history cannot be read"), request)
            return
        if not exists:
            why = f"is beyond the end of block {start.height + 1}"
            self._answer(bad_parameter_answer(BadParameter("after", why)), request)
        elif not self._port.room():
            self._answer(busy_answer(), request)
        else:
            self._open(upgrade)

    def _answer(self, answer: Answer, request: Request | None = None) -> None:
        """Send an answer and let the client close, so that bytes of it still under way do not undo the answer."""
        if self.phase >= Phase.CLOSING:
            return
        if answer.status >= HTTPStatus.BAD_REQUEST:
            self._port.count_refusal()
        self.phase = Phase.CLOSING
        self._buffer = b""
        self._write(answer.render(with_body=request is None or request.method != "HEAD"))
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._after(CLOSE_GRACE, self._transport.abort)
        else:
            self._transport.close()

    def _head_timed_out(self) -> None:
        self._answer(error_answer(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time"))

    def _open(self, upgrade: Upgrade) -> None:
        """Answer 101; from here on every block that the hub hears of reaches the client (ES-18)."""
        settings, hub = self._port.settings, self._port.hub
        wanted = upgrade.wanted
        start = wanted.start if wanted.start is not None else Position(hub.head)
        self.subscription = Subscription(wanted.view, start)
        self.phase = Phase.OPEN
        self._streaming = True
        self._write(upgrade.answer)
        self._after(settings.ping_interval, self._ping)
        hub.join(self)
        rest, self._buffer = self._buffer, b""
        if rest:
            self.data_received(rest)

    # -- frames of the client

    def _read_frames(self, incoming: Incoming) -> None:
        """Look at what came in, a bounded number of frames per turn of the loop."""
        self._parsing = False
        for count, event in enumerate(incoming.events(), 1):
            if isinstance(event, Pinged):
                self._pong(event.payload)
            elif isinstance(event, Closed):
                self._closed_by(event)
                return
            if count >= _FRAMES_PER_TURN:
                self._parsing = True
                self._transport.pause_reading()
                asyncio.get_running_loop().call_soon(self._read_more_frames, incoming)
                return

    def _read_more_frames(self, incoming: Incoming) -> None:
        if self.phase is Phase.GONE or self._transport.is_closing():
            return
        self._transport.resume_reading()
        self._read_frames(incoming)

    def _pong(self, payload: bytes) -> None:
        if self.phase is not Phase.OPEN:
            return
        if self.subscription.paused:
            # A client that pings and does not read must not fill the buffer; the newest ping is the one to answer.
            self._unanswered_ping = payload
        else:
            self._write(pong_frame(payload))

    def _closed_by(self, event: Closed) -> None:
        if self.phase is Phase.OPEN:
            self.close(event.code, event.reason)
            if event.fault:
                return
        # Both sides have sent their close frame: the server is the one to close the socket (RFC 6455 7.1.1).
        self._transport.close()

    # -- time

    def _ping(self) -> None:
        """Ping a client that is read from; drop one that has answered none of the last two."""
        if self.subscription.paused:
            # What it has not taken yet stands before the ping; `check_stall` looks after it.
            self._missed = 0
        elif self._missed >= _MISSED_PINGS:
            log.info("dropped a subscriber that does not answer pings")
            self.close(GOING_AWAY, f"no answer to pings; resume after={self.subscription.cursor}")
            return
        else:
            self._missed += 1
            self._write(PING)
        self._after(self._port.settings.ping_interval, self._ping)

    def _note_progress(self) -> None:
        self._progress = (self._transport.get_write_buffer_size(), asyncio.get_running_loop().time())

    def _after(self, seconds: float, action: Callable[[], object]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- ends

    def _leave(self, phase: Phase) -> None:
        if self.phase is Phase.OPEN:
            self.subscription.close()
            self._port.hub.leave(self)
        self.phase = phase

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
