# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Web API of a started node: the rows of http-api that need a ledger, consensus and a database behind them."""

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest

from planetmint.http.routes import ROUTES
from planetmint.testing.build import Builder, Built, Dialect, public_key
from tests.support.node import NodeProcess

OLD, NEW = Builder(Dialect.BIGCHAINDB), Builder(Dialect.PLANETMINT_2)
NDJSON = {"Content-Type": "application/x-ndjson"}
MODES = ("async", "sync", "commit")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("http") / "node") as running:
        yield running


@pytest.fixture
def client(node: NodeProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{node.base_url}/api/v1", timeout=60) as made:
        yield made


def post(client: httpx.Client, item: Built, mode: str = "commit") -> httpx.Response:
    return client.post("/transactions", params={"mode": mode}, content=item.canonical)


def committed(client: httpx.Client, *items: Built) -> None:
    for item in items:
        answer = post(client, item)
        assert answer.status_code == 202, answer.text


def load(client: httpx.Client, *items: Built, mode: str = "async") -> list[Any]:
    body = b"\n".join(item.canonical for item in items)
    answer = client.post("/transactions", params={"mode": mode}, content=body, headers=NDJSON)
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.content.splitlines()]


def unique() -> str:
    """A text that no other test uses; long enough to count as an identifier in searches."""
    return "x" + os.urandom(20).hex()


def create(owner: str, builder: Builder = OLD, **members: Any) -> Built:
    return builder.create(owner, data=members.pop("data", unique()), **members)


# Modes and what follows them


@pytest.mark.parametrize("builder", [OLD, Builder(Dialect.PLANETMINT_1), NEW], ids=lambda item: item.dialect.value)
def test_http_4_3_commit_is_readable_everywhere_at_once(builder: Builder, client: httpx.Client) -> None:
    owner, word = unique(), unique()
    item = builder.create(owner, data=builder.dialect.content(word), metadata=builder.dialect.content(word))
    committed(client, item)
    assert client.get(f"/transactions/{item.id}").json() == item.wire
    assert client.get("/transactions", params={"asset_id": item.id}).json() == [item.wire]
    outputs = client.get("/outputs", params={"public_key": public_key(owner)}).json()
    assert outputs == [{"transaction_id": item.id, "output_index": 0}]
    assert [found["id"] for found in client.get("/assets", params={"search": word}).json()] == [item.id]
    assert [found["id"] for found in client.get("/metadata", params={"search": word}).json()] == [item.id]
    height = client.get("/blocks", params={"transaction_id": item.id, "view": "heights"}).json()[0]
    assert item.wire in client.get(f"/blocks/{height}").json()["transactions"]
    assert client.get("/blocks/latest").json()["height"] >= height


@pytest.mark.parametrize("mode", MODES)
def test_http_4_3_every_mode_ends_in_a_block(mode: str, client: httpx.Client) -> None:
    item = create("alice")
    answer = post(client, item, mode)
    assert (answer.status_code, answer.json()) == (202, item.wire)
    committed(client, create("alice"))  # its block holds what was taken before, or comes after
    assert client.get(f"/transactions/{item.id}").status_code == 200


@pytest.mark.parametrize("mode", MODES)
def test_http_4_3_a_committed_transaction_again_answers_duplicate(mode: str, client: httpx.Client) -> None:
    item = create("alice")
    committed(client, item)
    answer = post(client, item, mode)
    assert answer.status_code == 400
    assert answer.json()["message"] == (
        f"Invalid transaction (DuplicateTransaction): transaction `{item.id}` already exists"
    )


@pytest.mark.parametrize("mode", MODES)
def test_http_4_3_a_double_spend_answers_400_in_every_mode(mode: str, client: httpx.Client) -> None:
    item = create("alice")
    committed(client, item, OLD.transfer([item.spend()], [(1, "bob")]))
    answer = post(client, OLD.transfer([item.spend()], [(1, "carol")]), mode)
    assert (answer.status_code, answer.json()["class"]) == (400, "DoubleSpend")
    assert answer.json()["message"] == f"Invalid transaction (DoubleSpend): input `{item.id}` was already spent"


