# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames that the node sends, read back by an independent implementation."""

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage

from planetmint.streams.frames import PING, close_frame, pong_frame, text_frames


def read(data: bytes) -> list[Event]:
    peer = Connection(ConnectionType.CLIENT)
    peer.receive_data(data)
    return list(peer.events())


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 2_047, 2_048, 65_535, 65_536, 200_000])
def test_es_19_every_message_is_one_text_frame_of_any_length(length: int) -> None:
    first, second = read(text_frames(["a" * length, "z"]))
    assert isinstance(first, TextMessage)
    assert first.data == "a" * length
    assert first.message_finished
    assert isinstance(second, TextMessage)
    assert second.data == "z"


def test_no_messages_are_no_bytes() -> None:
    assert text_frames([]) == b""


def test_es_11_pong_carries_the_payload() -> None:
    assert read(pong_frame(b"\x00" * 125)) == [Pong(payload=b"\x00" * 125)]


def test_es_13_ping() -> None:
    assert read(PING) == [Ping(payload=b"")]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1007, 1009, 1011, 1013])
def test_es_16_close_frame_with_code_and_reason(code: int) -> None:
    assert read(close_frame(code, "why")) == [CloseConnection(code=code, reason="why")]


def test_es_16_close_frame_without_code() -> None:
    assert close_frame(None) == b"\x88\x00"


def test_es_28_a_reason_is_cut_at_123_bytes_and_never_inside_a_character() -> None:
    (event,) = read(close_frame(1013, "x" * 122 + "é"))
    assert event == CloseConnection(code=1013, reason="x" * 122)
    (event,) = read(close_frame(1013, "x" * 121 + "éé"))
    assert event == CloseConnection(code=1013, reason="x" * 121 + "é")
