# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where settings come from and which source wins: cli-and-config 3.1, 3.2 and 3.4."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from planetmint.runtime.settings import ConfigurationError, Settings, SqliteSettings, TarantoolSettings
from planetmint.runtime.settings_schema import BACKENDS, SECTIONS, Setting, settings_of
from planetmint.runtime.settings_sources import Configuration, load_settings

P25_FILE = {
    "CONFIGURED": True,
    "database": {
        "backend": "tarantool_db",
        "connect_now": True,
        "connection_timeout": 5000,
        "drop_config": {"absolute_path": "/usr/lib/planetmint/drop.lua"},
        "encoding": "utf-8",
        "host": "tarantool",
        "init_config": {"absolute_path": "/usr/lib/planetmint/init.lua"},
        "login": "guest",
        "max_tries": 3,
        "name": "universe",
        "password": "secret",
        "port": 3303,
        "reconnect_delay": 0.5,
        "service": "tarantoolctl connect",
    },
    "log": {
        "datefmt_console": "%Y-%m-%d %H:%M:%S",
        "datefmt_logfile": "%Y-%m-%d %H:%M:%S",
        "error_file": "/var/log/planetmint-errors.log",
        "file": "/var/log/planetmint.log",
        "fmt_console": "[%(levelname)s] %(message)s",
        "fmt_logfile": "[%(levelname)s] %(message)s",
        "granular_levels": {},
        "level_console": "INFO",
        "level_logfile": "info",
    },
    "server": {"bind": "0.0.0.0:9984", "loglevel": "info", "workers": None},
    "tendermint": {"host": "engine", "port": 26657, "version": "v0.34.24"},
    "wsserver": {
        "advertised_host": "node.example.com",
        "advertised_port": 443,
        "advertised_scheme": "wss",
        "host": "0.0.0.0",
        "port": 9985,
        "scheme": "ws",
    },
}
"""A file as `planetmint configure` of Planetmint 2.5 writes it."""

B22_FILE = {
    "server": {"bind": "localhost:9984", "loglevel": "info", "workers": None},
    "wsserver": {"scheme": "ws", "host": "localhost", "port": 9985, "advertised_host": "localhost"},
    "tendermint": {"host": "localhost", "port": 26657, "version": "v0.31.5"},
    "database": {"backend": "localmongodb", "host": "localhost", "port": 27017, "name": "bigchain", "ssl": False},
    "log": {"level_console": "info", "port": 9020},
}
"""A file of BigchainDB 2.2."""

Write = Callable[[object], str]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a home folder that holds nothing."""
    return {"HOME": str(tmp_path)}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file and tells its path."""

    def _write(document: object) -> str:
        path = tmp_path / "node.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    return _write


def refusal(environ: dict[str, str], config: str | None = None, log_level: str | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ, config=config, log_level=log_level)
    message = str(caught.value)
    assert "\n" not in message
    return message


def only_warning(loaded: Configuration) -> str:
    assert len(loaded.warnings) == 1, loaded.warnings
    return loaded.warnings[0]


# -- precedence


def test_cli_3_1_without_any_source_the_defaults_count(home: dict[str, str]) -> None:
    loaded = load_settings(home)
    assert loaded.settings.server.bind == "localhost:9984"
    assert loaded.settings.server.workers is None
    assert (loaded.settings.wsserver.host, loaded.settings.wsserver.port) == ("localhost", 9985)
    assert loaded.settings.wsserver.advertised_url == "ws://localhost:9985"
    assert (loaded.settings.tendermint.host, loaded.settings.tendermint.port) == ("localhost", 26657)
    assert isinstance(loaded.settings.database, SqliteSettings)
    assert loaded.settings.consensus.engine == "solo"
    assert (loaded.settings.abci.host, loaded.settings.abci.port) == ("127.0.0.1", 26658)
    assert loaded.settings.tendermint.p2p_port == 26656
    assert loaded.settings.log.file is None
    assert loaded.warnings == ()


def test_cli_3_1_a_missing_default_file_is_fine_and_said(home: dict[str, str]) -> None:
    loaded = load_settings(home)
    assert not loaded.found
    assert loaded.missing_file.startswith("Cannot find config file")
    assert f"{home['HOME']}/.planetmint" in loaded.missing_file


def test_cli_3_1_the_file_goes_before_the_defaults(home: dict[str, str], write: Write) -> None:
    loaded = load_settings(home, config=write({"server": {"bind": "127.0.0.1:1"}}))
    assert loaded.found
    assert loaded.settings.server.bind == "127.0.0.1:1"
    assert loaded.settings.wsserver.port == 9985


