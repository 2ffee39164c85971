# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this version can run, one line per storage backend and engine, and how a store is looked after.

What Tarantool needs is imported where it is used: other nodes do without.
"""

from pathlib import Path
from typing import Protocol

from planetmint.ports.errors import LayoutError
from planetmint.ports.store import Store
from planetmint.runtime.services import database_running, tarantool_address
from planetmint.runtime.settings import ConfigurationError, Settings, TarantoolSettings
from planetmint.storage.sqlite import SqliteStore
from planetmint.storage.sqlite.layout import VERSION as SQLITE_LAYOUT
from planetmint.storage.sqlite.layout import migrate as migrate_sqlite


class StoreKeeper(Protocol):
    """What operators do to a store while no node runs."""

    name: str
    """The database in words that an operator knows."""

    async def exists(self) -> bool:
        """Whether the store has ever been made; raises StoreError where that cannot be found out."""
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

    async def exists(self) -> bool:
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
        if not self.path.exists():
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


class TarantoolKeeper:
    """Looks after a Tarantool database; a managed server runs for as long as that takes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = tarantool_address(settings)
        self.name = str(self._address)

    async def exists(self) -> bool:
        """As `StoreKeeper.exists`."""
        from planetmint.storage.tarantool import exists

        if self._settings.database_managed:
            # The server's first act; whether there is a ledger in it is not worth a start.
            return any(self._settings.database_folder.glob("*.snap"))
        return await exists(self._address)

    async def create(self) -> None:
        """As `StoreKeeper.create`."""
        from planetmint.storage.tarantool import lay_out

        async with database_running(self._settings):
            await lay_out(self._address)

    async def drop(self) -> bool:
        """As `StoreKeeper.drop`."""
        from planetmint.storage.tarantool import drop

        if not await self.exists():
            return False
        async with database_running(self._settings):
            return await drop(self._address)

    async def migrate(self) -> str:
        """As `StoreKeeper.migrate`."""
        from planetmint.storage.tarantool import migrate

        async with database_running(self._settings):
            before, present = await migrate(self._address)
        if before == present:
            return f"The database {self.name} has the present layout {present}: nothing to do."
        return f"The database {self.name} was brought from layout {before} to {present}."


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
    """The store that the settings name, not opened yet. Raises ConfigurationError where it cannot be run."""
    if isinstance(settings.database, TarantoolSettings):
        from planetmint.storage.tarantool import TarantoolStore

        return TarantoolStore(tarantool_address(settings))
    return sqlite_store(settings.database_path)


def make_reader(settings: Settings) -> Store:
    """As `make_store`, for commands that only read, beside a running node too."""
    if isinstance(settings.database, TarantoolSettings):
        from planetmint.storage.tarantool import TarantoolStore

        return TarantoolStore(tarantool_address(settings), read_only=True)
    return SqliteStore(settings.database_path, read_only=True)


def make_keeper(settings: Settings) -> StoreKeeper:
    """Who looks after that store. Raises ConfigurationError where it cannot be run."""
    if isinstance(settings.database, TarantoolSettings):
        return TarantoolKeeper(settings)
    return SqliteKeeper(settings.database_path)
