# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one connection may make the node keep: trailers, chunk extensions, and requests that nobody waits for."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator

import pytest

from planetmint.http import HttpServer, HttpSettings, create_app
from planetmint.http.protocol import HEAD_BYTES, HEAD_SECONDS, PARSED_BYTES, Connection
from tests.unit.http.world import HOST, StubApplication, request, status_line

KEPT = b"GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n"
CHUNKED = b"POST /api/v1/transactions HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[HttpServer]:
    server = HttpServer(create_app(StubApplication(), HttpSettings()), HOST, 0)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace=1)


def connection_of(server: HttpServer) -> Connection:
    (one,) = server._state.connections
    assert isinstance(one, Connection)
    return one


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"2\r\n{}\r\n0\r\n", b"X-Trailer: " + b"y" * 1000 + b"\r\n"),
        (b"2\r\n{}\r\n0\r\nX-Trailer: ", b"y" * 1000),
        (b"2;", b"y" * 1000),
    ],
    ids=["many fields in the trailer", "an endless field in the trailer", "an endless chunk extension"],
)
async def test_what_stands_around_a_body_is_bounded(begin: bytes, piece: bytes) -> None:
    async with listening() as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(CHUNKED + begin)
        for _ in range(3 * HEAD_BYTES // len(piece)):
            writer.write(piece)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        assert status_line(await asyncio.wait_for(reader.read(200), 30)).startswith("HTTP/1.1 431 ")
        writer.close()


async def test_a_trailer_of_usual_length_is_passed_over() -> None:
    async with listening() as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(
            CHUNKED + b"1;a=b\r\n \r\n" * 3 + b"0\r\nX-Trailer: y\r\n\r\n" + request("GET", "/health/live")
        )
        answers = await asyncio.wait_for(reader.read(), 30)
        assert answers.count(b"HTTP/1.1 400 ") == 1
        assert answers.count(b"HTTP/1.1 200 ") == 1
        writer.close()


async def test_requests_sent_ahead_by_a_client_that_reads_nothing_are_not_gathered() -> None:
    async with listening() as server:
        reader, writer = await asyncio.open_connection(HOST, server.port, limit=1024)
        flood = KEPT * 5_000
        sending = asyncio.create_task(_send_for_ever(writer, flood))
        most = 0
        for _ in range(200):
            await asyncio.sleep(0.005)
            if server._state.connections:
                most = max(most, len(connection_of(server).pipeline) * len(KEPT))
        sending.cancel()
        assert 0 < most <= PARSED_BYTES + len(KEPT)
        writer.transport.abort()
        del reader


async def _send_for_ever(writer: asyncio.StreamWriter, flood: bytes) -> None:
    while True:
        writer.write(flood)
        await writer.drain()


async def test_every_request_sent_ahead_is_answered_in_its_turn() -> None:
    body = b"{" + b" " * 40_000
    post = b"POST /api/v1/transactions HTTP/1.1\r\nHost: node\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with listening() as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write((KEPT * 700 + post) * 3 + request("GET", "/health/live"))
        answers = await asyncio.wait_for(reader.read(), 30)
        writer.close()
    statuses = re.findall(rb"HTTP/1.1 (\d+) ", answers)
    assert statuses == ([b"200"] * 700 + [b"400"]) * 3 + [b"200"]


async def test_a_head_that_comes_in_drops_is_cut_off() -> None:
    async with listening() as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(b"GET /health/live HTTP/1.1\r\n")
        while not server._state.connections or not connection_of(server)._head_bytes:
            await asyncio.sleep(0.01)
        one, now = connection_of(server), asyncio.get_running_loop().time()
        for second in range(5, int(HEAD_SECONDS), 5):
            one._last_read = now + second
            one.expire(now + second)
            assert not one.transport.is_closing()
        one._last_read = now + HEAD_SECONDS + 5
        one.expire(now + HEAD_SECONDS + 5)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_bytes_that_are_no_http_are_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening() as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert status_line(await asyncio.wait_for(reader.read(), 30)) == "HTTP/1.1 400 BAD REQUEST"
        writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_503_for_too_many_connections_says_when_to_come_back() -> None:
    server = HttpServer(create_app(StubApplication(), HttpSettings()), HOST, 0, max_connections=0)
    await server.start()
    reader, writer = await asyncio.open_connection(HOST, server.port)
    answer = await asyncio.wait_for(reader.read(), 30)
    assert status_line(answer) == "HTTP/1.1 503 SERVICE UNAVAILABLE"
    assert b"\r\nretry-after: 5\r\n" in answer
    writer.close()
    await server.stop()
