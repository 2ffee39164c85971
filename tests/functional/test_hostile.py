# SPDX-License-Identifier: AGPL-3.0-or-later
"""A node among people who wish it ill, or are in a hurry: it answers, keeps its size, and serves everybody else.

Every test runs against one real process. While a test of the first parts runs, another client asks the node all
the time and must get its answers; afterwards the node may not have grown by more than a bound.
"""

import copy
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha3_256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from planetmint.model.json import canonical
from planetmint.testing.build import Builder, Dialect
from tests.support.node import HOST, NodeProcess

MEGABYTE = 1 << 20
GROWTH = 60 * MEGABYTE
"""What the node may keep of anything that one hostile client does; without bounds it is gigabytes."""

POST = b"POST /api/v1/transactions HTTP/1.1\r\nHost: node\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BULK = POST + b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
HANDSHAKE = (
    b"GET /api/v1/streams/valid_transactions HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Onlooker(threading.Thread):
    """A well-behaved client that asks all the time; counts what went wrong."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.answers = 0
        self.failures: list[str] = []
        self._port = port
        self._over = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=30)
        while not self._over.is_set():
            try:
                connection.request("GET", "/api/v1/blocks/latest")
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
            if answer.status != 200:
                self.failures.append(str(answer.status))
            self.answers += 1
            time.sleep(0.005)
        connection.close()

    def end(self) -> None:
        self._over.set()
        self.join()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("hostile") / "node") as running:
        yield running


@pytest.fixture
def node(shared: NodeProcess) -> Iterator[NodeProcess]:
    """The shared node, watched: it must answer others, keep its size, and log neither warning nor error."""
    before, logged = memory_of(shared.pid), len(shared.log_text())
    onlooker = Onlooker(shared.http_port)
    onlooker.start()
    yield shared
    onlooker.end()
    assert onlooker.failures == []
    assert onlooker.answers > 0
    assert shared.running
    assert memory_of(shared.pid) - before < GROWTH
    assert re.findall(r"\[(?:WARNING|ERROR|CRITICAL)\].*", shared.log_text()[logged:]) == []


@pytest.fixture
def client(node: NodeProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{node.base_url}/api/v1", timeout=60) as made:
        yield made


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def exchange(port: int, data: bytes, *, enough: Callable[[bytes], bool] = lambda answer: False) -> bytes:
    """Send bytes, and read until the node closes or `enough` has come; a reset ends it, too."""
    answer = b""
    with socket.create_connection((HOST, port), timeout=30) as one:
        try:
            one.sendall(data)
            while not enough(answer) and (part := one.recv(65_536)):
                answer += part
        except ConnectionError:
            pass
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answer)]


# Bodies (issue: bad input)

ODD_VALUES = [None, True, -1, 2**64, 0.5, "", "x", "\0", [], [None], {}, {"a": 1}, "9" * 5_000, int("9" * 300)]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a JSON value, its own first."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def replaced(wire: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(wire)
    target = changed
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return changed


def identified(wire: Any) -> Any:
    """With the id that fits the content, so that the rules after the id are reached."""
    if not isinstance(wire, dict):
        return wire
    try:
        content = canonical(wire | {"id": None})
    except ValueError:
        return wire
    return wire | {"id": sha3_256(content).hexdigest()}


@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.value)
def test_bad_input_of_any_type_at_any_place_answers_class_and_rule(dialect: Dialect, client: httpx.Client) -> None:
    builder = Builder(dialect)
    content = dialect.content(f"x{os.urandom(20).hex()}")
    create = builder.create("mallory", data=content, metadata=content)
    assert client.post("/transactions", params={"mode": "commit"}, content=create.canonical).status_code == 202
    transfer = builder.transfer([create.spend()], [(1, "bob")])
    lines, wanted = [], []
    for wire in (create.wire, transfer.wire):
        for path, value in itertools.product(places(wire), ODD_VALUES):
            changed = replaced(wire, path, value)
            if path != ("id",):
                changed = identified(changed)
            if json.dumps(changed) == json.dumps(wire):
                continue
            lines.append(json.dumps(changed))
            wanted.append((path, value))
    answers = []
    for part in range(0, len(lines), 500):
        body = "\n".join(lines[part : part + 500]).encode()
        answer = client.post("/transactions", content=body, headers={"Content-Type": "application/x-ndjson"})
        answers += answer.text.splitlines()
    assert len(answers) == len(wanted) > 500
    for (path, value), line in zip(wanted, answers, strict=True):
        verdict = json.loads(line)
        assert 400 <= verdict["status"] < 500, (path, value, verdict)
        assert verdict["class"], (path, value, verdict)
        assert verdict["rule"], (path, value, verdict)
        assert len(line) < 2_000, (path, value)


BODIES = {
    "empty": b"",
    "30 MB": b"x" * 30_000_000,
    "a million brackets": b"[" * 1_000_000,
    "half a million objects": b'{"a":' * 200_000,
    "NaN": b"NaN",
    "minus infinity inside": b'{"a": -Infinity}',
    "a number of 5,000 digits": b'{"version": ' + b"9" * 5_000 + b"}",
    "a number of a million digits": b"1" * 1_000_000,
    "an exponent without end": b"1e999999999",
    "a lone surrogate": b'{"id": "\\ud800"}',
    "a lone surrogate as name": b'{"\\udfff": 1}',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "no UTF-8": b'"\xff\xfe"',
    "UTF-16": "{}".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "two values": b"{}{}",
    "a form": b"a=1&b=2",
    "many names": b"{" + b",".join(b'"k%d":1' % number for number in range(70_000)) + b"}",
    "many elements": b"[" + b"1," * 500_000 + b"1]",
    "null": b"null",
    "text": b'"text"',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bad_input_any_bytes_are_answered_with_class_and_rule(body: bytes, client: httpx.Client) -> None:
    answer = client.post("/transactions", content=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["class"]
    assert answer.json()["rule"]
    assert "field" in answer.json()
    assert len(answer.content) < 2_000


# Broken HTTP

SMUGGLED = {
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 60\r\n\r\n{}" + GET,
    "the same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + GET,
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}" + GET,
    "length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + GET,
    "chunks and identity": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    + GET,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + GET,
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + GET,
    "a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + GET,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n{}" + GET,
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + GET,
    "a length in hex": POST + b"Content-Length: 0x2\r\n\r\n{}" + GET,
    "a length beyond 64 bits": POST + b"Content-Length: 99999999999999999999999999\r\n\r\n{}" + GET,
    "a chunk without size": CHUNKED + b"ZZ\r\n{}\r\n0\r\n\r\n" + GET,
    "a chunk of negative size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n" + GET,
    "a chunk beyond 64 bits": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n" + GET,
    "a chunk longer than it says": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n" + GET,
    "chunks with bare line feeds": CHUNKED + b"2\n{}\n0\n\n" + GET,
    "a folded header": b"GET /health/live HTTP/1.1\r\nHost: node\r\nA: b\r\n  c\r\n\r\n" + GET,
    "a NUL in a header": b"GET /health/live HTTP/1.1\r\nHost: node\r\nA: b\0c\r\n\r\n" + GET,
    "a NUL in the path": b"GET /api/v1/transactions/\0 HTTP/1.1\r\nHost: node\r\n\r\n" + GET,
    "no header name": b"GET /health/live HTTP/1.1\r\nHost: node\r\nA b: c\r\n\r\n" + GET,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 500,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED)
def test_broken_http_is_refused_once_and_nothing_after_it_is_read(data: bytes, node: NodeProcess) -> None:
    assert statuses(exchange(node.http_port, data)) == [400]


ENDLESS = {
    "headers": (b"GET /health/live HTTP/1.1\r\n", b"A: " + b"b" * 1_000 + b"\r\n"),
    "one header": (b"GET /health/live HTTP/1.1\r\nA: ", b"b" * 1_000),
    "empty lines": (b"", b"\r\n" * 500),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"A: b\r\n" * 200),
    "one trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nA: ", b"b" * 1_000),
    "trailers after the answer": (
        b"GET /health/live HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"A: b\r\n" * 200,
    ),
    "a chunk extension": (CHUNKED + b"2;", b"b" * 1_000),
    "chunks": (CHUNKED, b"400\r\n" + b"b" * 1_024 + b"\r\n"),
    "a body": (POST + b"Content-Length: 999999999999\r\n\r\n", b"b" * 1_000),
    "a bulk line": (BULK, b"400\r\n" + b"b" * 1_024 + b"\r\n"),
    "bulk lines without reading": (BULK, b"400\r\n" + b"[\n" * 512 + b"\r\n"),
    "a body of a GET": (b"GET /health/live HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", b"b" * 1_000),
}


@pytest.mark.parametrize(("head", "piece"), ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_cut_off(head: bytes, piece: bytes, node: NodeProcess) -> None:
    with socket.create_connection((HOST, node.http_port), timeout=30) as one:
        sent = 0
        with pytest.raises(ConnectionError):
            one.sendall(head)
            while sent < 512 * MEGABYTE:
                one.sendall(piece * 64)
                sent += len(piece) * 64


def test_requests_sent_ahead_without_reading_wait_in_the_clients_machine(node: NodeProcess) -> None:
    with socket.create_connection((HOST, node.http_port)) as one:
        one.settimeout(1)
        with pytest.raises(TimeoutError):
            for _ in range(64):  # 64 MiB, if the node took them
                one.sendall(GET * (MEGABYTE // len(GET)))


def test_many_half_requests_keep_nobody_out(node: NodeProcess) -> None:
    halves = [socket.create_connection((HOST, node.http_port)) for _ in range(500)]
    for number, one in enumerate(halves):
        one.sendall(POST[: 10 + number % 30])
    with httpx.Client(base_url=node.base_url, timeout=30) as other:
        assert other.get("/api/v1/blocks/latest").status_code == 200
    for one in halves:
        one.close()


def test_clients_that_reset_at_any_byte_leave_no_trace(node: NodeProcess) -> None:
    for number in range(200):
        body = Builder(Dialect.PLANETMINT_2).create(f"reset {number}").canonical
        data = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        one = socket.create_connection((HOST, node.http_port))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.sendall(data[: len(data) * number // 199])
        one.close()


# Rubbish in addresses

RUBBISH = [
    *(
        "",
        " ",
        "0",
        "-1",
        "1" * 5_000,
        "9" * 25,
        "1e9",
        "0x1",
        "\u0661",
        "true",
        "null",
        "\0",
        "\ud83d\ude00",
        "%",
    ),
    *("'", "';--", '"', '"""', "*", "a*", "^a", "-", "-a", "- -", "a -", "NEAR(a b)", "a NEAR/2 b", "a AND b"),
    *("NOT a", "OR", "text:a", "{a b}:c", "(a", ")", "a+b", '"a', '-"a b"', "\\", "a" * 999, "a " * 499),
    *('"a" ' * 249, "-a " * 333, "../..", "[]", "{}", ".."),
]
HASH, KEY = "0" * 64, "1" * 43
READS = [
    *("/transactions/{}", "/transactions?asset_id={}", "/transactions?asset_ids={}"),
    *(f"/transactions?asset_id={HASH}&{name}={{}}" for name in ("operation", "last_tx", "limit", "cursor")),
    "/outputs?public_key={}",
    *(f"/outputs?public_key={KEY}&{name}={{}}" for name in ("spent", "limit", "cursor")),
    *("/assets?search={}", "/assets?search=a&limit={}", "/assets?search=a&cursor={}", "/assets/{}", "/assets?{}"),
    *("/metadata?search={}", "/metadata/{}", "/metadata/x?limit={}", "/metadata/x?cursor={}"),
    *("/blocks/{}", "/blocks?transaction_id={}", "/blocks?transaction_id=0&view={}"),
    *("/{}", "/validators?{}={}", "/streams/{}"),
]