async def test_http_4_3_of_conflicting_transactions_sent_at_once_one_wins_and_the_others_answer_400(
    node: NodeProcess, client: httpx.Client
) -> None:
    item = create("alice")
    committed(client, item)
    rivals = [OLD.transfer([item.spend()], [(1, f"rival {number}")]) for number in range(8)]
    async with httpx.AsyncClient(base_url=f"{node.base_url}/api/v1", timeout=60) as many:
        answers = await asyncio.gather(
            *(many.post("/transactions?mode=commit", content=rival.canonical) for rival in rivals)
        )
    assert sorted(answer.status_code for answer in answers) == [202] + [400] * 7
    assert {answer.json()["class"] for answer in answers if answer.status_code == 400} == {"DoubleSpend"}
    won = [rival.id for rival, answer in zip(rivals, answers, strict=True) if answer.status_code == 202]
    stored = client.get("/transactions", params={"asset_id": item.id, "operation": "TRANSFER"}).json()
    assert [one["id"] for one in stored] == won


async def test_http_4_3_the_same_bytes_sent_at_once_answer_400_but_once(node: NodeProcess) -> None:
    item = create("alice")
    async with httpx.AsyncClient(base_url=f"{node.base_url}/api/v1", timeout=60) as many:
        answers = await asyncio.gather(
            *(many.post("/transactions?mode=commit", content=item.canonical) for _ in range(8))
        )
    assert sorted(answer.status_code for answer in answers) == [202] + [400] * 7
    refused = [answer.json() for answer in answers if answer.status_code == 400]
    assert {body["class"] for body in refused} == {"DuplicateTransaction"}


def test_http_4_3_signatures_of_a_create_are_verified(client: httpx.Client) -> None:
    other = create("alice")
    forged = create("alice").changed(
        lambda wire: wire["inputs"][0].update(fulfillment=other.wire["inputs"][0]["fulfillment"])
    )
    answer = post(client, forged)
    assert (answer.status_code, answer.json()["class"]) == (400, "InvalidSignature")


def test_http_4_3_an_unknown_input_answers_input_does_not_exist(client: httpx.Client) -> None:
    missing = create("alice")
    answer = post(client, OLD.transfer([missing.spend()], [(1, "bob")]))
    assert (answer.status_code, answer.json()["class"]) == (400, "InputDoesNotExist")
    assert answer.json()["message"].endswith(f"input `{missing.id}` doesn't exist")


# Bulk


@pytest.mark.parametrize("mode", MODES)
def test_http_4_3_bulk_lines_may_spend_outputs_of_earlier_lines(mode: str, client: httpx.Client) -> None:
    first = create("alice", shares=[(3, "alice")])
    second = OLD.transfer([first.spend()], [(1, "bob"), (2, "alice")])
    third = OLD.transfer([second.spend(1)], [(2, "carol")])
    twice = OLD.transfer([first.spend()], [(3, "dave")])
    lines = load(client, first, second, third, twice, first, mode=mode)
    assert [(line["id"], line["status"]) for line in lines] == [
        (first.id, 202),
        (second.id, 202),
        (third.id, 202),
        (twice.id, 400),
        (first.id, 400),
    ]
    assert [line["class"] for line in lines[3:]] == ["DoubleSpend", "DuplicateTransaction"]
    committed(client, create("alice"))
    stored = client.get("/transactions", params={"asset_id": first.id}).json()
    assert [item["id"] for item in stored] == [first.id, second.id, third.id]


def test_http_4_3_bulk_a_line_before_the_one_that_it_spends_from_is_refused(client: httpx.Client) -> None:
    first = create("alice")
    second = OLD.transfer([first.spend()], [(1, "bob")])
    lines = load(client, second, first)
    assert [(line["status"], line.get("class")) for line in lines] == [(400, "InputDoesNotExist"), (202, None)]


def test_http_4_3_bulk_of_a_thousand_is_committed_whole(client: httpx.Client) -> None:
    owner = unique()
    items = [create("alice", shares=[(1, owner)]) for _ in range(1_000)]
    lines = load(client, *items, mode="commit")
    assert [(line["id"], line["status"]) for line in lines] == [(item.id, 202) for item in items]
    outputs = client.get("/outputs", params={"public_key": public_key(owner)}).json()
    assert [output["transaction_id"] for output in outputs] == [item.id for item in items]


# Reads on the real database


