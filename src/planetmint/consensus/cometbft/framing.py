# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames of the ABCI socket protocol, without any I/O: bytes in, whole messages out.

Each message stands behind its length as an unsigned varint (consensus-and-storage 4). What cannot be the
beginning of a frame ends the stream for good: nothing behind it can be trusted to be a boundary.
"""

MAX_FRAME = 128 * 1024 * 1024
"""Bytes of a message that are taken; the engine's blocks have at most 100 MiB."""

_LONGEST_PREFIX = 5
_MORE = 0x80
_BITS = 7


class ProtocolError(Exception):
    """The other side does not speak ABCI 2.0; the connection is of no use any more."""


class FrameReader:
    """Cuts a stream of bytes into messages.

    Attributes:
        error: Why nothing more is read, once the stream is broken.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._wanted = 1  # bytes from the beginning of the buffer on, before which it makes no sense to look
        self.error: ProtocolError | None = None

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they come; the messages that are complete with them, in order.

        Never raises: see `error`. The messages are the same however the bytes were cut.
        """
        if self.error is not None:
            return []
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._wanted:
            return []
        messages: list[bytes] = []
        start = 0
        view = memoryview(buffer)
        try:
            while (bounds := self._next(view, start)) is not None:
                begin, start = bounds
                messages.append(bytes(view[begin:start]))
        except ProtocolError as error:
            self.error = error
        finally:
            view.release()
        if self.error is not None:
            buffer.clear()
            return messages
        del buffer[:start]
        return messages

    def _next(self, view: memoryview, start: int) -> tuple[int, int] | None:
        """Where the message at `start` begins and ends; None where it is not complete."""
        length = shift = 0
        place = start
        while True:
            if place >= len(view):
                self._wanted = place - start + 1
                return None
            byte = view[place]
            place += 1
            length |= (byte & ~_MORE) << shift
            shift += _BITS
            if length > self._max_frame:
                raise ProtocolError(f"a message is longer than {self._max_frame} bytes")
            if not byte & _MORE:
                break
            if place - start >= _LONGEST_PREFIX:
                raise ProtocolError("a length has more than five bytes")
        end = place + length
        if end > len(view):
            self._wanted = end - start
            return None
        return place, end


def frame(message: bytes) -> bytes:
    """A message behind its length."""
    return prefix(len(message)) + message


def prefix(length: int) -> bytes:
    """The unsigned varint of a number, 0 or more."""
    octets = bytearray()
    while length >= _MORE:
        octets.append(length & ~_MORE & 0xFF | _MORE)
        length >>= _BITS
    octets.append(length)
    return bytes(octets)
