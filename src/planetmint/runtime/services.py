# SPDX-License-Identifier: AGPL-3.0-or-later
"""The programs behind a node: how a managed CometBFT and a managed Tarantool are run, and what they say.

What is said here about programs is the only place where the node knows their command lines and logs.
"""

import asyncio
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from planetmint.ports.errors import StoreError
from planetmint.runtime.children import Child, Program, Said, resolve
from planetmint.runtime.engine_config import Addresses
from planetmint.runtime.settings import ConfigurationError, Settings, TarantoolSettings, bracketed

if TYPE_CHECKING:
    from planetmint.storage.tarantool.address import Address

T = TypeVar("T")

COMETBFT_VERSIONS: tuple[str, ...] = ("0.38.26",)
"""Versions of CometBFT that this version of the node was tested with."""

ENGINE_NAME = "CometBFT"
DATABASE_NAME = "Tarantool"

_GRACE = 10.0
_ATTEMPTS = 3
_LOOK_INTERVAL = 0.2
_FIELD_LENGTH = 300
_DEAD = "CONSENSUS FAILURE"
# Where the engine puts its own message in a line of JSON, whose names it sorts, and in a plain one: what peers
# sent may stand behind it, and must not have the engine restarted.
_DEAD_LINE = re.compile(rf'(?:\{{ ?"_msg": ?"|[A-Z]\[[^\]]{{0,40}}\] )?{_DEAD}')
_BORING = frozenset({"_msg", "level", "ts", "module", "stack"})
_TARANTOOL_LINE = re.compile(r"\S+ \S+ \[\d+\][^>]*?(?P<level>[FE!WCDI])> (?P<text>.*)|.*", re.DOTALL)
_TARANTOOL_LEVELS = {
    "F": logging.CRITICAL,
    "!": logging.ERROR,
    "E": logging.ERROR,
    "W": logging.INFO,  # the server tells of its start at this level
    "C": logging.INFO,
}


def engine_program(settings: Settings) -> str:
    """The engine's program. Raises ConfigurationError where there is none."""
    named = settings.tendermint.program
    beside = Path(sys.executable).with_name("cometbft")
    program = named or (str(beside) if beside.exists() else "cometbft")
    found = resolve(program)
    if found is None:
        raise ConfigurationError(f"There is no program `{program}`. {_ENGINE_REMEDY}")
    return found


_ENGINE_REMEDY = (
    "`make engine` builds CometBFT; or set tendermint.program (PLANETMINT_TENDERMINT_PROGRAM) to the program, "
    "consensus.managed=false where somebody else runs it, or consensus.engine=solo to do without"
)
_DATABASE_REMEDY = (
    "Install Tarantool (Debian: apt-get install tarantool); or set database.program to the program, "
    "database.managed=false where somebody else runs it, or database.backend=sqlite to do without"
)


def engine_addresses(settings: Settings) -> Addresses:
    """Where a managed engine listens and connects to."""
    engine = settings.tendermint
    host = "127.0.0.1" if engine.host == "localhost" else engine.host
    peers = engine.persistent_peers
    abci = settings.abci_url
    if abci.startswith("tcp:") and settings.abci.host in ("0.0.0.0", "::"):
        abci = f"tcp://127.0.0.1:{settings.abci.port}"
    return Addresses(
        abci=abci,
        rpc=f"tcp://{bracketed(host)}:{engine.port}",
        p2p=f"tcp://{bracketed(engine.p2p_host)}:{engine.p2p_port}",
        external=engine.external_address or "",
        peers=None if peers is None else peers.strip(","),
    )


def engine_rpc(settings: Settings) -> str:
    """Where the node finds the engine's RPC."""
    host = settings.tendermint.host
    if settings.engine_managed and host in ("0.0.0.0", "::", "localhost"):
        host = "::1" if host == "::" else "127.0.0.1"
    return f"http://{bracketed(host)}:{settings.tendermint.port}"


def engine_child(settings: Settings, held: Callable[[], Awaitable[str | None]]) -> Child:
    """The managed engine, not started yet. Raises ConfigurationError where there is no program."""
    home = settings.engine_home
    command = (engine_program(settings), "start", "--home", str(home))
    # Its own log at the level of ours costs it ten lines a block; the file says what it tells.
    program = Program(
        ENGINE_NAME, command, home, read_engine_line, _ENGINE_REMEDY, grace=_GRACE, alarm=_DEAD.encode()
    )
    return Child(program, held)