def test_http_4_2_compose_and_decompose_are_found_by_their_assets(client: httpx.Client) -> None:
    one, other = create("alice", NEW), create("alice", NEW)
    both = NEW.compose([one.spend(), other.spend()], [(1, "alice")], data=unique())
    parts = NEW.decompose(both.spend(), [unique(), unique()])
    committed(client, one, other, both, parts)

    def found(**params: str) -> list[str]:
        return [item["id"] for item in client.get("/transactions", params=params).json()]

    assert found(asset_id=one.id) == [one.id, both.id]
    assert found(asset_ids=f"{other.id},{one.id}") == [one.id, other.id, both.id]
    assert parts.id in found(asset_id=both.id)
    assert found(asset_id=one.id, operation="create") == [one.id]
    assert found(asset_id=one.id, last_tx="true") == [both.id]
    assert client.get(f"/assets/{both.wire['assets'][0]['data']}").json() == both.wire["assets"]


def test_http_6_1_search_knows_words_phrases_and_exclusions(client: httpx.Client) -> None:
    mark = unique()
    items = [
        create("alice", data={"text": f"{mark} running shoes, blue"}),
        create("alice", data={"text": f"{mark} blue shoe"}),
        create("alice", data={"name": mark, "colour": "red"}),
    ]
    committed(client, *items)

    def found(search: str) -> list[str]:
        return [item["id"] for item in client.get("/assets", params={"search": search}).json()]

    assert found(mark) == [item.id for item in items]
    assert found(f'{mark} "blue shoe"') == [items[1].id]
    assert found(f"{mark} -BLUE") == [items[2].id]
    assert found(f"colour{mark}") == []
    assert found(f"{mark} run")[0] == items[0].id


HOSTILE_SEARCHES = [
    *["'", '"', '"" -""', "* OR 1=1", "a AND", "NEAR(a b)", "{a}", "a:b", "^a", "(", "a*", "-", "--", "\x00"],
    *["\ue000", "ﷺ" * 300, "a " * 500, '"a ' * 300, "-a " * 300],
]


@pytest.mark.parametrize("search", HOSTILE_SEARCHES)
def test_http_6_1_no_search_is_an_error_of_the_database(search: str, client: httpx.Client) -> None:
    for route in ("/assets", "/metadata"):
        assert client.get(route, params={"search": search}).status_code == 200
    assert client.get(f"/assets/{search.replace('/', '')[:200].encode().hex()}").json() == []


def lists(client: httpx.Client) -> list[tuple[str, dict[str, str]]]:
    """Every list of the API, each with several items."""
    owner, word = unique(), unique()
    items = [NEW.create("alice", [(number + 1, owner)], data=word, metadata=word) for number in range(7)]
    old = create("alice", shares=[(3, "alice")])
    sold = OLD.transfer([old.spend()], [(1, "alice"), (2, "alice")])
    committed(client, *items, old, sold)
    ids = ",".join([old.id, *(item.id for item in items)])
    return [
        ("/transactions", {"asset_ids": ids}),
        ("/outputs", {"public_key": public_key(owner)}),
        ("/outputs", {"public_key": public_key(owner), "spent": "false"}),
        ("/assets", {"search": word}),
        ("/metadata", {"search": word}),
        (f"/assets/{word}", {}),
        (f"/metadata/{word}", {}),
    ]


def test_paging_every_list_in_pages_is_the_list_on_the_real_database(client: httpx.Client) -> None:
    for path, params in lists(client):
        whole = client.get(path, params=params).json()
        assert len(whole) >= 7
        for limit in (1, 3, 7):
            items: list[Any] = []
            url: str | None = str(client.build_request("GET", path, params={**params, "limit": limit}).url)
            while url:
                answer = client.get(url)
                items += answer.json()
                following = answer.links.get("next")
                url = following and str(answer.url.join(following["url"]))
            assert items == whole, (path, limit)


def test_paging_forged_cursors_are_never_an_error_of_the_database(client: httpx.Client) -> None:
    for path, params in lists(client):
        route = "/api/v1" + path if path.count("/") == 1 else "/api/v1" + path[: path.rindex("/")] + "/{cid}"
        for places in (
            b"0",
            b"-1",
            b"999999999999999999",
            b"-999999999999999999",
            b"1,1",
            b"1,1,1,1,1,1,1,1",
            b"-1,0",
        ):
            check = crc32(places, crc32(route.encode())).to_bytes(4, "big")
            cursor = base64.urlsafe_b64encode(check + places).rstrip(b"=").decode()
            for extra in ({}, {"limit": "2"}):
                answer = client.get(path, params={**params, **extra, "cursor": cursor})
                assert answer.status_code in (200, 400), (path, places, answer.text)


