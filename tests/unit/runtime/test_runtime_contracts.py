# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's choice (decision D15): when a chain is founded, at every start, and the life of its workers."""

import asyncio
import logging
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from planetmint.app import BlockLifecycle, CommittedFeed, SignatureCache, Verifier
from planetmint.chain import UnknownRules, found_chain, founding_header
from planetmint.contracts import ContractCall, EngineAnswer, Purpose
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.model.validator import Validator
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import ChainMismatch, ContractsUnavailable
from planetmint.runtime import contracts as module
from planetmint.runtime.contracts import (
    PACKAGE_VERSION,
    ContractHost,
    founding_parameters,
    require_engine,
    why_not,
)
from planetmint.runtime.settings import (
    ChainSettings,
    ConfigurationError,
    ContractSettings,
    SandboxSettings,
    Settings,
)
from planetmint.sandbox import EngineKind, Layer, SandboxLimits
from planetmint.storage.memory import MemoryStore

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = EngineKind("zenroom 3.16.1", Path("/lib/zenroom.so"), is_program=False)
PROGRAM = EngineKind("zencode-exec 4.37.0", Path("/bin/zencode-exec"), is_program=True)
CALL = ContractCall("script", Purpose.SCRIPT, "Given nothing", "{}", None, bytes(64), {})

Finds = Callable[..., None]


def settings(
    zenroom: str | None = None, scripts: str | None = None, program: str | None = None, **sandbox: object
) -> Settings:
    return Settings(
        chain=ChainSettings(contracts=ContractSettings(zenroom=zenroom, scripts=scripts)),  # type: ignore[arg-type]
        contracts=SandboxSettings(program=program, **sandbox),  # type: ignore[arg-type]
    )


def on(engine: str) -> ChainParameters:
    return ChainParameters(contracts=ContractParameters("bound", "on", engine))


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Finds:
    """Says which engines this machine has; no worker of them is started."""
    monkeypatch.setattr(module, "SandboxPool", Pool)

    def _finds(library: EngineKind | None = None, program: EngineKind | None = None) -> None:
        monkeypatch.setattr(module, "find_engine", lambda path=None: library if path is None else program)

    return _finds


# Founding


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (settings(), ContractParameters("bound", "on", "zenroom 3.16.1")),
        (settings("published"), ContractParameters("published", "on", "zenroom 3.16.1")),
        (settings("off"), ContractParameters("off", "on", "zenroom 3.16.1")),
        (settings("off", "off"), ContractParameters()),
    ],
)
def test_a_chain_is_founded_with_the_engine_of_the_machine(
    finds: Finds, asked: Settings, expected: ContractParameters
) -> None:
    finds(LIBRARY)
    assert founding_parameters(asked).contracts == expected


def test_a_program_that_is_set_goes_before_the_package(finds: Finds) -> None:
    finds(LIBRARY, PROGRAM)
    assert founding_parameters(settings(program="/bin/zencode-exec")).contracts.engine == "zencode-exec 4.37.0"


def test_a_program_that_is_none_founds_no_chain(finds: Finds) -> None:
    finds(LIBRARY, None)
    with pytest.raises(ConfigurationError, match=r"contracts\.program: `/bin/true` is no `zencode-exec`"):
        founding_parameters(settings(program="/bin/true"))


def test_without_an_engine_nothing_set_founds_a_chain_without_contracts_and_says_so(
    finds: Finds, caplog: pytest.LogCaptureFixture
) -> None:
    finds()
    with caplog.at_level(logging.WARNING):
        assert founding_parameters(settings()).contracts == ContractParameters()
    assert 'pip install "planetmint-node[zenroom]"' in caplog.text
    assert "contracts.program" in caplog.text


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (settings("bound"), "chain.contracts.zenroom=bound"),
        (settings("published", "off"), "chain.contracts.zenroom=published"),
        (settings("off", "on"), "chain.contracts.scripts=on"),
    ],
)
def test_contracts_that_are_asked_for_without_an_engine_found_no_chain(
    finds: Finds, asked: Settings, name: str
) -> None:
    finds()
    with pytest.raises(ConfigurationError) as caught:
        founding_parameters(asked)
    assert str(caught.value).startswith(f"{name} needs a contract engine")
    assert 'pip install "planetmint-node[zenroom]"' in str(caught.value)


