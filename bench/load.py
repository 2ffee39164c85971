# SPDX-License-Identifier: AGPL-3.0-or-later
"""The load generator: `python -m bench.load` does one job from stdin and prints its result.

Raw `asyncio` protocols on uvloop send prebuilt requests; time is taken when bytes arrive, and ids are
looked at only after the last one came.
"""

import asyncio
import base64
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop

from bench import jobs, wire
from bench.jobs import LOOPBACK
from bench.meter import Meter, Usage
from bench.saves import save
from bench.subscribers import subscribe
from bench.transactions import read_transactions, transaction_id

Answered = Callable[["HttpConnection", wire.Response, float], None]
Lost = Callable[[ConnectionError], None]

_STREAM = "/api/v1/streams/valid_transactions"
_EVENT_ID = re.compile(rb'"transaction_id"\s*:\s*"([0-9a-f]{64})"')
_EVENT_HEIGHT = re.compile(rb'"height"\s*:\s*(\d+)')
_PATIENCE = 30.0
"""Seconds without any progress after which a job gives up waiting for the stream."""


class HttpConnection(asyncio.Protocol):
    """A keep-alive connection with one request under way at a time; calls `answered` with each answer."""

    def __init__(self, answered: Answered, lost: Lost) -> None:
        self.index = -1
        """Which request is under way; for the caller."""
        self._answered = answered
        self._lost = lost
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> None:
        """Write a complete request."""
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        """Close without a complaint."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._buffer = self._buffer + data if self._buffer else data
        response = wire.parse_response(self._buffer)
        if response is None:
            return
        self._buffer = self._buffer[response.size :]
        self._answered(self, response, now)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._lost(ConnectionError(f"the node closed a connection: {exc}"))


class StreamConnection(asyncio.Protocol):
    """A subscriber that keeps every message with its time of arrival."""

    def __init__(self, request: bytes) -> None:
        self.messages: list[tuple[float, bytes]] = []
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        buffer = self._buffer + data if self._buffer else data
        if not self.open.done():
            buffer = self._opened(buffer)
        end = 0
        for frame in wire.frames(buffer):
            end = frame.end
            if frame.opcode == wire.TEXT:
                self.messages.append((now, frame.payload))
            elif frame.opcode == wire.PING and self._transport is not None:
                self._transport.write(wire.pong(frame.payload))
        self._buffer = buffer[end:]

    def _opened(self, buffer: bytes) -> bytes:
        head, mark, rest = buffer.partition(b"\r\n\r\n")
        if not mark:
            return buffer
        if not head.startswith(b"HTTP/1.1 101"):
            self.open.set_exception(ConnectionError(f"the stream refused: {head!r}"))
            return b""
        self.open.set_result(None)
        return rest


async def post(job: jobs.PostJob) -> jobs.PostResult:
    """Keep `connections` busy until every transaction is answered, then wait for the stream."""
    texts = read_transactions(Path(job.file), job.skip, job.count)
    host = f"{LOOPBACK}:{job.port}"
    requests = [wire.post_request(host, f"/api/v1/transactions?mode={job.mode}", text) for text in texts]
    sent, answered, tally = [0.0] * job.count, [0.0] * job.count, _Tally()
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    next_index = 0

    def send_next(connection: HttpConnection) -> None:
        nonlocal next_index
        if next_index == job.count:
            return
        connection.index, next_index = next_index, next_index + 1
        sent[connection.index] = time.perf_counter()
        connection.send(requests[connection.index])

    def on_answer(connection: HttpConnection, response: wire.Response, now: float) -> None:
        answered[connection.index] = now
        tally.add(response.status, response.body)
        if tally.total == job.count and not done.done():
            done.set_result(None)
        send_next(connection)

    def on_loss(error: ConnectionError) -> None:
        if not done.done():
            done.set_exception(error)

    stream = await _subscribe(job.stream_port) if job.stream_port is not None else None
    connections = [await _connect(job.port, on_answer, on_loss) for _ in range(min(job.connections, job.count))]
    ticker = asyncio.create_task(_tick(lambda: tally.total, job.count))
    meter, start = Meter(job.server), time.perf_counter()
    for connection in connections:
        send_next(connection)
    await done
    posting = time.perf_counter() - start
    ticker.cancel()
    if stream is not None:
        await _until(_Counter(texts, stream.messages).count, tally.statuses[202])
    usage = meter.read()
    for connection in connections:
        connection.close()
    messages = stream.messages if stream else []
    return _posted(texts, job.every, tally, start, posting, sent, answered, messages, usage)


async def bulk(job: jobs.BulkJob) -> jobs.BulkResult:
    """Post one NDJSON body after another."""
    host = f"{LOOPBACK}:{job.port}"
    texts = read_transactions(Path(job.file), job.skip, job.bodies * job.lines)
    path = f"/api/v1/transactions?mode={job.mode}"
    bodies = (b"\n".join(texts[at : at + job.lines]) + b"\n" for at in range(0, len(texts), job.lines))
    requests = (wire.post_request(host, path, body, "application/x-ndjson") for body in bodies)
    tally = _Tally()
    jobs.tell(jobs.Progress(0, job.bodies))
    meter, start, times = Meter(job.server), time.perf_counter(), list[float]()
    async for response, seconds in _in_turn(job.port, requests):
        if response.status != 200:
            raise RuntimeError(f"a bulk request was answered with {response.status}: {response.body[:300]!r}")
        for line in response.body.splitlines():
            tally.add(_line_status(line), line)
        times.append(seconds)
        jobs.tell(jobs.Progress(len(times), job.bodies))
    return jobs.BulkResult(
        statuses=dict(tally.statuses),
        first_refusal=tally.first_refusal,
        seconds=time.perf_counter() - start,
        answer=jobs.spread(times),
        usage=meter.read(),
    )


async def get(job: jobs.GetJob) -> jobs.GetResult:
    """Ask for one path after another."""
    requests = [wire.get_request(f"{LOOPBACK}:{job.port}", path) for path in job.paths]
    statuses, times, shortest = Counter[int](), list[float](), sys.maxsize
    async for response, seconds in _in_turn(job.port, requests):
        statuses[response.status] += 1
        times.append(seconds)
        shortest = min(shortest, len(response.body))
    return jobs.GetResult(dict(statuses), jobs.spread(times), shortest)


async def replay(job: jobs.ReplayJob) -> jobs.ReplayResult:
    """Read history as one subscriber; messages are counted, not taken apart."""
    loop = asyncio.get_running_loop()
    reader = _Reader(wire.upgrade_request(f"{LOOPBACK}:{job.stream_port}", f"{_STREAM}?from_height=1"), job.events)
    meter, start = Meter(job.server), time.perf_counter()
    await loop.create_connection(lambda: reader, LOOPBACK, job.stream_port)
    await _until(lambda: reader.counter.count, job.events)
    return jobs.ReplayResult(
        events=reader.counter.count,
        seconds=reader.last - start,
        first_seconds=reader.first - start,
        received_bytes=reader.received,
        usage=meter.read(),
    )


async def engine(job: jobs.EngineJob) -> jobs.EngineResult:
    """Keep `connections` busy with batches, then look for the texts in the blocks."""
    host = f"{LOOPBACK}:{job.port}"
    requests = [wire.post_request(host, "/", body) for body in _batches(job)]
    begun = await _height(job.port)
    meter, start, taken, answers = Meter(job.server), time.perf_counter(), 0, 0
    for first in range(0, len(requests), job.connections):
        group = requests[first : first + job.connections]
        for response in await asyncio.gather(*(_ask(job.port, request) for request in group)):
            answers += 1
            taken += response.body.count(b'"code":0') + response.body.count(b'"code": 0')
            jobs.tell(jobs.Progress(answers, len(requests)))
    counts: dict[int, int] = {}
    deadline = time.perf_counter() + _PATIENCE
    while sum(counts.values()) < taken and time.perf_counter() < deadline:
        for height in range(begun + 1 + len(counts), await _height(job.port) + 1):
            block = _result(await _ask(job.port, wire.get_request(host, f"/block?height={height}")))
            counts[height] = len(block["block"]["data"]["txs"] or ())
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - start
    held = sum(1 for count in counts.values() if count)
    return jobs.EngineResult(taken, sum(counts.values()), held, seconds, meter.read())


def _batches(job: jobs.EngineJob) -> Iterable[bytes]:
    """Requests for the engine: every text is `key=value`, no two alike."""
    mark = time.time_ns()
    for first in range(0, job.count, job.batch):
        calls = []
        for number in range(first, min(first + job.batch, job.count)):
            text = f"{mark}-{number}=".ljust(job.bytes, "x").encode()
            parameters = {"tx": base64.b64encode(text).decode()}
            calls.append({"jsonrpc": "2.0", "id": number, "method": "broadcast_tx_async", "params": parameters})
        yield msgspec.json.encode(calls)


async def _height(port: int) -> int:
    request = wire.get_request(f"{LOOPBACK}:{port}", "/status")
    return int(_result(await _ask(port, request))["sync_info"]["latest_block_height"])


def _result(response: wire.Response) -> Any:
    return msgspec.json.decode(response.body)["result"]


async def _ask(port: int, request: bytes) -> wire.Response:
    async for response, _ in _in_turn(port, [request]):
        return response
    raise AssertionError("one request has one answer")


class _Reader(asyncio.Protocol):
    """Counts messages and keeps the times of the first and the last."""

    def __init__(self, request: bytes, events: int) -> None:
        self.counter = wire.KeyCounter()
        self.first = self.last = time.perf_counter()
        self.received = 0
        self._request = request
        self._events = events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.counter.count:
            self.first = time.perf_counter()
        self.received += len(data)
        if self.counter.feed(data) >= self._events:
            self.last = time.perf_counter()


class _Counter:
    """Counts the messages of some transactions among those that come, which may be others' too."""

    def __init__(self, texts: list[bytes], messages: list[tuple[float, bytes]]) -> None:
        self._ids = set(map(transaction_id, texts))
        self._messages = messages
        self._looked = self._found = 0

    def count(self) -> int:
        """How many came so far."""
        for _, message in self._messages[self._looked :]:
            found = _EVENT_ID.search(message)
            self._found += found is not None and found.group(1).decode() in self._ids
            self._looked += 1
        return self._found


