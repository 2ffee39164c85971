# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every submission passes, alone or in bulk: the form checks, the state of the chain, the engine."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from planetmint.app.lifecycle import BlockLifecycle, Waiter
from planetmint.app.signatures import LARGE, Verifier
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import Transaction
from planetmint.ports.consensus import Consensus
from planetmint.ports.errors import ChainHalted, CommitTimeout, ContractError, EngineError, StoreError
from planetmint.ports.store import Store
from planetmint.rules import decode_transaction

Refusal = InvalidTransaction | StoreError | EngineError | ContractError
"""Why a submission is not taken, or not committed."""

REFUSALS = (InvalidTransaction, StoreError, EngineError, ContractError)
"""The same, to be caught."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The parts of a node that take transactions in.

    Attributes:
        store: What is committed.
        lifecycle: Knows the chain, and who waits for a block.
        consensus: Takes what was verified.
        verifier: Verifies signatures, has contracts judged, and runs beside the event loop what may take long.
        commit_timeout: Seconds that a submission in mode commit waits for its block.
    """

    store: Store
    lifecycle: BlockLifecycle
    consensus: Consensus
    verifier: Verifier
    commit_timeout: float

    def refuse_in_trouble(self) -> None:
        """Take nothing that could not be made durable soon.

        Raises:
            ChainHalted: A migration was decided, and no engine has begun the chain under its new name.
            EngineError: No blocks are made at present; the message says why.
        """
        halted = self.lifecycle.halted
        if halted is not None:
            raise ChainHalted(halted)
        trouble = self.consensus.trouble
        if trouble is not None:
            raise EngineError(trouble)

    async def read(self, body: bytes) -> Transaction:
        """The form checks of a submission: at once, or beside the event loop where they may take long.

        Raises:
            InvalidTransaction: See `decode_transaction`.
        """
        parameters = self.lifecycle.parameters
        if len(body) < LARGE:
            return decode_transaction(body, parameters)
        return await self.verifier.apart(partial(decode_transaction, body, parameters))

    async def hand_over(
        self,
        transactions: Sequence[Transaction],
        waiters: Sequence[Waiter | None],
        *,
        height: int | None = None,
    ) -> Sequence[InvalidTransaction | EngineError | ContractError | None]:
        """Give verified transactions to consensus, all of them in one call.

        Args:
            transactions: In order.
            waiters: Per transaction who is told its fate in a block from now on, not that of an earlier copy;
                whoever made a waiter forgets it.
            height: Of the block on whose ledger each of them is valid by itself; None where they are not.

        Returns:
            See `Consensus.submit`.
        """
        lifecycle = self.lifecycle
        fresh = []
        for transaction, waiter in zip(transactions, waiters, strict=True):
            if waiter is not None:
                lifecycle.await_commit(transaction, waiter)
            fresh.append(lifecycle.remember(transaction, height))
        answers: Sequence[InvalidTransaction | EngineError | ContractError | None]
        answers = [EngineError("no answer")] * len(fresh)
        try:
            answers = await self.consensus.submit(transactions)
            return answers
        finally:
            for transaction, new, answer in zip(transactions, fresh, answers, strict=True):
                if new and answer is not None:
                    # Otherwise refused transactions would fill the memory that is meant for waiting ones.
                    lifecycle.discharge(transaction.canonical)


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
