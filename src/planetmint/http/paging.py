# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages of a list: `limit` and an opaque `cursor`, and where the next page begins.

The body of a list stays a plain array, so the cursor travels in headers. A cursor is the store's place in a
list, tied to the route by a checksum: one that was cut, mistyped or made for another list is refused.
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import quote
from zlib import crc32

from planetmint.http.answers import Header
from planetmint.http.arguments import Arguments, limit
from planetmint.ports.store import Cursor, Paging

BAD_CURSOR = "is not a cursor of this list"

_CHECK_BYTES = 4
_IN_LINKS = "%/?&=:;,+!$*()@~'"
_LONGEST = 400
_PLACES = re.compile(rb"-?[0-9]{1,18}(?:,-?[0-9]{1,18}){0,7}")


def read_paging(arguments: Arguments, route: str, default: int | None = None) -> Paging:
    """The page that a request asks for.

    Args:
        arguments: `limit` (absent or 0: `default`) and `cursor` are looked at.
        route: Names the list.
        default: Items without a limit; None for all.

    Raises:
        ArgumentError: One of the two is ill-formed.
    """
    wanted = arguments.optional("limit", limit)
    after = arguments.optional("cursor", lambda text: decode_cursor(route, text))
    return Paging(wanted or default, after)


def next_page(route: str, target: bytes, query: bytes, following: Cursor | None) -> tuple[Header, ...]:
    """Headers that tell where the list goes on; none at its end.

    Args:
        route: Names the list.
        target: Path of the request as sent.
        query: Query string as sent; all of it but the cursor is kept in the link.
        following: The store's place.
    """
    if following is None:
        return ()
    cursor = encode_cursor(route, following)
    kept = [part for part in query.split(b"&") if part and part.partition(b"=")[0] != b"cursor"]
    link = target + b"?" + b"&".join([*kept, b"cursor=" + cursor])
    return (
        (b"link", b'<%b>; rel="next"' % quote(link, safe=_IN_LINKS).encode("ascii")),
        (b"x-next-cursor", cursor),
        (b"access-control-expose-headers", b"Link, X-Next-Cursor"),
    )


def encode_cursor(route: str, cursor: Cursor) -> bytes:
    """A cursor as clients see it: letters, digits, minus and underscore."""
    places = ",".join(map(str, cursor)).encode("ascii")
    return urlsafe_b64encode(_check(route, places) + places).rstrip(b"=")


def decode_cursor(route: str, text: str) -> Cursor:
    """Read what `encode_cursor` wrote for the same list. Raises ValueError for everything else."""
    if len(text) > _LONGEST:
        raise ValueError(BAD_CURSOR)
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError(BAD_CURSOR) from None
    places = raw[_CHECK_BYTES:]
    if not _PLACES.fullmatch(places) or raw[:_CHECK_BYTES] != _check(route, places):
        raise ValueError(BAD_CURSOR)
    return tuple(map(int, places.split(b",")))


def _check(route: str, places: bytes) -> bytes:
    return crc32(places, crc32(route.encode("utf-8"))).to_bytes(_CHECK_BYTES, "big")