class _Tally:
    """Counts answers and keeps the first that is not 202."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.total = 0
        self.first_refusal = ""

    def add(self, status: int, body: bytes) -> None:
        self.total += 1
        self.statuses[status] += 1
        if status != 202 and not self.first_refusal:
            self.first_refusal = f"{status} {body[:300].decode(errors='replace')}"


def _posted(
    texts: list[bytes],
    every: int,
    tally: _Tally,
    start: float,
    posting: float,
    sent: list[float],
    answered: list[float],
    messages: list[tuple[float, bytes]],
    usage: Usage,
) -> jobs.PostResult:
    index_of = {transaction_id(text): index for index, text in enumerate(texts)}
    seen: dict[int, float] = {}
    heights: set[bytes] = set()
    others = (every > 0 and number % every == every - 1 for number in range(len(texts)))
    times = list(zip(others, sent, answered, strict=True))
    repeated = 0
    for at, message in messages:
        found = _EVENT_ID.search(message)
        index = index_of.get(found.group(1).decode()) if found else None
        if index is None:
            continue
        repeated += index in seen
        seen.setdefault(index, at)
        heights.update(_EVENT_HEIGHT.findall(message))
    return jobs.PostResult(
        statuses=dict(tally.statuses),
        first_refusal=tally.first_refusal,
        posting_seconds=posting,
        committed=len(seen),
        repeated=repeated,
        commit_seconds=max(seen.values(), default=start) - start,
        blocks=len(heights),
        answer=jobs.spread([after - before for other, before, after in times if not other]),
        other_answer=jobs.spread([after - before for other, before, after in times if other]),
        stream=jobs.spread([at - sent[index] for index, at in seen.items()]),
        stream_after_answer=jobs.spread([at - answered[index] for index, at in seen.items()]),
        usage=usage,
    )


def _line_status(line: bytes) -> int:
    found = re.search(rb'"status"\s*:\s*(\d+)', line)
    return int(found.group(1)) if found else 0


async def _in_turn(port: int, requests: Iterable[bytes]) -> AsyncIterator[tuple[wire.Response, float]]:
    """Send each request after the answer to the one before; yields answers and seconds."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[tuple[wire.Response, float]] = loop.create_future()
    connection = await _connect(
        port,
        lambda _, response, now: waiting.set_result((response, now)),
        lambda error: waiting.set_exception(error),
    )
    for request in requests:
        start = time.perf_counter()
        connection.send(request)
        response, now = await waiting
        waiting = loop.create_future()
        yield response, now - start
    connection.close()


