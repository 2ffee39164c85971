# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this machine can do at best, measured in the same run: the yardsticks beside each figure."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from bench import bare, jobs, processes

_BLOCK = 4096


@dataclass(frozen=True)
class Limits:
    """Rates per second; latencies in milliseconds."""

    verifications: float
    """Ed25519 verifications on one core."""
    syncs: float
    """4 KB appends, each made durable by `fdatasync`, on the disk of the data folder."""
    posts: float
    """POST to the node's HTTP server around an application that only echoes."""
    post_p50: float
    """Of one such POST at a time."""
    generator: float
    """POST that the load generator reaches against a server that only answers."""
    messages: float
    """Stream messages that the readers take from a server that only writes."""


def measure(file: Path, folder: Path, seconds: float, subscribers: int) -> Limits:
    """Measure all of them, each for about `seconds`.

    Args:
        file: Transactions to post, as many as `posts_needed` or more.
        folder: On the disk that the node will use.
        seconds: For each figure.
        subscribers: Connections for the readers.
    """
    with processes.bare("uvicorn", folder) as server:
        posts = _posted(server, file, int(8000 * seconds), connections=32)
        alone = _posted(server, file, int(2000 * seconds), connections=1)
    with processes.bare("constant", folder) as server:
        ceiling = _posted(server, file, int(8000 * seconds), connections=32)
    return Limits(
        verifications=verifications(seconds),
        syncs=syncs(folder, seconds),
        posts=_rate(posts),
        post_p50=alone.answer.p50,
        generator=_rate(ceiling),
        messages=_messages(folder, subscribers),
    )


def posts_needed(seconds: float) -> int:
    """How many transactions `measure` posts."""
    return int(8000 * seconds)


def verifications(seconds: float) -> float:
    """Ed25519 verifications of a 32-byte digest per second on this core."""
    key = SigningKey.generate()
    message = os.urandom(32)
    signature, verify_key = key.sign(message).signature, key.verify_key
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        for _ in range(100):
            verify_key.verify(message, signature)
        done += 100
    return done / passed


def syncs(folder: Path, seconds: float) -> float:
    """Durable appends of 4 KB per second to a file in `folder`."""
    path, block = folder / "sync", os.urandom(_BLOCK)
    done, start = 0, time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while (passed := time.perf_counter() - start) < seconds:
            file.write(block)
            os.fdatasync(file.fileno())
            done += 1
    path.unlink()
    return done / passed


def _posted(server: processes.Server, file: Path, count: int, connections: int) -> jobs.PostResult:
    job = jobs.PostJob(
        port=server.port,
        server=server.pid,
        file=str(file),
        skip=0,
        count=count,
        connections=connections,
        mode="async",
    )
    return jobs.run(job, jobs.PostResult)


def _rate(result: jobs.PostResult) -> float:
    return sum(result.statuses.values()) / result.posting_seconds


def _messages(folder: Path, subscribers: int) -> float:
    with processes.bare("fanout", folder, subscribers) as server:
        job = jobs.SubscribeJob(
            stream_port=server.port,
            server=server.pid,
            subscribers=subscribers,
            events=bare.BLOCKS * bare.BLOCK_EVENTS,
            seconds=10,
        )
        result = jobs.run(job, jobs.SubscribeResult)
    return result.messages / result.span_seconds
