# SPDX-License-Identifier: AGPL-3.0-or-later
"""The settings themselves: what they show, what they ask of a new chain, and their generated reference."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.runtime.backends import check_runnable
from planetmint.runtime.settings import (
    LEDGER_FILE,
    ChainSettings,
    ConfigurationError,
    ConsensusSettings,
    ContractSettings,
    Settings,
    TarantoolSettings,
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
    assert settings.parameters() == ChainParameters(
        **numbers, contracts=ContractParameters(**contracts, zenroom="bound", scripts="on")
    )


def test_this_version_runs_solo_with_sqlite() -> None:
    check_runnable(Settings())


@pytest.mark.parametrize(
    "settings",
    [Settings(database=TarantoolSettings()), Settings(consensus=ConsensusSettings(engine="cometbft"))],
)
def test_other_backends_and_engines_are_refused_with_what_to_change(settings: Settings) -> None:
    with pytest.raises(
        ConfigurationError, match=r"PLANETMINT_CONSENSUS_ENGINE=solo and PLANETMINT_DATABASE_BACKEND=sqlite"
    ):
        check_runnable(settings)


@pytest.mark.parametrize("contracts", [ContractSettings(zenroom="bound"), ContractSettings(scripts="on")])
def test_contracts_are_refused_while_there_is_no_engine(contracts: ContractSettings) -> None:
    with pytest.raises(ConfigurationError, match="no contract engine"):
        check_runnable(Settings(chain=ChainSettings(contracts=contracts)))


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
