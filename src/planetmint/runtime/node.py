# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole node: built from settings, started in order, stopped in reverse.

Nothing here is global: two nodes can live in one process. `serve` alone knows about signals and exit codes.
"""

import asyncio
import base64
import gc
import os
import signal
import ssl
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import structlog
import uvloop

from planetmint.app import BlockLifecycle, CommittedFeed, Ledger, SignatureCache, Verifier
from planetmint.app.contracts import ContractJudge
from planetmint.app.snapshots import SnapshotService
from planetmint.chain import UnknownRules, found_chain, founding_header, sign_header
from planetmint.consensus.cometbft import CometEngine
from planetmint.consensus.solo import SoloEngine
from planetmint.http.app import create_app
from planetmint.http.server import HttpServer
from planetmint.http.settings import HttpSettings
from planetmint.model.errors import InvariantViolated
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.ports.errors import ChainMismatch
from planetmint.ports.store import Store
from planetmint.runtime.backends import make_keeper, make_store
from planetmint.runtime.children import Child
from planetmint.runtime.clock import SystemClock
from planetmint.runtime.contracts import ContractHost, founding_parameters
from planetmint.runtime.engine_home import EngineHome, open_home
from planetmint.runtime.keys import KEY_FILE, ValidatorKey, load_key, load_or_make_key
from planetmint.runtime.limits import raise_file_limit
from planetmint.runtime.listen import explain
from planetmint.runtime.metrics import NodeMetrics
from planetmint.runtime.notify import notify
from planetmint.runtime.services import database_child, engine_child, engine_rpc, while_starting
from planetmint.runtime.settings import ConfigurationError, ServerSettings, Settings, WsServerSettings
from planetmint.runtime.snapshots import clear_unfinished, make_snapshots
from planetmint.runtime.verify_process import VerifyProcess
from planetmint.streams.catalogue import STREAMS
from planetmint.streams.query import PARAMETERS
from planetmint.streams.server import StreamServer
from planetmint.streams.settings import StreamSettings

COMMIT_TIMEOUT = 10.0
"""Seconds that `mode=commit` waits for its block; drivers give up after 20 (http-api 4.3)."""

SOLO_POWER = 10
"""Power of the only validator of an embedded chain, as the engine's own default."""

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that holds the interpreter gives way; see docs/decisions/0003."""

GC_THRESHOLD = 50_000
"""New objects after which the interpreter looks for cycles."""

_VERIFIED_CAPACITY = 100_000

_TOGETHER = 4
"""All contracts of one transaction together may take so many times what one of them may."""

_SAY_AFTER = 15.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Node:
    """A node: embedded, or beside an engine; with what it looks after.

    Args:
        settings: Its configuration.
        web_api: Whether the Web API is served.
        streams: Whether the event stream is served.
        init: Whether what is missing is made.
    """

    def __init__(
        self, settings: Settings, *, web_api: bool = True, streams: bool = True, init: bool = True
    ) -> None:
        self._settings = settings
        self._web_api = web_api
        self._streams = streams
        self._init = init
        self._stack = AsyncExitStack()
        self._children: list[Child] = []
        self.http: HttpServer | None = None
        self.stream: StreamServer | None = None
        self.engine: SoloEngine | CometEngine | None = None
        self._contracts = ContractHost(settings)
        self._lifecycle: BlockLifecycle | None = None

    async def start(self) -> None:
        """Open the store, take up the chain or found one, make or follow blocks, listen.

        Beside an engine this waits until the engine has begun a chain, or brought a snapshot.

        Raises:
            ConfigurationError: A port is taken, the data folder cannot be used, a program is missing, or the chain
                needs another node.
            StoreError: The store cannot be opened.
            InvariantViolated: Blocks can no longer be made.
        """
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Stop listening, write what was accepted, say good-bye to subscribers, end children, close the store."""
        await self._stack.aclose()

    def hurry(self) -> None:
        """Make `stop`, under way or to come, wait for no client. What was accepted is written all the same."""
        if self.http is not None:
            self.http.hurry()

    async def failed(self) -> None:
        """Return when the node cannot go on by itself.

        Raises:
            InvariantViolated: Blocks can no longer be made; the message says why.
        """
        if self.engine is None or self.engine.task is None:
            return
        try:
            await asyncio.shield(self.engine.task)
        finally:
            if self._lifecycle is not None and self.engine.task.done():
                # Those who wait for a block are answered now instead of holding up the end.
                self._lifecycle.give_up("the node stops before the transaction was in a block")

    @property
    def unwritten(self) -> int:
        """Accepted transactions that wait for a block; after `stop` those that could not be written."""
        return self.engine.waiting if self.engine is not None else 0

    async def _start(self) -> None:
        settings = self._settings
        settings.data.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        await clear_unfinished(settings, make_keeper(settings))
        store = await self._open_store()
        self._stack.push_async_callback(self._contracts.close)
        verifier = await self._start_verifier()
        feed = CommittedFeed(store)
        lifecycle = self._lifecycle = BlockLifecycle(store, feed, verifier, accepts=self._contracts.accept)
        if settings.consensus.engine == "solo":
            key = await self._take_up_chain(store, lifecycle)
            await self._contracts.start()
            self.engine = SoloEngine(key.secret, SystemClock())
        else:
            snapshots = make_snapshots(settings, store)
            self.engine = await self._start_engine(lifecycle, snapshots)
            snapshots.start(feed)
            self._stack.push_async_callback(snapshots.stop)
        ledger = Ledger(store, feed, lifecycle, self.engine, verifier, commit_timeout=COMMIT_TIMEOUT)
        metrics = NodeMetrics(feed, self.engine)
        if lifecycle.parameters.contracts.on:
            metrics.judged_by(verifier.contracts, self._contracts)
        for child in self._children:
            metrics.watch(child)
        if self._streams:
            await self._start_stream(feed, metrics)
        if isinstance(self.engine, SoloEngine):
            await self.engine.start(lifecycle)
            self._stack.push_async_callback(self.engine.stop)
        if self._web_api:
            await self._start_web_api(ledger, metrics)

    async def _open_store(self) -> Store:
        """Open the store, with the server behind it where the node looks after that."""
        settings = self._settings
        store = make_store(settings)
        server: Child | None = None
        if settings.database_managed:
            server = database_child(settings)
            await self._start_child(server)
        self._stack.push_async_callback(store.close)
        await while_starting(server, store.open())
        return store

    async def _start_verifier(self) -> Verifier:
        helper = VerifyProcess()
        self._stack.push_async_callback(helper.close)
        await helper.start()
        threads = self._settings.server.threads or os.cpu_count() or 1
        judge = ContractJudge(self._contracts, seconds=_TOGETHER * self._settings.contracts.seconds)
        verifier = Verifier(SignatureCache(_VERIFIED_CAPACITY), threads, helper, judge)
        self._stack.callback(verifier.close)
        return verifier

    async def _start_stream(self, feed: CommittedFeed, metrics: NodeMetrics) -> None:
        settings = self._settings.wsserver
        self.stream = StreamServer(feed, stream_settings(settings))
        self._stack.push_async_callback(self.stream.stop)
        metrics.follow(self.stream)
        start = self.stream.start(settings.host, settings.port)
        await _listening(start, "wsserver.port", settings.host, settings.port)

    async def _start_web_api(self, ledger: Ledger, metrics: NodeMetrics) -> None:
        settings = self._settings
        host, port = settings.server.address
        app = create_app(ledger, http_settings(settings), metrics.registry)
        self.http = HttpServer(app, host, port, ssl_context=_server_tls(settings.server))
        self._stack.push_async_callback(self.http.stop, settings.server.graceful_timeout)
        await _listening(self.http.start(), "server.bind", host, port)

    async def _start_child(self, child: Child) -> None:
        self._children.append(child)
        self._stack.push_async_callback(child.stop)
        await child.start()

    # Beside an engine

    async def _start_engine(self, lifecycle: BlockLifecycle, snapshots: SnapshotService) -> CometEngine:
        """Listen for the engine, start it where the node looks after it, wait until there is a chain."""
        settings = self._settings
        try:
            await lifecycle.load()
        except (UnknownRules, ChainMismatch) as error:
            raise ConfigurationError(f"{error}.") from None
        child: Child | None = None
        home = EngineHome(settings.engine_home)
        if settings.engine_managed:
            home = open_home(settings, make=self._init)
        if settings.engine_home_kept:
            _accept_genesis(home, self._contracts)
        # As far as the chain is known by now: the engine may bring blocks as soon as it is there.
        await self._contracts.start()
        if settings.engine_managed:
            child = engine_child(settings, partial(_why_engine_is_held, lifecycle, home))
        engine = CometEngine(
            settings.abci_url,
            engine_rpc(settings),
            snapshots=snapshots,
            restored=lifecycle.load,
            absent=partial(_why_engine_is_absent, child) if child is not None else None,
        )
        self._stack.push_async_callback(engine.stop)
        await _listening_for_engine(engine.start(lifecycle), settings)
        if child is not None:
            await self._start_child(child)
        await _founded(engine, self._contracts)
        await self._contracts.start()
        return engine

    # By itself

    async def _take_up_chain(self, store: Store, lifecycle: BlockLifecycle) -> ValidatorKey:
        """Go on with the chain in the store, or found one; the answer is the key that signs its blocks."""
        folder = self._settings.data.path
        try:
            if await lifecycle.load():
                key = load_key(folder)
                validators = await store.validators()
                if key.public not in [validator.public_key for validator in validators]:
                    raise ConfigurationError(_not_a_validator(folder / KEY_FILE, validators))
                return key
            key = load_or_make_key(folder)
            chain = self._settings.chain
            founding = found_chain(
                chain.id or f"planetmint-{os.urandom(4).hex()}",
                founding_parameters(self._settings),
                (Validator(key.public, SOLO_POWER),),
                SystemClock().now(),
            )
        except (UnknownRules, ChainMismatch) as error:
            raise ConfigurationError(f"{error}.") from None
        header = sign_header(founding_header(founding, key.public), key.secret)
        await lifecycle.init_chain(founding, header)
        log.info("chain.founded", chain_id=founding.chain_id, label=founding.label)
        return key

    def addresses(self) -> list[tuple[str, str]]:
        """What listens where: pairs of a name and a URL."""
        found = []
        if self.http is not None:
            tls = self._settings.server.certfile is not None
            host = self._settings.server.address[0] or "0.0.0.0"
            found.append(("Web API", f"{'https' if tls else 'http'}://{_bracketed(host)}:{self.http.port}/"))
        if self.stream is not None:
            host = self._settings.wsserver.host
            tls = stream_settings(self._settings.wsserver).tls is not None
            place = f"{_bracketed(host)}:{self.stream.port}"
            found.append(("Event stream", f"{'wss' if tls else 'ws'}://{place}/api/v1/streams/valid_transactions"))
            found.append(("Try the stream", f"{'https' if tls else 'http'}://{place}/"))
        return found