def test_http_7_every_block_is_whole_and_they_count_up(client: httpx.Client) -> None:
    committed(client, create("alice"), create("alice"))
    newest = client.get("/blocks/latest").json()
    for height in range(newest["height"] + 1):
        block = client.get(f"/blocks/{height}").json()
        assert block["height"] == height
        assert [item["id"] for item in block["transactions"]] == block["transaction_ids"]
    assert client.get(f"/blocks/{newest['height'] + 10_000}").status_code == 404
    assert newest["transactions"] == newest["transaction_ids"]


def test_http_7_3_the_form_follows_the_version(client: httpx.Client) -> None:
    old, new = create("alice"), create("alice", NEW)
    committed(client, old, new)
    heights = client.get("/blocks", params={"transaction_id": old.id}).json()
    assert client.get(f"/blocks/{heights[0]}").json()["transaction_ids"] == [old.id]
    block = client.get("/blocks", params={"transaction_id": new.id}).json()
    assert block["transaction_ids"] == [new.id]
    assert set(block) == {"app_hash", "height", "transaction_ids"}


def test_http_8_an_embedded_node_is_its_only_validator(client: httpx.Client) -> None:
    (validator,) = client.get("/validators").json()
    assert validator["public_key"]["type"] == "ed25519-base64"
    assert len(base64.b64decode(validator["public_key"]["value"])) == 32
    assert validator["voting_power"] > 0


def test_http_3_the_advertised_stream_is_the_one_that_listens(node: NodeProcess, client: httpx.Client) -> None:
    assert client.get("").json()["streams"] == node.stream_url
    assert httpx.get(f"{node.base_url}/").json()["api"]["v1"]["streams"] == node.stream_url


def test_health_and_figures_of_a_running_node(node: NodeProcess) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert httpx.get(node.base_url + path).status_code == 200


# Bad input


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_bad_input_keeps_the_memory_of_the_node_bounded(node: NodeProcess, client: httpx.Client) -> None:
    bodies = [b"x" * 30_000_000, b"[" * 1_000_000, b'{"a":' * 200_000, b'{"a":"' + b"x" * 1_000_000 + b'"}']
    for body in bodies:  # once, so that what stays is what the allocator keeps
        client.post("/transactions", content=body)
    before = memory_of(node.pid)
    for _ in range(5):
        for body in bodies:
            answer = client.post("/transactions", content=body)
            assert 400 <= answer.status_code < 500
            assert answer.json()["class"]
    assert memory_of(node.pid) - before < 60_000_000
    assert node.running


def test_bad_input_on_every_route_answers_below_500(client: httpx.Client) -> None:
    odd = ["%00", "%FF", "%0A", "..%2f..", "%F0%9F%98%80", "a" * 4_000, "-1", "NaN", "'", "[]", "%25", "1e9"]
    names = {name for spec in ROUTES for name in (*spec.parameters, *(spec.post_parameters or ()))}
    for spec in ROUTES:
        base = spec.path.replace(":digits", "")
        for value in odd:
            path = base
            for part in ("{id}", "{cid}", "{height}"):
                path = path.replace(part, value)
            query = "&".join(f"{name}={value}" for name in sorted(names))
            for url in (path, f"{path}?{query}", *(f"{path}?{name}={value}" for name in spec.parameters)):
                answer = client.get(httpx.URL(f"{client.base_url.copy_with(path='')}{url}"))
                assert answer.status_code < 500, (url[:200], answer.text)


def test_a_restart_answers_as_before(tmp_path: Path) -> None:
    item = create("alice")
    node = NodeProcess(tmp_path / "node")
    with node, httpx.Client(base_url=f"{node.base_url}/api/v1", timeout=60) as client:
        committed(client, item)
        before = [client.get(path).content for path in (f"/transactions/{item.id}", "/blocks/1", "/validators")]
    with node, httpx.Client(base_url=f"{node.base_url}/api/v1", timeout=60) as client:
        after = [client.get(path).content for path in (f"/transactions/{item.id}", "/blocks/1", "/validators")]
    assert after == before
