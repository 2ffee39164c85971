# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole node in the test's process: its chain and key, how it ends, and what it says then."""

import asyncio
import base64
import os
import re
import signal
from pathlib import Path

import pytest
import structlog
from nacl.bindings import crypto_sign_seed_keypair

from planetmint.app import BlockLifecycle, Ledger, Mode
from planetmint.consensus.cometbft.genesis import Genesis
from planetmint.model.election import ChainRecord
from planetmint.model.errors import InvariantViolated
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator
from planetmint.ports.consensus import ChainInfo
from planetmint.ports.errors import CommitTimeout, EngineError, StoreFull
from planetmint.runtime import node as module
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.genesis_file import GenesisFile
from planetmint.runtime.keys import KEY_FILE, ValidatorKey, load_or_make_key
from planetmint.runtime.keys import _write_key as write_key
from planetmint.runtime.node import Node
from planetmint.runtime.settings import (
    ChainSettings,
    ConfigurationError,
    ContractSettings,
    DataSettings,
    ServerSettings,
    Settings,
    WsServerSettings,
)
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.build import Builder, Built, Dialect, seed

BUILD = Builder(Dialect.PLANETMINT_2)
ITEMS = [BUILD.create(f"owner-{number}") for number in range(40)]


def settings(folder: Path) -> Settings:
    return Settings(
        data=DataSettings(dir=str(folder)),
        server=ServerSettings(bind="127.0.0.1:0", graceful_timeout=1),
        wsserver=WsServerSettings(host="127.0.0.1", port=0),
        # Workers for contracts would be started with every node, and nothing here is about them.
        chain=ChainSettings(contracts=ContractSettings(zenroom="off", scripts="off")),
    )


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's time runs out in a test."""
    monkeypatch.setattr(module, "COMMIT_TIMEOUT", 600.0)


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch) -> list[Ledger]:
    """The ledgers that nodes make from here on."""
    made: list[Ledger] = []

    class Kept(Ledger):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(module, "Ledger", Kept)
    return made


async def stored(folder: Path, items: list[Built]) -> list[bool]:
    """Which of some transactions are in the ledger of a stopped node."""
    store = SqliteStore(settings(folder).database_path)
    await store.open()
    try:
        return [await store.transaction(item.id) is not None for item in items]
    finally:
        await store.close()


async def ended(node: Node) -> tuple[int, list[structlog.typing.EventDict]]:
    """Exit code of a node that is served, and what it logged."""
    with structlog.testing.capture_logs() as logs:
        code = await asyncio.wait_for(module._serve(node), 120)
    return code, [dict(entry) for entry in logs]


async def started(ledgers: list[Ledger], node: Node) -> Ledger:
    """The ledger of a node that is being served, once it is up."""
    for _ in range(8_000):
        if ledgers and node.http is not None and node.http.port:
            return ledgers[-1]
        await asyncio.sleep(0.005)
    raise AssertionError("the node did not come up")


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


# The chain and its key


async def test_a_node_goes_on_with_its_chain_and_key(tmp_path: Path, ledgers: list[Ledger]) -> None:
    heads = []
    for item in ITEMS[:2]:
        node = Node(settings(tmp_path))
        await node.start()
        await ledgers[-1].submit(item.canonical, Mode.COMMIT)
        heads.append(await ledgers[-1].store.head())
        await node.stop()
    assert [head.height for head in heads if head is not None] == [1, 2]
    assert len({head.proposer for head in heads if head is not None}) == 1


async def test_a_chain_whose_key_is_missing_is_not_continued_with_a_new_one(tmp_path: Path) -> None:
    node = Node(settings(tmp_path))
    await node.start()
    await node.stop()
    (tmp_path / KEY_FILE).rename(tmp_path / "elsewhere.json")
    with pytest.raises(ConfigurationError, match=KEY_FILE):
        await Node(settings(tmp_path)).start()
    assert not (tmp_path / KEY_FILE).exists()
    (tmp_path / "elsewhere.json").rename(tmp_path / KEY_FILE)
    node = Node(settings(tmp_path))
    await node.start()
    await node.stop()


