# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the Web API is told when it is built; made from the node's settings by whoever wires the node."""

from dataclasses import dataclass
from typing import Literal

from planetmint.version import __version__

BlockView = Literal["auto", "heights", "block"]
"""Forms of the answer to `GET /blocks?transaction_id=` (http-api 7.3)."""

STREAMS_PATH = "/api/v1/streams/"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Bounds and texts of the Web API.

    Attributes:
        max_body_bytes: Longest body with one transaction, and longest line of a bulk body.
        bulk_max_lines: Most transactions in one bulk body; empty lines do not count.
        bulk_max_bytes: Longest bulk body.
        block_by_transaction: Form of the answer where the request does not ask for one.
        stream_scheme, stream_host, stream_port: Advertised address of the event stream (event-stream ES-4).
        stream_names, stream_parameters: Streams and their query parameters as advertised (event-stream EX-13);
            both come from the streams' own catalogue.
        version: Of the node.
        docs_url: Where people find the manual.
    """

    max_body_bytes: int = 1_048_576
    bulk_max_lines: int = 10_000
    bulk_max_bytes: int = 64 * 1024 * 1024
    block_by_transaction: BlockView = "auto"
    stream_scheme: str = "ws"
    stream_host: str = "localhost"
    stream_port: int = 9985
    stream_names: tuple[str, ...] = ("valid_transactions", "valid_blocks")
    stream_parameters: tuple[str, ...] = ()
    version: str = __version__
    docs_url: str = "https://docs.planetmint.io/"

    def stream_url(self, name: str) -> str:
        """Advertised URL of a stream; the port is always written (event-stream ES-4)."""
        host = f"[{self.stream_host}]" if ":" in self.stream_host else self.stream_host
        return f"{self.stream_scheme}://{host}:{self.stream_port}{STREAMS_PATH}{name}"
