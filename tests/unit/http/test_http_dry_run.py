# SPDX-License-Identifier: AGPL-3.0-or-later
"""Dry runs over HTTP: how they are asked for, what they answer, how they are bounded (issue 5, item 5)."""

import asyncio
import json
import threading
from typing import Any

import pytest

from planetmint.app.application import DryRun
from planetmint.app.contracts import Trial
from planetmint.app.trial import cost_of
from planetmint.contracts import ContractCall, EngineAnswer, Purpose
from planetmint.http import HttpSettings, dry_run
from planetmint.http.dry_run import LONGEST_ANSWER, LONGEST_SHOWN
from planetmint.http.submit import DRY_RUNS_AT_ONCE
from planetmint.model.errors import DoubleSpend, InvalidScript, InvalidSignature, SchemaValidationError
from planetmint.model.json import JsonValue
from planetmint.model.parameters import ChainParameters
from planetmint.ports.contracts import Execution
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from planetmint.rules import decode_transaction
from tests.unit.http.world import StubApplication, World, request, served, status_line

TRANSACTIONS = "/api/v1/transactions"
NDJSON = {"Content-Type": "application/x-ndjson"}
ONE_OF_TWO = {"dry_run": 'Dry run must be "true" or "false"'}


def call(**members: Any) -> ContractCall:
    values: dict[str, Any] = {
        "field": "script",
        "purpose": Purpose.SCRIPT,
        "script": "Given nothing\nThen print the string 'é'",
        "data": '{"a": 1}',
        "keys": '{"k": 2}',
        "seed": bytes(64),
        "expected": {"b": 1, "a": [True, "é"]},
    }
    return ContractCall(**(values | members))


def run(output: bytes = b'{"output":["ok"]}\n', logs: bytes = b"[*] done\n", error: Any = None) -> Trial:
    return Trial(call(), Execution(EngineAnswer(output, logs), 0.0123456, 20_000_000), error)


# Asking


