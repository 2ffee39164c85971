# SPDX-License-Identifier: AGPL-3.0-or-later
"""How to start a Tarantool server of a node's own; who starts and watches it is the runtime."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planetmint.storage.tarantool.address import Address

MEGABYTE = 1024 * 1024

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Instance:
    """A server in a folder.

    Attributes:
        folder: For its files; must exist.
        address: Where it listens, and the user that it makes with the right to execute our procedures alone.
            A Unix socket's path can have 107 bytes.
        memory: Bytes that rows and indexes may take; some 1 GB holds a million small transactions.
        program: Tarantool.
    """

    folder: Path
    address: Address
    memory: int = 1024 * MEGABYTE
    program: str = "tarantool"

    @property
    def command(self) -> tuple[str, ...]:
        """What to run. It stays in the foreground, logs to stderr and stops on SIGTERM."""
        return (self.program, str(_HERE / "instance.lua"))

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What to run it with: `base` and the settings."""
        told = {
            "DIR": str(self.folder),
            "MEMORY": str(self.memory),
            "USER": self.address.user,
            "PASSWORD": self.address.password or "",
            "PROCEDURES": str(_HERE / "procedures.lua"),
            "INSTALL": str(_HERE / "install.lua"),
        }
        if self.address.socket is not None:
            told["SOCKET"] = str(self.address.socket)
        else:
            told["LISTEN"] = f"{self.address.host}:{self.address.port}"
        return {**base, **{f"PLANETMINT_TARANTOOL_{name}": value for name, value in told.items()}}
