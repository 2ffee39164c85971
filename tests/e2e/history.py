# SPDX-License-Identifier: AGPL-3.0-or-later
"""The blocks that a real engine has decided, played again on any store without an engine."""

import base64
from collections.abc import Iterator
from typing import NamedTuple

from planetmint.app.contracts import ContractJudge
from planetmint.chain import found_chain, founding_header
from planetmint.ports.store import Store
from planetmint.runtime.genesis_file import parse_time, read_genesis
from tests.support.contract_pool import contract_pool
from tests.support.ledger import running
from tests.support.network import NetworkNode


class EngineBlock(NamedTuple):
    """A block as the engine keeps it.

    Attributes:
        time: Nanoseconds since 1970-01-01T00:00:00Z.
        proposer: The engine's address of who made it, 20 bytes.
        raws: Its transactions, those that were refused included.
        app_hash: After the block before it, 64 hex digits.
    """

    height: int
    time: int
    proposer: bytes
    raws: list[bytes]
    app_hash: str


def engine_blocks(node: NetworkNode, last: int) -> Iterator[EngineBlock]:
    """The blocks from 1 to `last`, as the engine's RPC tells them."""
    for height in range(1, last + 1):
        block = node.rpc("block", height=str(height))["block"]
        header, texts = block["header"], block["data"]["txs"] or ()
        yield EngineBlock(
            height,
            parse_time(header["time"]),
            bytes.fromhex(header["proposer_address"]),
            [base64.b64decode(text) for text in texts],
            header["app_hash"].lower(),
        )


async def replay(store: Store, node: NetworkNode, last: int) -> list[str]:
    """Execute the engine's blocks on an empty store; the app hash after each, the founding's first.

    Raises:
        AssertionError: The engine's header of a block names another hash for the block before.
    """
    genesis = read_genesis(node.home / "config" / "genesis.json")
    # The engine orders the validators of its genesis by itself; one validator has but one order.
    founding = found_chain(genesis.chain_id, genesis.app.parameters, genesis.validators, genesis.time)
    await store.open()
    await store.found(founding, founding_header(founding, b""))
    hashes = [founding.app_hash]
    async with contract_pool() as pool, running(store, contracts=ContractJudge(pool), make_blocks=False) as ledger:
        for block in engine_blocks(node, last):
            assert block.app_hash == hashes[-1], f"the engine's header {block.height} names another app hash"
            outcome = await ledger.lifecycle.finalize_block(block.height, block.time, block.proposer, block.raws)
            await ledger.lifecycle.commit()
            hashes.append(outcome.app_hash)
    return hashes
