# SPDX-License-Identifier: AGPL-3.0-or-later
"""A disk that takes no more: the node says so, loses nothing, and goes on by itself when there is room again.

The limit on file sizes stands in for the disk: it fails writes of a running process, and can be lifted again.
"""

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from planetmint.testing.build import Builder, Dialect
from tests.support.node import NodeProcess

BUILD = Builder(Dialect.BIGCHAINDB)
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path / "data") as running:
        yield running


def post(api: httpx.Client, name: str, mode: str = "commit") -> httpx.Response:
    body = BUILD.create(name, metadata={"note": "x" * 2_000}).canonical
    return api.post("/transactions", params={"mode": mode}, content=body)


def wait_for(condition: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the condition did not come to hold"
        time.sleep(0.05)


def test_a_full_disk_is_answered_with_503_and_loses_nothing(node: NodeProcess) -> None:
    with httpx.Client(base_url=f"{node.base_url}/api/v1", timeout=30) as api:
        kept = [BUILD.create(f"before-{number}") for number in range(3)]
        for one in kept:
            assert api.post("/transactions", params={"mode": "commit"}, content=one.canonical).status_code == 202
        largest = max(path.stat().st_size for path in node.data_dir.iterdir())
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

        answers = [post(api, f"during-{number}", "async") for number in range(200)]
        assert {answer.status_code for answer in answers} <= {202, 503}
        wait_for(lambda: httpx.get(f"{node.base_url}/health/ready").status_code == 503)
        refused = post(api, "refused")
        assert refused.status_code == 503
        assert isinstance(refused.json()["message"], str)
        assert "Retry-After" in refused.headers
        for one in kept:
            assert api.get(f"/transactions/{one.id}").status_code == 200
        assert "block.not_stored" in node.log_text()
        assert "Traceback" not in node.log_text()

        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, UNLIMITED)
        wait_for(lambda: httpx.get(f"{node.base_url}/health/ready").status_code == 200)
        accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        wait_for(lambda: all(api.get(f"/transactions/{one}").status_code == 200 for one in accepted))
        assert post(api, "after").status_code == 202
    assert node.stop() == 0
