# SPDX-License-Identifier: AGPL-3.0-or-later
"""A long history of a chain, made by a seeded generator: every block accepts something, some refuse something.

Validators come and go by elections in it, and the chain is renamed several times. Run as a program it plays blocks
from a file on one kind of node and prints the app hash and the verdicts of every block.
"""

import asyncio
import base64
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.store import Store
from planetmint.rules import decode_transaction
from planetmint.storage.memory import MemoryStore
from planetmint.storage.sqlite import SqliteStore
from planetmint.storage.tarantool import Address, TarantoolStore
from planetmint.testing.build import Builder, Built, Dialect, all_of, m_of_n
from tests.support.history import VALIDATOR, play_blocks, take_on_environment
from tests.support.ledger import Running, running, standing

Blocks = Sequence[Sequence[bytes]]

PEOPLE = ("alice", "bob", "carol", "dora", "eve")
WORDS = ("Grüße", "\U0001f30d", "İstanbul ıssız", "\u2028", "1.5e-7", "Ünïcödé", "plain")

_ELECTION_EVERY, _ELECTION_AT = 60, 20
_MIGRATION_EVERY, _MIGRATION_AT = 400, 310
_ALLOY_EVERY = 50


class _Generator:
    """Makes one block after the other; everything is drawn from one seed."""

    def __init__(self) -> None:
        self._chance = random.Random(2_000)
        self._builders = tuple(Builder(dialect) for dialect in Dialect)
        self._coins: list[tuple[Built, int, int]] = []
        self._gone: list[Built] = []
        self._powers = {VALIDATOR: 10}
        self._election: Built | None = None

    def block(self, height: int) -> list[bytes]:
        """The transactions at a height; only one by one and in order."""
        made = [*self._elections(height), *(self._create(height, number) for number in range(1, 3))]
        if height % _ALLOY_EVERY == 0:
            made += self._alloy(height)
        made += [self._transfer(height) for _ in range(self._chance.randrange(3)) if self._coins]
        raws = [item.canonical for item in made]
        if height % 7 == 0:
            raws.insert(self._chance.randrange(len(raws)), self._refused(height))
        return raws

    def _create(self, height: int, number: int) -> Built:
        builder, word = self._chance.choice(self._builders), self._chance.choice(WORDS)
        plain = builder.dialect is Dialect.BIGCHAINDB
        data = (
            {"n": height / 7, "big": 2**70 + height, "İ": [word, None]} if plain else f"{word} {height} {number}"
        )
        owner = self._chance.choice(PEOPLE)
        amounts = [self._chance.randrange(1, 10**12) for _ in range(self._chance.randrange(1, 4))]
        shares = [(amount, self._chance.choice(PEOPLE)) for amount in amounts]
        metadata = {"height": height, "number": number} if plain else f"{height} {number} {word}"
        made = builder.create(owner, shares, data=data, metadata=metadata)
        self._coins += [(made, index, amount) for index, amount in enumerate(amounts)]
        return made

    def _transfer(self, height: int) -> Built:
        coin, index, amount = self._coins.pop(self._chance.randrange(len(self._coins)))
        first = self._chance.randrange(1, amount) if amount > 1 else 0
        shared = self._chance.choice([all_of("alice", "bob"), m_of_n(1, "carol", "dora"), "eve"])
        shares = [(amount - first, self._chance.choice(PEOPLE)), *([(first, shared)] if first else [])]
        made = self._chance.choice(self._builders).transfer([coin.spend(index)], shares, metadata=None)
        self._coins.append((made, 0, amount - first))
        self._gone = [*self._gone[-20:], coin] if index == 0 else self._gone
        return made

    def _alloy(self, height: int) -> list[Built]:
        builder = Builder(Dialect.PLANETMINT_2)
        copper, tin = (
            builder.create("carol", [(4, "carol")], data=f"{name} {height}") for name in ("copper", "tin")
        )
        bronze = builder.compose([copper.spend(), tin.spend()], [(1, "carol")], data=f"bronze {height}")
        parts = builder.decompose(bronze.spend(), [f"left {height}", f"right {height}"])
        left = builder.create("carol", [(1, "bob")], data=f"left {height}", consumes=parts.spend(0))
        return [copper, tin, bronze, parts, left]

    def _refused(self, height: int) -> bytes:
        if height % 3 == 0 or not self._gone:
            return f"no transaction at {height}".encode()
        gone = self._chance.choice(self._gone)
        return self._chance.choice(self._builders).transfer([gone.spend()], [(1, "eve")]).canonical

    def _elections(self, height: int) -> list[Built]:
        """An election in one block, its deciding vote in the next."""
        if self._election is not None:
            opened, self._election = self._election, None
            return [self._chance.choice(self._builders).vote([opened.spend()], amount=10)]
        builder = self._chance.choice(self._builders)
        if height % _MIGRATION_EVERY == _MIGRATION_AT:
            self._election = builder.migration_election(self._powers, seed=str(height))
        elif height % _ELECTION_EVERY == _ELECTION_AT:
            wanted = 0 if "new" in self._powers else 3
            self._election = builder.validator_election(self._powers, "new", wanted, seed=str(height))
            self._powers = {VALIDATOR: 10} | ({"new": wanted} if wanted else {})
        return [] if self._election is None else [self._election]


