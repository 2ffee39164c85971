# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run prints besides its result: its beginning and its end are kept, and complaints about memory noticed.

Messages are for people and never end a run, however many there are: an engine that fails prints all it holds. But
an engine that is refused memory goes on to "false", which would be a verdict, and nothing but its messages tells.
"""

import re

KEPT_BYTES = 128 << 10
"""Of the beginning, and of the end. The same on every node, whatever it grants."""
_LINE_BYTES = 16 << 10
"""Of a line that has not ended yet, its beginning."""

_MARKED = re.compile(rb'^"?(?:\[W\] +)?\[!\].*', re.MULTILINE)
"""A line of the engine about what failed, of a program in quotes; each is passed once.

What the sender wrote stands behind such a mark as it is, with the line ends that JSON and encodings may hold, so a
sender can feign a complaint. It follows from the contract alone, so it is an overrun on every node: none takes it,
and no honest validator agrees to a block with it.
"""
_COMPLAINTS = (
    b"not allocate", b"to allocate", b"allocating", b"allocation", b"could not create", b"creation failed",
    b"initialisation", b"not enough memory", b"out of memory", b"error in error handling",
)  # fmt: skip
"""In small letters, parts of everything that engine 3.16.1 says where memory is missing. Some of them are said for
other reasons too: an overrun too many is harmless, a verdict too many is not."""


class Logs:
    """The messages of one run, piece by piece.

    Attributes:
        short_of_memory: Whether the engine said that it was refused memory.
    """

    def __init__(self) -> None:
        self.short_of_memory = False
        self._first = bytearray()
        self._last = bytearray()
        self._left_out = 0
        self._line = b""

    def add(self, data: bytes) -> None:
        """Take what came next."""
        room = KEPT_BYTES - len(self._first)
        self._first += data[:room]
        self._last += data[room:]
        if len(self._last) > 2 * KEPT_BYTES:
            self._shorten()
        if not self.short_of_memory:
            self._search(data)

    def text(self) -> bytes:
        """All, or the beginning and the end with a line between that says how much is missing."""
        if len(self._last) > KEPT_BYTES:
            self._shorten()
        if not self._left_out:
            return bytes(self._first + self._last)
        gap = f"\n... {self._left_out:,} bytes are left out here ...\n".encode()
        return bytes(self._first + gap + self._last)

    def _shorten(self) -> None:
        excess = len(self._last) - KEPT_BYTES
        del self._last[:excess]
        self._left_out += excess

    def _search(self, data: bytes) -> None:
        """Look for complaints up to the end of the piece, in a line that goes on too."""
        text = self._line + data
        start = text.rfind(b"\n") + 1
        self._line = text[start : start + _LINE_BYTES]
        self.short_of_memory = _complains(text)


def _complains(text: bytes) -> bool:
    """Whether a marked line holds a complaint."""
    if not _holds_complaint(text.lower()):
        return False  # nearly always, and quickly
    return any(_holds_complaint(match[0].lower()) for match in _MARKED.finditer(text))


def _holds_complaint(text: bytes) -> bool:
    return any(words in text for words in _COMPLAINTS)
