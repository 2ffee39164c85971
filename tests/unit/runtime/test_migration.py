# SPDX-License-Identifier: AGPL-3.0-or-later
"""An engine's home taken over to a migrated chain: what is written, what an interruption leaves (elections 4)."""

import base64
import fcntl
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from planetmint.chain import found_chain
from planetmint.consensus.cometbft.genesis import Genesis
from planetmint.model.block import BlockHeader
from planetmint.model.election import ChainRecord
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator
from planetmint.runtime import engine_home, migration
from planetmint.runtime.engine_config import Addresses, write_config
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.genesis_file import GenesisFile
from planetmint.runtime.migration import Standing, take_over
from planetmint.runtime.settings import ConfigurationError

OLD, NEW = "organisations", "organisations-migrated-at-height-41"
VALIDATORS = tuple(Validator(sha256(bytes([number])).digest(), 10 + number) for number in range(4))
GENESIS_TIME = 1_700_000_000_000_000_000
HEAD_TIME = 1_700_000_123_456_789_123
PARAMETERS = ChainParameters(max_inputs=500)
ADDRESSES = Addresses(
    abci="tcp://127.0.0.1:26658", rpc="tcp://127.0.0.1:26657", p2p="tcp://0.0.0.0:26656", external="", peers=None
)
STANDING = Standing(
    found_chain(OLD, PARAMETERS, VALIDATORS[:2], GENESIS_TIME),
    BlockHeader(42, HEAD_TIME, "0" * 64, "1" * 64, "ab" * 32, "2" * 40),
    ChainRecord(NEW, shift=42, synced=False),
    VALIDATORS,
)


@pytest.fixture
def home(tmp_path: Path) -> EngineHome:
    """As an engine of the old chain left it."""
    made = EngineHome(tmp_path / "cometbft")
    made.prepare(ADDRESSES)
    made._write_genesis(GenesisFile(OLD, GENESIS_TIME, VALIDATORS[:2], Genesis(PARAMETERS)))
    document = json.loads(made.genesis.read_text())
    document["consensus_params"]["block"]["max_bytes"] = "1234567"
    made.genesis.write_text(json.dumps(document))
    made.sign_state.write_text('{"height": "42", "round": 0, "step": 3}')
    (made.data_folder / "blockstore.db").mkdir()
    (made.data_folder / "blockstore.db" / "CURRENT").write_text("blocks of the old chain")
    (made.config_folder / "addrbook.json").write_text("{}")
    return made


def contents(home: EngineHome) -> dict[str, bytes]:
    """Every file below the home, by its place there."""
    files = [path for path in home.path.rglob("*") if path.is_file()]
    return {str(path.relative_to(home.path)): path.read_bytes() for path in files}


def test_elections_4_the_new_genesis_says_what_every_validator_knows_by_itself(home: EngineHome) -> None:
    assert take_over(home, STANDING) == OLD
    document: dict[str, Any] = json.loads(home.genesis.read_text())
    assert document["chain_id"] == NEW
    assert document["genesis_time"] == "2023-11-14T22:15:23.457789123Z"
    assert document["app_hash"] == "AB" * 32
    assert document["consensus_params"]["block"]["max_bytes"] == "1234567"
    assert document["validators"][1] == {
        "address": sha256(VALIDATORS[1].public_key).hexdigest()[:40].upper(),
        "pub_key": {
            "type": "tendermint/PubKeyEd25519",
            "value": base64.b64encode(VALIDATORS[1].public_key).decode(),
        },
        "power": "11",
        "name": "",
    }
    assert [item["power"] for item in document["validators"]] == ["10", "11", "12", "13"]
    section = document["app_state"]["planetmint"]
    assert section["parameters"] == PARAMETERS.to_json()
    assert section["migrated_from"] == {
        "app_hash": "ab" * 32,
        "height": 42,
        "label": STANDING.founding.label,
    }


def test_elections_4_keys_and_peers_stay_and_the_old_data_is_put_aside(home: EngineHome) -> None:
    before = contents(home)
    take_over(home, STANDING)
    after = contents(home)
    for name in ("config/priv_validator_key.json", "config/node_key.json", "config/addrbook.json"):
        assert after[name] == before[name]
    assert after[f"data-{OLD}/blockstore.db/CURRENT"] == b"blocks of the old chain"
    assert after[f"data-{OLD}/priv_validator_state.json"] == before["data/priv_validator_state.json"]
    assert json.loads(after["data/priv_validator_state.json"]) == {"height": "0", "round": 0, "step": 0}
    assert [name for name in after if name.startswith("data/")] == ["data/priv_validator_state.json"]


