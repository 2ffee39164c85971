# SPDX-License-Identifier: AGPL-3.0-or-later
"""Committed blocks as the streams take them: pushed after the commit, read again from the store."""

from collections.abc import Callable

from planetmint.model.block import BlockEvents
from planetmint.model.errors import InvariantViolated
from planetmint.ports.feed import Listener
from planetmint.ports.store import Store


class CommittedFeed:
    """Implements `EventFeed` over a store; `publish` is called by the life cycle alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[object, Listener] = {}
        self._label = ""
        self._head = 0

    @property
    def label(self) -> str:
        """See `EventFeed`."""
        return self._label

    @property
    def head(self) -> int:
        """See `EventFeed`."""
        return self._head

    def begin(self, label: str, head: int) -> None:
        """Say where the chain stands before the first `publish`."""
        self._label = label
        self._head = head

    def attach(self, listener: Listener) -> Callable[[], None]:
        """See `EventFeed`."""
        key = object()
        self._listeners[key] = listener
        return lambda: self._listeners.pop(key, None) and None

    def publish(self, events: BlockEvents) -> None:
        """Tell every listener of a block that is durable.

        Raises:
            InvariantViolated: It is not the one after `head`.
        """
        if events.height != self._head + 1:
            raise InvariantViolated(f"block {events.height} is published after block {self._head}")
        self._head = events.height
        for listener in tuple(self._listeners.values()):
            listener(events)

    async def read(self, from_height: int, max_events: int) -> tuple[BlockEvents, ...]:
        """See `EventFeed`."""
        return await self._store.events(from_height, max_events)

    async def transactions(self, height: int) -> tuple[bytes, ...]:
        """See `EventFeed`."""
        block = await self._store.block(height)
        return block.transactions if block is not None else ()
