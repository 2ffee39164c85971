# SPDX-License-Identifier: AGPL-3.0-or-later
"""The small part of ASN.1 DER that crypto-conditions need: definite lengths and one-byte tags.

Reading here checks that lengths fit; that an encoding is the only right one (shortest lengths and integers,
sets in order) is proven by writing the value again and comparing, see `planetmint.conditions.fulfillment`.
"""

from collections.abc import Iterable
from typing import Final

SEQUENCE: Final = 0x30
CONSTRUCTED: Final = 0xA0
"""Context-specific tag of a member that holds other elements; add its number."""
PRIMITIVE: Final = 0x80
"""Context-specific tag of a member that holds octets; add its number."""

_MAX_LENGTH_OCTETS = 4


class DerError(ValueError):
    """The octets are not what was expected."""


def element(tag: int, content: bytes) -> bytes:
    """One element: tag, shortest length, content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def integer(value: int) -> bytes:
    """Content of an INTEGER of 0 or more: big-endian two's complement, as short as possible."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def set_of(encodings: Iterable[bytes]) -> bytes:
    """Content of a SET OF complete elements: in order of their encodings."""
    return b"".join(sorted(encodings))


def bit_string(bits: Iterable[int]) -> bytes:
    """Content of a BIT STRING with these bit numbers set and no zero bits at the end."""
    numbers = sorted(bits)
    if not numbers:
        return b"\0"
    size = numbers[-1] // 8 + 1
    value = sum(1 << (size * 8 - 1 - number) for number in numbers)
    unused = size * 8 - 1 - numbers[-1]
    return bytes((unused,)) + value.to_bytes(size, "big")


def read_element(data: bytes, start: int, end: int) -> tuple[int, int, int]:
    """Find the element at `start`; answers its tag and where its content begins and ends.

    Raises:
        DerError: There is none, or it does not end at or before `end`.
    """
    if end - start < 2:
        raise DerError("an element is cut off")
    tag, size, begin = data[start], data[start + 1], start + 2
    if size >= 0x80:
        octets = size - 0x80
        if not 1 <= octets <= _MAX_LENGTH_OCTETS or begin + octets > end:
            raise DerError("a length cannot be read")
        size = int.from_bytes(data[begin : begin + octets], "big")
        begin += octets
    if begin + size > end:
        raise DerError("an element is longer than what holds it")
    return tag, begin, begin + size


def read_members(data: bytes, start: int, end: int, tags: Iterable[int]) -> list[tuple[int, int]]:
    """Find members with exactly these tags, in this order, filling `start` to `end`; answers their contents.

    Raises:
        DerError: Something else stands there.
    """
    spans = []
    for expected in tags:
        tag, begin, stop = read_element(data, start, end)
        if tag != expected:
            raise DerError("a member has the wrong tag")
        spans.append((begin, stop))
        start = stop
    if start != end:
        raise DerError("octets follow the last member")
    return spans


def read_integer(content: bytes, maximum: int) -> int:
    """Read the content of an INTEGER from 0 to `maximum`. Raises DerError for any other."""
    value = int.from_bytes(content, "big", signed=True)
    if not content or not 0 <= value <= maximum:
        raise DerError("an integer is missing or out of range")
    return value


def read_bit_string(content: bytes) -> frozenset[int]:
    """Numbers of the bits that are set. Raises DerError where the content is malformed."""
    if not content or content[0] > 7 or (len(content) == 1 and content[0]):
        raise DerError("a bit string is malformed")
    bits = range((len(content) - 1) * 8 - content[0])
    return frozenset(bit for bit in bits if content[1 + bit // 8] & (0x80 >> bit % 8))
