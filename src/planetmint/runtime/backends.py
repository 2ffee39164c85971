# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this version can run, one line per storage backend and engine, and how a store is looked after."""

from pathlib import Path
from typing import Protocol

from planetmint.ports.errors import LayoutError
from planetmint.ports.store import Store
from planetmint.runtime.settings import ConfigurationError, Settings
from planetmint.storage.sqlite import SqliteStore
from planetmint.storage.sqlite.layout import VERSION as SQLITE_LAYOUT
from planetmint.storage.sqlite.layout import migrate as migrate_sqlite

RUNNABLE_BACKENDS = ("sqlite",)
"""Values of `database.backend` that can be run."""

RUNNABLE_ENGINES = ("solo",)
"""Values of `consensus.engine` that can be run."""

COMETBFT_VERSIONS: tuple[str, ...] = ()
"""Versions of CometBFT that this version of the node can work with."""


class StoreKeeper(Protocol):
    """What operators do to a store while no node runs."""

    name: str
    """The database in words that an operator knows."""

    def exists(self) -> bool:
        """Whether the store has ever been made."""
        ...

    async def create(self) -> None:
        """Make the layout where there is none; raises StoreError."""
        ...

    async def drop(self) -> bool:
        """Delete everything; whether there was anything. Raises StoreError."""
        ...

    async def migrate(self) -> str:
        """Bring the store to the present layout and say in a sentence what was done; raises StoreError."""
        ...


class SqliteKeeper:
    """Looks after a SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def exists(self) -> bool:
        """As `StoreKeeper.exists`."""
        return self.path.exists()

    async def create(self) -> None:
        """As `StoreKeeper.create`."""
        store = sqlite_store(self.path)
        try:
            await store.open()
        finally:
            await store.close()

    async def drop(self) -> bool:
        """As `StoreKeeper.drop`."""
        if not self.exists():
            return False
        await SqliteStore(self.path).drop()
        return True

    async def migrate(self) -> str:
        """As `StoreKeeper.migrate`."""
        if not self.path.exists():
            return f"There is no database at {self.path} yet: nothing to do."
        before = migrate_sqlite(self.path)
        if before > SQLITE_LAYOUT:
            raise LayoutError(
                f"The database {self.path} has layout {before}, written by a newer version of the node; this one "
                f"knows layouts up to {SQLITE_LAYOUT}. Install that version."
            )
        if before == SQLITE_LAYOUT:
            return f"The database {self.path} has the present layout {SQLITE_LAYOUT}: nothing to do."
        return f"The database {self.path} was brought from layout {before} to {SQLITE_LAYOUT}."


def check_runnable(settings: Settings) -> None:
    """Refuse what this version cannot run.

    Raises:
        ConfigurationError: Another engine or backend than `solo` and `sqlite`, or contracts on a new chain.
    """
    backend, engine = settings.database.backend, settings.consensus.engine
    if backend not in RUNNABLE_BACKENDS or engine not in RUNNABLE_ENGINES:
        raise ConfigurationError(
            f"This version runs consensus.engine=solo with database.backend=sqlite, not {engine} with {backend}. "
            "Set PLANETMINT_CONSENSUS_ENGINE=solo and PLANETMINT_DATABASE_BACKEND=sqlite, or change the file."
        )
    contracts = settings.chain.contracts
    for name, value in (("zenroom", contracts.zenroom), ("scripts", contracts.scripts)):
        if value not in (None, "off"):
            raise ConfigurationError(
                f"This version has no contract engine: chain.contracts.{name} must be `off`, not `{value}`."
            )


def sqlite_store(path: Path) -> SqliteStore:
    """A store in this file; its folder is made. Raises ConfigurationError for a folder that cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"database.path: cannot make the folder `{path.parent}` ({error.strerror})."
        ) from None
    return SqliteStore(path)


def make_store(settings: Settings) -> Store:
    """The store that the settings name, not opened yet. Raises ConfigurationError where this version has none."""
    check_runnable(settings)
    return sqlite_store(settings.database_path)


def make_keeper(settings: Settings) -> StoreKeeper:
    """Who looks after that store. Raises ConfigurationError where this version has none."""
    check_runnable(settings)
    return SqliteKeeper(settings.database_path)
