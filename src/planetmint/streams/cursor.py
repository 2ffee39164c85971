# SPDX-License-Identifier: AGPL-3.0-or-later
"""Positions in a stream: the same on every node, valid for ever (decision D12).

A cursor is `<chain label>.<height>.<index>` for a transaction and `<chain label>.<height>` for a whole block; a
client may leave the label out. Source: EX-6 to EX-8.
"""

import re
from typing import NamedTuple

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_LABEL = re.compile(r"[0-9a-zA-Z_-]{1,64}", re.ASCII)


class BadCursor(Exception):
    """A cursor that cannot be read or belongs to another chain; the text says which."""


class Position(NamedTuple):
    """How far a reader has got.

    Attributes:
        height: Every block up to this one counts as read; 0 at the beginning.
        skip: So many transactions of the next block count as read too.
    """

    height: int
    skip: int = 0


def block_cursor(label: str, height: int) -> str:
    """The cursor of a whole block."""
    return f"{label}.{height}"


def cursor_text(label: str, position: Position) -> str:
    """The cursor after which a reader at `position` goes on."""
    if position.skip:
        return f"{label}.{position.height + 1}.{position.skip - 1}"
    return block_cursor(label, position.height)


def parse_number(text: str) -> int | None:
    """A decimal number of at most 18 digits without a sign, else None."""
    return int(text) if _NUMBER.fullmatch(text) else None


def parse_cursor(text: str, label: str) -> Position:
    """The position that a cursor names.

    Args:
        text: As the client sent it.
        label: Of this chain. Where a text of two parts could begin with a label or with a height, it is a label
            if it is this one.

    Raises:
        BadCursor: Not a cursor, or one of another chain.
    """
    parts = text.split(".")
    if len(parts) == 3 or (len(parts) == 2 and (parts[0] == label or parse_number(parts[0]) is None)):
        _check_label(parts.pop(0), label)
    numbers = [parse_number(part) for part in parts]
    if len(numbers) > 2 or None in numbers:
        raise BadCursor("must be <chain label>.<height>.<index>, <height>.<index> or <height>")
    height, *index = [number for number in numbers if number is not None]
    if not index:
        return Position(height)
    if height == 0:
        raise BadCursor("no block of height 0 holds transactions")
    return Position(height - 1, index[0] + 1)


def _check_label(text: str, label: str) -> None:
    if text == label:
        return
    if _LABEL.fullmatch(text):
        raise BadCursor(f"is a cursor of chain {text}; this chain is {label}")
    raise BadCursor("must begin with the chain's label or with a height")