async def _connect(port: int, answered: Answered, lost: Lost) -> HttpConnection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: HttpConnection(answered, lost), LOOPBACK, port)
    return connection


async def _subscribe(port: int) -> StreamConnection:
    request = wire.upgrade_request(f"{LOOPBACK}:{port}", _STREAM)
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: StreamConnection(request), LOOPBACK, port
    )
    await connection.open
    return connection


async def _until(count: Callable[[], int], wanted: int) -> None:
    """Wait until `count()` reaches `wanted`, or has not moved for `_PATIENCE` seconds."""
    known, moved = -1, time.perf_counter()
    while (now := count()) < wanted:
        if now != known:
            known, moved = now, time.perf_counter()
        elif time.perf_counter() - moved > _PATIENCE:
            return
        jobs.tell(jobs.Progress(now, wanted))
        await asyncio.sleep(0.1)


async def _tick(count: Callable[[], int], total: int) -> None:
    while True:
        jobs.tell(jobs.Progress(count(), total))
        await asyncio.sleep(0.25)


def _coroutine(job: jobs.Job) -> Coroutine[Any, Any, jobs.Result]:
    match job:
        case jobs.PostJob():
            return post(job)
        case jobs.BulkJob():
            return bulk(job)
        case jobs.GetJob():
            return get(job)
        case jobs.ReplayJob():
            return replay(job)
        case jobs.EngineJob():
            return engine(job)
        case jobs.SaveJob():
            return save(job)
        case jobs.SubscribeJob():
            raise ValueError("subscribers do not run on a loop")


def main() -> None:
    """Read a job, do it, print the result."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    job = jobs.JOB.decode(sys.stdin.buffer.readline())
    if isinstance(job, jobs.SubscribeJob):
        jobs.tell(subscribe(job))
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        jobs.tell(runner.run(_coroutine(job)))


if __name__ == "__main__":
    main()
