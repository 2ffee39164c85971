# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's home: keys, genesis file, settings, sign state; made once, kept, and never half written."""

import json
import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from planetmint.consensus.cometbft.genesis import Genesis
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import MAX_TOTAL_POWER, Validator
from planetmint.ports.consensus import Migrated
from planetmint.runtime import genesis_file
from planetmint.runtime.engine_config import LINES, Addresses, StateSync, read_config, write_config
from planetmint.runtime.engine_home import EngineHome, open_home
from planetmint.runtime.genesis_file import GenesisFile, format_time, parse_genesis, parse_time
from planetmint.runtime.settings import (
    ChainSettings,
    ConfigurationError,
    ConsensusSettings,
    DataSettings,
    Settings,
    TendermintSettings,
)

ADDRESSES = Addresses("unix:///srv/abci.sock", "tcp://127.0.0.1:1", "tcp://0.0.0.0:2")
PEER, OTHER = f"{'a1' * 20}@node.example.com:26656", f"{'b2' * 20}@[2001:db8::1]:26656"
KEYS = [sha256(bytes([number])).digest() for number in range(3)]
TIME = 1_767_225_600_123_000_000
GENESIS = GenesisFile("ours", TIME, (Validator(KEYS[0], 10), Validator(KEYS[1], 7)), Genesis(ChainParameters()))


@pytest.fixture
def home(tmp_path: Path) -> EngineHome:
    made = EngineHome(tmp_path / "cometbft")
    made.prepare(ADDRESSES)
    return made


def settings(folder: Path, **changes: object) -> Settings:
    return Settings(
        consensus=ConsensusSettings(engine="cometbft"),
        data=DataSettings(dir=str(folder)),
        chain=ChainSettings(id="our-chain", max_inputs=77),
        **changes,  # type: ignore[arg-type]
    )


def files(home: EngineHome) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.path.rglob("*") if path.is_file()}


# Keys and files


def test_a_home_may_be_made_again_and_stays_as_it_was(home: EngineHome) -> None:
    home.found("one", ChainParameters(), TIME)
    before = files(home)
    home.prepare(ADDRESSES)
    assert not home.found("two", ChainParameters(max_inputs=1), TIME + 1)
    assert files(home) == before


def test_secrets_are_for_the_owner_alone(home: EngineHome) -> None:
    for path in (home.node_key, home.validator_key, home.sign_state):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for path in (home.config_folder, home.data_folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_node_key_that_is_none_is_said(home: EngineHome) -> None:
    home.node_key.write_text('{"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": "AAAA"}}')
    with pytest.raises(ConfigurationError, match=r"node_key\.json holds no node key"):
        home.node_id()


def test_the_sign_state_of_a_validator_is_never_set_back(home: EngineHome) -> None:
    signed = '{"height": "42", "round": 0, "step": 3}'
    home.sign_state.write_text(signed)
    home.prepare(ADDRESSES)
    home.found("one", ChainParameters(), TIME)
    assert home.sign_state.read_text() == signed


# Genesis files


def test_a_genesis_file_is_read_as_it_was_written() -> None:
    origin = Migrated(42, "ab" * 32, "12345678")
    for genesis in (GENESIS, replace(GENESIS, app=Genesis(ChainParameters(max_inputs=3), origin))):
        read = parse_genesis(genesis.to_text().encode(), "here")
        assert read == genesis
        assert read.to_text() == genesis.to_text()


def test_storage_8_chain_settings_become_the_parameters_in_app_state(tmp_path: Path) -> None:
    home = open_home(settings(tmp_path), make=True)
    document = json.loads(home.genesis.read_text())
    assert document["chain_id"] == "our-chain"
    assert document["app_state"]["planetmint"]["parameters"]["max_inputs"] == 77
    (validator,) = document["validators"]
    assert validator["pub_key"] == json.loads(home.validator_key.read_text())["pub_key"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chain_id": "x" * 51}, "chain_id must have"),
        ({"chain_id": 7}, "chain_id must have"),
        ({"validators": []}, "at least one validator"),
        ({"validators": None}, "at least one validator"),
        ({"genesis_time": "yesterday"}, "no time in UTC"),
        ({"app_state": {"planetmint": {"parameters": {"max_inputs": 0}}}}, "max_inputs"),
        ({"app_state": {"planetmint": {"parameters": {"rules_version": 2}}}}, "rules version 2"),
        ({"app_state": {"planetmint": {"strange": 1}}}, "strange"),
    ],
)
def test_a_genesis_file_that_cannot_be_followed_is_refused_with_the_reason(
    change: dict[str, object], reason: str
) -> None:
    text = json.dumps({**json.loads(GENESIS.to_text()), **change}).encode()
    with pytest.raises(ConfigurationError, match=reason):
        parse_genesis(text, "here.json")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7", b"{}", b"\xff", b'{"chain_id": "x"}', b"[" * 100_000])
def test_what_is_no_genesis_file_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"here\.json is no genesis file"):
        parse_genesis(text, "here.json")


@pytest.mark.parametrize(
    "validators",
    [
        (Validator(KEYS[0], 1), Validator(KEYS[0], 2)),
        (Validator(KEYS[0], 0),),
        (Validator(KEYS[0], MAX_TOTAL_POWER), Validator(KEYS[1], 1)),
    ],
)
def test_validators_that_the_engine_would_not_take_are_refused(validators: tuple[Validator, ...]) -> None:
    with pytest.raises(ValueError, match=r"validator|powers"):
        genesis_file.check_validators(validators)


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (TIME, "2026-01-01T00:00:00.123Z"),
        (1_767_225_600_000_000_001, "2026-01-01T00:00:00.000000001Z"),
    ],
)
def test_times_are_written_as_the_engine_writes_them(time: int, text: str) -> None:
    assert format_time(time) == text
    assert parse_time(text) == time


