# SPDX-License-Identifier: AGPL-3.0-or-later
"""What elections make of a chain, as engines see it: validator changes, the halt, and the beginning anew."""

from collections.abc import AsyncIterator

import pytest

from planetmint.app import BlockLifecycle, CommittedFeed, Mode
from planetmint.app.lifecycle import reads_of
from planetmint.chain import found_chain, founding_header
from planetmint.model.block import BlockRecord
from planetmint.model.election import ChainRecord
from planetmint.model.errors import DoubleSpend, InvalidProposer
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.ports.consensus import FinalizedBlock, Migrated
from planetmint.ports.errors import ChainHalted, ChainMismatch, StoreError
from planetmint.rules import decode_transaction
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import Builder, Built, Dialect, raw_key, validator_set
from tests.support.ledger import PUBLIC, START, Running, running, standing
from tests.support.stores import UnsureStore

BUILD = Builder(Dialect.PLANETMINT_2)
POWERS = {"v-1": 10, "v-2": 10, "v-3": 10, "v-4": 10}
VALIDATORS = validator_set(POWERS)
SECOND = 1_000_000_000


class Recording(MemoryStore):
    """Remembers the blocks that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[BlockRecord] = []

    async def save_block(self, block: BlockRecord) -> None:
        await super().save_block(block)
        self.records.append(block)


@pytest.fixture
async def node() -> AsyncIterator[Running]:
    async with running(Recording(), make_blocks=False, validators=VALIDATORS) as parts:
        yield parts


async def block_of(node: Running, *items: Built) -> FinalizedBlock:
    """Decide and store the next block, a second after the one before."""
    info = await standing(node)
    raws = [item.canonical for item in items]
    block = await node.lifecycle.finalize_block(info.height + 1, info.time + SECOND, PUBLIC, raws)
    await node.lifecycle.commit()
    assert block.verdicts == (None,) * len(items)
    return block


def votes(election: Built, *voters: str) -> list[Built]:
    """Each voter gives all that it has; they stand in the election's outputs in the order of the set."""
    indexes = [list(POWERS).index(voter) for voter in voters]
    return [BUILD.vote([election.spend(index)], amount=10) for index in indexes]


async def migrate(node: Running) -> Built:
    """Have a migration decided in the third block."""
    election = BUILD.migration_election(POWERS)
    await block_of(node, election)
    await block_of(node, *votes(election, "v-1", "v-2"))
    await block_of(node, *votes(election, "v-3"))
    return election


def test_what_a_vote_may_ask_names_its_election() -> None:
    election = BUILD.migration_election(POWERS)
    (vote,) = votes(election, "v-2")
    transactions = [decode_transaction(item.canonical, ChainParameters()) for item in (election, vote)]
    reads = reads_of(transactions)
    assert set(reads.elections) == {election.id}
    assert [ref.transaction_id for ref in reads.outputs] == [election.id]


# Validators


async def test_a_decided_change_goes_to_the_engine_and_into_the_next_heights_set(node: Running) -> None:
    election = BUILD.validator_election(POWERS, "new", 5)
    opened = await block_of(node, election)
    early = await block_of(node, *votes(election, "v-1", "v-2"))
    assert opened.validator_updates == early.validator_updates == ()
    decided = await block_of(node, *votes(election, "v-4"))
    added = Validator(raw_key("new"), 5)
    assert decided.validator_updates == (added,)
    assert (await standing(node)).validators == (*VALIDATORS, added)
    assert await node.store.validators() == (*VALIDATORS, added)
    (record,) = await node.store.elections()
    assert (record.votes, record.total, record.concluded_at) == (30, 40, 3)
    late = await block_of(node, *votes(election, "v-3"))
    assert late.validator_updates == ()


