# SPDX-License-Identifier: AGPL-3.0-or-later
"""What planetmint-driver-ts 0.2 needs, by requests written out by hand: that driver was never published.

It compares the content type for equality, gives its caller the code and reason phrase of the status line, and
shows the body's `message` as text. Source: http-api 2.1, 2.2, 2.3 and the fourth column of 9.
"""

import http.client
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.compat.conftest import NodeUnderTest
from tests.support import handmade

TIMEOUT = 30
MISSING = "0" * 64


@dataclass(frozen=True)
class Answer:
    """One answer, with the status line as it was sent."""

    status_line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")


class Client:
    """Sends single requests in the way of the driver, each with the headers of `fetch`."""

    def __init__(self, node: NodeUnderTest) -> None:
        self._node = node

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self._node.host, self._node.port, timeout=TIMEOUT)
        try:
            text = None if body is None else json.dumps(body).encode()
            # What `fetch` adds by itself to a body that is a text.
            sent = {"Content-Type": "text/plain;charset=UTF-8"} if text is not None else {}
            connection.request(method, path, body=text, headers={"Accept": "*/*", **sent, **(headers or {})})
            answer = connection.getresponse()
            line = f"HTTP/{answer.version // 10}.{answer.version % 10} {answer.status} {answer.reason}"
            return Answer(line, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", "/api/v1/" + path)

    def post(self, transaction: handmade.Transaction, mode: str = "commit") -> Answer:
        return self.request("POST", f"/api/v1/transactions?mode={mode}", transaction)


@pytest.fixture(scope="module")
def client(node: NodeUnderTest) -> Client:
    return Client(node)


@dataclass(frozen=True)
class Story:
    """What is on the chain before the questions are asked."""

    owner: handmade.Owner
    buyer: handmade.Owner
    cid: str
    created: handmade.Transaction
    sold: handmade.Transaction
    other: handmade.Transaction


@pytest.fixture(scope="module")
def story(client: Client) -> Story:
    owner, buyer = handmade.Owner(), handmade.Owner()
    cid = handmade.cid(uuid.uuid4().hex)
    created = handmade.create_3(owner, cid, cid)
    sold = handmade.transfer([(created, 0)], [owner], [handmade.output(buyer)])
    other = handmade.create_3(owner, handmade.cid(uuid.uuid4().hex))
    for transaction in (created, sold, other):
        assert client.post(transaction).status_line == "HTTP/1.1 202 ACCEPTED"
    return Story(owner, buyer, cid, created, sold, other)


def reads(story: Story) -> list[str]:
    """One path of each kind that the driver reads."""
    return [
        f"transactions/{story.created['id']}",
        f"transactions?asset_ids={story.created['id']}&operation=CREATE",
        f"outputs?public_key={story.owner.public_key}",
        f"outputs?public_key={story.owner.public_key}&spent=false",
        f"blocks?transaction_id={story.created['id']}",
        "blocks/1",
        f"assets/{story.cid}?limit=10",
    ]


@pytest.mark.parametrize("number", range(7))
def test_every_read_answers_200_ok_with_exactly_application_json(
    number: int, client: Client, story: Story
) -> None:
    answer = client.get(reads(story)[number])
    assert answer.status_line == "HTTP/1.1 200 OK"
    assert answer.content_type == "application/json"


@pytest.mark.parametrize("mode", ["async", "sync", "commit"])
def test_post_answers_202_accepted_with_the_transaction_and_exactly_application_json(
    mode: str, client: Client
) -> None:
    transaction = handmade.create_3(handmade.Owner(), handmade.cid(uuid.uuid4().hex))
    answer = client.post(transaction, mode)
    assert answer.status_line == "HTTP/1.1 202 ACCEPTED"
    assert answer.content_type == "application/json"
    assert answer.json == transaction


def test_refused_transaction_answers_400_bad_request_with_a_message_that_is_text(
    client: Client, story: Story
) -> None:
    again = handmade.transfer([(story.created, 0)], [story.owner], [handmade.output(story.owner)])
    for mode in ("async", "sync", "commit"):
        answer = client.post(again, mode)
        assert answer.status_line == "HTTP/1.1 400 BAD REQUEST"
        assert answer.content_type == "application/json"
        assert answer.json["message"].startswith("Invalid transaction (DoubleSpend): ")
        assert answer.json["status"] == 400


@pytest.mark.parametrize(
    "body",
    [[], "text", 7, {}, {"id": None}, None],
    ids=["list", "text", "number", "empty object", "null id", "no body"],
)
def test_nonsense_answers_400_bad_request_with_a_message_that_is_text(body: object, client: Client) -> None:
    answer = client.request("POST", "/api/v1/transactions?mode=commit", body)
    assert answer.status_line == "HTTP/1.1 400 BAD REQUEST"
    assert answer.content_type == "application/json"
    assert isinstance(answer.json["message"], str)


@pytest.mark.parametrize("path", [f"transactions/{MISSING}", "transactions/transactionId", "blocks/999999999"])
def test_what_is_not_there_answers_404_not_found_with_a_message_that_is_text(path: str, client: Client) -> None:
    answer = client.get(path)
    assert answer.status_line == "HTTP/1.1 404 NOT FOUND"
    assert answer.content_type == "application/json"
    assert answer.json == {"message": "Not found", "status": 404}


def test_path_outside_the_api_answers_404_not_found_without_json(client: Client) -> None:
    # The driver's own test asks for this address and expects its built-in text, which it uses if no JSON came.
    answer = client.request("GET", "/api/wrong/transactions/transactionId")
    assert answer.status_line == "HTTP/1.1 404 NOT FOUND"
    assert answer.content_type != "application/json"


def test_stored_transaction_is_the_one_that_was_sent(client: Client, story: Story) -> None:
    assert client.get(f"transactions/{story.created['id']}").json == story.created


def test_asset_by_content_id_with_the_default_limit(client: Client, story: Story) -> None:
    assert client.get(f"assets/{story.cid}?limit=10").json == [{"data": story.cid}]
    assert client.get(f"assets/{handmade.cid('never made')}?limit=10").json == []


def test_asset_by_content_id_with_two_slashes(client: Client, story: Story) -> None:
    answer = client.get(f"assets//{story.cid}?limit=10")
    assert answer.status_line == "HTTP/1.1 200 OK"
    assert answer.json == [{"data": story.cid}]


def test_transactions_by_asset_ids_and_operation(client: Client, story: Story) -> None:
    asset_id, other_id = story.created["id"], story.other["id"]
    assert client.get(f"transactions?asset_ids={asset_id}").json == [story.created, story.sold]
    assert client.get(f"transactions?asset_ids={asset_id}&operation=CREATE").json == [story.created]
    assert client.get(f"transactions?asset_ids={asset_id}&operation=TRANSFER").json == [story.sold]
    repeated = client.get(f"transactions?asset_ids={asset_id}&asset_ids={other_id}&operation=CREATE")
    assert repeated.json == [story.created, story.other]
    assert client.get(f"transactions?asset_ids={asset_id},{other_id}&operation=CREATE").json == repeated.json


def test_outputs_with_spent_as_a_word(client: Client, story: Story) -> None:
    of_owner = f"outputs?public_key={story.owner.public_key}"
    first = {"transaction_id": story.created["id"], "output_index": 0}
    second = {"transaction_id": story.other["id"], "output_index": 0}
    assert client.get(of_owner).json == [first, second]
    assert client.get(of_owner + "&spent=true").json == [first]
    assert client.get(of_owner + "&spent=false").json == [second]


def test_block_of_a_transaction_is_the_object_of_its_generation(client: Client, story: Story) -> None:
    found = client.get(f"blocks?transaction_id={story.created['id']}").json
    assert story.created["id"] in found["transaction_ids"]
    block = client.get(f"blocks/{found['height']}").json
    assert {key: block[key] for key in ("height", "app_hash", "transaction_ids")} == {
        key: found[key] for key in ("height", "app_hash", "transaction_ids")
    }
    assert story.created in block["transactions"]


def test_cors_preflight_of_a_post_succeeds(client: Client) -> None:
    answer = client.request(
        "OPTIONS",
        "/api/v1/transactions?mode=commit",
        headers={
            "Origin": "https://wallet.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    assert answer.status_line == "HTTP/1.1 200 OK"
    assert answer.body == b""
    assert answer.headers["access-control-allow-origin"] in ("*", "https://wallet.example")
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()


def test_browser_may_read_answers_and_refusals(client: Client, story: Story) -> None:
    origin = {"Origin": "https://wallet.example"}
    good = client.request("GET", f"/api/v1/transactions/{story.created['id']}", headers=origin)
    missing = client.request("GET", f"/api/v1/transactions/{MISSING}", headers=origin)
    refused = client.request("POST", "/api/v1/transactions?mode=commit", story.created, origin)
    assert [answer.status_line.split(" ")[1] for answer in (good, missing, refused)] == ["200", "404", "400"]
    for answer in (good, missing, refused):
        assert answer.headers["access-control-allow-origin"] in ("*", "https://wallet.example")


def test_post_of_a_browser_build_is_accepted(client: Client) -> None:
    transaction = handmade.create_3(handmade.Owner(), handmade.cid(uuid.uuid4().hex))
    headers = {
        "Origin": "https://wallet.example",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    answer = client.request("POST", "/api/v1/transactions?mode=commit", transaction, headers)
    assert answer.status_line == "HTTP/1.1 202 ACCEPTED"
    assert answer.json == transaction


def test_version_2_create_of_the_driver_is_accepted(client: Client) -> None:
    # makeCreateTransactionV2: version 2.0 with a content id as asset data and as metadata.
    content = handmade.cid(uuid.uuid4().hex)
    transaction = handmade.create_2(handmade.Owner(), content, content)
    assert client.post(transaction).status_line == "HTTP/1.1 202 ACCEPTED"
    assert client.get(f"transactions/{transaction['id']}").json == transaction


def test_committed_transaction_arrives_on_the_advertised_stream(client: Client) -> None:
    transaction = handmade.create_3(handmade.Owner(), handmade.cid(uuid.uuid4().hex))
    with connect(client.request("GET", "/api/v1").json["streams"], open_timeout=TIMEOUT) as stream:
        assert client.post(transaction).status_line == "HTTP/1.1 202 ACCEPTED"
        message = json.loads(stream.recv(timeout=TIMEOUT))
        while message["transaction_id"] != transaction["id"]:
            message = json.loads(stream.recv(timeout=TIMEOUT))
    height = client.get(f"blocks?transaction_id={transaction['id']}").json["height"]
    assert message["height"] == height
    assert message["asset_ids"] == [transaction["id"]]
