# SPDX-License-Identifier: AGPL-3.0-or-later
"""`show-config`, `init`, `drop`, `migrate`, `tendermint-version` and the refusals of `start`: cli-and-config 2."""

import json
import sqlite3
from pathlib import Path

import pytest

from planetmint.runtime.lock import data_folder


@pytest.fixture
def ledger(home: Path) -> Path:
    """Where the database file of the defaults is."""
    return home / ".local" / "share" / "planetmint" / "ledger.db"


# -- show-config


def test_cli_2_show_config_prints_sorted_json_with_indent_4_without_the_mark(planetmint, home: Path) -> None:
    (home / ".planetmint").write_text('{"CONFIGURED": true, "wsserver": {"port": 4}}')
    outcome = planetmint("show-config")
    shown = json.loads(outcome.out)
    assert outcome.code == 0
    assert outcome.out == json.dumps(shown, indent=4, sort_keys=True) + "\n"
    assert "CONFIGURED" not in shown
    assert shown["wsserver"]["port"] == 4


def test_cli_2_show_config_shows_flags_and_environment(planetmint, monkeypatch) -> None:
    monkeypatch.setenv("PLANETMINT_SERVER_WORKERS", "3")
    shown = json.loads(planetmint("-l", "error", "show-config").out)
    assert shown["server"]["workers"] == 3
    assert shown["server"]["loglevel"] == "error"


def test_show_config_masks_the_password(planetmint, home: Path) -> None:
    (home / ".planetmint").write_text('{"database": {"backend": "tarantool_db", "password": "hunter2"}}')
    outcome = planetmint("show-config")
    assert "hunter2" not in outcome.out + outcome.err
    assert json.loads(outcome.out)["database"]["password"] == "********"


def test_cli_3_1_warnings_and_the_missing_file_are_said_on_stderr(planetmint, home: Path, monkeypatch) -> None:
    monkeypatch.setenv("PLANETMINT_SERVER_BNID", "x")
    outcome = planetmint("show-config")
    json.loads(outcome.out)
    assert f"Cannot find config file `{home}/.planetmint`" in outcome.err
    assert "Warning: PLANETMINT_SERVER_BNID" in outcome.err


# -- init


def test_cli_2_init_makes_the_database_and_may_be_repeated(planetmint, ledger: Path) -> None:
    for _ in range(2):
        outcome = planetmint("init")
        assert outcome.code == 0
        assert str(ledger) in outcome.out
    assert ledger.exists()


def test_init_in_a_folder_that_cannot_be_used_is_one_line_and_exit_1(planetmint, home: Path, monkeypatch) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("PLANETMINT_DATA_DIR", str(home / "file" / "node"))
    outcome = planetmint("init")
    assert outcome.code == 1
    assert "Error: data.dir: cannot use the folder" in outcome.err


def test_init_of_a_file_that_is_no_database_is_one_line_and_exit_1(planetmint, ledger: Path) -> None:
    ledger.parent.mkdir(parents=True)
    ledger.write_text("not a database, but long enough to be looked at as one" * 100)
    outcome = planetmint("init")
    assert outcome.code == 1
    assert "Error: " in outcome.err
    assert str(ledger) in outcome.err


# -- drop


def test_cli_2_2_drop_names_the_database_and_takes_only_y(planetmint, ledger: Path) -> None:
    planetmint("init")
    for answer in ("n\n", "\n", "Y\n", "yes\n"):
        outcome = planetmint("drop", answers=answer)
        assert outcome.code == 0
        assert f"Do you want to drop `{ledger}` database? [y/n]:" in outcome.err
        assert ledger.exists()
    assert planetmint("drop", answers="y\n").code == 0
    assert list(ledger.parent.glob("ledger.db-*")) == []
    assert not ledger.exists()


def test_cli_2_2_drop_with_y_asks_nothing(planetmint, ledger: Path) -> None:
    planetmint("init")
    outcome = planetmint("-y", "drop")
    assert outcome.code == 0
    assert "?" not in outcome.err
    assert not ledger.exists()


def test_cli_2_2_drop_of_nothing_is_said_on_stderr_with_exit_0(planetmint) -> None:
    outcome = planetmint("-y", "drop")
    assert outcome.code == 0
    assert outcome.out == ""
    assert "nothing to drop" in outcome.err


