# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many transactions in one request: http-api 4.3, "bulk"."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from planetmint.app.application import Mode
from planetmint.http import HttpSettings
from planetmint.http.lines import TOO_LONG, LineSplitter
from planetmint.ports.errors import CommitTimeout, MempoolFull, StoreFull
from tests.unit.http.world import NEW, StubApplication, World, body_of, lines_of, request, served, status_line

NDJSON = {"Content-Type": "application/x-ndjson"}
CHUNKED = ("Transfer-Encoding: chunked", "Content-Type: application/x-ndjson")
TRANSACTIONS = "/api/v1/transactions"


async def load(world: World, *lines: bytes, query: str = "") -> httpx.Response:
    return await world.post(b"\n".join(lines), query, headers=NDJSON)


async def test_http_4_3_bulk_answers_one_line_each_in_order(world: World) -> None:
    items = world.story.all
    answer = await load(world, *(item.canonical for item in items), query="?mode=commit")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert lines_of(answer) == [{"id": item.id, "status": 202, "message": "Accepted"} for item in items]
    assert world.application.taken == [(item.canonical, Mode.COMMIT) for item in items]


async def test_http_4_3_bulk_lines_have_the_status_and_message_of_single_posts(world: World) -> None:
    good = world.story.bicycle
    wrong = good.changed(lambda wire: wire.update(id="0" * 64), new_id=False)
    bodies = [b"not json", b"[]", good.canonical, wrong.canonical, b'{"a":NaN}', b"{}"]
    lines = lines_of(await load(world, *bodies))
    for body, line in zip(bodies, lines, strict=True):
        alone = await world.post(body)
        assert line["status"] == alone.status_code
        if alone.status_code != 202:
            assert {name: line[name] for name in alone.json()} == alone.json()


async def test_http_4_3_bulk_takes_a_media_type_with_parameters_and_any_letter_case(world: World) -> None:
    for kind in ("application/x-ndjson; charset=utf-8", "Application/X-NDJSON"):
        answer = await world.post(world.story.bicycle.canonical, headers={"Content-Type": kind})
        assert [line["status"] for line in lines_of(answer)] == [202]


async def test_http_4_3_bulk_ignores_empty_lines_and_takes_every_line_end(world: World) -> None:
    item = world.story.bicycle.canonical
    answer = await world.post(b"\n\r\n" + item + b"\r\n \t\n\n" + item + b"\n\n", headers=NDJSON)
    assert [line["status"] for line in lines_of(answer)] == [202, 202]


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n "])
async def test_http_4_3_bulk_without_lines_answers_nothing(body: bytes, world: World) -> None:
    answer = await world.post(body, headers=NDJSON)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_http_4_3_bulk_mode_is_checked(world: World) -> None:
    answer = await load(world, world.story.bicycle.canonical, query="?mode=x")
    assert answer.status_code == 400
    assert "mode" in answer.json()["message"]


async def test_http_4_3_bulk_a_full_queue_answers_503_on_the_line(world: World) -> None:
    for failure, status in ((MempoolFull("x"), 503), (StoreFull("x"), 503), (CommitTimeout("x"), 504)):
        world.application.failure = failure
        lines = lines_of(await load(world, b"{}", b"{}"))
        assert [(line["status"], line["class"]) for line in lines] == [(status, type(failure).__name__)] * 2


async def test_http_4_3_bulk_outcomes_come_while_lines_are_still_sent(world: World) -> None:
    items = [NEW.create("alice", data=str(number)) for number in range(3)]
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(
        request("POST", TRANSACTIONS, b"", "Transfer-Encoding: chunked", "Content-Type: application/x-ndjson")
    )
    for item in items:
        line = item.canonical + b"\n"
        writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await asyncio.wait_for(reader.readuntil(item.id.encode()), 30)
    writer.write(b"0\r\n\r\n")
    rest = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert rest.endswith(b"0\r\n\r\n")


async def test_http_4_3_bulk_client_may_send_everything_before_it_reads(world: World) -> None:
    body = b"\n".join([b'{"refused":"%b"}' % (b"x" * 300)] * 9_000)
    head = request("POST", TRANSACTIONS, b"", f"Content-Length: {len(body)}", "Content-Type: application/x-ndjson")
    answer = await world.raw(head, body, b"", pause=0.2)
    assert status_line(answer) == "HTTP/1.1 200 OK"
    assert answer.count(b'"status":400') == 9_000


async def test_http_4_3_bulk_too_many_lines_end_with_a_line_of_413() -> None:
    application = StubApplication()
    item = NEW.create("alice").canonical
    async with served(application, HttpSettings(bulk_max_lines=3)) as world:
        whole = lines_of(await load(world, item, b"", item, item))
        assert [line["status"] for line in whole] == [202, 202, 202]
        lines = lines_of(await load(world, item, b"", item, item, item, item))
    assert [line["status"] for line in lines] == [202, 202, 202, 413]
    assert lines[-1]["id"] is None
    assert "3 transactions" in lines[-1]["message"]
    assert len(application.taken) == 6


async def test_http_4_3_bulk_too_many_bytes_by_declared_length_answer_413() -> None:
    application = StubApplication()
    async with served(application, HttpSettings(bulk_max_bytes=1000)) as world:
        answer = await load(world, *[b"{}"] * 500)
        assert (answer.status_code, answer.json()["status"]) == (413, 413)
        assert (await world.get("/health/live")).status_code == 200
    assert application.taken == []


