# SPDX-License-Identifier: AGPL-3.0-or-later
"""One subscriber's place in the stream: what it is sent next, and whether that comes live or from history.

The rule that history and live blocks join without a hole and without a repetition stands in one line of `take`:
a batch is only taken where the subscriber's next block is in it, and only from that block on. So it does not
matter in which order live batches and pages of history arrive, or that some arrive twice. No sockets here.
"""

from enum import Enum

from planetmint.streams.batch import Batch, Delivery
from planetmint.streams.catalogue import View
from planetmint.streams.cursor import Position, cursor_text


class State(Enum):
    """Where a subscriber is."""

    CATCHING_UP = "catching up"
    LIVE = "live"
    CLOSED = "closed"


class Subscription:
    """A view of a stream and a position in it.

    Args:
        view: What the subscriber sees.
        start: Where it begins; may lie beyond the head, then it waits until the chain has got there (EX-6).
    """

    __slots__ = ("_closed", "_position", "_previous", "paused", "view")

    def __init__(self, view: View, start: Position) -> None:
        self.view = view
        self.paused = False
        self._closed = False
        self._position = start
        self._previous = cursor_text(view.label, start)

    @property
    def position(self) -> Position:
        """How far it has been served completely."""
        return self._position

    @property
    def cursor(self) -> str:
        """Where another connection should go on (`after=`)."""
        return cursor_text(self.view.label, self._position)

    def state(self, head: int) -> State:
        """Where it is, given the height of the newest block."""
        if self._closed:
            return State.CLOSED
        return State.LIVE if self._position.height >= head else State.CATCHING_UP

    def take(self, batch: Batch) -> Delivery | None:
        """What to write of a batch, live or of history; None where it takes nothing of it.

        A subscriber that is paused, closed, ahead of the batch or behind its first block takes nothing and keeps
        its position, so that `needs` asks for what is missing.
        """
        position = self._position
        if self.paused or self._closed or not batch.first <= position.height + 1 <= batch.last:
            return None
        delivery = batch.delivery(self.view, position, self._previous)
        self._position = Position(batch.last)
        self._previous = delivery.previous
        return delivery

    def needs(self, head: int) -> int | None:
        """Height from which history must be read now; None when live, paused or closed."""
        if self.paused or self.state(head) is not State.CATCHING_UP:
            return None
        return self._position.height + 1

    def close(self) -> None:
        """Take nothing any more."""
        self._closed = True
