# SPDX-License-Identifier: AGPL-3.0-or-later
"""A bounded number of kills under load; `python -m tests.functional.kill9 --count 100` is the whole set."""

import time
from pathlib import Path

from tests.functional.kill9 import CrashTest

KILLS = 8


def test_kill_9_at_random_moments_loses_nothing_doubles_nothing_and_needs_no_help(tmp_path: Path) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")  # shown when the test fails
    test = CrashTest(tmp_path, seed)
    test.run(KILLS, print)
    assert test.ledger.promised and test.ledger.taken