def _not_a_validator(path: Path, validators: ValidatorSet) -> str:
    keys = ", ".join(base64.b64encode(validator.public_key).decode() for validator in validators)
    return (
        f"{path} is not a validator of the chain in the database, whose validators are {keys}: put the right file "
        "back from a backup. If an election has removed this key, put the key file of one of those there; without "
        "any, `planetmint drop` and `planetmint restore` of a backup up to the block before the last vote "
        "(--height) go on from there"
    )


async def _why_engine_is_held(lifecycle: BlockLifecycle, home: EngineHome) -> str | None:
    """An engine of the old chain is of no use once the ledger waits for the new one (elections 4)."""
    info = await lifecycle.info()
    if info is None or info.chain.synced:
        return None
    found = ""
    try:
        if home.read_genesis().chain_id == info.chain.chain_id:
            return None
    except ConfigurationError as error:
        # Somebody may be copying it at this moment: it is read again.
        found = f" ({error})"
    return (
        f"the chain waits at block {info.height} to go on as `{info.chain.chain_id}`. `planetmint election "
        f"migrate` gives the engine the genesis file of that chain; then it is started{found}"
    )


def _why_engine_is_absent(child: Child) -> str:
    if child.trouble is None:
        return f"{child.program.name} runs and has yet to connect"
    return f"{child.trouble}; {child.words()}" if child.words() else child.trouble


