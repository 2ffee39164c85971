# SPDX-License-Identifier: AGPL-3.0-or-later
"""The order in which an engine may call, per connection, and without any I/O.

It is the published grammar of ABCI 2.0 as far as one connection can tell: a block is committed right after it was
decided, chunks follow the offer of their snapshot. Calls that the grammar allows anywhere change nothing.
"""

from enum import Enum

from planetmint.consensus.cometbft.framing import ProtocolError


class Kind(Enum):
    """The calls; the value is the name of the call's field in a request."""

    ECHO = "echo"
    FLUSH = "flush"
    INFO = "info"
    INIT_CHAIN = "init_chain"
    QUERY = "query"
    CHECK_TX = "check_tx"
    COMMIT = "commit"
    LIST_SNAPSHOTS = "list_snapshots"
    OFFER_SNAPSHOT = "offer_snapshot"
    LOAD_SNAPSHOT_CHUNK = "load_snapshot_chunk"
    APPLY_SNAPSHOT_CHUNK = "apply_snapshot_chunk"
    PREPARE_PROPOSAL = "prepare_proposal"
    PROCESS_PROPOSAL = "process_proposal"
    EXTEND_VOTE = "extend_vote"
    VERIFY_VOTE_EXTENSION = "verify_vote_extension"
    FINALIZE_BLOCK = "finalize_block"


class State(Enum):
    """What a connection is in the middle of."""

    IDLE = "idle"
    DECIDED = "decided"
    RESTORING = "restoring"


class OutOfOrder(ProtocolError):
    """A call that cannot come now."""


_STEPS: dict[Kind, dict[State, State]] = {
    Kind.INIT_CHAIN: {State.IDLE: State.IDLE},
    Kind.PREPARE_PROPOSAL: {State.IDLE: State.IDLE},
    Kind.PROCESS_PROPOSAL: {State.IDLE: State.IDLE},
    Kind.FINALIZE_BLOCK: {State.IDLE: State.DECIDED, State.DECIDED: State.DECIDED},
    Kind.COMMIT: {State.DECIDED: State.IDLE},
    Kind.OFFER_SNAPSHOT: {State.IDLE: State.RESTORING, State.RESTORING: State.RESTORING},
    Kind.APPLY_SNAPSHOT_CHUNK: {State.RESTORING: State.RESTORING},
}
"""Calls that have a place in the order. An engine that was told of a failure may decide the same block again."""

_LEAVES_RESTORING = (Kind.INIT_CHAIN, Kind.PREPARE_PROPOSAL, Kind.PROCESS_PROPOSAL, Kind.FINALIZE_BLOCK)
for _kind in _LEAVES_RESTORING:
    _STEPS[_kind][State.RESTORING] = _STEPS[_kind][State.IDLE]


class CallOrder:
    """Follows the calls of one connection."""

    def __init__(self) -> None:
        self.state = State.IDLE

    def check(self, kind: Kind) -> None:
        """Whether a call may come now.

        Raises:
            OutOfOrder: It may not.
        """
        steps = _STEPS.get(kind)
        if steps is not None and self.state not in steps:
            raise OutOfOrder(f"the call {kind.value} cannot come while the connection is {self.state.value}")

    def done(self, kind: Kind) -> None:
        """A call that was checked had its effect; one that failed had none and is not told here."""
        steps = _STEPS.get(kind)
        if steps is not None:
            self.state = steps[self.state]
