# SPDX-License-Identifier: AGPL-3.0-or-later
"""Legal sequences of ABCI calls, made from the engine's published grammar, crashes included, over every store.

Each function that yields steps is a rule of the grammar and has its name there. The engine of these tests keeps
what the real one keeps on its disk: the decided blocks and their results, saved between FinalizeBlock and Commit.
A crash ends engine, server and life cycle at any moment, in the middle of a call too; then everything is made anew
over the same store, and the engine replays what the node has not.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import pytest

from planetmint.app import BlockLifecycle, CommittedFeed, SignatureCache, Verifier
from planetmint.app.contracts import ContractJudge
from planetmint.consensus.cometbft import CometEngine
from planetmint.consensus.cometbft import abci_pb2 as pb
from planetmint.ports.store import Store
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from planetmint.storage.tarantool import TarantoolStore
from planetmint.testing.build import Builder, Dialect
from tests.support.abci import (
    COMMIT,
    FLUSH,
    AbciClient,
    app_state,
    check_tx,
    finalize,
    info,
    init_chain,
    prepare,
    process,
)
from tests.support.scripted_engine import PARAMETERS, ScriptedEngine, scripted
from tests.support.tarantool import Server
from tests.support.tarantool import running as tarantool

HEIGHTS = 8
GENESIS = app_state(replace(PARAMETERS, contracts=replace(PARAMETERS.contracts, max_per_block=100)))
CRASHES = 0.06
"""Probability that a call is not survived."""


class Step(Enum):
    """The terminals of the grammar within a height; init-chain and info are the handshake's."""

    PREPARE_PROPOSAL = "prepare-proposal"
    PROCESS_PROPOSAL = "process-proposal"
    EXTEND_VOTE = "extend-vote"
    GOT_VOTE = "got-vote"
    DECIDE = "decide"
    COMMIT = "commit"


Steps = Iterator[Step]


def consensus_height(rng: random.Random) -> Steps:
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        yield from consensus_round(rng)
    yield Step.DECIDE
    yield Step.COMMIT


def consensus_round(rng: random.Random) -> Steps:
    yield from proposer(rng) if rng.random() < 0.5 else non_proposer(rng)


def proposer(rng: random.Random) -> Steps:
    yield from got_votes(rng)
    if rng.random() < 0.8:
        yield Step.PREPARE_PROPOSAL
        if rng.random() < 0.9:
            yield Step.PROCESS_PROPOSAL
    if rng.random() < 0.5:
        yield from extend(rng)


def non_proposer(rng: random.Random) -> Steps:
    yield from got_votes(rng)
    if rng.random() < 0.8:
        yield Step.PROCESS_PROPOSAL
    if rng.random() < 0.5:
        yield from extend(rng)


def extend(rng: random.Random) -> Steps:
    yield from got_votes(rng)
    yield Step.EXTEND_VOTE
    yield from got_votes(rng)


def got_votes(rng: random.Random) -> Steps:
    for _ in range(rng.choice((0, 0, 1, 3))):
        yield Step.GOT_VOTE


def transactions() -> list[bytes]:
    """What the blocks hold: valid, conflicting, repeated and senseless ones, some with contracts."""
    build = Builder(Dialect.PLANETMINT_2)
    first = build.create("alice", [(5, "alice"), (3, "bob")])
    second = build.transfer([first.spend()], [(5, "carol")])
    rival = build.transfer([first.spend()], [(5, "dora")])
    third = build.transfer([second.spend()], [(2, "alice"), (3, "bob")])
    others = [build.create(f"owner-{number}") for number in range(10)]
    contracts = [scripted(f"{word} {number}") for word in ("agrees", "differs", "fails") for number in range(2)]
    found = [item.canonical for item in (first, second, rival, third, *others, *contracts)]
    return [*found, b"", b"\xff\x00", b"{}", first.canonical[:-1], b" " + second.canonical]


TRANSACTIONS = transactions()


class Crash(Exception):
    """Engine and node have ended."""


