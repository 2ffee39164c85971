# SPDX-License-Identifier: AGPL-3.0-or-later
"""The embedded node as a whole: one short story for each thing that it is made of, on a real process.

The numbers are those of the list of what it consists of: 1 core, 2 ports and adapters, 3 Web API, 4 event
stream, 5 command line and configuration, 6 the project itself.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from planetmint.chain import header_hash, verify_header
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.build import Builder, Built, Dialect, m_of_n, public_key
from tests.support.node import NodeProcess

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("embedded") / "data") as running:
        yield running


@pytest.fixture
def api(node: NodeProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{node.base_url}/api/v1", timeout=20) as client:
        yield client


def commit(api: httpx.Client, built: Built) -> None:
    answer = api.post("/transactions", params={"mode": "commit"}, content=built.canonical)
    assert answer.status_code == 202, answer.text
    assert answer.json() == built.wire


def test_item_1_core_three_dialects_live_on_one_chain(api: httpx.Client) -> None:
    """An asset made in one dialect moves through the two others; thresholds nest; rules hold in between."""
    old, middle, new = Builder(Dialect.BIGCHAINDB), Builder(Dialect.PLANETMINT_1), Builder(Dialect.PLANETMINT_2)
    create = old.create("item1-alice", [(9, "item1-alice")])
    first = middle.transfer([create.spend()], [(4, "item1-bob"), (5, m_of_n(2, "item1-a", "item1-b", "item1-c"))])
    second = new.transfer([first.spend(1, "item1-a", "item1-c")], [(5, "item1-bob")])
    third = new.transfer([first.spend(0), second.spend(0)], [(9, "item1-carol")])
    for built in (create, first, second, third):
        commit(api, built)
    again = api.post(
        "/transactions",
        params={"mode": "commit"},
        content=old.transfer([first.spend(0)], [(4, "item1-dave")]).canonical,
    )
    assert (again.status_code, again.json()["class"]) == (400, "DoubleSpend")
    history = api.get("/transactions", params={"asset_id": create.id}).json()
    assert [item["id"] for item in history] == [create.id, first.id, second.id, third.id]


async def test_item_2_ports_and_adapters_what_is_stored_outlives_the_process(tmp_path: Path) -> None:
    """The SQLite file alone holds the founding, signed and chained headers, and every transaction."""
    node = NodeProcess(tmp_path / "data")
    built = [Builder(Dialect.BIGCHAINDB).create(f"item2-{number}") for number in range(5)]
    with node, httpx.Client(base_url=f"{node.base_url}/api/v1", timeout=20) as api:
        for one in built:
            commit(api, one)
        node.kill()
    store = SqliteStore(node.data_dir)
    await store.open()
    try:
        founding = await store.founding()
        head = await store.head()
        assert founding is not None
        assert head is not None
        assert head.height == 5
        previous = "0" * 64
        for height in range(6):
            summary = await store.summary(height)
            assert summary is not None
            assert verify_header(summary.header)
            assert summary.header.previous_hash == previous
            previous = header_hash(summary.header)
        for one in built:
            assert await store.transaction(one.id) == one.canonical
    finally:
        await store.close()


def test_item_3_web_api_answers_about_what_was_committed(api: httpx.Client) -> None:
    """One CREATE seen from every side of the API."""
    build = Builder(Dialect.BIGCHAINDB)
    create = build.create("item3-alice", metadata={"colour": "vermilionish"})
    commit(api, create)
    key = public_key("item3-alice")
    (height,) = api.get("/blocks", params={"transaction_id": create.id}).json()
    assert api.get(f"/transactions/{create.id}").json() == create.wire
    assert api.get("/outputs", params={"public_key": key}).json() == [
        {"transaction_id": create.id, "output_index": 0}
    ]
    assert api.get("/outputs", params={"public_key": key, "spent": "true"}).json() == []
    assert api.get(f"/blocks/{height}").json()["transactions"] == [create.wire]
    found = api.get("/metadata", params={"search": "VERMILIONISH"}).json()
    assert found == [{"metadata": {"colour": "vermilionish"}, "id": create.id}]
    assert len(api.get("/validators").json()) == 1
    lines = b"\n".join(build.create(f"item3-{number}").canonical for number in range(20))
    bulk = api.post("/transactions", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert [json.loads(line)["status"] for line in bulk.text.splitlines()] == [202] * 20


async def test_item_4_event_stream_tells_of_a_commit_and_resumes(node: NodeProcess) -> None:
    """A subscriber sees a commit at once; one that comes later gets the same by its cursor."""
    build = Builder(Dialect.PLANETMINT_2)
    creates = [build.create(f"item4-{number}") for number in range(3)]
    async with (
        httpx.AsyncClient(base_url=f"{node.base_url}/api/v1", timeout=20) as api,
        websockets.connect(f"{node.stream_url}?cursor=true") as stream,
    ):
        live: list[dict[str, Any]] = []
        for one in creates:
            answer = await api.post("/transactions", params={"mode": "commit"}, content=one.canonical)
            assert answer.status_code == 202
            live.append(json.loads(await asyncio.wait_for(stream.recv(), 10)))
    assert [message["transaction_id"] for message in live] == [one.id for one in creates]
    async with websockets.connect(f"{node.stream_url}?after={live[0]['cursor']}") as stream:
        resumed = [json.loads(await asyncio.wait_for(stream.recv(), 10)) for _ in range(2)]
    assert [message["transaction_id"] for message in resumed] == [one.id for one in creates[1:]]


def test_item_5_command_line_makes_a_configuration_that_the_node_starts_with(tmp_path: Path) -> None:
    """`configure` writes a file, `show-config` reads it, `start` runs by it."""
    file = tmp_path / "node.json"
    command = [sys.executable, "-m", "planetmint", "-c", str(file), "-y"]
    made = subprocess.run([*command, "configure"], capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    shown = subprocess.run([*command, "show-config"], capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(shown.stdout)["database"]["backend"] == "sqlite"
    with NodeProcess(tmp_path / "data", args=("-c", str(file), "start")) as node:
        assert httpx.get(node.base_url).json()["software"] == "Planetmint"
    assert node.returncode == 0


def test_item_6_project_keeps_what_the_readme_promises() -> None:
    """Every command and page that the README names is there."""
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("run", "test", "test-unit", "lint", "bench"):
        assert f"make {target}" in readme
        assert f"\n{target}:" in makefile
    for line in readme.splitlines():
        for link in line.split("](")[1:]:
            target = link.split(")")[0]
            assert target.startswith("http") or (ROOT / target).exists(), target
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("GNU AFFERO GENERAL PUBLIC LICENSE")
