# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every user does first: subscribe, post a transaction with mode=commit, see it on the stream.

A program of its own (`python -m tests.support.first_client HTTP STREAM [NAME]`), because the node may be in
another network namespace than the test. Prints the height of the block that the stream tells.
"""

import asyncio
import json
import os
import sys

import httpx
import websockets

from planetmint.testing.build import Builder, Dialect

TIMEOUT = 60


async def post_and_see(http: str, stream: str, name: str = "first") -> int:
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
                return int(event["height"])


if __name__ == "__main__":
    print(asyncio.run(post_and_see(*sys.argv[1:])))
