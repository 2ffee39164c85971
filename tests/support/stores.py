# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stores that misbehave in ways that real ones can: for tests of what the node makes of it."""

from collections.abc import Callable

from planetmint.model.block import BlockHeader, BlockRecord
from planetmint.ports.errors import StoreError
from planetmint.ports.store import StateReads
from planetmint.storage.memory import MemoryStore
from planetmint.storage.snapshot import Snapshot


class UnsureStore(MemoryStore):
    """Stores a block and reports an error all the same, as when the connection breaks after the write.

    Attributes:
        lies: So many saves are stored and reported as failed.
        unreadable: So many times the head cannot be read.
        saves: Calls of `save_block`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lies = 0
        self.unreadable = 0
        self.saves = 0

    async def save_block(self, block: BlockRecord) -> None:
        self.saves += 1
        await super().save_block(block)
        if self.lies:
            self.lies -= 1
            raise StoreError("the connection broke before the answer came")

    async def head(self) -> BlockHeader | None:
        if self.unreadable:
            self.unreadable -= 1
            raise StoreError("there is no connection")
        return await super().head()


class LateStore(MemoryStore):
    """Reports that a block was not stored, and stores it later: its writer was only cut off from the answer.

    Attributes:
        late: The next save is held back.
        land: Called before the state is read; stores what is held back if it answers true.
    """

    def __init__(self) -> None:
        super().__init__()
        self.late = False
        self.land: Callable[[], bool] = lambda: False
        self._held: BlockRecord | None = None

    async def save_block(self, block: BlockRecord) -> None:
        if self.late:
            self.late = False
            self._held = block
            raise StoreError("the database did not answer in time")
        await self.land_now()
        await super().save_block(block)

    async def read_state(self, reads: StateReads) -> Snapshot:
        if self.land():
            await self.land_now()
        return await super().read_state(reads)

    async def land_now(self) -> None:
        """Store what is held back."""
        held, self._held = self._held, None
        if held is not None:
            await super().save_block(held)
