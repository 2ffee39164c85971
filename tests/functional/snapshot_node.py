# SPDX-License-Identifier: AGPL-3.0-or-later
"""A node that gives forged snapshots, or dies while it takes one; nothing of it is part of the product.

`SNAPSHOT_NODE=forge` (`die`, `end`) `python -m tests.functional.snapshot_node start` runs the ordinary command.
"""

import os
import signal
import sys
from collections.abc import Sequence
from hashlib import sha256

from planetmint.app.snapshots import SnapshotService, _Taking
from planetmint.app.transfer import LedgerWriter
from planetmint.chain.archive import (
    ArchivedBlock,
    ArchiveEnd,
    RecordReader,
    encode_block,
    encode_end,
    encode_founding,
    pack,
    unpack,
)
from planetmint.cli.main import main
from planetmint.model.block import BlockRecord
from planetmint.ports.snapshots import Snapshot
from planetmint.testing.build import Builder, Dialect

FORGERY = Builder(Dialect.BIGCHAINDB).create("mallory", data={"what": "all the gold of the others"})
"""Stands in every forged snapshot, in the place of the first transaction."""

_offers, _chunk, _write = SnapshotService.offers, SnapshotService.chunk, SnapshotService._write


def _forged(chunks: Sequence[bytes]) -> bytes:
    """A small snapshot's only chunk with another transaction in it."""
    reader, parts, done = RecordReader(), [], False
    for record in [record for chunk in chunks for record in reader.feed(unpack(chunk))]:
        if isinstance(record, ArchivedBlock):
            forge = bool(record.transactions) and not done
            done |= forge
            others = record.transactions[1:]
            parts.append(
                encode_block(record.header, (FORGERY.canonical, *others) if forge else record.transactions)
            )
        elif isinstance(record, ArchiveEnd):
            parts.append(encode_end(record))
        else:
            parts.append(encode_founding(record))
    return b"".join(parts)


async def _piece(service: SnapshotService, height: int) -> bytes:
    chunk = await _chunk(service, height, 1, 0)
    assert chunk is not None
    return _forged([chunk])


async def forged_offers(service: SnapshotService) -> tuple[Snapshot, ...]:
    """What an honest node would offer, with the hashes of forged chunks."""
    forged = []
    for offer in await _offers(service):
        metadata = sha256(await _piece(service, offer.height)).digest()
        forged.append(offer._replace(metadata=metadata, hash=sha256(metadata).digest()))
    return tuple(forged)


async def forged_chunk(service: SnapshotService, height: int, format: int, index: int) -> bytes | None:
    """The forged chunk that was offered."""
    return pack(await _piece(service, height))


async def die(writer: LedgerWriter, block: BlockRecord) -> None:
    """End the process as soon as the ledger is founded and blocks are to follow."""
    os.kill(os.getpid(), signal.SIGKILL)


async def end(service: SnapshotService, taking: _Taking) -> None:
    """End the process when the ledger holds the whole snapshot and the engine has not heard so."""
    await _write(service, taking)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if os.environ["SNAPSHOT_NODE"] == "end":
        SnapshotService._write = end  # type: ignore[method-assign]
    elif os.environ["SNAPSHOT_NODE"] == "forge":
        SnapshotService.offers, SnapshotService.chunk = forged_offers, forged_chunk  # type: ignore[method-assign]
    else:
        LedgerWriter.add = die  # type: ignore[method-assign]
    sys.exit(main())
