# SPDX-License-Identifier: AGPL-3.0-or-later
"""`planetmint configure`: cli-and-config 2.1."""

import json
from pathlib import Path

import pytest

PROMPTS = [
    "API Server bind? (default `localhost:9984`):",
    "WebSocket Server scheme? (default `ws`):",
    "WebSocket Server host? (default `localhost`):",
    "WebSocket Server port? (default `9985`):",
    "Tendermint host? (default `localhost`)",
    "Tendermint port? (default `26657`)",
]
DATABASE_PROMPTS = ["Database host? (default `localhost`):", "Database port? (default `3303`):"]
ENTER = "\n" * 8


def assert_in_order(text: str, parts: list[str]) -> None:
    position = 0
    for part in parts:
        assert part in text[position:], part
        position = text.index(part, position) + len(part)


def test_cli_2_1_configure_asks_on_stderr_and_writes_the_default_file(planetmint, home: Path) -> None:
    outcome = planetmint("configure", answers=ENTER)
    path = home / ".planetmint"
    assert outcome.code == 0
    assert outcome.out == ""
    end = [f"Configuration written to {path}", "Ready to go!"]
    assert_in_order(outcome.err, ["Generating default configuration for backend sqlite", *PROMPTS, *end])
    assert "Database" not in outcome.err
    written = json.loads(path.read_text())
    assert written["server"]["bind"] == "localhost:9984"
    assert written["database"] == {"backend": "sqlite", "path": None}
    assert written["consensus"]["engine"] == "solo"


def test_cli_2_1_configure_for_tarantool_asks_for_the_database_too(planetmint, home: Path) -> None:
    outcome = planetmint("configure", "tarantool_db", answers="\n\n\n\ndb.example.com\n3304\n\n\n")
    assert outcome.code == 0
    asked = [*PROMPTS[:4], *DATABASE_PROMPTS, *PROMPTS[4:]]
    assert_in_order(outcome.err, ["Generating default configuration for backend tarantool_db", *asked])
    written = json.loads((home / ".planetmint").read_text())
    assert (written["database"]["host"], written["database"]["port"]) == ("db.example.com", 3304)
    assert written["database"]["backend"] == "tarantool_db"
    assert written["consensus"]["engine"] == "cometbft"


def test_cli_2_1_answers_are_cast_to_the_type_of_the_default(planetmint, home: Path) -> None:
    planetmint("configure", answers="0.0.0.0:80\nwss\nstream.example.com\n9999\nengine\n1\n")
    written = json.loads((home / ".planetmint").read_text())
    assert written["server"]["bind"] == "0.0.0.0:80"
    assert written["wsserver"]["port"] == 9999
    assert (written["tendermint"]["host"], written["tendermint"]["port"]) == ("engine", 1)


def test_cli_2_1_an_answer_that_does_not_fit_is_asked_for_again(planetmint, home: Path) -> None:
    outcome = planetmint("configure", answers="\n\n\nmany\n70000\n77\n\n\n")
    assert outcome.code == 0
    assert outcome.err.count("WebSocket Server port?") == 3
    assert "The answer must be a whole number from 0 to 65535, not `many`." in outcome.err
    assert json.loads((home / ".planetmint").read_text())["wsserver"]["port"] == 77


def test_clients_are_told_the_stream_address_that_was_answered(planetmint, home: Path) -> None:
    planetmint("configure", answers="\nwss\nstream.example.com\n9999\n\n\n")
    section = json.loads((home / ".planetmint").read_text())["wsserver"]
    assert section["advertised_scheme"] == "wss"
    assert section["advertised_host"] == "stream.example.com"
    assert section["advertised_port"] == 9999


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_clients_are_not_told_the_address_of_every_interface(planetmint, home: Path, host: str) -> None:
    planetmint("configure", answers=f"\n\n{host}\n\n\n\n")
    assert json.loads((home / ".planetmint").read_text())["wsserver"]["advertised_host"] == "localhost"


