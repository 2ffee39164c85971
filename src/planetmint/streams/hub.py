# SPDX-License-Identifier: AGPL-3.0-or-later
"""Everybody who listens: pushes new blocks to all in bounded slices, and feeds history to those that lag.

Two things run side by side and need not know of one another, because `Subscription.take` alone decides what a
subscriber still needs: the fan-out of new blocks (a slice per turn of the loop, so that a block for a thousand
subscribers never holds up anything else), and one task per lagging subscriber that reads pages from the store.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import structlog

from planetmint.model.block import BlockEvents
from planetmint.ports.errors import StoreError
from planetmint.ports.feed import EventFeed
from planetmint.streams.batch import Batch
from planetmint.streams.frames import INTERNAL_ERROR
from planetmint.streams.history import History
from planetmint.streams.subscription import Subscription

SLICE_COST = 500_000
"""Cost of one slice of the fan-out; a byte costs 1, so that this is about half a millisecond."""

WRITE_COST = 8_000
"""Cost of one write besides its bytes."""

BATCH_EVENTS = 1_000
"""New blocks that wait are joined up to so many events and written at once."""

QUEUE_EVENTS = 10_000
"""Events of new blocks that may wait for the fan-out; beyond, the oldest are left to history."""

REPLAY_SLOTS = 2
"""Pages of history that are read and encoded at one time: bounds what replays take from the live path."""

GIVE_WAY = 0.01
"""Seconds that a page of history waits for a fan-out to end; then it goes in between, so that nobody starves."""

_RETRIES = 5
_FIRST_RETRY_DELAY = 0.05

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class Subscriber(Protocol):
    """A connection as the hub sees it."""

    subscription: Subscription

    def write_batch(self, batch: Batch) -> int:
        """Write what `subscription` takes of a batch; bytes written."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket status code."""
        ...

    def check_stall(self) -> None:
        """Close if the socket has taken nothing for too long."""
        ...


