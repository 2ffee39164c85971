# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole node without its edges, in the test's own process: store, life cycle, engine, application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

from nacl.bindings import crypto_sign_seed_keypair

from planetmint.app import BlockLifecycle, CommittedFeed, Ledger, SignatureCache, Verifier
from planetmint.app.contracts import ContractJudge
from planetmint.chain import found_chain, founding_header, sign_header
from planetmint.consensus.solo import SoloEngine
from planetmint.model.block import BlockEvents, BlockRecord
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.ports.consensus import ChainInfo, Consensus
from planetmint.ports.errors import StoreError
from planetmint.ports.store import Store
from planetmint.storage.memory import MemoryStore

PUBLIC, SECRET = crypto_sign_seed_keypair(sha256(b"tests/validator").digest())
START = 1_700_000_000_000_000_000
ALONE = (Validator(PUBLIC, 10),)
"""The validators of a chain that one key makes alone."""


class StepClock:
    """A clock that moves one second with every look."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> int:
        self.time += 1_000_000_000
        return self.time


class FailingStore(MemoryStore):
    """A store that refuses blocks while `failure` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: StoreError | None = None
        self.refused = 0

    async def save_block(self, block: BlockRecord) -> None:
        if self.failure is not None:
            self.refused += 1
            raise self.failure
        await super().save_block(block)


@dataclass
class Running:
    """The parts of a running ledger, and every block that it published."""

    store: Store
    feed: CommittedFeed
    lifecycle: BlockLifecycle
    engine: SoloEngine
    verifier: Verifier
    app: Ledger
    blocks: list[BlockEvents]


@asynccontextmanager
async def running(
    store: Store | None = None,
    *,
    parameters: ChainParameters | None = None,
    validators: ValidatorSet = ALONE,
    engine: SoloEngine | None = None,
    contracts: ContractJudge | None = None,
    commit_timeout: float = 5.0,
    make_blocks: bool = True,
) -> AsyncIterator[Running]:
    """Run a ledger over `store` (memory by default), founding a chain of `validators` where there is none."""
    store = store or MemoryStore()
    await store.open()
    verifier = Verifier(SignatureCache(1_000), threads=2, contracts=contracts)
    feed = CommittedFeed(store)
    lifecycle = BlockLifecycle(store, feed, verifier)
    if not await lifecycle.load():
        founding = found_chain("tests", parameters or ChainParameters(), validators, START)
        await lifecycle.init_chain(founding, sign_header(founding_header(founding, PUBLIC), SECRET))
    engine = engine or SoloEngine(SECRET, StepClock())
    consensus: Consensus = engine
    app = Ledger(store, feed, lifecycle, consensus, verifier, commit_timeout=commit_timeout)
    blocks: list[BlockEvents] = []
    feed.attach(blocks.append)
    if make_blocks:
        await engine.start(lifecycle)
    try:
        yield Running(store, feed, lifecycle, engine, verifier, app, blocks)
    finally:
        await engine.stop()
        verifier.close()
        await store.close()


async def standing(node: Running) -> ChainInfo:
    """Where the application stands, on a chain that is founded."""
    info = await node.lifecycle.info()
    assert info is not None
    return info
