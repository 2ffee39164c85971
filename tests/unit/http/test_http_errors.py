# SPDX-License-Identifier: AGPL-3.0-or-later
"""The table of errors is whole, and says what http-api 2.2 and 4.3 ask."""

import json
import logging

import pytest

from planetmint.http.errors import LONGEST_TEXT, NODE_ERRORS, TABLE, error_answer, row_of
from planetmint.http.failures import QUIET_SECONDS, Failures
from planetmint.model.errors import InvalidTransaction, SchemaValidationError, ValidationError
from planetmint.ports import errors as failures
from planetmint.ports.errors import (
    CommitTimeout,
    ContractError,
    ContractOverrun,
    ContractsUnavailable,
    EngineError,
    MempoolFull,
    StoreError,
    StoreFull,
)
from tests.unit.http.world import World, lines_of


def tree(kind: type[Exception]) -> set[type[Exception]]:
    """A class and all below it that the product defines."""
    below = {kind}.union(*(tree(child) for child in kind.__subclasses__()))
    return {one for one in below if one.__module__.startswith("planetmint.")}


ROOTS = (InvalidTransaction, StoreError, EngineError, ContractError)
KINDS = sorted(set[type[Exception]]().union(*map(tree, ROOTS)), key=lambda kind: kind.__name__)
SENDERS = (InvalidTransaction, ContractOverrun)
"""What is the sender's own affair."""

NAMES = [
    "AmountError",
    "AssetIdMismatch",
    "DoubleSpend",
    "DuplicateTransaction",
    "InputDoesNotExist",
    "InvalidHash",
    "InvalidPowerChange",
    "InvalidProposer",
    "InvalidPublicKey",
    "InvalidScript",
    "InvalidSignature",
    "MultipleInputsError",
    "SchemaValidationError",
    "ThresholdTooDeep",
    "TransactionOwnerError",
    "TransactionTooLarge",
    "UnequalValidatorSet",
    "ValidationError",
]


def made(kind: type[Exception]) -> Exception:
    return kind("reason", rule="a.rule") if issubclass(kind, InvalidTransaction) else kind("detail")


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_class_has_a_row(kind: type[Exception]) -> None:
    assert kind in TABLE, f"{kind.__name__} needs a row in planetmint.http.errors.TABLE"


def test_every_failure_that_ports_name_is_caught_where_requests_are_answered() -> None:
    named = {kind for kind in vars(failures).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {kind for kind in named if not issubclass(kind, NODE_ERRORS)} == set()
    assert set(NODE_ERRORS) == set(ROOTS)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_error_is_answered_by_its_row_whatever_is_posted(kind: type[Exception], world: World) -> None:
    world.application.failure = made(kind)
    status, body = TABLE[kind].status, world.story.bicycle.canonical
    for query in ("", "?mode=sync", "?mode=commit", "?dry_run=true"):
        answer = await world.post(body, query)
        assert (answer.status_code, answer.json()["class"]) == (status, kind.__name__), query
    lines = await world.post(body, headers={"Content-Type": "application/x-ndjson"})
    assert [(line["status"], line["class"]) for line in lines_of(lines)] == [(status, kind.__name__)]


def test_the_table_has_no_other_rows() -> None:
    assert set(TABLE) == set(KINDS)


def test_http_4_3_class_names_are_pinned() -> None:
    assert sorted(kind.__name__ for kind in tree(InvalidTransaction) - {InvalidTransaction}) == NAMES


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_has_message_first_class_and_status_last(kind: type[Exception]) -> None:
    answer = error_answer(made(kind))  # type: ignore[arg-type]
    body = json.loads(answer.body, object_pairs_hook=list)
    names = [name for name, _ in body]
    assert (names[0], names[1], names[-1]) == ("message", "class", "status")
    assert dict(body)["class"] == kind.__name__
    assert dict(body)["status"] == answer.status == TABLE[kind].status
    assert 400 <= answer.status < 500 if issubclass(kind, SENDERS) else answer.status in (503, 504)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_may_pass_by_itself_says_when_to_retry(kind: type[Exception]) -> None:
    headers = dict(error_answer(made(kind)).headers)  # type: ignore[arg-type]
    assert (b"retry-after" in headers) == (TABLE[kind].status == 503)


@pytest.mark.parametrize("kind", KINDS)
def test_faults_of_senders_are_not_logged_and_those_of_the_node_are(
    kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    Failures().answer(made(kind))  # type: ignore[arg-type]
    Failures().line(None, made(kind))  # type: ignore[arg-type]
    logged = capsys.readouterr().out
    assert (logged == "") == issubclass(kind, InvalidTransaction)
    expected = {InvalidTransaction: logging.DEBUG, ContractOverrun: logging.INFO}
    assert TABLE[kind].level >= next((expected[one] for one in kind.__mro__ if one in expected), logging.WARNING)
    assert logged.count("detail=detail") == (2 if logged else 0), "the operator needs what the client does not get"


def test_a_class_of_errors_gets_one_line_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    failures = Failures()
    for _ in range(50):
        failures.answer(MempoolFull("full"))
    failures.answer(StoreError("gone"))
    assert capsys.readouterr().out.count("request failed") == 2
    clock[0] += QUIET_SECONDS
    failures.answer(MempoolFull("full"))
    logged = capsys.readouterr().out
    assert logged.count("request failed") == 1
    assert "49" in logged


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not issubclass(kind, SENDERS)])
def test_texts_of_internal_errors_are_not_sent(kind: type[Exception]) -> None:
    assert b"/var/secret" not in error_answer(kind("/var/secret")).body  # type: ignore[arg-type]


def test_an_unknown_subclass_is_answered_as_its_parent() -> None:
    class Odd(ValidationError):
        pass

    assert row_of(Odd("x", rule="y")) == TABLE[ValidationError]


def test_statuses_of_the_node_s_own_trouble() -> None:
    expected = {
        StoreError: 503,
        StoreFull: 503,
        EngineError: 503,
        MempoolFull: 503,
        CommitTimeout: 504,
        ContractError: 503,
        ContractsUnavailable: 503,
    }
    assert {kind: TABLE[kind].status for kind in expected} == expected


def test_transactions_6_an_overrun_is_refused_without_being_called_invalid() -> None:
    answer = error_answer(ContractOverrun("it took more than 1 second of processor time"))
    body = json.loads(answer.body)
    assert (answer.status, body["class"], answer.headers) == (400, "ContractOverrun", ())
    assert "(ContractOverrun): it took more than 1 second of processor time." in body["message"]
    assert "another node may" in body["message"]
    assert "planetmint contract run" in body["message"]
    assert "invalid" not in body["message"].lower()


def test_long_texts_of_a_client_are_clipped() -> None:
    error = SchemaValidationError("x" * 10_000, rule="a.rule", field="y" * 10_000)
    body = json.loads(error_answer(error).body)
    assert body["message"] == "Invalid transaction schema: " + "x" * LONGEST_TEXT + "…"
    assert body["field"] == "y" * LONGEST_TEXT + "…"


def test_braces_in_a_reason_are_kept() -> None:
    body = json.loads(error_answer(ValidationError("{code} {0} {", rule="a.rule")).body)
    assert body["message"] == "Invalid transaction (ValidationError): {code} {0} {"
