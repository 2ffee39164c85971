# SPDX-License-Identifier: AGPL-3.0-or-later
"""The global form of the command line: cli-and-config 1, and what an operator's mistakes look like."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import typer
import typer.core
import typer.main

from planetmint.cli.main import app, run
from planetmint.cli.reference import reference
from planetmint.ports.errors import LayoutError
from planetmint.version import __version__

ROOT = Path(__file__).parents[3]

COMMANDS = ("configure", "show-config", "init", "drop", "migrate", "start", "tendermint-version")


def error_line(err: str) -> str:
    """The one line that says what is wrong."""
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_cli_1_version_on_stdout(planetmint, flag: str) -> None:
    assert planetmint(flag) == (0, f"planetmint {__version__}\n", "")


@pytest.mark.parametrize("arguments", [("-h",), ("--help",), (), ("-y",), ("-l", "debug")])
def test_cli_1_help_and_no_command_print_help_on_stdout_and_exit_0(planetmint, arguments) -> None:
    outcome = planetmint(*arguments)
    assert outcome.code == 0
    assert outcome.err == ""
    assert "Usage: planetmint" in outcome.out
    assert all(command in outcome.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_cli_1_every_command_has_help(planetmint, command: str) -> None:
    outcome = planetmint(command, "-h")
    assert outcome.code == 0
    assert f"Usage: planetmint {command}" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("strat",), "Did you mean 'start'"),
        (("--bogus",), "--bogus"),
        (("start", "--bogus"), "--bogus"),
        (("-l", "loud", "show-config"), "loud"),
        (("configure", "localmongodb"), "neither 'sqlite' nor 'tarantool_db'"),
        (("show-config", "extra"), "extra"),
        (("start", "--web-api-only", "--abci-only"), "exclude each other"),
    ],
)
def test_cli_1_wrong_usage_is_said_on_stderr_with_exit_2(planetmint, arguments, said: str) -> None:
    outcome = planetmint(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("Usage: planetmint")
    assert said in error_line(outcome.err)


def test_cli_1_a_flag_without_its_value_is_said_on_stderr_with_exit_2(planetmint) -> None:
    outcome = planetmint("-c")
    assert outcome.code == 2
    assert "-c" in error_line(outcome.err)


def test_cli_1_the_flags_may_be_combined_before_the_command(planetmint, home: Path) -> None:
    path = home / "node.json"
    path.write_text('{"wsserver": {"port": 4}}')
    outcome = planetmint("--yes-please", "--log-level", "Critical", "--config", str(path), "show-config")
    shown = json.loads(outcome.out)
    assert shown["wsserver"]["port"] == 4
    assert shown["log"]["level_console"] == "critical"


@pytest.mark.parametrize("level", ["debug", "DEBUG", "Benchmark", "info", "WARNING", "error", "Critical"])
def test_cli_1_levels_in_any_letter_case(planetmint, level: str) -> None:
    assert planetmint("-l", level, "show-config").code == 0


@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in ("configure", "tendermint-version")])
def test_cli_3_1_a_missing_file_given_by_c_is_one_line_and_exit_1(planetmint, command: str) -> None:
    outcome = planetmint("-c", "/nowhere/node.json", command)
    assert outcome.code == 1
    assert outcome.out == ""
    assert "/nowhere/node.json" in error_line(outcome.err)


def test_cli_3_1_bad_json_is_one_line_and_exit_1(planetmint, home: Path) -> None:
    (home / ".planetmint").write_text("{")
    outcome = planetmint("show-config")
    assert outcome.code == 1
    assert "Failed to parse the JSON configuration" in error_line(outcome.err)


def test_cli_3_1_a_value_that_does_not_fit_is_one_line_and_exit_1(planetmint, monkeypatch) -> None:
    monkeypatch.setenv("PLANETMINT_WSSERVER_PORT", "many")
    outcome = planetmint("start")
    assert outcome.code == 1
    assert error_line(outcome.err).startswith("Error: PLANETMINT_WSSERVER_PORT must be a whole number")


def test_reading_the_configuration_from_stdout_is_refused(planetmint) -> None:
    outcome = planetmint("-c", "-", "show-config")
    assert outcome.code == 1
    assert "configure" in error_line(outcome.err)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (LayoutError("x.db has layout 0: run `planetmint migrate`"), "run `planetmint migrate`"),
        (PermissionError(13, "Permission denied", "/srv/x"), "The system refused `/srv/x`: Permission denied"),
        (OSError(98, "Address already in use"), "server.bind"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_failures_below_a_command_become_one_line_and_exit_1(planetmint, monkeypatch, raised, said: str) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise raised

    monkeypatch.setattr("planetmint.cli.context.load_settings", fail)
    outcome = planetmint("show-config")
    assert outcome.code == 1
    assert said in error_line(outcome.err)


def test_a_bug_is_not_dressed_up_as_an_operators_mistake(planetmint, monkeypatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("planetmint.cli.context.load_settings", fail)
    with pytest.raises(ZeroDivisionError):
        run(["show-config"])


def test_docs_commands_reference_is_up_to_date() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert text == reference(), "run: python -m planetmint.cli.reference > docs/commands.md"


def paths(group: typer.core.TyperGroup, before: str) -> Iterator[str]:
    """Every group and command below a group, in words."""
    for name, command in group.commands.items():
        yield f"{before} {name}"
        if isinstance(command, typer.core.TyperGroup):
            yield from paths(command, f"{before} {name}")


def test_docs_every_command_stands_in_the_reference() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    every = list(paths(typer.main.get_group(app), "planetmint"))
    assert {f"planetmint {name}" for name in COMMANDS} | {"planetmint election new chain-migration"} <= set(every)
    assert [path for path in every if f"## {path}\n" not in text] == []


def test_cli_1_what_parts_of_the_node_warn_of_during_a_command_is_no_result(
    planetmint, capsys: pytest.CaptureFixture[str]
) -> None:
    planetmint("--version")
    log = structlog.get_logger("planetmint.sandbox.pool")
    log.info("nothing that an operator has asked for")
    log.warning("contract worker did not start", reason="no memory")
    told = capsys.readouterr()
    assert told.out == ""
    assert "contract worker did not start" in told.err
    assert "nothing" not in told.err