def test_cli_3_1_the_environment_goes_before_the_file(home: dict[str, str], write: Write) -> None:
    home["PLANETMINT_SERVER_BIND"] = "127.0.0.1:2"
    loaded = load_settings(home, config=write({"server": {"bind": "127.0.0.1:1"}}))
    assert loaded.settings.server.bind == "127.0.0.1:2"


def test_cli_3_1_the_flag_l_goes_before_the_environment(home: dict[str, str]) -> None:
    home |= {
        "PLANETMINT_LOG_LEVEL_CONSOLE": "error",
        "PLANETMINT_LOG_LEVEL_LOGFILE": "error",
        "PLANETMINT_SERVER_LOGLEVEL": "error",
    }
    settings = load_settings(home, log_level="Warning").settings
    assert settings.log.level_console == "warning"
    assert settings.log.level_logfile == "warning"
    assert settings.server.loglevel == "warning"


def test_cli_1_without_the_flag_l_environment_levels_stay_effective(home: dict[str, str]) -> None:
    home["PLANETMINT_LOG_LEVEL_CONSOLE"] = "DEBUG"
    settings = load_settings(home).settings
    assert settings.log.level_console == "debug"
    assert settings.log.level_logfile == "info"


@pytest.mark.parametrize("name", ["BENCHMARK", "benchmark", "Info"])
def test_cli_1_the_level_benchmark_is_info(home: dict[str, str], name: str) -> None:
    assert load_settings(home, log_level=name).settings.log.level_console == "info"
    home["PLANETMINT_SERVER_LOGLEVEL"] = name
    assert load_settings(home).settings.server.loglevel == "info"


def test_cli_1_an_unknown_level_is_refused(home: dict[str, str]) -> None:
    assert "LOUD" in refusal(home, log_level="LOUD")


# -- which file


def test_cli_3_1_the_variable_names_the_file(home: dict[str, str], write: Write) -> None:
    home["PLANETMINT_CONFIG_PATH"] = write({"wsserver": {"port": 7}})
    assert load_settings(home).settings.wsserver.port == 7


def test_cli_3_1_the_flag_c_goes_before_the_variable(home: dict[str, str], write: Write) -> None:
    home["PLANETMINT_CONFIG_PATH"] = "/nowhere/at/all"
    assert load_settings(home, config=write({"wsserver": {"port": 8}})).settings.wsserver.port == 8


def test_cli_3_1_the_default_file_is_in_the_home_folder(home: dict[str, str]) -> None:
    Path(home["HOME"], ".planetmint").write_text('{"wsserver": {"port": 9}}')
    assert load_settings(home).settings.wsserver.port == 9


def test_cli_3_1_a_missing_file_given_by_c_is_refused_with_a_way_out(home: dict[str, str]) -> None:
    message = refusal(home, config="/nowhere/node.json")
    assert "/nowhere/node.json" in message
    assert "configure" in message


@pytest.mark.parametrize("text", ["", "{", "[1]", '"text"', '{"server": NaN,}', "[" * 100_000])
def test_cli_3_1_bad_json_is_refused_and_the_file_named(home: dict[str, str], write: Write, text: str) -> None:
    path = write(text)
    assert refusal(home, config=path).startswith(f"Failed to parse the JSON configuration from `{path}`, ")


