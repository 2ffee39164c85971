# SPDX-License-Identifier: AGPL-3.0-or-later
"""A crash at each named step of a commit: the block is there whole or not at all, and the node goes on by itself.

What lies between the last statement and the return of the write, the bytes of the write-ahead log themselves,
is cut at every place by `test_crash_torn_writes.py`.
"""

import http.client
import json
import re
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from bench import transactions
from tests.functional.crashing_node import COUNT, STATEMENT, STEPS, SURVIVES
from tests.functional.kill9 import Connection
from tests.support.node import NodeProcess

ROOT = Path(__file__).resolve().parents[2]
FIRST, SECOND, THIRD = (transactions.create(index) for index in range(3))


def name_of(text: bytes) -> str:
    """The id of a transaction."""
    return transactions.transaction_id(text)


def crashing(folder: Path, step: str) -> NodeProcess:
    """A node that dies at `step` of its second block."""
    command = [sys.executable, "-m", "tests.functional.crashing_node"]
    return NodeProcess(folder / "node", {"CRASH_STEP": step, "PYTHONPATH": str(ROOT)}, command=command)


def post(node: NodeProcess, text: bytes) -> tuple[int, bytes]:
    """Status and body of a post in mode commit."""
    connection = Connection(node)
    try:
        return connection.post(text, "commit")
    finally:
        connection.close()


def blocks(node: NodeProcess) -> list[list[str]]:
    """The ids of each block from height 1 on."""
    connection = Connection(node)
    try:
        latest = connection.get("/blocks/latest")[1]["height"]
        return [connection.get(f"/blocks/{height}")[1]["transaction_ids"] for height in range(1, latest + 1)]
    finally:
        connection.close()


def replayed(node: NodeProcess, count: int) -> list[str]:
    """The ids that the stream tells from the first block on."""
    with connect(f"{node.stream_url}?from_height=1") as stream:
        return [json.loads(stream.recv(timeout=30))["transaction_id"] for _ in range(count)]


def crash_and_go_on(folder: Path, step: str, *, survives: bool) -> None:
    """Crash in the second block, start again, and see that the chain is whole and goes on."""
    dying = crashing(folder, step)
    with dying:
        assert post(dying, FIRST)[0] == 202
        with pytest.raises((OSError, http.client.HTTPException)):
            post(dying, SECOND)
        assert dying.wait_end() == -9
    with NodeProcess(folder / "node") as node:
        expected = [[name_of(FIRST)], [name_of(SECOND)]] if survives else [[name_of(FIRST)]]
        assert blocks(node) == expected
        status, answer = post(node, SECOND)
        assert status == (400 if survives else 202)
        assert not survives or b"DuplicateTransaction" in answer
        assert post(node, THIRD)[0] == 202
        ids = [name_of(text) for text in (FIRST, SECOND, THIRD)]
        assert blocks(node) == [[name] for name in ids]
        assert replayed(node, 3) == ids


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_each_step_of_a_commit_leaves_the_block_whole_or_absent(step: str, tmp_path: Path) -> None:
    crash_and_go_on(tmp_path, step, survives=STEPS.index(step) >= SURVIVES)


def test_a_crash_before_each_statement_of_the_write_leaves_nothing_of_the_block(tmp_path: Path) -> None:
    with crashing(tmp_path / COUNT, COUNT) as node:
        assert post(node, FIRST)[0] == post(node, SECOND)[0] == 202
        counted = [int(number) for number in re.findall(r"counted (\d+)", node.log_text())]
    assert counted == list(range(1, len(counted) + 1)) and len(counted) > 5
    for number in counted:
        crash_and_go_on(tmp_path / str(number), STATEMENT.format(number), survives=False)
