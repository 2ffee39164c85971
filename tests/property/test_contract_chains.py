# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever the engines of single nodes stop, lose or delay: every node gives a decided block the same outcome.

Nodes of one chain over different stores are driven through random checks, proposals, blocks and crashes, some of
them at the same time. At admission and in proposals their engines overrun and fail at random, each by its own
dice; for a decided block they only fail for a while. The rules by themselves, in plain order and with an engine
that never stops anything, say what must come out (transactions 6).
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from planetmint.app import BlockLifecycle, CommittedFeed, SignatureCache, Verifier
from planetmint.app.contracts import ContractJudge
from planetmint.chain import found_chain, founding_header
from planetmint.contracts import ContractCall, EngineAnswer
from planetmint.model.errors import InvalidTransaction
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractError, ContractOverrun, ContractsUnavailable
from planetmint.ports.store import Store
from planetmint.rules import decode_canonical
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.build import Built
from planetmint.testing.ledger import BlockLedger
from tests.support.ledger import ALONE, PUBLIC, START
from tests.support.scripted_engine import PARAMETERS, SCRIPTED, ScriptedEngine, code, guarded, scripted

HEIGHTS = 12
MOST = PARAMETERS.contracts.max_per_block

Outcome = tuple[list[tuple[str, str] | None], str]
"""Class and rule of each verdict, and the app hash."""


class MoodyEngine(ScriptedEngine):
    """Stops runs by dice of its own; whatever comes to its end is answered as everywhere."""

    def __init__(self, dice: random.Random, width: int) -> None:
        super().__init__(width)
        self._dice = dice

    def answer(self, call: ContractCall, patience: Patience) -> EngineAnswer:
        roll = self._dice.random()
        if roll < 0.2:
            raise ContractsUnavailable("a worker was lost")
        if roll < 0.5 and patience is not Patience.DECIDED:
            raise ContractOverrun("this machine is slow today")
        return super().answer(call, patience)


class Node:
    """One node of the chain; a crash leaves its store alone."""

    def __init__(self, store: Store, dice: random.Random, width: int) -> None:
        self._store = store
        self._dice = dice
        self._width = width
        self._verifier: Verifier | None = None
        self.lifecycle: BlockLifecycle

    async def begin(self) -> None:
        self.end()
        judge = ContractJudge(MoodyEngine(self._dice, self._width))
        self._verifier = Verifier(SignatureCache(1_000), threads=1, contracts=judge)
        self.lifecycle = BlockLifecycle(self._store, CommittedFeed(self._store), self._verifier)
        founding = found_chain("tests", PARAMETERS, ALONE, START)
        await self.lifecycle.init_chain(founding, founding_header(founding, PUBLIC))

    def end(self) -> None:
        if self._verifier is not None:
            self._verifier.close()

    async def decide(self, height: int, raws: Sequence[bytes]) -> Outcome:
        while True:
            try:
                block = await self.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
            except ContractsUnavailable:
                if self._dice.random() < 0.1:
                    await self.begin()
                continue
            return [None if item is None else (item.code, item.rule) for item in block.verdicts], block.app_hash


def transactions() -> list[Built]:
    """Good and bad contracts, some that build on one another, some that bring several, and ordinary ones."""
    first = scripted("agrees first")
    draft = SCRIPTED.draft_transfer([first.spend()], [(3, "bob")])
    second, third = (draft.scripted({}, ["ok"], code=code(words)).signed() for words in ("agrees 2", "differs 2"))
    rival = SCRIPTED.transfer([first.spend()], [(3, "carol")])
    plain = SCRIPTED.create("alice", data="plain")
    chain = [first, second, third, rival, plain, SCRIPTED.transfer([plain.spend()], [(1, "bob")])]
    chain += [scripted(f"agrees {number}", f"owner-{number}") for number in range(8)]
    chain += [scripted(f"{word} {number}") for word in ("differs", "fails") for number in range(3)]
    chain += [guarded([f"agrees {number}", f"agrees {number + 1}"]) for number in (3, 5, 7)]
    return [*chain, guarded(["1 agrees ", "2 differs", "3 agrees "]), guarded([f"agrees {n}" for n in range(4)])]


