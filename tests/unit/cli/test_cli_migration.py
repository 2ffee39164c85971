# SPDX-License-Identifier: AGPL-3.0-or-later
"""`planetmint election migrate`: when it works, what it says, and for whom (elections 4)."""

import asyncio
import json
from pathlib import Path

import pytest

from planetmint.consensus.cometbft.genesis import Genesis
from planetmint.model.parameters import ChainParameters
from planetmint.ports.store import Store
from planetmint.runtime.engine_config import Addresses
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.genesis_file import GenesisFile
from planetmint.runtime.lock import data_folder
from planetmint.storage.sqlite import SqliteStore
from planetmint.testing.build import Builder, Dialect, validator_set
from tests.support.ledger import PUBLIC, START, running, standing
from tests.unit.cli.conftest import Planetmint

BUILD = Builder(Dialect.PLANETMINT_2)
POWERS = {"validator": 10}
NAME = "tests-migrated-at-height-1"
ADDRESSES = Addresses(
    abci="tcp://127.0.0.1:26658", rpc="tcp://127.0.0.1:26657", p2p="tcp://0.0.0.0:26656", external="", peers=None
)


@pytest.fixture
def data(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of a node beside an engine that it looks after."""
    monkeypatch.setenv("PLANETMINT_DATA_DIR", str(home / "data"))
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", "cometbft")
    monkeypatch.setenv("PLANETMINT_DATABASE_BACKEND", "sqlite")
    (home / "data").mkdir()
    return home / "data"


def engine_home(path: Path) -> EngineHome:
    """As an engine of the chain left it."""
    made = EngineHome(path)
    made.prepare(ADDRESSES)
    made._write_genesis(GenesisFile("tests", START, validator_set(POWERS), Genesis(ChainParameters())))
    (made.data_folder / "blockstore.db").mkdir()
    return made


def ledger(data: Path, *, decided: bool, begun: bool = False) -> str:
    """Make a ledger of two blocks, the second of which decides a migration; the app hash after it."""

    async def make(store: Store) -> str:
        election = BUILD.migration_election(POWERS)
        blocks = [[election], [BUILD.vote([election.spend(0)], amount=10)] if decided else []]
        async with running(store, make_blocks=False, validators=validator_set(POWERS)) as node:
            for height, items in enumerate(blocks, start=1):
                raws = [item.canonical for item in items]
                await node.lifecycle.finalize_block(height, START + height, PUBLIC, raws)
                await node.lifecycle.commit()
            if begun:
                await node.lifecycle.begin_chain(NAME, validator_set(POWERS))
            return (await standing(node)).app_hash

    return asyncio.run(make(SqliteStore(data / "ledger.db")))


def test_elections_4_the_engine_of_the_node_is_taken_over(planetmint: Planetmint, data: Path) -> None:
    app_hash = ledger(data, decided=True)
    home = engine_home(data / "cometbft")
    outcome = planetmint("election", "migrate")
    assert outcome.code == 0, outcome.err
    said = [
        f"The genesis file of the chain {NAME} is {home.genesis}.",
        f"It goes on after block 2 with app hash {app_hash}.",
        "Next: planetmint start",
    ]
    kept = f"The data of the chain tests is kept in {home.path}; remove it when nobody needs it."
    assert outcome.out.splitlines() == [kept, *said]
    assert json.loads(home.genesis.read_text())["chain_id"] == NAME
    assert planetmint("election", "migrate").out.splitlines() == said


def test_elections_4_an_engine_of_somebody_else_is_named(
    planetmint: Planetmint, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANETMINT_CONSENSUS_MANAGED", "false")
    ledger(data, decided=True)
    outcome = planetmint("election", "migrate")
    assert outcome.code == 1
    assert "name the engine's home by --home" in outcome.err
    home = engine_home(data.with_name("elsewhere"))
    outcome = planetmint("election", "migrate", "--home", str(home.path))
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "Next: planetmint start, and the engine with this home."
    assert json.loads(home.genesis.read_text())["chain_id"] == NAME


def test_what_is_not_decided_is_not_carried_out(planetmint: Planetmint, data: Path) -> None:
    ledger(data, decided=False)
    home = engine_home(data / "cometbft")
    before = home.genesis.read_bytes()
    outcome = planetmint("election", "migrate")
    assert outcome.code == 1
    assert "No chain migration is decided" in outcome.err
    assert home.genesis.read_bytes() == before


def test_a_chain_that_has_gone_on_is_left_alone(planetmint: Planetmint, data: Path) -> None:
    ledger(data, decided=True, begun=True)
    home = engine_home(data / "cometbft")
    before = home.genesis.read_bytes()
    outcome = planetmint("election", "migrate")
    assert outcome.code == 0
    assert outcome.out == f"The chain goes on as {NAME} already: there is nothing to do.\n"
    assert home.genesis.read_bytes() == before


def test_a_ledger_that_does_not_exist_or_holds_no_chain_is_said(planetmint: Planetmint, data: Path) -> None:
    engine_home(data / "cometbft")
    assert "There is no database" in planetmint("election", "migrate").err

    async def make() -> None:
        store = SqliteStore(data / "ledger.db")
        await store.open()
        await store.close()

    asyncio.run(make())
    outcome = planetmint("election", "migrate")
    assert outcome.code == 1
    assert "holds no chain yet" in outcome.err


def test_a_node_that_runs_is_to_be_stopped_first(planetmint: Planetmint, data: Path) -> None:
    ledger(data, decided=True)
    home = engine_home(data / "cometbft")
    with data_folder(data):
        outcome = planetmint("election", "migrate")
    assert outcome.code == 1
    assert "Stop it first" in outcome.err
    assert json.loads(home.genesis.read_text())["chain_id"] == "tests"


def test_a_node_that_makes_its_own_blocks_migrates_by_itself(
    planetmint: Planetmint, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", "solo")
    outcome = planetmint("election", "migrate")
    assert outcome.code == 1
    assert "migrates by itself" in outcome.err


def test_elections_5_show_prints_what_the_new_genesis_needs_until_the_chain_goes_on(
    planetmint: Planetmint, data: Path
) -> None:
    app_hash = ledger(data, decided=True)
    election = BUILD.migration_election(POWERS)
    outcome = planetmint("election", "show", election.id)
    status, chain_id, told_hash, *rest = outcome.out.splitlines()
    assert (status, chain_id, told_hash) == ("status=concluded", f"chain_id={NAME}", f"app_hash={app_hash}")
    name, _, value = "\n".join(rest).partition("=")
    assert name == "validators"
    key = validator_set(POWERS)[0].to_json()["public_key"]
    assert isinstance(key, dict)
    assert json.loads(value) == [
        {"pub_key": {"type": "tendermint/PubKeyEd25519", "value": key["value"]}, "power": 10}
    ]
    assert value == json.dumps(json.loads(value), indent=4)
