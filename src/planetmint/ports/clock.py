# SPDX-License-Identifier: AGPL-3.0-or-later
"""Time as a thing that is handed in, so that tests can move it."""

from typing import Protocol


class Clock(Protocol):
    """Reads wall-clock time."""

    def now(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z; may stand still or jump."""
        ...
