# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a pool and a worker say to each other over their socket pair: frames of a kind, a number and a body.

Only the standard library's `struct` and `os`: the worker imports this too.
"""

import struct
from typing import NamedTuple

HEAD = struct.Struct("<BQI")
"""Kind, number of the job, bytes of the body."""

JOB = 1
"""Pool to worker: run this."""
CANCEL = 2
"""Pool to worker: end the run of this number; its answer comes as `OVERRUN`."""
HELLO = 3
"""Worker to pool, first: the engine's version and the layers."""
FAILED = 4
"""Worker to pool, instead of HELLO: why it cannot work, as text."""
ANSWER = 5
OVERRUN = 6
"""The run was ended or ended itself; the body's message says why."""
BEAT = 7
"""The run goes on."""
MISHAP = 8
"""As OVERRUN, for a reason that may lie in the machine instead of the contract."""

BEAT_SECONDS = 1.0

_JOB = struct.Struct("<ddQQ64sIIi")
_ANSWER = struct.Struct("<dQI")


class Job(NamedTuple):
    """A contract and its limits.

    Attributes:
        cpu: Seconds of processor time; 0 for no limit.
        wall: Seconds by the clock on the wall; 0 for no limit.
        memory: Bytes of resident memory beyond the fresh child's; 0 for no limit.
        output: Bytes of output. Logs have no limit that ends a run; see `logs`.
        seed: 64 bytes.
        keys: None where none are given.
    """

    cpu: float
    wall: float
    memory: int
    output: int
    seed: bytes
    script: bytes
    data: bytes
    keys: bytes | None


class Report(NamedTuple):
    """How a run went.

    Attributes:
        cpu: Seconds of processor time.
        memory: Highest resident memory in bytes.
        output: What the engine printed; of an overrun or a mishap, the message that says what was exceeded.
        logs: The engine's messages; empty for an overrun or a mishap.
    """

    cpu: float
    memory: int
    output: bytes
    logs: bytes


def frame(kind: int, number: int, body: bytes = b"") -> bytes:
    return HEAD.pack(kind, number, len(body)) + body


def encode_job(job: Job) -> bytes:
    keys = -1 if job.keys is None else len(job.keys)
    sizes = (len(job.script), len(job.data), keys)
    head = _JOB.pack(job.cpu, job.wall, job.memory, job.output, job.seed, *sizes)
    return b"".join((head, job.script, job.data, job.keys or b""))


def decode_job(body: bytes) -> Job:
    cpu, wall, memory, output, seed, script, data, keys = _JOB.unpack_from(body)
    start = _JOB.size
    texts = body[start : start + script], body[start + script : start + script + data]
    return Job(cpu, wall, memory, output, seed, *texts, None if keys < 0 else body[start + script + data :])


def encode_report(report: Report) -> bytes:
    head = _ANSWER.pack(report.cpu, report.memory, len(report.output))
    return b"".join((head, report.output, report.logs))


def decode_report(body: bytes) -> Report:
    cpu, memory, output = _ANSWER.unpack_from(body)
    start = _ANSWER.size
    return Report(cpu, memory, body[start : start + output], body[start + output :])
