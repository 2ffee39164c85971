# SPDX-License-Identifier: AGPL-3.0-or-later
"""Request heads, and what they are answered."""

import base64
import json

import pytest

from planetmint.streams.cursor import Position
from planetmint.streams.query import PARAMETERS
from planetmint.streams.request import Answer, BadHead, Request, Upgrade, decide, parse_head
from tests.unit.streams.world import BLOCKS, LABEL, TRANSACTIONS, handshake, key_of


def request(data: bytes) -> Request:
    return parse_head(data.removesuffix(b"\r\n\r\n"))


def decided(data: bytes, *, room: bool = True) -> Answer | Upgrade:
    return decide(request(data), label=LABEL, head=10, room=room)


def answer(data: bytes, *, room: bool = True) -> Answer:
    found = decided(data, room=room)
    assert isinstance(found, Answer)
    return found


def plain(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


@pytest.mark.parametrize("path", [TRANSACTIONS, BLOCKS, TRANSACTIONS + "/", "/api//v1/streams//valid_blocks//"])
def test_es_2_es_6_a_handshake_on_a_stream_path_is_granted_with_or_without_slash(path: str) -> None:
    found = decided(handshake(path))
    assert isinstance(found, Upgrade)
    # The accept value is the example of RFC 6455 1.3.
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in found.answer
    assert found.answer.startswith(b"HTTP/1.1 101 ")


def test_es_8_any_origin_is_accepted() -> None:
    assert isinstance(decided(handshake(TRANSACTIONS, "Origin: https://elsewhere.example")), Upgrade)
    assert isinstance(decided(handshake(TRANSACTIONS, "Origin: null")), Upgrade)


def test_es_9_no_subprotocol_and_no_extension_is_chosen_and_unknown_parameters_are_fine() -> None:
    offer = ("Sec-WebSocket-Protocol: chat, superchat", "Sec-WebSocket-Extensions: permessage-deflate")
    found = decided(handshake(TRANSACTIONS + "?foo=1", *offer))
    assert isinstance(found, Upgrade)
    assert b"Sec-WebSocket-Protocol" not in found.answer
    assert b"Sec-WebSocket-Extensions" not in found.answer


def test_a_handshake_names_its_filter_and_its_beginning() -> None:
    found = decided(handshake(f"{TRANSACTIONS}?public_key={key_of('a')}&from_height=3"))
    assert isinstance(found, Upgrade)
    assert found.wanted.start == Position(2)
    assert found.wanted.view.filter.public_keys == {key_of("a")}


@pytest.mark.parametrize(
    "path", ["/api/v1/streams/nothing", "/api/v1/streams", "/x", "/api/v2/streams/valid_blocks"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_paths_are_404_plain_or_upgrade(path: str, method: str) -> None:
    assert answer(handshake(path)).status == 404
    found = answer(plain(method, path))
    assert json.loads(found.body) == {"message": "Not found", "status": 404}


def test_a_plain_get_on_a_stream_path_is_told_to_upgrade() -> None:
    found = answer(plain("GET", TRANSACTIONS))
    assert found.status == 426
    assert ("Upgrade", "websocket") in found.headers
    assert json.loads(found.body)["status"] == 426


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "CONNECT"])
def test_other_methods_are_405_with_allow(method: str) -> None:
    found = answer(plain(method, TRANSACTIONS))
    assert found.status == 405
    assert ("Allow", "GET, HEAD, OPTIONS") in found.headers


def test_options_is_answered_for_browsers() -> None:
    found = answer(plain("OPTIONS", TRANSACTIONS))
    assert found.status == 200
    assert b"Access-Control-Allow-Origin: *\r\n" in found.render()


def test_another_websocket_version_is_told_which_one_is_spoken() -> None:
    found = answer(handshake(TRANSACTIONS, version="8"))
    assert found.status == 426
    assert ("Sec-WebSocket-Version", "13") in found.headers


@pytest.mark.parametrize("key", ["", "short", base64.b64encode(b"x" * 15).decode(), "*" * 24, "é" * 24])
def test_a_wrong_key_is_400(key: str) -> None:
    data = handshake().replace(b"dGhlIHNhbXBsZSBub25jZQ==", key.encode("latin-1"))
    assert answer(data).status == 400


def test_es_17_without_room_a_handshake_is_503_with_retry_after() -> None:
    found = answer(handshake(), room=False)
    assert found.status == 503
    assert ("Retry-After", "5") in found.headers
    assert answer(plain("GET", "/"), room=False).status == 200


@pytest.mark.parametrize("name", PARAMETERS)
def test_ill_formed_parameters_refuse_the_handshake_naming_the_parameter(name: str) -> None:
    found = answer(handshake(f"{TRANSACTIONS}?{name}=!"))
    assert found.status == 400
    body = json.loads(found.body)
    assert body["status"] == 400
    assert list(body["message"]) == [name]


def test_es_30_the_root_serves_a_page_that_needs_nothing_from_elsewhere() -> None:
    found = answer(plain("GET", "/"))
    assert (found.status, found.content_type) == (200, "text/html; charset=utf-8")
    policy = dict(found.headers)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src ws: wss:" in policy
    assert policy.count("'sha256-") == 2
    for outside in (b"src=", b"http://", b"https://", b"@import", b"url("):
        assert outside not in found.body.replace(b'location.protocol === "https:"', b"")


def test_head_requests_get_the_head_only() -> None:
    found = answer(plain("HEAD", "/"))
    rendered = found.render(with_body=False)
    assert rendered.endswith(b"\r\n\r\n")
    assert f"Content-Length: {len(found.body)}\r\n".encode() in rendered


def test_repeated_headers_and_any_letter_case_are_understood() -> None:
    data = handshake().replace(b"Connection: keep-alive, Upgrade", b"CONNECTION: keep-alive\r\nconnection:UPGRADE")
    assert isinstance(decided(data.replace(b"Upgrade: websocket", b"upgrade:\t WebSocket ")), Upgrade)


def test_the_absolute_form_of_a_target_is_understood() -> None:
    assert isinstance(decided(handshake("http://example.com:9985" + TRANSACTIONS + "?cursor=true")), Upgrade)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"GET",
        b"GET /",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.1 x",
        b"get / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\n: no name",
        b"GET / HTTP/1.1\r\nHost : x",
        b"GET / HTTP/1.1\r\n folded: x",
        b"GET / HTTP/1.1\r\nHost: a\0b",
        b"GET / HTTP/1.1\r\nHost: a\nb: c",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_what_is_no_request_head_is_400(data: bytes) -> None:
    with pytest.raises(BadHead) as caught:
        parse_head(data)
    assert caught.value.answer.status == 400


def test_a_head_full_of_spaces_is_read_in_linear_time() -> None:
    head = b"GET / HTTP/1.1\r\na:" + b" \t" * 500_000 + b"x"
    assert parse_head(head).headers == {"a": "x"}
