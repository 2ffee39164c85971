# SPDX-License-Identifier: AGPL-3.0-or-later
"""Group commit: as soon as transactions wait and the last block is durable, they are the next block.

No timer, no empty blocks. What arrives while one block is written makes up the next one, so that batches
grow by themselves under load and a single transaction waits for one write only.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from planetmint.chain import sign_header
from planetmint.model.errors import DuplicateTransaction, InvalidTransaction, InvariantViolated
from planetmint.model.transaction import Transaction
from planetmint.ports.clock import Clock
from planetmint.ports.consensus import ChainInfo, Lifecycle
from planetmint.ports.errors import ContractsUnavailable, EngineError, MempoolFull, StoreError

_PUBLIC_KEY_AT = 32
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_STOPPING = "the node is stopping"

_log = structlog.get_logger(__name__)


class SoloEngine:
    """Implements `ports.Consensus` in one process."""

    orders_dependents = True

    def __init__(
        self,
        secret_key: bytes,
        clock: Clock,
        *,
        max_block_transactions: int = 1_000,
        max_block_bytes: int = 8_000_000,
        max_waiting: int = 20_000,
        max_waiting_bytes: int = 256_000_000,
    ) -> None:
        """
        Args:
            secret_key: 64 bytes, seed and public key; signs the headers.
            clock: Gives blocks their time.
            max_block_transactions, max_block_bytes: A block is full with either.
            max_waiting, max_waiting_bytes: Beyond either nothing more is taken.
        """
        self._secret_key = secret_key
        self._clock = clock
        self._max_block_transactions = max_block_transactions
        self._max_block_bytes = max_block_bytes
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._known: set[str] = set()
        self._ids: dict[bytes, str] = {}
        self._contracts: dict[bytes, int] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._seated = False
        self._trouble: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str | None:
        """See `Consensus`."""
        return self._trouble or (_STOPPING if self._stopping else None)

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The running producer; ends with an exception only for an invariant violation."""
        return self._task

    @property
    def waiting(self) -> int:
        """Transactions that wait for a block."""
        return len(self._waiting)

    async def start(self, lifecycle: Lifecycle) -> None:
        """See `Consensus`."""
        self._task = asyncio.get_running_loop().create_task(self._run(lifecycle))

    async def stop(self) -> None:
        """Write what waits, then stop; gives up at the first failure of the store."""
        self._stopping = True
        self._wake.set()
        if self._task is not None and not self._task.done():
            await self._task

    async def submit(self, transactions: Sequence[Transaction]) -> list[InvalidTransaction | EngineError | None]:
        """See `Consensus`; never suspends."""
        if self._stopping:
            return [EngineError(_STOPPING) for _ in transactions]
        answers = [self._take(transaction) for transaction in transactions]
        if self._waiting:
            self._wake.set()
        return answers

    def _take(self, transaction: Transaction) -> InvalidTransaction | EngineError | None:
        if transaction.id in self._known:
            return DuplicateTransaction(
                f"transaction `{transaction.id}` waits for a block already", rule="mempool.known", field="id"
            )
        raw = transaction.canonical
        if len(self._waiting) >= self._max_waiting or self._waiting_bytes + len(raw) > self._max_waiting_bytes:
            return MempoolFull(f"{len(self._waiting)} transactions wait for a block already; try again later")
        self._known.add(transaction.id)
        self._ids[raw] = transaction.id
        if transaction.contracts:
            self._contracts[raw] = transaction.contracts
        self._waiting.append(raw)
        self._waiting_bytes += len(raw)
        return None

    async def _run(self, lifecycle: Lifecycle) -> None:
        try:
            await self._make_blocks(lifecycle)
        except Exception as error:
            # Whoever watches the task ends the node; until then nothing is taken that could not be written.
            self._trouble = f"no blocks can be made any more: {error}"
            raise

    async def _make_blocks(self, lifecycle: Lifecycle) -> None:
        # A migration may have been decided right before the node ended.
        await self._make_block(lifecycle, ())
        while not (self._stopping and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                most = lifecycle.parameters.contracts.max_per_block
                if not await self._make_block(lifecycle, self._next_block(most)):
                    return

    def _next_block(self, most_contracts: int) -> list[bytes]:
        """The oldest waiting transactions that fit into a block; they keep waiting until it is durable.

        What exceeds a bound waits with all that came after it: some of that may build on it.
        """
        chosen: list[bytes] = []
        size = contracts = 0
        for raw in self._waiting:
            size += len(raw)
            contracts += self._contracts.get(raw, 0)
            if chosen and (
                size > self._max_block_bytes
                or len(chosen) >= self._max_block_transactions
                or contracts > most_contracts
            ):
                break
            chosen.append(raw)
        return chosen

    async def _make_block(self, lifecycle: Lifecycle, raws: Sequence[bytes]) -> bool:
        """Make one block, trying again while the store fails or contracts are not judged; False when stopping
        ends that.

        A chain whose migration the block decided goes on at once: no other engine has to be set up. Without
        transactions no block is made, and only that is done.
        """
        pause = _FIRST_PAUSE
        before: int | None = None
        while True:
            try:
                head = await _standing(lifecycle)
                before = head.height if before is None else before
                if raws and head.height == before:
                    await self._try_block(lifecycle, head, raws)
                    head = await _standing(lifecycle)
                # Else an attempt that was reported as failed is stored all the same.
                if not head.chain.synced:
                    await lifecycle.begin_chain(head.chain.chain_id, head.validators)
                break
            except (StoreError, ContractsUnavailable) as error:
                if self._trouble is None:
                    _log.error("block.not_stored", reason=str(error), waiting=len(self._waiting))
                what = "the store takes no blocks" if isinstance(error, StoreError) else "no block can be made"
                self._trouble = f"{what} at present: {error}"
                if self._stopping:
                    if self._waiting:
                        _log.error("transactions.lost", reason=str(error), count=len(self._waiting))
                    return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if self._trouble is not None:
            _log.info("block.stored_again", waiting=len(self._waiting))
            self._trouble = None
        self._forget(raws)
        self._check_own_key(head)
        return True

    def _check_own_key(self, head: ChainInfo) -> None:
        """Raises InvariantViolated once an election has removed this node's key: nobody would believe a header
        that it signs."""
        own = self._secret_key[_PUBLIC_KEY_AT:]
        seated, self._seated = self._seated, own in [one.public_key for one in head.validators]
        if seated and not self._seated:
            raise InvariantViolated(
                f"with block {head.height} an election has removed this node's own key from the validators, and "
                "nobody else makes blocks here; the next start says what to do"
            )

    async def _try_block(self, lifecycle: Lifecycle, head: ChainInfo, raws: Sequence[bytes]) -> None:
        proposer = self._secret_key[_PUBLIC_KEY_AT:]
        # The clock may be set back; the times of blocks only grow, as they do under CometBFT.
        time = max(self._clock.now(), head.time + 1)
        block = await lifecycle.finalize_block(head.height + 1, time, proposer, raws)
        if all(verdict is not None for verdict in block.verdicts):
            await lifecycle.discard()
            return
        await lifecycle.commit(sign_header(lifecycle.header(), self._secret_key))

    def _forget(self, raws: Sequence[bytes]) -> None:
        for raw in raws:
            self._waiting.popleft()
            self._waiting_bytes -= len(raw)
            self._known.discard(self._ids.pop(raw))
            self._contracts.pop(raw, None)


async def _standing(lifecycle: Lifecycle) -> ChainInfo:
    info = await lifecycle.info()
    if info is None:
        raise InvariantViolated("blocks are to be made on a chain that is not founded")
    return info
