# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ids on their way into the tree of ids.

Ids are random: put into a tree of many pages one by one, each would write a page of its own, and blocks would take
longer the more is stored. So the newest ids stay in memory, and go into the tree in rounds: those of a round are
sorted, and every block takes the next few of them along, which lie side by side. After a restart the ids that no
finished round covers are read back from their blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from planetmint.storage.sqlite.layout import id_hash

ROUND = 1 << 15
"""So many ids begin a round. In memory are about twice as many at most, some 250 bytes each."""

_SEQUENCE_BITS = 44


@dataclass(frozen=True, slots=True)
class Step:
    """What the next block writes into the tree.

    Attributes:
        entries: Sequence number and hash, in the tree's order.
        indexed: Every transaction below this sequence number is in the tree after the step.
    """

    entries: tuple[tuple[int, int], ...]
    indexed: int


class RecentIds:
    """The newest ids, with hints where their transactions stand: whoever takes a hint looks whether it is true."""

    def __init__(self, indexed: int, round_size: int = ROUND) -> None:
        self._indexed = indexed
        self._end = indexed
        self._round_size = round_size
        self._round_end = indexed
        self._waiting: dict[str, int] = {}
        self._merging: dict[str, int] = {}
        self._order: list[int] = []

    @property
    def end(self) -> int:
        """The sequence number after the newest id."""
        return self._end

    def get(self, transaction_id: str) -> int | None:
        """The sequence number that a transaction has, if it is one of the newest and if it is stored."""
        found = self._waiting.get(transaction_id)
        return self._merging.get(transaction_id) if found is None else found

    def add(self, ids: Sequence[str], first: int) -> None:
        """Take in the ids of a block that is about to be stored, from sequence number `first` on."""
        self._waiting.update(zip(ids, range(first, first + len(ids)), strict=True))
        self._end = first + len(ids)

    def step(self, count: int) -> Step:
        """What goes into the tree with a block of `count` transactions; nothing changes until `done`.

        A round ends before the next one is due, because it is a little faster than the ids come.
        """
        if not self._order and len(self._waiting) >= self._round_size:
            self._begin_round()
        part = self._order[: -(count + count // 4 + 1) - 1 : -1]
        mask = (1 << _SEQUENCE_BITS) - 1
        entries = tuple((item & mask, item >> _SEQUENCE_BITS) for item in part)
        return Step(entries, self._round_end if len(part) == len(self._order) else self._indexed)

    def done(self, step: Step) -> None:
        """The block that took `step` along is stored."""
        if step.entries:
            del self._order[-len(step.entries) :]
        if not self._order:
            self._merging = {}
        self._indexed = step.indexed

    def _begin_round(self) -> None:
        self._merging, self._waiting = self._waiting, {}
        self._round_end = self._end
        entries = [id_hash(item) << _SEQUENCE_BITS | sequence for item, sequence in self._merging.items()]
        self._order = sorted(entries, reverse=True)