async def test_a_removal_goes_to_the_engine_as_power_0(node: Running) -> None:
    election = BUILD.validator_election(POWERS, "v-2", 0)
    await block_of(node, election)
    decided = await block_of(node, *votes(election, "v-1", "v-3", "v-4"))
    assert decided.validator_updates == (Validator(raw_key("v-2"), 0),)
    assert (await standing(node)).validators == tuple(
        item for item in VALIDATORS if item.public_key != raw_key("v-2")
    )


async def test_finalizing_a_deciding_block_again_has_the_same_outcome_and_changes_nothing(node: Running) -> None:
    election = BUILD.validator_election(POWERS, "new", 5)
    await block_of(node, election)
    raws = [item.canonical for item in votes(election, "v-1", "v-2", "v-3")]
    time = (await standing(node)).time + SECOND
    first = await node.lifecycle.finalize_block(2, time, PUBLIC, raws)
    assert await node.lifecycle.finalize_block(2, time, PUBLIC, raws) == first
    assert (await standing(node)).validators == VALIDATORS == await node.store.validators()


async def test_strangers_elections_and_second_votes_are_refused_in_every_call(node: Running) -> None:
    forged = BUILD.validator_election(POWERS, "new", 5, by="mallory")
    election = BUILD.validator_election(POWERS, "new", 5)
    await block_of(node, election)
    await block_of(node, *votes(election, "v-1"))
    again = BUILD.vote([election.spend(0)], amount=10, metadata="again")
    raws = [forged.canonical, again.canonical]
    kinds = [InvalidProposer, DoubleSpend]
    assert [type(verdict) for verdict in await node.lifecycle.check_txs(raws)] == kinds
    assert await node.lifecycle.prepare_proposal(raws, 10**6) == []
    block = await node.lifecycle.finalize_block(3, START + 60 * SECOND, PUBLIC, raws)
    assert [type(verdict) for verdict in block.verdicts] == kinds


# The halt


async def test_after_a_decided_migration_no_block_follows_and_reads_go_on(node: Running) -> None:
    election = await migrate(node)
    info = await standing(node)
    assert info.height == 3
    assert info.chain == ChainRecord("tests-migrated-at-height-2", shift=3, synced=False)
    later = BUILD.create("alice")
    assert not await node.lifecycle.process_proposal(4, [later.canonical])
    assert await node.lifecycle.prepare_proposal([later.canonical], 10**6) == []
    with pytest.raises(ChainHalted, match=r"chain migration in progress.* 'tests-migrated-at-height-2'"):
        await node.lifecycle.finalize_block(4, info.time + SECOND, PUBLIC, [later.canonical])
    assert await node.store.height_of(election.id) == 1
    assert [block.height for block in await node.feed.read(1, 100)] == [1, 2, 3]


async def test_while_the_chain_is_halted_submissions_are_refused_and_the_node_is_not_ready(node: Running) -> None:
    await migrate(node)
    with pytest.raises(ChainHalted, match="chain migration in progress"):
        await node.app.submit(BUILD.create("alice").canonical, Mode.ASYNC)

    async def lines() -> AsyncIterator[bytes]:
        yield BUILD.create("bob").canonical

    assert [type(outcome.error) async for outcome in node.app.submit_lines(lines(), Mode.ASYNC)] == [ChainHalted]
    health = node.app.health()
    assert not health.ready
    assert health.detail.startswith("chain migration in progress: ")


async def test_a_restarted_node_is_still_halted(node: Running) -> None:
    await migrate(node)
    again = BlockLifecycle(node.store, CommittedFeed(node.store), node.verifier)
    assert await again.load()
    assert again.halted is not None
    with pytest.raises(ChainHalted):
        await again.finalize_block(4, START + 60 * SECOND, PUBLIC, [])


# The beginning anew


