# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a Tarantool server is, who logs in there, and how long that may take."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Address:
    """A server and a login.

    Attributes:
        host, port: TCP; not used where there is a socket.
        socket: Path of a Unix socket.
        login: User name; None: `guest`.
        password: Of that user; never shown.
        connection_timeout: Seconds that one attempt to connect may take.
        max_tries: Attempts to connect; 0: for ever.
        reconnect_delay: Seconds between two attempts.
        request_timeout: Seconds after which a request without an answer has failed.
    """

    host: str = "localhost"
    port: int = 3303
    socket: Path | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    connection_timeout: float = 5.0
    max_tries: int = 3
    reconnect_delay: float = 0.5
    request_timeout: float = 30.0

    @property
    def user(self) -> str:
        """Who logs in."""
        return self.login or "guest"

    def __str__(self) -> str:
        return f"Tarantool at {self.socket}" if self.socket else f"Tarantool at {self.host}:{self.port}"
