# SPDX-License-Identifier: AGPL-3.0-or-later
"""How an election stands, in the words that operators are shown. Source: elections-and-operations 3."""

from collections.abc import Sequence
from enum import StrEnum

from planetmint.model.election import ElectionRecord


class ElectionStatus(StrEnum):
    """The three words."""

    ONGOING = "ongoing"
    CONCLUDED = "concluded"
    INCONCLUSIVE = "inconclusive"


def election_status(record: ElectionRecord, height: int, validator_changes: Sequence[int]) -> ElectionStatus:
    """How an election stands after the block of `height`.

    Args:
        record: As stored.
        height: Of the newest block.
        validator_changes: See `StateView.validator_changes`.

    Returns:
        `INCONCLUSIVE` where the set has changed since the election, so that it can no longer conclude.
    """
    if record.concluded_at is not None:
        return ElectionStatus.CONCLUDED
    newest = next((since for since in validator_changes if since <= height), 0)
    return ElectionStatus.ONGOING if newest <= record.height else ElectionStatus.INCONCLUSIVE
