# SPDX-License-Identifier: AGPL-3.0-or-later
"""CometBFT as an engine: it connects to our ABCI server, we hand transactions to its RPC.

Either side may end and come back at any time. Nothing here waits for the engine to start: what is missing is told
by `trouble` until it is there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from planetmint.consensus.cometbft.handler import Handler, Verdict, store_trouble
from planetmint.consensus.cometbft.http_client import read_target
from planetmint.consensus.cometbft.rpc import EngineStatus, RpcClient
from planetmint.consensus.cometbft.server import AbciServer, Address, read_address
from planetmint.consensus.cometbft.submissions import Outcome, Submissions
from planetmint.model.transaction import Transaction
from planetmint.ports.consensus import Lifecycle
from planetmint.ports.errors import ChainHalted, EngineError, StoreError
from planetmint.ports.snapshots import Snapshots

_STOPPING = "the node is stopping"
_WATCH_PAUSE = 2.0
_TROUBLE_PAUSE = 0.25

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class CometEngine:
    """Implements `ports.Consensus` over CometBFT 0.38."""

    orders_dependents = False

    def __init__(
        self,
        listen: str,
        rpc: str,
        *,
        snapshots: Snapshots | None = None,
        restored: Callable[[], Awaitable[object]] | None = None,
        absent: Callable[[], str] | None = None,
    ) -> None:
        """
        Args:
            listen: Where the engine finds the application: `tcp://host:port` (port 0: any) or `unix:///path`.
            rpc: Where the engine's RPC answers: `http://host:port` or `unix:///path`.
            snapshots: Makes and takes snapshots; without it none are offered or taken.
            restored: Makes the life cycle look at the store anew after a snapshot was taken.
            absent: Says in a sentence why an engine that somebody looks after is not connected.

        Raises:
            ValueError: An address of another form.
        """
        self._listen = read_address(listen)
        self._rpc = RpcClient(read_target(rpc))
        self._snapshots = snapshots
        self._restored = restored
        self._absent = absent
        self._submissions = Submissions(self._rpc)
        self._connections = 0
        self._status: EngineStatus | None = None
        self._look = asyncio.Event()
        self._stopping = False
        self._failure: asyncio.Future[None] | None = None
        self._handler: Handler | None = None
        self._server: AbciServer | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def task(self) -> asyncio.Task[None] | None:
        """Runs from `start` to `stop`; ends with an exception only for an invariant violation."""
        return self._task

    @property
    def waiting(self) -> int:
        """Transactions that wait for the engine's check."""
        return self._submissions.waiting

    @property
    def connections(self) -> int:
        """Open ABCI connections."""
        return self._connections

    @property
    def status(self) -> EngineStatus | None:
        """What the engine said of itself last; None while its RPC does not answer."""
        return self._status

    @property
    def address(self) -> Address:
        """Where the engine finds the application."""
        return self._server.address if self._server is not None else self._listen

    @property
    def trouble(self) -> str | None:
        """See `Consensus`."""
        if self._stopping:
            return _STOPPING
        handler = self._handler
        if handler is None:
            return "the node has not begun to listen for the consensus engine"
        if self._failure is not None and self._failure.done():
            return f"no blocks can be made any more: {self._failure.exception()}"
        if handler.held_up is not None:
            return handler.held_up
        if handler.halted is not None:
            return (
                f"chain migration in progress: the chain waits to go on as `{handler.halted}`. Give the engine "
                "the genesis file of that chain on every node and start it again"
            )
        if handler.refusal is not None:
            return handler.refusal
        return self._engine_trouble()

    def _engine_trouble(self) -> str | None:
        if not self._connections:
            start = f'start CometBFT with proxy_app = "{self.address}"; it connects by itself'
            return f"the consensus engine is not connected: {self._absent() if self._absent else start}"
        if self._submissions.rpc_trouble is not None:
            return (
                f"the RPC of the consensus engine at {self._rpc.target} does not answer "
                f"({self._submissions.rpc_trouble}): see that CometBFT runs and listens there"
            )
        if self._status is not None and self._status.catching_up:
            return "the consensus engine fetches blocks that other nodes have already; this passes by itself"
        return None

    async def founded(self) -> None:
        """Return once the ledger has a chain, from a genesis or from a snapshot; ask after `start`."""
        handler = self._handler
        if handler is None:
            raise EngineError("the node has not begun to listen for the consensus engine")
        await handler.founded.wait()

    async def start(self, lifecycle: Lifecycle) -> None:
        """Listen for the engine; does not wait for it.

        Raises:
            OSError: The address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        handler = Handler(lifecycle, self, self._snapshots, self._restored)
        try:
            await handler.look()
        except StoreError as error:
            handler.held_up = store_trouble(error)
        server = AbciServer(self._listen, handler, failed=self._fail, changed=self._connected)
        await server.start()
        self._handler, self._server = handler, server
        self._watcher = loop.create_task(self._watch())
        self._task = loop.create_task(self._wait_for_failure(self._failure))
        _log.info("engine.awaited", address=str(server.address), rpc=str(self._rpc.target))

    async def stop(self) -> None:
        """Answer the call under way, then close every connection; may be called twice."""
        self._stopping = True
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._submissions.close()
        if self._server is not None:
            await self._server.stop()
        self._rpc.close()
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(None)
        if self._task is not None and not self._task.done():
            await self._task

    async def submit(self, transactions: Sequence[Transaction]) -> list[Outcome]:
        """See `Consensus`; answers when the engine's check of all of them has come."""
        handler = self._handler
        if self._stopping or handler is None:
            return [EngineError(_STOPPING) for _ in transactions]
        if handler.halted is not None:
            return [ChainHalted(str(self.trouble)) for _ in transactions]
        if not self._connections:
            return [EngineError(str(self.trouble)) for _ in transactions]
        return await self._submissions.submit(transactions, handler.block)

    # What the calls of the engine tell

    def checked(self, raw: bytes, verdict: Verdict) -> None:
        """See `Watcher`."""
        self._submissions.checked(raw, verdict)

    def vouched(self, raw: bytes) -> bool:
        """See `Watcher`."""
        return self._handler is not None and self._submissions.vouched(raw, self._handler.block)

    def _connected(self, connections: int, checks_lost: bool) -> None:
        if not self._connections and connections:
            _log.info("engine.connected")
        self._connections = connections
        if self._stopping or (connections and not checks_lost):
            return
        self._submissions.give_up("the consensus engine has gone; the transaction may still be committed")
        if not connections:
            _log.warning("engine.disconnected")
            # One that comes back connects here before its RPC listens.
            self._status = None
            self._submissions.rpc_trouble = "it has not answered since the engine was gone"
            self._look.set()

    def _fail(self, error: BaseException) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)
            self._submissions.give_up(f"no blocks can be made any more: {error}")

    async def _wait_for_failure(self, failure: asyncio.Future[None]) -> None:
        await failure

    async def _watch(self) -> None:
        """Ask the engine how it is, now and then."""
        while not self._stopping:
            try:
                self._status = await self._rpc.status()
                self._submissions.rpc_trouble = None
            except EngineError as error:
                self._status = None
                self._submissions.rpc_trouble = str(error)
            self._look.clear()
            pause = _TROUBLE_PAUSE if self.trouble is not None else _WATCH_PAUSE
            # Not `wait_for`: it may lose a cancellation that comes together with what it waits for (Python 3.11).
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._look.wait()
