# SPDX-License-Identifier: AGPL-3.0-or-later
"""One process at a time works in a data folder.

The system lets go of the lock when that process ends, however it ends, so nobody ever has to remove a file.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from planetmint.runtime.settings import ConfigurationError

LOCK_FILE = "node.lock"
"""Name of the file in the data folder; it holds the process id of who has the lock, or of who had it last."""


@contextmanager
def data_folder(folder: Path) -> Iterator[Path]:
    """Make the folder where there is none, and keep every other node and command out of it.

    Raises:
        ConfigurationError: The folder cannot be used, or a node or another command works there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"data.dir: cannot use the folder `{folder}` ({error.strerror}). Make it writable, or set "
            "PLANETMINT_DATA_DIR to another one."
        ) from None
    try:
        _lock(handle, folder)
        yield folder
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise ConfigurationError(
            f"A node or command works with the data folder `{folder}` (process {owner}). Stop it first, or set "
            "PLANETMINT_DATA_DIR to another folder."
        ) from None
    with suppress(OSError):  # the number helps people only; a full disk must not keep the node from starting
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
