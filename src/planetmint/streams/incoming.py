# SPDX-License-Identifier: AGPL-3.0-or-later
"""What clients send: checked as RFC 6455 demands, answered where it must be, thrown away otherwise (ES-14).

Frames are taken apart by wsproto, which hands payloads on in pieces as they come, so that nothing is gathered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from planetmint.streams.frames import MESSAGE_TOO_BIG


@dataclass(frozen=True, slots=True)
class Pinged:
    """The client wants a pong with this payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The client closes, or must be closed.

    Attributes:
        code: To put into our close frame; None for an empty one.
        reason: For people; empty where the client closes.
        fault: Whether the client broke a rule.
    """

    code: int | None
    reason: str = ""
    fault: bool = False


class Incoming:
    """One client's frames.

    Args:
        max_message_bytes: Longest message that is put up with.
    """

    __slots__ = ("_connection", "_ended", "_max_message_bytes", "_message_bytes")

    def __init__(self, max_message_bytes: int) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._max_message_bytes = max_message_bytes
        self._message_bytes = 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket; `events` then tells what they mean."""
        if not self._ended:
            self._connection.receive_data(data)

    def events(self) -> Iterator[Pinged | Closed | None]:
        """One item per frame (or piece of one); None where nothing has to be done. Ends after `Closed`.

        Lazy, so that the caller may stop and go on later.
        """
        if self._ended:
            return
        for event in self._connection.events():
            if isinstance(event, Ping):
                yield Pinged(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                self._ended = True
                yield self._closed(event)
                return
            elif isinstance(event, TextMessage | BytesMessage):
                if self._too_long(event):
                    self._ended = True
                    yield Closed(MESSAGE_TOO_BIG, f"messages have at most {self._max_message_bytes} bytes", True)
                    return
                yield None
            elif isinstance(event, Pong):
                yield None

    def _too_long(self, event: TextMessage | BytesMessage) -> bool:
        data = event.data
        self._message_bytes += len(data.encode()) if isinstance(data, str) else len(data)
        if self._message_bytes > self._max_message_bytes:
            return True
        if event.message_finished:
            self._message_bytes = 0
        return False

    def _closed(self, event: CloseConnection) -> Closed:
        # wsproto reports its own refusals in the same form as a client's close frame: the connection's state
        # tells which it was.
        if self._connection.state.name in ("REMOTE_CLOSING", "CLOSED"):
            code = None if event.code == CloseReason.NO_STATUS_RCVD else int(event.code)
            return Closed(code)
        return Closed(int(event.code), event.reason or "", fault=True)
