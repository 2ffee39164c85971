# SPDX-License-Identifier: AGPL-3.0-or-later
"""How commands ask the running node: its address, TLS with its own certificate, and answers that are none."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from planetmint.cli.console import CommandFailed
from planetmint.cli.node_client import NodeClient, Refused
from planetmint.runtime.settings import ServerSettings
from tests.unit.streams.tls import certificate_files


@contextmanager
def answering(
    status: int, body: bytes, certificate: tuple[Path, Path] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything alike; its port, and the request lines that it got."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "", "localhost"])
def test_the_node_is_asked_where_it_listens_and_by_no_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(200, b"[1, 2]") as (port, asked):
        client = NodeClient(ServerSettings(bind=f"{host}:{port}"))
        assert client.get("/outputs", public_key="a b", spent="false") == [1, 2]
    assert asked == ["GET /api/v1/outputs?public_key=a+b&spent=false"]


def test_a_node_with_a_certificate_is_asked_by_tls_and_no_other_is_believed(tmp_path: Path) -> None:
    own = certificate_files(tmp_path)
    with answering(202, b"{}", own) as (port, asked):
        NodeClient(ServerSettings(bind=f"127.0.0.1:{port}", certfile=str(own[0]))).post(b"{}")
        with pytest.raises(CommandFailed, match="does not answer"):
            NodeClient(ServerSettings(bind=f"127.0.0.1:{port}")).post(b"{}")
    assert asked == ["POST /api/v1/transactions?mode=commit"]
    with pytest.raises(CommandFailed, match=r"server\.certfile: .*missing\.pem"):
        NodeClient(ServerSettings(certfile=str(tmp_path / "missing.pem")))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "Invalid transaction", "status": 400}', "Invalid transaction"),
        (b"<html>proxy</html>", "<html>proxy</html>"),
        (b"[]", r"\[\]"),
        (b"\xff", "�"),
        (b"", "no reason was given"),
    ],
)
def test_a_refusal_says_what_the_node_said(body: bytes, message: str) -> None:
    with answering(400, body) as (port, _), pytest.raises(Refused, match=message) as refused:
        NodeClient(ServerSettings(bind=f"127.0.0.1:{port}")).post(b"{}")
    assert refused.value.status == 400


def test_what_is_no_node_is_said_to_be_none() -> None:
    with answering(200, b"<html>") as (port, _), pytest.raises(CommandFailed, match="is no node"):
        NodeClient(ServerSettings(bind=f"127.0.0.1:{port}")).get("/validators")
