# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole node: built from settings, started in order, stopped in reverse.

Nothing here is global: two nodes can live in one process. `serve` alone knows about signals and exit codes.
"""

import asyncio
import gc
import os
import signal
import ssl
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack

import structlog
import uvloop

from planetmint.app import BlockLifecycle, CommittedFeed, Ledger, SignatureCache, Verifier
from planetmint.chain import UnknownRules, found_chain, founding_header, sign_header
from planetmint.consensus.solo import SoloEngine
from planetmint.http.app import create_app
from planetmint.http.server import HttpServer
from planetmint.http.settings import HttpSettings
from planetmint.model.errors import InvariantViolated
from planetmint.model.validator import Validator
from planetmint.ports.store import Store
from planetmint.runtime.backends import make_store
from planetmint.runtime.clock import SystemClock
from planetmint.runtime.keys import KEY_FILE, ValidatorKey, load_key, load_or_make_key
from planetmint.runtime.limits import raise_file_limit
from planetmint.runtime.listen import explain
from planetmint.runtime.metrics import NodeMetrics
from planetmint.runtime.settings import ConfigurationError, ServerSettings, Settings, WsServerSettings
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

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Node:
    """An embedded node.

    Args:
        settings: Its configuration.
        web_api: Whether the Web API is served.
        streams: Whether the event stream is served.
    """

    def __init__(self, settings: Settings, *, web_api: bool = True, streams: bool = True) -> None:
        self._settings = settings
        self._web_api = web_api
        self._streams = streams
        self._stack = AsyncExitStack()
        self.http: HttpServer | None = None
        self.stream: StreamServer | None = None
        self.engine: SoloEngine | None = None
        self._lifecycle: BlockLifecycle | None = None

    async def start(self) -> None:
        """Open the store, found the chain where there is none, make blocks, listen.

        Raises:
            ConfigurationError: A port is taken, the data folder cannot be used, or the chain needs another node.
            StoreError: The store cannot be opened.
        """
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Stop listening, write what was accepted, say good-bye to subscribers, close the store."""
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
        store = make_store(settings)
        self._stack.push_async_callback(store.close)
        await store.open()
        helper = VerifyProcess()
        self._stack.push_async_callback(helper.close)
        await helper.start()
        threads = settings.server.threads or os.cpu_count() or 1
        verifier = Verifier(SignatureCache(_VERIFIED_CAPACITY), threads, helper)
        self._stack.callback(verifier.close)
        feed = CommittedFeed(store)
        lifecycle = self._lifecycle = BlockLifecycle(store, feed, verifier)
        key = await self._take_up_chain(store, lifecycle)
        self.engine = SoloEngine(key.secret, SystemClock())
        ledger = Ledger(store, feed, lifecycle, self.engine, verifier, commit_timeout=COMMIT_TIMEOUT)
        metrics = NodeMetrics(feed, self.engine)
        if self._streams:
            self.stream = StreamServer(feed, stream_settings(settings.wsserver))
            self._stack.push_async_callback(self.stream.stop)
            metrics.follow(self.stream)
            await _listening(
                self.stream.start(settings.wsserver.host, settings.wsserver.port),
                "wsserver.port",
                settings.wsserver.host,
                settings.wsserver.port,
            )
        await self.engine.start(lifecycle)
        self._stack.push_async_callback(self.engine.stop)
        if self._web_api:
            host, port = settings.server.address
            app = create_app(ledger, http_settings(settings), metrics.registry)
            self.http = HttpServer(app, host, port, ssl_context=_server_tls(settings.server))
            self._stack.push_async_callback(self.http.stop, settings.server.graceful_timeout)
            await _listening(self.http.start(), "server.bind", host, port)

    async def _take_up_chain(self, store: Store, lifecycle: BlockLifecycle) -> ValidatorKey:
        """Go on with the chain in the store, or found one; the answer is the key that signs its blocks."""
        folder = self._settings.data.path
        try:
            if await lifecycle.load():
                key = load_key(folder)
                if key.public not in [validator.public_key for validator in await store.validators()]:
                    raise ConfigurationError(
                        f"{folder / KEY_FILE} is not a validator of the chain in the database: put the right file "
                        "back from a backup"
                    )
                return key
            key = load_or_make_key(folder)
            chain = self._settings.chain
            founding = found_chain(
                chain.id or f"planetmint-{os.urandom(4).hex()}",
                chain.parameters(),
                (Validator(key.public, SOLO_POWER),),
                SystemClock().now(),
            )
        except UnknownRules as error:
            raise ConfigurationError(f"{error}. Start a version of the node that does.") from None
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


def serve(settings: Settings, *, web_api: bool = True, streams: bool = True, init: bool = True) -> int:
    """Run a node until SIGINT or SIGTERM; the exit code. The caller holds the lock on the data folder.

    Args:
        settings: The configuration.
        web_api, streams: What is served.
        init: Whether a database is made where there is none.

    Raises:
        ConfigurationError, StoreError: The node cannot start; the message says what to do.
    """
    if not init and not settings.database_path.exists():
        raise ConfigurationError(
            f"No database at `{settings.database_path}`. Run `planetmint init`, or start without --no-init."
        )
    sys.setswitchinterval(SWITCH_INTERVAL)
    # A transaction is some dozen objects without cycles: looking for garbage after each 700 finds nothing.
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    raise_file_limit()
    return uvloop.run(_serve(Node(settings, web_api=web_api, streams=streams)))


async def _serve(node: Node) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopped.is_set():
            node.hurry()
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await node.start()
    for name, url in node.addresses():
        log.info(f"{name}: {url}")
    log.info("Ready.")
    code = await _until_stopped(node, stopped)
    log.info("Stopping: what was accepted is written first.")
    try:
        await node.stop()
    except Exception as error:  # noqa: BLE001 - said in the log; the process ends here
        code = _say_why(error)
    log.info("Stopped.")
    return 1 if node.unwritten else code


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


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
