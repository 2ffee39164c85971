# SPDX-License-Identifier: AGPL-3.0-or-later
"""The real contract engine, in the node's own sandbox, for tests that ask it one question after the other."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from planetmint.ports.contracts import Patience
from planetmint.testing.ledger import Engine
from tests.support.contract_pool import contract_pool


@contextmanager
def contract_engine() -> Iterator[Engine]:
    """A function that runs a contract to its end, however long that takes on a busy machine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="contract engine of a test")
    thread.start()
    pools = contract_pool()
    try:
        pool = asyncio.run_coroutine_threadsafe(pools.__aenter__(), loop).result()
        try:
            yield (
                lambda call: (
                    asyncio.run_coroutine_threadsafe(pool.run(call, Patience.DECIDED), loop).result().answer
                )
            )
        finally:
            asyncio.run_coroutine_threadsafe(pools.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
