# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ledger for commands that only read it: beside the node that writes it, or while no node runs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from planetmint.ports.store import Store
from planetmint.runtime.lock import data_folder
from planetmint.runtime.services import database_running, tarantool_address
from planetmint.runtime.settings import ConfigurationError, Settings


def make_reader(settings: Settings) -> Store:
    """The store that the settings name, for reading alone and not opened yet.

    Raises:
        ConfigurationError: There is none.
    """
    if settings.database.backend == "tarantool_db":
        from planetmint.storage.tarantool import TarantoolStore

        return TarantoolStore(tarantool_address(settings), read_only=True)
    from planetmint.storage.sqlite import SqliteStore

    path = settings.database_path
    if not path.exists():
        raise ConfigurationError(f"There is no database {path} yet: it is made when the node starts first.")
    return SqliteStore(path, read_only=True)


@asynccontextmanager
async def reading_store(settings: Settings, *, alone: bool = False) -> AsyncIterator[Store]:
    """An open store for reading. A managed Tarantool is started for it where no node does that.

    Args:
        settings: The configuration.
        alone: Whether the caller holds the lock on the data folder, so that no node runs.

    Raises:
        ConfigurationError, StoreError: It cannot be read.
    """
    async with AsyncExitStack() as stack:
        if settings.database_managed and (alone or _locked(settings, stack)):
            await stack.enter_async_context(database_running(settings))
        store = make_reader(settings)
        stack.push_async_callback(store.close)
        await store.open()
        yield store


def _locked(settings: Settings, stack: AsyncExitStack) -> bool:
    """Take the lock on the data folder; False where a node has it."""
    try:
        stack.enter_context(data_folder(settings.data.path))
    except ConfigurationError:
        return False
    return True
