# SPDX-License-Identifier: AGPL-3.0-or-later
"""A chain in memory and a stream port over it, for the tests of the streams."""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Self

import websockets.asyncio.client as client

from planetmint.model.block import BlockEvents, TransactionEvent
from planetmint.model.keys import encode_public_key
from planetmint.model.transaction import Operation
from planetmint.ports.errors import StoreError
from planetmint.ports.feed import Listener
from planetmint.streams import StreamServer, StreamSettings

HOST = "127.0.0.1"
LABEL = "c0ffee00"
TRANSACTIONS = "/api/v1/streams/valid_transactions"
BLOCKS = "/api/v1/streams/valid_blocks"
PATIENCE = 20.0
"""Seconds after which a test that waits gives up; nothing is measured with it."""

Json = dict[str, object]


def hash_of(text: str) -> str:
    """64 hex digits."""
    return hashlib.sha3_256(text.encode()).hexdigest()


def key_of(name: str) -> str:
    """A base58 public key."""
    return encode_public_key(b"\x77" + hashlib.sha3_256(name.encode()).digest()[1:])


def event(
    name: str,
    *,
    operation: Operation = Operation.CREATE,
    assets: Sequence[str] = (),
    owners: Sequence[str] = ("alice",),
    signers: Sequence[str] = ("alice",),
) -> TransactionEvent:
    """A transaction's event; names stand for ids and keys."""
    ids = tuple(hash_of(asset) for asset in assets) or (hash_of(name),)
    return TransactionEvent(
        transaction_id=hash_of(name),
        asset_id=ids[0],
        asset_ids=ids,
        operation=operation,
        public_keys=tuple(key_of(owner) for owner in owners),
        signers=tuple(key_of(signer) for signer in signers),
    )


class MemoryFeed:
    """An `EventFeed` whose blocks are made by the test.

    Attributes:
        blocks: Block of height h at index h - 1.
        reads: Heights from which history was read.
        fault: Raised by every read while it is set.
        gate: Reads wait for it.
    """

    def __init__(self, label: str = LABEL) -> None:
        self.label = label
        self.blocks: list[BlockEvents] = []
        self.reads: list[int] = []
        self.fault: StoreError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._listeners: list[Listener] = []

    @property
    def head(self) -> int:
        return len(self.blocks)

    def attach(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)

        def detach() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return detach

    async def read(self, from_height: int, max_events: int) -> tuple[BlockEvents, ...]:
        self.reads.append(from_height)
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return page(self.blocks, from_height, max_events)

    async def transactions(self, height: int) -> tuple[bytes, ...]:
        return ()

    def commit(self, *events: TransactionEvent) -> BlockEvents:
        """Make the next block durable and tell the listeners."""
        height = self.head + 1
        block = BlockEvents(height, hash_of(f"app {height}"), events)
        self.blocks.append(block)
        for listener in tuple(self._listeners):
            listener(block)
        return block

    def commit_many(self, blocks: int, events: int = 1) -> None:
        """Make several blocks with so many CREATEs each."""
        for _ in range(blocks):
            self.commit(*(event(f"{self.head + 1}/{index}") for index in range(events)))


def page(blocks: Sequence[BlockEvents], from_height: int, max_events: int) -> tuple[BlockEvents, ...]:
    """What `EventFeed.read` answers over `blocks`."""
    chosen: list[BlockEvents] = []
    events = 0
    for block in blocks[from_height - 1 :]:
        if chosen and (events + len(block.events) > max_events or len(chosen) == 1_000):
            break
        chosen.append(block)
        events += len(block.events)
    return tuple(chosen)