def test_an_engine_whose_workers_do_not_start_founds_no_chain_with_contracts(
    finds: Finds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that founds such a chain could never follow it."""
    finds(LIBRARY)
    monkeypatch.setattr(module, "SandboxPool", FailingPool)
    assert founding_parameters(settings()).contracts == ContractParameters()
    assert "`zenroom 3.16.1` cannot be run on this machine: no process could be started" in caplog.text
    with pytest.raises(ConfigurationError, match=r"scripts=on needs .* no process could be started"):
        founding_parameters(settings("off", "on"))


def test_a_chain_without_contracts_is_founded_without_a_look_for_an_engine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "find_engine", None)
    assert founding_parameters(settings("off", "off")).contracts == ContractParameters()
    assert caplog.text == ""


def test_the_version_that_messages_name_is_the_one_that_the_extra_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "planetmint-node"
    wanted = [item.replace("'", '"') for item in project["optional-dependencies"]["zenroom"]]
    assert any(item.startswith(f"zenroom=={PACKAGE_VERSION};") for item in wanted)
    locked = [
        line.removesuffix(" \\").replace(" ; ", "; ")
        for line in (ROOT / "requirements-zenroom.lock").read_text().splitlines()
        if line[:1].isalpha()
    ]
    assert locked == wanted


# Going on with a chain


def test_a_chain_with_the_engine_of_the_machine_is_followed(finds: Finds) -> None:
    finds(LIBRARY, PROGRAM)
    require_engine(on("zenroom 3.16.1"), settings())
    require_engine(on("zencode-exec 4.37.0"), settings(program="/bin/zencode-exec"))
    # The program is for chains that name it; the package serves the others.
    require_engine(on("zenroom 3.16.1"), settings(program="/bin/zencode-exec"))


def test_a_chain_without_contracts_is_followed_by_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_engine", None)
    require_engine(ChainParameters(), settings())
    require_engine(ChainParameters(contracts=ContractParameters(engine="zenroom 9.9.9")), settings())


@pytest.mark.parametrize(
    ("wanted", "here", "remedy"),
    [
        ("zenroom 3.16.1", None, 'pip install "planetmint-node[zenroom]"'),
        ("zenroom 2.20.4", LIBRARY, 'pip install "zenroom==2.20.4"'),
        ("zencode-exec 4.37.0", LIBRARY, "set contracts.program"),
        ("wasm 1", LIBRARY, "start a version of the node that knows this engine"),
    ],
)
def test_an_engine_that_is_missing_or_of_another_version_is_named_with_what_to_do(
    finds: Finds, wanted: str, here: EngineKind | None, remedy: str
) -> None:
    finds(here)
    with pytest.raises(ConfigurationError) as caught:
        require_engine(on(wanted), settings())
    message = str(caught.value)
    assert f"`{wanted}`" in message
    assert ("has none" if here is None else f"has `{here.name}`") in message
    assert remedy in message


def test_what_a_genesis_names_never_becomes_a_part_of_a_command(finds: Finds) -> None:
    finds()
    why = why_not(on('zenroom 3.16.1"; rm -rf "/'), settings())
    assert why is not None
    assert "pip" not in why


# The workers of a node


class Pool:
    """Stands in for the workers."""

    made: "list[Pool]" = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, kind: EngineKind, limits: SandboxLimits, workers: int) -> None:
        self.kind, self.limits, self.width, self.name = kind, limits, workers, kind.name
        self.layers: tuple[Layer, ...] = ()
        self.pids: tuple[int, ...] = ()
        self.fails = ""
        self.closed = False
        Pool.made.append(self)

    async def start(self) -> None:
        await asyncio.sleep(0)
        self.layers = (
            Layer("system calls", True, "a list"),
            Layer("network", False, "not permitted here"),
            Layer("user", False, "the node's own"),
        )
        self.pids = (1,) * self.width

    async def run(self, call: ContractCall, patience: Patience) -> Execution:
        return Execution(EngineAnswer(b"{}", b""), 0.5, 7)

    async def close(self) -> None:
        self.closed, self.pids = True, ()


class FailingPool(Pool):
    async def start(self) -> None:
        raise ContractsUnavailable("no process could be started")


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Pool]:
    monkeypatch.setattr(module, "SandboxPool", Pool)
    Pool.made.clear()
    return Pool.made


async def test_workers_are_started_for_a_chain_with_contracts_and_their_walls_are_told(
    finds: Finds, pools: list[Pool]
) -> None:
    finds(LIBRARY)
    host = ContractHost(settings(seconds=2.0, memory_bytes=64 << 20, output_bytes=1 << 16, workers=3))
    host.accept(on("zenroom 3.16.1"))
    assert (host.name, host.width, host.workers) == ("zenroom 3.16.1", 3, 0)
    with structlog.testing.capture_logs() as logs:
        await host.start()
        await host.start()
    (pool,) = pools
    assert pool.kind is LIBRARY
    assert pool.limits == SandboxLimits(2.0, 64 << 20, 1 << 16)
    assert logs == [
        {
            "event": "contracts.ready",
            "log_level": "info",
            "engine": "zenroom 3.16.1",
            "workers": 3,
            "layers": "system calls",
        },
        {
            "event": "contracts.layer_missing",
            "log_level": "warning",
            "layer": "network",
            "detail": "not permitted here",
            "remedy": module._REMEDIES["network"],
        },
        {
            "event": "contracts.layer_missing",
            "log_level": "info",
            "layer": "user",
            "detail": "the node's own",
        },
    ]
    assert host.workers == 3
    assert (await host.run(CALL, Patience.ADMISSION)).memory == 7
    await host.close()
    assert pool.closed


async def test_a_chain_without_contracts_starts_no_worker(finds: Finds, pools: list[Pool]) -> None:
    finds(LIBRARY)
    host = ContractHost(settings())
    host.accept(ChainParameters())
    await host.start()
    assert pools == []
    with pytest.raises(ContractsUnavailable):
        await host.run(CALL, Patience.DECIDED)
    await host.close()


async def test_a_block_that_comes_before_the_node_is_told_of_its_chain_starts_the_workers_once(
    finds: Finds, pools: list[Pool]
) -> None:
    finds(LIBRARY)
    host = ContractHost(settings())
    host.accept(on("zenroom 3.16.1"))
    await asyncio.gather(*(host.run(CALL, Patience.DECIDED) for _ in range(4)), host.start())
    assert len(pools) == 1
    await host.close()


async def test_a_pool_that_does_not_start_is_told_as_a_matter_of_the_machine(
    finds: Finds, pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(LIBRARY)
    monkeypatch.setattr(module, "SandboxPool", FailingPool)
    host = ContractHost(settings())
    host.accept(on("zenroom 3.16.1"))
    with pytest.raises(ConfigurationError, match=r"`zenroom 3\.16\.1` cannot be run: no process could be started"):
        await host.start()
    assert pools[0].closed


async def test_a_closed_host_starts_nothing_any_more(finds: Finds, pools: list[Pool]) -> None:
    finds(LIBRARY)
    host = ContractHost(settings())
    host.accept(on("zenroom 3.16.1"))
    await host.close()
    with pytest.raises(ContractsUnavailable):
        await host.run(CALL, Patience.DECIDED)
    assert pools == []


async def test_a_ledger_whose_chain_needs_another_engine_is_not_gone_on_with(finds: Finds) -> None:
    """However it came into the store: by a restore, by a snapshot, or with the disk of another machine."""
    finds(LIBRARY)
    store = MemoryStore()
    await store.open()
    founding = found_chain("foreign", on("zenroom 9.9.9"), (Validator(b"\x01" * 32, 10),), time=5)
    await store.found(founding, founding_header(founding, b"\x01" * 32))
    host = ContractHost(settings())
    verifier = Verifier(SignatureCache(10), threads=1)
    lifecycle = BlockLifecycle(store, CommittedFeed(store), verifier, accepts=host.accept)
    with pytest.raises(ChainMismatch, match=r"zenroom 9\.9\.9.*zenroom 3\.16\.1"):
        await lifecycle.load()
    assert host.refused.is_set()
    assert "zenroom 9.9.9" in host.reason
    assert lifecycle.head is None
    verifier.close()


def test_a_host_accepts_no_chain_that_this_version_does_not_know(finds: Finds) -> None:
    finds(LIBRARY)
    with pytest.raises(UnknownRules):
        ContractHost(settings()).accept(ChainParameters(rules_version=2))
