# SPDX-License-Identifier: AGPL-3.0-or-later
"""The three words for an election (elections-and-operations 3)."""

import pytest

from planetmint.elections import election_status
from planetmint.model.election import ElectionRecord
from planetmint.model.transaction import Operation


@pytest.mark.parametrize(
    ("opened", "concluded", "height", "changes", "word"),
    [
        (5, None, 5, (1,), "ongoing"),
        (5, 7, 9, (8, 1), "concluded"),
        (5, None, 9, (5, 1), "ongoing"),
        (5, None, 9, (6, 5), "inconclusive"),
        (5, None, 5, (6, 1), "ongoing"),
        (5, None, 6, (6, 1), "inconclusive"),
        (5, None, 6, (7, 6), "inconclusive"),
    ],
)
def test_the_status_follows_the_record_and_the_changes_that_hold(
    opened: int, concluded: int | None, height: int, changes: tuple[int, ...], word: str
) -> None:
    record = ElectionRecord("0" * 64, Operation.VALIDATOR_ELECTION, opened, 10, concluded_at=concluded)
    assert election_status(record, height, changes) == word
