# SPDX-License-Identifier: AGPL-3.0-or-later
"""The two sides of consensus: what an engine offers the node, and the life cycle that it drives.

`Lifecycle` follows ABCI 2.0 (consensus-and-storage 4); the embedded producer and CometBFT drive the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from planetmint.model.block import BlockHeader, Founding
from planetmint.model.election import ChainRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.ports.errors import ContractError, EngineError, StoreError


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """Where the application stands: the last height whose commit returned, the hash after it, and its time.

    `time` is the block's, in nanoseconds since 1970-01-01T00:00:00Z. `chain` tells how engine heights become
    these, and with `synced` false that the chain waits for an engine to begin it under its new name.
    `validators` is the newest stored set: the one that such an engine has to begin with.
    """

    height: int
    app_hash: str
    time: int
    chain: ChainRecord
    validators: ValidatorSet


class Migrated(NamedTuple):
    """Where a chain goes on from, as the genesis of an engine says after a migration.

    Attributes:
        height: Of the block here that concluded the migration.
        app_hash: After it, 64 hex digits.
        label: The chain's, as in `Founding`.
    """

    height: int
    app_hash: str
    label: str


@dataclass(frozen=True, slots=True)
class FinalizedBlock:
    """Outcome of a block that is decided but not stored.

    Attributes:
        verdicts: Per transaction in block order; None where it was accepted.
        app_hash: After the block, 64 hex digits.
        validator_updates: Changed validators; power 0 removes one.
    """

    verdicts: tuple[InvalidTransaction | None, ...]
    app_hash: str
    validator_updates: tuple[Validator, ...] = ()


class Lifecycle(Protocol):
    """What an engine calls, one call at a time for the block calls.

    Every method is total over bytes: what is wrong with a transaction is a verdict, never an exception.
    `StoreError` means "could not find out" and leaves everything as it was: the call may be repeated. Where a
    block whose commit failed is stored all the same, it is committed at the next block call or by `settle`, and
    `info` tells of it from then on. `ContractError` means "could not find out" about the contracts of a
    transaction (transactions 6): what depends on this machine alone is never a verdict.
    """

    @property
    def parameters(self) -> ChainParameters:
        """What the chain was founded with; the defaults before that."""
        ...

    async def info(self) -> ChainInfo | None:
        """Where the application stands; height 0 and the founding hash on a new chain, None before that."""
        ...

    async def settle(self) -> bool:
        """Find out what became of a block whose commit failed; one that is stored is committed and told of now.

        An engine that has come back calls this before `info`, and not while a block call is under way.

        Returns:
            Whether the head is another one now.
        """
        ...

    async def init_chain(
        self, founding: Founding, header: BlockHeader, *, continues: Migrated | None = None
    ) -> str:
        """Found the chain and answer its app hash; repeatable with the same document.

        An engine that begins a chain calls this one where `info` answers None or a chain without a shift, else
        `begin_chain`.

        Args:
            founding: Made of the engine's genesis.
            header: Of block 0.
            continues: What the genesis says of a chain before this one.

        Raises:
            ChainMismatch: The ledger was founded with another document, or is to go on from a block that it does
                not hold; says what is needed.
        """
        ...

    async def begin_chain(self, chain_id: str, validators: ValidatorSet) -> str:
        """An engine begins the chain after a migration; answers the app hash to go on from. Repeatable.

        Args:
            chain_id: The name that the engine's genesis gives.
            validators: The engine's, in any order.

        Raises:
            ChainMismatch: The chain does not wait for this name, or for other validators; says what is needed.
        """
        ...

    async def check_txs(
        self, raws: Sequence[bytes]
    ) -> list[InvalidTransaction | StoreError | ContractError | None]:
        """Verdict on each transaction by itself against the committed state.

        The store's error stands in the place of those verdicts alone that need the store, and is not raised. In
        the place of a verdict on contracts stands a ContractError where they need more than this node grants, or
        all contracts of the call more time than others may wait for them.
        """
        ...

    def refused(self, raw: bytes, verdict: InvalidTransaction) -> None:
        """The engine drops a transaction that it had taken before: who waits for its block hears `verdict`."""
        ...

    async def prepare_proposal(self, raws: Sequence[bytes], max_bytes: int) -> list[bytes]:
        """The transactions, in order, that are valid on top of those before and fit into `max_bytes`.

        Those are left out, too, whose contracts are too many for the block or take too long, or are not judged.
        """
        ...

    async def process_proposal(self, height: int, raws: Sequence[bytes]) -> bool:
        """Whether a proposed block may be voted for.

        Deterministic with one exception: a block is rejected whose contracts this node cannot judge in time
        (transactions 6).
        """
        ...

    async def finalize_block(
        self, height: int, time: int, proposer: bytes, raws: Sequence[bytes]
    ) -> FinalizedBlock:
        """Execute a decided block; stores nothing. Repeatable with the same outcome.

        Raises ContractsUnavailable while contracts in it are not judged: they run on, however long that takes, and
        the call is to be repeated. Raises InvariantViolated where this machine cannot judge one at all.

        Raises ChainHalted where a migration is decided, and ChainMismatch where `time` is not after the block
        that decided the last one: an engine of an earlier chain replays its own blocks. The first block under a
        name may have that time: the engine gives it that of its genesis. Of a block that is not later than the
        one before, whose time came with a snapshot, a later time is kept.

        Args:
            height: The head's + 1.
            time: Nanoseconds since 1970-01-01T00:00:00Z.
            proposer: Public key of the maker (32 bytes), or the engine's address of it (20 bytes).
            raws: Transactions as the engine carries them; any bytes.
        """
        ...

    async def commit(self, header: BlockHeader | None = None) -> None:
        """Store the block that was finalized last, durably; then publish its events and wake who waits for it.

        Args:
            header: `header()` with the maker's signature, where the node makes its own blocks; None where the
                engine keeps the signed header.
        """
        ...

    async def discard(self) -> None:
        """Forget the block that was finalized last, which accepted nothing; wake who waits with the verdicts."""
        ...

    def header(self) -> BlockHeader:
        """Unsigned header of the block that was finalized last."""
        ...


class Consensus(Protocol):
    """An engine that orders transactions into blocks."""

    orders_dependents: bool
    """Whether a transaction may be submitted before the one whose output it spends is committed."""

    async def start(self, lifecycle: Lifecycle) -> None:
        """Begin to make (or follow) blocks by driving `lifecycle`."""
        ...

    async def stop(self) -> None:
        """Stop after the block under way; may be called twice."""
        ...

    async def submit(
        self, transactions: Sequence[Transaction]
    ) -> Sequence[InvalidTransaction | EngineError | ContractError | None]:
        """Take transactions that were verified against the committed state, in order.

        Returns:
            Per transaction None where it was taken (and passed the engine's own check), else why not:
            DuplicateTransaction (it waits for a block already), another verdict of the engine's check,
            ContractError (that check had none on its contracts), MempoolFull (too many wait) or EngineError (the
            engine cannot take it now).
        """
        ...

    @property
    def trouble(self) -> str | None:
        """Why no blocks are made at present, in a sentence; None while all is well."""
        ...
