# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker that is ended before it has greeted: its connection is lost after its process was collected."""

import subprocess
import sys

import pytest

from planetmint.sandbox.connection import WorkerConnection, WorkerLost


async def test_a_connection_that_is_lost_after_its_process_was_collected_says_so_quietly() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    connection = WorkerConnection(process)
    await connection.end()
    connection.connection_lost(None)
    with pytest.raises(WorkerLost, match=r"ended at its start$"):
        await connection.greeting()
    assert process.stdin is not None
    process.stdin.close()
