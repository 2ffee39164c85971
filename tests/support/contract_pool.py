# SPDX-License-Identifier: AGPL-3.0-or-later
"""A started pool of contract workers around the engine of this environment, and calls for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from planetmint.contracts import ContractCall
from planetmint.contracts.call import Purpose
from planetmint.ports.contracts import Patience
from planetmint.sandbox import EngineKind, SandboxLimits, SandboxPool, find_engine

OK_SCRIPT = "Given nothing\nThen print the string 'ok'\n"


def installed_engine() -> EngineKind:
    """The engine of the `zenroom` package, which the test environment holds."""
    kind = find_engine()
    assert kind is not None, "the test environment lacks the package zenroom"
    return kind


@contextlib.asynccontextmanager
async def contract_pool(
    workers: int = 1, limits: SandboxLimits | None = None, kind: EngineKind | None = None
) -> AsyncIterator[SandboxPool]:
    """A pool that is up; closed at the end whatever happens."""
    pool = SandboxPool(kind or installed_engine(), limits or SandboxLimits(), workers)
    try:
        await pool.start()
        yield pool
    finally:
        await pool.close()


def call_of(
    script: str = OK_SCRIPT, data: str = "{}", keys: str | None = None, seed: bytes = bytes(64)
) -> ContractCall:
    """A call as the rules make them, for a script of a 3.0 transaction."""
    return ContractCall("script", Purpose.SCRIPT, script, data, keys, seed, expected=None)


async def _hold() -> None:
    """Two workers with contracts that do not end; prints the processes of the workers."""
    derive = "When I create the key derivation of 'a' with '2000000000' rounds\n"
    endless = "Given nothing\nWhen I write string 'a' in 'a'\n" + derive
    async with contract_pool(2, SandboxLimits(seconds=600)) as pool:
        while len(pool.pids) < 2:
            await asyncio.sleep(0.01)
        print(*pool.pids, flush=True)
        await asyncio.gather(*(pool.run(call_of(endless), Patience.ADMISSION) for _ in pool.pids))


if __name__ == "__main__":
    asyncio.run(_hold())