class World:
    """A stream port over a chain in memory."""

    def __init__(self, feed: MemoryFeed, server: StreamServer) -> None:
        self.feed = feed
        self.server = server

    def url(self, path: str = TRANSACTIONS) -> str:
        return f"ws://{HOST}:{self.server.port}{path}"

    @contextlib.asynccontextmanager
    async def subscriber(self, path: str = TRANSACTIONS) -> AsyncIterator["Reader"]:
        """A client library's connection."""
        async with client.connect(self.url(path), compression=None, proxy=None, ping_interval=None) as connection:
            yield Reader(connection)

    async def raw(self, path: str = TRANSACTIONS) -> "RawClient":
        """A bare socket that has been through the handshake."""
        raw = await self.bare()
        await raw.upgrade(path)
        return raw

    async def bare(self, receive_buffer: int | None = None) -> "RawClient":
        """A bare socket that has sent nothing yet."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, (HOST, self.server.port))
        return RawClient(sock)


@contextlib.asynccontextmanager
async def world(feed: MemoryFeed | None = None, **settings: object) -> AsyncIterator[World]:
    """Start a stream port; `settings` are those of `StreamSettings`."""
    feed = feed or MemoryFeed()
    server = StreamServer(feed, StreamSettings(**settings))  # type: ignore[arg-type]
    await server.start(HOST, 0)
    try:
        yield World(feed, server)
    finally:
        await server.stop()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)
    assert condition(), what


class Reader:
    """A subscriber through a client library."""

    def __init__(self, connection: client.ClientConnection) -> None:
        self.connection = connection

    async def one(self) -> Json:
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            text = await self.connection.recv()
        assert isinstance(text, str), "messages are text"
        message = json.loads(text)
        assert isinstance(message, dict)
        return message

    async def some(self, count: int) -> list[Json]:
        """The next `count` messages."""
        return [await self.one() for _ in range(count)]

    async def ids(self, count: int) -> list[object]:
        """Transaction ids of the next `count` messages."""
        return [message["transaction_id"] for message in await self.some(count)]


class Frame(tuple[int, bytes]):
    """Opcode and payload."""

    @property
    def code(self) -> int:
        """Status code of a close frame."""
        return int(struct.unpack("!H", self[1][:2])[0])

    @property
    def reason(self) -> str:
        """Reason of a close frame."""
        return self[1][2:].decode()


class RawClient:
    """A socket on which a test may break every rule."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def upgrade(self, path: str = TRANSACTIONS, *more: str) -> bytes:
        """Send a handshake and return the head of the answer."""
        await self.send(handshake(path, *more))
        return await self.head()

    async def head(self) -> bytes:
        """Everything up to an empty line."""
        while b"\r\n\r\n" not in self.buffer:
            assert await self._more(), f"ended after {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head

    async def frame(self) -> Frame:
        """The next frame of the server."""
        while (found := self._take()) is None:
            assert await self._more(), f"ended after {self.buffer!r}"
        return found

    async def frames_until_close(self) -> list[Frame]:
        """All frames up to and including a close frame."""
        frames = [await self.frame()]
        while frames[-1][0] != 8:
            frames.append(await self.frame())
        return frames

    async def rest(self) -> bytes:
        """Everything until the server ends the connection (by whatever means)."""
        while await self._more():
            pass
        return self.buffer

    def reset(self) -> None:
        """Vanish: the server sees a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def _more(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            try:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
            except ConnectionError:
                data = b""
        self.buffer += data
        self.ended = not data
        return bool(data)

    def _take(self) -> Frame | None:
        size = len(self.buffer)
        if size < 2:
            return None
        length, start = self.buffer[1] & 0x7F, 2
        if length >= 126:
            width = 2 if length == 126 else 8
            start += width
            if size < start:
                return None
            length = int.from_bytes(self.buffer[2:start], "big")
        if size < start + length:
            return None
        assert self.buffer[0] & 0xF0 == 0x80, "the server sends whole frames without reserved bits"
        assert self.buffer[1] & 0x80 == 0, "the server does not mask"
        found = Frame((self.buffer[0] & 0x0F, self.buffer[start : start + length]))
        self.buffer = self.buffer[start + length :]
        return found


def handshake(path: str = TRANSACTIONS, *more: str, version: str = "13") -> bytes:
    """A WebSocket handshake as bytes."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {HOST}",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Version: {version}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bool = True
) -> bytes:
    """A frame as a client sends it, or with the given breaches."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, flag | len(payload))
    elif len(payload) < 65_536:
        head = struct.pack("!BBH", first, flag | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, flag | 127, len(payload))
    if not mask:
        return head + payload
    masking = os.urandom(4)
    return head + masking + bytes(byte ^ masking[index % 4] for index, byte in enumerate(payload))


def numbered(messages: Iterator[Json] | Sequence[Json]) -> list[object]:
    """Heights of messages."""
    return [message["height"] for message in messages]


def server_frame(opcode: int, payload: bytes) -> bytes:
    """A frame as a server sends it."""
    return client_frame(opcode, payload, mask=False)
