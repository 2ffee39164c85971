# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operator may set about the stream port."""

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Bounds and intervals of the stream port.

    Attributes:
        max_connections: Subscribers at one time, 1 or more; the next handshake is answered with 503 (ES-17).
        ping_interval: Seconds between the node's pings; who answers none of two is dropped (ES-13).
        max_message_bytes: Longest message that a client may send before it is closed with 1009 (ES-15).
        stall_timeout: Seconds that a socket may take nothing before it is closed with 1013 (ES-28).
        head_timeout: Seconds that a client has for its request.
        high_water: Bytes waiting for one subscriber above which it is no longer served live but, when it has
            taken them, from the store. Its memory is bounded by this and one block or page of history.
        tls: Makes the port speak TLS.
    """

    max_connections: int = 20_000
    ping_interval: float = 30.0
    max_message_bytes: int = 64 * 1024
    stall_timeout: float = 30.0
    head_timeout: float = 10.0
    high_water: int = 64 * 1024
    tls: ssl.SSLContext | None = None
