# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every store checks alike: chain records that follow one another, and what an audit finds."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from planetmint.model.election import ChainRecord
from planetmint.ports.errors import StoreError

K = TypeVar("K")


def check_begins(stored: ChainRecord | None, begun: ChainRecord) -> None:
    """Raise StoreError unless `begun` is the chain that `stored` tells of (`Store.begin_chain`)."""
    if stored is None:
        raise StoreError("no chain is founded here")
    if (stored.chain_id, stored.shift) != (begun.chain_id, begun.shift):
        raise StoreError(
            f"the ledger goes on as {stored.chain_id} from height {stored.shift} on, "
            f"not as {begun.chain_id} from {begun.shift} on"
        )


class Findings:
    """What an audit found, a sentence each."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    @property
    def sentences(self) -> tuple[str, ...]:
        """In the order in which they were found."""
        return tuple(self._sentences)

    def add(self, sentence: str) -> None:
        """Note what cannot be said by comparing."""
        self._sentences.append(sentence)

    def compare(self, name: str, stored: object, expected: object) -> None:
        """Hold one record, None where it is missing, against what it must be."""
        if stored == expected and type(stored) is type(expected):
            return
        self.add(f"{name} is missing" if stored is None else f"{name} is other than it must be")

    def compare_all(
        self, name: Callable[[K], str], stored: Mapping[K, object], expected: Mapping[K, object]
    ) -> None:
        """Hold a part of a table against what it must be; `name` gives a row's name in a sentence."""
        for key, value in expected.items():
            self.compare(name(key), stored.get(key), value)
        for key in stored.keys() - expected.keys():
            self.add(f"{name(key)} is there, though no block made it")
