# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files behind snapshots, and what a start makes of a store that was filled half."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from planetmint.app.snapshots import Origin
from planetmint.consensus.cometbft.genesis import Genesis
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator
from planetmint.ports.consensus import Migrated
from planetmint.ports.errors import StoreFull
from planetmint.ports.snapshots import ChunkVerdict
from planetmint.runtime.backends import make_keeper
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.genesis_file import GenesisFile
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
    origin_of,
    restoring,
    size_of,
)
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from tests.support.chains import PUBLIC, grow, ordinary
from tests.support.ledger import START


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


async def test_the_service_of_a_node_holds_snapshots_against_the_genesis_of_its_engine(tmp_path: Path) -> None:
    home = EngineHome(tmp_path / "cometbft")
    assert origin_of(home) is None
    home.config_folder.mkdir(parents=True)
    home.genesis.write_text("{}")
    assert origin_of(home) is None
    served, wanted = MemoryStore(), MemoryStore()
    for store in (served, wanted):
        await store.open()
    await grow(served, ordinary(), signed=False)
    founding, head = await served.founding(), await served.head()
    assert founding is not None
    assert head is not None
    for late, verdict in ((1, ChunkVerdict.REJECTED), (0, ChunkVerdict.ACCEPTED)):
        genesis = GenesisFile("tests", founding.time + late, founding.validators, Genesis(founding.parameters))
        home.genesis.write_text(genesis.to_text())
        assert (origin_of(home) == Origin(founding.label, founding.time)) is (not late)
        maker, taker = (
            make_snapshots(Settings(data=DataSettings(dir=str(folder))), store)
            for folder, store in ((tmp_path / "maker", served), (tmp_path, wanted))
        )
        (tmp_path / "maker").mkdir(exist_ok=True)
        await maker.make(6)
        (offer,) = await maker.offers()
        chunk = await maker.chunk(6, 1, 0)
        assert chunk is not None
        assert await taker.take(offer, bytes.fromhex(head.app_hash))
        assert await taker.add_chunk(0, chunk) is verdict


def test_after_a_migration_the_genesis_names_the_label(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    home.config_folder.mkdir()
    genesis = GenesisFile(
        "new", START, (Validator(PUBLIC, 10),), Genesis(ChainParameters(), Migrated(3, "ab" * 32, "12345678"))
    )
    home.genesis.write_text(genesis.to_text())
    assert origin_of(home) == Origin("12345678", START)


def test_sizes_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(bytes(10))
    (tmp_path / "two").write_bytes(bytes(5))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert size_of(tmp_path) == 15
    assert size_of(tmp_path / "two") == 5
    assert size_of(tmp_path / "none") == 0
