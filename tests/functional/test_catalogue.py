# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole catalogue of invalid transactions through every entry of the node, with one verdict everywhere.

Entries: the Web API with one transaction and in bulk (a real node), mempool check, proposals and blocks (the
application in this process). The transactions that a case needs come before it, once in an earlier block and once
in the same block, proposal or request.
"""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import NOT_JSON
from planetmint.testing.invalid import VALIDATORS, InvalidCase, catalogue
from tests.support.founded import found_folder
from tests.support.ledger import PUBLIC, START, Running, running, standing
from tests.support.node import HOST, NodeProcess

CASES = catalogue()
SETUP = [transaction for case in CASES for transaction in dict.fromkeys(case.setup)]
ROUTE = "/api/v1/transactions"
NDJSON = "application/x-ndjson"

Verdict = tuple[str, str] | None
"""Class and rule; None for an accepted transaction."""


def expected(case: InvalidCase) -> Verdict:
    return case.error.__name__, case.rule


def verdict_of(error: InvalidTransaction | None) -> Verdict:
    return None if error is None else (error.code, error.rule)


def differences(found: dict[str, Verdict]) -> dict[str, tuple[Verdict, Verdict]]:
    """Cases whose verdict is not the catalogue's: expected, then found."""
    assert found.keys() == {case.name for case in CASES}
    return {case.name: (expected(case), found[case.name]) for case in CASES if found[case.name] != expected(case)}


# In this process: mempool check, proposals, blocks


@pytest.fixture
async def node() -> AsyncIterator[Running]:
    async with running(validators=VALIDATORS, make_blocks=False) as parts:
        yield parts


async def execute(node: Running, raws: list[bytes]) -> list[Verdict]:
    """Decide and commit a block; the verdict on each of its transactions."""
    height = (await standing(node)).height + 1
    block = await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
    await node.lifecycle.commit()
    return [verdict_of(verdict) for verdict in block.verdicts]


async def test_the_mempool_check_refuses_the_catalogue(node: Running) -> None:
    assert set(await execute(node, SETUP)) == {None}
    verdicts = await node.lifecycle.check_txs([case.transaction for case in CASES])
    found = {case.name: verdict_of(verdict) for case, verdict in zip(CASES, verdicts, strict=True)}
    assert differences(found) == {}


async def test_a_block_refuses_the_catalogue_on_top_of_an_earlier_block(node: Running) -> None:
    assert set(await execute(node, SETUP)) == {None}
    verdicts = await execute(node, [case.transaction for case in CASES])
    assert differences({case.name: verdict for case, verdict in zip(CASES, verdicts, strict=True)}) == {}


async def test_a_block_refuses_the_catalogue_on_top_of_the_same_block(node: Running) -> None:
    raws = [raw for case in CASES for raw in (*dict.fromkeys(case.setup), case.transaction)]
    verdicts = iter(await execute(node, raws))
    found = {}
    for case in CASES:
        assert [next(verdicts) for _ in dict.fromkeys(case.setup)] == [None] * len(dict.fromkeys(case.setup))
        found[case.name] = next(verdicts)
    assert differences(found) == {}
    stored = await node.store.head()
    assert stored is not None
    assert stored.height == 1


async def test_a_proposal_leaves_the_catalogue_out_on_top_of_an_earlier_block(node: Running) -> None:
    assert set(await execute(node, SETUP)) == {None}
    assert await node.lifecycle.prepare_proposal([case.transaction for case in CASES], 10**9) == []


async def test_a_proposal_leaves_the_catalogue_out_on_top_of_the_same_proposal(node: Running) -> None:
    raws = [raw for case in CASES for raw in (*dict.fromkeys(case.setup), case.transaction)]
    assert await node.lifecycle.prepare_proposal(raws, 10**9) == SETUP
    assert (await standing(node)).height == 0


async def test_a_proposed_block_with_the_catalogue_may_be_voted_for_and_changes_nothing(node: Running) -> None:
    raws = [raw for case in CASES for raw in (*dict.fromkeys(case.setup), case.transaction)]
    assert await node.lifecycle.process_proposal(1, raws) is True
    assert not await node.lifecycle.process_proposal(2, raws)
    assert (await standing(node)).height == 0
    assert set(await execute(node, SETUP)) == {None}


async def test_a_block_with_refused_transactions_alone_keeps_the_app_hash(node: Running) -> None:
    before = await standing(node)
    verdicts = await execute(node, [case.transaction for case in CASES if not case.setup])
    assert None not in verdicts
    assert (await standing(node)).app_hash == before.app_hash


async def test_consensus_bytes_that_are_not_canonical_are_refused(node: Running) -> None:
    transaction = SETUP[0]
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
def fresh(tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    asyncio.run(found_folder(tmp_path / "node", VALIDATORS))
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
def test_http_refuses_the_catalogue_one_by_one(fresh: http.client.HTTPConnection) -> None:
    assert {line["status"] for line in post_lines(fresh, SETUP, "commit")} == {202}
    found = {}
    for case in CASES:
        status, body = post(fresh, case.transaction, "commit", "application/json")
        answer = json.loads(body)
        assert answer["status"] == status
        found[case.name] = checked(case, answer, status)
    assert differences(found) == {}


@pytest.mark.slow
def test_http_bulk_refuses_the_catalogue_on_top_of_the_same_request(fresh: http.client.HTTPConnection) -> None:
    lines = [raw for case in CASES for raw in (*dict.fromkeys(case.setup), case.transaction)]
    answers = iter(post_lines(fresh, lines, "sync"))
    found = {}
    for case in CASES:
        for _ in dict.fromkeys(case.setup):
            accepted = next(answers)
            assert accepted["status"] == 202, (case.name, accepted)
        answer = next(answers)
        found[case.name] = checked(case, answer, answer["status"])
    assert differences(found) == {}
    assert next(answers, None) is None
