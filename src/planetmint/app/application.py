# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the edges may ask the node to do: submit or try transactions, read the ledger, follow its events."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from planetmint.app.contracts import Trial
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import ContractError, ContractOverrun, EngineError, StoreError
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
    error: InvalidTransaction | StoreError | EngineError | ContractError | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a transaction takes, in the units of the chain's bounds.

    Attributes:
        bytes: Of its canonical form.
        bytes_allowed: Chain parameter ``max_transaction_bytes``.
        inputs: Their number.
        outputs: Their number.
        signatures: Ed25519 signatures that are verified.
        contracts: Runs of contracts.
        contracts_allowed: In a whole block: chain parameter ``contracts.max_per_block``.
        fulfillment_costs: Crypto-condition cost of each input (transactions 5.1).
        output_costs: The same of each output; None where its URI names none.
    """

    bytes: int
    bytes_allowed: int
    inputs: int
    outputs: int
    signatures: int
    contracts: int
    contracts_allowed: int
    fulfillment_costs: tuple[int, ...]
    output_costs: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would become of a transaction that was only tried.

    Attributes:
        transaction_id: Recomputed from the content, or what the text claims; None where it shows none.
        refusal: Why it would be refused, or could not be tried to its end; None for one that is valid now.
        hindrance: Why even a valid one would not be taken at present, in a sentence; None while it would be.
        cost: None where the transaction could not be decoded.
        runs: Of its contracts, in order, as far as they were run.
    """

    transaction_id: str | None
    refusal: InvalidTransaction | ContractOverrun | None
    hindrance: str | None
    cost: Cost | None = None
    runs: tuple[Trial, ...] = ()


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
            ContractOverrun: Its contracts need more than this node grants.
            ContractsUnavailable: Its contracts cannot be run at present.
        """
        ...

    async def dry_run(self, body: bytes) -> DryRun:
        """Say what `submit` would, on the committed state, and what that takes; nothing of it is kept.

        Args:
            body: See `submit`.

        Raises:
            StoreError: The store cannot be asked at present.
            ContractsUnavailable: Its contracts cannot be run at present, or too many are being tried.
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