def tarantool_address(settings: Settings) -> "Address":
    """Where Tarantool is and who logs in. Raises ConfigurationError for another backend."""
    from planetmint.storage.tarantool.address import Address

    database = settings.database
    if not isinstance(database, TarantoolSettings):
        raise ConfigurationError(f"database.backend is {database.backend}, not tarantool_db")
    return Address(
        host="127.0.0.1" if database.host == "localhost" else database.host,
        port=database.port,
        socket=settings.database_socket,
        login=database.login,
        password=database.password,
        connection_timeout=database.connection_timeout / 1_000,
        # A server of our own comes when it has read its files, which may take long.
        max_tries=0 if settings.database_managed else database.max_tries,
        reconnect_delay=database.reconnect_delay,
    )


def database_child(settings: Settings) -> Child:
    """The managed Tarantool, not started yet; its folder is made. Raises ConfigurationError."""
    from planetmint.storage.tarantool.instance import Instance

    database = settings.database
    if not isinstance(database, TarantoolSettings):
        raise ConfigurationError(f"database.backend is {database.backend}, which needs no server")
    folder = settings.database_folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"database.data: cannot make the folder `{folder}` ({error.strerror}).") from None
    instance = Instance(folder, tarantool_address(settings), database.memory, database.program)
    return Child(
        Program(
            DATABASE_NAME,
            instance.command,
            folder,
            read_database_line,
            _DATABASE_REMEDY,
            instance.environment({}),
            grace=_GRACE,
        )
    )


async def while_starting(child: Child | None, work: Awaitable[T]) -> T:
    """Await what needs a child that is starting up; `child` may be None.

    Raises:
        StoreError: The child ended again and again meanwhile.
    """
    task = asyncio.ensure_future(work)
    try:
        while child is not None and not task.done():
            if child.starts > _ATTEMPTS:
                raise StoreError(f"{child.program.name} does not start: {child.words() or child.trouble}")
            await asyncio.wait({task}, timeout=_LOOK_INTERVAL)
        return await task
    finally:
        task.cancel()


@asynccontextmanager
async def database_running(settings: Settings) -> AsyncIterator[None]:
    """Have a managed Tarantool run for as long as a command needs it; does nothing for other databases."""
    if not settings.database_managed:
        yield
        return
    from planetmint.storage.tarantool import exists

    child = database_child(settings)
    await child.start()
    try:
        await while_starting(child, exists(tarantool_address(settings)))
        yield
    finally:
        await child.stop()


def read_engine_line(line: str) -> Said:
    """Make sense of a line of CometBFT, whose log is JSON; what is none is a panic, or was too long and is cut.

    What the engine calls an error is mostly a peer that has gone, so it is a warning here.
    """
    try:
        told = json.loads(line)
        if not isinstance(told, dict):
            raise ValueError
        text = _short(told.get("_msg", ""))
        fields = [f"{name}={_short(value)}" for name, value in told.items() if name not in _BORING]
    except (ValueError, RecursionError):
        broken = _DEAD_LINE.match(line) is not None
        loud = broken or line.startswith(("panic:", "ERROR:", "fatal error:"))
        return Said(logging.ERROR if loud else logging.DEBUG, line, broken)
    broken = _DEAD in text
    if broken:
        level = logging.ERROR
    elif told.get("level") == "error":
        level = logging.WARNING
    else:
        of_interest = told.get("module") in ("statesync", "blocksync") and not text.startswith("service ")
        level = logging.INFO if of_interest else logging.DEBUG
    return Said(level, " ".join([text, *fields]), broken)


def read_database_line(line: str) -> Said:
    """Make sense of a line of Tarantool: `time [pid] place level> text`."""
    found = _TARANTOOL_LINE.fullmatch(line)
    if found is None or found["level"] is None:
        return Said(logging.INFO, line)
    return Said(_TARANTOOL_LEVELS.get(found["level"], logging.DEBUG), found["text"])


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _FIELD_LENGTH else text[:_FIELD_LENGTH] + "..."
