# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signatures verified in a process beside the node, many at a time, in the order in which they are asked."""

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import structlog

from planetmint.runtime.verify_worker import COUNT_BYTES

_RESTART_SECONDS = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Answer = asyncio.Future[bytes | None]


class VerifyProcess:
    """Implements `app.SignatureHelper`; a process that dies is replaced, and its questions go unanswered."""

    def __init__(self) -> None:
        self._link: _Link | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process; questions asked before it runs wait for it."""
        loop = asyncio.get_running_loop()
        _, self._link = await loop.create_unix_connection(lambda: _Link(self._lost), sock=self._spawn())

    async def verify(self, parts: Sequence[bytes]) -> bytes | None:
        """See `app.SignatureHelper`."""
        if not parts:
            return b""
        return await self._link.ask(parts) if self._link is not None else None

    async def close(self) -> None:
        """End the process."""
        self._closed = True
        if self._restart is not None:
            self._restart.cancel()
        if self._starting is not None:
            await asyncio.wait({self._starting})
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._reap()

    def _spawn(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "planetmint.runtime.verify_worker", str(theirs.fileno())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        return ours

    def _lost(self) -> None:
        self._link = None
        if self._closed:
            return
        self._reap()
        log.error("the process that verifies signatures ended; the node verifies by itself until it is back")
        self._restart = asyncio.get_running_loop().call_later(_RESTART_SECONDS, self._start_again)

    def _start_again(self) -> None:
        self._starting = asyncio.get_running_loop().create_task(self.start())

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it holds nothing that could be lost
            process.wait()


class _Link(asyncio.Protocol):
    """Questions out, answers in, in the same order."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._asked: deque[tuple[int, Answer]] = deque()
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answers, in whatever pieces."""
        self._received += data
        while self._asked and len(self._received) >= self._asked[0][0]:
            count, answer = self._asked.popleft()
            if not answer.done():
                answer.set_result(self._received[:count])
            self._received = self._received[count:]

    def connection_lost(self, exc: Exception | None) -> None:
        """The process is gone: who asked is told that there is no answer."""
        for _, answer in self._asked:
            if not answer.done():
                answer.set_result(None)
        self._asked.clear()
        self._lost()

    async def ask(self, parts: Sequence[bytes]) -> bytes | None:
        """One byte per part; None where the process died over it."""
        if self._transport is None or self._transport.is_closing():
            return None
        answer: Answer = asyncio.get_running_loop().create_future()
        self._asked.append((len(parts), answer))
        self._transport.write(len(parts).to_bytes(COUNT_BYTES, "big") + b"".join(parts))
        return await answer

    def close(self) -> None:
        """Let the process end."""
        if self._transport is not None:
            self._transport.close()
