# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every user does first: subscribe, post a transaction with mode=commit, see it on the stream.

Programs of their own, because the node may be in another network namespace than the test:
`python -m tests.support.first_client post HTTP STREAM [NAME]` prints the height of the block that the stream
tells, `... hear STREAM HEIGHT` all from the first block up to that one, as JSON: pairs of height and index.
"""

import asyncio
import json
import os
import sys

import httpx
import websockets

from planetmint.testing.build import Builder, Dialect

TIMEOUT = 60


async def post(http: str, stream: str, name: str = "first") -> str:
    """Post a CREATE to the Web API at `http` and find it on `stream`; the height of its block."""
    built = Builder(Dialect.BIGCHAINDB).create(name, data={"n": os.urandom(8).hex()})
    async with websockets.connect(stream) as subscriber, httpx.AsyncClient(timeout=TIMEOUT) as client:
        answer = await client.post(
            f"{http}/api/v1/transactions", params={"mode": "commit"}, content=built.canonical
        )
        assert answer.status_code == 202, (answer.status_code, answer.text)
        while True:
            event = json.loads(await asyncio.wait_for(subscriber.recv(), TIMEOUT))
            if event["transaction_id"] == built.id:
                return str(event["height"])


async def hear(stream: str, height: str) -> str:
    """Everything on `stream` from the first block up to the one at `height`."""
    heard: list[tuple[int, int]] = []
    async with websockets.connect(f"{stream}?from_height=1") as subscriber:
        while not heard or heard[-1][0] < int(height):
            event = json.loads(await asyncio.wait_for(subscriber.recv(), TIMEOUT))
            heard.append((event["height"], event["index"]))
    return json.dumps(heard)


if __name__ == "__main__":
    print(asyncio.run({"post": post, "hear": hear}[sys.argv[1]](*sys.argv[2:])))
