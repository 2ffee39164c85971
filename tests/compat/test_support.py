# SPDX-License-Identifier: AGPL-3.0-or-later
"""The helpers of these tests themselves: transactions made by hand, the node process, and the recipes."""

import os
import sys
from pathlib import Path

import base58
import pytest
from nacl.signing import SigningKey

from tests.compat.environments import ALL, CannotBuild, _require, main
from tests.support import handmade
from tests.support.node import NodeFailed, NodeProcess

# A program that behaves like a node as far as the helper can see: two ports, 200 on GET /, an end by SIGTERM.
PRETENDER = """
import http.server, os, signal, socket, sys
host, port = os.environ["PLANETMINT_SERVER_BIND"].split(":")
stream = socket.create_server((host, int(os.environ["PLANETMINT_WSSERVER_PORT"])))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("pretending", sys.argv[1:], flush=True)
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


def pretender(folder: Path, program: str = PRETENDER) -> NodeProcess:
    return NodeProcess(folder / "data", command=[sys.executable, "-c", program])


def test_transaction_made_by_hand_is_the_worked_example_of_the_specification() -> None:
    # transactions 4.4
    owner = handmade.Owner(SigningKey(base58.b58decode("Haka2uTrBjzwBpwp8NJd23H1UwutjGGDyL5haZrjseBD")))
    created = handmade.create_2(owner, {"n": 1})
    assert owner.public_key == "CDx31U9UUfFVEV1kKqhpaJcHFro5n7VRTAYCvi9quMgr"
    assert created["id"] == "7c130673ae038e98e9d2b5682349486d1df72c5ec35c15bf230223bcc8f409b0"
    buyer_output = {
        "amount": "1",
        "condition": {
            "details": {
                "public_key": "GUkuscVFq5ZpFYbrwRDSQJ5YsKPdZ4qLRmnbXmrSQZdC",
                "type": "ed25519-sha-256",
            },
            "uri": "ni:///sha-256;cKCbB7FLtTrZGIzsFpvuWPHda1w6qeTd2btz5jMfMHo?fpt=ed25519-sha-256&cost=131072",
        },
        "public_keys": ["GUkuscVFq5ZpFYbrwRDSQJ5YsKPdZ4qLRmnbXmrSQZdC"],
    }
    moved = handmade.transfer([(created, 0)], [owner], [buyer_output])
    assert moved["id"] == "b851c5a491e17de4eddd62d12f604a89ddc6ba0bc4fa790127d5eed4981cb201"


def test_node_process_becomes_ready_and_stops_with_its_exit_code(tmp_path: Path) -> None:
    with pretender(tmp_path) as node:
        assert node.running
        assert node.returncode is None
    assert node.returncode == 0
    assert "pretending ['start']" in node.log_text()


def test_node_process_keeps_its_ports_over_a_kill_and_a_new_start(tmp_path: Path) -> None:
    node = pretender(tmp_path).start().wait_ready()
    before = (node.base_url, node.stream_url)
    node.kill()
    assert node.returncode == -9
    node.start().wait_ready()
    assert (node.base_url, node.stream_url) == before
    assert node.stop() == 0


def test_node_process_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    node = pretender(tmp_path, "print('the port is taken'); raise SystemExit(1)").start()
    with pytest.raises(NodeFailed, match=r"(?s)code 1.*the port is taken"):
        node.wait_ready()


def test_node_process_does_not_inherit_settings_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANETMINT_DATABASE_BACKEND", "tarantool_db")
    node = NodeProcess(tmp_path / "data", env={"PLANETMINT_LOG_LEVEL_CONSOLE": "debug"})
    settings = {key: value for key, value in node.environment().items() if key.startswith("PLANETMINT_")}
    assert "PLANETMINT_DATABASE_BACKEND" not in settings
    assert settings["PLANETMINT_LOG_LEVEL_CONSOLE"] == "debug"
    assert settings["PLANETMINT_DATA_DIR"] == str(tmp_path / "data")


def test_environments_refuse_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-driver"]) == 2
    assert "there are" in capsys.readouterr().err


@pytest.mark.parametrize("name", ALL)
def test_recipe_of_an_environment_names_existing_files_and_pins_every_package(name: str) -> None:
    sources = ALL[name].sources()
    assert all(path.is_file() for path in sources)
    for path in sources:
        if path.suffix == ".txt":
            lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
            assert lines
            assert all("==" in line for line in lines), path


def test_missing_tool_is_named_when_it_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotBuild, match="not found: mvn; install maven and try again"):
        _require("mvn")
