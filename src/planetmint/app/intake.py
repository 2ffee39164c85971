# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where transactions come in: form checks at once, signatures in threads, the ledger in batches.

What waits while one batch is verified makes up the next one, so that batches grow by themselves under load
and a single transaction never waits for company. A batch goes to the engine in one call. Contracts run before
their transaction joins a batch: no other one waits for them.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from planetmint.app.admission import Admission, committed
from planetmint.app.application import Mode
from planetmint.app.lifecycle import Waiter, reads_of
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import Transaction
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import StoreError
from planetmint.rules import verify_transaction

_BATCH = 256
"""At most so many transactions are verified in one go."""

_MOST_APART = 4_096
"""Transactions whose check by an engine somewhere else is under way; beyond, senders in mode async wait, too."""

_JUDGING = 10.0
"""Seconds in which the contracts of a transaction must be judged, the wait for their turn included."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Pending(NamedTuple):
    """A transaction on its way in.

    Attributes:
        transaction: It.
        taken: Answers when consensus has it, or raises why not; cancelled when its sender is gone.
        waiter: Waits for its block; None in the modes that do not.
        checked: Whether its sender waits for the engine's own check.
    """

    transaction: Transaction
    taken: asyncio.Future[None]
    waiter: Waiter | None
    checked: bool


class Intake:
    """Takes transactions for one node."""

    def __init__(self, admission: Admission, *, parallel: int = 2) -> None:
        """
        Args:
            admission: The parts of the node.
            parallel: Batches that are worked on at the same time.
        """
        self._admission = admission
        self._free = parallel
        self._apart = 0
        self._queue: list[_Pending] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, body: bytes, mode: Mode) -> Transaction:
        """See `Application.submit`."""
        self._admission.refuse_in_trouble()
        transaction = await self._admission.read(body)
        if transaction.contracts:
            await self._judge(transaction)
        if mode is not Mode.COMMIT:
            await self._take(transaction, None, checked=mode is Mode.SYNC)
            return transaction
        waiter: Waiter = asyncio.get_running_loop().create_future()
        try:
            await self._take(transaction, waiter, checked=True)
            await committed(waiter, self._admission.commit_timeout)
        finally:
            self._admission.lifecycle.forget(transaction, waiter)
        return transaction

    async def _judge(self, transaction: Transaction) -> None:
        """Run the contracts of a transaction that is valid otherwise.

        Raises:
            InvalidTransaction: It breaks a rule of the ledger, or its contracts say something else.
            StoreError: The store cannot be asked.
            ContractError: There is no verdict on its contracts.
        """
        verifier = self._admission.verifier
        await verifier.verify((transaction,))
        view = await self._admission.store.read_state(reads_of((transaction,)))
        verify_transaction(transaction, view, verifier.cache.check)
        for error in (await verifier.contracts.judge((transaction,), Patience.ADMISSION, _JUDGING)).values():
            raise error
        verifier.contracts.check(transaction)

    async def _take(self, transaction: Transaction, waiter: Waiter | None, *, checked: bool) -> None:
        pending = _Pending(transaction, asyncio.get_running_loop().create_future(), waiter, checked)
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
                except asyncio.CancelledError:
                    _settle(batch, StoreError("the node is stopping"))
                    raise
        finally:
            self._free += 1

    async def _process(self, batch: Sequence[_Pending]) -> None:
        admission = self._admission
        transactions = [pending.transaction for pending in batch]
        await admission.verifier.verify(transactions)
        head = admission.lifecycle.head
        height = None if head is None else head.height
        try:
            view = await admission.store.read_state(reads_of(transactions))
        except StoreError as error:
            _settle(batch, error)
            return
        verified: list[_Pending] = []
        for pending in batch:
            if pending.taken.done():
                continue
            try:
                # Of contracts it is known by now that they agree.
                verify_transaction(pending.transaction, view, admission.verifier.cache.check)
            except InvalidTransaction as refusal:
                pending.taken.set_exception(refusal)
                continue
            verified.append(pending)
        if not verified:
            return
        if admission.consensus.orders_dependents:
            await self._hand_over(verified, height)
            return
        # An engine somewhere else answers when its check has come: the next batch is verified meanwhile.
        self._answer_unchecked(verified)
        self._apart += len(verified)
        task = asyncio.get_running_loop().create_task(self._hand_over_apart(verified, height))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answer_unchecked(self, verified: Sequence[_Pending]) -> None:
        """Answer who does not wait for the engine's check, unless a copy waits or too many are under way."""
        known: set[bytes] = set()
        for pending in verified:
            raw = pending.transaction.canonical
            if not pending.checked and self._apart + len(known) < _MOST_APART:
                if raw not in known and not self._admission.lifecycle.waits(raw):
                    pending.taken.set_result(None)
                known.add(raw)

    async def _hand_over_apart(self, verified: Sequence[_Pending], height: int | None) -> None:
        try:
            await self._hand_over(verified, height)
        except Exception as error:  # noqa: BLE001 - a bug: raised again in everybody who waits
            _settle(verified, error)
        finally:
            self._apart -= len(verified)
            _settle(verified, StoreError("the node is stopping"))

    async def _hand_over(self, verified: Sequence[_Pending], height: int | None) -> None:
        answers = await self._admission.hand_over(
            [pending.transaction for pending in verified],
            [pending.waiter for pending in verified],
            height=height,
        )
        for pending, refusal in zip(verified, answers, strict=True):
            # The sender may have its answer, or have gone while the engine thought.
            if pending.taken.done():
                if refusal is not None:
                    _log.warning("transaction.not_taken", id=pending.transaction.id, reason=str(refusal))
                continue
            if refusal is not None:
                pending.taken.set_exception(refusal)
            else:
                pending.taken.set_result(None)


def _settle(batch: Sequence[_Pending], error: Exception) -> None:
    for pending in batch:
        if not pending.taken.done():
            pending.taken.set_exception(error)
