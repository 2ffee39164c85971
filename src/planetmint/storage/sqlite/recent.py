# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ids on their way into the tree of ids.

Ids are random: put into a tree of many pages one by one, each would write a page of its own, and blocks would take
longer the more is stored. So the newest ids stay in memory, and go into the tree in rounds: those of a round are
sorted, and every block takes the next few of them along, which lie side by side. How far a round has come stands
with the block, so that after a restart the ids which are not in the tree are read back from their blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from planetmint.storage.sqlite.layout import id_hash

ROUND = 1 << 15
"""So many ids begin a round. In memory are about twice as many at most, some 250 bytes each."""

LOWEST_HASH = -(2**63)

_SEQUENCE_BITS = 44


class Progress(NamedTuple):
    """How far ids have come.

    Attributes:
        indexed: Every transaction below this sequence number is in the tree.
        round_end: Those from there to below this one are being put into it; equal to `indexed` between rounds.
        hand: Of these, the ones with lower hashes are in the tree.
    """

    indexed: int = 0
    round_end: int = 0
    hand: int = LOWEST_HASH


@dataclass(frozen=True, slots=True)
class Step:
    """What the next block writes: sequence numbers with hashes in the tree's order, and where that leads."""

    entries: tuple[tuple[int, int], ...]
    progress: Progress


class RecentIds:
    """The newest ids, with hints where their transactions stand: whoever takes a hint looks whether it is true."""

    def __init__(self, progress: Progress, round_size: int = ROUND) -> None:
        self._progress = progress
        self._end = progress.indexed
        self._round_size = round_size
        self._waiting: dict[str, int] = {}
        self._merging: dict[str, int] = {}
        self._order: list[int] = []

    @property
    def end(self) -> int:
        """The sequence number after the newest id."""
        return self._end

    @property
    def round_size(self) -> int:
        """So many ids begin a round."""
        return self._round_size

    def __len__(self) -> int:
        return len(self._waiting) + len(self._merging)

    def get(self, transaction_id: str) -> int | None:
        """The sequence number that a transaction has, if it is one of the newest and if it is stored."""
        found = self._waiting.get(transaction_id)
        return self._merging.get(transaction_id) if found is None else found

    def add(self, ids: Sequence[str], first: int) -> None:
        """Take in the ids of a block, stored or being stored, that begins with the sequence number `first`."""
        self._end = first + len(ids)
        numbered = zip(ids, range(first, self._end), strict=True)
        if first >= self._progress.round_end:
            self._waiting.update(numbered)
            return
        for item, sequence in numbered:
            if sequence >= self._progress.round_end:
                self._waiting[item] = sequence
            elif id_hash(item) >= self._progress.hand:
                self._merging[item] = sequence

    def step(self, count: int) -> Step:
        """What goes into the tree with a block of `count` transactions; it counts as written with `done`.

        A round is a little faster than the ids come, so that it ends before the next one is due.
        """
        if not self._merging and len(self._waiting) >= self._round_size:
            self._merging, self._waiting = self._waiting, {}
            self._progress = Progress(self._progress.indexed, self._end)
        if not self._merging:
            return Step((), self._progress)
        if not self._order:
            entries = (id_hash(item) << _SEQUENCE_BITS | place for item, place in self._merging.items())
            self._order = sorted(entries, reverse=True)
        part = self._order[: -(count + count // 4 + 1) - 1 : -1]
        mask = (1 << _SEQUENCE_BITS) - 1
        chosen = tuple((item & mask, item >> _SEQUENCE_BITS) for item in part)
        indexed, round_end, _ = self._progress
        if len(chosen) == len(self._order):
            return Step(chosen, Progress(round_end, round_end))
        return Step(chosen, Progress(indexed, round_end, chosen[-1][1]))

    def done(self, step: Step) -> None:
        """The block that took `step` along is stored."""
        if step.entries:
            del self._order[-len(step.entries) :]
        if not self._order:
            self._merging = {}
        self._progress = step.progress
