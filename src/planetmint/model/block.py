# SPDX-License-Identifier: AGPL-3.0-or-later
"""Blocks, their signed headers, their events, and the document that founds a chain."""

from dataclasses import dataclass
from typing import NamedTuple

from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Operation, OutputRecord, OutputRef, Transaction
from planetmint.model.validator import ValidatorSet


@dataclass(frozen=True, slots=True)
class Founding:
    """What a chain begins with.

    Attributes:
        chain_id: Name of the chain, at most 50 characters.
        parameters: The chain's parameters.
        validators: The first validator set.
        time: Nanoseconds since 1970-01-01T00:00:00Z.
        label: Eight hex digits, first part of a stream cursor (consensus-and-storage 8).
        app_hash: 64 hex digits; predecessor of the first block's hash.
    """

    chain_id: str
    parameters: ChainParameters
    validators: ValidatorSet
    time: int
    label: str
    app_hash: str


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What the maker of a block signs (decision D19).

    Attributes:
        height: 0 for the founding block.
        time: Nanoseconds since 1970-01-01T00:00:00Z, by the maker's clock.
        previous_hash: Hash of the header before, 64 hex digits; 64 zeros at height 0.
        root: Merkle root over the ids of the accepted transactions, 64 hex digits.
        app_hash: After the block, 64 hex digits.
        proposer: Who made it, as hex: its public key (32 bytes), or the engine's address of it (20 bytes) where
            the engine keeps the signed header; empty for the founding block there.
        signature: Ed25519 signature by the maker over the header's hash, 128 hex digits; empty where the
            engine keeps the signed header.
    """

    height: int
    time: int
    previous_hash: str
    root: str
    app_hash: str
    proposer: str
    signature: str = ""


class TransactionEvent(NamedTuple):
    """What the streams tell about one committed transaction, and what their filters look at.

    Attributes:
        transaction_id: Its id.
        asset_id: event-stream 3.1.
        asset_ids: event-stream 3.1.
        operation: Its operation.
        public_keys: Keys listed in its outputs, no repeats.
        signers: Base58 keys whose signatures its inputs show, no repeats.
    """

    transaction_id: str
    asset_id: str
    asset_ids: tuple[str, ...]
    operation: Operation
    public_keys: tuple[str, ...]
    signers: tuple[str, ...]


class BlockEvents(NamedTuple):
    """The events of one committed block; `events` in block order, empty for an empty block."""

    height: int
    app_hash: str
    events: tuple[TransactionEvent, ...]


class Spend(NamedTuple):
    """An output that a block spends, and the id of the transaction that does."""

    ref: OutputRef
    spender: str


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """Everything that one block does to the ledger: the unit of `Store.save_block`.

    Attributes:
        header: As signed.
        transactions: Accepted, in block order.
        created: Outputs made, in block order; those spent in the same block included.
        spent: Outputs spent, in block order.
        events: As the streams show them.
        validators: The set from the next height on where it changes, else None.
        elections: Records of elections that the block opened, counted votes for or concluded, as they are after
            it, in the order of their first effect.
        chain: The new chain that waits to be begun where the block concluded a migration, else None.
    """

    header: BlockHeader
    transactions: tuple[Transaction, ...]
    created: tuple[OutputRecord, ...]
    spent: tuple[Spend, ...]
    events: BlockEvents
    validators: ValidatorSet | None = None
    elections: tuple[ElectionRecord, ...] = ()
    chain: ChainRecord | None = None


class BlockSummary(NamedTuple):
    """A stored block without its transactions' bodies."""

    header: BlockHeader
    transaction_ids: tuple[str, ...]
