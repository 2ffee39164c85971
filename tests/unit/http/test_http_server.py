# SPDX-License-Identifier: AGPL-3.0-or-later
"""The listener: binding, stopping, status lines, and what a client may leave half done."""

import asyncio
import contextlib
import errno
import http
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from planetmint.http import HttpServer, HttpSettings, create_app
from planetmint.http import protocol as bounds
from planetmint.http.protocol import HEAD_BYTES, READ_SECONDS, WRITE_SECONDS, Connection
from planetmint.storage.memory import MemoryStore
from tests.unit.http.world import HOST, OLD, StubApplication, World, body_of, fill, request, served, status_line

LIVE = request("GET", "/health/live")
KEPT = b"GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n"


@contextlib.asynccontextmanager
async def listening(host: str, port: int = 0, **options: Any) -> AsyncIterator[HttpServer]:
    server = HttpServer(create_app(StubApplication(), HttpSettings()), host, port, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace=1)


async def ask(host: str, port: int, text: bytes = LIVE) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(text)
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


# Binding


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", ""])
async def test_hosts_by_name_by_address_and_all_are_served(host: str) -> None:
    async with listening(host) as server:
        assert server.port > 0
        assert status_line(await ask("127.0.0.1", server.port)) == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("host", ["[::]", "::"])
async def test_all_ipv6_addresses_are_served_and_ipv4_with_them(host: str) -> None:
    if not has_ipv6():
        async with listening("127.0.0.1"):
            return
    async with listening(host) as server:
        for address in ("::1", "127.0.0.1"):
            assert status_line(await ask(address, server.port)) == "HTTP/1.1 200 OK"


async def test_a_taken_port_raises_and_the_process_goes_on() -> None:
    async with listening("127.0.0.1") as server:
        with pytest.raises(OSError, match=f"127.0.0.1, port {server.port}") as caught:
            await HttpServer(create_app(StubApplication(), HttpSettings()), "127.0.0.1", server.port).start()
        assert caught.value.errno == errno.EADDRINUSE
        assert status_line(await ask("127.0.0.1", server.port)) == "HTTP/1.1 200 OK"


async def test_a_foreign_address_and_an_unknown_host_raise() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(OSError, match=r".+"):
            await HttpServer(create_app(StubApplication(), HttpSettings()), host, 0).start()


async def test_a_port_can_be_taken_again_at_once_after_a_stop() -> None:
    async with listening("127.0.0.1") as server:
        port = server.port
        await ask("127.0.0.1", port)
    async with listening("127.0.0.1", port) as server:
        assert status_line(await ask("127.0.0.1", port)) == "HTTP/1.1 200 OK"


async def test_two_servers_live_in_one_process() -> None:
    async with listening("127.0.0.1") as one, listening("127.0.0.1") as other:
        assert one.port != other.port
        for port in (one.port, other.port):
            assert status_line(await ask("127.0.0.1", port)) == "HTTP/1.1 200 OK"


# Status lines


def test_http_2_2_the_table_of_status_lines_is_that_of_the_old_servers() -> None:
    bounds.use_old_status_lines()
    expected = {
        200: "OK",
        202: "ACCEPTED",
        400: "BAD REQUEST",
        401: "UNAUTHORIZED",
        404: "NOT FOUND",
        405: "METHOD NOT ALLOWED",
        413: "REQUEST ENTITY TOO LARGE",
        429: "TOO MANY REQUESTS",
        500: "INTERNAL SERVER ERROR",
        503: "SERVICE UNAVAILABLE",
        504: "GATEWAY TIMEOUT",
    }
    for status, phrase in expected.items():
        assert STATUS_LINE[status] == f"HTTP/1.1 {status} {phrase}\r\n".encode()
    for status in http.HTTPStatus:
        assert STATUS_LINE[status] == STATUS_LINE[status].upper()


# What is no HTTP, and heads without an end


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: node\r\n\r\n",
        b"POST /api/v1/transactions HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /api/v1/transactions HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"POST /api/v1/transactions HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/transactions HTTP/1.1\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n",
        b"POST /api/v1/transactions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_answers_400_json_and_closes(text: bytes) -> None:
    async with listening("127.0.0.1") as server:
        answer = await ask("127.0.0.1", server.port, text)
        assert status_line(answer) == "HTTP/1.1 400 BAD REQUEST"
        assert body_of(answer)["status"] == 400
        assert status_line(await ask("127.0.0.1", server.port)) == "HTTP/1.1 200 OK"