class Hub:
    """The subscribers of one server.

    Attributes:
        head: Height of the newest block that was heard of.
        messages_sent: Since the start.
        history: Pages of the store.
    """

    def __init__(self, feed: EventFeed, stall_timeout: float) -> None:
        self.head = 0
        self.messages_sent = 0
        self.history = History(feed)
        self._feed = feed
        self._check_interval = min(max(stall_timeout / 5, 0.02), 5.0)
        self._subscribers: dict[Subscriber, None] = {}
        self._paused: dict[Subscriber, None] = {}
        self._catching_up: dict[Subscriber, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(REPLAY_SLOTS)
        self._queue: deque[BlockEvents] = deque()
        self._queued_events = 0
        self._batch: Batch | None = None
        self._remaining: Iterator[Subscriber] = iter(())
        self._idle = asyncio.Event()
        self._idle.set()
        self._detach: Callable[[], object] = lambda: None
        self._check_timer: asyncio.TimerHandle | None = None

    @property
    def subscribers(self) -> int:
        """How many there are."""
        return len(self._subscribers)

    @property
    def lagging(self) -> int:
        """How many are not served live at present."""
        return len(self._paused.keys() | self._catching_up.keys())

    def start(self) -> None:
        """Listen to the feed."""
        self._detach = self._feed.attach(self._hear)
        self.head = self._feed.head
        self._check_stalls()

    async def stop(self, timeout: float) -> None:
        """Hear no more blocks and hand out those that were heard; at most `timeout` seconds."""
        self._detach()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            log.warning("fan-out cut short by the shutdown", height=self.head)
        for task in tuple(self._catching_up.values()):
            task.cancel()
        self.history.close()
        if self._check_timer is not None:
            self._check_timer.cancel()

    def everybody(self) -> tuple[Subscriber, ...]:
        """The subscribers at this moment."""
        return tuple(self._subscribers)

    def join(self, subscriber: Subscriber) -> None:
        """Serve a subscriber from now on."""
        self._subscribers[subscriber] = None
        self.catch_up(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; harmless for one that is not here."""
        self._subscribers.pop(subscriber, None)
        self._paused.pop(subscriber, None)
        # Taken out here too: a task that is cancelled before its first step never gets to its `finally`.
        task = self._catching_up.pop(subscriber, None)
        if task is not None and task is not _current_task():
            task.cancel()

    def pause(self, subscriber: Subscriber) -> None:
        """A subscriber's buffer is full: write nothing to it."""
        subscriber.subscription.paused = True
        self._paused[subscriber] = None

    def resume(self, subscriber: Subscriber) -> None:
        """A subscriber's buffer has room again."""
        subscriber.subscription.paused = False
        self._paused.pop(subscriber, None)
        self.catch_up(subscriber)

    def catch_up(self, subscriber: Subscriber) -> None:
        """See to it that a subscriber gets what it needs of history."""
        if subscriber in self._catching_up or subscriber.subscription.needs(self.head) is None:
            return
        task = asyncio.get_running_loop().create_task(self._serve_history(subscriber))
        self._catching_up[subscriber] = task

    # -- live blocks

    def _hear(self, block: BlockEvents) -> None:
        self.head = block.height
        self._queue.append(block)
        self._queued_events += len(block.events)
        while self._queued_events > QUEUE_EVENTS and len(self._queue) > 1:
            # Who needs the block finds a hole before the next one and reads it from the store.
            self._queued_events -= len(self._queue.popleft().events)
        if self._idle.is_set():
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._slice)

    def _slice(self) -> None:
        """Write the current batch to some subscribers, then let the loop do other work."""
        budget = SLICE_COST
        while budget > 0:
            batch = self._batch or self._next_batch()
            if batch is None:
                self._idle.set()
                return
            subscriber = next(self._remaining, None)
            if subscriber is None:
                self._batch = None
                continue
            budget -= WRITE_COST + self._push(subscriber, batch)
        asyncio.get_running_loop().call_soon(self._slice)

    def _next_batch(self) -> Batch | None:
        blocks: list[BlockEvents] = []
        events = 0
        while self._queue and (not blocks or events + len(self._queue[0].events) <= BATCH_EVENTS):
            if blocks and self._queue[0].height != blocks[-1].height + 1:
                break
            blocks.append(self._queue.popleft())
            events += len(blocks[-1].events)
        self._queued_events -= events
        self._batch = Batch(tuple(blocks)) if blocks else None
        self._remaining = iter(self.everybody())
        return self._batch

    def _push(self, subscriber: Subscriber, batch: Batch) -> int:
        try:
            written = subscriber.write_batch(batch)
            if subscriber.subscription.position.height + 1 < batch.first:
                self.catch_up(subscriber)
            return written
        except Exception:  # whatever goes wrong with one subscriber must not reach the others
            log.exception("a subscriber could not be served", height=batch.last)
            subscriber.close(INTERNAL_ERROR, subscriber.subscription.cursor)
            return 0

    # -- history

    async def _serve_history(self, subscriber: Subscriber) -> None:
        try:
            await self._replay(subscriber)
        except StoreError as error:
            log.error("a subscriber cannot be served from the store", error=str(error))
            subscriber.close(
                INTERNAL_ERROR, f"history cannot be read; resume after={subscriber.subscription.cursor}"
            )
        except Exception:  # as in `_push`
            log.exception("a subscriber could not be served from the store")
            subscriber.close(INTERNAL_ERROR, f"resume after={subscriber.subscription.cursor}")
        finally:
            # No await between the last look at what is needed and this line: a later `catch_up` starts anew.
            self._catching_up.pop(subscriber, None)

    async def _replay(self, subscriber: Subscriber) -> None:
        """Write pages until the subscriber is live, paused or closed.

        Raises:
            StoreError: The store failed too often in a row.
        """
        failures = 0
        while (height := subscriber.subscription.needs(self.head)) is not None:
            try:
                async with self._slots:
                    await self._give_way()
                    subscriber.write_batch(await self.history.page(height))
                    await asyncio.sleep(0)
                failures = 0
            except StoreError:
                failures += 1
                if failures > _RETRIES:
                    raise
                await asyncio.sleep(_FIRST_RETRY_DELAY * 2**failures)

    async def _give_way(self) -> None:
        if not self._idle.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GIVE_WAY):
                    await self._idle.wait()

    # -- stalled sockets

    def _check_stalls(self) -> None:
        for subscriber in tuple(self._paused):
            subscriber.check_stall()
        self._check_timer = asyncio.get_running_loop().call_later(self._check_interval, self._check_stalls)
