# SPDX-License-Identifier: AGPL-3.0-or-later
"""WebSocket frames as the node sends them: unmasked, unfragmented, made ahead of time as bytes.

Source: RFC 6455 5.2 and 5.5.
"""

import struct
from collections.abc import Sequence

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
MESSAGE_TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013

MAX_REASON_BYTES = 123
PING = b"\x89\x00"

_TEXT, _CLOSE, _PONG = 0x81, 0x88, 0x8A


def _header(opcode: int, length: int) -> bytes:
    if length < 126:
        return struct.pack("!BB", opcode, length)
    if length < 65_536:
        return struct.pack("!BBH", opcode, 126, length)
    return struct.pack("!BBQ", opcode, 127, length)


_SHORT_HEADERS = [_header(_TEXT, length).decode("latin-1") for length in range(2_048)]
"""Headers of text frames by payload length, as text so that a whole block is encoded in one step."""


def text_frames(messages: Sequence[str]) -> bytes:
    """One text frame per message, joined; messages are ASCII."""
    headers = _SHORT_HEADERS
    known = len(headers)
    return "".join(
        [
            (headers[length] if (length := len(text)) < known else _header(_TEXT, length).decode("latin-1")) + text
            for text in messages
        ]
    ).encode("latin-1")


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping; `payload` is the ping's, at most 125 bytes."""
    return _header(_PONG, len(payload)) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame; without a code it is empty. A reason longer than 123 bytes is cut at a character."""
    if code is None:
        return _header(_CLOSE, 0)
    text = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
    return _header(_CLOSE, 2 + len(text)) + struct.pack("!H", code) + text
