# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's RPC (consensus-and-storage 1) against an HTTP server that answers by script."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from planetmint.consensus.cometbft.http_client import HttpClient, Target, Unanswered, read_target
from planetmint.consensus.cometbft.rpc import EngineStatus, RpcClient, TooMany, request_size
from planetmint.ports.errors import EngineError
from tests.support.abci import RpcServer

Script = Callable[[bytes], Any]


@pytest.fixture
async def server() -> AsyncIterator[RpcServer]:
    server = RpcServer(lambda body: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await server.start()
    yield server
    await server.stop()


def http(server: RpcServer, timeout: float = 10.0) -> HttpClient:
    return HttpClient(Target("127.0.0.1", server.port), timeout=timeout)


def rpc(server: RpcServer, answer: Script) -> RpcClient:
    server.answer = answer
    return RpcClient(Target("127.0.0.1", server.port))


def response(head: bytes, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


# HTTP


async def test_a_connection_is_used_again(server: RpcServer) -> None:
    client = http(server)
    server.answer = lambda body: response(b"200 OK", body[::-1])
    for _ in range(5):
        assert await client.post(b"abc") == b"cba"
    assert server.connections == 1
    client.close()


async def test_requests_at_the_same_time_have_connections_of_their_own(server: RpcServer) -> None:
    client = http(server)
    arrived = asyncio.Event()

    async def together(body: bytes) -> bytes:
        if body == b"b":
            arrived.set()
        await arrived.wait()
        return response(b"200 OK", body)

    server.answer = together
    assert await asyncio.gather(client.post(b"a"), client.post(b"b")) == [b"a", b"b"]
    assert server.connections == 2
    client.close()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (response(b"400 Bad Request", b"why"), b"why"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    ],
)
async def test_the_body_is_read_whatever_its_status(server: RpcServer, answer: bytes, body: bytes) -> None:
    client = http(server)
    server.answer = lambda _: answer
    assert await client.post(b"x") == body
    assert await client.post(b"x") == body
    assert server.connections == (2 if b"close" in answer else 1)
    client.close()


async def test_a_connection_that_was_closed_meanwhile_is_replaced(server: RpcServer) -> None:
    client = http(server)
    server.answer = lambda body: response(b"200 OK", body)
    assert await client.post(b"a") == b"a"
    await server.stop()
    await server.start()
    assert await client.post(b"b") == b"b"
    client.close()


async def test_a_request_on_a_connection_that_was_just_being_closed_is_sent_again(server: RpcServer) -> None:
    client = http(server)

    def answer(body: bytes) -> bytes:
        return response(b"200 OK", body)

    def close(body: bytes) -> bytes:
        server.answer = answer
        raise ConnectionResetError

    server.answer = answer
    assert await client.post(b"a") == b"a"
    server.answer = close
    assert await client.post(b"b") == b"b"
    assert server.connections == 2
    client.close()


async def test_what_may_go_out_only_once_is_not_sent_again_after_its_bytes_were_written(server: RpcServer) -> None:
    client = http(server)
    bodies: list[bytes] = []

    def answer(body: bytes) -> bytes:
        bodies.append(body)
        return response(b"200 OK", body)

    def close(body: bytes) -> bytes:
        bodies.append(body)
        raise ConnectionResetError

    server.answer = answer
    await client.post(b"a")
    for _ in range(2):  # on a connection used before, and on a fresh one
        server.answer = close
        with pytest.raises(Unanswered):
            await client.post(b"b", once=True)
        server.answer = answer
    assert await client.post(b"c", once=True) == b"c"
    assert bodies == [b"a", b"b", b"b", b"c"]
    client.close()


async def test_what_may_go_out_only_once_takes_a_new_connection_where_nothing_was_written(
    server: RpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = http(server)
    server.answer = lambda body: response(b"200 OK", body)
    await client.post(b"a")
    (exchange,) = client._idle
    exchange.close()
    monkeypatch.setattr(exchange, "keep", True)  # as where the loop has not yet told that it is closed
    assert await client.post(b"b", once=True) == b"b"
    assert server.connections == 2
    client.close()
    await server.stop()
    with pytest.raises(EngineError) as caught:
        await client.post(b"c", once=True)
    assert type(caught.value) is EngineError


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhi",
        b"connection: close",
    ],
)
async def test_no_whole_answer_is_an_engine_error(server: RpcServer, answer: bytes) -> None:
    client = http(server)
    server.answer = lambda _: answer
    with pytest.raises(EngineError):
        await client.post(b"x")
    client.close()


async def test_nobody_there_is_an_engine_error(server: RpcServer) -> None:
    client = http(server)
    await server.stop()
    with pytest.raises(EngineError):
        await client.post(b"x")