def test_a_genesis_file_of_others_is_taken_byte_for_byte(home: EngineHome) -> None:
    document = {**json.loads(GENESIS.to_text()), "consensus_params": {"block": {"max_bytes": "7"}}}
    text = json.dumps(document).encode()
    assert home.install_genesis(text, "theirs.json")
    assert home.genesis.read_bytes() == text
    assert not home.install_genesis(text, "theirs.json")


def test_a_home_with_blocks_does_not_go_over_to_another_chain(home: EngineHome) -> None:
    home.found("one", ChainParameters(), TIME)
    assert home.install_genesis(GENESIS.to_text().encode(), "theirs.json"), "nothing was begun yet"
    (home.data_folder / "blockstore.db").mkdir()
    with pytest.raises(ConfigurationError, match="belongs to the chain `ours`"):
        home.install_genesis(replace(GENESIS, chain_id="two").to_text().encode(), "theirs.json")
    assert home.read_genesis() == GENESIS


# What start and init make of it


def test_a_home_that_awaits_its_genesis_founds_nothing(tmp_path: Path) -> None:
    home = open_home(settings(tmp_path), make=True, join=True)
    assert home.awaits_genesis
    with pytest.raises(ConfigurationError, match="planetmint network join"):
        open_home(settings(tmp_path), make=True)
    home.install_genesis(GENESIS.to_text().encode(), "theirs.json")
    assert open_home(settings(tmp_path), make=False).read_genesis() == GENESIS


def test_without_a_home_and_without_init_it_is_said_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="planetmint init"):
        open_home(settings(tmp_path), make=False)
    assert not (tmp_path / "cometbft").exists()


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    named = settings(tmp_path, tendermint=TendermintSettings(home=str(tmp_path / "file" / "home")))
    with pytest.raises(ConfigurationError, match=r"tendermint\.home"):
        open_home(named, make=True)


# Settings of the engine


def test_every_line_of_the_settings_stands_there_with_its_reason(home: EngineHome) -> None:
    text = home.config.read_text()
    for line in LINES:
        assert f"# {line.reason}\n{line.key} = " in text


def test_addresses_follow_the_node_and_what_an_operator_wrote_stays(home: EngineHome) -> None:
    write_config(home.config, {"mempool": {"size": 7}, "p2p": {"pex": False}, "rpc": {"unsafe": True}})
    home.prepare(replace(ADDRESSES, rpc="tcp://127.0.0.1:99", external="node.example.com:5"))
    values = read_config(home.config)
    assert values[""]["proxy_app"] == "unix:///srv/abci.sock"
    assert values["rpc"]["laddr"] == "tcp://127.0.0.1:99"
    assert values["p2p"]["external_address"] == "node.example.com:5"
    assert (values["mempool"]["size"], values["p2p"]["pex"], values["rpc"]["unsafe"]) == (7, False, True)
    assert not write_config(home.config)


def test_settings_of_an_engine_that_somebody_else_runs_are_made_once_and_left(tmp_path: Path) -> None:
    def made(port: int) -> EngineHome:
        consensus = ConsensusSettings(engine="cometbft", managed=False)
        engine = TendermintSettings(port=port)
        return open_home(
            Settings(consensus=consensus, tendermint=engine, data=DataSettings(dir=str(tmp_path))), make=True
        )

    before = read_config(made(1).config)
    assert before[""]["proxy_app"] == "tcp://127.0.0.1:26658"
    assert read_config(made(2).config) == before


def test_peers_are_added_kept_and_replaced_by_the_setting(home: EngineHome) -> None:
    home.add_peers((PEER,))
    home.add_peers((OTHER, PEER))
    assert read_config(home.config)["p2p"]["persistent_peers"] == f"{PEER},{OTHER}"
    home.prepare(ADDRESSES)
    assert read_config(home.config)["p2p"]["persistent_peers"] == f"{PEER},{OTHER}"
    home.prepare(replace(ADDRESSES, peers=OTHER))
    assert read_config(home.config)["p2p"]["persistent_peers"] == OTHER


@pytest.mark.parametrize("peer", ["", "node:1", f"{'a1' * 20}@node", f"{'A1' * 20}@node:1", f"{PEER},{OTHER}"])
def test_what_is_no_peer_is_refused(home: EngineHome, peer: str) -> None:
    with pytest.raises(ConfigurationError, match="ID@HOST:PORT"):
        home.add_peers((peer,))


def test_state_sync_is_turned_on_and_off(home: EngineHome) -> None:
    home.set_state_sync(StateSync(("a:1", "b:2"), 5, "ab" * 32))
    assert read_config(home.config)["statesync"] | {"discovery_time": ""} == {
        "enable": True,
        "rpc_servers": "a:1,b:2",
        "trust_height": 5,
        "trust_hash": "ab" * 32,
        "trust_period": "168h0m0s",
        "discovery_time": "",
    }
    home.set_state_sync(None)
    assert read_config(home.config)["statesync"]["enable"] is False


def test_settings_that_are_no_toml_are_refused_and_left_alone(home: EngineHome) -> None:
    home.config.write_text("laddr = ")
    with pytest.raises(ConfigurationError, match=r"config\.toml cannot be read"):
        home.prepare(ADDRESSES)
    assert home.config.read_text() == "laddr = "
