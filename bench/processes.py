# SPDX-License-Identifier: AGPL-3.0-or-later
"""Server processes under measurement: a started node and the bare servers."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.jobs import LOOPBACK

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class Server:
    """A child process that listens on a loopback port."""

    def __init__(self, command: Sequence[str], port: int, log: Path, env: dict[str, str] | None = None) -> None:
        self.port = port
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command, stdout=file, stderr=file, env=_environment(env or {}), preexec_fn=_many_files
            )

    @property
    def pid(self) -> int:
        """Of the process itself; it may have children."""
        return self._process.pid

    def wait_listening(self, port: int) -> None:
        """Until `port` takes connections.

        Raises:
            RuntimeError: The process ended, or did not listen in time; the end of its log is told.
        """
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
                return
            time.sleep(0.02)
        raise RuntimeError(f"port {port} is not served; the log ends with:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Ask it to end, and insist if it does not."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Node:
    """A started node and where it listens."""

    server: Server
    port: int
    stream_port: int
    data: Path


@contextlib.contextmanager
def node(data: Path) -> Iterator[Node]:
    """A node of this checkout on the given data folder, with default settings except ports and folder."""
    data.mkdir(parents=True, exist_ok=True)
    port, stream_port = free_ports(2)
    env = {
        "HOME": str(data.parent),
        "PLANETMINT_SERVER_BIND": f"{LOOPBACK}:{port}",
        "PLANETMINT_WSSERVER_HOST": LOOPBACK,
        "PLANETMINT_WSSERVER_PORT": str(stream_port),
        "PLANETMINT_WSSERVER_ADVERTISED_PORT": str(stream_port),
        "PLANETMINT_DATA_DIR": str(data),
    }
    command = [sys.executable, "-m", "planetmint", "start"]
    server = Server(command, port, data.with_name(data.name + ".log"), env)
    try:
        server.wait_listening(port)
        server.wait_listening(stream_port)
        yield Node(server, port, stream_port, data)
    finally:
        server.stop()


@contextlib.contextmanager
def bare(kind: str, folder: Path, *arguments: int) -> Iterator[Server]:
    """A server of `bench.bare`."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.bare", kind, str(port), *map(str, arguments)]
    server = Server(command, port, folder / f"{kind}.log")
    try:
        server.wait_listening(port)
        yield server
    finally:
        server.stop()


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind((LOOPBACK, 0))
        return [sock.getsockname()[1] for sock in socks]


def _environment(settings: dict[str, str]) -> dict[str, str]:
    # What the caller has set for a node of their own must not reach the measured one.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PLANETMINT_")}
    return {**inherited, **settings}


def _many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
