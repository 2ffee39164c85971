# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where transactions come in: form checks at once, signatures in threads, the ledger in batches.

What waits while one batch is verified makes up the next one, so that batches grow by themselves under load
and a single transaction never waits for company.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from planetmint.app.application import Mode
from planetmint.app.lifecycle import BlockLifecycle, Waiter, reads_of
from planetmint.app.signatures import LARGE, Verifier
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import Transaction
from planetmint.ports.consensus import Consensus
from planetmint.ports.errors import CommitTimeout, EngineError, StoreError
from planetmint.ports.store import Store
from planetmint.rules import decode_transaction, verify_transaction

_BATCH = 256
"""At most so many transactions are verified in one go."""


class _Pending(NamedTuple):
    """A transaction on its way in.

    Attributes:
        transaction: It.
        taken: Answers when consensus has it, or raises why not; cancelled when its sender is gone.
        waiter: Waits for its block; None in the modes that do not.
    """

    transaction: Transaction
    taken: asyncio.Future[None]
    waiter: Waiter | None


class Intake:
    """Takes transactions for one node."""

    def __init__(
        self,
        store: Store,
        lifecycle: BlockLifecycle,
        consensus: Consensus,
        verifier: Verifier,
        *,
        commit_timeout: float,
        parallel: int = 2,
    ) -> None:
        """
        Args:
            commit_timeout: Seconds that a submission in mode commit waits for its block.
            parallel: Batches that are verified at the same time.
        """
        self._store = store
        self._lifecycle = lifecycle
        self._consensus = consensus
        self._verifier = verifier
        self._commit_timeout = commit_timeout
        self._free = parallel
        self._queue: list[_Pending] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, body: bytes, mode: Mode) -> Transaction:
        """See `Application.submit`."""
        refuse_in_trouble(self._consensus)
        transaction = await read_body(body, self._lifecycle, self._verifier)
        if mode is not Mode.COMMIT:
            await self._take(transaction, None)
            return transaction
        waiter: Waiter = asyncio.get_running_loop().create_future()
        try:
            await self._take(transaction, waiter)
            await committed(waiter, self._commit_timeout)
        finally:
            self._lifecycle.forget(transaction, waiter)
        return transaction

    async def _take(self, transaction: Transaction, waiter: Waiter | None) -> None:
        pending = _Pending(transaction, asyncio.get_running_loop().create_future(), waiter)
        self._queue.append(pending)
        self._dispatch()
        await pending.taken

    def _dispatch(self) -> None:
        if self._free and self._queue:
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
                try:
                    await self._process(batch)
                except Exception as error:  # noqa: BLE001 - a bug: raised again in everybody who waits
                    _settle(batch, error)
                finally:
                    _settle(batch, StoreError("the node is stopping"))
        finally:
            self._free += 1

    async def _process(self, batch: Sequence[_Pending]) -> None:
        transactions = [pending.transaction for pending in batch]
        await self._verifier.verify(transactions)
        try:
            view = await self._store.read_state(reads_of(transactions))
        except StoreError as error:
            _settle(batch, error)
            return
        for pending in batch:
            if pending.taken.done():
                continue
            try:
                verify_transaction(pending.transaction, view, self._verifier.cache.check)
                await hand_over(pending.transaction, pending.waiter, self._lifecycle, self._consensus)
            except (InvalidTransaction, StoreError, EngineError) as refusal:
                _settle((pending,), refusal)
            # The sender may have gone while the engine thought.
            if not pending.taken.done():
                pending.taken.set_result(None)


async def hand_over(
    transaction: Transaction, waiter: Waiter | None, lifecycle: BlockLifecycle, consensus: Consensus
) -> None:
    """Give a verified transaction to consensus.

    Args:
        waiter: Is told its fate in a block from now on, not that of an earlier copy; whoever made it forgets it.

    Raises:
        InvalidTransaction, StoreError, EngineError: Consensus does not take it.
    """
    if waiter is not None:
        lifecycle.await_commit(transaction, waiter)
    fresh = lifecycle.remember(transaction)
    try:
        await consensus.submit(transaction)
    except BaseException:
        if fresh:
            # Otherwise refused transactions would fill the memory that is meant for waiting ones.
            lifecycle.discharge(transaction.canonical)
        raise


async def read_body(body: bytes, lifecycle: BlockLifecycle, verifier: Verifier) -> Transaction:
    """The form checks of a submission: at once, or beside the event loop where they may take long.

    Raises:
        InvalidTransaction: See `decode_transaction`.
    """
    if len(body) < LARGE:
        return decode_transaction(body, lifecycle.parameters)
    return await verifier.apart(partial(decode_transaction, body, lifecycle.parameters))


def refuse_in_trouble(consensus: Consensus) -> None:
    """Take nothing that could not be made durable soon.

    Raises:
        StoreError: No blocks are made at present; the message says why.
    """
    trouble = consensus.trouble
    if trouble is not None:
        raise StoreError(trouble)


async def committed(waiter: Waiter, timeout: float) -> None:
    """Wait until the block that `waiter` stands for is committed.

    Raises:
        InvalidTransaction: The block refused the transaction.
        CommitTimeout: `timeout` seconds have passed.
    """
    # A timer of its own: `asyncio.wait_for` makes a second future for each submission.
    timer = asyncio.get_running_loop().call_later(timeout, _expire, waiter, timeout)
    try:
        await waiter
    finally:
        timer.cancel()


def _expire(waiter: Waiter, timeout: float) -> None:
    if not waiter.done():
        waiter.set_exception(
            CommitTimeout(
                f"the transaction was in no block within {timeout:g} seconds; it may still be committed: ask for "
                "it by its id before sending it again"
            )
        )


def _settle(batch: Sequence[_Pending], error: Exception) -> None:
    for pending in batch:
        if not pending.taken.done():
            pending.taken.set_exception(error)
