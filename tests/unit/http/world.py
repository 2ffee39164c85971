# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small ledger in memory, an application over it that decides by the real rules, and a real server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx

from planetmint.app.application import BulkOutcome, DryRun, Health, Mode
from planetmint.app.trial import cost_of
from planetmint.chain import execute_block, found_chain, founding_header
from planetmint.http import HttpServer, HttpSettings, create_app
from planetmint.model.block import BlockHeader, BlockRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.model.validator import Validator
from planetmint.ports.errors import ContractError, EngineError, StoreError
from planetmint.ports.store import StateReads, Store
from planetmint.rules import check_signatures, decode_transaction
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import Builder, Built, Dialect

HOST = "127.0.0.1"
KEY = bytes(range(1, 33))
CID = "bafkreiabltrd5zm73pvi7plq25pef3hm7jxhbi3kv4hapegrkfpkqtkbme"
OTHER_CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

OLD, MIDDLE, NEW = (
    Builder(dialect) for dialect in (Dialect.BIGCHAINDB, Dialect.PLANETMINT_1, Dialect.PLANETMINT_2)
)


@dataclass
class StubApplication:
    """Decides by form alone, keeps what it was given, and fails as it is told.

    Attributes:
        failure: Raised by every submission and trial, or the outcome of every line.
        holds: Awaited before a submission or trial is answered.
        found: What every dry run finds; None where it is to look at the form.
    """

    store: Store = field(default_factory=MemoryStore)
    feed: Any = None
    failure: Exception | None = None
    holds: Callable[[], Any] | None = None
    ready: Health = field(default_factory=lambda: Health(ready=True, detail="blocks are made"))
    taken: list[tuple[bytes, Mode]] = field(default_factory=list)
    found: DryRun | None = None
    tried: list[bytes] = field(default_factory=list)

    async def submit(self, body: bytes, mode: Mode) -> Transaction:
        self.taken.append((body, mode))
        if self.holds is not None:
            await self.holds()
        if self.failure is not None:
            raise self.failure
        return decode_transaction(body, ChainParameters())

    async def dry_run(self, body: bytes) -> DryRun:
        self.tried.append(body)
        if self.holds is not None:
            await self.holds()
        if self.failure is not None:
            raise self.failure
        if self.found is not None:
            return self.found
        transaction = decode_transaction(body, ChainParameters())
        return DryRun(transaction.id, None, None, cost_of(transaction, ChainParameters()))

    async def submit_lines(self, lines: AsyncIterator[bytes], mode: Mode) -> AsyncIterator[BulkOutcome]:
        async for line in lines:
            try:
                yield BulkOutcome((await self.submit(line, mode)).id, None)
            except (InvalidTransaction, StoreError, EngineError, ContractError) as error:
                yield BulkOutcome(None, error)

    def health(self) -> Health:
        return self.ready


@dataclass(frozen=True)
class Story:
    """The transactions of the ledger, and where they stand: `blocks[h]` holds those of height h."""

    bicycle: Built
    painting: Built
    sold: Built
    sculpture: Built
    installation: Built

    @property
    def blocks(self) -> tuple[tuple[Built, ...], ...]:
        return ((), (self.bicycle, self.painting), (self.sold, self.sculpture), (), (self.installation,))

    @property
    def all(self) -> list[Built]:
        return [item for block in self.blocks for item in block]


@lru_cache
def make_story() -> Story:
    """Alice makes a bicycle (BigchainDB) and a painting (Planetmint 2), sells half of the bicycle to Bob, makes a
    sculpture and composes painting and sculpture into one installation."""
    bicycle = OLD.create("alice", [(4, "alice")], data={"kind": "Blue bicycle"}, metadata={"note": "first owner"})
    painting = NEW.create("alice", data=CID, metadata=OTHER_CID)
    sold = OLD.transfer([bicycle.spend()], [(2, "alice"), (2, "bob")], metadata={"note": "half sold"})
    sculpture = NEW.create("alice", data=OTHER_CID, metadata=CID)
    parts = [painting.spend(), sculpture.spend()]
    installation = NEW.compose(parts, [(1, "alice")], data="bafkreicomposed", metadata=CID)
    return Story(bicycle, painting, sold, sculpture, installation)


async def fill(store: Store, blocks: tuple[tuple[Built, ...], ...]) -> None:
    """Found a chain in an empty store and add blocks, `blocks[0]` being that of height 0."""
    await store.open()
    founding = found_chain("test-chain", ChainParameters(), (Validator(KEY, 10),), 1)
    await store.found(founding, founding_header(founding, KEY))
    app_hash = founding.app_hash
    for height, items in list(enumerate(blocks))[1:]:
        transactions = [decode_transaction(item.canonical, ChainParameters()) for item in items]
        reads = StateReads(
            [item.id for item in transactions], [ref for item in transactions for ref in item.spends]
        )
        result = execute_block(await store.read_state(reads), height, transactions, app_hash, check_signatures)
        assert list(result.verdicts) == [None] * len(items)
        app_hash = result.app_hash
        header = BlockHeader(height, height, "0" * 64, result.root, app_hash, KEY.hex())
        await store.save_block(
            BlockRecord(header, result.transactions, result.created, result.spent, result.events)
        )


@dataclass
class World:
    """A running server, a client of it, and what stands behind it."""

    application: StubApplication
    client: httpx.AsyncClient
    port: int
    story: Story

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET a path as it is written."""
        return await self.client.get(path, **options)

    async def api(self, path: str, **options: Any) -> httpx.Response:
        """GET a path below the API's root."""
        return await self.client.get("/api/v1" + path, **options)

    async def post(self, body: bytes | str, query: str = "", **options: Any) -> httpx.Response:
        """POST a body to the transactions."""
        return await self.client.post("/api/v1/transactions" + query, content=body, **options)

    async def raw(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """Send bytes, part by part, and read until the server closes; a request in them should ask for that."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            return await asyncio.wait_for(reader.read(), 30)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def served(application: StubApplication, settings: HttpSettings | None = None) -> AsyncIterator[World]:
    """A server for `application` on a free port."""
    server = HttpServer(create_app(application, settings or HttpSettings()), HOST, 0)
    await server.start()
    try:
        # No TLS here, and loading certificates would take half of each test's time.
        base_url = f"http://{HOST}:{server.port}"
        async with httpx.AsyncClient(base_url=base_url, timeout=30, verify=False) as client:
            yield World(application, client, server.port, make_story())
    finally:
        await server.stop(grace=1)


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """One request after which the server closes the connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: node", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def status_line(answer: bytes) -> str:
    """The first line of a raw answer."""
    return answer.split(b"\r\n", 1)[0].decode()


def body_of(answer: bytes) -> Any:
    """The JSON of a raw answer with a length."""
    return json.loads(answer.split(b"\r\n\r\n", 1)[1])


def lines_of(response: httpx.Response) -> list[Any]:
    """The lines of a bulk answer."""
    return [json.loads(line) for line in response.content.splitlines()]
