# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands `backup` and `restore`: the whole ledger in one file, and back (elections-and-operations 7)."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from planetmint.app.transfer import Derivation, LedgerWriter, archive_end, archive_parts
from planetmint.chain import header_hash
from planetmint.chain.archive import ArchiveError, FileReader, FileWriter, RecordReader, encode_end
from planetmint.chain.derive import Standing, Underivable
from planetmint.cli.console import CommandFailed, say, show
from planetmint.cli.progress import Progress
from planetmint.model.block import BlockHeader
from planetmint.ports.store import Store
from planetmint.runtime.backends import StoreKeeper, make_keeper, make_store
from planetmint.runtime.files import sync_folder
from planetmint.runtime.keys import KEY_FILE
from planetmint.runtime.lock import data_folder
from planetmint.runtime.reading import reading_store
from planetmint.runtime.services import database_running
from planetmint.runtime.settings import Settings
from planetmint.runtime.snapshots import begin_restoring, end_restoring, restoring

PIPE = "-"
"""In place of a file: standard output or input."""

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Expected:
    """What the restored ledger must be.

    Attributes:
        height: Take blocks up to this one alone; None for all.
        app_hash, head: App hash after the newest block and hash of its header, 64 hex digits; None for any.
    """

    height: int | None
    app_hash: str | None
    head: str | None


def backup(settings: Settings, target: str) -> None:
    """Write all blocks that are there when it begins; a node may run and go on meanwhile.

    Raises:
        CommandFailed: There is nothing to back up, or the file cannot be written.
        StoreError: The ledger cannot be read.
    """
    with _opened(target) as file:
        head = asyncio.run(_backup(settings, file))
    text = f"The blocks 0 to {head.height} are in {'the output' if target == PIPE else f'`{target}`'}."
    report = say if target == PIPE else show
    report(text)
    report(f"app hash  {head.app_hash}")
    report(f"head      {header_hash(head)}")


async def _backup(settings: Settings, file: BinaryIO) -> BlockHeader:
    async with reading_store(settings) as store:
        head = await store.head()
        if head is None:
            raise CommandFailed("The database holds no chain yet: there is nothing to back up.")
        with Progress("Backup", "blocks", head.height + 1) as progress:
            try:
                writer = FileWriter()
                async for height, part in archive_parts(store, head.height):
                    file.writelines(writer.feed(part))
                    progress.to(height + 1)
                # Asked after the blocks: a chain that was begun meanwhile is then told so.
                file.writelines(writer.feed(encode_end(await archive_end(store, head.height))))
                file.write(writer.finish())
            except ArchiveError as error:
                raise CommandFailed(f"The ledger cannot be backed up, {error}. Run `planetmint verify`.") from None
        return head


@contextmanager
def _opened(target: str) -> Iterator[BinaryIO]:
    """The output; a file appears under its name when it is whole and durable, or not at all."""
    if target == PIPE:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    part = path.with_name(path.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandFailed(f"Cannot write `{part}`: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.absolute().parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def restore(settings: Settings, source: str, expected: Expected) -> None:
    """Fill an empty database from a backup; keep nothing unless all of it follows from itself.

    Raises:
        CommandFailed: No archive, a damaged one, another one than expected, or the database is not empty.
        ConfigurationError: A node runs.
        StoreError: The database does not take it.
    """
    keeper = make_keeper(settings)
    with data_folder(settings.data.path) as folder, _source(source) as file:
        if restoring(folder):
            say("An earlier restore was interrupted: what it left is dropped first.")
            asyncio.run(_drop(keeper, folder))
        elif asyncio.run(_is_founded(settings, keeper)):
            raise CommandFailed(
                f"The database {keeper.name} holds a chain already. `planetmint drop` deletes it, and "
                "PLANETMINT_DATA_DIR names another data folder."
            )
        begin_restoring(folder)
        try:
            standing = asyncio.run(_restore(settings, file, expected))
        except (ArchiveError, Underivable, _Unexpected) as error:
            asyncio.run(_drop(keeper, folder))
            raise CommandFailed(f"Nothing was restored: {error}.") from None
        end_restoring(folder)
    head = standing.head
    show(f"The blocks 0 to {head.height} of the chain {standing.chain_record.chain_id} were restored.")
    show(f"app hash  {head.app_hash}")
    show(f"head      {header_hash(head)}")
    if head.signature and settings.consensus.engine == "solo" and not (settings.data.path / KEY_FILE).exists():
        place = settings.data.path / KEY_FILE
        say(f"Warning: put the validator's key back too, as `{place}`: it signs the blocks.")


class _Unexpected(Exception):
    """The archive is whole, and another one than the operator wants."""


@contextmanager
def _source(source: str) -> Iterator[BinaryIO]:
    if source == PIPE:
        yield sys.stdin.buffer
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below; only a failure to open is explained here
    except OSError as error:
        raise CommandFailed(f"Cannot read `{source}`: {error.strerror}.") from None
    with file:
        yield file


async def _is_founded(settings: Settings, keeper: StoreKeeper) -> bool:
    if not await keeper.exists():
        return False
    async with _filling_store(settings) as store:
        return await store.founding() is not None


async def _drop(keeper: StoreKeeper, folder: Path) -> None:
    await keeper.drop()
    end_restoring(folder)


@asynccontextmanager
async def _filling_store(settings: Settings) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(database_running(settings))
        store = make_store(settings)
        stack.push_async_callback(store.close)
        await store.open()
        yield store


async def _restore(settings: Settings, file: BinaryIO, expected: Expected) -> Standing:
    derivation = Derivation(expected.height)
    async with _filling_store(settings) as store:
        writer = LedgerWriter(store)
        total = os.fstat(file.fileno()).st_size or None
        with Progress("Restore", "bytes", total) as progress:
            await _fill(file, derivation, writer, progress)
        standing = derivation.standing
        if standing is None or not derivation.finished:
            raise ArchiveError(f"the archive ends before block {expected.height or 0}")
        _compare("app hash", standing.head.app_hash, expected.app_hash)
        _compare("head", header_hash(standing.head), expected.head)
        await writer.finish(standing.chain_record)
    return standing


async def _fill(file: BinaryIO, derivation: Derivation, writer: LedgerWriter, progress: Progress) -> None:
    """Read, derive and write block after block; what does not follow is found before the end is kept."""
    pieces, records = FileReader(), RecordReader()
    done = 0
    while data := file.read(_READ_BYTES):
        done += len(data)
        for piece in pieces.feed(data):
            for record in records.feed(piece):
                begun = derivation.standing is not None
                block = derivation.add(record)
                if derivation.standing is not None and not begun:
                    await writer.begin(derivation.standing)
                if block is not None:
                    await writer.add(block)
                if derivation.ended_early:
                    return
        progress.to(done)
    records.finish()
    pieces.finish()


def _compare(name: str, value: str, expected: str | None) -> None:
    if expected is not None and value != expected.lower():
        raise _Unexpected(f"its {name} is {value}, not {expected}")