ALL = transactions()


def some(dice: random.Random) -> list[bytes]:
    chosen = [item.canonical for item in dice.choices(ALL, k=dice.randrange(1, 12))]
    return [*chosen, b'{"script":', ALL[0].canonical[:-1]] if dice.random() < 0.2 else chosen


async def anything(node: Node, height: int, dice: random.Random, found: list[list[bytes]]) -> None:
    """One call or crash; what it says of contracts may differ from node to node."""
    raws = some(dice)
    match dice.randrange(5):
        case 0 | 1:
            for raw, verdict in zip(raws, await node.lifecycle.check_txs(raws), strict=True):
                assert not isinstance(verdict, ContractError) or b'"script":' in raw
        case 2:
            chosen = await node.lifecycle.prepare_proposal(raws, 4_000_000)
            assert set(chosen) <= set(raws)
            found.append(chosen)
        case 3:
            await node.lifecycle.process_proposal(height, raws)
        case 4:
            await node.begin()


def excess(raws: Sequence[bytes]) -> list[bool]:
    """Which transactions of a block bring more contracts than it has room for."""
    taken, over = 0, []
    for raw in raws:
        try:
            count = decode_canonical(raw, PARAMETERS).contracts
        except InvalidTransaction:
            count = 0
        over.append(taken + count > MOST)
        taken += 0 if over[-1] else count
    return over


def expected(ledger: BlockLedger, raws: Sequence[bytes]) -> list[tuple[str, str] | None]:
    """What the rules say by themselves."""
    over = excess(raws)
    result = ledger.block(*(raw for raw, left in zip(raws, over, strict=True) if not left))
    rest = iter(result.verdicts)
    verdicts: list[tuple[str, str] | None] = []
    for left in over:
        verdict = None if left else next(rest)
        verdicts.append(("InvalidScript", "contract.block") if left else verdict and (verdict.code, verdict.rule))
    return verdicts


@pytest.mark.parametrize("seed", range(12))
async def test_every_node_decides_alike_whatever_its_own_engine_stops(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    stores: list[Store] = [MemoryStore(), SqliteStore(tmp_path / "one.db"), MemoryStore()]
    nodes = [Node(store, random.Random(seed * 10 + n), n + 1) for n, store in enumerate(stores)]
    honest = ScriptedEngine()
    ledger = BlockLedger(ALONE, parameters=PARAMETERS, engine=lambda call: honest.answer(call, Patience.DECIDED))
    for store, node in zip(stores, nodes, strict=True):
        await store.open()
        await node.begin()
    for height in range(1, HEIGHTS + 1):
        found: list[list[bytes]] = [some(dice)]
        for node in nodes:
            for _ in range(dice.randrange(4)):
                await anything(node, height, dice, found)
        raws = dice.choice(found)
        # While a block is decided, the mempool's connection asks on.
        answers = [node.decide(height, raws) for node in nodes]
        checks = asyncio.gather(*(node.lifecycle.check_txs(some(dice)) for node in nodes), return_exceptions=True)
        outcomes = await asyncio.gather(*answers)
        # Those of a node that crashed meanwhile have ended with it.
        assert all(isinstance(answer, (list, asyncio.CancelledError)) for answer in await checks)
        assert outcomes[0][0] == expected(ledger, raws)
        assert all(outcome == outcomes[0] for outcome in outcomes)
        for node in nodes:
            if dice.random() < 0.2:
                await node.begin()
                assert await node.decide(height, raws) == outcomes[0], "a crash before the commit changes nothing"
            await node.lifecycle.commit()
    for store, node in zip(stores, nodes, strict=True):
        node.end()
        await store.close()


def test_the_blocks_of_these_chains_show_every_outcome() -> None:
    dice = random.Random(7)
    honest = ScriptedEngine()
    ledger = BlockLedger(ALONE, parameters=PARAMETERS, engine=lambda call: honest.answer(call, Patience.DECIDED))
    seen = {verdict for _ in range(60) for verdict in expected(ledger, some(dice))}
    rules = {None if verdict is None else verdict[1] for verdict in seen}
    assert rules >= {None, "contract.output", "contract.failed", "contract.block"}
