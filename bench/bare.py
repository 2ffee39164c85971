# SPDX-License-Identifier: AGPL-3.0-or-later
"""Servers that do nothing but the transport: `python -m bench.bare KIND PORT`.

`uvicorn` is the node's HTTP server around an application that reads the body and echoes it with 202;
`constant` answers each read with the same bytes, which shows how fast the load generator is;
`fanout` writes prebuilt frames to every subscriber, which shows how fast the readers are.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import uvicorn
import uvloop

from bench.jobs import LOOPBACK

Message = MutableMapping[str, Any]

BLOCK_EVENTS = 100
"""Messages in one write of the `fanout` server."""
BLOCKS = 30
"""Writes to each subscriber of the `fanout` server."""


async def echo(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The smallest useful ASGI application: read the whole body, send it back with 202."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Constant(asyncio.Protocol):
    """Answers whatever arrives, without reading it."""

    ANSWER = b"HTTP/1.1 202 ACCEPTED\r\nContent-Length: 2\r\n\r\n{}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self.ANSWER)


class Fanout(asyncio.Protocol):
    """Lets every subscriber in and, when `expected` are there, writes the blocks to all in turn."""

    waiting: list[asyncio.Transport] = []  # noqa: RUF012 - one server a process
    expected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        self.waiting.append(self._transport)
        if len(self.waiting) == self.expected:
            asyncio.get_running_loop().call_later(0.3, self._write, 0)

    def _write(self, block: int) -> None:
        data = block_of_frames()
        for transport in self.waiting:
            transport.write(data)
        if block + 1 < BLOCKS:
            asyncio.get_running_loop().call_soon(self._write, block + 1)


def block_of_frames() -> bytes:
    """Frames of the size that the transaction stream sends, as many as a block of 100 has."""
    text = b'{"height":1000,"asset_id":"%s","asset_ids":["%s"],"transaction_id":"%s"}' % ((b"a" * 64,) * 3)
    return (b"\x81\x7e" + len(text).to_bytes(2, "big") + text) * BLOCK_EVENTS


async def _serve(factory: type[asyncio.Protocol], port: int) -> None:
    server = await asyncio.get_running_loop().create_server(factory, LOOPBACK, port, backlog=2048)
    await server.serve_forever()


def main(kind: str, port: int, subscribers: int = 0) -> None:
    """Serve until killed."""
    if kind == "uvicorn":
        uvicorn.run(
            echo, host=LOOPBACK, port=port, loop="uvloop", http="httptools", lifespan="off", log_level="error"
        )
        return
    Fanout.expected = subscribers
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(Constant if kind == "constant" else Fanout, port))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
