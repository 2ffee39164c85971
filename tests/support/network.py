# SPDX-License-Identifier: AGPL-3.0-or-later
"""Networks of real nodes on loopback, made by the very commands that operators use.

```
with Network(tmp_path, 4) as network:                  # init --join, network show, found, join; start; wait
    network.nodes[0].post(transaction, mode="commit")  # over HTTP; the answer is httpx's
    network.agree()                                     # waits until all stand at one height, compares app hashes
    network.nodes[3].kill()                             # kill -9 of the node; its children end with it
    network.nodes[3].start().wait_ready()
    network.nodes[3].kill_engine()                      # or kill_database(): the node starts it again
    with network.nodes[3].paused(): ...                 # SIGSTOP of the node and its children, SIGCONT after
    with network.cut({3}): ...                          # 3 reaches nobody, {0, 1}: two halves; needs links=True
```

Every node has a data folder, ports below the range that the system gives out, and a log beside its folder, which
failures show. `backend` is `sqlite` or `tarantool_db`; `env` are further settings of all nodes.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from planetmint.runtime.engine_config import Values, write_config
from planetmint.testing.build import Built
from tests.support.links import Links
from tests.support.node import HOST, NodeFailed, NodeProcess

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds after which a condition that should come has not come."""

_POLL = 0.05
_LOWEST, _HIGHEST = 10_000, 32_000
_given = itertools.count()


class NotInTime(AssertionError):
    """Something that should have come did not."""


def low_ports(count: int) -> list[int]:
    """Ports that are free now and that the system gives to nobody by itself; another at each call in a process."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)
    found: list[int] = []
    while len(found) < count:
        # Processes begin at different places, so that two that run at once seldom meet.
        at = (os.getpid() * 977 + worker * 2_003 + next(_given)) % (_HIGHEST - _LOWEST)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, _LOWEST + at))
            except OSError:
                continue
        found.append(_LOWEST + at)
    return found


def until(condition: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Wait until `condition` answers something true, and return that.

    Raises:
        NotInTime: It has not after `patience` seconds; the text names `what`.
    """
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NotInTime(f"after {patience:.0f} s still not: {what}")
        time.sleep(_POLL)


