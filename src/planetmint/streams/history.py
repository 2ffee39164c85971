# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages of committed blocks for subscribers that catch up; readers of the same blocks share the work."""

import asyncio
from collections import OrderedDict

from planetmint.ports.errors import StoreError
from planetmint.ports.feed import EventFeed
from planetmint.streams.batch import Batch

PAGE_EVENTS = 500
"""Events of a page, unless a single block holds more. Bounds what a slow reader keeps waiting."""

_CACHE_BYTES = 32 * 1024 * 1024
_CACHE_PAGES = 64


class History:
    """Reads pages from the feed and keeps the ones used last, bounded by bytes.

    A page that covers the wanted height serves, wherever it begins: readers that began at different heights soon
    read the same pages.
    """

    def __init__(
        self, feed: EventFeed, *, page_events: int = PAGE_EVENTS, cache_bytes: int = _CACHE_BYTES
    ) -> None:
        self._feed = feed
        self._page_events = page_events
        self._cache_bytes = cache_bytes
        self._pages: OrderedDict[int, Batch] = OrderedDict()
        self._reading: dict[int, asyncio.Task[Batch]] = {}

    async def page(self, height: int) -> Batch:
        """Consecutive blocks, that of `height` among them.

        Raises:
            StoreError: The store failed, or does not have the block.
        """
        known = self._covering(height)
        self._shrink()
        if known is not None:
            return known
        task = self._reading.get(height)
        if task is None:
            task = self._reading[height] = asyncio.create_task(self._read(height))
            task.add_done_callback(lambda done: self._read_ended(height, done))
        # One reader that goes away must not take the page from the others that wait for it.
        return await asyncio.shield(task)

    async def holds(self, height: int, index: int) -> bool:
        """Whether the block of `height` has a transaction of that index; raises `StoreError`."""
        page = await self.page(height)
        return index < len(page.blocks[height - page.first].events)

    def close(self) -> None:
        """Give up the reads under way."""
        for task in self._reading.values():
            task.cancel()

    async def _read(self, height: int) -> Batch:
        blocks = await self._feed.read(height, self._page_events)
        if not blocks or blocks[0].height != height:
            raise StoreError(f"the store has no events of block {height}")
        self._pages[height] = page = Batch(blocks)
        return page

    def _read_ended(self, height: int, task: asyncio.Task[Batch]) -> None:
        self._reading.pop(height, None)
        if not task.cancelled():
            task.exception()  # marks it as seen: everybody who waited may have left

    def _covering(self, height: int) -> Batch | None:
        for first, page in self._pages.items():
            if page.first <= height <= page.last:
                self._pages.move_to_end(first)
                return page
        return None

    def _shrink(self) -> None:
        total = sum(page.weight for page in self._pages.values())
        while self._pages and (total > self._cache_bytes or len(self._pages) > _CACHE_PAGES):
            total -= self._pages.popitem(last=False)[1].weight
