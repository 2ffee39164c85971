# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole catalogue of invalid transactions through every entry of the node, with one verdict everywhere.

Entries: the Web API with one transaction and in bulk (a real node), mempool check, proposals and blocks (the
application in this process). The transactions that a case needs come before it, once in an earlier block and once
in the same block, proposal or request. Each is played on a chain without contracts and, with the catalogues of
contracts and the real engine in its sandbox, on one of mode ``bound`` and one of mode ``published``.
"""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from planetmint.app.contracts import ContractJudge
from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import NOT_JSON
from planetmint.model.parameters import ChainParameters, ZenroomMode
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractsUnavailable
from planetmint.rules import decode_canonical
from planetmint.testing.invalid import VALIDATORS, InvalidCase, catalogue
from tests.support.contract_pool import contract_pool
from tests.support.contract_verdicts import chain_parameters
from tests.support.founded import found_folder
from tests.support.ledger import PUBLIC, START, Running, running, standing
from tests.support.node import HOST, NodeProcess

ROUTE = "/api/v1/transactions"
NDJSON = "application/x-ndjson"
ATTEMPTS = 30
MODES: tuple[ZenroomMode, ...] = ("off", "bound", "published")

Verdict = tuple[str, str] | None
"""Class and rule; None for an accepted transaction."""


class Catalogue:
    """The cases of one mode, and what their setups need."""

    def __init__(self, mode: ZenroomMode) -> None:
        self.mode = mode
        self.cases = catalogue(mode)
        self.setup = [transaction for case in self.cases for transaction in dict.fromkeys(case.setup)]
        self.parameters = ChainParameters() if mode == "off" else chain_parameters(mode)

    @property
    def bad(self) -> list[bytes]:
        """The transactions to be refused."""
        return [case.transaction for case in self.cases]

    @property
    def everything(self) -> list[bytes]:
        """Each of them behind its setup."""
        return [raw for case in self.cases for raw in (*dict.fromkeys(case.setup), case.transaction)]

    def differences(self, found: dict[str, Verdict]) -> dict[str, tuple[Verdict, Verdict]]:
        """Cases whose verdict is not the catalogue's: expected, then found."""
        assert found.keys() == {case.name for case in self.cases}
        right = {case.name: expected(case) for case in self.cases}
        return {name: (right[name], verdict) for name, verdict in found.items() if verdict != right[name]}


@pytest.fixture(params=MODES)
def played(request: pytest.FixtureRequest) -> Catalogue:
    return Catalogue(request.param)


def expected(case: InvalidCase) -> Verdict:
    return case.error.__name__, case.rule


def verdict_of(error: Exception | None) -> Verdict:
    assert error is None or isinstance(error, InvalidTransaction), f"no verdict: {error!r}"
    return None if error is None else (error.code, error.rule)


# In this process: mempool check, proposals, blocks


@pytest.fixture
async def node(played: Catalogue) -> AsyncIterator[Running]:
    async with AsyncExitStack() as stack:
        judge = None
        if played.mode != "off":
            judge = ContractJudge(await stack.enter_async_context(contract_pool()))
        yield await stack.enter_async_context(
            running(parameters=played.parameters, validators=VALIDATORS, contracts=judge, make_blocks=False)
        )


async def execute(node: Running, raws: list[bytes]) -> list[Verdict]:
    """Decide and commit a block; the verdict on each of its transactions."""
    height = (await standing(node)).height + 1
    for _ in range(ATTEMPTS):
        # As the engine's adapter does it: a decided block is asked for again while its contracts still run.
        with suppress(ContractsUnavailable):
            block = await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
            await node.lifecycle.commit()
            return [verdict_of(verdict) for verdict in block.verdicts]
    raise AssertionError("the contracts of the block do not come to their end")


async def check(node: Running, raws: list[bytes]) -> list[Verdict]:
    """The mempool check, asked again where the time that one batch has for contracts was over."""
    found: list[Verdict] = []
    while left := raws[len(found) :]:
        verdicts = await node.lifecycle.check_txs(left)
        told = list(takewhile(lambda verdict: not isinstance(verdict, ContractsUnavailable), verdicts))
        found += map(verdict_of, told)
        assert told, verdicts
    return found


async def judge_everything(node: Running, played: Catalogue) -> None:
    """Have all contracts judged, so that the time that there is for those of a proposal cannot run out."""
    decoded = []
    for raw in played.everything:
        with suppress(InvalidTransaction):
            decoded.append(decode_canonical(raw, played.parameters))
    assert await node.verifier.contracts.judge(decoded, Patience.DECIDED) == {}


async def test_the_mempool_check_refuses_the_catalogue(node: Running, played: Catalogue) -> None:
    assert set(await execute(node, played.setup)) == {None}
    verdicts = await check(node, played.bad)
    found = {case.name: verdict for case, verdict in zip(played.cases, verdicts, strict=True)}
    assert played.differences(found) == {}


async def test_a_dry_run_refuses_the_catalogue_and_remembers_nothing_of_it(
    node: Running, played: Catalogue
) -> None:
    assert set(await execute(node, played.setup)) == {None}
    before = node.lifecycle.head
    tried = [await node.app.dry_run(case.transaction) for case in played.cases]
    found = {case.name: verdict_of(one.refusal) for case, one in zip(played.cases, tried, strict=True)}
    assert played.differences(found) == {}
    assert not any(node.lifecycle.waits(raw) for raw in played.bad)
    assert node.lifecycle.head == before


