# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hostile contracts through every entry point: issue 5, "Bad input" and "Done when" 2, in a form bounded for CI.

First against the sandbox, then against blocks that are decided already, then against four real nodes, one of which
proposes hostile blocks. `python -m tests.e2e.contracts` plays the whole corpus against the network.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from planetmint.app.contracts import ContractJudge
from planetmint.contracts import ContractCall, judge
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import Transaction
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from planetmint.rules import decode_transaction
from planetmint.rules.contracts import contract_calls
from planetmint.sandbox import SandboxLimits, SandboxPool
from planetmint.testing.hostile import Fate, corpus
from tests.e2e.answers import compare
from tests.e2e.contracts import besiege
from tests.support.contract_pool import call_of, contract_pool
from tests.support.contract_verdicts import chain_parameters
from tests.support.ledger import PUBLIC, START, Running, running, standing
from tests.support.siege import Entry, Verdict, entries, is_worker, resident

PARAMETERS = chain_parameters("bound")
EVERYTHING = entries(corpus())
ENDING = [entry for entry in EVERYTHING if not entry.overruns]
OVERRUNS = [entry for entry in EVERYTHING if entry.overruns]
MEGABYTE = 1 << 20

pytestmark = pytest.mark.timeout(300)


def decoded(entry: Entry) -> Transaction:
    return decode_transaction(entry.built.canonical, PARAMETERS)


def refused_unread(entry: Entry) -> Verdict:
    try:
        decoded(entry)
    except InvalidTransaction as error:
        return error.code, error.rule
    return None


def calls_of(entry: Entry) -> Sequence[ContractCall]:
    return contract_calls(decoded(entry), PARAMETERS)


async def verdict_in(pool: SandboxPool, entry: Entry) -> tuple[Verdict, bytes]:
    """What a run makes of it, and what the engine printed."""
    (call,) = calls_of(entry)
    try:
        execution = await pool.run(call, Patience.ADMISSION)
    except ContractOverrun:
        return ("ContractOverrun", None), b""
    refusal = judge(call, execution.answer, PARAMETERS)
    return None if refusal is None else (refusal.code, refusal.rule), execution.answer.output


def test_the_corpus_holds_more_than_fifty_contracts_with_names_of_their_own() -> None:
    contracts = corpus()
    assert len({hostile.name for hostile in contracts}) == len(contracts) >= 50
    assert {hostile.fate for hostile in contracts} == {*Fate}
    assert all((hostile.rule is not None) == (hostile.fate is Fate.REFUSED) for hostile in contracts)


def test_contracts_beyond_a_bound_are_refused_unread_and_no_others_are() -> None:
    found = {entry.name: refused_unread(entry) for entry in EVERYTHING}
    unread = {entry.name: entry.verdict if entry.hostile.fate is Fate.REFUSED else None for entry in EVERYTHING}
    assert found == unread


async def test_two_pools_give_one_answer_in_every_run() -> None:
    run = [entry for entry in ENDING if entry.hostile.fate is not Fate.REFUSED and not entry.hostile.heavy]
    given = run[::2]
    runs: list[dict[str, bytes]] = []
    for _ in range(2):
        async with contract_pool(workers=2) as pool:
            found = await asyncio.gather(*(verdict_in(pool, entry) for entry in given))
        assert {e.name: v for e, (v, _) in zip(given, found, strict=True)} == {e.name: e.verdict for e in given}
        runs.append({entry.name: output for entry, (_, output) in zip(given, found, strict=True)})
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "name", ["length_against_an_array", "ecdh_public_key_of_one_byte", "reflow_identity_of_one_byte"]
)
async def test_memory_that_the_contract_did_not_write_to_decides_nothing(name: str) -> None:
    """The engine reads some before it writes to it, and some behind keys that are too short."""
    (entry,) = [entry for entry in ENDING if entry.name == f"{name} as script"]
    found = set()
    for _ in range(8):
        async with contract_pool() as pool:
            found.add(await verdict_in(pool, entry))
    assert len(found) == 1, found


