# SPDX-License-Identifier: AGPL-3.0-or-later
"""What CometBFT and Tarantool say, where they are reached, and how a start that fails is told."""

import asyncio
import json
import logging
import socket
from pathlib import Path

import pytest

from planetmint.ports.errors import StoreError
from planetmint.runtime import children
from planetmint.runtime.children import Child, Program, Said
from planetmint.runtime.notify import notify
from planetmint.runtime.services import (
    engine_addresses,
    engine_rpc,
    read_database_line,
    read_engine_line,
    tarantool_address,
    while_starting,
)
from planetmint.runtime.settings import (
    ConfigurationError,
    ConsensusSettings,
    DataSettings,
    Settings,
    TarantoolSettings,
    TendermintSettings,
)
from tests.support.engine_log import APPLY_FAILED, consensus_failure

COMET = ConsensusSettings(engine="cometbft")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"_msg":"Version info","level":"info","module":"main"}', Said(logging.DEBUG, "Version info")),
        (
            '{"_msg":"Discovered new snapshot","height":5,"level":"info","module":"statesync"}',
            Said(logging.INFO, "Discovered new snapshot height=5"),
        ),
        (
            '{"_msg":"Error dialing peer","err":"refused","level":"error","module":"p2p"}',
            Said(logging.WARNING, "Error dialing peer err=refused"),
        ),
        (
            '{"_msg":"CONSENSUS FAILURE!!!","err":"x","level":"error","module":"consensus","stack":"long"}',
            Said(logging.ERROR, "CONSENSUS FAILURE!!! err=x", broken=True),
        ),
        ("panic: no luck", Said(logging.ERROR, "panic: no luck")),
        ("ERROR: failed to create node", Said(logging.ERROR, "ERROR: failed to create node")),
        ("goroutine 1 [running]:", Said(logging.DEBUG, "goroutine 1 [running]:")),
        ("[1]", Said(logging.DEBUG, "[1]")),
    ],
)
def test_lines_of_the_engine_get_a_level_that_fits_the_node(line: str, said: Said) -> None:
    assert read_engine_line(line) == said


@pytest.mark.parametrize("length", [1_938, 2_135, 60_000])
def test_an_engine_without_consensus_is_recognised_however_long_its_stack_is(length: int) -> None:
    said = read_engine_line(consensus_failure(length))
    assert said == Said(logging.ERROR, f"CONSENSUS FAILURE!!! err={APPLY_FAILED}", broken=True)


@pytest.mark.parametrize(
    "line",
    [
        consensus_failure(100_000)[: children.MAX_LINE_BYTES],
        consensus_failure(2_135)[:2_000],
        json.dumps(json.loads(consensus_failure(2_135)))[:2_000],
        "CONSENSUS FAILURE!!!",
        "E[2026-11-23|23:23:56.836] CONSENSUS FAILURE!!!   module=consensus",
    ],
)
def test_an_engine_without_consensus_is_recognised_in_what_is_no_json_or_cut(line: str) -> None:
    said = read_engine_line(line)
    assert (said.level, said.broken) == (logging.ERROR, True)


@pytest.mark.parametrize("rest", ["", '"}'])
def test_a_peer_that_sends_those_words_has_no_engine_restarted(rest: str) -> None:
    line = '{"_msg":"Error dialing peer","err":"CONSENSUS FAILURE!!!' + rest
    assert not read_engine_line(line).broken
    assert not read_engine_line("E[2026-11-23|23:23:56.836] Bad peer err=CONSENSUS FAILURE!!!").broken


@pytest.mark.parametrize(
    "line", ["[" * 1_999, "[" * 60_000, '{"_msg":' * 9_000, '{"_msg":"x","err":' + "[" * 985 + "]" * 985 + "}"]
)
def test_lines_of_the_engine_that_nest_deeply_are_lines_like_others(line: str) -> None:
    assert not read_engine_line(line).broken


