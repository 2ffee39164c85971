# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command as operators meet it: real processes, their streams, exit codes and signals (cli-and-config)."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from planetmint.version import __version__
from tests.support.node import HOST, NodeProcess

TIMEOUT = 60
COMMAND = (sys.executable, "-m", "planetmint")


def planetmint(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, answers: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with nothing in the environment but what is given here."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PLANETMINT_", "XDG_"))}
    return subprocess.run(
        [*COMMAND, *arguments],
        env=clean | {"HOME": str(home)} | dict(env or {}),
        cwd=home,
        input=answers,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def refused(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line by which a command that failed says why."""
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, ended.stderr
    return errors[0]


@pytest.fixture
def node(tmp_path: Path) -> NodeProcess:
    """A node that is not started yet."""
    return NodeProcess(tmp_path / "data")


def test_cli_1_the_installed_command_is_the_module(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("planetmint")
    ended = subprocess.run([script, "-v"], capture_output=True, text=True, timeout=TIMEOUT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"planetmint {__version__}\n", "")
    assert planetmint(tmp_path, "--version").stdout == ended.stdout


def test_cli_1_exit_codes_and_streams_of_a_process(tmp_path: Path) -> None:
    helped = planetmint(tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    wrong = planetmint(tmp_path, "strat")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("Usage: ")
    assert "/nowhere" in refused(planetmint(tmp_path, "-c", "/nowhere", "start"))


def test_cli_2_1_configure_by_prompts_then_show_config(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    made = planetmint(tmp_path, "-c", str(path), "configure", answers="0.0.0.0:9984\n\n\n9999\n\n\n")
    assert (made.returncode, made.stdout) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shown = planetmint(tmp_path, "-c", str(path), "show-config")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert json.loads(shown.stdout) == json.loads(path.read_text())
    assert json.loads(shown.stdout)["wsserver"]["port"] == 9999


def test_cli_2_1_configure_to_stdout_can_be_piped_into_a_file(tmp_path: Path) -> None:
    printed = planetmint(tmp_path, "-y", "-c", "-", "configure")
    (tmp_path / "copy.json").write_text(printed.stdout)
    assert planetmint(tmp_path, "-c", "copy.json", "show-config").returncode == 0


def test_a_reader_that_stops_early_gets_no_traceback(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        ended = subprocess.run(
            [*COMMAND, "show-config"], stdout=closed, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT
        )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_cli_2_init_drop_and_migrate_in_the_data_folder(tmp_path: Path) -> None:
    env = {"PLANETMINT_DATA_DIR": str(tmp_path / "data")}
    ledger = tmp_path / "data" / "ledger.db"
    assert planetmint(tmp_path, "init", env=env).returncode == 0
    assert planetmint(tmp_path, "migrate", env=env).returncode == 0
    kept = planetmint(tmp_path, "drop", env=env, answers="n\n")
    assert kept.returncode == 0
    assert f"`{ledger}`" in kept.stderr
    assert ledger.exists()
    assert planetmint(tmp_path, "drop", env=env, answers="y\n").returncode == 0
    assert not ledger.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_cli_2_3_a_signal_ends_the_node_with_exit_0(node: NodeProcess, number: signal.Signals) -> None:
    node.start().wait_ready()
    os.kill(node.pid, number)
    assert node.wait_end() == 0
    log = node.log_text()
    assert f"Planetmint Version {__version__}" in log
    assert "Starting Planetmint main process." in log
    assert "Traceback" not in log


def test_cli_2_3_a_started_node_says_where_it_listens_and_when_it_is_ready(node: NodeProcess) -> None:
    with node:
        pass
    log = node.log_text()
    assert f"{HOST}:{node.http_port}" in log
    assert f"{HOST}:{node.stream_port}" in log
    assert log.index("Starting Planetmint main process.") < log.index("Ready")


@pytest.mark.parametrize(
    ("port", "setting", "variable"),
    [
        ("http_port", "server.bind", "PLANETMINT_SERVER_BIND"),
        ("stream_port", "wsserver.port", "PLANETMINT_WSSERVER_PORT"),
    ],
)
def test_a_port_that_is_taken_is_one_line_with_setting_and_address(
    node: NodeProcess, port: str, setting: str, variable: str
) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, getattr(node, port)))
        taken.listen()
        assert node.start().wait_end() == 1
    log = node.log_text()
    line = log.splitlines()[-1]
    assert line.startswith(f"Error: {setting}: {HOST}:{getattr(node, port)} is taken")
    assert variable in line
    assert "Traceback" not in log


def test_cli_2_4_drop_migrate_and_a_second_start_are_refused_while_the_node_runs(node: NodeProcess) -> None:
    home = node.data_dir.parent
    env = {"PLANETMINT_DATA_DIR": str(node.data_dir)}
    with node:
        for arguments in (["-y", "drop"], ["migrate"]):
            assert str(node.pid) in refused(planetmint(home, *arguments, env=env))
        free = {"PLANETMINT_SERVER_BIND": f"{HOST}:0", "PLANETMINT_WSSERVER_PORT": "0"}
        assert str(node.pid) in refused(planetmint(home, "start", env=env | free))
        assert node.running
    assert planetmint(home, "migrate", env=env).returncode == 0


def test_a_layout_of_another_version_is_one_line_and_exit_1(node: NodeProcess) -> None:
    home = node.data_dir.parent
    env = {"PLANETMINT_DATA_DIR": str(node.data_dir)}
    assert planetmint(home, "init", env=env).returncode == 0
    change = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA user_version = 0'); c.close()"
    )
    subprocess.run([sys.executable, "-c", change, node.data_dir / "ledger.db"], check=True, timeout=TIMEOUT)
    assert "planetmint migrate" in refused(planetmint(home, "start", env=env))


def test_cli_2_3_web_api_only_serves_no_stream(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "data", args=("start", "--web-api-only"))
    _assert_serves(node, http=True, stream=False)


def test_cli_2_3_abci_only_serves_no_web_api(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "data", args=("start", "--abci-only", "--experimental-parallel-validation"))
    _assert_serves(node, http=False, stream=True)
    assert "always checked in parallel" in node.log_text()


def test_cli_2_3_no_init_runs_with_a_database_that_is_there(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "data", args=("start", "--no-init"))
    assert node.start().wait_end() == 1
    assert "planetmint init" in node.log_text()
    made = planetmint(tmp_path, "init", env={"PLANETMINT_DATA_DIR": str(node.data_dir)})
    assert made.returncode == 0
    with node:
        assert node.running


def test_cli_3_3_log_files_are_written_where_settings_name_them(tmp_path: Path) -> None:
    log = tmp_path / "node-messages.log"
    env = {"PLANETMINT_LOG_FILE": str(log), "PLANETMINT_LOG_LEVEL_CONSOLE": "critical"}
    node = NodeProcess(tmp_path / "data", env=env)
    with node:
        pass
    assert "Starting Planetmint main process." in log.read_text()
    assert node.log_text() == ""


def test_cli_3_3_a_folder_that_takes_no_log_file_is_a_warning_only(tmp_path: Path) -> None:
    env = {"PLANETMINT_LOG_FILE": str(tmp_path / "nowhere" / "node.log")}
    with NodeProcess(tmp_path / "data", env=env) as node:
        assert "Cannot write log.file" in node.log_text()


def test_cli_4_the_environment_of_the_old_container_means_an_outside_engine_and_database(tmp_path: Path) -> None:
    env = {
        "PLANETMINT_DATABASE_BACKEND": "tarantool_db",
        "PLANETMINT_DATABASE_HOST": "tarantool.invalid",
        "PLANETMINT_DATABASE_PORT": "3303",
        "PLANETMINT_SERVER_BIND": "0.0.0.0:9984",
        "PLANETMINT_WSSERVER_HOST": "0.0.0.0",
        "PLANETMINT_WSSERVER_SCHEME": "ws",
        "PLANETMINT_WSSERVER_ADVERTISED_HOST": "0.0.0.0",
        "PLANETMINT_WSSERVER_ADVERTISED_SCHEME": "ws",
        "PLANETMINT_TENDERMINT_HOST": "tendermint",
        "PLANETMINT_TENDERMINT_PORT": "26657",
    }
    ended = planetmint(tmp_path, "start", env=env)
    assert "tarantool.invalid:3303" in refused(ended)
    assert "CometBFT runs" not in ended.stderr


def _assert_serves(node: NodeProcess, *, http: bool, stream: bool) -> None:
    node.start()
    try:
        _wait_for_log(node, "Ready")
        assert _listens(node.http_port) is http
        assert _listens(node.stream_port) is stream
    finally:
        assert node.stop() == 0


def _wait_for_log(node: NodeProcess, text: str) -> None:
    pause = threading.Event()
    for _ in range(TIMEOUT * 20):
        if text in node.log_text():
            return
        assert node.running, node.log_text()
        pause.wait(0.05)
    raise AssertionError(f"{text!r} never came\n{node.log_text()}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True
