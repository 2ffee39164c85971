# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files behind snapshots, and what a start makes of a store that was filled half."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from planetmint.ports.errors import StoreFull
from planetmint.runtime.backends import make_keeper
from planetmint.runtime.settings import ConfigurationError, DataSettings, Settings
from planetmint.runtime.snapshots import (
    SPOOL_FOLDER,
    FileNotes,
    FolderSpool,
    begin_restoring,
    clear_unfinished,
    end_restoring,
    forget_unfinished,
    make_snapshots,
    restoring,
    size_of,
)
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from tests.support.chains import grow, ordinary


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """A file where a folder would be."""
    path.write_text("")
    yield
    path.unlink()


def test_the_spool_keeps_chunks_until_it_is_cleared(tmp_path: Path) -> None:
    spool = FolderSpool(tmp_path / "spool")
    spool.clear()
    spool.put(3, b"three")
    spool.put(0, b"zero")
    spool.put(3, b"other")
    assert (spool.get(3), spool.get(0)) == (b"other", b"zero")
    assert not spool.marked
    spool.mark()
    assert FolderSpool(tmp_path / "spool").marked
    spool.clear()
    assert not spool.marked
    assert list((tmp_path / "spool").iterdir()) == []
    with pytest.raises(StoreFull):
        spool.get(0)


def test_a_folder_that_cannot_be_used_is_an_error_of_the_store(tmp_path: Path) -> None:
    spool = FolderSpool(tmp_path / "spool")
    with unwritable(tmp_path / "spool"):
        for use in (lambda: spool.put(0, b""), lambda: spool.get(0), spool.mark, spool.clear):
            with pytest.raises(StoreFull, match="spool cannot be used"):
                use()


def test_notes_that_cannot_be_saved_are_only_lost(tmp_path: Path) -> None:
    notes = FileNotes(tmp_path / "notes")
    assert notes.load() is None
    notes.save(b"first")
    notes.save(b"second")
    assert notes.load() == b"second"
    with unwritable(tmp_path / "file"):
        FileNotes(tmp_path / "file" / "notes").save(b"lost")


async def test_a_store_that_a_snapshot_has_filled_half_is_emptied_at_the_start(tmp_path: Path) -> None:
    settings = Settings(data=DataSettings(dir=str(tmp_path)))
    store = SqliteStore(settings.database_path)
    await store.open()
    await grow(store, ordinary())
    await store.close()
    spool = FolderSpool(tmp_path / SPOOL_FOLDER)
    spool.put(0, b"chunk")
    keeper = make_keeper(settings)
    await clear_unfinished(settings, keeper)
    assert await keeper.exists()
    spool.mark()
    await clear_unfinished(settings, keeper)
    assert not await keeper.exists()
    assert not spool.marked
    await clear_unfinished(settings, keeper)


async def test_a_restore_that_was_interrupted_keeps_a_node_from_starting(tmp_path: Path) -> None:
    settings = Settings(data=DataSettings(dir=str(tmp_path)))
    keeper = make_keeper(settings)
    begin_restoring(tmp_path)
    assert restoring(tmp_path)
    with pytest.raises(ConfigurationError, match="planetmint restore"):
        await clear_unfinished(settings, keeper)
    end_restoring(tmp_path)
    assert not restoring(tmp_path)
    await clear_unfinished(settings, keeper)
    begin_restoring(tmp_path)
    FolderSpool(tmp_path / SPOOL_FOLDER).put(0, b"chunk")
    forget_unfinished(tmp_path)
    assert not restoring(tmp_path)
    forget_unfinished(tmp_path / "nowhere")


async def test_the_service_of_a_node_keeps_its_files_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data=DataSettings(dir=str(tmp_path)))
    store = MemoryStore()
    await store.open()
    await grow(store, ordinary(), signed=False)
    service = make_snapshots(settings, store)
    await service.make(6)
    (offer,) = await service.offers()
    assert offer.height == 6
    assert (tmp_path / "snapshot-pieces").exists()


def test_sizes_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(bytes(10))
    (tmp_path / "two").write_bytes(bytes(5))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert size_of(tmp_path) == 15
    assert size_of(tmp_path / "two") == 5
    assert size_of(tmp_path / "none") == 0