async def test_a_chain_is_not_continued_with_the_key_of_another(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        node = Node(settings(tmp_path / name))
        await node.start()
        await node.stop()
    (tmp_path / "other" / KEY_FILE).replace(tmp_path / "mine" / KEY_FILE)
    with pytest.raises(ConfigurationError, match="not a validator"):
        await Node(settings(tmp_path / "mine")).start()


async def test_a_node_whose_own_key_an_election_removes_ends_and_goes_on_with_that_of_another_validator(
    tmp_path: Path, ledgers: list[Ledger]
) -> None:
    keys = {name: ValidatorKey(crypto_sign_seed_keypair(seed(name))[1]) for name in ("validator", "otto")}
    write_key(tmp_path / KEY_FILE, keys["validator"])
    adding = BUILD.validator_election({"validator": 10}, "otto", 3)
    removing = BUILD.validator_election({"validator": 10, "otto": 3}, "validator", 0)
    node = Node(settings(tmp_path))
    serving = asyncio.create_task(ended(node))
    ledger = await started(ledgers, node)
    for election in (adding, removing):
        await ledger.submit(election.canonical, Mode.COMMIT)
        vote = BUILD.vote([election.spend(0)], amount=10)
        await ledger.submit(vote.canonical, Mode.COMMIT)
    code, logs = await serving
    assert code == 1
    assert "removed this node's own key" in str(logs)
    assert await stored(tmp_path, [vote]) == [True]
    # The block after it would be signed by nobody who is a validator.
    otto = base64.b64encode(keys["otto"].public).decode()
    with pytest.raises(
        ConfigurationError, match=f"whose validators are {re.escape(otto)}: .* election .* restore"
    ):
        await Node(settings(tmp_path)).start()
    (tmp_path / KEY_FILE).unlink()
    write_key(tmp_path / KEY_FILE, keys["otto"])
    node = Node(settings(tmp_path))
    await node.start()
    await ledgers[-1].submit(ITEMS[0].canonical, Mode.COMMIT)
    await node.stop()
    assert await stored(tmp_path, ITEMS[:1]) == [True]


# The end


async def test_sigterm_ends_a_node_with_0_and_loses_nothing(tmp_path: Path, ledgers: list[Ledger]) -> None:
    node = Node(settings(tmp_path))
    serving = asyncio.ensure_future(ended(node))
    ledger = await started(ledgers, node)
    for item in ITEMS:
        await ledger.submit(item.canonical, Mode.ASYNC)
    terminate()
    code, logs = await serving
    assert code == 0
    assert logs[-1]["event"] == "Stopped."
    assert all(await stored(tmp_path, ITEMS))
    with pytest.raises(EngineError, match="stopping"):
        await ledger.submit(BUILD.create("late").canonical, Mode.ASYNC)


async def test_an_invariant_violated_while_blocks_are_made_ends_the_node_with_1_and_one_line(
    tmp_path: Path, ledgers: list[Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise InvariantViolated("the ledger has two heads")

    monkeypatch.setattr(BlockLifecycle, "finalize_block", broken)
    node = Node(settings(tmp_path))
    serving = asyncio.ensure_future(ended(node))
    ledger = await started(ledgers, node)
    with pytest.raises(CommitTimeout, match="may still be committed"):
        await ledger.submit(ITEMS[0].canonical, Mode.COMMIT)
    assert not serving.done(), "who waits is answered before the end"
    code, logs = await serving
    assert code == 1
    (line,) = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
    assert "the ledger has two heads" in line["event"]
    assert "exc_info" not in line
    assert await stored(tmp_path, ITEMS[:1]) == [False], "the store was not closed"


async def test_an_error_nobody_thought_of_ends_the_node_with_1_in_order(
    tmp_path: Path, ledgers: list[Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(BlockLifecycle, "finalize_block", broken)
    node = Node(settings(tmp_path))
    serving = asyncio.ensure_future(ended(node))
    ledger = await started(ledgers, node)
    await ledger.submit(ITEMS[0].canonical, Mode.ASYNC)
    code, logs = await serving
    assert code == 1
    (line,) = [entry for entry in logs if entry["log_level"] == "critical"]
    assert isinstance(line["exc_info"], ZeroDivisionError)
    assert logs[-1]["event"] == "Stopped."


async def test_an_invariant_violated_while_stopping_ends_the_node_with_1_and_one_line(
    tmp_path: Path, ledgers: list[Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def broken(*_: object) -> None:
        await gate.wait()
        raise InvariantViolated("the ledger has two heads")

    monkeypatch.setattr(BlockLifecycle, "commit", broken)
    node = Node(settings(tmp_path))
    serving = asyncio.ensure_future(ended(node))
    ledger = await started(ledgers, node)
    await ledger.submit(ITEMS[0].canonical, Mode.ASYNC)
    terminate()
    await asyncio.sleep(0.1)
    gate.set()
    code, logs = await serving
    assert code == 1
    (line,) = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
    assert "the ledger has two heads" in line["event"]


async def test_a_full_disk_at_the_end_is_said_with_what_is_lost(
    tmp_path: Path, ledgers: list[Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StoreFull("no space left on the disk")

    monkeypatch.setattr(SqliteStore, "save_block", full)
    node = Node(settings(tmp_path))
    serving = asyncio.ensure_future(ended(node))
    ledger = await started(ledgers, node)
    await ledger.submit(ITEMS[0].canonical, Mode.ASYNC)
    terminate()
    code, logs = await serving
    assert code == 1
    (lost,) = [entry for entry in logs if entry["event"] == "transactions.lost"]
    assert lost["count"] == 1
    store = SqliteStore(settings(tmp_path).database_path)
    await store.open()
    head = await store.head()
    await store.close()
    assert head is not None
    assert head.height == 0


class Halted:
    """Stands in for a life cycle whose chain waits to go on as `ours-migrated-at-height-5`."""

    synced = False

    async def info(self) -> ChainInfo:
        return ChainInfo(5, "0" * 64, 1, ChainRecord("ours-migrated-at-height-5", 5, self.synced), ())


async def why_held(home: EngineHome, lifecycle: Halted) -> str | None:
    return await module._why_engine_is_held(lifecycle, home)  # type: ignore[arg-type]


async def test_elections_4_an_engine_is_held_until_its_genesis_file_is_whole_and_that_of_the_new_chain(
    tmp_path: Path,
) -> None:
    home = EngineHome(tmp_path)
    home.config_folder.mkdir()
    lifecycle = Halted()
    validators = (Validator(load_or_make_key(tmp_path).public, 1),)
    reason = await why_held(home, lifecycle)
    assert reason is not None
    assert "cannot read the genesis file" in reason
    whole = GenesisFile("ours-migrated-at-height-5", 1, validators, Genesis(ChainParameters())).to_text()
    home.genesis.write_text(whole[: len(whole) // 2])
    reason = await why_held(home, lifecycle)
    assert reason is not None
    assert "waits at block 5 to go on as `ours-migrated-at-height-5`" in reason
    assert "is no genesis file" in reason
    home.genesis.write_text(whole.replace("ours-migrated-at-height-5", "ours"))
    reason = await why_held(home, lifecycle)
    assert reason is not None
    assert reason.endswith("then it is started")
    home.genesis.write_text(whole)
    assert await why_held(home, lifecycle) is None
    home.genesis.unlink()
    lifecycle.synced = True
    assert await why_held(home, lifecycle) is None
