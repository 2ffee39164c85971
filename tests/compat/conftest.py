# SPDX-License-Identifier: AGPL-3.0-or-later
"""One running node of each kind for the whole folder, and one run of each driver program against it.

Set `PLANETMINT_COMPAT_NODE_URL` (say `http://127.0.0.1:9984`) to test a node that runs already, of whatever
engine; `PLANETMINT_COMPAT_WS` names its stream URL where that is not the one advertised by `GET /api/v1`.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.compat.drivers import DRIVERS, ProgramRun, run_program
from tests.support.network import Network
from tests.support.node import NodeProcess

NODE_URL = "PLANETMINT_COMPAT_NODE_URL"
STREAM_URL = "PLANETMINT_COMPAT_WS"


@dataclass(frozen=True)
class NodeUnderTest:
    """Where the node is; `log` gives what it has printed, if this suite started it."""

    base_url: str
    stream_url: str
    log: Callable[[], str]

    @property
    def host(self) -> str:
        return self.base_url.split("//")[1].split(":")[0]

    @property
    def port(self) -> int:
        return int(self.base_url.rsplit(":", 1)[1])


def advertised_stream(base_url: str) -> str:
    """What the node says about its stream of transactions."""
    return str(httpx.get(f"{base_url}/api/v1").json()["streams"])


_RUNNING = pytest.StashKey[NodeUnderTest]()


KINDS = ("embedded", "cometbft-tarantool")
"""The nodes that everything here runs against."""


@pytest.fixture(scope="session", params=(NODE_URL,) if os.environ.get(NODE_URL) else KINDS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeUnderTest]:
    """A node of our own in a temporary folder, or the one that the environment names."""
    running = os.environ.get(NODE_URL)
    if running:
        base_url = running.rstrip("/")
        stream_url = os.environ.get(STREAM_URL) or advertised_stream(base_url)
        yield NodeUnderTest(base_url, stream_url, lambda: "the node was not started by this suite")
        return
    with started(request.param, tmp_path_factory.mktemp("compat")) as process:
        node = NodeUnderTest(process.base_url, process.stream_url, process.log_text)
        request.config.stash[_RUNNING] = node
        yield node


@contextmanager
def started(kind: str, folder: Path) -> Iterator[NodeProcess]:
    """A node of one of `KINDS` that takes transactions."""
    if kind == "embedded":
        with NodeProcess(folder / "data") as process:
            yield process
        return
    with Network(folder, 1, backend="tarantool_db") as network:
        yield network.nodes[0].process


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the end of the node's log beside a failure."""
    report = yield
    node = item.config.stash.get(_RUNNING, None)
    if report.failed and node is not None:
        report.sections.append(("log of the node", node.log()[-5000:]))
    return report


@pytest.fixture(scope="session")
def program_runs(node: NodeUnderTest) -> Callable[[str], ProgramRun]:
    """Run a driver's program at the first call and remember how it went."""
    finished: dict[str, ProgramRun] = {}

    def run(name: str) -> ProgramRun:
        if name not in finished:
            finished[name] = run_program(DRIVERS[name], node.base_url)
        return finished[name]

    return run
