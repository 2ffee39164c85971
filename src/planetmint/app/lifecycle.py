# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a block, as engines drive it: execute, store once, then tell.

A decided block is executed on the committed state and kept in memory; `commit` is the one write.
So the store is at height h or at h + 1, and an engine may repeat any call after a crash. A store that reports
an error may have stored the block all the same: what became of it is read from the store, not guessed.
"""

import base64
from asyncio import Future
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import structlog

from planetmint.app.contracts import ContractJudge
from planetmint.app.feed import CommittedFeed
from planetmint.app.signatures import LARGE, Verifier
from planetmint.app.standing import Standing
from planetmint.chain import (
    BlockResult,
    Candidate,
    admit,
    check_parameters,
    execute_block,
    header_hash,
    within_block,
)
from planetmint.model.block import BlockHeader, Founding
from planetmint.model.election import ChainRecord
from planetmint.model.errors import InvalidTransaction, InvariantViolated
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Operation, OutputRef, Transaction
from planetmint.model.validator import ValidatorSet
from planetmint.ports.consensus import ChainInfo, FinalizedBlock, Migrated
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import (
    ChainHalted,
    ChainMismatch,
    CommitTimeout,
    ContractError,
    ContractOverrun,
    ContractsUnavailable,
    StoreError,
)
from planetmint.ports.store import StateReads, Store
from planetmint.rules import decode_canonical, verify_transaction
from planetmint.state.overlay import Overlay

Waiter = Future[int]
"""Answers with the height of the block that holds a transaction, or raises its verdict."""

_DECODED_CAPACITY = 20_000
_DECODED_BYTES = 32_000_000
"""In canonical form; decoded, hostile JSON takes some twenty times as much."""

_CONTRACT = b'"script":'
"""What the canonical form of every transaction with contracts holds."""

_PREPARING = 2.0
"""Seconds in which the contracts of a block may be judged that this node proposes."""

_FORESEEN_BLOCKS = 4
"""So many times the contracts of a block are looked at for one that this node proposes: some may be refused."""

_PROPOSED = 4.0
"""Seconds of processor time of the contracts that this node proposes in one block: the others have to judge them
while everybody waits, and busy machines take some four times as long."""

_CAREFUL, _MOST_CAREFUL = 4, 16
"""How much more careful each of this node's proposals makes it whose contracts kept the others from deciding it,
and how careful it gets: until then it proposes fewer, and then none. Each one that is decided takes back 1."""

_PROCESSING = 10.0
"""Seconds in which the contracts of a block must be judged that another node proposes."""

_DECIDED = 2.0
"""Seconds after which the engine's adapter hears that the contracts of a decided block still run."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Finalized(NamedTuple):
    """A block that is decided: what it does, its unsigned header, its transactions as far as they are any."""

    result: BlockResult
    header: BlockHeader
    candidates: tuple[Candidate, ...]


class _Proposed(NamedTuple):
    """A block that this node proposed on top of the head: what it does if it is decided as it stands.

    Attributes:
        raws: Its transactions; all of them are accepted.
    """

    raws: tuple[bytes, ...]
    candidates: tuple[Transaction, ...]
    result: BlockResult


class _Offered(NamedTuple):
    """A proposal of this node of which it is not known what became.

    Attributes:
        raws: Its transactions.
        contracts: Whether there are contracts in it.
    """

    raws: tuple[bytes, ...]
    contracts: bool


