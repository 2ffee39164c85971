# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames of clients: what is answered, what is thrown away, what ends the connection."""

import pytest

from planetmint.streams.incoming import Closed, Incoming, Pinged
from tests.unit.streams.world import client_frame

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
BOUND = 1_000


def events(*pieces: bytes) -> list[Pinged | Closed]:
    incoming = Incoming(BOUND)
    found: list[Pinged | Closed] = []
    for piece in pieces:
        incoming.feed(piece)
        found += [event for event in incoming.events() if event is not None]
    return found


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


HARMLESS = {
    "text": client_frame(TEXT, b"hello"),
    "empty text": client_frame(TEXT),
    "binary": client_frame(BINARY, bytes(range(256))),
    "text of the longest allowed size": client_frame(TEXT, b"x" * BOUND),
    "fragmented text": client_frame(TEXT, b"he", fin=False) + client_frame(CONTINUATION, b"llo"),
    "character split over fragments": client_frame(TEXT, "é".encode()[:1], fin=False)
    + client_frame(CONTINUATION, "é".encode()[1:]),
    "pong nobody asked for": client_frame(PONG, b"x"),
    "many messages below the bound": client_frame(BINARY, b"x" * BOUND) * 3,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_es_12_es_14_es_19_client_messages_are_thrown_away(name: str) -> None:
    assert events(HARMLESS[name]) == []
    assert events(*bytewise(HARMLESS[name])) == []


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff" * 62 + b"y"])
def test_es_11_pings_are_to_be_answered_with_their_payload(payload: bytes) -> None:
    assert events(client_frame(PING, payload)) == [Pinged(payload)]
    assert events(*bytewise(client_frame(PING, payload))) == [Pinged(payload)]


def test_es_11_a_ping_between_fragments_is_answered() -> None:
    data = client_frame(TEXT, b"a", fin=False) + client_frame(PING, b"p") + client_frame(CONTINUATION, b"b")
    assert events(data) == [Pinged(b"p")]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 1012, 3000, 4999])
def test_es_16_a_close_frame_is_echoed_with_its_code(code: int) -> None:
    assert events(client_frame(CLOSE, code.to_bytes(2, "big") + b"bye")) == [Closed(code)]


def test_es_16_an_empty_close_frame_is_answered_by_an_empty_one() -> None:
    assert events(client_frame(CLOSE)) == [Closed(None)]


def test_nothing_after_a_close_frame_is_looked_at() -> None:
    assert events(client_frame(CLOSE) + client_frame(PING, b"x"), client_frame(PING, b"y")) == [Closed(None)]


FAULTS = {
    "reserved bit 1": (1002, client_frame(TEXT, b"x", reserved=4)),
    "reserved bit 2": (1002, client_frame(TEXT, b"x", reserved=2)),
    "reserved bit 3": (1002, client_frame(PING, b"x", reserved=1)),
    "reserved opcode 3": (1002, client_frame(3, b"x")),
    "reserved opcode 7": (1002, client_frame(7)),
    "reserved opcode 11": (1002, client_frame(11, b"x")),
    "reserved opcode 15": (1002, client_frame(15)),
    "no mask": (1002, client_frame(TEXT, b"x", mask=False)),
    "fragmented ping": (1002, client_frame(PING, b"x", fin=False)),
    "fragmented close": (1002, client_frame(CLOSE, b"", fin=False)),
    "long ping": (1002, client_frame(PING, b"x" * 126)),
    "continuation of nothing": (1002, client_frame(CONTINUATION, b"x")),
    "text inside a text": (1002, client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y")),
    "binary inside a text": (1002, client_frame(TEXT, b"x", fin=False) + client_frame(BINARY, b"y")),
    "length not in its shortest form": (1002, b"\x82\xfe\x00\x05" + b"\0" * 9),
    "length with the highest bit": (1002, b"\x82\xff" + b"\xff" * 8 + b"\0" * 4),
    "close of one byte": (1002, client_frame(CLOSE, b"\x03")),
    "close with code 999": (1002, client_frame(CLOSE, b"\x03\xe7")),
    "close with code 1005": (1002, client_frame(CLOSE, b"\x03\xed")),
    "close with code 1006": (1002, client_frame(CLOSE, b"\x03\xee")),
    "close with code 1015": (1002, client_frame(CLOSE, b"\x03\xf7")),
    "close with code 2999": (1002, client_frame(CLOSE, b"\x0b\xb7")),
    "close with code 5000": (1002, client_frame(CLOSE, b"\x13\x88")),
    "close reason that is not UTF-8": (1007, client_frame(CLOSE, b"\x03\xe8\xff")),
    "text that is not UTF-8": (1007, client_frame(TEXT, b"\xff")),
    "text with a surrogate": (1007, client_frame(TEXT, b"\xed\xa0\x80")),
    "text beyond Unicode": (1007, client_frame(TEXT, b"\xf4\x90\x80\x80")),
    "text that ends inside a character": (1007, client_frame(TEXT, "é".encode()[:1])),
    "fragments that end inside a character": (
        1007,
        client_frame(TEXT, "é".encode()[:1], fin=False) + client_frame(CONTINUATION),
    ),
    "text beyond the bound": (1009, client_frame(TEXT, b"x" * (BOUND + 1))),
    "binary beyond the bound": (1009, client_frame(BINARY, b"x" * (BOUND + 1))),
    "text beyond the bound in bytes": (1009, client_frame(TEXT, "é".encode() * (BOUND // 2 + 1))),
    "fragments beyond the bound together": (
        1009,
        client_frame(BINARY, b"x" * BOUND, fin=False) + client_frame(CONTINUATION, b"x"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_es_15_breaches_of_the_protocol_end_the_connection_with_the_right_code(name: str) -> None:
    code, data = FAULTS[name]
    for pieces in ([data], bytewise(data)):
        (event,) = events(*pieces)
        assert isinstance(event, Closed)
        assert (event.code, event.fault) == (code, True)


def test_es_15_a_long_message_is_refused_before_it_has_come_and_without_gathering_it() -> None:
    incoming = Incoming(BOUND)
    incoming.feed(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\0" * 4)
    found: list[object] = []
    for _ in range(3):
        incoming.feed(b"x" * 400)
        found += [event for event in incoming.events() if event is not None]
    (event,) = found
    assert isinstance(event, Closed)
    assert event.code == 1009