@pytest.mark.parametrize("order", [VALIDATORS, VALIDATORS[::-1]])
async def test_an_engine_of_the_new_name_goes_on_whatever_the_order_of_validators(
    node: Running, order: ValidatorSet
) -> None:
    await migrate(node)
    before = await standing(node)
    for _ in range(2):
        assert await node.lifecycle.begin_chain("tests-migrated-at-height-2", order) == before.app_hash
    assert (await standing(node)).chain == ChainRecord("tests-migrated-at-height-2", shift=3)
    assert node.lifecycle.halted is None
    # The first block of an engine's chain has the time of its genesis, which may be that of the block before.
    await node.lifecycle.finalize_block(4, before.time, PUBLIC, [BUILD.create("alice").canonical])
    await node.lifecycle.commit()
    assert [block.height for block in node.blocks] == [1, 2, 3, 4]
    assert await node.store.height_of(BUILD.create("alice").id) == 4


@pytest.mark.parametrize(
    ("chain_id", "validators", "message"),
    [
        ("tests", VALIDATORS, "begins the chain 'tests', .* goes on as 'tests-migrated-at-height-2'"),
        ("tests-migrated-at-height-2", VALIDATORS[:3], "begins with the validators .* names"),
        (
            "tests-migrated-at-height-2",
            (*VALIDATORS[:3], Validator(VALIDATORS[3].public_key, 11)),
            r"\(10\), .* names .* \(11\)",
        ),
        ("tests-migrated-at-height-2", (), "names $"),
    ],
)
async def test_an_engine_of_another_chain_is_told_what_is_needed(
    node: Running, chain_id: str, validators: ValidatorSet, message: str
) -> None:
    await migrate(node)
    with pytest.raises(ChainMismatch, match=message):
        await node.lifecycle.begin_chain(chain_id, validators)
    assert node.lifecycle.halted is not None


async def test_a_chain_that_has_gone_on_is_not_begun_again(node: Running) -> None:
    await migrate(node)
    name = (await standing(node)).chain.chain_id
    await node.lifecycle.begin_chain(name, VALIDATORS)
    await block_of(node, BUILD.create("alice"))
    with pytest.raises(ChainMismatch, match="holds blocks of it up to 4"):
        await node.lifecycle.begin_chain(name, VALIDATORS)


async def test_beginning_may_be_repeated_after_the_store_failed() -> None:
    class Failing(MemoryStore):
        broken = True

        async def begin_chain(self, chain: ChainRecord) -> None:
            if self.broken:
                raise StoreError("no")
            await super().begin_chain(chain)

    store = Failing()
    async with running(store, make_blocks=False, validators=VALIDATORS) as node:
        await migrate(node)
        name = (await standing(node)).chain.chain_id
        with pytest.raises(StoreError):
            await node.lifecycle.begin_chain(name, VALIDATORS)
        assert node.lifecycle.halted is not None
        store.broken = False
        await node.lifecycle.begin_chain(name, VALIDATORS)
        assert node.lifecycle.halted is None


async def test_a_chain_may_migrate_again(node: Running) -> None:
    await migrate(node)
    await node.lifecycle.begin_chain("tests-migrated-at-height-2", VALIDATORS)
    election = BUILD.migration_election(POWERS, seed="second")
    await block_of(node, election)
    await block_of(node, *votes(election, "v-1", "v-2", "v-3"))
    assert (await standing(node)).chain == ChainRecord("tests-migrated-at-height-4", shift=5, synced=False)


# Engines of other chains


async def migrated(node: Running) -> int:
    """Conclude a migration in block 2 and begin the chain under its new name; the time of block 2."""
    election = BUILD.migration_election(POWERS)
    await block_of(node, election)
    await block_of(node, *votes(election, "v-1", "v-2", "v-3"))
    info = await standing(node)
    await node.lifecycle.begin_chain(info.chain.chain_id, VALIDATORS)
    return info.time


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("late", [0, -1, -SECOND])
async def test_a_block_that_is_not_later_than_the_migration_is_one_of_the_old_engine(
    node: Running, late: int, again: bool
) -> None:
    time = await migrated(node)
    await block_of(node, BUILD.create("alice"))
    if again:
        await node.lifecycle.load()
    with pytest.raises(ChainMismatch, match="which is not after"):
        await node.lifecycle.finalize_block(4, time + late, PUBLIC, [])
    await node.lifecycle.finalize_block(4, time + 2 * SECOND, PUBLIC, [])


