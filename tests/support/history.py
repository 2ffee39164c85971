# SPDX-License-Identifier: AGPL-3.0-or-later
"""One fixed history of a chain, all operations and dialects in it, played block by block over any store.

A validator is elected in it, and the chain goes on under another name in the end.
Run as a program it plays the history and prints what every node must agree on.
"""

import asyncio
import json
import locale
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from planetmint.chain import header_hash, sign_header
from planetmint.ports.store import Store
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.build import Builder, Built, Dialect, Wire, all_of, ballot_box, m_of_n
from tests.support.ledger import PUBLIC, SECRET, START, running, standing

A, B, C = (Builder(dialect) for dialect in Dialect)

VALIDATOR = "tests/validator"
"""Name of the validator of `tests.support.ledger`."""

Block = list[tuple[Built | bytes, str | None]]
"""Transactions in block order, each with the class of its refusal."""


def history() -> list[Block]:
    """The blocks without elections, from height 1 on."""
    numbers = {"float": 1.5e-7, "big": 2**200, "negative": -0.0, "text": "Grüße, \U0001f30d \u2028"}
    gold = A.create("alice", [(5, "alice"), ("0007", m_of_n(2, "alice", "bob", "carol"))], data=numbers)
    silver = B.create(all_of("bob", "carol"), [(9, "bob")], data="QmSilver", metadata="none")
    copper = C.create("carol", [(4, "carol"), (4, "dora")], data="QmCopper")
    nobody = C.create("dora", [], data=None)
    bare = C.draft_create("eve").changed(_without_keys).signed()
    to_bob = A.transfer([gold.spend()], [(2, "bob"), (3, all_of("alice", "dora"))])
    onward = A.transfer([to_bob.spend(), to_bob.spend(1)], [(5, "carol")])
    rival = A.transfer([gold.spend()], [(5, "eve")])
    shared = B.transfer([gold.spend(1, "alice", "carol")], [(7, "alice")])
    forged = silver.changed(lambda wire: wire["outputs"][0].update(amount="8"))
    alloy = C.compose([copper.spend(), silver.spend()], [(1, "carol")], data="QmAlloy")
    parts = C.decompose(alloy.spend(), ["QmLeft", "QmRight"])
    left = C.create("carol", [(1, "bob")], data="QmLeft", consumes=parts.spend(0))
    wrong = C.create("carol", [(1, "bob")], data="QmLeft", consumes=parts.spend(1))
    crossing = C.transfer([shared.spend()], [(7, "bob")])
    return [
        [(gold, None), (silver, None), (copper, None), (nobody, None), (bare, None)],
        [
            (b"no transaction", "SchemaValidationError"),
            (to_bob, None),
            (rival, "DoubleSpend"),
            (onward, None),
            (onward, "DoubleSpend"),
            (shared, None),
            (forged, "InvalidSignature"),
        ],
        [(parts, "InputDoesNotExist"), (alloy, None), (parts, None), (wrong, "ValidationError"), (left, None)],
        [(gold, "DuplicateTransaction"), (rival, "DoubleSpend")],
        [],
        [(crossing, None)],
    ]


def whole() -> list[Block]:
    """The history, an election, a migration, and a block of the chain under its new name."""
    return [*history(), *elections(), [(C.create("alice", data="QmAfter"), None)]]


def elections() -> list[Block]:
    """A validator elected, then the chain's migration; the next block is one of the chain under its new name."""
    before, after = {VALIDATOR: 10}, {VALIDATOR: 10, "new": 3}
    joining = B.validator_election(before, "new", 3, key_type="ed25519-base64")
    forged = C.validator_election({"eve": 10}, "eve", 3)
    part = A.vote([joining.spend()], [(4, ballot_box(joining.id)), (6, VALIDATOR)])
    again = A.vote([joining.spend()], amount=10)
    rest = C.vote([part.spend(1)], amount=6)
    late, moving = C.migration_election(before), C.migration_election(after, by="new")
    decided = C.vote([moving.spend()], amount=10)
    return [
        [(joining, None), (forged, "InvalidProposer")],
        [(part, None), (again, "DoubleSpend")],
        [(rest, None)],
        [(late, "UnequalValidatorSet"), (moving, None)],
        [(decided, None)],
    ]


def _without_keys(wire: Wire) -> None:
    wire["outputs"][0]["public_keys"] = None


async def play(store: Store) -> dict[str, list[object]]:
    """Play the history; app hash, header hash and verdicts of every block."""
    raws = ([item if isinstance(item, bytes) else item.canonical for item, _ in block] for block in whole())
    return await play_blocks(store, raws)


async def play_blocks(store: Store, blocks: Iterable[Sequence[bytes]]) -> dict[str, list[object]]:
    """Play blocks on an empty store, carrying migrations out.

    Returns:
        App hash, header hash and verdicts of each; name, shift and powers of the chain in the end.
    """
    hashes: list[object] = []
    headers: list[object] = []
    verdicts: list[object] = []
    async with running(store, make_blocks=False) as node:
        hashes.append((await standing(node)).app_hash)
        for height, raws in enumerate(blocks, 1):
            chain = (await standing(node)).chain
            if not chain.synced:
                await node.lifecycle.begin_chain(chain.chain_id, await node.store.validators())
            outcome = await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
            await node.lifecycle.commit(sign_header(node.lifecycle.header(), SECRET))
            hashes.append(outcome.app_hash)
            head = await node.store.head()
            headers.append(None if head is None else header_hash(head))
            verdicts.append([None if verdict is None else verdict.code for verdict in outcome.verdicts])
        info = await standing(node)
    end: list[object] = [info.chain.chain_id, info.chain.shift, [power for _, power in info.validators]]
    return {"app_hashes": hashes, "headers": headers, "verdicts": verdicts, "end": end}


def take_on_environment() -> None:
    """Let the process's locale and time zone be those of its environment."""
    with suppress(locale.Error):  # the machine may not have it
        locale.setlocale(locale.LC_ALL, "")
    time.tzset()


def main(backend: str, folder: str) -> None:
    """Play the history in this process's own environment."""
    take_on_environment()
    store: Store = MemoryStore() if backend == "memory" else SqliteStore(Path(folder) / "ledger.db")
    print(json.dumps(asyncio.run(play(store))))


if __name__ == "__main__":
    main(*sys.argv[1:])