def test_cli_3_1_a_file_that_is_not_utf_8_is_refused(home: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "latin.json"
    path.write_bytes(b'{"server": "\xff"}')
    assert "UTF-8" in refusal(home, config=str(path))


def test_cli_3_1_a_folder_in_place_of_the_file_is_refused(home: dict[str, str], tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(home, config=str(tmp_path))


@pytest.mark.parametrize("document", [{"server": 1}, {"database": []}, {"chain": {"contracts": "off"}}])
def test_cli_3_1_a_section_that_is_no_object_is_refused(
    home: dict[str, str], write: Write, document: object
) -> None:
    assert "must be an object" in refusal(home, config=write(document))


# -- the environment


def test_cli_3_1_nested_keys_have_variables_too(home: dict[str, str]) -> None:
    home["PLANETMINT_CHAIN_CONTRACTS_MAX_BYTES"] = "99"
    assert load_settings(home).settings.chain.contracts.max_bytes == 99


def another_value(setting: Setting) -> str:
    """A value that the setting may have and that is not its default."""
    match setting.base.__name__:
        case "int":
            return str((setting.default or 2) - 1)  # type: ignore[operator]
        case "float":
            return str((setting.default or 2.0) / 2)  # type: ignore[operator]
        case "bool":
            return "True"
        case "dict":
            return "x=error"
    if setting.choices:
        return next(choice for choice in reversed(setting.choices) if choice != setting.default)
    of_a_form = {
        "server.bind": "localhost:1",
        "tendermint.external_address": "node.example.com:1",
        "tendermint.persistent_peers": f"{'a1' * 20}@[::1]:26656,{'b2' * 20}@node.example.com:1",
    }
    return of_a_form.get(setting.name, "another")


@pytest.mark.parametrize("peers", ["host:1", f"{'a1' * 20}@host", f"{'A1' * 20}@host:1", f"{'a1' * 20}@host:1;x"])
def test_what_is_no_peer_is_refused_with_the_form_that_peers_have(home: dict[str, str], peers: str) -> None:
    home["PLANETMINT_TENDERMINT_PERSISTENT_PEERS"] = peers
    assert "id@host:port" in refusal(home)


@pytest.mark.parametrize("section", SECTIONS)
def test_cli_3_1_every_setting_has_a_variable_that_is_read(home: dict[str, str], section: str) -> None:
    settings = settings_of(SECTIONS[section], (section,))
    environ = {setting.variable: another_value(setting) for setting in settings}
    loaded = load_settings(home | environ)
    assert loaded.warnings == ()
    for setting in settings:
        shown: object = loaded.settings
        for key in setting.path:
            shown = getattr(shown, key)
        expected = {"{'x': 'error'}": "x=error"}.get(str(shown), str(shown))
        assert expected == environ[setting.variable], setting.name


def test_cli_3_1_optional_keys_that_no_file_has_are_honoured(home: dict[str, str]) -> None:
    home["PLANETMINT_SERVER_THREADS"] = "4"
    assert load_settings(home).settings.server.threads == 4


def test_cli_3_1_a_number_in_place_of_null_is_an_int(home: dict[str, str]) -> None:
    home["PLANETMINT_SERVER_WORKERS"] = "1"
    assert load_settings(home).settings.server.workers == 1


@pytest.mark.parametrize("text", ["null", "", " NULL "])
def test_cli_3_1_null_can_be_said_where_a_setting_has_it(home: dict[str, str], write: Write, text: str) -> None:
    home["PLANETMINT_LOG_FILE"] = text
    assert load_settings(home, config=write({"log": {"file": "x.log"}})).settings.log.file is None


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("Yes", True),
        ("on", True),
        ("1", True),
        ("false", False),
        ("NO", False),
        ("off", False),
        ("0", False),
    ],
)
def test_cli_3_1_true_and_false_words(home: dict[str, str], word: str, value: bool) -> None:
    home["PLANETMINT_CONSENSUS_MANAGED"] = word
    assert load_settings(home).settings.consensus.managed is value


@pytest.mark.parametrize(
    ("variable", "text", "wanted"),
    [
        ("PLANETMINT_CONSENSUS_MANAGED", "maybe", "true or false"),
        ("PLANETMINT_WSSERVER_PORT", "many", "a whole number from 0 to 65535"),
        ("PLANETMINT_WSSERVER_PORT", "70000", "a whole number from 0 to 65535"),
        ("PLANETMINT_WSSERVER_PING_INTERVAL", "soon", "a number above 0"),
        ("PLANETMINT_WSSERVER_PING_INTERVAL", "nan", "a number above 0"),
        ("PLANETMINT_WSSERVER_PING_INTERVAL", "inf", "a number above 0"),
        ("PLANETMINT_SERVER_WORKERS", "1.5", "a whole number"),
        ("PLANETMINT_SERVER_BIND", "localhost", "`host:port`"),
        ("PLANETMINT_SERVER_LOGLEVEL", "loud", "one of debug"),
        ("PLANETMINT_CONSENSUS_ENGINE", "raft", "solo or cometbft"),
        ("PLANETMINT_LOG_GRANULAR_LEVELS", "planetmint", "names with"),
        ("PLANETMINT_CHAIN_ID", "two words", "letters"),
        ("PLANETMINT_DATABASE_BACKEND", "localmongodb", "sqlite or tarantool_db"),
    ],
)
def test_cli_3_1_what_cannot_be_cast_is_refused_naming_the_variable(
    home: dict[str, str], variable: str, text: str, wanted: str
) -> None:
    message = refusal(home | {variable: text})
    assert variable in message
    assert wanted in message
    assert text in message


