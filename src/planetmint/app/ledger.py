# SPDX-License-Identifier: AGPL-3.0-or-later
"""The application behind the edges: `Application` over a store, a life cycle and an engine."""

from collections.abc import AsyncIterator

from planetmint.app.admission import Admission
from planetmint.app.application import BulkOutcome, DryRun, Health, Mode
from planetmint.app.bulk import BulkSession, submit_lines
from planetmint.app.feed import CommittedFeed
from planetmint.app.intake import Intake
from planetmint.app.lifecycle import BlockLifecycle
from planetmint.app.signatures import Verifier
from planetmint.app.trial import Trials
from planetmint.model.transaction import Transaction
from planetmint.ports.consensus import Consensus
from planetmint.ports.store import Store


class Ledger:
    """Implements `Application`."""

    def __init__(
        self,
        store: Store,
        feed: CommittedFeed,
        lifecycle: BlockLifecycle,
        consensus: Consensus,
        verifier: Verifier,
        *,
        commit_timeout: float,
    ) -> None:
        """
        Args:
            commit_timeout: Seconds that a submission in mode commit waits for its block.
        """
        self.store: Store = store
        self.feed = feed
        self._admission = Admission(store, lifecycle, consensus, verifier, commit_timeout)
        self._intake = Intake(self._admission)
        self._trials = Trials(self._admission)

    async def submit(self, body: bytes, mode: Mode) -> Transaction:
        """See `Application`."""
        return await self._intake.submit(body, mode)

    async def dry_run(self, body: bytes) -> DryRun:
        """See `Application`."""
        return await self._trials.dry_run(body)

    def submit_lines(self, lines: AsyncIterator[bytes], mode: Mode) -> AsyncIterator[BulkOutcome]:
        """See `Application`."""
        return submit_lines(BulkSession(self._admission, mode), lines)

    def health(self) -> Health:
        """See `Application`."""
        trouble = self._admission.lifecycle.halted or self._admission.consensus.trouble
        return Health(ready=trouble is None, detail=trouble or "transactions are taken and blocks are made")
