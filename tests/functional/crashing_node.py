# SPDX-License-Identifier: AGPL-3.0-or-later
"""A node that kills itself by SIGKILL at a named step of its second block; nothing of it is part of the product.

`CRASH_STEP=saved python -m tests.functional.crashing_node start` runs the ordinary command with the objects of a
commit wrapped. The steps stand in the order in which a block meets them.
"""

import functools
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from planetmint.app import BlockLifecycle, CommittedFeed
from planetmint.cli.main import main
from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord
from planetmint.ports.consensus import FinalizedBlock
from planetmint.storage.sqlite import SqliteStore

STEPS = (
    "chosen",  # the engine has chosen the block's transactions
    "executed",  # the block's effects are known, nothing is written
    "signed",  # the header is signed
    "saved",  # the block is durable, nobody knows of it
    "published",  # the streams have it, nobody who waits for the commit was told
    "told",  # those who wait were woken, no answer is written
)

STATEMENT = "statement.{}"
"""Between `signed` and `saved`: before SQLite runs this statement, counted from 1, within the one write."""

COUNT = "count"
"""No crash: each statement of the second block is printed."""

SURVIVES = STEPS.index("saved")
"""From this step on the block is there after the crash; before, nothing of it is."""


class Crash:
    """Ends the process when the second block comes to the step."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._block = 0
        self._statements = 0

    def begin(self, height: int) -> None:
        """A block of this height begins."""
        self._block = height

    def reach(self, step: str) -> None:
        """Die here, if it is the step."""
        if self._block == 2 and step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)

    def trace(self, sql: str) -> None:
        """SQLite is about to run a statement of a trigger or of a program."""
        if self._block == 2 and sql.lstrip().upper().startswith("INSERT"):
            self._statements += 1
            if self._step == COUNT:
                print(f"counted {self._statements}", flush=True)
            self.reach(STATEMENT.format(self._statements))


def arm(crash: Crash) -> None:
    """Wrap what a commit goes through."""
    finalize, commit = BlockLifecycle.finalize_block, BlockLifecycle.commit
    save, publish, connect = SqliteStore.save_block, CommittedFeed.publish, sqlite3.connect

    async def finalize_block(self: BlockLifecycle, height: int, *rest: Any) -> FinalizedBlock:
        crash.begin(height)
        crash.reach("chosen")
        return await finalize(self, height, *rest)

    async def commit_block(self: BlockLifecycle, header: BlockHeader | None = None) -> None:
        crash.reach("signed")
        await commit(self, header)
        crash.reach("told")

    async def save_block(self: SqliteStore, block: BlockRecord) -> None:
        await save(self, block)
        crash.reach("saved")

    def publish_block(self: CommittedFeed, events: BlockEvents) -> None:
        publish(self, events)
        crash.reach("published")

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(crash.trace)
        return connection

    _replace(BlockLifecycle, "finalize_block", _then(finalize_block, lambda: crash.reach("executed")))
    _replace(BlockLifecycle, "commit", commit_block)
    _replace(SqliteStore, "save_block", save_block)
    _replace(CommittedFeed, "publish", publish_block)
    _replace(sqlite3, "connect", traced)


def _then(function: Callable[..., Awaitable[Any]], after: Callable[[], None]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def both(*arguments: Any) -> Any:
        result = await function(*arguments)
        after()
        return result

    return both


def _replace(owner: object, name: str, value: object) -> None:
    setattr(owner, name, value)


if __name__ == "__main__":
    arm(Crash(os.environ["CRASH_STEP"]))
    main()
