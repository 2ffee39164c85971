# SPDX-License-Identifier: AGPL-3.0-or-later
"""One entry of the catalogue, and the scene in which it is played."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planetmint.model.errors import InvalidTransaction, SchemaValidationError
from planetmint.model.validator import MAX_TOTAL_POWER
from planetmint.testing.build import Builder, Built, Dialect, Owner, Shares, Wire, validator_set

ALL = tuple(Dialect)
OBJECTS = (Dialect.BIGCHAINDB,)
"""The dialect whose values are objects."""
VERSION_2 = (Dialect.BIGCHAINDB, Dialect.PLANETMINT_1)
VERSION_3 = (Dialect.PLANETMINT_2,)

VALIDATOR = "tests/validator"
"""Name of the one validator that a chain has to be founded with on which the catalogue is tried."""

POWERS = {VALIDATOR: MAX_TOTAL_POWER - 10}
"""So near the engine's bound that a small change is beyond it."""

VALIDATORS = validator_set(POWERS)
"""The first set of such a chain."""

Change = Callable[[Wire], object]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class InvalidCase:
    """A transaction that every entry of the node must refuse alike.

    Attributes:
        name: Unique, of the form ``group: what is wrong (dialect)``.
        setup: Canonical transactions that are valid in this order and have to be taken before.
        transaction: The bad one: canonical form, or the text itself where no canonical form exists.
        error: Its exact class.
        rule: Identifier of the rule that it breaks.
    """

    name: str
    setup: tuple[bytes, ...]
    transaction: bytes
    error: type[InvalidTransaction]
    rule: str


class Scene:
    """Names of its own and the transactions before, so that cases never meet one another's outputs."""

    def __init__(self, dialect: Dialect, name: str) -> None:
        self.dialect = dialect
        self.build = Builder(dialect)
        self.before: list[Built] = []
        self._name = f"{name}/{dialect.value}"
        self.alice, self.bob, self.carol = map(self.who, ("alice", "bob", "carol"))

    def who(self, role: str) -> str:
        """The name of somebody who occurs in no other scene."""
        return f"{self._name}/{role}"

    def keep(self, built: Built) -> Built:
        """Take a transaction into the setup."""
        self.before.append(built)
        return built

    def asset(self, what: str = "gold", amount: int = 10, owner: Owner | None = None) -> Built:
        """A kept CREATE of `amount` shares by alice, for her or for `owner`."""
        return self.keep(
            self.build.create(self.alice, [(amount, owner or self.alice)], data=f"{self._name} {what}")
        )

    def election(self, what: str = "first") -> Built:
        """A kept election of a new validator of power 1; the votes are the validator's."""
        return self.keep(self.build.validator_election(POWERS, self.who("candidate"), 1, seed=self.who(what)))

    def to_bob(self, amount: int = 10) -> Shares:
        """One output for bob."""
        return [(amount, self.bob)]


Play = Callable[[Scene], Built | bytes]
"""Sets the scene up and answers the bad transaction."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A case before it is played, in each of `dialects`."""

    name: str
    error: type[InvalidTransaction]
    rule: str
    dialects: Sequence[Dialect]
    play: Play

    def cases(self) -> Iterator[InvalidCase]:
        """One case per dialect."""
        for dialect in self.dialects:
            scene = Scene(dialect, self.name)
            played = self.play(scene)
            transaction = played if isinstance(played, bytes) else played.canonical
            setup = tuple(built.canonical for built in scene.before)
            yield InvalidCase(f"{self.name} ({dialect.value})", setup, transaction, self.error, self.rule)


class Group:
    """Collects entries whose names begin with the group's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[Entry] = []

    def case(
        self, what: str, error: type[InvalidTransaction], rule: str, dialects: Sequence[Dialect] = ALL
    ) -> Callable[[Play], Play]:
        """Decorate a function that plays the case."""

        def register(play: Play) -> Play:
            self.add(what, error, rule, dialects, play)
            return play

        return register

    def add(
        self, what: str, error: type[InvalidTransaction], rule: str, dialects: Sequence[Dialect], play: Play
    ) -> None:
        """Add one entry."""
        self.entries.append(Entry(f"{self.name}: {what}", error, rule, dialects, play))

    def schema(self, what: str, rule: str, play: Play, dialects: Sequence[Dialect] = ALL) -> None:
        """Add an entry about structure."""
        self.add(what, SchemaValidationError, rule, dialects, play)


# Changes to JSON


def put(*path: str | int, to: Any) -> Change:
    """Set the member (or item) at `path`."""

    def change(wire: Wire) -> None:
        _parent(wire, path)[path[-1]] = to

    return change


def drop(*path: str | int) -> Change:
    """Remove the member at `path`."""

    def change(wire: Wire) -> None:
        del _parent(wire, path)[path[-1]]

    return change


def _parent(wire: Wire, path: Path) -> Any:
    value: Any = wire
    for step in path[:-1]:
        value = value[step]
    return value


# Plays that most entries need


def create_with(change: Change) -> Play:
    """A CREATE by alice, changed before it is signed: nothing else is wrong with it."""
    return lambda scene: scene.build.draft_create(scene.alice, data=scene.alice).changed(change).signed()


def create_then(change: Change) -> Play:
    """A CREATE by alice, changed after it was signed; the id fits."""
    return lambda scene: scene.build.create(scene.alice, data=scene.alice).changed(change)


def transfer_with(change: Change) -> Play:
    """A TRANSFER from alice to bob, changed before it is signed."""
    return lambda scene: (
        scene.build.draft_transfer([scene.asset().spend()], scene.to_bob()).changed(change).signed()
    )


def transfer_then(change: Change) -> Play:
    """A TRANSFER from alice to bob, changed after it was signed; the id fits."""
    return lambda scene: scene.build.transfer([scene.asset().spend()], scene.to_bob()).changed(change)
