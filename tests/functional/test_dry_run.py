# SPDX-License-Identifier: AGPL-3.0-or-later
"""Dry runs of started nodes, alone and beside the real engine (issue 5, item 5): the verdict, and nothing else."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from planetmint.testing.build import Builder, Built, Contract, Dialect, all_of
from tests.support.network import Network
from tests.support.node import NodeProcess

OLD, MIDDLE, NEW = (
    Builder(dialect) for dialect in (Dialect.BIGCHAINDB, Dialect.PLANETMINT_1, Dialect.PLANETMINT_2)
)
CODE = "Given I have a 'string' named 'reading'\nThen print the 'reading'\n"
HEAVY = (
    "Given I have a 'string' named 'reading'\n"
    "When I create the array of '10000' random objects of '10000' bits\n"
    "Then print the string 'ok'\n"
)
SETTINGS = {"PLANETMINT_CONTRACTS_SECONDS": "0.2", "PLANETMINT_CONTRACTS_WORKERS": "2"}
"""So little that `HEAVY` takes several times as much on any machine, and nothing else here does."""


@pytest.fixture(scope="module", params=["solo", "cometbft"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where the API of a node is, and its stream."""
    folder = tmp_path_factory.mktemp("dry")
    if request.param == "solo":
        with NodeProcess(folder / "node", SETTINGS) as node:
            yield f"{node.base_url}/api/v1", node.stream_url
    else:
        with Network(folder, 1, env=SETTINGS) as network:
            yield f"{network.nodes[0].process.base_url}/api/v1", network.nodes[0].stream_url


@pytest.fixture
def client(url: tuple[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url[0], timeout=60, trust_env=False) as made:
        yield made


def post(client: httpx.Client, item: Built, **arguments: str) -> httpx.Response:
    return client.post("/transactions", params=arguments or {"mode": "commit"}, content=item.canonical)


def tried(client: httpx.Client, item: Built) -> httpx.Response:
    return post(client, item, dry_run="true")


def scripted(reading: str, said: Any = None, code: str = CODE) -> Built:
    draft = NEW.draft_create(f"owner of {reading}", data=reading)
    return draft.scripted({"reading": reading}, said or {"reading": reading}, code=code).signed()


def height(client: httpx.Client) -> int:
    return int(client.get("/blocks/latest").json()["height"])


def since(client: httpx.Client, before: int) -> range:
    return range(before + 1, height(client) + 1)


def figure(client: httpx.Client, name: str) -> float:
    text = client.get(str(client.base_url).replace("/api/v1/", "/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


def test_a_transaction_is_tried_any_number_of_times_and_then_committed_once(
    client: httpx.Client, url: tuple[str, str]
) -> None:
    guarded = all_of("alice", Contract(CODE))
    parent = MIDDLE.create("alice", [(1, guarded), (1, "alice")], data="guarded")
    given = {"reading": "r1"}
    spend = MIDDLE.draft_transfer([parent.spend()], [(1, "bob")]).scripted(given, given, code=CODE).signed()
    rival = MIDDLE.draft_transfer([parent.spend()], [(1, "carol")]).scripted(given, given, code=CODE).signed()
    assert post(client, parent).status_code == 202
    with connect(url[1]) as stream:
        for item in (scripted("r0"), OLD.transfer([parent.spend(1)], [(1, "bob")]), spend):
            before = height(client)
            for _ in range(5):
                answer = tried(client, item)
                assert answer.status_code == 200, answer.text
                assert (answer.json()["valid"], answer.json()["id"]) == (True, item.id)
            if item is spend:
                assert tried(client, rival).status_code == 200
            # The engine makes an empty block after one with effects.
            assert [client.get(f"/blocks/{one}").json()["transactions"] for one in since(client, before)] in (
                [],
                [[]],
            )
            assert client.get(f"/transactions/{item.id}").status_code == 404
            assert figure(client, "planetmint_waiting_transactions") == 0
            assert post(client, item).status_code == 202
            # What was tried was not told; what was committed is.
            assert json.loads(stream.recv(timeout=30))["transaction_id"] == item.id
            assert tried(client, item).status_code == 400
    late = tried(client, rival)
    assert (late.status_code, late.json()["class"]) == (400, "DoubleSpend")


@pytest.mark.parametrize(
    "item",
    [
        scripted("a", {"reading": "b"}),
        scripted("c", code="Given I have a 'string' named 'missing'\nThen print the 'missing'\n"),
        scripted("d", code="Given nothing\nThen this is no statement\n"),
        OLD.transfer([OLD.create("nobody").spend()], [(1, "bob")]),
        NEW.create("alice").changed(lambda wire: wire.update(extra=1)),
    ],
    ids=["another result", "missing data", "no statement", "no such input", "unknown member"],
)
def test_a_refusal_is_that_of_a_submission_and_shows_what_the_engine_said(
    item: Built, client: httpx.Client
) -> None:
    dry, real = tried(client, item), post(client, item)
    assert dry.status_code == real.status_code == 400
    shared = real.json().keys()
    assert {name: dry.json()[name] for name in shared} == real.json()
    for run in dry.json()["contracts"]:
        assert run["error"]["class"] == "InvalidScript"
        assert run["messages"]
        assert json.loads(run["expected"])


def test_transactions_6_what_needs_more_than_the_node_grants_is_told_and_is_not_called_invalid(
    client: httpx.Client,
) -> None:
    answer = tried(client, scripted("heavy", ["ok"], code=HEAVY))
    assert (answer.status_code, answer.json()["class"], answer.json()["valid"]) == (400, "ContractOverrun", None)
    assert "planetmint contract run" in answer.json()["message"]


def test_many_heavy_trials_are_bounded_and_hold_up_no_submission(
    client: httpx.Client, url: tuple[str, str]
) -> None:
    heavy = [scripted(f"heavy {number}", ["ok"], code=HEAVY) for number in range(12)]
    with ThreadPoolExecutor(len(heavy)) as threads:
        under_way = [threads.submit(tried, httpx.Client(base_url=url[0], timeout=60), item) for item in heavy]
        assert post(client, OLD.create("dave")).status_code == 202
        answers = [one.result() for one in under_way]
    assert {answer.status_code for answer in answers} == {400, 503}
    for answer in answers:
        kind = answer.json()["class"]
        assert kind == ("ContractOverrun" if answer.status_code == 400 else "ContractsUnavailable")
        assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    good = scripted("after")
    assert tried(client, good).status_code == 200
    assert post(client, good).status_code == 202
