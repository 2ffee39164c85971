# SPDX-License-Identifier: AGPL-3.0-or-later
"""Engine and database of a node, looked after by it or run by others, killed and back (cli-and-config 3.4)."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from planetmint.model.parameters import ChainParameters
from planetmint.runtime.engine_config import Addresses
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.services import engine_program
from planetmint.runtime.settings import Settings
from planetmint.testing.build import Builder, Dialect
from tests.support.network import HOST, Network, NetworkNode, alive, short_folder, until
from tests.support.tarantool import Server

BUILD = Builder(Dialect.PLANETMINT_2)
FOUNDED_AT = 1_767_225_600_000_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        yield short_folder(stack)


def committed(node: NetworkNode, name: str) -> None:
    """Post something with `mode=commit`, again while the node says 503, until it is taken."""
    item = BUILD.create(name)

    def taken() -> bool:
        answer = node.post(item)
        # It may have been committed although the answer to an earlier attempt did not say so.
        assert answer.status_code in (202, 503) or "DuplicateTransaction" in answer.text, answer.text
        return answer.status_code != 503

    until(taken, f"{name} is committed")
    assert node.has(item)


# Managed


@pytest.mark.parametrize("backend", ["sqlite", "tarantool_db"])
def test_managed_children_are_started_restarted_after_a_kill_and_stopped_with_the_node(
    folder: Path, backend: str
) -> None:
    with Network(folder, 1, backend=backend) as network:
        (node,) = network.nodes
        with connect(node.stream_url) as stream:
            item = BUILD.create("streamed")
            assert node.post(item).status_code == 202
            assert item.id in str(stream.recv(timeout=30))
        killers = [node.kill_engine] if backend == "sqlite" else [node.kill_engine, node.kill_database]
        for number, kill in enumerate(killers):
            killed = kill()
            until(
                lambda killed=killed: len(node.children()) == len(killers) and killed not in node.children(),
                "back",
            )  # type: ignore[misc]
            committed(node, f"after-kill-{number}")
        children = node.children()
        assert node.stop() == 0
        assert not any(alive(pid) for pid in children)
        log = node.process.log_text()
        assert "CometBFT ended (SIGKILL); it is started again" in log
        assert ("Tarantool ended (SIGKILL); it is started again" in log) is (backend == "tarantool_db")
        assert "Traceback" not in log


@pytest.mark.parametrize("backend", ["sqlite", "tarantool_db"])
def test_children_end_with_a_node_that_is_killed_and_the_next_one_goes_on(folder: Path, backend: str) -> None:
    with Network(folder, 1, backend=backend) as network:
        (node,) = network.nodes
        committed(node, "before")
        children = node.children()
        assert len(children) == (1 if backend == "sqlite" else 2)
        os.kill(node.process.pid, signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in children), "the children end with their node")
        node.process.wait_end()
        node.start().wait_ready()
        committed(node, "after")
        assert node.has(BUILD.create("before"))


def test_a_node_without_init_says_what_to_run_and_takes_a_home_that_was_made(folder: Path) -> None:
    node = NetworkNode(folder)
    node.process.args = ["start", "--no-init"]
    node.start()
    assert node.process.wait_end() == 1
    assert "planetmint init" in node.process.log_text()
    node.run("init")
    node.run("init")
    node.start().wait_ready()
    assert node.stop() == 0


def test_a_node_that_is_to_join_founds_no_chain_and_says_what_it_waits_for(folder: Path) -> None:
    node = NetworkNode(folder)
    node.run("init", "--join")
    node.start()
    assert node.process.wait_end() == 1
    assert "planetmint network join" in node.process.log_text()


def test_sigterm_ends_a_node_that_still_waits_for_its_engine(folder: Path) -> None:
    node = NetworkNode(folder, env={"PLANETMINT_CONSENSUS_MANAGED": "false"})
    node.start()
    until(lambda: "engine.awaited" in node.process.log_text(), "the node listens for its engine")
    assert node.stop() == 0


# Outside


class OutsideEngine:
    """A CometBFT that the test runs, as an operator would."""

    def __init__(self, folder: Path, node: NetworkNode) -> None:
        self.home = EngineHome(folder / "engine")
        abci = node.process.extra_env["PLANETMINT_ABCI_PORT"]
        self.home.prepare(
            Addresses(f"tcp://{HOST}:{abci}", f"tcp://{HOST}:{node.rpc_port}", f"tcp://{HOST}:{node.p2p_port}")
        )
        self.home.found("outside", ChainParameters(), FOUNDED_AT)
        self._log = (folder / "engine.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [engine_program(Settings()), "start", "--home", str(self.home.path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "OutsideEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()


def test_an_outside_engine_may_come_late_be_lost_and_be_found_again(folder: Path) -> None:
    node = NetworkNode(folder, env={"PLANETMINT_CONSENSUS_MANAGED": "false"})
    with OutsideEngine(folder, node) as engine:
        node.start()
        until(lambda: "engine.awaited" in node.process.log_text(), "the node listens for its engine")
        assert node.height() is None, "its ports open once there is a chain"
        engine.start()
        node.wait_ready()
        committed(node, "first")
        for turn in range(2):
            engine.kill()
            until(lambda: not node.ready(), "the node is not ready without its engine")
            refused = node.post(BUILD.create("lost"))
            assert refused.status_code == 503
            assert node.has(BUILD.create("first")), "reads go on"
            engine.start()
            node.wait_ready()
            committed(node, f"again-{turn}")
        assert node.children() == []
        assert node.stop() == 0


def test_an_outside_tarantool_may_be_lost_and_found_again(folder: Path) -> None:
    server = Server(folder / "tarantool")
    env = {
        "PLANETMINT_DATABASE_MANAGED": "false",
        "PLANETMINT_DATABASE_SOCKET": str(server.address.socket),
        "PLANETMINT_DATABASE_LOGIN": str(server.address.login),
        "PLANETMINT_DATABASE_PASSWORD": str(server.address.password),
    }
    node = NetworkNode(folder, backend="tarantool_db", env=env)
    server.start()
    try:
        node.start().wait_ready()
        committed(node, "first")
        for turn in range(2):
            server.kill()
            refused = node.post(BUILD.create("lost"))
            assert refused.status_code == 503
            assert node.process.running
            server.start()
            node.wait_ready()
            committed(node, f"again-{turn}")
        assert httpx.get(f"{node.process.base_url}/health/live", trust_env=False).status_code == 200
        assert node.stop() == 0
    finally:
        if node.process.running:
            node.kill()
        server.close()


# A network


@pytest.mark.parametrize("backend", ["sqlite", "tarantool_db"])
def test_four_validators_agree_on_every_app_hash(folder: Path, backend: str) -> None:
    with Network(folder, 4, backend=backend) as network:
        items = [BUILD.create(f"item-{number}") for number in range(12)]
        for number, item in enumerate(items):
            assert network.nodes[number % 4].post(item).status_code == 202
        network.wait_for(items[-1])
        assert network.agree() >= len(items)
        assert all(len(node.api.get("/validators").json()) == 4 for node in network.nodes)


def test_a_managed_engine_that_cannot_run_is_named_with_its_words_until_it_can(folder: Path) -> None:
    with Network(folder, 1) as network:
        (node,) = network.nodes
        with socket.socket() as taken:
            until(lambda: _end(node) or _takes(taken, node.p2p_port), "its port is free for a moment")
            taken.listen()
            _end(node)
            until(lambda: "address already in use" in _health(node), "the words of the engine are shown")
        node.wait_ready()
        committed(node, "after all")


def _end(node: NetworkNode) -> None:
    """Kill -9 of the engine where it runs at the moment."""
    pid = node.pid_of(node.home)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), "the engine ends")


def _takes(taken: socket.socket, port: int) -> bool:
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((HOST, port))
    except OSError:
        return False
    return True


def _health(node: NetworkNode) -> str:
    return httpx.get(f"{node.process.base_url}/health/ready", timeout=10, trust_env=False).text
