# SPDX-License-Identifier: AGPL-3.0-or-later
"""The event stream: every committed transaction, pushed to WebSocket subscribers on a port of its own.

`StreamServer` is the whole of it for the node that starts it; everything that decides what a subscriber is sent
(`subscription`, `filters`, `catalogue`, `query`, `frames`, `request`) is free of sockets. Source: event-stream.
"""

from planetmint.streams.server import StreamServer
from planetmint.streams.settings import StreamSettings

__all__ = ["StreamServer", "StreamSettings"]
