# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading a request's body, whole or line by line, within bounds that hold while it is read."""

import asyncio

from starlette.types import Receive

DRAINED_BYTES = 64 * 1024 * 1024
"""So much of a refused body is read and thrown away: a client that is still sending sees the answer only so."""

DRAIN_SECONDS = 10.0
"""So long a refused body is thrown away; then the connection is closed."""


class Refused(Exception):
    """The body is not read to its end.

    Attributes:
        message: For the client.
        drained: Whether the rest was thrown away, so that the connection can go on.
    """

    def __init__(self, message: str, *, drained: bool) -> None:
        super().__init__(message)
        self.message = message
        self.drained = drained


class BodyTooLarge(Refused):
    """The body is longer than allowed."""


class Overloaded(Refused):
    """Too much is being read already."""


class ClientGone(Exception):
    """The connection ended within the body."""


class Budget:
    """Bytes of unfinished bodies that one node holds, over all its connections.

    A body that comes in one piece is none of them: it is passed on at once.
    """

    def __init__(self, total: int) -> None:
        self._left = total

    def take(self, size: int) -> bool:
        """Take so many bytes, or nothing and answer False where they are not left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """What was taken."""
        self._left += size


async def read_chunk(receive: Receive) -> tuple[bytes, bool]:
    """The next part of a body, and whether more follows. Raises ClientGone."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def read_body(receive: Receive, limit: int, budget: Budget) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: More than `limit` bytes; no more than that and one part is ever kept.
        Overloaded: `budget` is used up.
        ClientGone: The connection ended before the body did.
    """
    body, more = await read_chunk(receive)
    if more:
        parts, more = await _read_parts(receive, body, limit, budget)
        if parts is None:
            message = "Too many large requests are being read at present."
            raise Overloaded(message, drained=not more or await drain(receive))
        body = b"".join(parts)
    if len(body) > limit:
        raise BodyTooLarge(too_long(limit), drained=not more or await drain(receive))
    return body


async def _read_parts(
    receive: Receive, first: bytes, limit: int, budget: Budget
) -> tuple[list[bytes] | None, bool]:
    """The parts of a body as far as `limit` allows, None where the budget does not; and whether more follows."""
    parts: list[bytes] = []
    size, more, part = 0, True, first
    try:
        while budget.take(len(part)):
            parts.append(part)
            size += len(part)
            if not more or size > limit:
                return parts, more
            part, more = await read_chunk(receive)
        return None, more
    finally:
        budget.give_back(size)


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
