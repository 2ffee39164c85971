# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long archives take: `python -m bench.archive [--blocks 1000] [--per-block 100]`.

Makes a chain in a SQLite file without an engine, and measures `backup`, `restore`, `verify`, and a snapshot from
one such file into another. Small transactions: a CREATE with two members of data and one of metadata.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nacl.bindings import crypto_sign_seed_keypair

from planetmint.app.snapshots import SnapshotService
from planetmint.app.transfer import LedgerWriter
from planetmint.chain import found_chain, founding_header
from planetmint.chain.derive import derive_founding, follow
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator
from planetmint.rules import decode_canonical
from planetmint.runtime.snapshots import FolderSpool
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.build import Builder, Dialect

BUILDER = Builder(Dialect.BIGCHAINDB)
START = 1_700_000_000_000_000_000


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long what is inside took."""
    begun, worked = time.monotonic(), _worked()
    yield
    print(f"{what:<44}{time.monotonic() - begun:8.2f} s, of which {_worked() - worked:.2f} s at work")


def _worked() -> float:
    """Seconds of processor time of this process and its children so far: what a busy machine changes least."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


async def make_chain(store: SqliteStore, blocks: int, per_block: int) -> None:
    """Found a chain whose engine keeps the headers, and put blocks of new transactions on it."""
    public, _ = crypto_sign_seed_keypair(bytes(32))
    founding = found_chain("bench", ChainParameters(), (Validator(public, 10),), START)
    standing = derive_founding(founding, founding_header(founding, b""))
    writer = LedgerWriter(store)
    await writer.begin(standing)
    for number in range(blocks):
        made = [
            BUILDER.create(
                "alice",
                [(1, "bob")],
                data={"number": number * per_block + place, "what": "a thing that somebody owns"},
                metadata={"note": f"transaction {place} of a block"},
            )
            for place in range(per_block)
        ]
        transactions = [decode_canonical(item.canonical, founding.parameters) for item in made]
        header = replace(standing.head, time=standing.head.time + 1_000_000_000, proposer="ab" * 20)
        record = follow(standing, header, transactions)
        await writer.add(record)
        standing = standing.after(record)
    await writer.finish(standing.chain_record)


async def snapshot(source: Path, target: Path) -> None:
    """Make a snapshot of one store and take it into another."""
    store, empty = SqliteStore(source / "ledger.db"), SqliteStore(target / "ledger.db")
    await store.open()
    await empty.open()
    head = await store.head()
    assert head is not None
    maker, taker = (SnapshotService(one, FolderSpool(target / "spool")) for one in (store, empty))
    with timed("make a snapshot"):
        await maker.make(head.height)
    (offer,) = await maker.offers()
    with timed(f"read and pack its {offer.chunks} chunks"):
        chunks = [await maker.chunk(offer.height, offer.format, index) or b"" for index in range(offer.chunks)]
    with timed("derive it and write it into a new store"):
        assert await taker.take(offer, bytes.fromhex(head.app_hash))
        for index, chunk in enumerate(chunks):
            await taker.add_chunk(index, chunk)
    assert await empty.head() == head
    await store.close()
    await empty.close()


def run(env: Mapping[str, str], *arguments: str) -> None:
    """Run a command to its end and say how long it took."""
    with timed(f"planetmint {arguments[0]}"):
        subprocess.run(
            [sys.executable, "-m", "planetmint", *arguments], env=dict(env), check=True, capture_output=True
        )


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1_000)
    parser.add_argument("--per-block", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("one", "two", "three"):
            (folder / part).mkdir()
        store = SqliteStore(folder / "one" / "ledger.db")

        async def make() -> None:
            await store.open()
            await make_chain(store, given.blocks, given.per_block)
            await store.close()

        asyncio.run(make())
        print(f"{given.blocks} blocks of {given.per_block} transactions; load {os.getloadavg()[0]:.1f}")
        env = {**os.environ, "HOME": name, "PLANETMINT_DATA_DIR": str(folder / "one")}
        run(env, "backup", str(folder / "archive"))
        print(f"{'size of the archive':<44}{(folder / 'archive').stat().st_size:>8,} bytes")
        run(env, "verify")
        run({**env, "PLANETMINT_DATA_DIR": str(folder / "two")}, "restore", str(folder / "archive"))
        asyncio.run(snapshot(folder / "one", folder / "three"))


if __name__ == "__main__":
    main()