async def test_nonsense_after_a_request_does_not_spoil_its_answer() -> None:
    async with listening("127.0.0.1") as server:
        answer = await ask("127.0.0.1", server.port, KEPT + b"\x00\x01nonsense\r\n\r\n")
    assert status_line(answer) == "HTTP/1.1 200 OK"
    assert b'{"status":"live"}' in answer


@pytest.mark.parametrize(
    "endless",
    [
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
        b"GET /" + b"x" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000,
    ],
)
async def test_a_head_without_an_end_answers_431_within_bounds(endless: bytes) -> None:
    async with listening("127.0.0.1") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(endless)
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"x" * 10_000)
                await writer.drain()
                await asyncio.sleep(0)
        received = b""
        with contextlib.suppress(ConnectionError):
            received = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        assert received == b"" or status_line(received).startswith("HTTP/1.1 431 ")
        assert status_line(await ask("127.0.0.1", server.port)) == "HTTP/1.1 200 OK"


async def test_a_head_in_small_parts_and_a_long_one_within_the_bound_are_served() -> None:
    async with listening("127.0.0.1") as server:
        long = request("GET", "/health/live", b"", "X: " + "x" * (HEAD_BYTES - 1000))
        assert status_line(await ask("127.0.0.1", server.port, long)) == "HTTP/1.1 200 OK"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for byte in LIVE:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert status_line(await asyncio.wait_for(reader.read(), 30)) == "HTTP/1.1 200 OK"
        writer.close()


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0"])
async def test_an_offer_of_another_protocol_is_answered_by_http(upgrade: str) -> None:
    body = OLD.create("alice").canonical
    offer = (
        b"POST /api/v1/transactions HTTP/1.1\r\nHost: node\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: " + upgrade.encode() + b"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    async with listening("127.0.0.1") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(offer + body)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 202 ACCEPTED")
        await reader.readexactly(len(body))
        writer.write(LIVE)
        assert status_line(await asyncio.wait_for(reader.read(), 30)) == "HTTP/1.1 200 OK"
        writer.close()


async def test_http_1_0_is_answered_and_closed() -> None:
    async with listening("127.0.0.1") as server:
        answer = await ask("127.0.0.1", server.port, b"GET /health/live HTTP/1.0\r\n\r\n")
    assert b"200 OK" in answer


async def test_more_connections_than_allowed_answer_503() -> None:
    async with listening("127.0.0.1", max_connections=2) as server:
        kept = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for reader, writer in kept:
            writer.write(KEPT)
            await asyncio.wait_for(reader.readuntil(b"live"), 30)
        answer = await ask("127.0.0.1", server.port, b"")
        assert status_line(answer) == "HTTP/1.1 503 SERVICE UNAVAILABLE"
        for _, writer in kept:
            writer.close()
            await writer.wait_closed()
        while status_line(await ask("127.0.0.1", server.port)) != "HTTP/1.1 200 OK":
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/nothing", 404), ("/api/v1/validators", 405), ("/api/v1/transactions?mode=x", 400), ("/", 405)],
)
async def test_a_body_that_nobody_reads_is_thrown_away_and_the_connection_goes_on(path: str, status: int) -> None:
    body = b"x" * 5_000_000
    async with listening("127.0.0.1") as server:
        asked = f"POST {path} HTTP/1.1\r\nHost: node\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        answer = await ask("127.0.0.1", server.port, asked + LIVE)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 200 OK") == 1


async def test_a_body_that_nobody_reads_is_thrown_away_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "DRAINED_BYTES", 1_000_000)
    async with listening("127.0.0.1") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /api/v1/nothing HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)).startswith(b"HTTP/1.1 404 ")
        async with asyncio.timeout(60):
            with pytest.raises(ConnectionError):
                while True:
                    writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()


# Half done, by a clock that the test moves


