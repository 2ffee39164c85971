# SPDX-License-Identifier: AGPL-3.0-or-later
"""An application that does nothing, on the node's ABCI server: `python -m bench.abci_bare tcp://HOST:PORT`.

It takes every transaction, keeps nothing and forgets everything when it ends. What the engine does over it is what
the engine and our server cost together, without a ledger.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence

import uvloop

from planetmint.consensus.cometbft import CometEngine
from planetmint.model.block import BlockHeader, Founding
from planetmint.model.election import ChainRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.validator import ValidatorSet
from planetmint.ports.consensus import ChainInfo, FinalizedBlock, Migrated

APP_HASH = "00" * 32


class Nothing:
    """Implements `ports.Lifecycle` without a ledger."""

    def __init__(self) -> None:
        self._info: ChainInfo | None = None
        self._time = 0

    async def info(self) -> ChainInfo | None:
        """The height only."""
        return self._info

    async def init_chain(
        self, founding: Founding, header: BlockHeader, *, continues: Migrated | None = None
    ) -> str:
        """Any chain."""
        chain = ChainRecord(founding.chain_id)
        self._info = ChainInfo(0, APP_HASH, founding.time, chain, founding.validators)
        return APP_HASH

    async def begin_chain(self, chain_id: str, validators: ValidatorSet) -> str:
        """Never called: there is no migration."""
        return APP_HASH

    async def check_txs(self, raws: Sequence[bytes]) -> list[InvalidTransaction | None]:
        """All are fine."""
        return [None] * len(raws)

    def refused(self, raw: bytes, verdict: InvalidTransaction) -> None:
        """Nobody waits."""

    async def prepare_proposal(self, raws: Sequence[bytes], max_bytes: int) -> list[bytes]:
        """What the engine proposes."""
        return list(raws)

    async def process_proposal(self, height: int, raws: Sequence[bytes]) -> bool:
        """Always."""
        return True

    async def finalize_block(
        self, height: int, time: int, proposer: bytes, raws: Sequence[bytes]
    ) -> FinalizedBlock:
        """All are taken."""
        self._time = time
        return FinalizedBlock((None,) * len(raws), APP_HASH)

    async def commit(self, header: BlockHeader | None = None) -> None:
        """The next height."""
        if self._info is not None:
            before = self._info
            self._info = ChainInfo(before.height + 1, APP_HASH, self._time, before.chain, before.validators)

    async def settle(self) -> bool:
        """No block is ever in doubt."""
        return False

    async def discard(self) -> None:
        """Nothing is kept."""

    def header(self) -> BlockHeader:
        """A header without content."""
        return BlockHeader(0, self._time, "0" * 64, "0" * 64, APP_HASH, "")


async def serve(address: str) -> None:
    """Answer the engine until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    engine = CometEngine(address, "http://127.0.0.1:1")
    await engine.start(Nothing())
    await stopped.wait()
    await engine.stop()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