@dataclass
class Engine:
    """What the engine has on its disk; heights begin at 1.

    Attributes:
        blocks: Decided blocks, saved before FinalizeBlock.
        results: Their results, saved before Commit.
        committed: How many of them the node has acknowledged.
    """

    rng: random.Random
    blocks: list[list[bytes]] = field(default_factory=list)
    results: dict[int, bytes] = field(default_factory=dict)
    committed: int = 0
    crashes: int = 0
    hashes: dict[int, bytes] = field(default_factory=dict)

    async def run(self, node: Callable[[], "NodeContext"]) -> None:
        """Begin again after every crash until the chain has so many heights."""
        while self.committed < HEIGHTS:
            async with node() as address:
                with suppress(Crash):
                    await self._live(await _Connections.open(address))
        async with node() as address:
            self.crashes = -10_000  # no more of them: the end is looked at
            await self._handshake(await _Connections.open(address))

    async def _live(self, node: "_Connections") -> None:
        try:
            await self._handshake(node)
            while self.committed < HEIGHTS:
                for step in consensus_height(self.rng):
                    await self._anything(node)
                    await self._step(step, node)
        finally:
            await node.close()

    async def _handshake(self, node: "_Connections") -> None:
        """recovery: Info, then InitChain where the node has nothing, then every block that it has not."""
        answer = (await self._call(node.query, info())).info
        height = answer.last_block_height
        assert self.committed <= height <= len(self.blocks), "the node has forgotten, or made up, a block"
        if height:
            assert answer.last_block_app_hash == self.hashes[height]
        self.committed = height
        if height == 0:
            begun = (await self._call(node.consensus, init_chain(app_state=GENESIS))).init_chain
            assert self.hashes.setdefault(0, begun.app_hash) == begun.app_hash
        while self.committed < len(self.blocks):
            await self._decide(node)
            await self._commit(node)

    async def _step(self, step: Step, node: "_Connections") -> None:
        height = self.committed + 1
        match step:
            case Step.PREPARE_PROPOSAL:
                mempool = self._some()
                chosen = (await self._call(node.consensus, prepare(height, mempool))).prepare_proposal.txs
                assert set(chosen) <= set(mempool)
            case Step.PROCESS_PROPOSAL:
                vote = (await self._call(node.consensus, process(height, self._some()))).process_proposal
                assert vote.status == 1
            case Step.EXTEND_VOTE:
                await self._call(node.consensus, pb.Request(extend_vote=pb.Nothing()))
            case Step.GOT_VOTE:
                request = pb.Request(verify_vote_extension=pb.VerifyVoteExtension())
                assert (await self._call(node.consensus, request)).verify_vote_extension.status == 1
            case Step.DECIDE:
                self.blocks.append(self._some())
                await self._decide(node)
            case Step.COMMIT:
                await self._commit(node)

    async def _decide(self, node: "_Connections") -> None:
        height = self.committed + 1
        answer = (await self._call(node.consensus, finalize(height, self.blocks[height - 1]))).finalize_block
        assert len(answer.tx_results) == len(self.blocks[height - 1])
        result = answer.SerializeToString()
        assert self.results.setdefault(height, result) == result, "the same block had two outcomes"
        self.hashes[height] = answer.app_hash

    async def _commit(self, node: "_Connections") -> None:
        await self._call(node.consensus, COMMIT)
        self.committed += 1
        waiting = self._some()
        node.mempool.send(*(check_tx(raw, recheck=True) for raw in waiting), FLUSH)
        for _ in (*waiting, FLUSH):
            await node.mempool.receive()

    async def _anything(self, node: "_Connections") -> None:
        """A call that the grammar leaves out because it can come at any point."""
        if self.rng.random() < 0.5:
            return
        raw = self.rng.choice(TRANSACTIONS)
        client, request = self.rng.choice(
            [
                (node.mempool, check_tx(raw)),
                (node.mempool, check_tx(raw, recheck=True)),
                (node.query, info()),
                (node.query, pb.Request(echo=pb.Echo(message="x"))),
                (node.query, pb.Request(query=pb.Query(path="/height"))),
                (node.query, pb.Request(list_snapshots=pb.Nothing())),
                (node.query, pb.Request(load_snapshot_chunk=pb.LoadSnapshotChunk(height=1))),
            ]
        )
        answer = await self._call(client, request)
        if answer.WhichOneof("value") == "info":
            assert answer.info.last_block_height == self.committed

    async def _call(self, client: AbciClient, request: pb.Request) -> pb.Response:
        if self.crashes >= 0 and self.rng.random() < CRASHES:
            self.crashes += 1
            if self.rng.random() < 0.7:
                client.send(request)
                for _ in range(self.rng.randrange(4)):
                    await asyncio.sleep(0)
            raise Crash
        return await client.call(request)

    def _some(self) -> list[bytes]:
        return self.rng.sample(TRANSACTIONS, self.rng.randrange(6)) + self.rng.choices(TRANSACTIONS, k=1)


