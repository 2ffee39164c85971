# SPDX-License-Identifier: AGPL-3.0-or-later
"""A Tarantool server for a test, on a Unix socket in a folder of its own, started as the node starts its own."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from planetmint.storage.tarantool import Address, Instance, drop

PASSWORD = "a secret of the tests"


class Server:
    """A server that can be stopped, killed and started again over the same files.

    Args:
        folder: For its files. The socket stands in a folder with a short name: its path may have 107 bytes.
    """

    def __init__(self, folder: Path, *, password: str = PASSWORD, memory: int = 256 * 1024 * 1024) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._sockets = tempfile.TemporaryDirectory(prefix="tnt-")
        self.log = folder / "server.log"
        self.address = Address(
            socket=Path(self._sockets.name) / "tarantool.sock",
            login="planetmint",
            password=password,
            max_tries=100,
            reconnect_delay=0.1,
        )
        self.instance = Instance(folder, self.address, memory)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; who connects waits until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.instance.command,
                env=self.instance.environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """End it and wait until it has ended; nothing where it does not run."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it at once, without a chance to write anything."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop it and remove its socket."""
        self.stop()
        with suppress(OSError):
            self._sockets.cleanup()

    def empty(self) -> None:
        """Delete what the server holds, so that the next test finds nothing."""
        asyncio.run(drop(self.address))


@contextmanager
def running(folder: Path, **settings: int | str) -> Iterator[Server]:
    """A server that runs for the time of the block."""
    server = Server(folder, **settings)  # type: ignore[arg-type]
    server.start()
    try:
        yield server
    finally:
        server.close()
