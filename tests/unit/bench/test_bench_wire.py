# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers, frames and counts come out the same however the bytes were cut on their way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from bench import wire

FIXED = b"HTTP/1.1 202 ACCEPTED\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"


@pytest.mark.parametrize(("answer", "status", "body"), [(FIXED, 202, b"hello"), (CHUNKED, 200, b"abc0123456789")])
def test_an_answer_is_found_only_when_it_is_complete(answer: bytes, status: int, body: bytes) -> None:
    for end in range(len(answer)):
        assert wire.parse_response(answer[:end]) is None
    assert wire.parse_response(answer + b"HTTP/1.1 404") == wire.Response(status, body, len(answer))


def test_an_answer_without_a_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a length"):
        wire.parse_response(b"HTTP/1.1 200 OK\r\n\r\nhello")


@given(st.lists(st.integers(0, 300) | st.integers(65_530, 65_540), max_size=5), st.data())
def test_frames_are_read_as_a_websocket_library_writes_them(lengths: list[int], data: st.DataObject) -> None:
    payloads = [bytes([length % 251]) * length for length in lengths]
    sent = b"".join(Frame(Opcode.TEXT, payload).serialize(mask=False) for payload in payloads)
    cut = data.draw(st.integers(0, len(sent)))
    first = list(wire.frames(sent[:cut]))
    end = first[-1].end if first else 0
    rest = list(wire.frames(sent[end:]))
    assert [frame.payload for frame in first + rest] == payloads
    assert {frame.opcode for frame in first + rest} <= {wire.TEXT}


def test_a_pong_is_masked_and_carries_the_payload_of_the_ping() -> None:
    assert wire.pong(b"abc") == b"\x8a\x83\x00\x00\x00\x00abc"


@given(st.integers(0, 20), st.lists(st.integers(1, 40), max_size=60))
def test_keys_are_counted_however_the_stream_is_cut(messages: int, sizes: list[int]) -> None:
    stream = b'\x81\x20{"height":1,"transaction_id":"aa"}' * messages
    counter, at = wire.KeyCounter(), 0
    for size in sizes:
        counter.feed(stream[at : at + size])
        at += size
    assert counter.feed(stream[at:]) == messages