def long_history(count: int) -> list[list[bytes]]:
    """So many blocks, the same ones each time."""
    generator = _Generator()
    return [generator.block(height) for height in range(1, count + 1)]


def write(path: Path, blocks: Blocks) -> None:
    """Keep blocks in a file."""
    path.write_text(json.dumps([[base64.b64encode(raw).decode() for raw in block] for block in blocks]))


def read(path: Path) -> list[list[bytes]]:
    """Blocks that `write` kept."""
    return [[base64.b64decode(text) for text in block] for block in json.loads(path.read_text())]


async def play_solo(blocks: Blocks) -> dict[str, list[object]]:
    """Have the embedded producer make these blocks: what is no transaction at all cannot be handed to it."""
    async with running(MemoryStore()) as node:
        hashes: list[object] = [(await standing(node)).app_hash]
        for height, block in enumerate(blocks, 1):
            for answer in await node.engine.submit(_decodable(block)):
                assert answer is None, answer
            hashes.append(await _hash_after(node, height))
        info = await standing(node)
    return {
        "app_hashes": hashes,
        "end": [info.chain.chain_id, info.chain.shift, [item.power for item in info.validators]],
    }


def _decodable(block: Sequence[bytes]) -> list[Transaction]:
    return [decode_transaction(raw, ChainParameters()) for raw in block if raw.startswith(b"{")]


async def _hash_after(node: Running, height: int) -> str:
    """App hash of a block once the producer has made it, and the chain goes on if it was renamed."""
    while True:
        info = await standing(node)
        if info.height == height and info.chain.synced and not node.engine.waiting:
            return info.app_hash
        assert info.height <= height and node.engine.task is not None and not node.engine.task.done()
        await asyncio.sleep(0)


def store_for(backend: str, place: str) -> Store:
    """An empty store: in memory, in the folder `place`, or of the server at the socket `place`."""
    if backend == "memory":
        return MemoryStore()
    if backend == "sqlite":
        return SqliteStore(Path(place) / "ledger.db")
    socket, password = place.split("?")
    return TarantoolStore(Address(socket=Path(socket), login="planetmint", password=password))


def main(backend: str, place: str, file: str) -> None:
    """Play the blocks of a file in this process's own environment."""
    take_on_environment()
    blocks = read(Path(file))
    playing = play_solo(blocks) if backend == "solo" else play_blocks(store_for(backend, place), blocks)
    print(json.dumps(asyncio.run(playing)))


if __name__ == "__main__":
    main(*sys.argv[1:])
