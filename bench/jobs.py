# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a load process is asked to do and what it answers, and how it is started.

A job goes to `python -m bench.load` as one JSON line; progress and then the result come back as JSON
lines. So the load never shares an interpreter with the node or with the program that measures.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from bench.meter import Usage

LOOPBACK = "127.0.0.1"


class Spread(msgspec.Struct, frozen=True):
    """Order statistics of a set of durations, in milliseconds; all 0 when there were none."""

    count: int
    mean: float
    p50: float
    p99: float
    most: float


def spread(seconds: Sequence[float]) -> Spread:
    """Order statistics of durations in seconds, by nearest rank."""
    if not seconds:
        return Spread(0, 0.0, 0.0, 0.0, 0.0)
    ranked = sorted(seconds)
    last = len(ranked) - 1
    mean = 1000 * sum(ranked) / len(ranked)
    return Spread(len(ranked), mean, *(1000 * ranked[round(last * part)] for part in (0.5, 0.99, 1.0)))


class PostJob(msgspec.Struct, tag="post", frozen=True):
    """Post transactions one a request over keep-alive connections, and wait for them on the stream."""

    port: int
    server: int
    """Process id of what is measured."""
    file: str
    skip: int
    count: int
    connections: int
    mode: str
    stream_port: int | None = None
    """Without it nothing is known about commits, and the job ends with the last answer."""
    every: int = 0
    """Each so-manyth line is of another kind, whose answers are told apart; 0 where all are alike."""


class PostResult(msgspec.Struct, tag="posted", frozen=True):
    """Outcome of a `PostJob`. Rates count from the first request sent."""

    statuses: dict[int, int]
    first_refusal: str
    posting_seconds: float
    """To the last answer."""
    committed: int
    """Transactions of this job seen on the stream, each counted once."""
    repeated: int
    """Messages for a transaction that had been seen already."""
    commit_seconds: float
    """To the last message of the stream."""
    blocks: int
    answer: Spread
    """From the request to its answer; of those alike."""
    other_answer: Spread
    """The same of those of another kind."""
    stream: Spread
    """From the request to the message."""
    stream_after_answer: Spread
    """From the answer to the message; the message may come first."""
    usage: Usage


class BulkJob(msgspec.Struct, tag="bulk", frozen=True):
    """Post NDJSON bodies one after another over one connection."""

    port: int
    server: int
    file: str
    skip: int
    bodies: int
    lines: int
    mode: str


class BulkResult(msgspec.Struct, tag="loaded", frozen=True):
    """Outcome of a `BulkJob`."""

    statuses: dict[int, int]
    """Of the lines, not of the requests."""
    first_refusal: str
    seconds: float
    answer: Spread
    usage: Usage


class GetJob(msgspec.Struct, tag="get", frozen=True):
    """Ask for paths one after another over one connection."""

    port: int
    paths: list[str]


class GetResult(msgspec.Struct, tag="got", frozen=True):
    """Outcome of a `GetJob`."""

    statuses: dict[int, int]
    answer: Spread
    shortest: int
    """Bytes of the shortest body, to tell an empty answer from a found one."""


class ReplayJob(msgspec.Struct, tag="replay", frozen=True):
    """Read the stream of one subscriber from the first block on until `events` messages came."""

    stream_port: int
    server: int
    events: int


class ReplayResult(msgspec.Struct, tag="replayed", frozen=True):
    """Outcome of a `ReplayJob`."""

    events: int
    seconds: float
    """From the handshake sent to the last message."""
    first_seconds: float
    """From the handshake sent to the first message."""
    received_bytes: int
    usage: Usage


class SubscribeJob(msgspec.Struct, tag="subscribe", frozen=True):
    """Hold many subscribers until each has had `events` messages."""

    stream_port: int
    server: int
    subscribers: int
    events: int
    seconds: float
    """The longest wait for the next message."""


class SubscribeResult(msgspec.Struct, tag="subscribed", frozen=True):
    """Outcome of a `SubscribeJob`."""

    messages: int
    complete: int
    """Subscribers that had every message."""
    span_seconds: float
    """From the first message of any subscriber to the last one of all."""
    received_bytes: int
    usage: Usage


class EngineJob(msgspec.Struct, tag="engine", frozen=True):
    """Give the engine's RPC texts of the size of transactions, in batches, and wait until blocks hold them all."""

    port: int
    """Of the RPC."""
    server: int
    count: int
    bytes: int
    """Of one text, which is a key and a value for the engine's built-in application."""
    batch: int
    """Texts in one request."""
    connections: int


class EngineResult(msgspec.Struct, tag="ordered", frozen=True):
    """Outcome of an `EngineJob`."""

    taken: int
    committed: int
    blocks: int
    """Blocks that held any."""
    seconds: float
    """From the first request to the block that held the last one."""
    usage: Usage


class SaveJob(msgspec.Struct, tag="save", frozen=True):
    """Save blocks into a Tarantool server of its own."""

    file: str
    blocks: int
    lines: int
    """Transactions of a block."""


class SaveResult(msgspec.Struct, tag="saved", frozen=True):
    """Outcome of a `SaveJob`."""

    save: Spread
    bytes_each: float
    """Resident memory of the server for each transaction."""


Job = PostJob | BulkJob | GetJob | ReplayJob | SubscribeJob | EngineJob | SaveJob
Result = PostResult | BulkResult | GetResult | ReplayResult | SubscribeResult | EngineResult | SaveResult


class Progress(msgspec.Struct, tag="progress", frozen=True):
    """How far a job is."""

    done: int
    total: int


Line = Result | Progress
JOB = msgspec.json.Decoder(Job)
LINE = msgspec.json.Decoder(Line)
R = TypeVar("R", bound=msgspec.Struct)


class Watch(Protocol):
    """Shown how far a long step is."""

    def __call__(self, done: int, total: int) -> None: ...


class LoadProcess:
    """A running job in a process of its own."""

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        self._process.stdin.close()

    def wait_ready(self) -> None:
        """Until the job has told its first progress, e.g. that every subscriber is connected."""
        self._read()

    def result(self, kind: type[R], watch: Watch | None = None) -> R:
        """Wait for the end of the job.

        Raises:
            RuntimeError: It ended without a result; what went wrong stands on its stderr.
        """
        while isinstance(line := self._read(), Progress):
            if watch is not None:
                watch(line.done, line.total)
        self._process.wait()
        if not isinstance(line, kind):
            raise RuntimeError(f"a load process answered {type(line).__name__} instead of {kind.__name__}")
        return line

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> Line:
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise RuntimeError(f"a load process ended with code {self._process.wait()} before it had a result")
        line: Line = LINE.decode(text)
        return line


def run(job: Job, kind: type[R], watch: Watch | None = None) -> R:
    """Do a job in its own process and return its result."""
    process = LoadProcess(job)
    try:
        return process.result(kind, watch)
    except BaseException:
        process.kill()
        raise


def tell(line: Line) -> None:
    """Print a line for the program that started this process."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()
