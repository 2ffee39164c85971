# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's home as the engine itself reads it (elections-and-operations 6, decision D9)."""

import base64
import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from planetmint.runtime import genesis_file
from planetmint.runtime.engine_config import LINES, Addresses
from planetmint.runtime.engine_home import EngineHome
from planetmint.runtime.services import COMETBFT_VERSIONS, engine_program
from planetmint.runtime.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> EngineHome:
    made = EngineHome(tmp_path / "cometbft")
    made.prepare(Addresses("unix:///srv/abci.sock", "tcp://127.0.0.1:1", "tcp://0.0.0.0:2"))
    return made


def engine(*arguments: str) -> str:
    """What the engine prints."""
    command = [engine_program(Settings()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_engine_that_is_built_is_of_a_version_that_the_node_names() -> None:
    assert engine("version") in COMETBFT_VERSIONS


def test_elections_6_node_id_and_validator_address_are_those_of_the_engine(home: EngineHome) -> None:
    key = json.loads(home.validator_key.read_text())
    assert engine("show-node-id", "--home", str(home.path)) == home.node_id()
    assert json.loads(engine("show-validator", "--home", str(home.path))) == key["pub_key"]
    assert key["address"] == genesis_file.validator_address(base64.b64decode(key["pub_key"]["value"]))


def test_every_line_of_the_settings_is_one_that_the_engine_knows(home: EngineHome) -> None:
    engine("init", "--home", str(home.path / "its-own"))
    theirs = tomllib.loads((home.path / "its-own" / "config" / "config.toml").read_text())
    for line in LINES:
        known = theirs[line.section] if line.section else theirs
        assert line.key in known, f"{line.section}.{line.key}"
        assert type(known[line.key]) is type(line.value), f"{line.section}.{line.key}"