def test_cli_3_1_an_unfit_value_of_the_file_is_refused_naming_key_and_file(
    home: dict[str, str], write: Write
) -> None:
    path = write({"wsserver": {"port": "many"}})
    message = refusal(home, config=path)
    assert message.startswith(f"wsserver.port in `{path}` must be a whole number from 0 to 65535")


def test_cli_3_1_numbers_written_as_text_are_taken_from_the_file(home: dict[str, str], write: Write) -> None:
    assert load_settings(home, config=write({"wsserver": {"port": "9999"}})).settings.wsserver.port == 9999


def test_cli_3_1_lists_are_split_at_colons(home: dict[str, str]) -> None:
    home["PLANETMINT_LOG_GRANULAR_LEVELS"] = "planetmint.http=DEBUG:uvicorn=error"
    levels = load_settings(home).settings.log.granular_levels
    assert levels == {"planetmint.http": "debug", "uvicorn": "error"}


@pytest.mark.parametrize(
    "variable", ["PLANETMINT_DATA_DIR", "PLANETMINT_WSSERVER_PORT", "PLANETMINT_WSSERVER_HOST"]
)
def test_an_empty_variable_is_refused_where_there_is_no_null(home: dict[str, str], variable: str) -> None:
    assert refusal(home | {variable: ""}).endswith(", not empty.")


def test_an_unfit_password_is_not_shown(home: dict[str, str], write: Write) -> None:
    path = write({"database": {"backend": "tarantool_db", "password": ["hunter2"]}})
    assert "hunter2" not in refusal(home, config=path)


# -- unknown things


def test_cli_3_1_unknown_keys_of_the_file_are_warned_about(home: dict[str, str], write: Write) -> None:
    loaded = load_settings(home, config=write({"server": {"bnid": "x:1", "timeout": 30}}))
    warning = only_warning(loaded)
    assert "`bnid` (did you mean `bind`?)" in warning
    assert "`timeout`" in warning


def test_cli_3_1_unknown_nested_keys_are_warned_about(home: dict[str, str], write: Write) -> None:
    loaded = load_settings(home, config=write({"chain": {"contracts": {"zenrom": "off"}}}))
    assert "`contracts.zenrom` (did you mean `contracts.zenroom`?)" in only_warning(loaded)


def test_cli_3_1_unknown_sections_are_warned_about(home: dict[str, str], write: Write) -> None:
    loaded = load_settings(home, config=write({"sever": {}, "CONFIGURED": True}))
    assert "`sever` (did you mean `server`?)" in only_warning(loaded)


def test_cli_3_1_variables_that_look_like_settings_are_warned_about(home: dict[str, str]) -> None:
    loaded = load_settings(home | {"PLANETMINT_SERVER_BNID": "x", "PLANETMINT_SERVICE_HOST": "10.0.0.1"})
    assert only_warning(loaded).startswith("PLANETMINT_SERVER_BNID (did you mean `PLANETMINT_SERVER_BIND`?)")


def test_cli_3_2_a_validation_plugin_is_warned_about(home: dict[str, str], write: Write) -> None:
    assert "validation_plugin" in only_warning(load_settings(home, config=write({"validation_plugin": "mine"})))


def test_variables_of_bigchaindb_are_pointed_out(home: dict[str, str]) -> None:
    assert "PLANETMINT_" in only_warning(load_settings(home | {"BIGCHAINDB_SERVER_BIND": "x:1"}))


# -- backends and engines


def test_cli_3_1_the_variable_of_the_backend_chooses_the_section(home: dict[str, str]) -> None:
    home |= {"PLANETMINT_DATABASE_BACKEND": "tarantool_db", "PLANETMINT_DATABASE_HOST": "db"}
    loaded = load_settings(home)
    assert loaded.settings.database == TarantoolSettings(host="db")
    assert loaded.warnings == ()


def test_a_variable_of_another_backend_is_warned_about(home: dict[str, str]) -> None:
    assert "PLANETMINT_DATABASE_HOST has no effect" in only_warning(
        load_settings(home | {"PLANETMINT_DATABASE_HOST": "db"})
    )


def test_cli_3_4_a_tarantool_section_of_the_old_servers_means_cometbft(home: dict[str, str], write: Write) -> None:
    assert load_settings(home, config=write(P25_FILE)).settings.consensus.engine == "cometbft"