@pytest.mark.parametrize("template", READS)
def test_rubbish_in_addresses_is_never_an_error_of_the_node(template: str, client: httpx.Client) -> None:
    for value in RUBBISH:
        encoded = quote(value.encode("utf-8", "surrogatepass"), safe="")
        answer = client.get(httpx.URL(f"{client.base_url}".rstrip("/") + template.replace("{}", encoded)))
        assert answer.status_code in (200, 400, 404), (template, value[:50], answer.text[:200])


# The stream port


def test_stream_port_heads_that_are_none_are_refused_or_end_by_themselves(node: NodeProcess) -> None:
    for data in (b"A" * 20_000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4_000, HANDSHAKE.replace(b"Host", b"H o")):
        answer = exchange(node.stream_port, data)
        assert statuses(answer) in ([], [400], [431])


def test_stream_port_a_flood_of_pings_without_reading_is_bounded_and_others_are_served(
    node: NodeProcess, client: httpx.Client
) -> None:
    pings = b"\x89\x83\0\0\0\0abc" * 5_000
    with (
        socket.create_connection((HOST, node.stream_port), timeout=30) as flooder,
        socket.create_connection((HOST, node.stream_port), timeout=30) as silent,
        socket.create_connection((HOST, node.stream_port), timeout=30) as reader,
    ):
        for one in (flooder, silent, reader):
            one.sendall(HANDSHAKE)
            assert one.recv(65_536).startswith(b"HTTP/1.1 101 ")
        flooder.setblocking(False)
        builder = Builder(Dialect.PLANETMINT_2)
        items = [builder.create("flood", data=builder.dialect.content(f"flood {number}")) for number in range(300)]
        seen = b""
        for item in items:
            for _ in range(5):
                try:
                    flooder.send(pings)
                except BlockingIOError:
                    break
            assert client.post("/transactions?mode=commit", content=item.canonical).status_code == 202
        while seen.count(b'"transaction_id"') < len(items):
            seen += reader.recv(65_536)
        assert [found.decode() for found in re.findall(rb'"transaction_id":"([0-9a-f]{64})', seen)] == [
            item.id for item in items
        ]


