# SPDX-License-Identifier: AGPL-3.0-or-later
"""A writer that is killed at any moment leaves the newest acknowledged block, or the one after it, whole."""

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from planetmint.ports.store import StateReads
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.store_conformance import ALL, ANYBODY, FOUNDING, digest, header_of, ref

_WRITER = """
    import asyncio, pathlib, sys
    from planetmint.storage.sqlite import SqliteStore
    from planetmint.testing.store_conformance import block_of, ref, transaction, transfer

    async def main():
        store = SqliteStore(pathlib.Path(sys.argv[1]))
        await store.open()
        height = (await store.head()).height
        while True:
            height += 1
            new = [transaction(f"{height} {number}", metadata=f"block {height}") for number in range(height % 5)]
            moved = [transfer(f"t{height}", ref(f"{height} 0"), asset=f"{height} 0")] if new else []
            await store.save_block(block_of(height, [*new, *moved]))
            print(height, flush=True)

    asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(3))
async def test_a_killed_writer_leaves_whole_blocks_and_loses_none_that_was_acknowledged(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteStore(path)
    await store.open()
    await store.found(FOUNDING, header_of(0))
    await store.close()
    chance = random.Random(seed)
    for _ in range(3):
        acknowledged = killed_after(path, chance.randrange(1, 60))
        await store.open()
        head = await store.head()
        assert head is not None and head.height in (acknowledged, acknowledged + 1)
        await check_blocks(store, head.height)
        await store.close()


def killed_after(path: Path, count: int) -> int:
    """Let a process write until so many blocks are acknowledged, kill it, and tell the height of the last one."""
    arguments = [sys.executable, "-c", textwrap.dedent(_WRITER), str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        heights = [int(writer.stdout.readline()) for _ in range(count)]
        writer.kill()
        heights += [int(line) for line in writer.stdout.read().splitlines()]
    return heights[-1]


async def check_blocks(store: SqliteStore, newest: int) -> None:
    """Every block has its transactions, outputs, spends and events; nothing is there of a later one."""
    expected_outputs = []
    for height in range(1, newest + 1):
        names = [f"{height} {number}" for number in range(height % 5)]
        names += [f"t{height}"] if names else []
        summary = await store.summary(height)
        assert summary is not None and summary.transaction_ids == tuple(map(digest, names))
        assert [await store.height_of(digest(name)) for name in names] == [height] * len(names)
        assert len((await store.events(height, 1))[0].events) == len(names)
        expected_outputs += [ref(name) for name in names if not name.startswith("t")]
        view = await store.read_state(StateReads([], [ref(name) for name in names]))
        spenders = [record.spender for name in names if (record := view.output(ref(name))) is not None]
        assert spenders == [digest(f"t{height}") if name == f"{height} 0" else None for name in names]
    assert (await store.outputs_by_key(ANYBODY, None, ALL)).items == tuple(expected_outputs)
    for name in (f"{newest + 1} 0", f"t{newest + 1}"):
        assert await store.transaction(digest(name)) is None
