# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many subscribers of the stream in one process, read as cheaply as the kernel allows.

Sockets are polled level-triggered and read into one shared buffer; messages are counted by a text that
stands once in each. What is read is checked by number, not taken apart, so that the reader does not
become what is measured: `limits.py` measures it against a server that only writes.
"""

import select
import socket
import time

from bench import jobs, wire
from bench.meter import Meter

_READ = 1 << 20
_PATH = "/api/v1/streams/valid_transactions"


class _Subscriber:
    """One socket and what has come over it; `tail` ends what was read last, for a key that was cut."""

    __slots__ = ("count", "sock", "tail")

    def __init__(self, sock: socket.socket, first: bytes) -> None:
        self.sock = sock
        self.count = first.count(wire.EVENT_KEY)
        self.tail = first[-_KEEP:]


_KEEP = len(wire.EVENT_KEY) - 1


def subscribe(job: jobs.SubscribeJob) -> jobs.SubscribeResult:
    """Connect, tell that all are connected, and read until every subscriber has had `job.events` messages."""
    subscribers = [_open(job.stream_port) for _ in range(job.subscribers)]
    jobs.tell(jobs.Progress(0, job.events))
    poll = select.epoll()
    by_descriptor = {subscriber.sock.fileno(): subscriber for subscriber in subscribers}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    result = _read_all(poll, by_descriptor, job)
    for subscriber in subscribers:
        subscriber.sock.close()
    return result


def _read_all(
    poll: select.epoll, subscribers: dict[int, _Subscriber], job: jobs.SubscribeJob
) -> jobs.SubscribeResult:
    buffer = bytearray(_KEEP + _READ)
    view = memoryview(buffer)[_KEEP:]
    first = last = 0.0
    received = complete = 0
    meter = Meter(job.server)
    while complete < len(subscribers):
        ready = poll.poll(job.seconds)
        if not ready:
            break
        if not first:
            first, meter = time.perf_counter(), Meter(job.server)
        for descriptor, _ in ready:
            subscriber = subscribers[descriptor]
            size = subscriber.sock.recv_into(view)
            if size == 0:
                poll.unregister(descriptor)
                continue
            received += size
            before = subscriber.count
            _count(subscriber, buffer, size)
            complete += before < job.events <= subscriber.count
        last = time.perf_counter()
    return jobs.SubscribeResult(
        messages=sum(subscriber.count for subscriber in subscribers.values()),
        complete=complete,
        span_seconds=last - first,
        received_bytes=received,
        usage=meter.read(),
    )


def _count(subscriber: _Subscriber, buffer: bytearray, size: int) -> None:
    start = _KEEP - len(subscriber.tail)
    buffer[start:_KEEP] = subscriber.tail
    end = _KEEP + size
    subscriber.count += buffer.count(wire.EVENT_KEY, start, end)
    subscriber.tail = bytes(buffer[max(start, end - _KEEP) : end])


def _open(port: int) -> _Subscriber:
    sock = socket.create_connection((jobs.LOOPBACK, port))
    sock.sendall(wire.upgrade_request(f"{jobs.LOOPBACK}:{port}", _PATH))
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError(f"the stream refused a subscriber: {head!r}")
        head += piece
    head, _, rest = head.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"the stream refused a subscriber: {head!r}")
    sock.setblocking(False)
    return _Subscriber(sock, rest)