def test_cli_3_4_an_engine_that_is_set_stays_beside_tarantool(home: dict[str, str], write: Write) -> None:
    path = write({"database": {"backend": "tarantool_db"}, "consensus": {"engine": "solo"}})
    assert load_settings(home, config=path).settings.consensus.engine == "solo"


def test_a_database_section_with_a_host_and_no_backend_is_tarantool(home: dict[str, str], write: Write) -> None:
    database = load_settings(home, config=write({"database": {"host": "db"}})).settings.database
    assert database == TarantoolSettings(host="db")


def test_a_section_for_another_backend_than_the_variable_asks_for_is_ignored_with_a_warning(
    home: dict[str, str], write: Write
) -> None:
    home["PLANETMINT_DATABASE_BACKEND"] = "sqlite"
    loaded = load_settings(home, config=write({"database": {"backend": "tarantool_db", "host": "db"}}))
    assert loaded.settings.database == SqliteSettings()
    assert loaded.settings.consensus.engine == "solo"
    assert "ignored" in only_warning(loaded)


def test_an_unknown_backend_in_the_file_is_refused(home: dict[str, str], write: Write) -> None:
    assert "sqlite or tarantool_db" in refusal(home, config=write({"database": {"backend": "oracle"}}))


# -- files of the old servers


def test_cli_3_2_a_file_of_planetmint_2_5_is_read_unchanged(home: dict[str, str], write: Write) -> None:
    loaded = load_settings(home, config=write(P25_FILE))
    settings = loaded.settings
    assert settings.server.bind == "0.0.0.0:9984"
    assert settings.wsserver.advertised_url == "wss://node.example.com:443"
    assert settings.tendermint.host == "engine"
    assert settings.database == TarantoolSettings(host="tarantool", password="secret")
    assert settings.log.file == "/var/log/planetmint.log"
    assert settings.log.level_console == "info"
    warning = only_warning(loaded)
    for key in ("connect_now", "encoding", "service", "init_config", "drop_config"):
        assert key in warning


def test_cli_3_2_a_file_of_bigchaindb_is_read_without_its_database(home: dict[str, str], write: Write) -> None:
    loaded = load_settings(home, config=write(B22_FILE))
    assert isinstance(loaded.settings.database, SqliteSettings)
    assert loaded.settings.consensus.engine == "solo"
    assert loaded.settings.tendermint.version == "v0.31.5"
    assert any("MongoDB" in warning for warning in loaded.warnings)
    assert any("`port`" in warning for warning in loaded.warnings)


# -- more than one field


@pytest.mark.parametrize("section", ["server", "wsserver"])
def test_a_certificate_without_its_key_is_refused(home: dict[str, str], section: str) -> None:
    message = refusal(home | {f"PLANETMINT_{section.upper()}_CERTFILE": "c.pem"})
    assert f"{section}.keyfile" in message


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("localhost:9984", ("localhost", 9984)),
        ("0.0.0.0:9984", ("0.0.0.0", 9984)),
        ("[::]:9984", ("::", 9984)),
        (":0", ("", 0)),
    ],
)
def test_cli_3_2_forms_of_server_bind(home: dict[str, str], bind: str, address: tuple[str, int]) -> None:
    assert load_settings(home | {"PLANETMINT_SERVER_BIND": bind}).settings.server.address == address


@pytest.mark.parametrize("bind", ["::1:9984", "localhost:99999", "localhost:port", "http://localhost:9984", " :1"])
def test_cli_3_2_other_forms_of_server_bind_are_refused(home: dict[str, str], bind: str) -> None:
    assert "bind" in refusal(home | {"PLANETMINT_SERVER_BIND": bind}).lower()


def test_cli_3_4_data_dir_is_its_variable_and_holds_the_database(home: dict[str, str]) -> None:
    settings = load_settings(home | {"PLANETMINT_DATA_DIR": "/srv/node"}).settings
    assert settings.data.path == Path("/srv/node")
    assert settings.database_path == Path("/srv/node/ledger.db")


def test_database_path_may_stand_elsewhere(home: dict[str, str]) -> None:
    settings = load_settings(home | {"PLANETMINT_DATABASE_PATH": "/fast/ledger"}).settings
    assert settings.database_path == Path("/fast/ledger")


def test_every_backend_has_a_section_of_settings() -> None:
    assert set(BACKENDS) == {"sqlite", "tarantool_db"}
    assert isinstance(Settings().database, tuple(BACKENDS.values()))
