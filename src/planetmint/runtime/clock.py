# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machine's clock."""

import time


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> int:
        """See `Clock`."""
        return time.time_ns()