class _ContractRoom:
    """What a block that this node proposes may still hold of contracts."""

    def __init__(self, most: int, judge: ContractJudge, care: int) -> None:
        """
        Args:
            most: Contracts in a block.
            care: See `_CAREFUL`; each full step divides what there is room for by four.
        """
        part = 4 ** -(-care // _CAREFUL)
        self._left = 0 if care >= _MOST_CAREFUL else -(-most // part)
        self._seconds = self._most_seconds = _PROPOSED / part
        self._any_first = not care
        self._judge = judge

    def holds(self, candidate: Candidate) -> bool:
        """Whether a candidate fits; a first one may take any time, unless proposals failed."""
        if not isinstance(candidate, Transaction) or not candidate.contracts:
            return True
        first = self._any_first and self._seconds == self._most_seconds
        return candidate.contracts <= self._left and (first or self._judge.seconds(candidate) <= self._seconds)

    def take(self, candidate: Candidate) -> None:
        """Count a candidate in."""
        if isinstance(candidate, Transaction) and candidate.contracts:
            self._left -= candidate.contracts
            self._seconds -= self._judge.seconds(candidate)

    def fitting(self, transactions: Sequence[Transaction]) -> Sequence[Transaction]:
        """Those that fit, counted in; the others are left for a later block."""
        if not any(item.contracts for item in transactions):
            return transactions
        found = []
        for item in transactions:
            if self.holds(item):
                self.take(item)
                found.append(item)
        return found


def reads_of(transactions: Iterable[Transaction]) -> StateReads:
    """What the rules may ask of the committed state about some transactions."""
    ids: set[str] = set()
    outputs: set[OutputRef] = set()
    elections: set[str] = set()
    for transaction in transactions:
        ids.add(transaction.id)
        outputs.update(transaction.spends)
        if transaction.operation is Operation.VOTE:
            elections.add(transaction.asset_id)
    return StateReads(ids, outputs, elections)


class BlockLifecycle:
    """Implements `ports.Lifecycle` over a store."""

    def __init__(
        self,
        store: Store,
        feed: CommittedFeed,
        verifier: Verifier,
        *,
        accepts: Callable[[ChainParameters], None] = check_parameters,
    ) -> None:
        """
        Args:
            accepts: Asked before a chain with these parameters is founded or gone on with; raises UnknownRules or
                ChainMismatch where this node cannot follow it.
        """
        self._accepts = accepts
        self._store = store
        self._feed = feed
        self._verifier = verifier
        self._decoded: OrderedDict[bytes, Transaction] = OrderedDict()
        self._decoded_bytes = 0
        self._foreseen: dict[bytes, Transaction] = {}
        self._standing = Standing()
        self._waiters: dict[str, list[Waiter]] = {}
        self._founding: Founding | None = None
        self._head: BlockHeader | None = None
        self._chain: ChainRecord | None = None
        self._renamed_at: int | None = None
        self._corrects = False
        self._validators: ValidatorSet = ()
        self._proposed: _Proposed | None = None
        self._offered: _Offered | None = None
        self._care = 0
        self._finalized: _Finalized | None = None
        self._doubtful: _Finalized | None = None

    @property
    def parameters(self) -> ChainParameters:
        """The chain's parameters; defaults before the founding."""
        return self._founding.parameters if self._founding else ChainParameters()

    @property
    def head(self) -> BlockHeader | None:
        """Header of the newest durable block; None before the founding."""
        return self._head

    @property
    def halted(self) -> str | None:
        """Why no block follows: a migration was decided, and no engine has begun the chain under its new name."""
        chain = self._chain
        if chain is None or chain.synced:
            return None
        return (
            f"chain migration in progress: the chain waits at block {chain.shift} to go on as {chain.chain_id!r}; "
            "its history can be read"
        )

    async def load(self) -> bool:
        """Take the chain's state from the store, also anew; whether a chain is founded there.

        Raises:
            UnknownRules: The chain follows rules that this version does not know.
            ChainMismatch: This node cannot follow it as it is set up.
        """
        founding = await self._store.founding()
        head = await self._store.head()
        if founding is None or head is None:
            return False
        self._accept(founding.parameters)
        view = await self._store.read_state(StateReads((), ()))
        chain = view.chain()
        renaming = await self._store.summary(chain.shift) if chain.shift else None
        self._founding, self._head = founding, head
        self._chain, self._validators = chain, view.validators()
        self._renamed_at = None if renaming is None else renaming.header.time
        self._proposed = self._finalized = self._doubtful = None
        self._standing.clear(head.height)
        self._feed.begin(founding.label, head.height)
        return True

    def _accept(self, parameters: ChainParameters) -> None:
        """Take the parameters of the chain for those that hold from now on. Raises as `load`."""
        self._accepts(parameters)
        self._verifier.contracts.follow(parameters)

    async def info(self) -> ChainInfo | None:
        """See `Lifecycle`."""
        head, chain = self._head, self._chain
        if head is None or chain is None:
            return None
        return ChainInfo(head.height, head.app_hash, head.time, chain, self._validators)

    async def settle(self) -> bool:
        """See `Lifecycle`."""
        return await self._stored_after_all()

    async def init_chain(
        self, founding: Founding, header: BlockHeader, *, continues: Migrated | None = None
    ) -> str:
        """See `Lifecycle`."""
        loaded = await self.load()
        if continues is not None:
            raise ChainMismatch(_needs_backup(continues, self._head))
        if not loaded:
            self._accept(founding.parameters)
            await self._store.found(founding, header)
            await self.load()
        if self._founding is None or self._founding.app_hash != founding.app_hash:
            raise ChainMismatch(
                f"the ledger holds the chain {self._founding.chain_id if self._founding else ''!r}, which was "
                f"founded with another genesis than that of {founding.chain_id!r}"
            )
        return self._founding.app_hash

    async def begin_chain(self, chain_id: str, validators: ValidatorSet) -> str:
        """See `Lifecycle`."""
        head, chain = self._require_head(), self._require_chain()
        if chain_id != chain.chain_id:
            raise ChainMismatch(
                f"the engine begins the chain {chain_id!r}, but this ledger goes on as {chain.chain_id!r}: give "
                "the engine the genesis of that chain (`planetmint election migrate` writes it)"
            )
        if set(validators) != set(self._validators):
            raise ChainMismatch(
                f"the chain {chain_id!r} begins with the validators {_listed(self._validators)}, but the genesis "
                f"of the engine names {_listed(validators)}"
            )
        if head.height != chain.shift:
            raise ChainMismatch(
                f"the engine begins the chain {chain_id!r} anew, but this ledger holds blocks of it up to "
                f"{head.height}: put its data back, or restore a backup that ends with block {chain.shift}"
            )
        begun = replace(chain, synced=True)
        await self._store.begin_chain(begun)
        if not chain.synced:
            _log.info("chain.begun", chain_id=chain_id, shift=chain.shift, app_hash=head.app_hash)
        self._chain = begun
        return head.app_hash

    async def check_txs(
        self, raws: Sequence[bytes]
    ) -> list[InvalidTransaction | StoreError | ContractError | None]:
        """See `Lifecycle`."""
        candidates = await self._candidates(raws)
        asked = [item for item in _decoded(candidates) if not self._standing.holds(item)]
        if not asked:
            return [item if isinstance(item, InvalidTransaction) else None for item in candidates]
        verdicts = await self._verdicts(asked)
        return [
            item if isinstance(item, InvalidTransaction) else verdicts.get(item.canonical) for item in candidates
        ]

    async def _verdicts(
        self, asked: Sequence[Transaction]
    ) -> dict[bytes, InvalidTransaction | StoreError | ContractError | None]:
        """Verdicts that need the store, by the bytes of the transactions."""
        # The state that is read is this block's or a later one's.
        height = self._require_head().height
        try:
            view = await self._store.read_state(reads_of(asked))
        except StoreError as error:
            return {item.canonical: error for item in asked}
        verdicts: dict[bytes, InvalidTransaction | StoreError | ContractError | None] = {}
        for item in asked:
            # What the ledger refuses anyway is not run.
            verdicts[item.canonical] = _verdict(
                partial(verify_transaction, item, view, self._verifier.cache.check)
            )
        contracts = self._verifier.contracts
        running = [item for item in asked if item.contracts and verdicts[item.canonical] is None]
        errors = await contracts.judge_in_passing(running) if running else {}
        for item in running:
            verdicts[item.canonical] = errors.get(item.id) or _verdict(partial(contracts.check, item))
        for item in asked:
            if verdicts[item.canonical] is None:
                # What waits in the engine comes back after every block, and in one.
                self.remember(item, height)
        return verdicts

    async def prepare_proposal(self, raws: Sequence[bytes], max_bytes: int) -> list[bytes]:
        """See `Lifecycle`; nothing is proposed while the chain waits for its migration."""
        if self.halted is not None:
            return []
        candidates = self._foremost(await self._candidates(raws))
        # Asked again on the same head: what was proposed before was not decided.
        self._heed(None)
        with self._verifier.contracts.holding(_decoded(candidates)):
            chosen = await self._choose(raws, await self._judged(candidates), max_bytes)
        self._offered = _Offered(tuple(chosen), any(_CONTRACT in raw for raw in chosen))
        return chosen

    async def _choose(self, raws: Sequence[bytes], candidates: Sequence[Candidate], max_bytes: int) -> list[bytes]:
        """What of some candidates, whose contracts are judged, goes into a block."""
        if sum(map(len, raws)) <= max_bytes and self._doubtful is None:
            return await self._propose(candidates)
        overlay = await self._overlay(candidates)
        contracts = self._contract_room()
        chosen: list[bytes] = []
        for raw, candidate in zip(raws, candidates, strict=True):
            if not contracts.holds(candidate):
                continue
            try:
                admit(candidate, overlay, self._verifier.check)
            except InvalidTransaction:
                continue
            if len(raw) > max_bytes:
                break
            max_bytes -= len(raw)
            contracts.take(candidate)
            chosen.append(raw)
        return chosen

    def _heed(self, decided: Sequence[bytes] | None) -> None:
        """Learn from what became of this node's proposal how many contracts the others can bear.

        They may have been too slow for those that it judged in time, and would be the next time: ordinary
        transactions go on all the same.

        Args:
            decided: The transactions of the block that was decided; None where none was.
        """
        offered, self._offered = self._offered, None
        if offered is None:
            return
        if decided is not None and offered.raws == tuple(decided):
            self._care = max(self._care - 1, 0)
        elif offered.contracts:
            self._care = min(self._care + _CAREFUL, _MOST_CAREFUL)
            _log.warning("proposal.not_decided", height=self._require_head().height + 1, care=self._care)

    async def _propose(self, candidates: Sequence[Candidate]) -> list[bytes]:
        """Propose all that is valid, and keep what the block does: it is most often decided as it is proposed."""
        head = self._require_head()
        view = await self._store.read_state(reads_of(_decoded(candidates)))
        result = execute_block(view, head.height + 1, candidates, head.app_hash, self._verifier.check)
        fitting = self._contract_room().fitting(result.transactions)
        if len(fitting) < len(result.transactions):
            # Once more, because of what builds on the rest.
            result = execute_block(view, head.height + 1, fitting, head.app_hash, self._verifier.check)
        raws = tuple(item.canonical for item in result.transactions)
        # What was left out has no effects: without it the block is the same, and nothing in it is refused.
        whole = replace(result, verdicts=(None,) * len(raws))
        self._proposed = _Proposed(raws, result.transactions, whole)
        return list(raws)

    async def process_proposal(self, height: int, raws: Sequence[bytes]) -> bool:
        """See `Lifecycle`: invalid transactions in a block get a verdict and do not stop it."""
        self._foreseen = {}
        if self.halted is not None or height != self._require_head().height + 1:
            return False
        if not self.parameters.contracts.on:
            return True
        marked = [raw for raw in raws if _CONTRACT in raw]
        reason = await self._unacceptable(marked) if marked else None
        if reason is not None:
            _log.warning("proposal.rejected", height=height, reason=reason)
        return reason is None

    async def _unacceptable(self, raws: Sequence[bytes]) -> str | None:
        """Why a block with these transactions, which may bring contracts, cannot be voted for."""
        candidates = await self._candidates(raws)
        self._foreseen = {item.canonical: item for item in _decoded(candidates)}
        within = within_block(candidates, self.parameters.contracts.max_per_block)
        for was, item in zip(candidates, within, strict=True):
            if item is not was:
                return str(item)
        errors = await self._judge(within, Patience.PROPOSAL, _PROCESSING)
        return next((f"transaction {name}: {error}" for name, error in errors.items()), None)

    def _foremost(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Candidates for a block, with a refusal in the place of those beyond the contracts of some blocks."""
        return within_block(candidates, _FORESEEN_BLOCKS * self.parameters.contracts.max_per_block)

    async def _judged(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Candidates for a block, with a refusal in the place of those whose contracts are not judged in time."""
        errors = await self._judge(candidates, Patience.ADMISSION, _PREPARING)
        if not errors:
            return candidates
        return [
            InvalidTransaction("its contracts are not judged", rule="block.later")
            if isinstance(item, Transaction) and item.id in errors
            else item
            for item in candidates
        ]

    def _contract_room(self) -> "_ContractRoom":
        return _ContractRoom(self.parameters.contracts.max_per_block, self._verifier.contracts, self._care)

    async def _judge(
        self, candidates: Sequence[Candidate], patience: Patience, seconds: float
    ) -> dict[str, ContractError]:
        """Judge the contracts of candidates whose signatures verify; see `ContractJudge.judge`."""
        signed = [
            item
            for item in _decoded(candidates)
            if item.contracts and _verdict(partial(self._verifier.cache.check, item)) is None
        ]
        return await self._verifier.contracts.judge(signed, patience, seconds) if signed else {}

    async def _judge_decided(self, height: int, candidates: Sequence[Candidate]) -> None:
        """Judge the contracts of a block that is decided, however long that takes.

        Raises:
            ContractsUnavailable: They are not judged yet; they run on.
            InvariantViolated: One of them cannot be judged on this machine.
        """
        errors = await self._judge(candidates, Patience.DECIDED, _DECIDED)
        for name, error in errors.items():
            if isinstance(error, ContractOverrun):
                raise InvariantViolated(
                    f"block {height} is decided, and a contract of its transaction {name} cannot be run to its "
                    f"end on this machine ({error}): whether the block accepts it is not known. Start the node "
                    "again with more memory; if that does not help, drop the database and let the node join anew "
                    "from a snapshot of a later block"
                )
        for name, error in errors.items():
            raise ContractsUnavailable(
                f"block {height} waits for the contracts of {len(errors)} transactions, {name} among them: {error}"
            )

    async def finalize_block(
        self, height: int, time: int, proposer: bytes, raws: Sequence[bytes]
    ) -> FinalizedBlock:
        """See `Lifecycle`."""
        head = self._follows(height, time)
        self._heed(raws)
        # While a block is in doubt the store is asked in any case.
        proposed = self._proposed if self._doubtful is None else None
        candidates: Sequence[Candidate]
        if proposed is not None and proposed.raws == tuple(raws):
            candidates, result = proposed.candidates, proposed.result
        else:
            candidates = await self._candidates(raws)
            within = within_block(candidates, self.parameters.contracts.max_per_block)
            with self._verifier.contracts.holding(_decoded(within)):
                result = await self._execute(height, within, head)
        header = BlockHeader(
            height=height,
            time=self._recorded(time, head),
            previous_hash=header_hash(head),
            root=result.root,
            app_hash=result.app_hash,
            proposer=proposer.hex(),
        )
        self._finalized = _Finalized(result, header, tuple(candidates))
        return FinalizedBlock(result.verdicts, result.app_hash, result.updates)

    async def _execute(self, height: int, candidates: Sequence[Candidate], head: BlockHeader) -> BlockResult:
        await self._judge_decided(height, candidates)
        view = await self._store.read_state(reads_of(_decoded(candidates)))
        if await self._stored_after_all():
            raise StoreError(f"block {height} was stored after all, when it was tried before")
        return execute_block(view, height, candidates, head.app_hash, self._verifier.check)

    def _follows(self, height: int, time: int) -> BlockHeader:
        """The head, where a block of this height and time may follow on it.

        Raises:
            ChainHalted, ChainMismatch: See `Lifecycle.finalize_block`.
            InvariantViolated: Another block follows next.
        """
        head, chain = self._require_head(), self._require_chain()
        if self.halted is not None:
            raise ChainHalted(self.halted)
        if height != head.height + 1:
            raise InvariantViolated(f"block {height} is executed on top of block {head.height}")
        # The head's time may have come with a snapshot, whose teller is not believed that much: only the block
        # that renamed the chain counts, which no snapshot shows later than the engine's genesis.
        renamed = self._renamed_at
        if renamed is not None and time < renamed + _least_step(head, chain):
            raise ChainMismatch(
                f"block {height} is to have the time {time}, which is not after {renamed}, that of block "
                f"{chain.shift}: the engine is not one of the chain {chain.chain_id!r}"
            )
        return head

    def _recorded(self, time: int, head: BlockHeader) -> int:
        """The time that the ledger keeps for a block on top of `head`: its own, unless that is not later.

        An engine's times grow. Where they seem not to, a snapshot told a wrong one; blocks after it are kept as
        later ones until the engine's time is past it, so that the ledger follows from itself.
        """
        least = head.time + _least_step(head, self._require_chain())
        if time < least and not self._corrects:
            _log.warning("block.time_corrected", height=head.height + 1, time=time, recorded=least)
        self._corrects = time < least
        return max(time, least)

    def header(self) -> BlockHeader:
        """See `Lifecycle`."""
        return self._require_finalized().header

    async def commit(self, header: BlockHeader | None = None) -> None:
        """See `Lifecycle`."""
        block = self._require_finalized()
        sealed = header or block.header
        if await self._stored_after_all():
            return
        # In doubt from here on, until the store says what became of it.
        self._doubtful = block
        try:
            await self._store.save_block(block.result.record(sealed))
        except StoreError as error:
            if not await self._stored_after_all():
                raise
            _log.warning("block.stored_after_all", height=sealed.height, error=str(error))
            return
        self._committed(sealed, block)

    async def discard(self) -> None:
        """See `Lifecycle`."""
        block = self._require_finalized()
        if block.result.transactions:
            raise InvariantViolated("a block with accepted transactions is to be committed")
        self._finalized = None
        self._wake(block)

    async def _stored_after_all(self) -> bool:
        """Whether a block that the store reported as failed stands there all the same; if so it is committed now.

        An earlier attempt at the same block may have been stored: its time and signature are those that count.

        Raises:
            StoreError: The store does not say.
            InvariantViolated: The store holds a block that this node did not make.
        """
        block = self._doubtful
        if block is None:
            return False
        head = await self._store.head()
        if head == self._head:
            return False
        if head is None or replace(block.header, time=head.time, signature=head.signature) != head:
            raise InvariantViolated(
                f"the store holds another block than the one made for height {block.header.height}"
            )
        self._committed(head, block)
        return True

    def _committed(self, sealed: BlockHeader, block: _Finalized) -> None:
        """A block is durable: go on from it, publish its events, wake who waits for it."""
        self._head = sealed
        if block.result.chain is not None:
            self._chain, self._renamed_at = block.result.chain, sealed.time
        if block.result.validators is not None:
            self._validators = block.result.validators
        self._proposed = self._finalized = self._doubtful = None
        self._foreseen = {}
        self._standing.advance(block.result)
        self._feed.publish(block.result.events)
        self._wake(block)

    def await_commit(self, transaction: Transaction, waiter: Waiter) -> None:
        """Resolve `waiter` when the block with this transaction is committed."""
        self._waiters.setdefault(transaction.id, []).append(waiter)

    def forget(self, transaction: Transaction, waiter: Waiter) -> None:
        """Nobody waits behind `waiter` any more; what it says is of no interest."""
        waiters = self._waiters.get(transaction.id, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiters.pop(transaction.id, None)
        if not waiter.cancel() and not waiter.cancelled():
            # Looked at, so that the event loop does not report a verdict that nobody has asked for.
            waiter.exception()

    def give_up(self, reason: str) -> None:
        """No more blocks will be made: everybody who waits hears `CommitTimeout` with `reason`."""
        waiting, self._waiters = self._waiters, {}
        for waiter in (one for waiters in waiting.values() for one in waiters):
            if not waiter.done():
                waiter.set_exception(CommitTimeout(f"{reason}; it may still be committed"))

    def remember(self, transaction: Transaction, height: int | None = None) -> bool:
        """Keep a decoded transaction, so that its bytes need not be read again when a block brings them.

        Args:
            height: Of the block on whose ledger it was found valid, or of one before; None where it was not.

        Returns:
            Whether it was not kept before.
        """
        if height is not None:
            self._standing.found_valid(transaction, height)
        if transaction.canonical in self._decoded:
            return False
        self._decoded[transaction.canonical] = transaction
        self._decoded_bytes += len(transaction.canonical)
        while len(self._decoded) > _DECODED_CAPACITY or self._decoded_bytes > _DECODED_BYTES:
            self.discharge(next(iter(self._decoded)))
        return True

    def waits(self, canonical: bytes) -> bool:
        """Whether a transaction of these bytes was handed to the engine or came from it, and is in no block."""
        return canonical in self._decoded

    def discharge(self, canonical: bytes) -> None:
        """Keep the decoded transaction of these bytes no longer."""
        self._standing.forget(canonical)
        if self._decoded.pop(canonical, None) is not None:
            self._decoded_bytes -= len(canonical)

    def refused(self, raw: bytes, verdict: InvalidTransaction) -> None:
        """See `Lifecycle`."""
        candidate = self._decode(raw)
        if isinstance(candidate, Transaction):
            self._tell(candidate, verdict)

    def _wake(self, block: _Finalized) -> None:
        for candidate, verdict in zip(block.candidates, block.result.verdicts, strict=True):
            if isinstance(candidate, Transaction):
                self._tell(candidate, verdict or block.result.height)

    def _tell(self, transaction: Transaction, fate: int | InvalidTransaction) -> None:
        """Tell who waits for a transaction the height of its block, or why it comes into none."""
        self.discharge(transaction.canonical)
        for waiter in self._waiters.pop(transaction.id, ()):
            if waiter.done():
                continue
            if isinstance(fate, InvalidTransaction):
                waiter.set_exception(fate)
            else:
                waiter.set_result(fate)

    def _decode(self, raw: bytes) -> Candidate:
        known = self._decoded.get(raw) or self._foreseen.get(raw)
        if known is not None:
            return known
        try:
            return decode_canonical(raw, self.parameters)
        except InvalidTransaction as verdict:
            return verdict

    async def _candidates(self, raws: Sequence[bytes]) -> list[Candidate]:
        candidates: list[Candidate] = []
        for raw in raws:
            if len(raw) < LARGE or raw in self._decoded or raw in self._foreseen:
                candidates.append(self._decode(raw))
            else:
                candidates.append(await self._verifier.apart(partial(self._decode, raw)))
        await self._verifier.verify(_decoded(candidates))
        return candidates

    async def _overlay(self, candidates: Sequence[Candidate]) -> Overlay:
        return Overlay(await self._store.read_state(reads_of(_decoded(candidates))))

    def _require_head(self) -> BlockHeader:
        if self._head is None:
            raise InvariantViolated("no chain is founded yet")
        return self._head

    def _require_chain(self) -> ChainRecord:
        if self._chain is None:
            raise InvariantViolated("no chain is founded yet")
        return self._chain

    def _require_finalized(self) -> _Finalized:
        if self._finalized is None:
            raise InvariantViolated("no block was finalized")
        return self._finalized


def _least_step(head: BlockHeader, chain: ChainRecord) -> int:
    """Nanoseconds by which the next block is later: none for the first one under a name, whose time may be that
    of its genesis, and so that of the block before."""
    return 0 if head.height == chain.shift else 1


def _needs_backup(continues: Migrated, head: BlockHeader | None) -> str:
    """What an operator has to do before an engine can go on from a block that the ledger does not hold."""
    held = "is empty" if head is None else f"ends with block {head.height}"
    return (
        f"the genesis of the engine goes on from block {continues.height} with app hash {continues.app_hash}, and "
        f"this ledger {held}: restore a backup that ends with that block first, or join by state sync"
    )


def _listed(validators: ValidatorSet) -> str:
    """Keys and powers, for a person."""
    return ", ".join(
        f"{base64.b64encode(validator.public_key).decode()} ({validator.power})"
        for validator in sorted(validators)
    )


def _verdict(check: Callable[[], object]) -> InvalidTransaction | None:
    try:
        check()
    except InvalidTransaction as verdict:
        return verdict
    return None


def _decoded(candidates: Sequence[Candidate]) -> list[Transaction]:
    return [item for item in candidates if isinstance(item, Transaction)]
