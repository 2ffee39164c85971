# SPDX-License-Identifier: AGPL-3.0-or-later
"""Snapshots of the ledger, with which a new node joins without executing the whole chain (decision D10).

A snapshot carries every block with its transactions. Whoever takes one derives the chain of app hashes from it
anew and keeps nothing unless that ends in the hash which the engine trusts. Source: consensus-and-storage 4.
"""

from enum import Enum
from typing import NamedTuple, Protocol


class Snapshot(NamedTuple):
    """What a peer offers.

    Attributes:
        height: The engine's height after which it was taken.
        format: Version of the form of its chunks.
        chunks: Their number, 1 or more.
        hash: SHA-256 of `metadata`.
        metadata: SHA-256 of each chunk's content before it is packed, one after the other: nodes with equal
            ledgers offer equal snapshots, whatever their compression makes of the bytes.
    """

    height: int
    format: int
    chunks: int
    hash: bytes
    metadata: bytes


class ChunkVerdict(Enum):
    """What became of a chunk.

    Attributes:
        ACCEPTED: It is kept; after the last one the ledger holds what the snapshot tells.
        REFETCH: It is not the chunk that the snapshot names: ask somebody else for it.
        REJECTED: The chunks do not lead to the trusted hash: nothing is kept, try another snapshot.
    """

    ACCEPTED = "accepted"
    REFETCH = "refetch"
    REJECTED = "rejected"


class Snapshots(Protocol):
    """Makes snapshots of this node's ledger and takes those of others. Raises StoreError, and nothing else."""

    async def offers(self) -> tuple[Snapshot, ...]:
        """The snapshots that this node can serve, newest first; at most ten."""
        ...

    async def chunk(self, height: int, format: int, index: int) -> bytes | None:
        """A chunk of a snapshot of this node, at most 10,000,000 bytes; None where there is no such one."""
        ...

    async def take(self, snapshot: Snapshot, app_hash: bytes) -> bool:
        """Begin to take a snapshot; forgets one under way.

        Args:
            snapshot: As offered by a peer; any values.
            app_hash: 32 bytes that the engine trusts for `snapshot.height`.

        Returns:
            Whether chunks are wanted; False for an unknown format, impossible values, or a ledger with other
            blocks. One that stands where the snapshot ends keeps what it has, whatever the chunks are.
        """
        ...

    async def add_chunk(self, index: int, chunk: bytes) -> ChunkVerdict:
        """Take a chunk of the snapshot under way; any bytes, in any order."""
        ...