def _accept_genesis(home: EngineHome, contracts: ContractHost) -> None:
    """Hold the genesis file that the engine begins with against this machine, before anything is answered.

    Raises:
        ConfigurationError: Its chain cannot be followed here.
    """
    if not home.founded:
        return
    try:
        genesis = home.read_genesis()
    except ConfigurationError:
        # The engine tells what is wrong with it, and may be given another one meanwhile.
        return
    try:
        contracts.accept(genesis.app.parameters)
    except ChainMismatch as error:
        raise ConfigurationError(f"{home.genesis}: {error}.") from None


async def _founded(engine: CometEngine, contracts: ContractHost) -> None:
    """Wait until there is a chain, saying now and then what is waited for.

    Raises:
        ConfigurationError: The engine brought a chain whose contracts this machine cannot run.
        InvariantViolated: Blocks can no longer be made.
    """
    founded = asyncio.ensure_future(engine.founded())
    refused = asyncio.ensure_future(contracts.refused.wait())
    waited_for = {founded, refused} if engine.task is None else {founded, refused, engine.task}
    try:
        while not (await asyncio.wait(waited_for, timeout=_SAY_AFTER, return_when=asyncio.FIRST_COMPLETED))[0]:
            # A node that joins may take long; who watches it is told that it is not stuck.
            reason = engine.trouble or "it has not begun a chain yet"
            log.info(f"Waiting for the consensus engine: {reason}")
            notify(f"STATUS=Waiting for the consensus engine: {reason}")
        if engine.task is not None and engine.task.done():
            await engine.task
        if refused.done():
            raise ConfigurationError(f"{contracts.reason}.")
    finally:
        founded.cancel()
        refused.cancel()


