# SPDX-License-Identifier: AGPL-3.0-or-later
"""Positions in a stream and their text."""

import pytest

from planetmint.streams.cursor import BadCursor, Position, cursor_text, parse_cursor, parse_number

LABEL = "c0ffee00"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("c0ffee00.7.2", Position(6, 3)),
        ("c0ffee00.7", Position(7)),
        ("7.2", Position(6, 3)),
        ("7.0", Position(6, 1)),
        ("7", Position(7)),
        ("0", Position(0)),
        ("c0ffee00.0", Position(0)),
    ],
)
def test_ex_7_cursor_with_or_without_label_and_index(text: str, position: Position) -> None:
    assert parse_cursor(text, LABEL) == position


@pytest.mark.parametrize(
    ("position", "text"),
    [(Position(0), "c0ffee00.0"), (Position(7), "c0ffee00.7"), (Position(6, 3), "c0ffee00.7.2")],
)
def test_ex_7_a_written_cursor_reads_back_as_the_same_position(position: Position, text: str) -> None:
    assert cursor_text(LABEL, position) == text
    assert parse_cursor(text, LABEL) == position


@pytest.mark.parametrize("text", ["deadbeef.7.2", "deadbeef.7", "00000000.7.2"])
def test_ex_7_cursor_of_another_chain_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadCursor, match=f"chain {text[:8]}; this chain is {LABEL}"):
        parse_cursor(text, LABEL)


def test_ex_7_a_label_of_digits_only_is_a_label_where_it_is_this_chains() -> None:
    assert parse_cursor("12345678.5", "12345678") == Position(5)
    assert parse_cursor("12345678.5", LABEL) == Position(12345677, 6)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "...", "a", "-1", "1.-1", "1.2.3.4", "+1", "1 ", " 1", "1_0", "٣", "1e3", "\0", "\n1"),
        *("c0ffee00", "c0ffee00.", "c0ffee00.x.1", "c0ffee00.1.x", "c0ffee00.1.2.", "0.0", "c0ffee00.0.0"),
        *("1" * 19, "c0ffee00.1." + "9" * 19),
    ],
)
def test_ex_7_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        parse_cursor(text, LABEL)


def test_numbers_are_plain_and_bounded() -> None:
    assert parse_number("007") == 7
    assert parse_number("9" * 18) == 10**18 - 1
    assert parse_number("9" * 19) is None
    assert parse_number("") is None
