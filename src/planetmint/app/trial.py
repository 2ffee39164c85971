# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trying a transaction out: the checks of a submission in the same order, and what they take.

Nothing that is found out here reaches the caches, the memory of what waits, or consensus, so that a later
submission is judged as if nothing had been tried. Source: http-api 4.3; order of checks: `planetmint.app.intake`.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from planetmint.app.admission import Admission
from planetmint.app.application import Cost, DryRun
from planetmint.app.claims import claimed_id
from planetmint.app.contracts import Trial
from planetmint.app.lifecycle import reads_of
from planetmint.app.signatures import LARGE
from planetmint.conditions import fulfillment_condition, parse_condition_uri, signed_parts
from planetmint.model.errors import InvalidSignature, InvalidTransaction
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.errors import ContractsUnavailable
from planetmint.rules import check_signatures, verify_transaction

T = TypeVar("T")

_JUDGING = 10.0
"""Seconds in which the contracts of a transaction must have run, the wait for their turn included."""

WAITS = "the transaction waits for a block already"
"""Why a transaction that is valid on the committed state is not taken a second time."""


class Trials:
    """Tries transactions for one node.

    One at a time is looked at, so that all trials take no more of the node than one sender in turn; contracts run
    outside of that turn, and bound themselves.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._turn = asyncio.Lock()

    async def dry_run(self, body: bytes) -> DryRun:
        """See `Application.dry_run`."""
        async with self._turn:
            try:
                transaction = await self._admission.read(body)
            except InvalidTransaction as refusal:
                claimed = await self._beside(len(body), partial(claimed_id, body))
                return DryRun(claimed, refusal, self._trouble())
            parameters = self._admission.lifecycle.parameters
            cost = await self._beside(len(body), partial(cost_of, transaction, parameters))
            refused = await self._verify(transaction)
        if refused is not None:
            return DryRun(transaction.id, refused, self._trouble(), cost)
        runs = await self._run(transaction)
        # The first contract that does not say what is declared decides, as in a submission.
        error = next((run.error for run in runs if run.error is not None), None)
        return DryRun(transaction.id, error, self._hindrance(transaction), cost, runs)

    async def _beside(self, size: int, job: Callable[[], T]) -> T:
        """Do what takes long only for long texts, beside the event loop where it does."""
        return job() if size < LARGE else await self._admission.verifier.apart(job)

    async def _verify(self, transaction: Transaction) -> InvalidTransaction | None:
        """Hold a transaction against the committed state, its signatures included and its contracts left out.

        Raises:
            StoreError: The store cannot be asked.
        """
        forged = await self._admission.verifier.apart(partial(_forged, transaction))

        def check(_: Transaction) -> None:
            if forged is not None:
                raise forged

        view = await self._admission.store.read_state(reads_of((transaction,)))
        try:
            verify_transaction(transaction, view, check)
        except InvalidTransaction as refusal:
            return refusal
        return None

    async def _run(self, transaction: Transaction) -> tuple[Trial, ...]:
        """Run the contracts of a transaction that is valid otherwise.

        Raises:
            ContractsUnavailable: They cannot be run, or not in time.
        """
        try:
            async with asyncio.timeout(_JUDGING):
                return tuple(await self._admission.verifier.contracts.trial(transaction))
        except TimeoutError:
            raise ContractsUnavailable("there was no time left for contracts that are only tried") from None

    def _trouble(self) -> str | None:
        return self._admission.lifecycle.halted or self._admission.consensus.trouble

    def _hindrance(self, transaction: Transaction) -> str | None:
        waits = WAITS if self._admission.lifecycle.waits(transaction.canonical) else None
        return self._trouble() or waits


def cost_of(transaction: Transaction, parameters: ChainParameters) -> Cost:
    """What a transaction takes of the chain's bounds."""
    conditions = [parse_condition_uri(output.uri) for output in transaction.outputs]
    return Cost(
        bytes=len(transaction.canonical),
        bytes_allowed=parameters.max_transaction_bytes,
        inputs=len(transaction.inputs),
        outputs=len(transaction.outputs),
        signatures=sum(1 for item in transaction.inputs for _ in signed_parts(item.fulfillment, item.message)),
        contracts=transaction.contracts,
        contracts_allowed=parameters.contracts.max_per_block,
        fulfillment_costs=tuple(fulfillment_condition(item.fulfillment).cost for item in transaction.inputs),
        output_costs=tuple(None if condition is None else condition.cost for condition in conditions),
    )


def _forged(transaction: Transaction) -> InvalidSignature | None:
    try:
        check_signatures(transaction)
    except InvalidSignature as refusal:
        return refusal
    return None
