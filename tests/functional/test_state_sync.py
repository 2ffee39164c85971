# SPDX-License-Identifier: AGPL-3.0-or-later
"""A new node joins by a snapshot of the ledger, and believes no forged one (decision D10)."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from planetmint.runtime.snapshots import SPOOL_FOLDER
from planetmint.testing.build import Builder, Built, Dialect
from tests.functional.snapshot_node import FORGERY
from tests.support.network import HOST, Network, NetworkNode, until

BUILDER = Builder(Dialect.PLANETMINT_2)
SPECIAL = [sys.executable, "-m", "tests.functional.snapshot_node"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "tarantool_db"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    """One validator that makes a snapshot with every fourth block."""
    env = {"PLANETMINT_CONSENSUS_SNAPSHOT_INTERVAL": "4", "PYTHONPATH": str(ROOT)}
    with Network(tmp_path, 1, backend=request.param, env=env) as running:
        yield running


def transactions(count: int, name: str) -> list[Built]:
    return [BUILDER.create("alice", data=f"Qm{name}{number}") for number in range(count)]


def post(node: NetworkNode, made: list[Built]) -> None:
    for item in made:
        answer = node.post(item)
        assert answer.status_code == 202, answer.text


def joiner(network: Network, *, more: dict[str, str] | None = None) -> NetworkNode:
    """A node that is to take a snapshot; it trusts a block that the validator names. Not started."""
    first = network.nodes[0]
    trusted = first.rpc("commit", height="3")["signed_header"]["commit"]["block_id"]["hash"]
    server = f"{HOST}:{first.rpc_port}"
    node = network.add("--state-sync", server, "--trust-height", "3", "--trust-hash", trusted)
    node.process.extra_env |= more or {}
    return node


def log_of(node: NetworkNode) -> str:
    return node.process.log_text()


def test_a_node_joins_by_a_snapshot_and_goes_on_with_the_network(network: Network) -> None:
    first, made = network.nodes[0], transactions(8, "before")
    post(first, made)
    until(lambda: "snapshot.made" in log_of(first), "the validator makes a snapshot")
    node = joiner(network).start().wait_ready()
    assert "snapshot.taken" in log_of(node)
    # Its engine holds no early block: everything came in the snapshot.
    assert int(node.rpc("status")["sync_info"]["earliest_block_height"]) > 4
    assert all(node.has(item) for item in made)
    after = transactions(3, "after")
    post(first, after)
    network.wait_for(after[-1])
    network.agree(above=8)
    summary = json.loads(node.run("verify"))
    assert summary["differences"] == 0
    told = json.loads(node.run("status", "--json"))
    assert told["exit_code"] == 0
    assert told["engine"]["peers"]
    # It offers snapshots itself, and goes on after a restart.
    until(lambda: "snapshot.made" in log_of(node), "the new node makes a snapshot")
    node.kill()
    node.start().wait_ready()
    network.agree(above=8)


def test_a_forged_snapshot_is_refused_and_a_good_one_of_another_peer_is_taken(tmp_path: Path) -> None:
    env = {"PLANETMINT_CONSENSUS_SNAPSHOT_INTERVAL": "4", "PYTHONPATH": str(ROOT)}
    with Network(tmp_path, 1, env=env) as network:
        first, made = network.nodes[0], transactions(8, "forged")
        forger = network.add()
        # It offers newer ones than the honest node, and the engine tries the newest first.
        forger.process.extra_env |= {"PLANETMINT_CONSENSUS_SNAPSHOT_INTERVAL": "1", "SNAPSHOT_NODE": "forge"}
        forger.process.command = SPECIAL
        forger.start().wait_ready()
        post(first, made)
        network.agree(above=14)
        until(lambda: "snapshot.made" in log_of(forger), "the forger makes a snapshot")
        node = joiner(network).start().wait_ready()
        assert "snapshot.rejected" in log_of(node)
        assert "snapshot.taken" in log_of(node)
        assert all(node.has(item) for item in made)
        assert not node.has(FORGERY)
        network.agree(above=14)
        assert json.loads(node.run("verify"))["differences"] == 0


def test_a_node_that_dies_while_it_takes_a_snapshot_joins_again(network: Network) -> None:
    first, made = network.nodes[0], transactions(8, "dying")
    post(first, made)
    until(lambda: "snapshot.made" in log_of(first), "the validator makes a snapshot")
    node = joiner(network, more={"SNAPSHOT_NODE": "die"})
    ordinary, node.process.command = node.process.command, SPECIAL
    node.start()
    until(lambda: not node.process.running, "the node dies")
    assert (node.data / SPOOL_FOLDER / "filling").exists()
    node.process.kill()
    node.process.command = ordinary
    node.start().wait_ready()
    assert "snapshot.unfinished" in log_of(node)
    assert "snapshot.taken" in log_of(node)
    assert not list((node.data / SPOOL_FOLDER).iterdir())
    network.agree(above=8)
    assert json.loads(node.run("verify"))["differences"] == 0


def test_a_node_that_dies_before_its_engine_noted_the_snapshot_takes_it_again(network: Network) -> None:
    first, made = network.nodes[0], transactions(8, "noted")
    post(first, made)
    until(lambda: "snapshot.made" in log_of(first), "the validator makes a snapshot")
    node = joiner(network, more={"SNAPSHOT_NODE": "end"})
    ordinary, node.process.command = node.process.command, SPECIAL
    node.start()
    until(lambda: not node.process.running, "the node dies")
    assert not (node.data / SPOOL_FOLDER / "filling").exists()
    node.process.kill()
    node.process.command = ordinary
    node.start().wait_ready()
    assert "snapshot.offered" in log_of(node)
    network.agree(above=8)
    assert all(node.has(item) for item in made)
    assert json.loads(node.run("verify"))["differences"] == 0
