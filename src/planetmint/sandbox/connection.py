# SPDX-License-Identifier: AGPL-3.0-or-later
"""One worker process as the pool sees it: started, asked, listened to, ended."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple, cast

from planetmint.sandbox import frames
from planetmint.sandbox.engine import EngineKind
from planetmint.sandbox.layers import Layer

START_SECONDS = 30.0
SILENCE_SECONDS = 15.0
"""A worker that runs a contract says so every second."""
_REAP_SECONDS = 0.005
_BLANK_MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"}
"""Memory that is given out reads as zeros: the engine reads some before it writes to it (a length compared with an
array, for one), and its answer would differ from process to process. The thread caches would pass this by."""


class WorkerLost(Exception):
    """The worker died, fell silent, or could not be started; the message says which."""


class Reply(NamedTuple):
    """What came of a job: `frames.ANSWER` or `OVERRUN`, and the worker's report."""

    kind: int
    report: frames.Report


class WorkerConnection(asyncio.Protocol):
    """The pool's end of a worker's socket. One job at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self._greeting: asyncio.Future[tuple[Layer, ...]] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._number = 0
        self._replied: Callable[[Reply], None] | None = None
        self._heard = self._loop.time()

    async def greeting(self) -> tuple[Layer, ...]:
        """The walls that the worker found. Raises WorkerLost with the worker's reason where it cannot work."""
        done, _ = await asyncio.wait({self._greeting}, timeout=START_SECONDS)
        if not done:
            raise WorkerLost(f"a contract worker was not up after {START_SECONDS:g} s")
        return self._greeting.result()

    def ask(self, number: int, job: frames.Job, replied: Callable[[Reply], None]) -> None:
        """Run a job; `replied` is called once, unless the worker is lost before."""
        self._number = number
        self._replied = replied
        self._heard = self._loop.time()
        self._send(frames.frame(frames.JOB, number, frames.encode_job(job)))

    def cancel(self, number: int) -> None:
        """End the run of a number, if it still runs; its reply comes all the same."""
        self._send(frames.frame(frames.CANCEL, number))

    async def lost(self) -> str:
        """Wait until the worker ends or falls silent; says which."""
        while True:
            await asyncio.wait({self._lost}, timeout=SILENCE_SECONDS / 3)
            if self._lost.done():
                return "a contract worker ended" + self.last_words()
            if self._replied is not None and self._loop.time() - self._heard > SILENCE_SECONDS:
                return "a contract worker fell silent"

    async def end(self) -> None:
        """Kill the process and collect it."""
        if self._transport is not None:
            self._transport.abort()
        self.process.kill()
        while self.process.poll() is None:  # noqa: ASYNC110 (a killed process is gone at once; nothing tells when)
            await asyncio.sleep(_REAP_SECONDS)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def last_words(self) -> str:
        """What the process said on its standard error, as far as it is there already."""
        if self.process.stderr is None or self.process.stderr.closed:
            return ""
        os.set_blocking(self.process.stderr.fileno(), False)
        text = b""
        with contextlib.suppress(OSError):
            text = os.read(self.process.stderr.fileno(), 4096)
        lines = text.decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._received += data
        while len(self._received) >= frames.HEAD.size:
            kind, number, size = frames.HEAD.unpack_from(self._received)
            end = frames.HEAD.size + size
            if len(self._received) < end:
                return
            body = bytes(self._received[frames.HEAD.size : end])
            del self._received[:end]
            self._take(kind, number, body)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
        if not self._greeting.done():
            self._greeting.set_exception(WorkerLost("a contract worker ended at its start" + self.last_words()))
            self._greeting.exception()  # nobody may be waiting

    def _take(self, kind: int, number: int, body: bytes) -> None:
        if kind == frames.HELLO and not self._greeting.done():
            lines = (line.split("\t") for line in body.decode().splitlines())
            self._greeting.set_result(tuple(Layer(name, active == "1", detail) for name, active, detail in lines))
        elif kind == frames.FAILED and not self._greeting.done():
            self._greeting.set_exception(WorkerLost(body.decode(errors="replace")))
        elif kind in (frames.ANSWER, frames.OVERRUN, frames.MISHAP) and number == self._number and self._replied:
            replied, self._replied = self._replied, None
            replied(Reply(kind, frames.decode_report(body)))

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._lost.done():
            self._transport.write(data)


async def start_worker(kind: EngineKind) -> WorkerConnection:
    """Start a worker process; `greeting` tells when it is up.

    Raises:
        WorkerLost: The process could not be started.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 (a worker ends with the thread that started it)
                _command(kind, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | _BLANK_MEMORY,
                cwd="/",
                process_group=0,  # no Ctrl-C of the node; in its session, so that it is niced against the node
            )
        except OSError as error:
            ours.close()
            raise WorkerLost(f"a contract worker cannot be started: {error}") from error
    connection = WorkerConnection(process)
    ours.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: connection, sock=ours)
    return connection


def _command(kind: EngineKind, descriptor: int) -> list[str]:
    """Without the site's start-up files: the search path comes from this process."""
    form = "program" if kind.is_program else "library"
    arguments = [str(descriptor), form, str(kind.path), kind.version]
    return [sys.executable, "-S", "-P", "-B", "-m", "planetmint.sandbox.worker", *arguments]
