# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts on this machine: which engine there is, whether it is the chain's, and the workers that run it.

A chain names its contract engine in its parameters. Every door by which a node gets at a chain asks here whether
this machine has that engine, so that a node without it stops before it answers anything. A chain without contracts
needs none.
"""

import asyncio
import logging
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import structlog

from planetmint.chain import check_parameters
from planetmint.contracts import ContractCall
from planetmint.model.parameters import ChainParameters
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import ChainMismatch, ContractsUnavailable
from planetmint.runtime.settings import ConfigurationError, Settings
from planetmint.sandbox import EngineKind, Layer, SandboxLimits, SandboxPool, find_engine

PACKAGE_VERSION = "3.16.1"
"""Version of `zenroom` that the extra of that name installs; later ones bring no engine."""

INSTALL = (
    'pip install "planetmint-node[zenroom]" with Python 3.11 on Linux (later versions of Python have no wheel of '
    "the engine), or set contracts.program (PLANETMINT_CONTRACTS_PROGRAM) to a `zencode-exec` program"
)
"""What an operator does to get a contract engine."""

MOST_WORKERS = 4
"""Workers where nothing is set: contracts shall not take all processors of a large machine."""

_NAMESPACES = (
    "let the node make user namespaces (a container: its security profile; a systemd unit: RestrictNamespaces; "
    "else kernel.unprivileged_userns_clone), or leave it to the list of system calls"
)
_REMEDIES = {
    "files": "Linux 5.13 or newer with Landlock (`lsm=landlock,...`), and a container's profile that lets it in",
    "memory requests": "set vm.overcommit_memory to 0 or 1 (sysctl)",
    "memory shortage": "let the node write /proc/self/oom_score_adj",
    "mounts": _NAMESPACES,
    "network": _NAMESPACES,
    "room behind buffers": "let all validators run the same build of the engine on the same kind of machine",
}
"""What an operator does about a layer that is missing; the others hold meanwhile."""

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")

# Used by commands too, whose structured log would go to stdout.
_plain = logging.getLogger(__name__)
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def founding_parameters(settings: Settings) -> ChainParameters:
    """The parameters of a chain that is founded with these settings on this machine.

    Contracts for which nothing is set are on where there is an engine for them, and its workers start.

    Raises:
        ConfigurationError: Contracts are asked for and cannot be run; the message says what to install.
    """
    asked = settings.chain.contracts
    modes = {"zenroom": asked.zenroom, "scripts": asked.scripts}
    wanted = [f"chain.contracts.{name}={mode}" for name, mode in modes.items() if mode not in (None, "off")]
    if not wanted and None not in modes.values():
        return settings.chain.parameters()
    kind = machine_engine(settings)
    hindrance = f"this machine has none: {INSTALL}" if kind is None else _hindrance(kind, settings)
    if hindrance is None:
        return settings.chain.parameters(None if kind is None else kind.name)
    if wanted:
        raise ConfigurationError(
            f"{' and '.join(wanted)} needs a contract engine, and {hindrance}. Or set chain.contracts.zenroom=off "
            "and chain.contracts.scripts=off to found a chain without contracts."
        )
    _plain.warning(
        "A chain that is founded now has no contracts and never will. They need a contract engine, and "
        f"{hindrance}. To have contracts, see to that before the chain is founded."
    )
    return settings.chain.parameters()


def _hindrance(kind: EngineKind, settings: Settings) -> str | None:
    """Why workers do not start here; None where they do. What is found out now would be too late later."""

    async def _try() -> None:
        pool = make_pool(kind, settings, workers=1)
        try:
            await pool.start()
        finally:
            await pool.close()

    # In a loop of its own: some who found a chain are in one already, others are not.
    with ThreadPoolExecutor(1) as apart:
        try:
            apart.submit(asyncio.run, _try()).result()
        except ContractsUnavailable as error:
            return f"`{kind.name}` cannot be run on this machine: {error}"
    return None


def require_engine(parameters: ChainParameters, settings: Settings) -> None:
    """Refuse a chain whose contract engine this machine does not have.

    Raises:
        ConfigurationError: Names both engines, and says what to install.
    """
    why = why_not(parameters, settings)
    if why is not None:
        raise ConfigurationError(f"{why}.")


def why_not(parameters: ChainParameters, settings: Settings) -> str | None:
    """Why this machine cannot run the contracts of a chain; None where it can, or the chain has none."""
    wanted = parameters.contracts.engine
    if not parameters.contracts.on or wanted is None:
        return None
    if _engine_named(wanted, settings) is not None:
        return None
    return (
        f"the contracts of the chain run in the engine `{wanted}` on every node, and this machine has "
        f"{_here(settings)}: {_remedy(wanted)}"
    )


class ContractHost:
    """Implements `ports.ContractEngine` with the chain's engine; workers are started when a chain needs them.

    Attributes:
        refused: Set when this machine was asked to follow a chain whose engine it does not have.
        reason: Then, why not.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._width = settings.contracts.workers or min(os.cpu_count() or 1, MOST_WORKERS)
        self._kind: EngineKind | None = None
        self._pool: SandboxPool | None = None
        self._starting = asyncio.Lock()
        self._told = False
        self._closed = False
        self.refused = asyncio.Event()
        self.reason = ""

    @property
    def name(self) -> str:
        """See `ContractEngine`; empty while no chain with contracts is known."""
        return "" if self._kind is None else self._kind.name

    @property
    def width(self) -> int:
        """See `ContractEngine`."""
        return self._width

    @property
    def workers(self) -> int:
        """Worker processes that are up."""
        return 0 if self._pool is None else len(self._pool.pids)

    def accept(self, parameters: ChainParameters) -> None:
        """Find the engine that a chain names.

        Raises:
            UnknownRules: See `check_parameters`.
            ChainMismatch: This machine does not have it.
        """
        check_parameters(parameters)
        why = why_not(parameters, self._settings)
        if why is not None:
            self.reason = why
            self.refused.set()
            raise ChainMismatch(why)
        if parameters.contracts.on:
            self._kind = _engine_named(parameters.contracts.engine or "", self._settings)

    async def start(self) -> None:
        """Start workers, where a chain with contracts was accepted, and tell what protects the node from them.

        May be called again, e.g. when another chain is known.

        Raises:
            ConfigurationError: They do not start.
        """
        if self._kind is None or self._told:
            return
        try:
            pool = await self._started()
        except ContractsUnavailable as error:
            raise ConfigurationError(f"the engine `{self.name}` cannot be run: {error}") from None
        self._told = True
        active = [layer.name for layer in pool.layers if layer.active]
        _log.info("contracts.ready", engine=pool.name, workers=pool.width, layers=", ".join(active) or "none")
        for layer in pool.layers:
            if not layer.active:
                _tell_missing(layer)

    async def run(self, call: ContractCall, patience: Patience) -> Execution:
        """See `ContractEngine`."""
        return await (self._pool or await self._started()).run(call, patience)

    async def close(self) -> None:
        """End all workers; may be called twice."""
        self._closed = True
        if self._pool is not None:
            await self._pool.close()

    async def _started(self) -> SandboxPool:
        # An engine may bring the first block before the node has heard that there is a chain.
        async with self._starting:
            if self._pool is not None:
                return self._pool
            if self._kind is None or self._closed:
                raise ContractsUnavailable("no contract engine is at work")
            pool = make_pool(self._kind, self._settings, self.width)
            try:
                await pool.start()
            except BaseException:
                await pool.close()
                raise
            self._pool = pool
            return pool