async def test_random_contracts_of_real_statements_get_one_answer_from_two_sandboxes() -> None:
    ends = await compare(seed=7, count=60, say=print)
    assert ends["result"] and ends["none"]


async def test_an_overrun_is_stopped_and_the_same_worker_goes_on() -> None:
    given = [entry for entry in OVERRUNS if entry.hostile.fits_script and entry.name.endswith("script")]
    async with contract_pool(limits=SandboxLimits(seconds=0.1)) as pool:
        await pool.run(call_of(), Patience.ADMISSION)
        (worker,) = pool.pids
        before = resident(worker)
        for entry in given:
            assert (await verdict_in(pool, entry))[0] == ("ContractOverrun", None), entry.name
            await pool.run(call_of(), Patience.ADMISSION)
        assert pool.pids == (worker,)
        assert is_worker(worker)
        assert resident(worker) - before < MEGABYTE


@pytest.mark.parametrize("name", ["json_in_a_string_40000_deep", "gigabytes_of_copies"])
async def test_memory_beyond_the_limit_ends_a_run_and_is_no_verdict(name: str) -> None:
    (entry,) = [entry for entry in OVERRUNS if entry.name == f"{name} as script"]
    async with contract_pool(limits=SandboxLimits(seconds=60, memory_bytes=40 * MEGABYTE)) as pool:
        (call,) = calls_of(entry)
        with pytest.raises(ContractOverrun, match="memory"):
            await pool.run(call, Patience.ADMISSION)


# Blocks that are decided already


async def decide(node: Running, raws: Sequence[bytes]) -> list[Verdict]:
    """Decide and commit a block as the engine's adapter does: it is asked again while its contracts run."""
    height = (await standing(node)).height + 1
    while True:
        try:
            block = await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
        except ContractsUnavailable:
            continue
        await node.lifecycle.commit()
        return [told(verdict) for verdict in block.verdicts]


def told(error: Exception | None) -> Verdict:
    assert error is None or isinstance(error, InvalidTransaction), f"no verdict: {error!r}"
    return None if error is None else (error.code, error.rule)


async def test_decided_blocks_have_one_verdict_and_one_app_hash_on_two_nodes() -> None:
    """The second node grants so little that it would vote against the block; a decided one it runs to the end."""
    long = [entry for entry in OVERRUNS if entry.name == "key_derivations_one_after_another as script"]
    given = [*ENDING[::5], *long]
    found, hashes = [], []
    for limits in (SandboxLimits(), SandboxLimits(seconds=0.02)):
        async with AsyncExitStack() as stack:
            judge = ContractJudge(await stack.enter_async_context(contract_pool(workers=2, limits=limits)))
            node = await stack.enter_async_context(
                running(parameters=PARAMETERS, contracts=judge, make_blocks=False)
            )
            found.append(await decide(node, [entry.built.canonical for entry in given]))
            hashes.append((await standing(node)).app_hash)
    assert hashes[0] == hashes[1]
    assert found[0] == found[1]
    # Without a limit, what overran has a verdict: it does what it says.
    right = {entry.name: None if entry.overruns else entry.verdict for entry in given}
    assert {entry.name: verdict for entry, verdict in zip(given, found[0], strict=True)} == right


# A network


def test_four_nodes_go_on_with_one_app_hash_whatever_contracts_come_through_whichever_door(tmp_path: Path) -> None:
    quick = [hostile for hostile in corpus() if hostile.fate is not Fate.OVERRUN and not hostile.heavy]
    stopped = [hostile for hostile in corpus() if hostile.fate is Fate.OVERRUN]
    chosen = [*quick[::2], *stopped[::9]]
    assert len(chosen) >= 50
    report = besiege(tmp_path, chosen, forms=1, say=lambda line: print(line, file=sys.stderr))
    assert report.stopped == []
    assert report.wrong == []
    assert report.taken_wrongly == []
    assert report.ordinary > 0
