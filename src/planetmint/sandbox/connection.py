# SPDX-License-Identifier: AGPL-3.0-or-later
"""One worker process as the pool sees it: started, asked, listened to, ended."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable

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


class WorkerConnection(asyncio.Protocol):
    """The pool's end of a worker's socket.

    Attributes:
        lost: Whether the worker is gone.
        when_lost: Called once when it goes.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.lost = False
        self.when_lost: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self._number = 0
        self._reply: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._heard = self._loop.time()

    async def greeting(self) -> tuple[Layer, ...]:
        """The walls that the worker found. Raises WorkerLost with the worker's reason where it cannot work."""
        done, _ = await asyncio.wait({self._reply}, timeout=START_SECONDS)
        if not done:
            raise WorkerLost(f"a contract worker was not up after {START_SECONDS:g} s")
        kind, body = self._reply.result()
        if kind == frames.FAILED:
            raise WorkerLost(body.decode(errors="replace"))
        lines = (line.split("\t") for line in body.decode().splitlines())
        return tuple(Layer(name, active == "1", detail) for name, active, detail in lines)

    async def ask(self, number: int, job: frames.Job, started: Callable[[], None]) -> tuple[int, frames.Report]:
        """Run a job: ANSWER or OVERRUN, and its report. `started` is called when `cancel` can take effect.

        Raises:
            WorkerLost: The worker ended or fell silent.
        """
        self._number = number
        self._heard = self._loop.time()
        self._reply = reply = self._loop.create_future()
        if self.lost:
            raise WorkerLost("the contract worker ended")
        self._send(frames.frame(frames.JOB, number, frames.encode_job(job)))
        started()
        while not reply.done():
            await asyncio.wait({reply}, timeout=SILENCE_SECONDS / 3)
            if not reply.done() and self._loop.time() - self._heard > SILENCE_SECONDS:
                raise WorkerLost("the contract worker fell silent")
        kind, body = reply.result()
        return kind, frames.decode_report(body)

    def cancel(self, number: int) -> None:
        """End the run of a number, if it still runs."""
        if not self.lost:
            self._send(frames.frame(frames.CANCEL, number))

    async def end(self) -> None:
        """Kill the process and collect it."""
        if self._transport is not None:
            self._transport.abort()
        self.process.kill()
        while self.process.poll() is None:  # noqa: ASYNC110 (a killed process is gone at once; nothing tells when)
            await asyncio.sleep(_REAP_SECONDS)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

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
            if kind != frames.BEAT and number == self._number and not self._reply.done():
                self._reply.set_result((kind, body))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self._reply.done():
            self._reply.set_exception(WorkerLost("the contract worker ended" + _last_words(self.process)))
            self._reply.exception()  # nobody may be waiting
        self.when_lost()

    def _send(self, data: bytes) -> None:
        assert self._transport is not None
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
                start_new_session=True,
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


def _last_words(process: "subprocess.Popen[bytes]") -> str:
    """What the process said on its standard error, as far as it is there already."""
    if process.stderr is None:
        return ""
    os.set_blocking(process.stderr.fileno(), False)
    text = b""
    with contextlib.suppress(OSError):
        text = os.read(process.stderr.fileno(), 4096)
    lines = text.decode(errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
