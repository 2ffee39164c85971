# SPDX-License-Identifier: AGPL-3.0-or-later
"""Saves blocks into a store with nothing else of a node around it: what the database alone takes."""

import asyncio
import gc
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import jobs
from bench.transactions import read_transactions
from planetmint.chain import execute_block, found_chain, founding_header
from planetmint.model.block import BlockHeader
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.model.validator import Validator
from planetmint.ports.store import StateReads, Store
from planetmint.rules import decode_canonical
from planetmint.runtime.node import GC_THRESHOLD
from planetmint.storage.tarantool import TarantoolStore
from tests.support import tarantool

_START = 1_700_000_000_000_000_000


async def save(job: jobs.SaveJob) -> jobs.SaveResult:
    """Start a Tarantool server and give it one block after another; only the calls of the store are timed."""
    # As the node sets it: what a block is made of holds no cycles.
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    with TemporaryDirectory(prefix="saves-") as folder:
        server = await asyncio.to_thread(_start, Path(folder))
        try:
            store = TarantoolStore(server.address)
            await store.open()
            before = _memory(server)
            times = await _save_all(store, job)
            grown = _memory(server) - before
            await store.close()
        finally:
            await asyncio.to_thread(server.close)
    return jobs.SaveResult(jobs.spread(times), grown / (job.blocks * job.lines))


async def _save_all(store: Store, job: jobs.SaveJob) -> list[float]:
    founding = found_chain("bench", ChainParameters(), (Validator(b"\x01" * 32, 10),), _START)
    head = founding_header(founding, b"")
    await store.found(founding, head)
    texts = read_transactions(Path(job.file), 0, job.blocks * job.lines)
    times = list[float]()
    for number in range(job.blocks):
        part = texts[number * job.lines : (number + 1) * job.lines]
        candidates = [decode_canonical(text, founding.parameters) for text in part]
        view = await store.read_state(StateReads([item.id for item in candidates], []))
        result = execute_block(view, number + 1, candidates, head.app_hash, _believe)
        head = BlockHeader(number + 1, _START + number, "0" * 64, result.root, result.app_hash, "")
        start = time.perf_counter()
        await store.save_block(result.record(head))
        times.append(time.perf_counter() - start)
        jobs.tell(jobs.Progress(number + 1, job.blocks))
    return times


def _believe(_: Transaction) -> None:
    """Signatures are not what is measured."""


def _start(folder: Path) -> tarantool.Server:
    server = tarantool.Server(folder / "server", memory=2 << 30)
    server.start()
    return server


def _memory(server: tarantool.Server) -> int:
    assert server.process is not None
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * 4096
