# SPDX-License-Identifier: AGPL-3.0-or-later
"""The settings themselves: what they show, what they ask of a new chain, and their generated reference."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.runtime.settings import (
    LEDGER_FILE,
    AbciSettings,
    ChainSettings,
    ConsensusSettings,
    ContractSettings,
    DataSettings,
    Settings,
    TarantoolSettings,
    TendermintSettings,
    default_data_folder,
)
from planetmint.runtime.settings_reference import reference
from planetmint.runtime.settings_schema import BACKENDS, SECTIONS, Setting, from_text, settings_of
from planetmint.storage.sqlite import FILE_NAME

ROOT = Path(__file__).parents[3]

EVERY_SETTING = [
    setting
    for name, section in [*SECTIONS.items(), *(("database", section) for section in BACKENDS.values())]
    for setting in settings_of(section, (name,))
]


def test_a_password_is_masked_where_the_configuration_is_shown() -> None:
    settings = Settings(database=TarantoolSettings(password="hunter2"))
    assert "hunter2" not in str(settings.to_public_json())
    assert settings.to_json()["database"]["password"] == "hunter2"  # type: ignore[index, call-overload]


def test_an_empty_password_is_shown_as_empty() -> None:
    assert Settings(database=TarantoolSettings()).to_public_json()["database"]["password"] == ""  # type: ignore[index, call-overload]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().server.bind = "x:1"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"HOME": "/home/ann"}, "linux", "/home/ann/.local/share/planetmint"),
        ({"HOME": "/home/ann", "XDG_DATA_HOME": "/data"}, "linux", "/data/planetmint"),
        ({"HOME": "/home/ann", "XDG_DATA_HOME": "relative"}, "linux", "/home/ann/.local/share/planetmint"),
        ({"HOME": "/Users/ann"}, "darwin", "/Users/ann/Library/Application Support/planetmint"),
    ],
)
def test_cli_3_4_data_dir_is_the_user_data_folder_of_the_platform(
    environ: dict[str, str], platform: str, folder: str
) -> None:
    assert default_data_folder(environ, platform) == folder


def test_the_database_file_has_the_name_that_the_store_gives_it() -> None:
    assert LEDGER_FILE == FILE_NAME


def test_cli_3_4_chain_settings_have_the_defaults_of_the_chain_parameters() -> None:
    assert ChainSettings().parameters() == ChainParameters()


def test_every_chain_parameter_can_be_set_when_a_chain_is_founded() -> None:
    # The rules version and the engine are facts of the program, not choices.
    wanted = {item.name for item in dataclasses.fields(ChainParameters)} - {"rules_version"}
    assert wanted == {item.name for item in msgspec.structs.fields(ChainSettings)} - {"id"}
    wanted = {item.name for item in dataclasses.fields(ContractParameters)} - {"engine"}
    assert wanted == {item.name for item in msgspec.structs.fields(ContractSettings)}


def test_chain_settings_reach_the_parameters_one_by_one() -> None:
    numbers = {
        item.name: 300 + index
        for index, item in enumerate(msgspec.structs.fields(ChainSettings))
        if item.name.startswith("max_")
    }
    contracts = {
        item.name: 500 + index
        for index, item in enumerate(msgspec.structs.fields(ContractSettings))
        if item.name.startswith("max_")
    }
    settings = ChainSettings(**numbers, contracts=ContractSettings(**contracts, zenroom="bound", scripts="on"))
    assert settings.parameters("zenroom 3.16.1") == ChainParameters(
        **numbers,
        contracts=ContractParameters(**contracts, zenroom="bound", scripts="on", engine="zenroom 3.16.1"),
    )


@pytest.mark.parametrize(
    ("asked", "engine", "parameters"),
    [
        (ContractSettings(), None, ContractParameters()),
        (ContractSettings(), "zenroom 3.16.1", ContractParameters("bound", "on", "zenroom 3.16.1")),
        (ContractSettings(zenroom="off"), "e 1", ContractParameters("off", "on", "e 1")),
        (ContractSettings(zenroom="published"), "e 1", ContractParameters("published", "on", "e 1")),
        (ContractSettings(scripts="off"), "e 1", ContractParameters("bound", "off", "e 1")),
        (ContractSettings(zenroom="off", scripts="off"), "e 1", ContractParameters()),
    ],
)
def test_storage_8_contracts_of_which_nothing_is_said_are_on_where_the_machine_has_an_engine(
    asked: ContractSettings, engine: str | None, parameters: ContractParameters
) -> None:
    assert ChainSettings(contracts=asked).parameters(engine).contracts == parameters


COMET = ConsensusSettings(engine="cometbft")


@pytest.mark.parametrize(
    ("host", "managed", "expected"),
    [
        ("localhost", None, True),
        ("127.0.0.3", None, True),
        ("::1", None, True),
        ("0.0.0.0", None, True),
        ("192.0.2.1", None, False),
        ("engine.example.com", None, False),
        ("localhost", False, False),
        ("engine.example.com", True, True),
    ],
)
def test_cli_3_4_children_are_managed_where_their_host_is_this_machine(
    host: str, managed: bool | None, expected: bool
) -> None:
    settings = Settings(
        consensus=ConsensusSettings(engine="cometbft", managed=managed),
        tendermint=TendermintSettings(host=host),
        database=TarantoolSettings(host=host, managed=managed),
    )
    assert settings.engine_managed is expected
    assert settings.database_managed is expected


def test_an_embedded_node_manages_nothing() -> None:
    settings = Settings(consensus=ConsensusSettings(managed=True))
    assert not settings.engine_managed
    assert not settings.database_managed
    assert settings.database_socket is None


def test_commands_keep_the_home_of_an_engine_that_somebody_else_runs_beside_the_node() -> None:
    outside = ConsensusSettings(engine="cometbft", managed=False)
    away = TendermintSettings(host="engine.example.com")
    shared = TendermintSettings(host="engine.example.com", home="/srv/shared")
    assert Settings(consensus=outside).engine_home_kept
    assert Settings(consensus=outside, tendermint=shared).engine_home_kept
    assert not Settings(consensus=outside, tendermint=away).engine_home_kept
    assert not Settings().engine_home_kept


def test_a_node_and_its_children_meet_at_sockets_in_the_data_folder() -> None:
    settings = Settings(consensus=COMET, database=TarantoolSettings(), data=DataSettings(dir="/srv/node"))
    assert settings.abci_url == "unix:///srv/node/abci.sock"
    assert settings.database_socket == Path("/srv/node/tarantool/tarantool.sock")
    assert settings.engine_home == Path("/srv/node/cometbft")


def test_a_folder_whose_name_is_too_long_for_sockets_means_ports() -> None:
    data = DataSettings(dir="/srv/" + "long" * 30)
    settings = Settings(consensus=COMET, database=TarantoolSettings(), data=data)
    assert settings.abci_url == "tcp://127.0.0.1:26658"
    assert settings.database_socket is None


def test_an_outside_engine_finds_the_node_at_its_port_or_at_the_socket_that_is_named() -> None:
    outside = ConsensusSettings(engine="cometbft", managed=False)
    assert Settings(consensus=outside, abci=AbciSettings(host="::1")).abci_url == "tcp://[::1]:26658"
    assert Settings(consensus=outside, abci=AbciSettings(socket="/run/abci")).abci_url == "unix:///run/abci"


@pytest.mark.parametrize("setting", EVERY_SETTING, ids=lambda setting: setting.name)
def test_every_setting_says_what_it_does(setting: Setting) -> None:
    assert setting.description.endswith(".")
    assert setting.form


def test_lists_are_split_at_colons() -> None:
    class Section(msgspec.Struct):
        names: list[str] = msgspec.field(default_factory=list)

    (setting,) = settings_of(Section, ("test",))
    assert from_text(setting, "a:b:c") == ["a", "b", "c"]


def test_docs_configuration_reference_is_up_to_date() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert text == reference(), "run: python -m planetmint.runtime.settings_reference > docs/configuration.md"


@pytest.mark.parametrize("setting", EVERY_SETTING, ids=lambda setting: setting.name)
def test_docs_every_setting_stands_in_the_reference(setting: Setting) -> None:
    assert f"| `{setting.name}` |" in (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