async def test_an_answer_that_does_not_come_is_an_engine_error(server: RpcServer) -> None:
    client = http(server, timeout=0.05)
    never = asyncio.Event()

    async def wait(body: bytes) -> bytes:
        await never.wait()
        return b""

    server.answer = wait
    with pytest.raises(EngineError, match="no answer"):
        await client.post(b"x")
    client.close()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://localhost:26657", Target("localhost", 26657)),
        ("http://[::1]:1", Target("::1", 1)),
        ("unix:///run/rpc.sock", Target("localhost", 0, "/run/rpc.sock")),
    ],
)
def test_targets_are_read(url: str, target: Target) -> None:
    assert read_target(url) == target
    assert str(target) == url


@pytest.mark.parametrize("url", ["", "localhost:26657", "http://localhost", "unix://", "https://x:1"])
def test_other_targets_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        read_target(url)


# JSON-RPC


def ok(identifier: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "result": {"code": 0, "data": "", "log": "", "hash": "AB"}}


def bad(data: str, message: str = "Internal error") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": message, "data": data}}


async def test_transactions_go_out_in_one_request_as_positional_base64(server: RpcServer) -> None:
    seen: list[Any] = []

    def answer(body: bytes) -> Any:
        seen.append(json.loads(body))
        return [ok(item["id"]) for item in seen[-1]]

    client = rpc(server, answer)
    raws = [b"{}", b"\xff\xfe?>", b"x" * 100]
    assert await client.broadcast(raws) == [None, None, None]
    (batch,) = seen
    assert [item["method"] for item in batch] == ["broadcast_tx_async"] * 3
    assert all(item["jsonrpc"] == "2.0" and item["id"] is not None for item in batch)
    assert [b64decode(item["params"][0], validate=True) for item in batch] == raws
    assert all(len(item["params"]) == 1 for item in batch)
    client.close()


async def test_answers_are_told_apart_by_their_place(server: RpcServer) -> None:
    words = "tx already exists in cache"
    client = rpc(server, lambda _: [ok(1), bad(words), bad("", "Some message")])
    assert await client.broadcast([b"a", b"b", b"c"]) == [None, words, "Some message"]
    client.close()


@pytest.mark.parametrize(("answer", "words"), [(ok(1), None), (bad("no"), "no"), ([ok(1)], None)])
async def test_one_answer_may_stand_without_a_list(server: RpcServer, answer: Any, words: str | None) -> None:
    client = rpc(server, lambda _: answer)
    assert await client.broadcast([b"a"]) == [words]
    client.close()


@pytest.mark.parametrize(
    "data",
    [
        "batch request exceeds maximum (10) allowed number of requests",
        "error reading request body: http: request body too large",
    ],
)
async def test_a_request_that_is_too_long_is_told_apart(server: RpcServer, data: str) -> None:
    client = rpc(server, lambda _: bad(data, "Invalid Request"))
    with pytest.raises(TooMany):
        await client.broadcast([b"a", b"b"])
    client.close()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"[{}]", b'"x"', b'[{"error":"x"}]'])
async def test_what_is_no_answer_is_an_engine_error(server: RpcServer, body: bytes) -> None:
    client = rpc(server, lambda _: response(b"200 OK", body))
    with pytest.raises(EngineError):
        await client.broadcast([b"a", b"b"])
    client.close()


async def test_the_status_tells_height_and_whether_it_catches_up(server: RpcServer) -> None:
    result = {"node_info": {}, "sync_info": {"latest_block_height": "12", "catching_up": True, "more": 1}}
    client = rpc(server, lambda _: {"jsonrpc": "2.0", "id": 1, "result": result})
    assert await client.status() == EngineStatus(12, catching_up=True)
    client.close()


@pytest.mark.parametrize(
    "answer", [bad("no"), {"result": {}}, {"result": {"sync_info": {"latest_block_height": "x"}}}, [], {}]
)
async def test_a_status_that_cannot_be_read_is_an_engine_error(server: RpcServer, answer: Any) -> None:
    client = rpc(server, lambda _: answer)
    with pytest.raises(EngineError):
        await client.status()
    client.close()


async def test_the_size_in_a_request_is_never_underestimated(server: RpcServer) -> None:
    sizes: list[int] = []

    def answer(body: bytes) -> Any:
        sizes.append(len(body))
        return ok(1)

    client = rpc(server, answer)
    for length in (0, 1, 2, 3, 4, 100, 1_000):
        await client.broadcast([b"x" * length])
        assert sizes[-1] <= 2 + request_size(b"x" * length)
    client.close()
