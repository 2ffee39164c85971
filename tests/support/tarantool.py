# SPDX-License-Identifier: AGPL-3.0-or-later
"""A Tarantool server for a test, on a Unix socket in a folder of its own, started as the node starts its own."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from planetmint.storage.tarantool import Address, Instance, drop

PASSWORD = "a secret of the tests"
ADMIN_PASSWORD = "another secret of the tests"

_ADMINISTERED = f"""
dofile(arg[1])
box.schema.user.passwd('admin', '{ADMIN_PASSWORD}')
"""
"""Our own server, in which somebody else may do everything."""

_BARE = f"""
local folder, socket, wal_mode = arg[1], arg[2], arg[3]
box.cfg({{work_dir = folder, wal_mode = wal_mode, log_level = 4, listen = 'unix/:' .. socket}})
box.schema.user.passwd('admin', '{ADMIN_PASSWORD}')
"""
"""A server of somebody else, who knows nothing of us."""


class Server:
    """A server that can be stopped, killed and started again over the same files.

    Args:
        folder: For its files. The socket stands in a folder with a short name: its path may have 107 bytes.
        administered: `administrator` may log in.
        port: Listen there on 127.0.0.1 instead of a socket.
        bare: Start a server of somebody else instead, with this wal_mode; it is administered, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: str = PASSWORD,
        memory: int = 256 * 1024 * 1024,
        administered: bool = False,
        bare: str | None = None,
        port: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._sockets = tempfile.TemporaryDirectory(prefix="tnt-")
        self.log = folder / "server.log"
        self.address = Address(
            host="127.0.0.1",
            port=port or 0,
            socket=None if port else Path(self._sockets.name) / "tarantool.sock",
            login="planetmint",
            password=password,
            max_tries=100,
            reconnect_delay=0.1,
        )
        self.administrator = replace(self.address, login="admin", password=ADMIN_PASSWORD)
        self.instance = Instance(folder, self.address, memory)
        self.command = self.instance.command
        if bare is not None:
            socket = str(self.address.socket)
            self.command = (*_script(folder, _BARE), str(folder), socket, bare)
        elif administered:
            self.command = (*_script(folder, _ADMINISTERED), self.command[1])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; who connects waits until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
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

    def pause(self) -> None:
        """Let it do nothing until `resume`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its socket."""
        self.stop()
        with suppress(OSError):
            self._sockets.cleanup()

    def empty(self) -> None:
        """Delete what the server holds, so that the next test finds nothing. Not inside an event loop."""
        asyncio.run(drop(self.address))


def _script(folder: Path, text: str) -> tuple[str, str]:
    path = folder / "start.lua"
    path.write_text(text)
    return "tarantool", str(path)


@contextmanager
def running(folder: Path, **settings: int | str | bool) -> Iterator[Server]:
    """A server that runs for the time of the block."""
    server = Server(folder, **settings)  # type: ignore[arg-type]
    server.start()
    try:
        yield server
    finally:
        server.close()