async def test_the_first_block_after_a_migration_may_have_the_time_of_the_genesis_and_no_earlier_one(
    node: Running,
) -> None:
    time = await migrated(node)
    with pytest.raises(ChainMismatch):
        await node.lifecycle.finalize_block(3, time - 1, PUBLIC, [])
    await node.lifecycle.finalize_block(3, time, PUBLIC, [])
    assert node.lifecycle.header().time == time


@pytest.mark.parametrize("moved", [False, True])
async def test_times_in_the_ledger_grow_even_after_one_that_was_told_too_late(node: Running, moved: bool) -> None:
    if moved:
        await migrated(node)
    info = await standing(node)
    for height, time, recorded in ((1, 9, 9), (2, 5, 10), (3, 7, 11), (4, 12, 12)):
        await node.lifecycle.finalize_block(info.height + height, info.time + time, PUBLIC, [])
        await node.lifecycle.commit()
        assert (await standing(node)).time == info.time + recorded


async def test_the_first_block_of_a_chain_has_the_time_of_the_genesis(node: Running) -> None:
    for time in (START - 1, START):
        await node.lifecycle.finalize_block(1, time, PUBLIC, [])
        assert node.lifecycle.header().time == START


@pytest.mark.parametrize("founded", [False, True])
async def test_a_genesis_that_goes_on_from_a_migration_is_refused_without_its_history(founded: bool) -> None:
    async with running(make_blocks=False, validators=VALIDATORS) as node:
        store = node.store if founded else MemoryStore()
        await store.open()
        lifecycle = BlockLifecycle(store, CommittedFeed(store), node.verifier)
        founding = found_chain("tests-migrated-at-height-2", ChainParameters(), VALIDATORS, START + SECOND)
        origin = Migrated(3, "ab" * 32, "12345678")
        with pytest.raises(
            ChainMismatch, match=r"goes on from block 3 .* restore a backup that ends with that block"
        ):
            await lifecycle.init_chain(founding, founding_header(founding, b""), continues=origin)
        assert (await store.founding() is None) is not founded


# A head that was moved from outside, and a store in doubt


async def test_loading_again_takes_up_what_was_put_into_the_store_meanwhile(node: Running) -> None:
    other = MemoryStore()
    await other.open()
    feed = CommittedFeed(other)
    lifecycle = BlockLifecycle(other, feed, node.verifier)
    assert await lifecycle.load() is False
    assert await lifecycle.info() is None
    await migrate(node)
    founding = await node.store.founding()
    summary = await node.store.summary(0)
    assert founding is not None
    assert summary is not None
    await other.found(founding, summary.header)
    assert isinstance(node.store, Recording)
    await other.save_blocks(node.store.records)
    assert await lifecycle.load() is True
    assert await lifecycle.info() == await standing(node)
    assert (feed.label, feed.head) == (node.feed.label, 3)
    assert lifecycle.halted is not None


@pytest.mark.parametrize("unreadable", [0, 1, 2])
async def test_a_deciding_block_in_doubt_is_looked_up_before_it_is_stored_again(unreadable: int) -> None:
    store = UnsureStore()
    async with running(store, make_blocks=False, validators=VALIDATORS) as node:
        election = BUILD.validator_election(POWERS, "new", 5)
        await block_of(node, election)
        saves = store.saves
        raws = [item.canonical for item in votes(election, "v-1", "v-2", "v-3")]
        await node.lifecycle.finalize_block(2, START + 60 * SECOND, PUBLIC, raws)
        store.lies, store.unreadable = 1, unreadable
        for _ in range(unreadable):
            with pytest.raises(StoreError):
                await node.lifecycle.commit()
        await node.lifecycle.commit()
        assert store.saves == saves + 1
        assert (await standing(node)).validators[-1] == Validator(raw_key("new"), 5)
        assert [block.height for block in node.blocks] == [1, 2]
