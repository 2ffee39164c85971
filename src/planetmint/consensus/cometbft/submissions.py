# SPDX-License-Identifier: AGPL-3.0-or-later
"""Transactions on their way into the engine's mempool: out in batches by RPC, back as a call of CheckTx.

The RPC only tells of a transaction that is not even checked; the verdict of the check passes through this node's
own ABCI server. So one transaction costs no round trip of its own, and every verdict is heard in full.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from planetmint.consensus.cometbft.http_client import Unanswered
from planetmint.consensus.cometbft.rpc import RpcClient, TooMany, request_size
from planetmint.model.errors import DuplicateTransaction, InvalidTransaction, TransactionTooLarge
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import ContractError, EngineError, MempoolFull

Outcome = InvalidTransaction | EngineError | ContractError | None

MAX_BODY = 900_000
"""Bytes of a request; the engine takes 1,000,000."""

MAX_BATCH = 400
"""Transactions in a request."""

CHECK_TIMEOUT = 5.0
"""Seconds in which the engine's check must have come."""

_SENDERS = 2
_LEAST_BATCH = 10
"""What an engine takes that was not told otherwise."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A transaction whose check has not come; `block` is the head on which this node found it valid."""

    transaction: Transaction
    outcome: asyncio.Future[Outcome]
    block: int


class Submissions:
    """Hands transactions over for one engine."""

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc
        self._waiting: dict[bytes, _Waiting] = {}
        self._outbox: deque[_Waiting] = deque()
        self._senders: set[asyncio.Task[None]] = set()
        self._max_batch = MAX_BATCH
        self._max_body = MAX_BODY
        self.rpc_trouble: str | None = None

    @property
    def waiting(self) -> int:
        """Transactions whose check has not come."""
        return len(self._waiting)

    async def submit(self, transactions: Sequence[Transaction], block: int) -> list[Outcome]:
        """See `Consensus.submit`; `block` is a number of the head on which they are valid."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Outcome]] = []
        entries: list[_Waiting] = []
        for transaction in transactions:
            future: asyncio.Future[Outcome] = loop.create_future()
            futures.append(future)
            if transaction.canonical in self._waiting:
                future.set_result(_known(transaction))
                continue
            entry = _Waiting(transaction, future, block)
            self._waiting[transaction.canonical] = entry
            entries.append(entry)
        self._outbox.extend(entries)
        self._dispatch()
        timer = loop.call_later(CHECK_TIMEOUT, self._expire, entries)
        try:
            return [await future for future in futures]
        finally:
            timer.cancel()
            self._forget(entries)

    def checked(self, raw: bytes, outcome: Outcome) -> None:
        """The engine's check of a transaction has passed through this node."""
        entry = self._waiting.get(raw)
        if entry is not None:
            self._settle(entry, outcome)

    def vouched(self, raw: bytes, block: int) -> bool:
        """Whether this transaction was handed over as valid on the head with this number."""
        entry = self._waiting.get(raw)
        return entry is not None and entry.block == block

    def give_up(self, reason: str) -> None:
        """No checks will come: everybody who waits hears why."""
        for entry in tuple(self._waiting.values()):
            self._settle(entry, EngineError(reason))
        self._outbox.clear()

    async def close(self) -> None:
        """Answer everybody and stop sending."""
        self.give_up("the node is stopping")
        senders = tuple(self._senders)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)

    def _dispatch(self) -> None:
        if self._outbox and len(self._senders) < _SENDERS:
            task = asyncio.get_running_loop().create_task(self._send())
            self._senders.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._senders.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug: it is reported by the event loop's handler, and nobody is left waiting for nothing.
            self.give_up(f"an error in the node's own code: {error}")
            raise error

    async def _send(self) -> None:
        while self._outbox:
            batch = self._next_batch()
            if not batch:
                return
            try:
                answers = await self._rpc.broadcast([entry.transaction.canonical for entry in batch])
            except TooMany as error:
                self._take_less(batch, error)
                continue
            except Unanswered:
                # If they arrived, their checks come; if the engine has gone, its connections tell.
                continue
            except EngineError as error:
                self.rpc_trouble = str(error)
                for entry in batch:
                    self._settle(entry, EngineError(f"the engine's RPC does not answer: {error}"))
                continue
            self.rpc_trouble = None
            for entry, words in zip(batch, answers, strict=True):
                if words is not None:
                    self._settle(entry, _refusal(entry.transaction, words))

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 2
        while self._outbox and len(batch) < self._max_batch:
            entry = self._outbox[0]
            if entry.outcome.done():
                self._outbox.popleft()
                continue
            size += request_size(entry.transaction.canonical)
            if batch and size > self._max_body:
                break
            batch.append(self._outbox.popleft())
        return batch

    def _take_less(self, batch: list[_Waiting], reason: TooMany) -> None:
        """Send the same again, in smaller requests from now on."""
        if len(batch) == 1:
            self._settle(batch[0], EngineError(f"the engine's RPC takes no transaction as long as this: {reason}"))
            return
        if "batch" in str(reason):
            self._max_batch = _LEAST_BATCH if len(batch) > _LEAST_BATCH else 1
        else:
            self._max_body = sum(request_size(entry.transaction.canonical) for entry in batch) // 2
        self._outbox.extendleft(reversed(batch))

    def _settle(self, entry: _Waiting, outcome: Outcome) -> None:
        self._waiting.pop(entry.transaction.canonical, None)
        if not entry.outcome.done():
            entry.outcome.set_result(outcome)

    def _expire(self, entries: Sequence[_Waiting]) -> None:
        for entry in entries:
            if not entry.outcome.done():
                self._settle(
                    entry, EngineError("the engine did not check the transaction in time; it may still do so")
                )

    def _forget(self, entries: Sequence[_Waiting]) -> None:
        for entry in entries:
            entry.outcome.cancel()
            if self._waiting.get(entry.transaction.canonical) is entry:
                del self._waiting[entry.transaction.canonical]


def _known(transaction: Transaction) -> DuplicateTransaction:
    return DuplicateTransaction(
        f"transaction `{transaction.id}` waits for a block already", rule="mempool.known", field="id"
    )


def _refusal(transaction: Transaction, words: str) -> InvalidTransaction | EngineError:
    """The engine's words about a transaction that it does not check (consensus-and-storage 1)."""
    text = words.lower()
    if "already exists in cache" in text:
        return _known(transaction)
    if "mempool is full" in text or "still rechecking" in text:
        return MempoolFull(f"the engine takes no transaction now ({words}); try again later")
    if "too large" in text:
        return TransactionTooLarge(f"the engine takes no transaction of this size ({words})", rule="mempool.size")
    return EngineError(f"the engine does not take the transaction: {words}")