class NetworkNode:
    """One node, with its engine and its database.

    Attributes:
        index: Its place in the network.
        process: The node process, see `NodeProcess`.
        p2p_port, rpc_port: Of its engine.
        shown: What `network show` prints there, once the network is founded.
    """

    def __init__(
        self,
        folder: Path,
        index: int = 0,
        *,
        backend: str = "sqlite",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            folder: Where its data folder and log are made; short, or its sockets become ports.
        """
        self.index = index
        http, stream, self.p2p_port, self.rpc_port, abci, database = low_ports(6)
        settings = {
            "PLANETMINT_CONSENSUS_ENGINE": "cometbft",
            "PLANETMINT_DATABASE_BACKEND": backend,
            "PLANETMINT_ABCI_PORT": str(abci),
            "PLANETMINT_TENDERMINT_PORT": str(self.rpc_port),
            "PLANETMINT_TENDERMINT_P2P_HOST": HOST,
            "PLANETMINT_TENDERMINT_P2P_PORT": str(self.p2p_port),
        }
        if backend == "tarantool_db":
            settings |= {"PLANETMINT_DATABASE_PORT": str(database), "PLANETMINT_DATABASE_MEMORY": "268435456"}
        self.process = NodeProcess(folder / f"node{index}", env=settings | dict(env or {}))
        self.process.http_port, self.process.stream_port = http, stream
        self.shown: dict[str, Any] = {}
        self.api = httpx.Client(base_url=f"http://{HOST}:{http}/api/v1", timeout=30, trust_env=False)

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.process.data_dir

    @property
    def home(self) -> Path:
        """Its engine's home."""
        return self.data / "cometbft"

    @property
    def stream_url(self) -> str:
        """URL of its stream of committed transactions."""
        return self.process.stream_url

    # Commands and life

    def run(self, *arguments: str) -> str:
        """Run `planetmint` with this node's settings to its end; what it prints on stdout.

        Raises:
            NodeFailed: Its exit code is not 0.
        """
        ended = subprocess.run(
            [sys.executable, "-m", "planetmint", *arguments],
            env=self.process.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if ended.returncode != 0:
            raise NodeFailed(f"planetmint {' '.join(arguments)} ended with {ended.returncode}\n{ended.stderr}")
        return ended.stdout

    def prepare(self) -> None:
        """Make its database and its engine's home, and keep what it shows to the others."""
        self.run("init", "--join")
        self.shown = json.loads(self.run("network", "show"))

    def configure_engine(self, values: Values) -> None:
        """Change lines of the engine's settings; for its next start."""
        write_config(self.home / "config" / "config.toml", values)

    def start(self) -> Self:
        """Start it, without waiting."""
        self.process.start()
        return self

    def wait_ready(self, patience: float = PATIENCE) -> Self:
        """Wait until it takes transactions.

        Raises:
            NodeFailed: It ended, or was not ready in time.
        """
        try:
            until(self._ready_or_ended, f"node {self.index} takes transactions", patience)
        except NotInTime as error:
            raise NodeFailed(f"{error}\n{self.process._tail()}") from None
        if not self.process.running:
            raise NodeFailed(f"node {self.index} ended\n{self.process._tail()}")
        return self

    def stop(self) -> int:
        """Stop it by SIGTERM; its exit code."""
        return self.process.stop()

    def kill(self) -> None:
        """Kill -9 of the node; waits until its children have gone with it."""
        children = self.children()
        self.process.kill()
        for pid in children:
            until(lambda pid=pid: not alive(pid), f"process {pid} ends with its node")  # type: ignore[misc]

    def kill_engine(self) -> int:
        """Kill -9 of its engine; its process id."""
        return self._kill(self.home)

    def kill_database(self) -> int:
        """Kill -9 of its Tarantool; its process id."""
        return self._kill(self.data / "tarantool")

    def pid_of(self, folder: Path) -> int | None:
        """Process id of the child that runs in a folder; None while it is down."""
        try:
            pid = int(json.loads((folder / "child.pid").read_text())["pid"])
        except (OSError, ValueError, TypeError):
            return None
        return pid if alive(pid) else None

    def children(self) -> list[int]:
        """Process ids of its engine and its Tarantool, as far as they run."""
        return [pid for folder in (self.home, self.data / "tarantool") if (pid := self.pid_of(folder))]

    @contextlib.contextmanager
    def paused(self, *, engine_only: bool = False) -> Iterator[None]:
        """Halt the node and its children (or its engine alone) like a machine that hangs, and let them go on."""
        engine = self.pid_of(self.home)
        pids = [engine] if engine_only and engine else [self.process.pid, *self.children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    # Questions

    def post(self, transaction: Built, mode: str = "commit") -> httpx.Response:
        """Post a transaction."""
        return self.api.post("/transactions", params={"mode": mode}, content=transaction.canonical)

    def height(self) -> int | None:
        """Height of its newest block; None while it does not answer."""
        found = self._get("/blocks/latest")
        return None if found is None else int(found["height"])

    def app_hash(self, height: int) -> str | None:
        """Hash after a block, 64 hex digits; None while it does not answer or has no such block."""
        found = self._get(f"/blocks/{height}")
        return None if found is None else str(found["app_hash"])

    def ready(self) -> bool:
        """Whether it takes transactions at present."""
        try:
            answer = httpx.get(f"{self.process.base_url}/health/ready", timeout=5, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    def has(self, transaction: Built) -> bool:
        """Whether it has committed a transaction."""
        return self._get(f"/transactions/{transaction.id}") is not None

    def rpc(self, method: str, **params: object) -> dict[str, Any]:
        """What its engine answers to a JSON-RPC call. Raises httpx.HTTPError, KeyError for an error."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(f"http://{HOST}:{self.rpc_port}", json=body, timeout=10, trust_env=False)
        result: dict[str, Any] = answer.json()["result"]
        return result

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            answer = self.api.get(path)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def _ready_or_ended(self) -> bool:
        return not self.process.running or self.ready()

    def _kill(self, folder: Path) -> int:
        pid = self.pid_of(folder)
        assert pid is not None, f"nothing runs in {folder}"
        os.kill(pid, signal.SIGKILL)
        return pid


class Network:
    """Validators of equal power; a context manager that founds, starts and, at the end, stops them.

    Args:
        folder: For data and logs; a short one beside it is taken where its name is too long for sockets.
        count: Validators.
        backend: Their database.
        env: Further settings of all of them.
        links: Whether nodes reach one another by links that `cut` can cut.
        args: What follows `planetmint` when a node starts.
    """

    def __init__(
        self,
        folder: Path,
        count: int = 4,
        *,
        backend: str = "sqlite",
        env: Mapping[str, str] | None = None,
        links: bool = False,
        args: Sequence[str] = ("start",),
    ) -> None:
        self._stack = contextlib.ExitStack()
        self.folder = folder if len(str(folder)) < 60 else short_folder(self._stack)
        self._env = dict(env or {})
        self._backend = backend
        self._args = list(args)
        self.links = self._stack.enter_context(Links()) if links else None
        self.genesis = self.folder / "genesis.json"
        self.nodes: list[NetworkNode] = []
        for _ in range(count):
            self.nodes.append(self._make_node())

    # Life

    def found(self) -> Self:
        """Make every home and the genesis file by the commands that operators use; starts nothing."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(NetworkNode.prepare, self.nodes))
        keys = itertools.chain.from_iterable(("--validator", node.shown["validator"]) for node in self.nodes)
        self.nodes[0].run("network", "found", "--output", str(self.genesis), *keys)
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(self._join, self.nodes))
        return self

    def start(self) -> Self:
        """Start every node and wait until all take transactions."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()
        return self

    def add(self, *flags: str) -> NetworkNode:
        """Add a node that follows the network and is no validator of it yet; does not start it.

        Args:
            flags: Further flags of `network join`, such as those of state sync.
        """
        node = self._make_node()
        node.prepare()
        self.nodes.append(node)
        self._join(node, *flags)
        return node

    def stop(self) -> None:
        """Stop every node that runs; all are asked before one is waited for."""
        running = [node for node in self.nodes if node.process.running]
        for node in running:
            os.kill(node.process.pid, signal.SIGTERM)
        for node in running:
            node.stop()

    def __enter__(self) -> Self:
        try:
            return self.found().start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End whatever runs, also what is halted, and forget the links."""
        try:
            self.stop()
        finally:
            for node in self.nodes:
                if node.process.running:
                    node.kill()
                node.api.close()
            self._stack.close()

    # Faults

    @contextlib.contextmanager
    def cut(self, group: set[int], *, reset: bool = False) -> Iterator[None]:
        """Cut the nodes of these indexes off from all others, not from one another; healed at the end.

        Args:
            reset: Connections are closed and refused instead of going silent.
        """
        assert self.links is not None, "Network(..., links=True) has links that can be cut"
        rest = frozenset(range(len(self.nodes))) - group
        self.links.cut((frozenset(group), rest), reset=reset)
        try:
            yield
        finally:
            self.links.heal()

    # Questions

    def agree(self, *, above: int = 0, patience: float = PATIENCE, nodes: Sequence[int] | None = None) -> int:
        """Wait until nodes stand at one height above another one, and hold their app hashes against one another.

        Args:
            above: The height that they must have passed.
            nodes: Their indexes; None for all.

        Returns:
            The height up to which all hashes are equal.

        Raises:
            NotInTime: They do not come together.
            AssertionError: Two have different hashes at a height.
        """
        asked = [self.nodes[index] for index in nodes] if nodes is not None else self.nodes

        def together() -> int | None:
            heights = [node.height() for node in asked]
            if any(height is None or height <= above for height in heights) or len(set(heights)) > 1:
                return None
            return heights[0]

        height = until(
            together, f"nodes {[node.index for node in asked]} stand at one height above {above}", patience
        )
        for at in range(height + 1):
            hashes = {node.index: node.app_hash(at) for node in asked}
            assert len(set(hashes.values())) == 1, f"app hashes at height {at}: {hashes}"
        return height

    def wait_for(self, transaction: Built, patience: float = PATIENCE, nodes: Sequence[int] | None = None) -> None:
        """Wait until nodes have committed a transaction; raises NotInTime."""
        asked = [self.nodes[index] for index in nodes] if nodes is not None else self.nodes
        until(lambda: all(node.has(transaction) for node in asked), f"all hold {transaction.id}", patience)

    # The rest

    def _make_node(self) -> NetworkNode:
        node = NetworkNode(self.folder, len(self.nodes), backend=self._backend, env=self._env)
        node.process.args = self._args
        return node

    def _join(self, node: NetworkNode, *flags: str) -> None:
        """Give a node the genesis file and the addresses of the others, by links where there are any."""
        peers = [self._way(node, other) for other in self.nodes if other is not node and other.shown]
        arguments = itertools.chain.from_iterable(("--peer", peer) for peer in peers)
        node.run("network", "join", "--genesis", str(self.genesis), *arguments, *flags)
        if self.links is not None:
            # Nodes that tell one another where they are would find ways around the links.
            node.configure_engine({"p2p": {"pex": False}})

    def _way(self, node: NetworkNode, other: NetworkNode) -> str:
        if self.links is None:
            return str(other.shown["p2p_address"])
        (port,) = low_ports(1)
        self.links.add(node.index, other.index, port, other.p2p_port)
        return f"{other.shown['node_id']}@{HOST}:{port}"


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def short_folder(stack: contextlib.ExitStack) -> Path:
    """A folder with a short name; the stack removes it."""
    path = Path(tempfile.mkdtemp(prefix="pm-"))
    stack.callback(shutil.rmtree, path, ignore_errors=True)
    return path
