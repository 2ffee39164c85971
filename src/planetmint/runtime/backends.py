# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this version can run, one line per storage backend and engine, and how a store is looked after."""

from pathlib import Path
from typing import Protocol

from planetmint.ports.store import Store
from planetmint.runtime.settings import ConfigurationError, Settings
from planetmint.storage.sqlite import SqliteStore
from planetmint.storage.sqlite import migrate as migrate_sqlite

ENGINES = ("solo",)
"""Values of `consensus.engine` that can be run."""

COMETBFT_VERSIONS: tuple[str, ...] = ()
"""Versions of CometBFT that this version of the node can work with."""

_SIDE_FILES = ("-wal", "-shm")
"""What SQLite keeps beside its file."""


class StoreKeeper(Protocol):
    """What operators do to a store while no node runs."""

    name: str
    """The database in words that an operator knows."""

    async def create(self) -> None:
        """Make the layout where there is none; raises StoreError."""
        ...

    async def drop(self) -> bool:
        """Delete everything; whether there was anything. Raises StoreError, OSError."""
        ...

    async def migrate(self) -> str:
        """Bring the store to the present layout and say in a sentence what was done; raises StoreError."""
        ...


class SqliteKeeper:
    """Looks after a SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    async def create(self) -> None:
        """As `StoreKeeper.create`."""
        store = sqlite_store(self.path)
        try:
            await store.open()
        finally:
            await store.close()

    async def drop(self) -> bool:
        """As `StoreKeeper.drop`."""
        there = self.path.exists()
        for path in (self.path, *(Path(f"{self.path}{suffix}") for suffix in _SIDE_FILES)):
            path.unlink(missing_ok=True)
        return there

    async def migrate(self) -> str:
        """As `StoreKeeper.migrate`."""
        if not self.path.exists():
            return f"There is no database at {self.path} yet: nothing to do."
        return "; ".join(migrate_sqlite(self.path)) or "already there"


def check_runnable(settings: Settings) -> None:
    """Refuse what this version cannot run.

    Raises:
        ConfigurationError: Another engine or backend than `solo` and `sqlite`, or contracts on a new chain.
    """
    backend, engine = settings.database.backend, settings.consensus.engine
    if backend != "sqlite" or engine not in ENGINES:
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
