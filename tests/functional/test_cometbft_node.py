# SPDX-License-Identifier: AGPL-3.0-or-later
"""A node under the real engine, alone and over SQLite: blocks, streams, hostile bytes, kill -9 of either side.

Source: consensus-and-storage 1, 4 and 5.
"""

import base64
import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from planetmint.testing.build import Builder, Dialect
from tests.support.network import HOST, Network, NetworkNode, until

BUILD = Builder(Dialect.PLANETMINT_2)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkNode]:
    with Network(tmp_path_factory.mktemp("node"), 1) as network:
        yield network.nodes[0]


def broadcast(node: NetworkNode, raw: bytes, method: str = "broadcast_tx_sync") -> dict[str, Any]:
    """What the engine's RPC answers to a transaction."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": [base64.b64encode(raw).decode()]}
    answer = httpx.post(f"http://{HOST}:{node.rpc_port}", json=body, timeout=20, trust_env=False)
    document: dict[str, Any] = answer.json()
    return document


def engine_hash(node: NetworkNode) -> str:
    """The application's hash as the engine knows it, hex."""
    return base64.b64decode(node.rpc("abci_info")["response"]["last_block_app_hash"]).hex()


def agrees(node: NetworkNode) -> bool:
    """Whether engine and node stand at the same height with the same hash."""
    height = node.height()
    if height is None:
        return False
    status = node.rpc("status")["sync_info"]
    return int(status["latest_block_height"]) == height and engine_hash(node) == node.app_hash(height)


def test_what_is_posted_is_committed_streamed_and_hashed_alike_by_node_and_engine(node: NetworkNode) -> None:
    items = [BUILD.create(f"streamed-{number}") for number in range(5)]
    with connect(node.stream_url) as stream:
        for item in items:
            assert node.post(item).status_code == 202
        events = [json.loads(stream.recv(timeout=30)) for _ in items]
    assert [event["transaction_id"] for event in events] == [item.id for item in items]
    assert [event["height"] for event in events] == sorted({event["height"] for event in events})
    until(lambda: agrees(node), "engine and node agree")
    height = events[0]["height"]
    carried = node.rpc("block", height=str(height))["block"]["data"]["txs"]
    assert [base64.b64decode(raw) for raw in carried] == [items[0].canonical]
    (result,) = node.rpc("block_results", height=str(height))["txs_results"]
    assert result["code"] == 0


def test_a_transaction_that_is_known_or_spent_is_refused_with_its_class(node: NetworkNode) -> None:
    item = BUILD.create("alice", [(5, "alice")])
    one, rival = (BUILD.transfer([item.spend()], [(5, name)]) for name in ("bob", "carol"))
    assert [node.post(built).status_code for built in (item, one)] == [202, 202]
    for built, name in ((item, "DuplicateTransaction"), (rival, "DoubleSpend")):
        answer = node.post(built)
        assert answer.status_code == 400
        assert name in answer.json()["message"]
    checked = broadcast(node, rival.canonical)["result"]
    assert (checked["code"], checked["codespace"]) == (1, "DoubleSpend")


def test_any_bytes_sent_to_the_engine_get_a_code_and_end_nothing(node: NetworkNode) -> None:
    item = BUILD.create("mallory")
    hostile = [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b"null",
        b'{"a":NaN}',
        b" " + item.canonical,
        item.canonical[:-1],
        item.canonical.replace(b"CREATE", b"CREATF"),
        os.urandom(500_000),
    ]
    pids = [node.process.pid, *node.children()]
    for raw in hostile:
        answer = broadcast(node, raw)
        assert answer["result"]["code"] != 0
        assert answer["result"]["log"]
    assert node.post(item).status_code == 202
    assert [node.process.pid, *node.children()] == pids


def test_the_engine_is_killed_and_comes_back_with_every_block(node: NetworkNode) -> None:
    before = BUILD.create("before")
    assert node.post(before).status_code == 202
    height = node.height()
    with connect(node.stream_url) as stream:
        killed = node.kill_engine()
        until(lambda: not node.ready(), "the node says that its engine is away")
        answer = node.post(BUILD.create("meanwhile"))
        assert answer.status_code == 503
        assert node.has(before), "what is committed can be read all the time"
        until(lambda: node.ready() and node.pid_of(node.home) not in (None, killed), "the engine is back")
        after = BUILD.create("after")
        assert node.post(after).status_code == 202
        assert json.loads(stream.recv(timeout=30))["transaction_id"] == after.id
    assert (node.height() or 0) > (height or 0)
    until(lambda: agrees(node), "engine and node agree")


def test_the_node_is_killed_under_load_and_no_block_is_lost_or_stored_twice(node: NetworkNode) -> None:
    committed: list[str] = []
    for kill in range(3):
        items = [BUILD.create(f"owner-{kill}-{number}") for number in range(40)]
        for item in items[:10]:
            assert node.post(item).status_code == 202
            committed.append(item.id)
        for item in items[10:]:
            assert node.post(item, mode="async").status_code == 202
        node.kill()
        node.start().wait_ready()
        until(lambda: agrees(node), "engine and node agree")
    height = node.height()
    assert height is not None
    ids = [one for at in range(1, height + 1) for one in node.api.get(f"/blocks/{at}").json()["transaction_ids"]]
    assert len(ids) == len(set(ids))
    assert set(committed) <= set(ids)
    last = BUILD.create("last")
    assert node.post(last).status_code == 202


def test_an_empty_application_folder_is_filled_again_by_the_engines_blocks(node: NetworkNode) -> None:
    items = [BUILD.create(f"replayed-{number}") for number in range(10)]
    for item in items:
        assert node.post(item).status_code == 202
    height = node.height()
    assert height is not None
    hashes = [node.app_hash(at) for at in range(height + 1)]
    node.stop()
    for name in node.data.glob("ledger.db*"):
        name.unlink()
    node.start().wait_ready()
    until(lambda: (node.height() or 0) >= height, "the blocks are replayed")
    assert [node.app_hash(at) for at in range(height + 1)] == hashes
    assert all(node.has(item) for item in items)
