# SPDX-License-Identifier: AGPL-3.0-or-later
"""Some consecutive blocks, encoded at most once for all subscribers that need the same bytes of them.

A batch is what is pushed live (usually one block) and also what is read from the store (a page of history).
"""

from functools import cached_property
from typing import NamedTuple

from planetmint.model.block import BlockEvents
from planetmint.streams.catalogue import View
from planetmint.streams.cursor import Position
from planetmint.streams.filters import EVERYTHING, Terms
from planetmint.streams.frames import text_frames

_MAX_ENCODED_BYTES = 4 * 1024 * 1024
_EVENT_BYTES = 900
_VALUE_BYTES = 120


class Delivery(NamedTuple):
    """What a subscriber is written of a batch.

    Attributes:
        data: Frames; empty where nothing matches its filter.
        messages: How many.
        previous: Cursor of the last message that the subscriber has had.
    """

    data: bytes
    messages: int
    previous: str


class Batch:
    """Consecutive blocks and what was encoded of them.

    Args:
        blocks: One or more, of heights that follow one another.
    """

    def __init__(self, blocks: tuple[BlockEvents, ...]) -> None:
        self.blocks = blocks
        self.first = blocks[0].height
        self.last = blocks[-1].height
        self._encoded: dict[tuple[str, int, int, str], Delivery] = {}
        self._encoded_bytes = 0

    @cached_property
    def _terms(self) -> Terms:
        return Terms.of([event for block in self.blocks for event in block.events])

    @cached_property
    def _event_bytes(self) -> int:
        events = [event for block in self.blocks for event in block.events]
        values = sum([len(event.asset_ids) + len(event.public_keys) + len(event.signers) for event in events])
        return _EVENT_BYTES * len(events) + _VALUE_BYTES * values

    @property
    def weight(self) -> int:
        """Roughly the bytes of memory that it holds."""
        return self._event_bytes + self._encoded_bytes

    def delivery(self, view: View, position: Position, previous: str) -> Delivery:
        """What a subscriber at `position` is written of this batch.

        Args:
            view: How it sees the stream.
            position: Its next block is one of this batch.
            previous: Cursor of the last message that it has had; only matters where `view.cursors`.
        """
        key = (view.key, position.height, position.skip, previous if view.cursors else "")
        known = self._encoded.get(key)
        if known is None:
            known = self._encode(view, position, previous)
            self._remember(key, known)
        return known

    def _encode(self, view: View, position: Position, previous: str) -> Delivery:
        if self._matches_nothing(view):
            return Delivery(b"", 0, previous)
        texts: list[str] = []
        skip = position.skip
        for block in self.blocks[position.height + 1 - self.first :]:
            more, previous = view.stream.encode(block, view, skip, previous)
            texts += more
            skip = 0
        return Delivery(text_frames(texts), len(texts), previous)

    def _matches_nothing(self, view: View) -> bool:
        return view.filter is not EVERYTHING and not view.empty and not view.filter.may_match(self._terms)

    def _remember(self, key: tuple[str, int, int, str], delivery: Delivery) -> None:
        if self._encoded_bytes > _MAX_ENCODED_BYTES:
            self._encoded.clear()
            self._encoded_bytes = 0
        self._encoded[key] = delivery
        self._encoded_bytes += len(delivery.data) + len(key[0]) + _VALUE_BYTES
