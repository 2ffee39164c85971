# SPDX-License-Identifier: AGPL-3.0-or-later
"""An engine of our own making: it talks to a real ABCI server over sockets, and answers to JSON-RPC over HTTP.

It knows no consensus: tests say when it makes a block. What it does in which order is what CometBFT does.
"""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from planetmint.app import BlockLifecycle, CommittedFeed, Ledger, SignatureCache, Verifier
from planetmint.app.contracts import ContractJudge
from planetmint.consensus.cometbft import CometEngine, Genesis
from planetmint.consensus.cometbft import abci_pb2 as pb
from planetmint.consensus.cometbft.framing import FrameReader, frame
from planetmint.consensus.cometbft.server import Address
from planetmint.model.block import BlockEvents, BlockRecord
from planetmint.model.election import ChainRecord
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator
from planetmint.ports.snapshots import Snapshots
from planetmint.ports.store import Store
from planetmint.storage.memory import MemoryStore
from tests.support.ledger import PUBLIC, START

SECOND = 1_000_000_000
PROPOSER = sha256(PUBLIC).digest()[:20]
CHAIN = "abci-tests"


def app_state(parameters: ChainParameters) -> bytes:
    """What a genesis says to the application."""
    return json.dumps(Genesis(parameters).to_json()).encode()


APP_STATE = app_state(ChainParameters())


class Refused(Exception):
    """The application answered with an exception."""


