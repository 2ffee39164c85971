# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames of the ABCI socket (consensus-and-storage 4): any cut of the bytes gives the same messages."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetmint.consensus.cometbft.framing import FrameReader, ProtocolError, frame, prefix


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def read(pieces: list[bytes], max_frame: int = 1_000) -> tuple[list[bytes], str | None]:
    reader = FrameReader(max_frame)
    messages = [message for piece in pieces for message in reader.feed(piece)]
    return messages, None if reader.error is None else str(reader.error)


@pytest.mark.parametrize(
    ("length", "octets"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16_383, "ff7f"), (16_384, "808001")],
)
def test_a_length_is_an_unsigned_varint(length: int, octets: str) -> None:
    assert prefix(length).hex() == octets
    assert read([bytes.fromhex(octets) + b"x" * length], 20_000) == ([b"x" * length], None)


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(0, 10_000), max_size=20))
def test_messages_come_back_whole_however_the_bytes_are_cut(messages: list[bytes], places: list[int]) -> None:
    data = b"".join(frame(message) for message in messages)
    assert read(cut(data, places)) == (messages, None)


@given(st.binary(max_size=400), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_bytes_give_the_same_messages_and_the_same_error_however_they_are_cut(
    data: bytes, places: list[int]
) -> None:
    assert read(cut(data, places), 50) == read([data], 50)


@given(st.binary(min_size=1, max_size=400))
def test_what_is_read_is_what_was_written(data: bytes) -> None:
    messages, error = read([data], 50)
    written = b"".join(frame(message) for message in messages)
    # A length may be spelled longer than it needs to be; the spelling that is written is the shortest.
    assert len(written) <= len(data)
    if error is None and written == data[: len(written)]:
        assert FrameReader(50).feed(written) == messages


def test_a_message_may_have_the_greatest_length_and_no_more() -> None:
    assert read([frame(b"x" * 1_000)]) == ([b"x" * 1_000], None)
    messages, error = read([frame(b"a") + frame(b"x" * 1_001) + frame(b"b")])
    assert messages == [b"a"]
    assert error is not None
    assert "1000" in error


def test_a_length_that_never_ends_is_refused() -> None:
    messages, error = read([b"\x80" * 5])
    assert (messages, error is not None) == ([], True)


def test_nothing_is_read_after_an_error() -> None:
    reader = FrameReader(10)
    assert reader.feed(frame(b"x" * 11)) == []
    assert isinstance(reader.error, ProtocolError)
    assert reader.feed(frame(b"good")) == []
    assert reader.held == 0


def test_a_long_message_is_held_until_it_is_complete() -> None:
    reader = FrameReader()
    data = frame(b"x" * 500_000)
    for start in range(0, len(data) - 1, 65_536):
        assert reader.feed(data[start : min(start + 65_536, len(data) - 1)]) == []
    assert reader.held == len(data) - 1
    assert reader.feed(data[-1:]) == [b"x" * 500_000]
