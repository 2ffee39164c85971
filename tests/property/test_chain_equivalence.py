# SPDX-License-Identifier: AGPL-3.0-or-later
"""The same transactions in the same order have the same verdicts, however they are cut into blocks or proposed."""

import asyncio
import json
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from planetmint.ports.store import Paging
from planetmint.testing.build import Builder, Built, Dialect, all_of, ballot_box, public_key
from tests.support import app_hash, elections
from tests.support.ledger import PUBLIC, START, Running, running, standing

A, B, C = (Builder(dialect) for dialect in Dialect)

POWERS = {"tests/validator": 10}
"""The validator of `tests.support.ledger`."""


def universe() -> list[bytes]:
    """Transactions that depend on one another, compete, repeat and fail; in this order most are valid.

    Votes are too few for a majority: validators change at ends of blocks, and with them what elections must be.
    """
    gold = A.create("alice", [(5, "alice"), (5, all_of("alice", "bob"))], data={"gold": 1})
    silver = B.create("bob", [(3, "bob")], data="silver")
    copper = C.create("carol", [(4, "carol"), (4, "carol")], data="copper")
    to_bob = A.transfer([gold.spend()], [(2, "bob"), (3, "carol")])
    to_dora = C.transfer([gold.spend()], [(5, "dora")])
    onward = A.transfer([to_bob.spend(0), gold.spend(1)], [(7, "dora")])
    merged = B.transfer([to_bob.spend(1), onward.spend()], [(10, "alice")])
    alloy = C.compose([copper.spend(0), silver.spend()], [(1, "carol")], data="alloy")
    rival = C.compose([copper.spend(0), copper.spend(1)], [(1, "carol")], data="rival")
    parts = C.decompose(alloy.spend(), ["left", "right"])
    left = C.create("carol", [(1, "bob")], data="left", consumes=parts.spend(0))
    forged = silver.changed(lambda wire: wire["outputs"][0].update(amount="4"))
    inflated = A.transfer([gold.spend(1)], [(6, "eve")])
    election = C.validator_election(POWERS, "new", 3)
    stolen = B.migration_election({"eve": 10})
    part = A.vote([election.spend()], [(6, ballot_box(election.id)), (4, "alice")], metadata={"first": 1})
    other = A.vote([election.spend()], [(6, ballot_box(election.id)), (4, "bob")])
    given = C.vote([part.spend(1)], [(4, "bob")])
    built: list[Built] = [
        *(gold, silver, copper, to_bob, to_dora, onward, merged, alloy, rival, parts, left, forged, inflated),
        *(election, stolen, part, other, given),
    ]
    return [*(item.canonical for item in built), b"nonsense"]


UNIVERSE = universe()
PEOPLE = ("alice", "bob", "carol", "dora", "eve")
numbers = st.lists(st.integers(0, len(UNIVERSE) - 1), max_size=24)
orders = (
    numbers | numbers.map(sorted) | st.just(list(range(len(UNIVERSE)))) | st.permutations(range(len(UNIVERSE)))
)
"""Random ones, and such in which what is spent mostly comes before."""


async def block_of(node: Running, raws: Sequence[bytes]) -> list[str | None]:
    """Decide and store a block; class and rule of each verdict."""
    height = (await standing(node)).height + 1
    outcome = await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
    await node.lifecycle.commit()
    return [None if verdict is None else f"{verdict.code} {verdict.rule}" for verdict in outcome.verdicts]


async def stored_ids(node: Running) -> list[str]:
    head = (await standing(node)).height
    summaries = [await node.store.summary(height) for height in range(head + 1)]
    return [one for summary in summaries if summary is not None for one in summary.transaction_ids]


@settings(max_examples=60, deadline=None)
@given(orders, st.lists(st.integers(1, 6), min_size=1, max_size=24))
def test_verdicts_do_not_depend_on_where_blocks_end(order: list[int], cuts: list[int]) -> None:
    raws = [UNIVERSE[number] for number in order]

    async def run() -> None:
        async with running(make_blocks=False) as whole, running(make_blocks=False) as parts:
            expected = await block_of(whole, raws)
            found: list[str | None] = []
            rest = list(raws)
            for size in [*cuts, *([1] * len(raws))]:
                if not rest:
                    break
                found += await block_of(parts, rest[:size])
                rest = rest[size:]
            assert found == expected
            assert await stored_ids(parts) == await stored_ids(whole)
            for name in PEOPLE:
                for spent in (True, False):
                    listed = [
                        await n.store.outputs_by_key(public_key(name), spent, Paging()) for n in (whole, parts)
                    ]
                    assert listed[0] == listed[1]

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(orders, orders, st.integers(0, 20_000))
def test_a_proposal_is_the_accepted_part_of_the_mempool_in_its_order(
    before: list[int], mempool: list[int], room: int
) -> None:
    raws = [UNIVERSE[number] for number in mempool]

    async def run() -> None:
        async with running(make_blocks=False) as node, running(make_blocks=False) as other:
            for one in (node, other):
                await block_of(one, [UNIVERSE[number] for number in before])
            everything = await node.lifecycle.prepare_proposal(raws, 10**9)
            chosen = await node.lifecycle.prepare_proposal(raws, room)
            assert sum(map(len, chosen)) <= room
            assert chosen == everything[: len(chosen)]
            if len(chosen) < len(everything):
                assert sum(map(len, chosen)) + len(everything[len(chosen)]) > room
            verdicts = await block_of(other, raws)
            assert everything == [raw for raw, verdict in zip(raws, verdicts, strict=True) if verdict is None]
            assert await node.lifecycle.process_proposal(2, everything)
            assert await block_of(node, everything) == [None] * len(everything)

    asyncio.run(run())


@settings(max_examples=40, deadline=None)
@given(st.lists(orders, max_size=4))
def test_app_hashes_are_those_of_decision_2_for_any_history(blocks: list[list[int]]) -> None:
    async def run() -> None:
        async with running(make_blocks=False) as node:
            previous = (await standing(node)).app_hash
            model = elections.Elections("tests", [(1, {PUBLIC: 10})])
            for height, order in enumerate(blocks, 1):
                raws = [UNIVERSE[number] for number in order]
                verdicts = await block_of(node, raws)
                accepted = [
                    json.loads(raw) for raw, verdict in zip(raws, verdicts, strict=True) if verdict is None
                ]
                members = model.effects(model.add(height, accepted))
                expected = app_hash.next_hash(previous, height, accepted, members)
                previous = (await standing(node)).app_hash
                assert previous == expected

    asyncio.run(run())
