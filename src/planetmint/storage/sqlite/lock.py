# SPDX-License-Identifier: AGPL-3.0-or-later
"""One process at a time writes to a ledger; the lock ends with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planetmint.ports.errors import StoreError


def take(path: Path) -> int:
    """Keep other processes from writing to the ledger `path`.

    Returns:
        An open file that holds the lock until it is closed.

    Raises:
        StoreError: Another one has it, or no lock can be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{path} cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise StoreError(f"{path} is in use by another process: stop it, or use another data directory") from None
    return file


@contextmanager
def held(path: Path) -> Iterator[None]:
    """As `take`, for the time of the block."""
    file = take(path)
    try:
        yield
    finally:
        os.close(file)