async def test_http_4_3_bulk_too_many_bytes_in_chunks_end_with_a_line_of_413() -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"{}\n" + b" " * 100
            await asyncio.sleep(0.001)

    application = StubApplication()
    async with served(application, HttpSettings(bulk_max_bytes=1000)) as world:
        answer = await world.client.post(TRANSACTIONS, content=body(), headers=NDJSON)
        lines = lines_of(answer)
    assert answer.status_code == 200
    assert {line["status"] for line in lines[:-1]} == {400}
    assert lines[-1]["status"] == 413
    assert 0 < len(application.taken) < 20


async def test_http_4_3_bulk_too_many_bytes_before_the_first_line_answer_413() -> None:
    async with served(StubApplication(), HttpSettings(bulk_max_bytes=1000)) as world:
        head = request(
            "POST", TRANSACTIONS, b"", "Transfer-Encoding: chunked", "Content-Type: application/x-ndjson"
        )
        answer = await world.raw(head, b"800\r\n" + b"x" * 0x800 + b"\r\n0\r\n\r\n")
    assert status_line(answer) == "HTTP/1.1 413 REQUEST ENTITY TOO LARGE"
    assert body_of(answer)["status"] == 413


async def test_http_4_3_bulk_a_line_that_is_too_long_answers_413_in_its_place_and_the_rest_goes_on() -> None:
    item = NEW.create("alice").canonical
    application = StubApplication()
    async with served(application, HttpSettings(max_body_bytes=len(item))) as world:
        long = item + b" "
        for order in ([item, long, item], [long, item, long, long], [item, item, long], [long]):
            lines = lines_of(await load(world, *order))
            assert [line["status"] for line in lines] == [413 if one is long else 202 for one in order]
        alone = await world.post(long)
        assert {name: lines[0][name] for name in alone.json()} == alone.json()


async def test_http_4_3_bulk_a_line_that_is_too_long_is_answered_at_once() -> None:
    async with served(StubApplication(), HttpSettings(max_body_bytes=100)) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(request("POST", TRANSACTIONS, b"", *CHUNKED))
        line = b"x" * 200 + b"\n"
        writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await asyncio.wait_for(reader.readuntil(b'"status":413'), 30)
        writer.close()


async def test_http_4_3_bulk_the_last_part_of_a_line_is_not_taken_when_the_client_leaves(world: World) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", world.port)
    head = request("POST", TRANSACTIONS, b"", "Content-Length: 1000", "Content-Type: application/x-ndjson")
    writer.write(head + b'{"whole":1}\n{"part":1}')
    await writer.drain()
    while not world.application.taken:
        await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()
    assert (await world.get("/health/live")).status_code == 200
    assert [body for body, _ in world.application.taken] == [b'{"whole":1}']


async def test_http_4_3_bulk_expect_100_continue_is_honoured(world: World) -> None:
    body = world.story.bicycle.canonical
    head = request(
        "POST",
        TRANSACTIONS,
        b"",
        "Expect: 100-continue",
        f"Content-Length: {len(body)}",
        "Content-Type: application/x-ndjson",
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(head)
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert b'"status":202' in await asyncio.wait_for(reader.read(), 30)
    writer.close()


async def test_http_4_3_bulk_an_unexpected_exception_is_a_500_before_and_a_cut_after_the_first_line(
    world: World,
) -> None:
    world.application.failure = RuntimeError("secret")
    answer = await load(world, b"{}")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error", "status": 500})
    world.application.failure = None

    async def fail_later() -> None:
        if len(world.application.taken) > 3:
            raise RuntimeError("secret")
        await asyncio.sleep(0.05)

    world.application.holds = fail_later
    with pytest.raises(httpx.RemoteProtocolError):
        await load(world, b"{}", b"{}", b"{}", b"{}", b"{}")
    assert (await world.get("/health/live")).status_code == 200


async def test_http_4_3_bulk_texts_of_the_client_are_echoed_in_part_only(world: World) -> None:
    long = json.dumps({"id": "a" * 100_000, "x" * 100_000: 1}).encode()
    answer = await load(world, long)
    assert len(answer.content) < 8_000


async def test_http_4_3_bulk_too_many_at_once_answer_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planetmint.http.submit.BULKS_AT_ONCE", 2)
    async with served(StubApplication()) as world:
        kept = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(2)]
        for reader, writer in kept:
            writer.write(request("POST", TRANSACTIONS, b"", *CHUNKED) + b"3\r\n{}\n\r\n")
            await asyncio.wait_for(reader.readuntil(b'"status":400'), 30)
        answer = await load(world, b"{}")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        for reader, writer in kept:
            writer.write(b"0\r\n\r\n")
            await asyncio.wait_for(reader.read(), 30)
            writer.close()
        assert (await load(world, b"{}")).status_code == 200


# The splitter alone


def split(body: bytes, size: int, longest: int = 50) -> list[Any]:
    splitter = LineSplitter(longest)
    lines = [line for at in range(0, len(body), size) for line in splitter.feed(body[at : at + size])]
    return lines + splitter.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_however_the_body_is_parted(size: int) -> None:
    body = b"one\n\ntwo\r\n" + b"x" * 51 + b"\n" + b"y" * 50 + b"\nthree"
    assert split(body, size) == [b"one", b"two\r", TOO_LONG, b"y" * 50, b"three"]
    assert split(b"a\n" + b"x" * 51, size) == [b"a", TOO_LONG]


def test_lines_too_long_hold_no_memory() -> None:
    splitter = LineSplitter(10)
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
    assert len(splitter._rest) == 0
    assert splitter.feed(b"\nok\n") == [TOO_LONG, b"ok"]
