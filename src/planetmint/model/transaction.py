# SPDX-License-Identifier: AGPL-3.0-or-later
"""A signed transaction as a frozen value, in any of the three dialects.

A transaction is decoded once (`planetmint.rules.decode_transaction`) and keeps its canonical bytes: these
go to consensus, into the store and to clients. Source: transactions 2 and 3.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from planetmint.model.condition import Details, Fulfillment
from planetmint.model.json import JsonValue

MAX_AMOUNT = 9_000_000_000_000_000_000
"""Largest amount of one output (transactions 2.3)."""


class Operation(StrEnum):
    """What a transaction does; the names are those of the wire."""

    CREATE = "CREATE"
    TRANSFER = "TRANSFER"
    COMPOSE = "COMPOSE"
    DECOMPOSE = "DECOMPOSE"
    VALIDATOR_ELECTION = "VALIDATOR_ELECTION"
    CHAIN_MIGRATION_ELECTION = "CHAIN_MIGRATION_ELECTION"
    VOTE = "VOTE"


OPENING_OPERATIONS = frozenset(
    {
        Operation.CREATE,
        Operation.COMPOSE,
        Operation.VALIDATOR_ELECTION,
        Operation.CHAIN_MIGRATION_ELECTION,
    }
)
"""Operations whose transactions are assets of their own (transactions 3.1)."""


class OutputRef(NamedTuple):
    """Names an output: the id of its transaction (64 lower-case hex digits) and its index from 0."""

    transaction_id: str
    output_index: int


@dataclass(frozen=True, slots=True)
class Input:
    """One input.

    Attributes:
        owners_before: Base58 keys as sent; informative except on CREATE and elections.
        fulfills: The output that is spent, None where nothing is.
        fulfillment: The signatures.
        message: The 32 bytes that every ed25519 leaf of `fulfillment` signs (transactions 4.3).
        keyless: Whether a contract may stand in for the owners' keys, as it does in mode `published` alone
            (transactions 5.4).
    """

    owners_before: tuple[str, ...]
    fulfills: OutputRef | None
    fulfillment: Fulfillment
    message: bytes
    keyless: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """One output; `amount` is 1 to `MAX_AMOUNT`, `uri` the condition's URI, `public_keys` base58 keys."""

    amount: int
    public_keys: tuple[str, ...]
    details: Details
    uri: str


@dataclass(frozen=True, slots=True)
class Asset:
    """One item of `assets` (or the `asset` of a 2.0 transaction): either an `id` or `data`."""

    id: str | None
    data: JsonValue = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction whose form and id were checked.

    Attributes:
        id: 64 lower-case hex digits, recomputed from the content.
        version: ``"2.0"`` or ``"3.0"``.
        operation: See `Operation`.
        inputs, outputs: In wire order.
        assets: In wire order; empty for a 3.0 CREATE with ``assets: null``.
        metadata: As sent.
        script: As sent; None where there is none.
        canonical: UTF-8 canonical JSON of the whole transaction.
        contracts: Runs of contracts that its verdict takes, counted from the text.
    """

    id: str
    version: str
    operation: Operation
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    assets: tuple[Asset, ...]
    metadata: JsonValue
    script: JsonValue
    canonical: bytes
    contracts: int = 0

    @property
    def asset_id(self) -> str:
        """The asset that the transaction is about (transactions 3.1)."""
        if self.operation in OPENING_OPERATIONS:
            return self.id
        return next((asset.id for asset in self.assets if asset.id is not None), self.id)

    @property
    def asset_ids(self) -> tuple[str, ...]:
        """Ids of all its assets in order, own id for an item without one, no repeats (event-stream 3.1)."""
        ids = [self.id if asset.id is None else asset.id for asset in self.assets] or [self.id]
        return tuple(dict.fromkeys(ids))

    @property
    def spends(self) -> tuple[OutputRef, ...]:
        """The outputs that its inputs spend, in order."""
        return tuple(item.fulfills for item in self.inputs if item.fulfills is not None)


class OutputRecord(NamedTuple):
    """A committed (or pending) output as the rules need it.

    Attributes:
        ref: Its name.
        amount: Shares, 1 to `MAX_AMOUNT`.
        uri: What a spender's fulfillment must derive to.
        public_keys: As in the output.
        asset_id: Asset of its transaction (transactions 3.1).
        operation: Operation of its transaction.
        item: For a DECOMPOSE output the `data` of the item of the same index, else None.
        spender: Id of the transaction that spends it, None while unspent.
    """

    ref: OutputRef
    amount: int
    uri: str
    public_keys: tuple[str, ...]
    asset_id: str
    operation: Operation
    item: str | None = None
    spender: str | None = None
