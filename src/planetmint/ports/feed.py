# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the streams take committed blocks from: pushed while they follow, read while they catch up."""

from collections.abc import Callable
from typing import Protocol

from planetmint.model.block import BlockEvents

Listener = Callable[[BlockEvents], None]
"""Called in the event loop once per block, in height order, after it is durable; must not block or raise."""


class EventFeed(Protocol):
    """Committed blocks as events.

    A listener that is attached while `head` is h hears of h+1 next, so that history up to h and live blocks
    from h+1 on join without a hole and without a repetition.
    """

    @property
    def label(self) -> str:
        """The chain's label: first part of every cursor."""
        ...

    @property
    def head(self) -> int:
        """Height of the newest durable block."""
        ...

    def attach(self, listener: Listener) -> Callable[[], None]:
        """Hear of every block after `head`; the answer detaches the listener (calling it twice is harmless)."""
        ...

    async def read(self, from_height: int, max_events: int) -> tuple[BlockEvents, ...]:
        """As `Store.events`; raises `StoreError`."""
        ...

    async def transactions(self, height: int) -> tuple[bytes, ...]:
        """Canonical JSON of a block's transactions, in block order; raises `StoreError`."""
        ...