async def test_a_block_refuses_the_catalogue_on_top_of_an_earlier_block(node: Running, played: Catalogue) -> None:
    assert set(await execute(node, played.setup)) == {None}
    verdicts = await execute(node, played.bad)
    found = {case.name: verdict for case, verdict in zip(played.cases, verdicts, strict=True)}
    assert played.differences(found) == {}


async def test_a_block_refuses_the_catalogue_on_top_of_the_same_block(node: Running, played: Catalogue) -> None:
    verdicts = iter(await execute(node, played.everything))
    found = {}
    for case in played.cases:
        assert [next(verdicts) for _ in dict.fromkeys(case.setup)] == [None] * len(dict.fromkeys(case.setup))
        found[case.name] = next(verdicts)
    assert played.differences(found) == {}
    stored = await node.store.head()
    assert stored is not None
    assert stored.height == 1


async def test_a_proposal_leaves_the_catalogue_out_on_top_of_an_earlier_block(
    node: Running, played: Catalogue
) -> None:
    assert set(await execute(node, played.setup)) == {None}
    assert await node.lifecycle.prepare_proposal(played.bad, 10**9) == []


async def test_a_proposal_leaves_the_catalogue_out_on_top_of_the_same_proposal(
    node: Running, played: Catalogue
) -> None:
    await judge_everything(node, played)
    assert await node.lifecycle.prepare_proposal(played.everything, 10**9) == played.setup
    assert (await standing(node)).height == 0


async def test_a_proposed_block_with_the_catalogue_may_be_voted_for_and_changes_nothing(
    node: Running, played: Catalogue
) -> None:
    await judge_everything(node, played)
    assert await node.lifecycle.process_proposal(1, played.everything) is True
    assert not await node.lifecycle.process_proposal(2, played.everything)
    assert (await standing(node)).height == 0
    assert set(await execute(node, played.setup)) == {None}


async def test_a_block_with_refused_transactions_alone_keeps_the_app_hash(
    node: Running, played: Catalogue
) -> None:
    before = await standing(node)
    verdicts = await execute(node, [case.transaction for case in played.cases if not case.setup])
    assert None not in verdicts
    assert (await standing(node)).app_hash == before.app_hash


async def test_consensus_bytes_that_are_not_canonical_are_refused(node: Running, played: Catalogue) -> None:
    transaction = played.setup[0]
    padded = transaction.replace(b'"amount":', b'"amount": ', 1)
    (verdict,) = await node.lifecycle.check_txs([padded])
    assert verdict_of(verdict) == ("SchemaValidationError", "canonical")
    assert await node.lifecycle.prepare_proposal([padded, transaction], 10**9) == [transaction]
    assert await execute(node, [padded, transaction]) == [("SchemaValidationError", "canonical"), None]


# Over HTTP, against a real node


def post(connection: http.client.HTTPConnection, body: bytes, mode: str, kind: str) -> tuple[int, bytes]:
    connection.request("POST", f"{ROUTE}?mode={mode}", body, {"Content-Type": kind})
    response = connection.getresponse()
    return response.status, response.read()


def post_lines(connection: http.client.HTTPConnection, lines: list[bytes], mode: str) -> list[dict[str, Any]]:
    status, body = post(connection, b"\n".join(lines) + b"\n", mode, NDJSON)
    assert status == 200, body
    return [json.loads(line) for line in body.splitlines()]


@pytest.fixture
def fresh(tmp_path: Path, played: Catalogue) -> Iterator[http.client.HTTPConnection]:
    asyncio.run(found_folder(tmp_path / "node", VALIDATORS, played.parameters))
    with NodeProcess(tmp_path / "node") as process:
        connection = http.client.HTTPConnection(HOST, process.http_port, timeout=60)
        yield connection
        connection.close()


def checked(case: InvalidCase, answer: dict[str, Any], status: int) -> Verdict:
    """The verdict in an answer, after a look at its status and wording (http-api 4.3)."""
    assert status == (413 if case.error.__name__ == "TransactionTooLarge" else 400), (case.name, answer)
    if answer["rule"] != NOT_JSON:
        schema = answer["class"] == "SchemaValidationError"
        start = "Invalid transaction schema: " if schema else f"Invalid transaction ({answer['class']}): "
        assert answer["message"].startswith(start), (case.name, answer)
    return answer["class"], answer["rule"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["commit", "commit&dry_run=true"])
def test_http_refuses_the_catalogue_one_by_one(
    mode: str, fresh: http.client.HTTPConnection, played: Catalogue
) -> None:
    assert {line["status"] for line in post_lines(fresh, played.setup, "commit")} == {202}
    found = {}
    for case in played.cases:
        status, body = post(fresh, case.transaction, mode, "application/json")
        answer = json.loads(body)
        assert answer["status"] == status
        assert answer.get("valid", False) is False
        found[case.name] = checked(case, answer, status)
    assert played.differences(found) == {}


@pytest.mark.slow
def test_http_bulk_refuses_the_catalogue_on_top_of_the_same_request(
    fresh: http.client.HTTPConnection, played: Catalogue
) -> None:
    answers = iter(post_lines(fresh, played.everything, "sync"))
    found = {}
    for case in played.cases:
        for _ in dict.fromkeys(case.setup):
            accepted = next(answers)
            assert accepted["status"] == 202, (case.name, accepted)
        answer = next(answers)
        found[case.name] = checked(case, answer, answer["status"])
    assert played.differences(found) == {}
    assert next(answers, None) is None
