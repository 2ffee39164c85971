# SPDX-License-Identifier: AGPL-3.0-or-later
"""Holds a stored ledger against what follows from its own transactions, block by block.

Nothing of the store is believed but the bytes of transactions and the members of headers that nothing else tells;
and these have to fit one another: ids, signatures, contracts, rules, headers, app hashes. What is then known of a
block is held against every record that the store keeps of it. The check goes on after a difference, with what is
stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar

from planetmint.app.signatures import Verifier
from planetmint.app.transfer import Watch, newest_chain
from planetmint.chain import Candidate, execute_block, within_block
from planetmint.chain.derive import (
    Counts,
    Standing,
    Underivable,
    check_seal,
    check_time,
    derive_founding,
    differing,
    follow,
)
from planetmint.chain.header import header_hash
from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, Founding
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import OutputRecord, OutputRef, Transaction
from planetmint.model.validator import ValidatorSet
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ChainMismatch, StoreError
from planetmint.ports.store import LedgerEnd, Store, StoredBlock
from planetmint.rules import decode_canonical

T = TypeVar("T")

DAMAGE = (StoreError, ArithmeticError, LookupError, TypeError, ValueError)
"""What reading a damaged record may raise."""

_END_ATTEMPTS = 20
_NO_TRANSACTION = "0" * 64


class Difference(NamedTuple):
    """Something that is other than it must be; `height` is None where it belongs to no block."""

    height: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.height is None else f"block {self.height}: {self.text}"


class Scratch(Protocol):
    """Transactions and outputs that were re-derived so far; the verification's own, never the store's."""

    def has_transaction(self, transaction_id: str) -> bool:
        """Whether a block so far holds it."""
        ...

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """An output so far, spent or not."""
        ...

    def apply(self, block: BlockRecord) -> None:
        """Add a block."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """What was done.

    Attributes:
        head: Newest block that was checked; None where the beginning of the chain cannot be read.
        transactions: Their number, of all blocks.
        differences: Their number.
        whole: Whether the end was checked; it cannot be while blocks come all the time.
        shift: See `ChainRecord`; as re-derived.
        unjudged: Transactions whose contracts could not be judged here: the engine is another one, or they need
            more than this machine grants.
    """

    head: BlockHeader | None
    transactions: int
    differences: int
    whole: bool
    shift: int = 0
    unjudged: int = 0


class _View:
    """Implements `StateView` over what was re-derived."""

    def __init__(self, standing: Standing, scratch: Scratch) -> None:
        self._standing = standing
        self.has_transaction = scratch.has_transaction
        self.output = scratch.output

    def validators(self) -> ValidatorSet:
        return self._standing.validator_set

    def validator_changes(self) -> tuple[int, ...]:
        return self._standing.set_heights

    def election(self, election_id: str) -> ElectionRecord | None:
        return self._standing.election(election_id)

    def chain(self) -> ChainRecord:
        return self._standing.begun()


class LedgerCheck:
    """One verification of a store.

    Args:
        store: Open, for reading.
        verifier: Verifies signatures, and judges contracts where it has the chain's engine; its caches remember
            no others.
        scratch: Empty.
        report: Told of each difference as it is found.
        start: Blocks below are followed, but their signatures and stored records are not checked.
        watch: Told the height of each block that is done.
    """

    def __init__(
        self,
        store: Store,
        verifier: Verifier,
        scratch: Scratch,
        report: Callable[[Difference], None],
        *,
        start: int = 0,
        watch: Watch = lambda height: None,
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._scratch = scratch
        self._report = report
        self._start = start
        self._watch = watch
        self._found = 0
        self._lost: set[str] = set()
        self._unknown = False
        self._judges = False
        self._unjudged = 0

    async def run(self) -> Verified:
        """Check everything.

        Raises:
            StoreError: The store does not answer at all.
        """
        standing = await self._founded()
        if standing is None:
            return Verified(None, 0, self._found, whole=False)
        whole = False
        for _ in range(_END_ATTEMPTS):
            standing = await self._blocks(standing)
            differences = await self._audit_end(standing)
            newest = await self._store_head()
            # A node at work adds blocks meanwhile, and what belongs to these looks like too much.
            if not differences or newest is None or newest.height <= standing.head.height:
                whole = True
                for text in differences:
                    self._differs(None, text)
                break
        shift = standing.chain_record.shift
        counts = standing.counts
        return Verified(standing.head, counts.transactions, self._found, whole, shift, self._unjudged)

    def _differs(self, height: int | None, text: str) -> None:
        self._found += 1
        self._report(Difference(height, text))

    async def _read(self, height: int | None, name: str, reading: Awaitable[T]) -> T | None:
        """Await a reading; what cannot be read because it is damaged is a difference."""
        try:
            return await reading
        except DAMAGE as error:
            # Where nothing is there to be damaged, the store does not answer at all: that is raised.
            await self._store.height_of(_NO_TRANSACTION)
            self._differs(height, f"{name} cannot be read: {error}")
            return None

    async def _store_head(self) -> BlockHeader | None:
        try:
            return await self._store.head()
        except DAMAGE:
            return None

    async def _founded(self) -> Standing | None:
        """What stands after block 0, whether or not it is as it must be."""
        founding = await self._read(None, "the founding document", self._store.founding())
        block = await self._read(0, "the block", self._store.block(0))
        if founding is None or block is None:
            self._differs(0, "without a founding document and block 0 nothing else can be checked")
            return None
        header = block.summary.header
        self._judges = self._can_judge(founding)
        try:
            standing = derive_founding(founding, header)
        except Underivable as error:
            self._differs(0, str(error))
            chain = ChainRecord(founding.chain_id)
            standing = Standing(founding, header, founding.validators, (1,), {}, chain, Counts())
            standing = _goes_on(standing, "0" * 64)
        record = BlockRecord(header, (), (), (), BlockEvents(0, founding.app_hash, ()))
        if self._start == 0:
            await self._audit(record)
        self._watch(0)
        return standing

    def _can_judge(self, founding: Founding) -> bool:
        try:
            self._verifier.contracts.follow(founding.parameters)
        except ChainMismatch:
            return False
        return True

    async def _blocks(self, standing: Standing) -> Standing:
        """Check the blocks after `standing`, up to the newest one."""
        newest = await self._read(None, "the newest block", self._store.head())
        last = newest.height if newest is not None else await self._last_readable(standing.head.height)
        for height in range(standing.head.height + 1, last + 1):
            standing = await self._block(standing, height)
            self._watch(height)
        return standing

    async def _last_readable(self, height: int) -> int:
        """The newest height of a block, where the store's own answer cannot be read."""
        step = 1
        while step:
            try:
                there = await self._store.summary(height + step) is not None
            except DAMAGE:
                there = True
            if there and step < 1 << 40:
                height, step = height + step, step * 2
            else:
                step //= 2
        return height

    async def _block(self, standing: Standing, height: int) -> Standing:
        """Check one block; what stands after it, with the header that is stored."""
        stored = await self._read(height, "the block", self._store.block(height))
        if stored is None or stored.summary.header.height != height:
            self._differs(height, "the block is missing or its header is of another height")
            self._unknown = True
            # Nobody knows what it did; the next one is taken for its successor.
            return replace(standing, head=replace(standing.head, height=height))
        header = stored.summary.header
        record = await self._executed(standing, stored)
        if self._unknown:
            self._unknown = False
            record = replace(record, header=header)
        for name in differing(record.header, header):
            was, must = getattr(header, name), getattr(record.header, name)
            self._differs(height, f"the header's {name} is {was}, and {must} follows from the blocks")
        for check in (self._check_time, self._check_seal):
            check(standing, header)
        sealed = replace(record, header=header, events=record.events._replace(app_hash=header.app_hash))
        if height >= self._start:
            await self._audit(sealed)
        self._scratch.apply(sealed)
        return _goes_on(standing.after(sealed), record.header.app_hash)

    def _check_time(self, standing: Standing, header: BlockHeader) -> None:
        try:
            check_time(standing, header)
        except Underivable:
            self._differs(header.height, "its time is not later than that of the block before")

    def _check_seal(self, standing: Standing, header: BlockHeader) -> None:
        if header.height < self._start:
            return
        try:
            check_seal(standing, header, signed=bool(standing.head.signature))
        except Underivable as error:
            self._differs(header.height, str(error).removeprefix(f"block {header.height} "))

    async def _executed(self, standing: Standing, stored: StoredBlock) -> BlockRecord:
        """The block as it follows from its transactions; tells of those that are not as they must be."""
        header = stored.summary.header
        height = header.height
        candidates = self._decoded(standing, stored)
        transactions = [item for item in candidates if isinstance(item, Transaction)]
        check = await self._checks(transactions) if height >= self._start else _unchecked
        view = _View(standing, self._scratch)
        within = within_block(candidates, standing.founding.parameters.contracts.max_per_block)
        result = execute_block(view, height, within, standing.head.app_hash, check)
        refused = 0
        for candidate, verdict in zip(candidates, result.verdicts, strict=True):
            if verdict is None:
                continue
            refused += 1
            if isinstance(candidate, Transaction):
                self._tell_verdict(height, candidate, verdict)
        if refused:
            # It was accepted once: everything else is held against what it did.
            return follow(standing, header, transactions)
        derived = BlockHeader(
            height,
            header.time,
            header_hash(standing.head),
            result.root,
            result.app_hash,
            header.proposer,
            header.signature,
        )
        return result.record(derived)

    async def _checks(self, transactions: Sequence[Transaction]) -> Callable[[Transaction], None]:
        """What signatures and contracts of some transactions say; contracts say nothing that were not judged."""
        await self._verifier.verify(transactions)
        contracted = [item for item in transactions if item.contracts]
        if not contracted:
            return self._verifier.cache.check
        judge = self._verifier.contracts
        if self._judges:
            # One by one: what cannot be judged says nothing about the others.
            await asyncio.gather(*(judge.judge((item,), Patience.PROPOSAL) for item in contracted))
        self._unjudged += sum(not judge.knows(item) for item in contracted)

        def check(transaction: Transaction) -> None:
            self._verifier.cache.check(transaction)
            if judge.knows(transaction):
                judge.check(transaction)

        return check

    def _tell_verdict(self, height: int, transaction: Transaction, verdict: InvalidTransaction) -> None:
        lost = sorted({ref.transaction_id for ref in transaction.spends} & self._lost)
        if lost:
            text = f"transaction {transaction.id} cannot be checked: it spends {', '.join(lost)}, which is damaged"
        else:
            text = f"transaction {transaction.id} breaks a rule ({verdict.code}: {verdict})"
        self._differs(height, text)

    def _decoded(self, standing: Standing, stored: StoredBlock) -> list[Candidate]:
        """The block's transactions, as far as they are any and those that the block lists."""
        height, ids = stored.summary.header.height, stored.summary.transaction_ids
        if len(ids) != len(stored.transactions):
            self._differs(height, f"it lists {len(ids)} transactions and holds {len(stored.transactions)}")
        candidates: list[Candidate] = []
        for index, raw in enumerate(stored.transactions):
            listed = ids[index] if index < len(ids) else "(not listed)"
            try:
                candidate: Candidate = decode_canonical(raw, standing.founding.parameters)
            except InvalidTransaction as verdict:
                candidate = verdict
                self._lost.add(listed)
                self._differs(height, f"transaction {listed} is damaged ({verdict})")
            if isinstance(candidate, Transaction) and candidate.id != listed:
                self._lost.add(listed)
                self._differs(height, f"transaction {listed} is stored as another one, {candidate.id}")
            candidates.append(candidate)
        return candidates

    async def _audit(self, record: BlockRecord) -> None:
        height = record.header.height
        for text in await self._read(height, "what is stored", self._store.audit(record)) or ():
            self._differs(height, text)

    async def _audit_end(self, standing: Standing) -> Sequence[str]:
        chain = standing.chain_record
        if not chain.synced:
            # Whether an engine has begun the new chain already is nothing that follows from blocks.
            stored = await self._read(None, "the chain's record", newest_chain(self._store))
            chain = chain if stored is None else replace(chain, synced=stored.synced)
        end = LedgerEnd(
            founding=standing.founding,
            head=standing.head,
            elections=tuple(standing.elections[name] for name in sorted(standing.elections)),
            chain=chain,
            validator_sets=standing.counts.validator_sets,
            transactions=standing.counts.transactions,
            outputs=standing.counts.outputs,
            spends=standing.counts.spends,
        )
        return await self._read(None, "what belongs to no block", self._store.audit_end(end)) or ()


def _goes_on(standing: Standing, app_hash: str) -> Standing:
    """The same, with another app hash where the stored one is so damaged that none can follow."""
    if _is_hash(standing.head.app_hash):
        return standing
    return replace(standing, head=replace(standing.head, app_hash=app_hash if _is_hash(app_hash) else "0" * 64))


def _is_hash(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == 32
    except ValueError:
        return False


def _unchecked(transaction: Transaction) -> None:
    """Stands in for the check of signatures below the first block that is checked."""