class AbciClient:
    """One ABCI connection; requests are answered in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._frames = FrameReader()
        self._answers: list[pb.Response] = []

    @classmethod
    async def connect(cls, address: Address) -> "AbciClient":
        if address.path is not None:
            return cls(*await asyncio.open_unix_connection(address.path))
        return cls(*await asyncio.open_connection(address.host, address.port))

    def send(self, *requests: pb.Request) -> None:
        self.writer.write(b"".join(frame(request.SerializeToString()) for request in requests))

    async def receive(self) -> pb.Response:
        """The next answer; EOFError where the connection was closed."""
        while not self._answers:
            data = await asyncio.wait_for(self.reader.read(65536), 30)
            if not data:
                raise EOFError("the application closed the connection")
            for message in self._frames.feed(data):
                answer = pb.Response()
                answer.ParseFromString(message)
                self._answers.append(answer)
            assert self._frames.error is None
        return self._answers.pop(0)

    async def call(self, request: pb.Request) -> pb.Response:
        """Raises Refused for an exception."""
        self.send(request)
        answer = await self.receive()
        if answer.WhichOneof("value") == "exception":
            raise Refused(answer.exception.error)
        assert answer.WhichOneof("value") == request.WhichOneof("value")
        return answer

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def timestamp(time: int) -> pb.Timestamp:
    return pb.Timestamp(seconds=time // SECOND, nanos=time % SECOND)


def init_chain(
    chain_id: str = CHAIN,
    validators: Sequence[Validator] = (Validator(PUBLIC, 10),),
    app_state: bytes = APP_STATE,
    *,
    time: int = START,
    initial_height: int = 1,
) -> pb.Request:
    updates = [
        pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=item.public_key), power=item.power) for item in validators
    ]
    message = pb.InitChain(
        time=timestamp(time),
        chain_id=chain_id,
        validators=updates,
        app_state_bytes=app_state,
        initial_height=initial_height,
    )
    return pb.Request(init_chain=message)


def info() -> pb.Request:
    return pb.Request(info=pb.Info(version="0.38.26"))


def check_tx(raw: bytes, *, recheck: bool = False) -> pb.Request:
    return pb.Request(check_tx=pb.CheckTx(tx=raw, type=int(recheck)))


def prepare(height: int, raws: Sequence[bytes], max_bytes: int = 4_000_000) -> pb.Request:
    return pb.Request(prepare_proposal=pb.PrepareProposal(height=height, txs=raws, max_tx_bytes=max_bytes))


def process(height: int, raws: Sequence[bytes]) -> pb.Request:
    return pb.Request(process_proposal=pb.ProcessProposal(height=height, txs=raws))


def finalize(height: int, raws: Sequence[bytes], time: int | None = None) -> pb.Request:
    message = pb.FinalizeBlock(
        height=height,
        txs=raws,
        time=timestamp(START + height * SECOND if time is None else time),
        proposer_address=PROPOSER,
    )
    return pb.Request(finalize_block=message)


COMMIT = pb.Request(commit=pb.Nothing())
FLUSH = pb.Request(flush=pb.Nothing())


@dataclass
class FakeComet:
    """A single validator: mempool, RPC, blocks on demand.

    Attributes:
        height, app_hash: After the last block that it has seen committed.
        pool: Transactions that passed CheckTx and wait for a block.
        refuse: What the RPC says instead of checking a transaction, by its bytes; None to check it.
        posts: Sizes of the batches that were posted.
        max_batch, max_body: What the RPC takes in one request.
        silent: The RPC takes transactions and never checks them.
    """

    consensus: AbciClient
    mempool: AbciClient
    query: AbciClient
    height: int = 0
    app_hash: bytes = b""
    pool: list[bytes] = field(default_factory=list)
    cache: set[bytes] = field(default_factory=set)
    refuse: Callable[[bytes], str | None] = lambda raw: None
    posts: list[int] = field(default_factory=list)
    max_batch: int = 0
    max_body: int = 1_000_000
    silent: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def connect(cls, address: Address, *, genesis: pb.Request | None = None) -> "FakeComet":
        """Connect and shake hands as the engine does."""
        clients = [await AbciClient.connect(address) for _ in range(3)]
        engine = cls(*clients)
        answer = (await engine.query.call(info())).info
        engine.height, engine.app_hash = answer.last_block_height, answer.last_block_app_hash
        if engine.height == 0:
            begun = await engine.consensus.call(genesis or init_chain())
            engine.app_hash = begun.init_chain.app_hash
        return engine

    async def close(self) -> None:
        for client in (self.consensus, self.mempool, self.query):
            await client.close()

    async def check(self, raws: Sequence[bytes], *, recheck: bool = False) -> list[pb.TxVerdict]:
        async with self._lock:
            self.mempool.send(*(check_tx(raw, recheck=recheck) for raw in raws), FLUSH)
            answers = [await self.mempool.receive() for _ in raws]
            assert (await self.mempool.receive()).WhichOneof("value") == "flush"
        return [answer.check_tx for answer in answers]

    async def add(self, raws: Sequence[bytes]) -> list[pb.TxVerdict]:
        """CheckTx; what passes waits for a block."""
        verdicts = await self.check(raws)
        for raw, verdict in zip(raws, verdicts, strict=True):
            if verdict.code == 0:
                self.pool.append(raw)
            else:
                self.cache.discard(raw)
        return verdicts

    async def make_block(self) -> pb.FinalizeBlockAnswer:
        """A block of what waits, then the recheck of what is left."""
        height = self.height + 1
        proposed = (await self.consensus.call(prepare(height, self.pool))).prepare_proposal.txs
        vote = (await self.consensus.call(process(height, list(proposed)))).process_proposal
        assert vote.status == 1, "the application rejects its own proposal"
        block = (await self.consensus.call(finalize(height, list(proposed)))).finalize_block
        await self.consensus.call(COMMIT)
        self.height, self.app_hash = height, block.app_hash
        chosen = set(proposed)
        left = [raw for raw in self.pool if raw not in chosen]
        verdicts = await self.check(left, recheck=True)
        self.pool = [raw for raw, verdict in zip(left, verdicts, strict=True) if verdict.code == 0]
        return block

    # The RPC

    async def answer(self, body: bytes) -> Any:
        """The JSON-RPC answer to a request."""
        if len(body) > self.max_body:
            return _error(-32600, "Invalid Request", "error reading request body: http: request body too large")
        request = json.loads(body)
        if isinstance(request, dict):
            return await self._one(request)
        if self.max_batch and len(request) > self.max_batch:
            text = f"batch request exceeds maximum ({self.max_batch}) allowed number of requests"
            return _error(-32600, "Invalid Request", text)
        self.posts.append(len(request))
        answers = [self._broadcast(item) for item in request]
        fresh = [raw for raw, _ in answers if raw is not None]
        if fresh and not self.silent:
            await self.add(fresh)
        found = [answer for _, answer in answers]
        return found[0] if len(found) == 1 else found

    async def _one(self, request: dict[str, Any]) -> Any:
        assert request["method"] == "status"
        return _status(self.height)

    def _broadcast(self, request: dict[str, Any]) -> tuple[bytes | None, Any]:
        assert request["method"] == "broadcast_tx_async"
        assert request["jsonrpc"] == "2.0"
        raw = b64decode(request["params"][0], validate=True)
        words = self.refuse(raw) or ("tx already exists in cache" if raw in self.cache else None)
        if words is not None:
            return None, _error(-32603, "Internal error", words, request["id"])
        self.cache.add(raw)
        result = {"code": 0, "data": "", "log": "", "codespace": "", "hash": sha256(raw).hexdigest().upper()}
        return raw, {"jsonrpc": "2.0", "id": request["id"], "result": result}


def _status(height: int) -> dict[str, Any]:
    sync = {"latest_block_height": str(height), "catching_up": False}
    return {"jsonrpc": "2.0", "id": 1, "result": {"sync_info": sync, "node_info": {}}}


def _error(code: int, message: str, data: str, identifier: int | None = None) -> dict[str, Any]:
    error = {"code": code, "message": message, "data": data}
    return {"jsonrpc": "2.0", **({} if identifier is None else {"id": identifier}), "error": error}


class RpcServer:
    """An HTTP server that answers POST by `answer(body)`, a JSON value or bytes to send as they are.

    Attributes:
        port: Given out at the first start, kept after that.
        connections: How many were made.
    """

    def __init__(self, answer: Callable[[bytes], Any]) -> None:
        self.answer = answer
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        serving = tuple(self._writers.values())
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._writers[writer] = task
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                answer = self.answer(await reader.readexactly(length))
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if not isinstance(answer, bytes):
                    body = json.dumps(answer).encode()
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                writer.write(answer)
                if b"connection: close" in answer.lower():
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return
        finally:
            self._writers.pop(writer, None)
            writer.close()


@dataclass
class CometNode:
    """A node under our own engine; `comet` is None while none is connected."""

    store: Store
    feed: CommittedFeed
    lifecycle: BlockLifecycle
    engine: CometEngine
    app: Ledger
    rpc: RpcServer
    blocks: list[BlockEvents]
    comet: FakeComet | None = None
    genesis: pb.Request | None = None

    async def connect(self, *, genesis: pb.Request | None = None) -> FakeComet:
        self.comet = await FakeComet.connect(self.engine.address, genesis=genesis or self.genesis)
        return self.comet

    async def ready(self) -> FakeComet:
        """Wait until transactions are taken."""
        await until(lambda: self.engine.trouble is None)
        assert self.comet is not None
        return self.comet

    async def answer(self, body: bytes) -> Any:
        if self.comet is None:
            return _status(0)
        return await self.comet.answer(body)


@asynccontextmanager
async def comet_node(
    store: Store | None = None,
    *,
    listen: str = "tcp://127.0.0.1:0",
    snapshots: Snapshots | None = None,
    connect: bool = True,
    commit_timeout: float = 5.0,
    parameters: ChainParameters | None = None,
    contracts: ContractJudge | None = None,
) -> AsyncIterator[CometNode]:
    """A node over `store` (memory by default), with our own engine connected unless `connect` is false."""
    store = store or MemoryStore()
    await store.open()
    verifier = Verifier(SignatureCache(10_000), threads=1, contracts=contracts)
    feed = CommittedFeed(store)
    lifecycle = BlockLifecycle(store, feed, verifier)
    await lifecycle.load()
    rpc = RpcServer(lambda body: node.answer(body))
    await rpc.start()
    engine = CometEngine(listen, f"http://127.0.0.1:{rpc.port}", snapshots=snapshots, restored=lifecycle.load)
    app = Ledger(store, feed, lifecycle, engine, verifier, commit_timeout=commit_timeout)
    blocks: list[BlockEvents] = []
    feed.attach(blocks.append)
    genesis = None if parameters is None else init_chain(app_state=app_state(parameters))
    node = CometNode(store, feed, lifecycle, engine, app, rpc, blocks, genesis=genesis)
    await engine.start(lifecycle)
    try:
        if connect:
            await node.connect()
        yield node
    finally:
        if node.comet is not None:
            await node.comet.close()
        await engine.stop()
        await rpc.stop()
        verifier.close()
        await store.close()


class MigratingStore(MemoryStore):
    """Adds the conclusion of a migration to `new` to the block of a height."""

    def __init__(self, height: int) -> None:
        super().__init__()
        self.height = height

    async def save_block(self, block: BlockRecord) -> None:
        if block.header.height == self.height:
            block = replace(block, chain=ChainRecord("new", self.height, synced=False))
        await super().save_block(block)


async def begin_store(height: int) -> MemoryStore:
    """A store, open, whose newest block, of this height, concluded a migration to `new`."""
    store = MigratingStore(height)
    async with comet_node(store) as node:
        assert node.comet is not None
        for _ in range(height):
            await node.comet.make_block()
    await store.open()
    return store


async def until(condition: Callable[[], bool]) -> None:
    """Wait, bounded, until `condition()` holds."""
    for _ in range(6_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition did not come to hold")