# Impatient operators


def attempt(node: NodeProcess) -> str:
    """Start a node that must refuse to; its one line."""
    node.start()
    assert node.wait_end() == 1
    said = [line for line in node.log_text().splitlines() if "[INFO]" not in line]
    assert len(said) == 1, said
    assert said[0].startswith("Error: ")
    return said[0]


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a node that has been started once."""
    made = NodeProcess(tmp_path_factory.mktemp("founded") / "node")
    with made:
        pass
    return made.data_dir


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "database of random bytes": (lambda at: (at / "ledger.db").write_bytes(os.urandom(50_000)), "backup"),
    "half a database": (lambda at: os.truncate(at / "ledger.db", 10_000), "backup"),
    "a foreign database": (lambda at: foreign_database(at / "ledger.db"), "not a ledger of this program"),
    "a newer layout": (lambda at: newer_layout(at / "ledger.db"), "newer program"),
    "an empty key file": (lambda at: (at / "priv_validator_key.json").write_text(""), "holds no validator key"),
    "no key file": (lambda at: (at / "priv_validator_key.json").unlink(), "is missing"),
    "a file as folder": (lambda at: (shutil.rmtree(at), at.write_text("")), "PLANETMINT_DATA_DIR"),
}


def foreign_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name)")
    other.close()


def newer_layout(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()


@pytest.mark.parametrize(("damage", "advice"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_data_folder_is_one_line_that_says_what_to_do(
    damage: Callable[[Path], object], advice: str, founded: Path, tmp_path: Path
) -> None:
    node = NodeProcess(tmp_path / "node")
    shutil.copytree(founded, node.data_dir)
    damage(node.data_dir)
    assert advice in attempt(node)


def test_the_key_of_another_chain_is_refused(founded: Path, tmp_path: Path) -> None:
    other, node = NodeProcess(tmp_path / "other"), NodeProcess(tmp_path / "node")
    with other:
        pass
    shutil.copytree(founded, node.data_dir)
    shutil.copy(other.data_dir / "priv_validator_key.json", node.data_dir)
    assert "not a validator of the chain" in attempt(node)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_waits_for_no_client_and_leaves_no_traceback(
    number: signal.Signals, tmp_path: Path
) -> None:
    node = NodeProcess(tmp_path / "node", env={"PLANETMINT_SERVER_GRACEFUL_TIMEOUT": "300"})
    node.start().wait_ready()
    with socket.create_connection((HOST, node.http_port)) as client:
        client.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        exchange(node.http_port, GET, enough=lambda answer: b"200" in answer)  # by now the half request is there
        os.kill(node.pid, number)
        while "Stopping" not in node.log_text():
            time.sleep(0.01)
        os.kill(node.pid, number)
        assert node.wait_end() == 0
    assert "Traceback" not in node.log_text()
    assert "Stopped." in node.log_text()


def test_signals_and_kills_during_the_start_need_no_help_afterwards(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node")
    for number, wait in itertools.product((signal.SIGTERM, signal.SIGKILL), (0.2, 0.5, 0.8)):
        node.start()
        time.sleep(wait)
        os.kill(node.pid, number)
        node.wait_end()
    with node:
        pass
    assert "Traceback" not in node.log_text()


def test_a_second_node_or_command_on_one_folder_is_refused(shared: NodeProcess) -> None:
    for command in (["start"], ["-y", "drop"], ["migrate"]):
        done = subprocess.run(
            [sys.executable, "-m", "planetmint", *command],
            env=shared.environment(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"process {shared.pid}" in done.stderr
        assert "Traceback" not in done.stderr
