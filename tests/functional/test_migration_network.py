# SPDX-License-Identifier: AGPL-3.0-or-later
"""A network of real engines migrates: decide, halt, read on, take over, begin, post on (elections 4)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from planetmint.testing.build import Builder, Dialect
from tests.support.network import Network, NetworkNode, until
from tests.support.node import NodeFailed

BUILD = Builder(Dialect.PLANETMINT_2)


@pytest.fixture(params=[("sqlite", 4), ("tarantool_db", 1)], ids=["four-sqlite", "one-tarantool"])
def network(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Network]:
    backend, count = request.param
    with Network(tmp_path, count, backend=backend) as running:
        yield running


def key_of(node: NetworkNode) -> str:
    return str(node.home / "config" / "priv_validator_key.json")


def decide(network: Network) -> str:
    """Have the validators decide to migrate; the election's id."""
    said = network.nodes[0].run("election", "new", "chain-migration", "--private-key", key_of(network.nodes[0]))
    election_id = said.split()[-1]
    for node in network.nodes[:3]:
        until(lambda node=node: node._get(f"/transactions/{election_id}"), "the election is everywhere")  # type: ignore[misc]
        told = node.run("election", "approve", election_id, "--private-key", key_of(node))
        assert told == "[SUCCESS] Your vote has been submitted\n"
    return election_id


def refusal(node: NetworkNode) -> httpx.Response:
    """The answer to a transaction that the halted chain does not take."""
    return node.post(BUILD.create("alice", data="refused"), mode="async")


def wait_for_halt(network: Network) -> int:
    """Wait until every node has the block that decided; its height."""
    for node in network.nodes:
        until(lambda node=node: refusal(node).status_code == 503, f"node {node.index} halts")  # type: ignore[misc]
    return network.agree()


def events(node: NetworkNode, after: str, until_id: str) -> list[dict[str, Any]]:
    """The events that the node's stream tells after a cursor, up to the one of a transaction."""
    place = f"after={after}" if after else "from_height=1"
    found: list[dict[str, Any]] = []
    with connect(f"{node.stream_url}?{place}", proxy=None) as stream:
        while not found or found[-1]["transaction_id"] != until_id:
            found.append(json.loads(stream.recv(timeout=60)))
    return found


def decisive(network: Network, height: int) -> str:
    """Id of the last transaction of a block."""
    block = network.nodes[0]._get(f"/blocks/{height}")
    assert block is not None
    return str(block["transaction_ids"][-1])


def test_elections_4_a_network_migrates_and_heights_go_on(network: Network) -> None:
    before = BUILD.create("alice", data="before")
    assert network.nodes[0].post(before).status_code == 202
    election_id = decide(network)
    halted = wait_for_halt(network)
    for node in network.nodes:
        answer = refusal(node)
        assert "migration is in progress" in answer.json()["message"]
        assert node.has(before)
        assert not node.ready()
        assert events(node, "", before.id)[-1]["height"] < halted
        status, chain_id, app_hash, *_ = node.run("election", "show", election_id).splitlines()
        assert status == "status=concluded"
        assert chain_id.endswith(f"-migrated-at-height-{halted - 1}")
        assert app_hash == f"app_hash={node.app_hash(halted)}"
    vote = events(network.nodes[0], "", decisive(network, halted))[-1]
    last = network.nodes[-1]
    last.kill()
    last.start()
    until(lambda: last.has(before), "a node that is started while the chain is halted answers reads")
    assert refusal(last).status_code == 503
    with pytest.raises(NodeFailed, match="Stop it first"):
        network.nodes[0].run("election", "migrate")
    network.stop()
    # Also of nodes that do not run, whatever keeps their ledger.
    assert network.nodes[0].run("election", "show", election_id).startswith("status=concluded\nchain_id=")
    for node in network.nodes:
        told = node.run("election", "migrate")
        assert told.splitlines()[-1] == "Next: planetmint start"
        assert node.run("election", "migrate").splitlines()[-1] == "Next: planetmint start"
    genesis = {(node.home / "config" / "genesis.json").read_bytes() for node in network.nodes}
    assert len(genesis) == 1, "validators wrote different genesis files"
    network.start()
    after = BUILD.create("alice", data="after")
    assert network.nodes[-1].post(after).status_code == 202
    network.wait_for(after)
    assert network.agree(above=halted) > halted
    # The stream goes on for a client that remembers where it was on another node.
    (told,) = events(network.nodes[-1], vote["cursor"], after.id)
    assert told["transaction_id"] == after.id
    assert told["cursor"] == f"{vote['cursor'].partition('.')[0]}.{told['height']}.0"
    # An engine begins a chain with a block of its own, which may be empty.
    assert told["height"] in (halted + 1, halted + 2)
    transfer = BUILD.transfer([before.spend()], [(1, "bob")])
    assert network.nodes[0].post(transfer).status_code == 202
    network.stop()
    assert "there is nothing to do" in network.nodes[0].run("election", "migrate")


def test_elections_4_a_node_that_was_away_fetches_the_deciding_block_from_halted_ones(tmp_path: Path) -> None:
    with Network(tmp_path, 4) as network:
        away = network.nodes[3]
        away.stop()
        decide(network)
        for node in network.nodes[:3]:
            until(lambda node=node: refusal(node).status_code == 503, f"node {node.index} halts")  # type: ignore[misc]
        halted = network.agree(nodes=range(3))
        away.start()
        until(lambda: away.height() == halted, "the node that was away has the deciding block")
        assert refusal(away).status_code == 503
        assert network.agree() == halted
        network.stop()
        for node in network.nodes:
            node.run("election", "migrate")
        # Three of four are enough to go on; the fourth comes later.
        for node in network.nodes[:3]:
            node.start()
        for node in network.nodes[:3]:
            node.wait_ready()
        after = BUILD.create("alice", data="after")
        assert network.nodes[0].post(after).status_code == 202
        away.start().wait_ready()
        network.wait_for(after)
        network.agree(above=halted)
