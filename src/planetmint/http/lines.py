# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cutting a stream of bytes into lines, without holding more than one bounded line."""

from typing import Final


class TooLong:
    """Stands for a line that was longer than allowed; its bytes were thrown away."""


TOO_LONG: Final = TooLong()

Line = bytes | TooLong


class LineSplitter:
    """Takes a body in parts and gives its lines; what stands after the last line feed is a line too.

    Lines of white space alone are left out. Cost is linear in the bytes taken, however they are parted.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end in `data`."""
        *ended, rest = data.split(b"\n")
        lines: list[Line] = []
        for part in ended:
            self._add(part)
            lines += self.finish()
        self._add(rest)
        return lines

    def finish(self) -> list[Line]:
        """What stands before the end of the line or of the body: one line, or none where it is empty."""
        if self._skipping:
            self._skipping = False
            return [TOO_LONG]
        line = bytes(self._rest)
        self._rest.clear()
        return [line] if line.strip() else []

    def _add(self, part: bytes) -> None:
        if self._skipping:
            return
        if len(self._rest) + len(part) > self._longest:
            self._rest.clear()
            self._skipping = True
            return
        self._rest += part