@pytest.mark.parametrize("query", ["?dry_run=true", "?mode=commit&dry_run=true", "?dry_run=true&foo=1"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_dry_run_answers_200_and_submits_nothing(query: str, slash: str, world: World) -> None:
    item = world.story.painting
    answer = await world.client.post(f"{TRANSACTIONS}{slash}{query}", content=item.canonical)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["valid"], answer.json()["would_be_taken"], answer.json()["id"]) == (True, True, item.id)
    assert (world.application.tried, world.application.taken) == ([item.canonical], [])


@pytest.mark.parametrize("query", ["?dry_run=false", "?mode=sync&dry_run=false"])
async def test_dry_run_false_is_a_submission(query: str, world: World) -> None:
    answer = await world.post(world.story.painting.canonical, query)
    assert answer.status_code == 202
    assert (len(world.application.taken), world.application.tried) == (1, [])


@pytest.mark.parametrize("value", ["", "1", "0", "yes", "True", "TRUE", "true ", "true,false", "%00", "false%20"])
async def test_other_values_of_dry_run_are_refused_with_what_is_allowed(value: str, world: World) -> None:
    answer = await world.post(world.story.bicycle.canonical, f"?dry_run={value}")
    assert (answer.status_code, answer.json()["message"]) == (400, ONE_OF_TWO)
    assert (world.application.tried, world.application.taken) == ([], [])


async def test_the_first_dry_run_counts_and_every_one_is_checked(world: World) -> None:
    body = world.story.bicycle.canonical
    assert (await world.post(body, "?dry_run=true&dry_run=false")).status_code == 200
    assert (await world.post(body, "?dry_run=true&dry_run=x")).status_code == 400
    assert (len(world.application.tried), world.application.taken) == (1, [])


async def test_a_wrong_mode_is_refused_in_a_dry_run_too(world: World) -> None:
    answer = await world.post(world.story.bicycle.canonical, "?dry_run=true&mode=block")
    assert (answer.status_code, list(answer.json()["message"])) == (400, ["mode"])


async def test_many_transactions_are_not_tried_in_one_request(world: World) -> None:
    answer = await world.post(world.story.bicycle.canonical, "?dry_run=true", headers=NDJSON)
    assert answer.status_code == 400
    assert "one transaction at a time" in answer.json()["message"]["dry_run"]
    assert (world.application.tried, world.application.taken) == ([], [])
    plain = await world.post(world.story.bicycle.canonical, "?dry_run=false", headers=NDJSON)
    assert plain.status_code == 200


# The answer


async def test_the_cost_names_what_counts_against_the_bounds_of_the_chain(world: World) -> None:
    item = world.story.installation
    answer = (await world.post(item.canonical, "?dry_run=true")).json()
    size = len(item.canonical)
    # Source of 131072: transactions 5.1, the cost of an ed25519 condition.
    assert answer["cost"] == {
        "bytes": size,
        "bytes_allowed": 700_000,
        "bytes_share": round(size / 700_000, 6),
        "inputs": 2,
        "outputs": 1,
        "signatures": 2,
        "fulfillment_costs": [131_072, 131_072],
        "output_costs": [131_072],
        "contracts": 0,
        "contracts_allowed": 200,
    }
    assert answer["contracts"] == []


async def test_a_refusal_has_the_status_and_members_of_a_submission(world: World) -> None:
    refusal = DoubleSpend("input `x` was already spent", rule="input.unspent", field="inputs[0].fulfills")
    world.application.failure = refusal
    submitted = await world.post(b"{}")
    transaction = decode_transaction(world.story.bicycle.canonical, ChainParameters())
    cost = cost_of(transaction, ChainParameters())
    world.application.failure, world.application.found = None, DryRun("ab", refusal, None, cost)
    tried = await world.post(b"{}", "?dry_run=true")
    assert tried.status_code == submitted.status_code == 400
    assert list(tried.json().items()) == [
        *list(submitted.json().items())[:-1],
        ("valid", False),
        ("would_be_taken", False),
        ("detail", None),
        ("id", "ab"),
        ("cost", tried.json()["cost"]),
        ("contracts", []),
        ("status", 400),
    ]
    assert tried.json()["cost"]["inputs"] == 1


async def test_what_is_no_transaction_has_no_cost(world: World) -> None:
    refusal = SchemaValidationError("'id' is wrong", rule="type", field="id")
    world.application.found = DryRun(None, refusal, None)
    answer = (await world.post(b"{", "?dry_run=true")).json()
    assert (answer["valid"], answer["id"], answer["cost"], answer["contracts"]) == (False, None, None, [])


async def test_a_valid_transaction_that_is_not_taken_at_present_says_why(world: World) -> None:
    world.application.found = DryRun("ab", None, "no blocks are made")
    answer = await world.post(b"{}", "?dry_run=true")
    assert (answer.status_code, answer.json()["valid"], answer.json()["would_be_taken"]) == (200, True, False)
    assert answer.json()["detail"] == "no blocks are made"


async def test_a_run_of_a_contract_shows_what_it_took_and_what_the_engine_said(world: World) -> None:
    world.application.found = DryRun("ab", None, None, None, (run(),))
    (shown,) = (await world.post(b"{}", "?dry_run=true")).json()["contracts"]
    assert shown == {
        "field": "script",
        "bytes": len("Given nothing\nThen print the string 'é'".encode()),
        "statements": 2,
        "data_bytes": len('{"a": 1}') + len('{"k": 2}'),
        "milliseconds": 12.346,
        "memory_bytes": 20_000_000,
        "output": '{"output":["ok"]}',
        "expected": '{"a":[true,"é"],"b":1}',
        "messages": "[*] done",
        "error": None,
    }


async def test_a_contract_that_says_something_else_shows_both_and_the_rule(world: World) -> None:
    refusal = InvalidScript("it differs", rule="contract.output", field="script")
    world.application.found = DryRun("ab", refusal, None, None, (run(error=refusal),))
    answer = await world.post(b"{}", "?dry_run=true")
    (shown,) = answer.json()["contracts"]
    assert (answer.status_code, answer.json()["class"]) == (400, "InvalidScript")
    assert (shown["output"], shown["expected"]) == ('{"output":["ok"]}', '{"a":[true,"é"],"b":1}')
    assert shown["error"] == {
        "message": "Invalid transaction (InvalidScript): it differs",
        "class": "InvalidScript",
        "rule": "contract.output",
        "field": "script",
    }


async def test_transactions_6_an_overrun_is_no_verdict(world: World) -> None:
    overrun = ContractOverrun("it took more than 1 second")
    stopped = Trial(call(purpose=Purpose.CONDITION), None, overrun)
    world.application.found = DryRun("ab", overrun, None, None, (run(), stopped))
    answer = await world.post(b"{}", "?dry_run=true")
    assert (answer.status_code, answer.json()["valid"], answer.json()["class"]) == (400, None, "ContractOverrun")
    shown = answer.json()["contracts"][1]
    assert (shown["output"], shown["milliseconds"], shown["memory_bytes"]) == (None, None, None)
    assert "more than 1 second" in shown["error"]["message"]


@pytest.mark.parametrize("runs", [1, 20, 200])
async def test_what_contracts_print_is_shown_within_bounds(runs: int, world: World) -> None:
    loud = run(b"\x01\xff" * 1_000_000, "é".encode() * 1_000_000, InvalidSignature("no", rule="contract.failed"))
    world.application.found = DryRun("ab", loud.error, None, None, (loud,) * runs)
    answer = await world.post(b"{}", "?dry_run=true")
    first = answer.json()["contracts"][0]
    longest = LONGEST_SHOWN if runs == 1 else 64_000 // runs if runs == 200 else 3_200
    assert first["messages"] == "é" * longest + "…"
    assert first["output"] == "\x01\ufffd" * (longest // 2) + "…"
    assert len(answer.content) < LONGEST_ANSWER


@pytest.mark.parametrize("runs", [1, 200])
async def test_the_whole_answer_is_bounded_however_its_characters_are_spelled(runs: int, world: World) -> None:
    """A character beyond the first plane takes twelve bytes of JSON."""
    text = "\U0001f600" * 10_000
    loud = Trial(
        call(expected=[text]),
        Execution(EngineAnswer(text.encode(), text.encode()), 0.1, 1),
        InvalidSignature("\U0001f600" * 200, rule="contract.failed", field="inputs[999].fulfillment"),
    )
    world.application.found = DryRun("ab", loud.error, None, None, (loud,) * runs)
    answer = await world.post(b"{}", "?dry_run=true")
    assert len(answer.content) <= LONGEST_ANSWER
    shown = answer.json()["contracts"]
    assert len(shown) == runs
    assert shown[-1]["output"] == "\U0001f600" * (len(shown[-1]["output"]) - 1) + "…"
    assert len(shown[-1]["output"]) > (LONGEST_SHOWN if runs == 1 else 20)


async def test_what_all_contracts_of_a_transaction_share_is_written_once_and_beside_the_event_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else 200 leaves that declare 650 kB would hold the node up for seconds."""
    expected = {"a": "é" * 300_000}
    threads: list[str] = []
    canonical = dry_run.json.canonical

    def write(value: JsonValue) -> bytes:
        threads.append(threading.current_thread().name)
        return canonical(value)

    shared = [Trial(call(expected=expected), None, None) for _ in range(200)]
    other = Trial(call(expected=["other"]), None, None)
    world.application.found = DryRun("ab", None, None, None, (*shared, other))
    monkeypatch.setattr(dry_run.json, "canonical", write)
    answer = await world.post(b"{}", "?dry_run=true")
    assert len(threads) == 2
    assert threading.current_thread().name not in threads
    first, *_, last = answer.json()["contracts"]
    assert first["expected"] == '{"a":"' + "é" * (64_000 // 201 - 6) + "…"
    assert last["expected"] == '["other"]'


# Bounds


async def test_a_body_above_the_bound_is_refused_as_in_a_submission() -> None:
    async with served(StubApplication(), HttpSettings(max_body_bytes=1_000)) as world:
        for query in ("", "?dry_run=true"):
            answer = await world.post(b"x" * 1_001, query)
            assert (answer.status_code, answer.json()["class"]) == (413, "TransactionTooLarge")
        assert (world.application.tried, world.application.taken) == ([], [])


async def test_too_many_dry_runs_at_once_answer_503_and_submissions_go_on(world: World) -> None:
    free = asyncio.Event()
    world.application.holds = free.wait
    body = world.story.bicycle.canonical
    waiting = [asyncio.create_task(world.post(body, "?dry_run=true")) for _ in range(DRY_RUNS_AT_ONCE)]
    while len(world.application.tried) < DRY_RUNS_AT_ONCE:
        await asyncio.sleep(0.01)
    world.application.holds = None
    refused = await world.post(body, "?dry_run=true")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (await world.post(body)).status_code == 202
    free.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert (await world.post(body, "?dry_run=true")).status_code == 200


async def test_contracts_that_cannot_be_tried_now_answer_503_with_when_to_retry(world: World) -> None:
    world.application.failure = ContractsUnavailable("/run/secret.sock is gone")
    answer = await world.post(world.story.bicycle.canonical, "?dry_run=true")
    assert (answer.status_code, answer.json()["class"]) == (503, "ContractsUnavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "secret" not in answer.text


async def test_a_client_that_leaves_within_the_body_tries_nothing(world: World) -> None:
    whole = request("POST", f"{TRANSACTIONS}?dry_run=true", world.story.bicycle.canonical)
    _, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(whole[:-10])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    answer = await world.raw(whole)
    assert status_line(answer) == "HTTP/1.1 200 OK"
    assert len(world.application.tried) == 1


async def test_dry_runs_are_counted_apart_from_submissions(world: World) -> None:
    body = world.story.bicycle.canonical
    for query in ("", "?dry_run=true", "?dry_run=true", "?dry_run=false", "?dry_run=x"):
        await world.post(body, query)
    lines = (await world.get("/metrics")).text.splitlines()
    name = "planetmint_http_requests_total"
    assert f'{name}{{method="POST",route="{TRANSACTIONS}?dry_run=true",status="200"}} 2.0' in lines
    assert f'{name}{{method="POST",route="{TRANSACTIONS}",status="202"}} 2.0' in lines


async def test_pages_of_every_origin_may_read_the_answer(world: World) -> None:
    answer = await world.post(
        world.story.bicycle.canonical, "?dry_run=true", headers={"Origin": "https://example.org"}
    )
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert json.loads(answer.content)["valid"]
