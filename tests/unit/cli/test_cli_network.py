# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands `network show|found|join` and what `init` makes beside an engine (elections-and-operations 7)."""

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest

from planetmint.runtime.engine_config import read_config

KEYS = [base64.b64encode(sha256(bytes([number])).digest()).decode() for number in range(4)]
PEER = f"{'a1' * 20}@node1.example.com:26656"
HASH = "AB" * 32


@pytest.fixture(autouse=True)
def beside_an_engine(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", "cometbft")
    monkeypatch.setenv("PLANETMINT_DATA_DIR", str(home / "data"))


@pytest.fixture
def config(home: Path) -> Path:
    return home / "data" / "cometbft" / "config"


@pytest.fixture
def genesis(planetmint, home: Path) -> Path:
    path = home / "genesis.json"
    flags = [flag for key in KEYS for flag in ("--validator", key)]
    assert planetmint("network", "found", *flags, "--chain-id", "ours", "-o", str(path)).code == 0
    return path


def refused(outcome) -> str:
    assert outcome.code == 1, outcome
    assert "Traceback" not in outcome.err
    return str(outcome.err.splitlines()[-1])


def test_init_makes_a_home_with_a_chain_of_one_validator_and_may_be_repeated(planetmint, config: Path) -> None:
    first = planetmint("init")
    document = json.loads((config / "genesis.json").read_text())
    second = planetmint("init")
    assert (first.code, second.code) == (0, 0)
    assert json.loads((config / "genesis.json").read_text()) == document
    assert document["chain_id"] in second.out
    assert len(document["validators"]) == 1


def test_init_takes_a_genesis_file(planetmint, config: Path, genesis: Path) -> None:
    assert planetmint("init", "--genesis", str(genesis)).code == 0
    assert (config / "genesis.json").read_bytes() == genesis.read_bytes()


def test_init_to_join_founds_nothing(planetmint, config: Path) -> None:
    outcome = planetmint("init", "--join")
    assert outcome.code == 0
    assert "network join" in outcome.out
    assert not (config / "genesis.json").exists()


@pytest.mark.parametrize("flags", [("init", "--join"), ("network", "show"), ("network", "join", "--peer", PEER)])
def test_an_embedded_node_is_told_what_to_set(planetmint, monkeypatch, flags: tuple[str, ...]) -> None:
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", "solo")
    assert "PLANETMINT_CONSENSUS_ENGINE" in refused(planetmint(*flags))


def test_show_prints_what_the_others_need(planetmint, monkeypatch, config: Path) -> None:
    assert "planetmint init" in refused(planetmint("network", "show"))
    planetmint("init")
    monkeypatch.setenv("PLANETMINT_TENDERMINT_EXTERNAL_ADDRESS", "node1.example.com:26656")
    shown = json.loads(planetmint("network", "show").out)
    key = json.loads((config / "priv_validator_key.json").read_text())
    assert shown["validator"] == key["pub_key"]["value"]
    assert shown["validator_address"] == key["address"]
    assert shown["p2p_address"] == f"{shown['node_id']}@node1.example.com:26656"
    assert shown["chain_id"] == json.loads((config / "genesis.json").read_text())["chain_id"]
    assert key["priv_key"]["value"] not in json.dumps(shown)


def test_found_prints_a_genesis_file_with_keys_powers_and_parameters(planetmint, monkeypatch) -> None:
    monkeypatch.setenv("PLANETMINT_CHAIN_MAX_INPUTS", "55")
    flags = ("--validator", KEYS[0], "--validator", f"{KEYS[1]}:20", "--chain-id", "ours")
    document = json.loads(planetmint("network", "found", *flags).out)
    assert document["chain_id"] == "ours"
    assert [(one["pub_key"]["value"], one["power"]) for one in document["validators"]] == [
        (KEYS[0], "10"),
        (KEYS[1], "20"),
    ]
    assert document["app_state"]["planetmint"]["parameters"]["max_inputs"] == 55


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--validator", "AAAA"),
        ("--validator", f"{KEYS[0]}:0"),
        ("--validator", f"{KEYS[0]}:-1"),
        ("--validator", f"{KEYS[0]}:x"),
        ("--validator", KEYS[0], "--validator", KEYS[0]),
        ("--validator", KEYS[0], "--chain-id", "x" * 51),
        ("--validator", KEYS[0], "--chain-id", "../up"),
    ],
)
def test_found_refuses_what_makes_no_chain_with_exit_2(planetmint, flags: tuple[str, ...]) -> None:
    outcome = planetmint("network", "found", *flags)
    assert outcome.code == 2
    assert outcome.out == ""


def test_join_takes_genesis_peers_and_state_sync_and_may_be_repeated(
    planetmint, config: Path, genesis: Path
) -> None:
    flags = ("--genesis", str(genesis), "--peer", PEER)
    sync = ("--state-sync", "a.example:1", "--trust-height", "5", "--trust-hash", HASH)
    for _ in range(2):
        outcome = planetmint("network", "join", *flags, *sync)
        assert outcome.code == 0
        assert "ours" in outcome.out
    assert (config / "genesis.json").read_bytes() == genesis.read_bytes()
    values = read_config(config / "config.toml")
    assert values["p2p"]["persistent_peers"] == PEER
    assert values["statesync"]["enable"] is True
    assert values["statesync"]["rpc_servers"] == "a.example:1,a.example:1"
    assert (values["statesync"]["trust_height"], values["statesync"]["trust_hash"]) == (5, HASH)


def test_join_needs_a_genesis_file_once(planetmint, genesis: Path) -> None:
    assert "--genesis" in refused(planetmint("network", "join", "--peer", PEER))
    assert planetmint("network", "join", "--genesis", str(genesis)).code == 0
    assert planetmint("network", "join", "--peer", PEER).code == 0


def test_join_leaves_a_home_with_blocks_of_another_chain_alone(planetmint, config: Path, genesis: Path) -> None:
    planetmint("init")
    before = (config / "genesis.json").read_bytes()
    (config.parent / "data" / "blockstore.db").mkdir()
    assert "belongs to the chain" in refused(planetmint("network", "join", "--genesis", str(genesis)))
    assert (config / "genesis.json").read_bytes() == before


@pytest.mark.parametrize(
    "flags",
    [
        ("--state-sync", "a:1"),
        ("--state-sync", "a:1", "--trust-height", "5"),
        ("--trust-hash", HASH),
        ("--state-sync", "a:1", "--trust-height", "0", "--trust-hash", HASH),
        ("--state-sync", "a:1", "--trust-height", "5", "--trust-hash", "xyz"),
        ("--state-sync", ",", "--trust-height", "5", "--trust-hash", HASH),
    ],
)
def test_flags_of_state_sync_go_together(planetmint, genesis: Path, flags: tuple[str, ...]) -> None:
    assert planetmint("network", "join", "--genesis", str(genesis), *flags).code == 2


@pytest.mark.parametrize(("name", "text"), [("nothing.json", None), ("broken.json", "{")])
def test_join_says_in_one_line_what_is_wrong_with_a_file(
    planetmint, home: Path, name: str, text: str | None
) -> None:
    if text is not None:
        (home / name).write_text(text)
    assert name in refused(planetmint("network", "join", "--genesis", str(home / name)))


def test_join_refuses_what_is_no_peer(planetmint, genesis: Path) -> None:
    assert "ID@HOST:PORT" in refused(
        planetmint("network", "join", "--genesis", str(genesis), "--peer", "node1:26656")
    )