def test_long_fields_of_the_engine_are_cut() -> None:
    said = read_engine_line(json.dumps({"_msg": "x", "block": "b" * 100_000}))
    assert len(said.text) < 400


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("2026-11-23 22:29:13.123 [20358] main/101/instance.lua C> leaving", logging.INFO, "leaving"),
        ("2026-11-23 22:29:13.123 [20358] main W> file wasn't closed", logging.INFO, "file wasn't closed"),
        ("2026-11-23 22:29:13.123 [20358] wal/101/main xlog.c:758 !> SystemError no space", logging.ERROR, None),
        ("2026-11-23 22:29:13.123 [20358] main F> can't initialize storage", logging.CRITICAL, None),
        ("2026-11-23 22:29:13.123 [20358] main D> chatter", logging.DEBUG, "chatter"),
        ("LuajitError: cannot open file", logging.INFO, "LuajitError: cannot open file"),
    ],
)
def test_lines_of_tarantool_keep_their_level(line: str, level: int, text: str | None) -> None:
    said = read_database_line(line)
    assert said.level == level
    assert text is None or said.text == text
    assert not said.broken


def test_a_managed_engine_listens_where_the_settings_say() -> None:
    engine = TendermintSettings(host="0.0.0.0", port=5, p2p_host="::", p2p_port=6, external_address="a.example:7")
    addresses = engine_addresses(Settings(consensus=COMET, tendermint=engine))
    assert (addresses.rpc, addresses.p2p, addresses.external) == ("tcp://0.0.0.0:5", "tcp://[::]:6", "a.example:7")
    assert addresses.peers is None


@pytest.mark.parametrize(
    ("host", "managed", "url"),
    [
        ("localhost", None, "http://127.0.0.1:26657"),
        ("0.0.0.0", None, "http://127.0.0.1:26657"),
        ("::", None, "http://[::1]:26657"),
        ("engine.example.com", None, "http://engine.example.com:26657"),
        ("localhost", False, "http://localhost:26657"),
    ],
)
def test_the_engine_is_asked_where_it_listens(host: str, managed: bool | None, url: str) -> None:
    consensus = ConsensusSettings(engine="cometbft", managed=managed)
    assert engine_rpc(Settings(consensus=consensus, tendermint=TendermintSettings(host=host))) == url


def test_tarantool_is_met_at_its_socket_or_port_with_login_and_password() -> None:
    data = DataSettings(dir="/srv/node")
    managed = tarantool_address(Settings(database=TarantoolSettings(), data=data))
    assert managed.socket == Path("/srv/node/tarantool/tarantool.sock")
    assert managed.max_tries == 0, "it comes when it has read its files"
    outside = TarantoolSettings(host="db.example.com", login="ann", password="secret", connection_timeout=700)
    address = tarantool_address(Settings(database=outside, data=data))
    assert (address.host, address.port, address.socket) == ("db.example.com", 3303, None)
    assert (address.login, address.password, address.max_tries) == ("ann", "secret", 3)
    assert address.connection_timeout == 0.7
    with pytest.raises(ConfigurationError, match="not tarantool_db"):
        tarantool_address(Settings())


async def test_a_server_that_ends_again_and_again_while_it_is_waited_for_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "FIRST_PAUSE", 0.01)
    command = ("sh", "-c", "echo no room; exit 1")
    child = Child(Program("Tester", command, tmp_path, lambda line: Said(logging.ERROR, line), "Install it."))
    await child.start()
    try:
        with pytest.raises(StoreError, match="Tester does not start"):
            await while_starting(child, asyncio.Event().wait())
    finally:
        await child.stop()


async def test_what_is_waited_for_is_answered_and_its_errors_are_raised() -> None:
    async def fails() -> None:
        raise StoreError("another layout")

    assert await while_starting(None, asyncio.sleep(0, "answer")) == "answer"
    with pytest.raises(StoreError, match="another layout"):
        await while_starting(None, fails())


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told_where_it_listens(tmp_path: Path, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"@planetmint-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(10)
        notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", [None, "", "relative", "/nowhere/notify", "/dev/null"])
def test_nobody_who_listens_is_no_failure(name: str | None) -> None:
    notify("READY=1", {} if name is None else {"NOTIFY_SOCKET": name})