def test_taking_over_may_be_repeated(home: EngineHome) -> None:
    take_over(home, STANDING)
    once = contents(home)
    assert take_over(home, STANDING) == NEW
    assert contents(home) == once


class Interrupted(Exception):
    """As if the machine had lost its power."""


STEPS = ("rename", "mkdir", "rmtree", "sync_folder", "write_whole", "write_config")


def interrupt(patch: pytest.MonkeyPatch, step: int, *, after: bool) -> list[str]:
    """Let the step of this number fail, before or after it was made; the answer fills with the steps made."""
    made: list[str] = []

    def guarded(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **named: object) -> object:
            if len(made) == step and not after:
                raise Interrupted
            answer = real(*arguments, **named)
            made.append(name)
            if len(made) == step + 1 and after:
                raise Interrupted
            return answer

        return run

    patch.setattr(Path, "rename", guarded("rename", Path.rename))
    patch.setattr(Path, "mkdir", guarded("mkdir", Path.mkdir))
    patch.setattr(shutil, "rmtree", guarded("rmtree", shutil.rmtree))
    patch.setattr(engine_home, "sync_folder", guarded("sync_folder", engine_home.sync_folder))
    patch.setattr(engine_home, "write_whole", guarded("write_whole", engine_home.write_whole))
    patch.setattr(engine_home, "write_config", guarded("write_config", engine_home.write_config))
    return made


def test_elections_4_a_migration_that_is_interrupted_at_each_step_is_carried_on(home: EngineHome) -> None:
    untouched = home.path.with_name("untouched")
    shutil.copytree(home.path, untouched)
    with pytest.MonkeyPatch.context() as patch:
        steps = interrupt(patch, 10**6, after=False)
        take_over(home, STANDING)
    whole = contents(home)
    assert {"rename", "mkdir", "sync_folder", "write_whole", "write_config"} <= set(steps)
    for step in range(len(steps)):
        for after in (False, True):
            shutil.rmtree(home.path)
            shutil.copytree(untouched, home.path)
            with pytest.MonkeyPatch.context() as patch:
                interrupt(patch, step, after=after)
                with pytest.raises(Interrupted):
                    take_over(home, STANDING)
            take_over(home, STANDING)
            assert contents(home) == whole, f"step {step} ({steps[step]}), interrupted after it: {after}"


def test_an_old_engine_that_was_started_in_between_leaves_nothing_in_the_new_home(home: EngineHome) -> None:
    whole = EngineHome(home.path.with_name("whole"))
    shutil.copytree(home.path, whole.path)
    take_over(whole, STANDING)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 3, after=True)
        with pytest.raises(Interrupted):
            take_over(home, STANDING)
    (home.data_folder / "state.db").mkdir(parents=True)
    (home.data_folder / "state.db" / "CURRENT").write_text("the old genesis again")
    take_over(home, STANDING)
    assert contents(home) == contents(whole)


def test_a_home_of_another_chain_is_left_alone(home: EngineHome) -> None:
    home.genesis.write_text(home.genesis.read_text().replace(OLD, "strangers"))
    before = contents(home)
    with pytest.raises(ConfigurationError, match="belongs to the chain `strangers`"):
        take_over(home, STANDING)
    assert contents(home) == before


def test_a_home_without_a_genesis_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no genesis file of the old chain"):
        take_over(EngineHome(tmp_path), STANDING)


@pytest.mark.parametrize("name", migration._LOCKED)
def test_an_engine_that_works_in_the_home_keeps_it(home: EngineHome, name: str) -> None:
    (home.data_folder / name).mkdir(exist_ok=True)
    with (home.data_folder / name / "LOCK").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = contents(home)
        with pytest.raises(ConfigurationError, match="stop it first"):
            take_over(home, STANDING)
        assert contents(home) == before
    take_over(home, STANDING)


def test_state_sync_is_off_for_the_new_chain(home: EngineHome) -> None:
    write_config(home.config, {"statesync": {"enable": True}})
    take_over(home, STANDING)
    assert "enable = false" in home.config.read_text()
