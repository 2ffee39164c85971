# SPDX-License-Identifier: AGPL-3.0-or-later
"""A history that a real engine has put into blocks has the same app hashes on every store (decision D11).

`PLANETMINT_TEST_BLOCKS=2000 pytest tests/functional/test_engine_history.py` makes it as long as you like.
"""

import asyncio
import base64
import os
from pathlib import Path

import httpx
import pytest

from planetmint.ports.store import Store
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from planetmint.storage.tarantool import TarantoolStore
from tests.e2e.history import replay
from tests.support import tarantool
from tests.support.long_history import long_history
from tests.support.network import Network, NetworkNode

BLOCKS = int(os.environ.get("PLANETMINT_TEST_BLOCKS", "80"))

pytestmark = pytest.mark.timeout(60 + 2 * BLOCKS)


def fill(node: NetworkNode) -> None:
    """Give the engine what would be one block after the other elsewhere; it makes blocks of it as it likes."""
    with httpx.Client(base_url=f"http://127.0.0.1:{node.rpc_port}", timeout=30, trust_env=False) as rpc:
        for number, block in enumerate(long_history(2 * BLOCKS)):
            calls = [
                {
                    "jsonrpc": "2.0",
                    "id": f"{number}-{place}",
                    "method": "broadcast_tx_sync" if number % 5 else "broadcast_tx_async",
                    "params": {"tx": base64.b64encode(raw).decode()},
                }
                for place, raw in enumerate(block)
            ]
            rpc.post("/", json=calls).raise_for_status()
            if (node.height() or 0) >= BLOCKS:
                return


def test_d11_blocks_of_a_real_engine_have_the_same_hashes_on_every_store(tmp_path: Path) -> None:
    with Network(tmp_path, 1, backend="tarantool_db") as network, tarantool.running(tmp_path / "server") as server:
        node = network.nodes[0]
        fill(node)
        last = node.height() or 0
        assert last > BLOCKS / 4, "the engine made few blocks of much"
        stores: dict[str, Store] = {
            "memory": MemoryStore(),
            "sqlite": SqliteStore(tmp_path / "ledger.db"),
            "tarantool": TarantoolStore(server.address),
        }
        hashes = {name: asyncio.run(replay(store, node, last)) for name, store in stores.items()}
        told = [node.app_hash(height) for height in range(last + 1)]
        assert len(set(told)) > last / 4, "few blocks accepted anything"
        for name, found in hashes.items():
            assert found == told, f"{name} came to other hashes than the node"