def connections(server: HttpServer) -> list[Connection]:
    return cast(list[Connection], list(server._state.connections))


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: no",
        request("POST", "/api/v1/transactions", b"", "Content-Length: 100") + b"{",
    ],
)
async def test_a_client_that_leaves_its_request_half_done_is_cut_off(begun: bytes) -> None:
    async with listening("127.0.0.1") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(begun)
        await until(lambda: len(connections(server)) == 1)
        await asyncio.sleep(0.05)
        one = connections(server)[0]
        now = asyncio.get_running_loop().time()
        one.expire(now + READ_SECONDS - 5)
        assert not one.transport.is_closing()
        one.expire(now + READ_SECONDS + 5)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_a_client_that_waits_for_its_answer_is_not_cut_off() -> None:
    free = asyncio.Event()
    application = StubApplication(holds=free.wait)
    server = HttpServer(create_app(application, HttpSettings()), HOST, 0)
    await server.start()
    asked = asyncio.create_task(ask(HOST, server.port, request("POST", "/api/v1/transactions", b"{}")))
    await until(lambda: bool(application.taken))
    connections(server)[0].expire(asyncio.get_running_loop().time() + 1000)
    free.set()
    assert status_line(await asked) == "HTTP/1.1 400 BAD REQUEST"
    await server.stop()


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off() -> None:
    data = {"long": "x" * 400_000}
    big = MemoryStore()
    await fill(big, ((), tuple(OLD.create(f"owner {number}", data=data) for number in range(40))))
    server = HttpServer(create_app(StubApplication(big), HttpSettings()), HOST, 0)
    await server.start()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((HOST, server.port))
        client.sendall(b"GET /api/v1/blocks/1 HTTP/1.1\r\nHost: node\r\n\r\n")
        await until(lambda: any(one.transport.get_write_buffer_size() for one in connections(server)))
        one = connections(server)[0]
        now = asyncio.get_running_loop().time()
        one.expire(now)
        one.expire(now + WRITE_SECONDS - 5)
        assert len(connections(server)) == 1
        one.expire(now + WRITE_SECONDS + 5)
        await until(lambda: not connections(server))
    await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


# Stopping


async def hanging(grace: float, release: Callable[[asyncio.Event], Awaitable[None]]) -> bytes | None:
    """Stop a server while a request is under way; what the client got."""
    free = asyncio.Event()
    application = StubApplication(holds=free.wait)
    server = HttpServer(create_app(application, HttpSettings()), HOST, 0)
    await server.start()
    asked = asyncio.create_task(ask(HOST, server.port, request("POST", "/api/v1/transactions", b"{}")))
    await until(lambda: bool(application.taken))
    stopping = asyncio.create_task(server.stop(grace))
    await asyncio.sleep(0.05)
    with pytest.raises(OSError, match=r".+"):
        await ask(HOST, server.port)
    await release(free)
    await stopping
    try:
        return await asked
    except ConnectionError:
        return None


async def test_stop_lets_requests_under_way_end() -> None:
    async def release(free: asyncio.Event) -> None:
        free.set()

    answer = await hanging(30, release)
    assert answer is not None
    assert status_line(answer) == "HTTP/1.1 400 BAD REQUEST"


async def test_stop_cuts_off_what_does_not_end_in_time() -> None:
    async def hold(free: asyncio.Event) -> None:
        pass

    assert not await hanging(0.1, hold)


async def test_stop_closes_idle_connections_and_may_be_called_twice() -> None:
    async with listening("127.0.0.1") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(KEPT)
        await asyncio.wait_for(reader.readuntil(b"live"), 30)
        await asyncio.wait_for(server.stop(grace=600), 30)
        await asyncio.wait_for(reader.read(), 30)
        writer.close()
        await server.stop()


async def test_stop_before_start_is_harmless() -> None:
    await HttpServer(create_app(StubApplication(), HttpSettings()), HOST, 0).stop()


async def test_no_log_line_for_requests(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        await world.get("/")
        await world.post(b"{}")
        await world.raw(b"nonsense\r\n\r\n")
    assert [record for record in caplog.records if record.name == "uvicorn.access"] == []


async def test_httpx_keeps_one_connection() -> None:
    async with served(StubApplication()) as world:
        for _ in range(5):
            assert (await world.get("/health/live")).status_code == 200
        pool = cast(Any, world.client._transport)._pool
        assert len(pool.connections) == 1
        assert isinstance(world.client, httpx.AsyncClient)
