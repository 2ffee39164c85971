# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever a store does to the engine, nothing acknowledged is lost, nothing is there twice, nobody waits in vain.

A plan of faults is played against the calls of the store: errors, errors although the block is stored, blocks
that land later, heads and states that cannot be read.
"""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planetmint.app import Mode
from planetmint.chain import header_hash, verify_header
from planetmint.consensus.solo import SoloEngine
from planetmint.consensus.solo import engine as engine_module
from planetmint.model.block import BlockHeader, BlockRecord
from planetmint.model.errors import DoubleSpend, InvalidTransaction
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import CommitTimeout, EngineError, StoreError
from planetmint.ports.store import StateReads
from planetmint.storage.memory import MemoryStore
from planetmint.storage.snapshot import Snapshot
from planetmint.testing.build import Builder, Built, Dialect
from tests.support.ledger import SECRET, StepClock, running

BUILD = Builder(Dialect.PLANETMINT_2)
CREATES = [BUILD.create(f"owner-{number}", data=f"item {number}") for number in range(6)]
SPENDS = [BUILD.transfer([item.spend()], [(1, "bob")]) for item in CREATES]
RIVALS = [BUILD.transfer([item.spend()], [(1, "carol")]) for item in CREATES]


class Faulty(MemoryStore):
    """Plays plans of faults, one entry per call; without entries left all is well."""

    def __init__(self, saves: list[str], reads: list[bool], heads: list[bool]) -> None:
        super().__init__()
        self._saves, self._reads, self._heads = iter(saves), iter(reads), iter(heads)
        self._held: BlockRecord | None = None
        self.faults = False

    def _fault(self, plan: Iterator[bool]) -> None:
        if self.faults and next(plan, False):
            raise StoreError("no answer")

    async def save_block(self, block: BlockRecord) -> None:
        kind = next(self._saves, "good") if self.faults else "good"
        await asyncio.sleep(0)
        await self._land()
        if kind == "late":
            self._held = block
        elif kind != "refused":
            await super().save_block(block)
        if kind != "good":
            raise StoreError(kind)

    async def read_state(self, reads: StateReads) -> Snapshot:
        self._fault(self._reads)
        await self._land()
        return await super().read_state(reads)

    async def head(self) -> BlockHeader | None:
        self._fault(self._heads)
        return await super().head()

    async def _land(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await super().save_block(held)


async def submitted(app: object, item: Built) -> Transaction | Exception:
    """Submit until the store lets it in; the answer, or the verdict."""
    for _ in range(500):
        try:
            taken: Transaction = await app.submit(item.canonical, Mode.COMMIT)  # type: ignore[attr-defined]
            return taken
        except CommitTimeout:
            raise
        except (StoreError, EngineError):
            await asyncio.sleep(0.001)
        except InvalidTransaction as verdict:
            return verdict
    raise AssertionError("the store never let it in")


async def play(saves: list[str], reads: list[bool], heads: list[bool], size: int) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    store = Faulty(saves, reads, heads)
    engine = SoloEngine(SECRET, StepClock(), max_block_transactions=size)
    async with running(store, engine=engine, commit_timeout=60) as node:
        store.faults = True
        created = await asyncio.gather(*(submitted(node.app, item) for item in CREATES))
        spent = await asyncio.gather(*(submitted(node.app, item) for item in (*SPENDS, *RIVALS)))
        store.faults = False
        await engine.stop()
        check_answers(created, spent)
        await check_ledger(node.store, node.blocks)  # type: ignore[arg-type]
        assert node.lifecycle.head == await node.store.head()
        assert node.lifecycle._waiters == {}
        assert node.lifecycle._doubtful is None
        for answer, item in zip((*created, *spent), (*CREATES, *SPENDS, *RIVALS), strict=True):
            stored = await node.store.transaction(item.id) is not None
            assert stored == isinstance(answer, Transaction), answer
    await asyncio.sleep(0)
    assert complaints == []


def check_answers(created: list[Transaction | Exception], spent: list[Transaction | Exception]) -> None:
    assert all(isinstance(answer, Transaction) for answer in created)
    for one, other in zip(spent[: len(SPENDS)], spent[len(SPENDS) :], strict=True):
        kinds = sorted(type(answer).__name__ for answer in (one, other))
        assert kinds == sorted([Transaction.__name__, DoubleSpend.__name__]), kinds


async def check_ledger(store: MemoryStore, blocks: list[object]) -> None:
    """Heights without a hole, headers chained and signed, each transaction once, events as stored."""
    assert await store.events(1, 10_000) == tuple(blocks)
    previous = None
    seen: list[str] = []
    for height in range(len(blocks) + 1):
        summary = await store.summary(height)
        assert summary is not None
        assert verify_header(summary.header)
        if previous is not None:
            assert summary.header.previous_hash == header_hash(previous)
        previous = summary.header
        seen += summary.transaction_ids
    assert len(seen) == len(set(seen))


faults = st.lists(st.sampled_from(["good", "refused", "stored", "late"]), max_size=12)


@settings(max_examples=60, deadline=None)
@given(faults, st.lists(st.booleans(), max_size=10), st.lists(st.booleans(), max_size=10), st.integers(1, 4))
@example(["stored"] * 5, [], [True] * 5, 2)
@example(["late"] * 12, [False, True] * 5, [True] * 3, 1)
@example(["refused", "stored", "late"] * 4, [], [], 4)
def test_any_plan_of_faults_ends_well(saves: list[str], reads: list[bool], heads: list[bool], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "_FIRST_PAUSE", 0.0)
        asyncio.run(play(saves, reads, heads, size))