def serve(settings: Settings, *, web_api: bool = True, streams: bool = True, init: bool = True) -> int:
    """Run a node until SIGINT or SIGTERM; the exit code. The caller holds the lock on the data folder.

    Args:
        settings: The configuration.
        web_api, streams: What is served.
        init: Whether what is missing is made.

    Raises:
        ConfigurationError, StoreError: The node cannot start; the message says what to do.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    # A transaction is some dozen objects without cycles: looking for garbage after each 700 finds nothing.
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    raise_file_limit()
    return uvloop.run(_serve(Node(settings, web_api=web_api, streams=streams, init=init)))


async def _serve(node: Node) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopped.is_set():
            node.hurry()
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        if not await _started(node, stopped):
            return 0
    except InvariantViolated as error:
        return _say_why(error)
    for name, url in node.addresses():
        log.info(f"{name}: {url}")
    log.info("Ready.")
    notify("READY=1\nSTATUS=Ready")
    code = await _until_stopped(node, stopped)
    notify("STOPPING=1")
    log.info("Stopping: what was accepted is written first.")
    try:
        await node.stop()
    except Exception as error:  # noqa: BLE001 - said in the log; the process ends here
        code = _say_why(error)
    log.info("Stopped.")
    return 1 if node.unwritten else code


async def _started(node: Node, stopped: asyncio.Event) -> bool:
    """Start the node; False where it was told to stop before it was up."""
    starting = asyncio.ensure_future(node.start())
    signalled = asyncio.ensure_future(stopped.wait())
    await asyncio.wait({starting, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
    if starting.cancelled():
        return False
    starting.result()
    return True


async def _until_stopped(node: Node, stopped: asyncio.Event) -> int:
    signalled = asyncio.ensure_future(stopped.wait())
    failed = asyncio.ensure_future(node.failed())
    await asyncio.wait({signalled, failed}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if not failed.done():
        failed.cancel()
        return 0
    error = failed.exception()
    return 0 if error is None else _say_why(error)


def _say_why(error: BaseException) -> int:
    """Log why the node ends by itself; the exit code."""
    if isinstance(error, InvariantViolated):
        log.critical(f"The node stops, because something happened that cannot be: {error}")
    else:
        log.critical("The node stops, because of an error in its own code. Please report it.", exc_info=error)
    return 1


def http_settings(settings: Settings) -> HttpSettings:
    """What the Web API is told."""
    stream = settings.wsserver
    return HttpSettings(
        max_body_bytes=settings.api.max_body_bytes,
        bulk_max_lines=settings.api.bulk_max_lines,
        bulk_max_bytes=settings.api.bulk_max_bytes,
        block_by_transaction=settings.api.block_by_transaction,
        stream_scheme=stream.advertised_scheme,
        stream_host=stream.advertised_host,
        stream_port=stream.advertised_port,
        stream_names=tuple(STREAMS),
        stream_parameters=PARAMETERS,
    )


def stream_settings(settings: WsServerSettings) -> StreamSettings:
    """What the stream port is told; TLS only with `wss` and a certificate (event-stream ES-5, EX-12)."""
    tls = None
    if settings.scheme == "wss" and settings.certfile is not None:
        tls = _tls("wsserver", settings.certfile, settings.keyfile)
    return StreamSettings(
        max_connections=settings.max_connections,
        ping_interval=settings.ping_interval,
        max_message_bytes=settings.max_message_bytes,
        stall_timeout=settings.stall_timeout,
        tls=tls,
    )


def _server_tls(settings: ServerSettings) -> ssl.SSLContext | None:
    return _tls("server", settings.certfile, settings.keyfile) if settings.certfile is not None else None


def _tls(section: str, certfile: str, keyfile: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certfile, keyfile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{section}.certfile, {section}.keyfile: `{certfile}` and `{keyfile}` cannot be used ({error}). "
            "Both are PEM files; the key must belong to the certificate."
        ) from None
    return context


async def _listening(start: Coroutine[None, None, None], setting: str, host: str, port: int) -> None:
    """Await a server's start; a port that is taken becomes a line for the operator."""
    try:
        await start
    except OSError as error:
        raise explain(setting, host, port, error) from None


async def _listening_for_engine(start: Coroutine[None, None, None], settings: Settings) -> None:
    """As `_listening` for the engine, which may be met at a socket's path."""
    if not settings.abci_url.startswith("unix:"):
        return await _listening(start, "abci.port", settings.abci.host, settings.abci.port)
    try:
        await start
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"abci.socket: cannot listen at {settings.abci_url} ({reason}).") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