def test_drop_without_an_answer_drops_nothing_and_fails(planetmint, ledger: Path) -> None:
    planetmint("init")
    assert planetmint("drop").code == 1
    assert ledger.exists()


@pytest.mark.parametrize("command", [("-y", "drop"), ("migrate",), ("init",)])
def test_cli_2_4_nothing_is_done_to_the_database_while_a_node_runs(planetmint, ledger: Path, command) -> None:
    planetmint("init")
    with data_folder(ledger.parent):
        outcome = planetmint(*command)
    assert outcome.code == 1
    assert "Stop it first" in outcome.err
    assert ledger.exists()


# -- migrate


def test_cli_2_4_migrate_says_what_it_did_and_may_be_repeated(planetmint) -> None:
    planetmint("init")
    for _ in range(2):
        outcome = planetmint("migrate")
        assert outcome.code == 0
        assert "nothing to do" in outcome.out


def test_cli_2_4_migrate_without_a_database_makes_none(planetmint, ledger: Path) -> None:
    outcome = planetmint("migrate")
    assert outcome.code == 0
    assert "nothing to do" in outcome.out
    assert not ledger.exists()


def test_cli_2_4_migrate_of_a_newer_layout_is_one_line_and_exit_1(planetmint, ledger: Path) -> None:
    planetmint("init")
    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for command in ("migrate", "init", "start"):
        outcome = planetmint(command)
        assert outcome.code == 1, command
        assert "99" in outcome.err
        assert "Traceback" not in outcome.err


# -- start and tendermint-version


def test_cli_2_tendermint_version_needs_no_configuration(planetmint, home: Path) -> None:
    (home / ".planetmint").write_text("{ broken")
    outcome = planetmint("tendermint-version")
    shown = json.loads(outcome.out)
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out == json.dumps(shown, indent=4, sort_keys=True) + "\n"
    assert shown["description"] == "Planetmint supports the following Tendermint version(s)"
    assert "0.38.26" in shown["tendermint"]


def test_cli_2_3_no_init_without_a_database_says_what_to_run(planetmint, ledger: Path) -> None:
    outcome = planetmint("start", "--no-init")
    assert outcome.code == 1
    assert "planetmint init" in outcome.err
    assert not ledger.exists()


@pytest.mark.parametrize("command", ["start", "init"])
def test_cli_3_4_a_program_of_a_managed_server_that_is_missing_is_one_line_with_ways_out(
    planetmint, monkeypatch, command
) -> None:
    monkeypatch.setenv("PLANETMINT_DATABASE_BACKEND", "tarantool_db")
    monkeypatch.setenv("PLANETMINT_DATABASE_PROGRAM", "no-such-tarantool")
    outcome = planetmint(command)
    assert outcome.code == 1
    line = outcome.err.splitlines()[-1]
    for word in ("no-such-tarantool", "apt-get install", "database.managed=false", "database.backend=sqlite"):
        assert word in line
    assert "Traceback" not in outcome.err


def test_cli_3_4_a_missing_engine_is_one_line_with_ways_out(planetmint, monkeypatch) -> None:
    monkeypatch.setenv("PLANETMINT_CONSENSUS_ENGINE", "cometbft")
    monkeypatch.setenv("PLANETMINT_TENDERMINT_PROGRAM", "no-such-engine")
    outcome = planetmint("start")
    assert outcome.code == 1
    line = outcome.err.splitlines()[-1]
    for word in ("no-such-engine", "make engine", "consensus.managed=false", "consensus.engine=solo"):
        assert word in line
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("command", ["drop", "migrate"])
def test_a_server_that_nobody_runs_is_one_line(planetmint, monkeypatch, command) -> None:
    monkeypatch.setenv("PLANETMINT_DATABASE_BACKEND", "tarantool_db")
    monkeypatch.setenv("PLANETMINT_DATABASE_MANAGED", "false")
    monkeypatch.setenv("PLANETMINT_DATABASE_PORT", "9")
    monkeypatch.setenv("PLANETMINT_DATABASE_MAX_TRIES", "1")
    outcome = planetmint("-y", command)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in outcome.err