@dataclass
class _Connections:
    consensus: AbciClient
    mempool: AbciClient
    query: AbciClient

    @classmethod
    async def open(cls, address: object) -> "_Connections":
        return cls(*[await AbciClient.connect(address) for _ in range(3)])  # type: ignore[arg-type]

    async def close(self) -> None:
        for client in (self.consensus, self.mempool, self.query):
            await client.close()


class NodeContext:
    """A node over a store, for as long as it lives."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __aenter__(self) -> object:
        await self._store.open()
        # What an engine remembers ends with its node.
        self._verifier = Verifier(SignatureCache(1_000), threads=1, contracts=ContractJudge(ScriptedEngine()))
        self.feed = CommittedFeed(self._store)
        lifecycle = BlockLifecycle(self._store, self.feed, self._verifier)
        await lifecycle.load()
        self._engine = CometEngine("tcp://127.0.0.1:0", "http://127.0.0.1:1")
        await self._engine.start(lifecycle)
        return self._engine.address

    async def __aexit__(self, *failure: object) -> None:
        assert self._engine.task is not None
        broken = self._engine.task.done()
        await self._engine.stop()
        self._verifier.close()
        await self._store.close()
        assert not broken, "the node would have ended"


Stores = Callable[[], Store]


def play(seed: int, stores: Stores) -> Engine:
    """One life of a chain over stores that hold the same data."""
    engine = Engine(random.Random(seed))
    asyncio.run(asyncio.wait_for(engine.run(lambda: NodeContext(stores())), 120))
    assert engine.committed == len(engine.blocks) >= HEIGHTS
    return engine


def without_crashes(engine: Engine) -> dict[int, bytes]:
    """The hashes of the same blocks on a node that nothing ever happens to."""
    plain = Engine(random.Random(0), blocks=engine.blocks, crashes=-10_000)

    async def replay() -> None:
        async with NodeContext(MemoryStore()) as address:
            await plain._handshake(await _Connections.open(address))

    asyncio.run(replay())
    assert plain.results == engine.results
    return plain.hashes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tarantool(tmp_path_factory.mktemp("tarantool")) as started:
        yield started


@pytest.mark.parametrize("seed", range(12))
def test_any_legal_sequence_with_crashes_gives_the_chain_of_its_blocks_over_memory(seed: int) -> None:
    store = MemoryStore()
    engine = play(seed, lambda: store)
    assert engine.hashes == without_crashes(engine)


@pytest.mark.parametrize("seed", range(100, 106))
def test_any_legal_sequence_with_crashes_gives_the_chain_of_its_blocks_over_sqlite(
    seed: int, tmp_path: Path
) -> None:
    engine = play(seed, lambda: SqliteStore(tmp_path / "ledger.db"))
    assert engine.hashes == without_crashes(engine)


@pytest.mark.parametrize("seed", range(200, 204))
def test_any_legal_sequence_with_crashes_gives_the_chain_of_its_blocks_over_tarantool(
    seed: int, server: Server
) -> None:
    server.empty()
    engine = play(seed, lambda: TarantoolStore(server.address))
    assert engine.hashes == without_crashes(engine)


def test_the_sequences_hold_crashes_replays_and_every_call_of_the_grammar() -> None:
    rng = random.Random(1)
    steps = {step for _ in range(200) for step in consensus_height(rng)}
    assert steps == set(Step)
    store = MemoryStore()
    assert play(1, lambda: store).crashes != 0
