# SPDX-License-Identifier: AGPL-3.0-or-later
"""The protocol suite for WebSocket servers against the stream port.

Run it by `python -m tests.functional.streams_conformance`. The suite (`kosoku`, the cases of Autobahn) gets an
environment of its own under .cache/. It expects a server that sends messages back, which a stream never does:
the port is run with connections that echo, everything else being the product's own.
Cases about size, speed and compression (9, 12, 13) are left out: messages are bounded, and no extension is spoken.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path

from wsproto.events import BytesMessage, TextMessage

from planetmint.streams import StreamServer, StreamSettings, request, server
from planetmint.streams.catalogue import STREAMS
from planetmint.streams.connection import Connection
from planetmint.streams.incoming import Incoming
from tests.unit.streams.world import HOST, MemoryFeed, server_frame

SUITE = "kosoku==0.1.0"
ENVIRONMENT = Path(__file__).resolve().parents[2] / ".cache" / "kosoku"
LEFT_OUT = ("9.*", "12.*", "13.*")
GOOD = {"OK", "INFORMATIONAL", "NON-STRICT"}
_TIMEOUT = 300


class EchoIncoming(Incoming):
    """Sends back what the product throws away."""

    __slots__ = ("_pieces", "_to")

    def __init__(self, to: Connection) -> None:
        super().__init__(1 << 24)
        self._to = to
        self._pieces: list[bytes] = []

    def _too_long(self, event: TextMessage | BytesMessage) -> bool:
        data = event.data
        self._pieces.append(data.encode() if isinstance(data, str) else bytes(data))
        if event.message_finished:
            payload = b"".join(self._pieces)
            self._pieces.clear()
            self._to._write(server_frame(1 if isinstance(event, TextMessage) else 2, payload))
        return super()._too_long(event)


class EchoConnection(Connection):
    """A connection of the stream port that echoes."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        if self._streaming and self._incoming is None:
            self._incoming = EchoIncoming(self)
        super().data_received(data)


def suite() -> Path:
    """Path of the suite's program; makes its environment where there is none."""
    program = ENVIRONMENT / "bin" / "kosoku"
    if not program.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([ENVIRONMENT / "bin" / "pip", "install", "--quiet", SUITE], check=True)
    return program


async def run_suite(out: Path) -> None:
    """Run every case against an echoing stream port; reports go to `out`."""
    server.Connection = EchoConnection  # type: ignore[misc]
    request._stream = lambda path: STREAMS["valid_transactions"]  # the suite asks for `/`
    port = StreamServer(MemoryFeed(), StreamSettings(high_water=1 << 26))
    await port.start(HOST, 0)
    left_out = [argument for pattern in LEFT_OUT for argument in ("-x", pattern)]
    process = await asyncio.create_subprocess_exec(
        suite(), "-m", "fuzzingclient", *left_out, "-p", "2", "-o", out, f"{HOST}:{port.port}",
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(_TIMEOUT):
        await process.wait()
    await port.stop()


def main() -> int:
    """Print the outcome; 0 when no case failed."""
    suite()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run_suite(Path(folder)))
        (cases,) = json.loads((Path(folder) / "index.json").read_text()).values()
    outcomes = Counter(case["behavior"] for case in cases.values())
    print(f"{len(cases)} cases: {dict(outcomes)}")
    bad = {
        name: case
        for name, case in cases.items()
        if case["behavior"] not in GOOD or case.get("behaviorClose", "OK") not in GOOD
    }
    for name, case in bad.items():
        print(f"{name}: {case['behavior']}, close {case.get('behaviorClose')}")
    return 1 if bad or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
