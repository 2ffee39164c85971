# SPDX-License-Identifier: AGPL-3.0-or-later
"""The load generator in its own process, against a stub that answers like a node but checks nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from bench import jobs, transactions, wire

COUNT = 60


class Stub:
    """Puts every post into a block of its own, tells it to all subscribers, and then answers.

    Attributes:
        messages: How often the stream tells each transaction.
        refused: Ids that are answered with 400 and never told.
    """

    def __init__(self) -> None:
        self.port = self.stream_port = 0
        self.messages = 1
        self.refused: set[str] = set()
        self.subscribers: list[asyncio.StreamWriter] = []
        self._height = 0

    async def serve(self) -> list[asyncio.Server]:
        """Listen on two free ports."""
        servers = [await asyncio.start_server(one, "127.0.0.1", 0) for one in (self._http, self._stream)]
        self.port, self.stream_port = (server.sockets[0].getsockname()[1] for server in servers)
        return servers

    def commit(self, text: bytes) -> int:
        """Tell one transaction; returns the status of its answer."""
        name = transactions.transaction_id(text)
        if name in self.refused:
            return 400
        self._height += 1
        message = f'{{"height": {self._height}, "transaction_id": "{name}"}}'.encode()
        frame = Frame(Opcode.TEXT, message).serialize(mask=False)
        for subscriber in self.subscribers:
            subscriber.write(frame * self.messages)
        return 202

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            mark = head.lower().find(b"content-length:")
            body = await reader.readexactly(int(head[mark + 15 :].split(b"\r\n")[0])) if mark >= 0 else b""
            if b"x-ndjson" in head:
                lines = [b'{"id":"", "status": %d}\n' % self.commit(line) for line in body.splitlines()]
                writer.write(_answer(200, b"".join(lines)))
            else:
                writer.write(_answer(self.commit(body) if body else 200, body or b"[]"))

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(b"HTTP/1.1 101 SWITCHING PROTOCOLS\r\n\r\n")
        self.subscribers.append(writer)
        await reader.read()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def _answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d ANY\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    one = Stub()
    servers = await one.serve()
    yield one
    for server in servers:
        server.close()


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(transactions.write_file(tmp_path / "load.ndjson", 0, COUNT, lambda done, total: None))


async def run(job: jobs.Job, kind: type[jobs.R]) -> jobs.R:
    return await asyncio.to_thread(jobs.run, job, kind)


async def test_every_post_is_answered_and_found_on_the_stream_once(stub: Stub, file: str) -> None:
    job = jobs.PostJob(stub.port, os.getpid(), file, 10, 50, 8, "async", stub.stream_port)
    result = await run(job, jobs.PostResult)
    assert (result.statuses, result.committed, result.repeated, result.blocks) == ({202: 50}, 50, 0, 50)
    assert 0 < result.answer.p50 <= result.answer.p99 <= result.answer.most
    assert result.stream.count == result.stream_after_answer.count == 50
    assert result.commit_seconds > 0


async def test_a_message_that_comes_twice_is_counted_as_repeated(stub: Stub, file: str) -> None:
    stub.messages = 2
    job = jobs.PostJob(stub.port, os.getpid(), file, 0, 20, 1, "commit", stub.stream_port)
    result = await run(job, jobs.PostResult)
    assert result.repeated > 0


async def test_a_refusal_is_reported_with_its_text(stub: Stub, file: str) -> None:
    stub.refused.add(transactions.transaction_id(transactions.create(3)))
    result = await run(jobs.PostJob(stub.port, os.getpid(), file, 0, 10, 2, "async"), jobs.PostResult)
    assert result.statuses == {202: 9, 400: 1}
    assert result.first_refusal.startswith("400 ")


async def test_bulk_requests_count_the_status_of_every_line(stub: Stub, file: str) -> None:
    stub.refused.add(transactions.transaction_id(transactions.create(25)))
    result = await run(jobs.BulkJob(stub.port, os.getpid(), file, 0, 3, 20, "commit"), jobs.BulkResult)
    assert result.statuses == {202: 59, 400: 1}
    assert result.answer.count == 3


async def test_gets_tell_the_shortest_body(stub: Stub) -> None:
    result = await run(jobs.GetJob(stub.port, ["/a", "/b"]), jobs.GetResult)
    assert (result.statuses, result.answer.count, result.shortest) == ({200: 2}, 2, 2)


async def test_every_subscriber_counts_every_message(stub: Stub) -> None:
    job = jobs.SubscribeJob(stub.stream_port, os.getpid(), subscribers=30, events=COUNT, seconds=10)
    process = jobs.LoadProcess(job)
    try:
        await asyncio.to_thread(process.wait_ready)
        for index in range(COUNT):
            stub.commit(transactions.create(index))
        result = await asyncio.to_thread(process.result, jobs.SubscribeResult)
    finally:
        process.kill()
    assert (result.messages, result.complete) == (30 * COUNT, 30)


async def test_subscribers_that_miss_a_message_are_not_complete(stub: Stub) -> None:
    job = jobs.SubscribeJob(stub.stream_port, os.getpid(), subscribers=3, events=2, seconds=0.3)
    process = jobs.LoadProcess(job)
    try:
        await asyncio.to_thread(process.wait_ready)
        stub.commit(transactions.create(0))
        result = await asyncio.to_thread(process.result, jobs.SubscribeResult)
    finally:
        process.kill()
    assert (result.messages, result.complete) == (3, 0)


async def test_a_server_that_goes_away_ends_the_job_with_an_error(file: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(RuntimeError, match="before it had a result"):
        await run(jobs.PostJob(port, os.getpid(), file, 0, 5, 1, "async"), jobs.PostResult)
    server.close()


def test_the_key_that_is_counted_stands_once_in_a_message() -> None:
    assert b'{"height":1,"asset_id":"a","asset_ids":["a"],"transaction_id":"a"}'.count(wire.EVENT_KEY) == 1
