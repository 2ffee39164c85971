# SPDX-License-Identifier: AGPL-3.0-or-later
"""Snapshots of a node with files behind them, and what is done at a start after one was taken half.

While a store is being filled, by a snapshot or by `planetmint restore`, a file in the data folder says so. A node
empties what a snapshot has left half and joins again; what a restore has left half it refuses to run with.
"""

import os
from functools import partial
from pathlib import Path

import structlog

from planetmint.app.snapshots import Origin, SnapshotService
from planetmint.chain import UnknownRules, found_chain
from planetmint.ports.errors import StoreError, StoreFull
from planetmint.ports.store import Store
from planetmint.runtime.backends import StoreKeeper
from planetmint.runtime.clock import SystemClock
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.files import sync_folder, write_whole
from planetmint.runtime.settings import ConfigurationError, Settings

SPOOL_FOLDER = "snapshot"
"""In the data folder: chunks of a snapshot that is being taken."""

NOTES_FILE = "snapshot-pieces"
"""In the data folder: where the pieces of this node's own snapshots begin."""

RESTORING_FILE = "restoring"
"""In the data folder while `planetmint restore` fills the store."""

_MARK = "filling"

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class FolderSpool:
    """Implements `app.snapshots.Spool` in a folder, which is made when the first chunk comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def marked(self) -> bool:
        """Whether the store was being filled when the node ended."""
        return (self._folder / _MARK).exists()

    def clear(self) -> None:
        """See `Spool`. The mark goes first, once the store is durable or empty."""
        try:
            if not self._folder.exists():
                return
            (self._folder / _MARK).unlink(missing_ok=True)
            sync_folder(self._folder)
            for path in self._folder.glob("*.piece"):
                path.unlink()
        except OSError as error:
            raise self._failed(error) from error

    def put(self, index: int, chunk: bytes) -> None:
        """See `Spool`."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path(index).write_bytes(chunk)
        except OSError as error:
            raise self._failed(error) from error

    def get(self, index: int) -> bytes:
        """See `Spool`."""
        try:
            return self._path(index).read_bytes()
        except OSError as error:
            raise self._failed(error) from error

    def mark(self) -> None:
        """See `Spool`."""
        try:
            write_whole(self._folder / _MARK, "The store holds a part of a snapshot.\n")
        except OSError as error:
            raise self._failed(error) from error

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.piece"

    def _failed(self, error: OSError) -> StoreError:
        return StoreFull(f"{self._folder} cannot be used: {error.strerror}")


class FileNotes:
    """Implements `app.snapshots.Notes` in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """See `Notes`."""
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    def save(self, data: bytes) -> None:
        """See `Notes`."""
        try:
            write_whole(self._path, data.decode("ascii"))
        except OSError as error:
            _log.warning("snapshot.notes_not_saved", path=str(self._path), error=str(error))


def make_snapshots(settings: Settings, store: Store) -> SnapshotService:
    """The snapshots of a node; `SnapshotService.start` with the node's feed makes them in the background."""
    folder = settings.data.path
    return SnapshotService(
        store,
        FolderSpool(folder / SPOOL_FOLDER),
        interval=settings.consensus.snapshot_interval,
        notes=FileNotes(folder / NOTES_FILE),
        clock=SystemClock(),
        origin=partial(origin_of, EngineHome(settings.engine_home)),
    )


def origin_of(home: EngineHome) -> Origin | None:
    """What the genesis file of the engine says of its chain; None where there is none that can be read."""
    if not home.founded:
        return None
    try:
        genesis = home.read_genesis()
        migrated = genesis.app.migrated_from
        if migrated is not None:
            return Origin(migrated.label, genesis.time)
        founding = found_chain(genesis.chain_id, genesis.app.parameters, genesis.validators, genesis.time)
    except (ConfigurationError, UnknownRules, ValueError) as error:
        _log.warning("snapshot.genesis_not_read", path=str(home.genesis), error=str(error))
        return None
    return Origin(founding.label, genesis.time)


async def clear_unfinished(settings: Settings, keeper: StoreKeeper) -> None:
    """Before a node opens its store or starts a server for it: empty a store that a snapshot has filled half.

    Raises:
        ConfigurationError: A restore was interrupted.
        StoreError: The store cannot be emptied.
    """
    if restoring(settings.data.path):
        raise ConfigurationError(
            f"A restore into the database {keeper.name} was interrupted. Run `planetmint restore` again, or "
            "`planetmint drop` to begin with an empty one."
        )
    spool = FolderSpool(settings.data.path / SPOOL_FOLDER)
    if spool.marked:
        _log.warning("snapshot.unfinished", action="the database is emptied, and the node joins again")
        await keeper.drop()
        spool.clear()


def restoring(folder: Path) -> bool:
    """Whether a restore was begun in this data folder, and not ended."""
    return (folder / RESTORING_FILE).exists()


def begin_restoring(folder: Path) -> None:
    """Say durably that the store is being filled. Raises OSError."""
    write_whole(folder / RESTORING_FILE, "The database holds a part of an archive.\n")


def end_restoring(folder: Path) -> None:
    """The store is filled, or empty. Raises OSError."""
    (folder / RESTORING_FILE).unlink(missing_ok=True)
    sync_folder(folder)


def forget_unfinished(folder: Path) -> None:
    """After the store was dropped: nothing in it is unfinished any more. Raises OSError."""
    if folder.exists():
        end_restoring(folder)
        FolderSpool(folder / SPOOL_FOLDER).clear()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is nothing."""
    if path.is_dir():
        return sum(size_of(Path(entry.path)) for entry in os.scandir(path) if not entry.is_symlink())
    return path.stat().st_size if path.exists() else 0
