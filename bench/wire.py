# SPDX-License-Identifier: AGPL-3.0-or-later
"""The least of HTTP and WebSocket that a load generator needs, as functions on bytes.

A client library would cost as much as the node itself, so requests are prebuilt and answers are taken
apart here. What the node sends is trusted to be well formed; a form that is not known raises.
"""

import os
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple

EVENT_KEY = b'"transaction_id"'
"""Stands exactly once in each message of the transaction stream."""

TEXT, CLOSE, PING = 0x1, 0x8, 0x9


class Response(NamedTuple):
    """An HTTP answer: its status, its body, and how many bytes of the buffer it took."""

    status: int
    body: bytes
    size: int


class Frame(NamedTuple):
    """A WebSocket frame from the server: its operation, its payload, and where the next one begins."""

    opcode: int
    payload: bytes
    end: int


def post_request(host: str, path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """A complete POST on a connection that stays open."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get_request(host: str, path: str) -> bytes:
    """A complete GET on a connection that stays open."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def upgrade_request(host: str, path: str) -> bytes:
    """The handshake that opens a stream."""
    key = b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def parse_response(buffer: bytes) -> Response | None:
    """The first answer in `buffer`, or None while it is not complete.

    Raises:
        ValueError: The head tells neither a length nor chunks.
    """
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = buffer[:head_end].lower()
    start = head_end + 4
    status = int(head[9:12])
    mark = head.find(b"\r\ncontent-length:")
    if mark >= 0:
        end = start + int(head[mark + 17 :].split(b"\r\n", 1)[0])
        return Response(status, buffer[start:end], end) if len(buffer) >= end else None
    if b"\r\ntransfer-encoding: chunked" in head:
        return _chunked(status, buffer, start)
    raise ValueError(f"an answer without a length: {buffer[:head_end]!r}")


def parse_frame(buffer: bytes, start: int) -> Frame | None:
    """The frame that begins at `start`, or None while it is not complete."""
    if len(buffer) < start + 2:
        return None
    length, head = buffer[start + 1] & 0x7F, 2
    if length >= 126:
        head = 4 if length == 126 else 10
        if len(buffer) < start + head:
            return None
        length = int.from_bytes(buffer[start + 2 : start + head], "big")
    end = start + head + length
    if len(buffer) < end:
        return None
    return Frame(buffer[start] & 0x0F, buffer[start + head : end], end)


def frames(buffer: bytes) -> Iterator[Frame]:
    """Every complete frame of `buffer`, in order."""
    start = 0
    while (frame := parse_frame(buffer, start)) is not None:
        yield frame
        start = frame.end


def pong(payload: bytes) -> bytes:
    """The answer to a Ping; clients mask their frames, here with zeros."""
    return bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload


class KeyCounter:
    """Counts a fixed text in a byte stream that arrives in pieces, without taking the stream apart."""

    def __init__(self, key: bytes = EVENT_KEY) -> None:
        self.count = 0
        self._key = key
        self._keep = len(key) - 1
        self._tail = b""

    def feed(self, data: bytes) -> int:
        """Take the next piece; returns the count up to here."""
        text = self._tail + data
        self.count += text.count(self._key)
        self._tail = text[-self._keep :]
        return self.count


def _chunked(status: int, buffer: bytes, start: int) -> Response | None:
    parts: list[bytes] = []
    while (line_end := buffer.find(b"\r\n", start)) >= 0:
        size = int(buffer[start:line_end].split(b";", 1)[0], 16)
        start = line_end + 2
        if len(buffer) < start + size + 2:
            return None
        if size == 0:
            return Response(status, b"".join(parts), start + 2)
        parts.append(buffer[start : start + size])
        start += size + 2
    return None
