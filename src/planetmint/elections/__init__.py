# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections at the end of a block: opened, counted, concluded, and what follows for validators and chain."""

from planetmint.elections.conclude import Outcome, end_block
from planetmint.elections.record import cast_votes, open_election
from planetmint.elections.status import ElectionStatus, election_status

__all__ = ["ElectionStatus", "Outcome", "cast_votes", "election_status", "end_block", "open_election"]