def _tell_missing(layer: Layer) -> None:
    remedy = _REMEDIES.get(layer.name)
    if remedy is None:
        # A node that is not root has no other user to give a contract to, and is the better for it.
        _log.info("contracts.layer_missing", layer=layer.name, detail=layer.detail)
    else:
        _log.warning("contracts.layer_missing", layer=layer.name, detail=layer.detail, remedy=remedy)


def make_pool(kind: EngineKind, settings: Settings, workers: int) -> SandboxPool:
    """Workers within the bounds of the settings, not started yet."""
    bounds = settings.contracts
    limits = SandboxLimits(bounds.seconds, bounds.memory_bytes, bounds.output_bytes)
    return SandboxPool(kind, limits, workers)


def machine_engine(settings: Settings) -> EngineKind | None:
    """The engine that contracts of a new chain run in: the program that is set, else the package's; None for none.

    Raises:
        ConfigurationError: The program that is set is none.
    """
    program = _program(settings)
    kind = find_engine(program)
    if kind is None and program is not None:
        raise ConfigurationError(
            f"contracts.program: `{program}` is no `zencode-exec` that can be run and tells its version."
        )
    return kind


def _engine_named(wanted: str, settings: Settings) -> EngineKind | None:
    return next((kind for kind in _engines(settings) if kind.name == wanted), None)


def _engines(settings: Settings) -> Iterator[EngineKind]:
    for program in dict.fromkeys((_program(settings), None)):
        kind = find_engine(program)
        if kind is not None:
            yield kind


def _here(settings: Settings) -> str:
    found = " and ".join(f"`{kind.name}`" for kind in _engines(settings))
    return found or "none"


def _remedy(wanted: str) -> str:
    # The name comes from a genesis file: only what is a version becomes a part of a command.
    name, _, version = wanted.partition(" ")
    if name == "zenroom" and version == PACKAGE_VERSION:
        return INSTALL.partition(", or set")[0]
    if name == "zenroom" and _VERSION.fullmatch(version):
        return f'pip install "zenroom=={version}"'
    if name == "zencode-exec":
        return f"set contracts.program (PLANETMINT_CONTRACTS_PROGRAM) to a `zencode-exec` of version {version}"
    return "start a version of the node that knows this engine"


def _program(settings: Settings) -> str | None:
    program = settings.contracts.program
    return None if program is None else os.path.expanduser(program)
