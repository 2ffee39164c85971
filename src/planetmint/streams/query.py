# SPDX-License-Identifier: AGPL-3.0-or-later
"""The query string of a stream URL: filters, where to begin, and what messages carry.

Parameters that are not known are passed over, as old servers do with all of them (ES-9), so that a URL with
parameters can be given to any node.
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from planetmint.streams.catalogue import Stream, View
from planetmint.streams.cursor import BadCursor, Position, parse_cursor, parse_number
from planetmint.streams.errors import BadParameter
from planetmint.streams.filters import EVERYTHING, FILTER_PARAMETERS, MAX_VALUES, parse_filter

PARAMETERS = (*FILTER_PARAMETERS, "empty", "from_height", "after", "cursor")
"""Every parameter that a stream URL may have."""

_MAX_FIELDS = 2 * MAX_VALUES
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for.

    Attributes:
        view: Which messages, in which form.
        start: Where to begin; None for "from now on".
    """

    view: View
    start: Position | None


def parse_query(query: str, stream: Stream, label: str, head: int) -> Wanted:
    """Read a query string.

    Args:
        query: What follows the question mark, still percent-encoded.
        stream: The stream that is asked for.
        label: Of the chain.
        head: Height of the newest block.

    Raises:
        BadParameter: See EX-1 to EX-8.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise BadParameter("query", f"at most {_MAX_FIELDS} parameters") from None
    wanted = parse_filter(pairs)
    start = _start(pairs, label, head)
    view = View(
        stream=stream,
        filter=EVERYTHING if wanted.open else wanted,
        cursors=_flag(pairs, "cursor") or start is not None,
        empty=_flag(pairs, "empty"),
        label=label,
    )
    return Wanted(view, start)


def _start(pairs: list[tuple[str, str]], label: str, head: int) -> Position | None:
    after, from_height = _single(pairs, "after"), _single(pairs, "from_height")
    if after is not None and from_height is not None:
        raise BadParameter("after", "cannot be combined with from_height")
    if from_height is not None:
        return _from_height(from_height)
    if after is None:
        return None
    try:
        position = parse_cursor(after, label)
    except BadCursor as error:
        raise BadParameter("after", str(error)) from None
    if position.height + (position.skip > 0) > head:
        raise BadParameter("after", f"is beyond the chain's head, which is {label}.{head}")
    return position


def _from_height(text: str) -> Position:
    height = parse_number(text)
    if height is None:
        raise BadParameter("from_height", "must be a whole number, 0 or more")
    return Position(max(height - 1, 0))


def _single(pairs: list[tuple[str, str]], name: str) -> str | None:
    values = {value for key, value in pairs if key == name}
    if len(values) > 1:
        raise BadParameter(name, "must be given once")
    return values.pop() if values else None


def _flag(pairs: list[tuple[str, str]], name: str) -> bool:
    text = _single(pairs, name)
    if text is None:
        return False
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise BadParameter(name, "must be true or false") from None