def test_cli_2_1_configure_to_a_new_file(planetmint, tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    outcome = planetmint("-y", "-c", str(path), "configure")
    assert outcome.code == 0
    assert f"Configuration written to {path}" in outcome.err
    assert json.loads(path.read_text())["wsserver"]["port"] == 9985


def test_cli_2_1_configure_to_the_file_that_the_variable_names(planetmint, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "named.json"
    monkeypatch.setenv("PLANETMINT_CONFIG_PATH", str(path))
    assert planetmint("-y", "configure").code == 0
    assert path.exists()


def test_cli_2_1_configure_to_stdout_prints_sorted_json_with_indent_4(planetmint, home: Path) -> None:
    outcome = planetmint("-y", "-c", "-", "configure")
    assert outcome.code == 0
    assert outcome.out == json.dumps(json.loads(outcome.out), indent=4, sort_keys=True) + "\n"
    assert "Ready to go!" in outcome.err
    assert list(home.iterdir()) == []


def test_cli_2_1_configure_to_stdout_asks_too(planetmint) -> None:
    outcome = planetmint("-c", "-", "configure", answers="h:1\n" + ENTER)
    assert json.loads(outcome.out)["server"]["bind"] == "h:1"
    assert "API Server bind?" in outcome.err


def test_cli_2_1_y_asks_nothing_and_replaces_the_file(planetmint, home: Path) -> None:
    (home / ".planetmint").write_text("old")
    outcome = planetmint("-y", "configure")
    assert outcome.code == 0
    assert "?" not in outcome.err
    assert json.loads((home / ".planetmint").read_text())["server"]["bind"] == "localhost:9984"


@pytest.mark.parametrize("answer", ["\n", "n\n", "Y\n", "yes\n"])
def test_cli_2_1_an_existing_file_stays_unless_the_answer_is_y(planetmint, home: Path, answer: str) -> None:
    path = home / ".planetmint"
    path.write_text("old")
    outcome = planetmint("configure", answers=answer + ENTER)
    assert outcome.code == 0
    question = f"Config file `{path}` exists, do you want to override it? (cannot be undone) [y/N]:"
    assert question in outcome.err
    assert "Generating" not in outcome.err
    assert path.read_text() == "old"


def test_cli_2_1_an_existing_file_is_replaced_after_y_even_if_it_is_broken(planetmint, home: Path) -> None:
    (home / ".planetmint").write_text("{ broken " * 5_000)
    outcome = planetmint("configure", answers="y\n" + ENTER)
    assert outcome.code == 0
    assert json.loads((home / ".planetmint").read_text())["server"]["bind"] == "localhost:9984"


@pytest.mark.parametrize("before", [None, 0o644])
def test_cli_2_1_the_file_has_mode_0600(planetmint, home: Path, before: int | None) -> None:
    path = home / ".planetmint"
    if before is not None:
        path.write_text("old")
        path.chmod(before)
    planetmint("-y", "configure")
    assert path.stat().st_mode & 0o777 == 0o600


def test_cli_2_1_the_environment_does_not_leak_into_the_file(planetmint, home: Path, monkeypatch) -> None:
    monkeypatch.setenv("PLANETMINT_SERVER_BIND", "h:1")
    monkeypatch.setenv("PLANETMINT_DATABASE_HOST", "db")
    monkeypatch.setenv("PLANETMINT_DATABASE_PASSWORD", "secret")
    planetmint("-y", "configure", "tarantool_db")
    written = json.loads((home / ".planetmint").read_text())
    assert written["server"]["bind"] == "localhost:9984"
    assert written["database"]["host"] == "localhost"
    assert written["database"]["password"] == ""


def test_cli_2_1_a_written_file_is_read_back_without_a_warning(planetmint, home: Path) -> None:
    planetmint("-y", "configure")
    outcome = planetmint("show-config")
    assert outcome.err == ""
    assert json.loads(outcome.out) == json.loads((home / ".planetmint").read_text())


def test_without_anybody_to_answer_configure_fails_and_writes_nothing(planetmint, home: Path) -> None:
    outcome = planetmint("configure", answers="h:1\n")
    assert outcome.code == 1
    assert "Nobody answers" in outcome.err
    assert not (home / ".planetmint").exists()


def test_a_file_that_cannot_be_written_is_one_line_and_exit_1(planetmint) -> None:
    outcome = planetmint("-y", "-c", "/nowhere/node.json", "configure")
    assert outcome.code == 1
    assert "Error: Cannot write the configuration file `/nowhere/node.json`" in outcome.err
