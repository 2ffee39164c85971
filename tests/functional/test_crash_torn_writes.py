# SPDX-License-Identifier: AGPL-3.0-or-later
"""A write of the ledger's file that ends anywhere, as a crash or a power cut leaves it.

SQLite appends a block's pages to the write-ahead log and makes them durable at once; what a crash leaves of that
is a part of the log. Every such part is made here and opened.
"""

import shutil
import sqlite3
from pathlib import Path

import pytest

from planetmint.ports.store import Paging, Store
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.store_conformance import (
    ANYBODY,
    FOUNDING,
    SOMEBODY,
    Chain,
    header_of,
    ref,
    transaction,
    transfer,
)

NAME = "ledger.db"
LOG = NAME + "-wal"
LOG_HEADER, FRAME_HEADER = 32, 24


class Write:
    """The files of a store before and after its second block was written.

    Attributes:
        chain: Two blocks; the second one spends an output of the first.
        file: The main file; the same before and after.
        before, after: The write-ahead log.
    """

    def __init__(self, chain: Chain, file: bytes, before: bytes, after: bytes) -> None:
        self.chain, self.file, self.before, self.after = chain, file, before, after

    @property
    def frame(self) -> int:
        """Bytes of a page in the log, its header included."""
        return FRAME_HEADER + int.from_bytes(self.after[8:12], "big")

    def lay_out(self, folder: Path, log: bytes, file: bytes | None = None) -> SqliteStore:
        """A store on these files."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / NAME).write_bytes(self.file if file is None else file)
        (folder / LOG).write_bytes(log)
        return SqliteStore(folder / NAME)


@pytest.fixture
async def write(tmp_path: Path) -> Write:
    chain = Chain()
    first = chain.block(transaction("one", owners=((ANYBODY,), (SOMEBODY,)), metadata={"a": "word"}))
    second = chain.block(transaction("two", metadata="text"), transfer("three", ref("one"), asset="one"))
    path = tmp_path / "made" / NAME
    path.parent.mkdir()
    store = SqliteStore(path)
    await store.open()
    await store.found(FOUNDING, header_of(0))
    await store.save_block(first)
    file, before = path.read_bytes(), path.with_name(LOG).read_bytes()
    await store.save_block(second)
    after = path.with_name(LOG).read_bytes()
    assert path.read_bytes() == file and after.startswith(before) and len(after) > len(before)
    await store.close()
    return Write(chain, file, before, after)


async def expect(store: Store, chain: Chain, height: int) -> None:
    """The store holds the chain up to `height`, and nothing of what comes after."""
    head = await store.head()
    assert head == header_of(height)
    for block in chain.blocks:
        there = block.header.height <= height
        found = await store.block(block.header.height)
        assert (found is not None) == there
        for item in block.transactions:
            assert await store.transaction(item.id) == (item.canonical if there else None)
    events = await store.events(1, 100)
    assert events == tuple(block.events for block in chain.blocks[:height])
    spent = await store.outputs_by_key(ANYBODY, True, Paging())
    assert spent.items == ((ref("one"),) if height == 2 else ())


async def test_a_log_that_ends_anywhere_holds_the_last_block_whole_or_not_at_all(
    write: Write, tmp_path: Path
) -> None:
    ends = range(len(write.before), len(write.after))
    cuts = {end + shift for end in ends[:: write.frame] for shift in (0, 1, FRAME_HEADER, write.frame - 1)}
    for cut in sorted(cuts & set(ends)):
        store = write.lay_out(tmp_path / "cut", write.after[:cut])
        await store.open()
        await expect(store, write.chain, 1)
        await store.save_block(write.chain.blocks[1])
        await expect(store, write.chain, 2)
        await store.close()
    store = write.lay_out(tmp_path / "whole", write.after)
    await store.open()
    await expect(store, write.chain, 2)
    await store.close()


async def test_a_log_with_a_page_that_was_not_written_ends_before_it(write: Write, tmp_path: Path) -> None:
    starts = range(len(write.before), len(write.after), write.frame)
    for start in starts:
        hole = write.after[:start] + bytes(write.frame) + write.after[start + write.frame :]
        store = write.lay_out(tmp_path / "hole", hole)
        await store.open()
        await expect(store, write.chain, 1)
        await store.close()


async def test_a_log_that_was_partly_copied_into_the_file_is_copied_again(write: Write, tmp_path: Path) -> None:
    write.lay_out(tmp_path / "copied", write.after)
    connection = sqlite3.connect(tmp_path / "copied" / NAME)
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    copied = (tmp_path / "copied" / NAME).read_bytes()
    connection.close()
    page = write.frame - FRAME_HEADER
    for end in range(0, len(copied) + 1, page):
        store = write.lay_out(tmp_path / "partly", write.after, copied[:end] + write.file[end:])
        await store.open()
        await expect(store, write.chain, 2)
        await store.close()
