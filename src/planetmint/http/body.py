# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading a request's body, whole or line by line, within bounds that hold while it is read."""

import asyncio

from starlette.types import Receive

DRAINED_BYTES = 64 * 1024 * 1024
"""So much of a refused body is read and thrown away: a client that is still sending sees the answer only so."""

DRAIN_SECONDS = 10.0
"""So long a refused body is thrown away; then the connection is closed."""


class BodyTooLarge(Exception):
    """The body is longer than allowed.

    Attributes:
        drained: Whether all of it was read, so that the connection can go on.
    """

    def __init__(self, message: str, *, drained: bool) -> None:
        super().__init__(message)
        self.message = message
        self.drained = drained


class ClientGone(Exception):
    """The connection ended within the body."""


async def read_chunk(receive: Receive) -> tuple[bytes, bool]:
    """The next part of a body, and whether more follows. Raises ClientGone."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: More than `limit` bytes; no more than that is ever kept.
        ClientGone: The connection ended before the body did.
    """
    body, more = await read_chunk(receive)
    if more:
        parts, size = [body], len(body)
        while more and size <= limit:
            part, more = await read_chunk(receive)
            parts.append(part)
            size += len(part)
        body = b"".join(parts)
    if len(body) > limit:
        raise BodyTooLarge(too_long(limit), drained=not more or await drain(receive))
    return body


async def drain(receive: Receive) -> bool:
    """Throw the rest of a body away; False where it did not end within the bounds."""
    size, more = 0, True
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while more and size <= DRAINED_BYTES:
                part, more = await read_chunk(receive)
                size += len(part)
    except TimeoutError:
        return False
    return not more


def too_long(limit: int) -> str:
    """What is said about a body above `limit` bytes."""
    return f"The request's body is longer than {limit} bytes."
