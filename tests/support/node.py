# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real node as a child process, for tests that need sockets, files and signals.

The process gets free loopback ports, its own data folder and a log file. Ports and folder stay the same over
`stop`/`kill` and a new `start`, so a test can restart the node that it has just ended.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
_POLL_INTERVAL = 0.02
_LOG_TAIL = 20_000


class NodeFailed(AssertionError):
    """The node ended, or did not do in time what was asked; the text holds the end of its log."""


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports that were free on loopback a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


class NodeProcess:
    """One node process: `start()`, `wait_ready()`, then `stop()` (SIGTERM) or `kill()` (SIGKILL).

    Also a context manager: entering starts the node and waits until it is ready, leaving stops it.

    Args:
        data_dir: Folder that the node may create and fill; the log file stands beside it.
        env: Further environment settings; they win over the ones made here.
        args: What follows `planetmint` on the command line.
        command: The program itself; default is this interpreter with `-m planetmint`.
    """

    def __init__(
        self,
        data_dir: Path | str,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = ("start",),
        command: Sequence[str] | None = None,
    ) -> None:
        self.data_dir = Path(data_dir)
        self.log_path = self.data_dir.with_name(self.data_dir.name + ".log")
        self.args = list(args)
        self.command = list(command) if command else [sys.executable, "-m", "planetmint"]
        self.http_port, self.stream_port = free_ports(2)
        self.extra_env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._group_ended = True

    @property
    def base_url(self) -> str:
        """Root of the Web API, without a slash at the end and without `/api/v1`."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def stream_url(self) -> str:
        """URL of the stream of committed transactions."""
        return f"ws://{HOST}:{self.stream_port}/api/v1/streams/valid_transactions"

    @property
    def pid(self) -> int:
        """Process id of the running (or last) node process."""
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while the node runs or before the first start."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the node: the caller's without `PLANETMINT_*`, plus the settings."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PLANETMINT_")}
        settings = {
            "HOME": str(self.data_dir.parent),  # so that nobody's ~/.planetmint is read
            "PYTHONUNBUFFERED": "1",
            "PLANETMINT_SERVER_BIND": f"{HOST}:{self.http_port}",
            "PLANETMINT_WSSERVER_HOST": HOST,
            "PLANETMINT_WSSERVER_PORT": str(self.stream_port),
            "PLANETMINT_WSSERVER_ADVERTISED_HOST": HOST,
            "PLANETMINT_WSSERVER_ADVERTISED_PORT": str(self.stream_port),
            "PLANETMINT_DATA_DIR": str(self.data_dir),
        }
        return inherited | settings | self.extra_env

    def start(self) -> Self:
        """Start the process without waiting for it; the log is appended to the log file."""
        if self.running:
            raise RuntimeError("the node runs already")
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, *self.args],
                env=self.environment(),
                cwd=self.data_dir.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._group_ended = False
        return self

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> Self:
        """Return once GET / answers 200 and the stream port listens.

        Raises:
            NodeFailed: The process ended, or was not ready within `timeout` seconds.
        """
        process = self._started()
        deadline = time.monotonic() + timeout
        while not (self._answers() and self._listens()):
            if process.poll() is not None:
                raise NodeFailed(f"the node ended with code {process.returncode}\n{self._tail()}")
            if time.monotonic() > deadline:
                raise NodeFailed(f"the node was not ready after {timeout:.0f} s\n{self._tail()}")
            time.sleep(_POLL_INTERVAL)
        return self

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """Send SIGTERM, wait for the end and return the exit code; a node that has ended already is fine.

        Raises:
            NodeFailed: It did not end within `timeout` seconds (it is then killed).
        """
        process = self._started()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        return self.wait_end(timeout)

    def kill(self) -> None:
        """End the node and its own children at once by SIGKILL, like a power cut for this process."""
        process = self._started()
        self._kill_group()
        process.wait()

    def wait_end(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait until the process has ended by itself and return its exit code.

        Raises:
            NodeFailed: It was still there after `timeout` seconds (it is then killed).
        """
        process = self._started()
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NodeFailed(f"the node did not end within {timeout:.0f} s\n{self._tail()}") from None
        finally:
            self._kill_group()
            process.wait()

    def log_text(self) -> str:
        """Everything the node has printed so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def __enter__(self) -> Self:
        try:
            return self.start().wait_ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the node was never started")
        return self._process

    def _kill_group(self) -> None:
        # The session was made for this node alone, so its process group holds only the node's own children;
        # once it has been ended, the number may belong to somebody else.
        if self._group_ended:
            return
        self._group_ended = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._started().pid, signal.SIGKILL)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.http_port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _listens(self) -> bool:
        try:
            socket.create_connection((HOST, self.stream_port), timeout=5).close()
        except OSError:
            return False
        return True

    def _tail(self) -> str:
        return f"--- log of the node ---\n{self.log_text()[-_LOG_TAIL:]}"
