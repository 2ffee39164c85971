# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the edges may ask the node to do: submit transactions, read the ledger, follow its events."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import EngineError, StoreError
from planetmint.ports.feed import EventFeed
from planetmint.ports.store import Store


class Mode(StrEnum):
    """When a submission is answered (http-api 4.3)."""

    ASYNC = "async"
    SYNC = "sync"
    COMMIT = "commit"


class BulkOutcome(NamedTuple):
    """The fate of one line of a bulk submission.

    Attributes:
        transaction_id: The id that was computed or claimed; None where the line shows none.
        error: Why it was refused; None where it was accepted.
    """

    transaction_id: str | None
    error: InvalidTransaction | StoreError | EngineError | None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the node can do its work; `detail` says in a sentence why not."""

    ready: bool
    detail: str


class Application(Protocol):
    """The node as its edges see it. Reads go to `store` directly: it answers from what is committed."""

    @property
    def store(self) -> Store:
        """What is committed."""
        ...

    @property
    def feed(self) -> EventFeed:
        """Blocks as they are committed."""
        ...

    async def submit(self, body: bytes, mode: Mode) -> Transaction:
        """Check a transaction and hand it to consensus; answers as `mode` says.

        Args:
            body: JSON of the transaction in any spelling.

        Raises:
            InvalidTransaction: Any of its classes; `rule` is `NOT_JSON` for a body that is no JSON.
            StoreError: The store cannot be asked or takes no writes at present.
            MempoolFull: Too many transactions wait.
            CommitTimeout: Mode commit, and no block held it in time; it may still be committed.
            EngineError: The engine cannot take it now.
        """
        ...

    def submit_lines(self, lines: AsyncIterator[bytes], mode: Mode) -> AsyncIterator[BulkOutcome]:
        """Submit one transaction per line, each on top of the accepted lines before it; outcomes in order.

        Outcomes come while lines are still being read; never raises for a line.
        """
        ...

    def health(self) -> Health:
        """Whether transactions can be taken and blocks are made."""
        ...
