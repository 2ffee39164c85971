# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signatures are verified once per node, beside the event loop, and remembered under the id (decisions D4, D5).

What is checked at the same places, the contracts of a transaction, is found by a judge of their own.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from planetmint.app.contracts import ContractJudge
from planetmint.conditions import signed_parts
from planetmint.model.errors import InvalidSignature
from planetmint.model.transaction import Transaction
from planetmint.rules import check_signatures

T = TypeVar("T")

_SMALL = 4
"""Up to so many transactions are verified by one thread: splitting them costs more than it gains."""

LARGE = 50_000
"""Bytes from which on JSON is read in a thread.

Hostile text of the largest size takes a third of a second, and a quarter more where all of it is contracts whose
bounds are hard to tell.
"""

_PATIENCE = 10.0
"""Seconds that a helper may take; it is then left to itself, and threads do its work."""

_REFUSED_CAPACITY = 4_000
"""More than one block and two batches bring at once."""

_Refusal = tuple[str, str, str | None]
"""Reason, rule and field of an `InvalidSignature`; the error itself would keep its whole stack alive."""


class SignatureCache:
    """Ids of transactions whose signatures verify, and of some that do not; bounded, oldest first out.

    An id is recomputed from the whole content, signatures included, so that it names one verdict. A refusal is
    kept so that thousands of signatures, the last of them bad, are not verified again in the event loop.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # A plain dict finds its oldest member by walking over all that were taken out before it.
        self._verified: OrderedDict[str, None] = OrderedDict()
        self._refused: OrderedDict[str, _Refusal] = OrderedDict()

    def __contains__(self, transaction: Transaction) -> bool:
        return transaction.id in self._verified

    def add(self, transaction: Transaction) -> None:
        """Remember that all signatures of `transaction` verify."""
        self._verified[transaction.id] = None
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)

    def refuse(self, transaction: Transaction, refusal: InvalidSignature) -> None:
        """Remember that a signature of `transaction` does not verify."""
        self._refused[transaction.id] = refusal.reason, refusal.rule, refusal.field
        if len(self._refused) > min(self._capacity, _REFUSED_CAPACITY):
            self._refused.popitem(last=False)

    def knows(self, transaction: Transaction) -> bool:
        """Whether the verdict on `transaction` needs no work."""
        return transaction.id in self._verified or transaction.id in self._refused

    def check(self, transaction: Transaction) -> None:
        """Stands in for `rules.check_signatures`; verifies here and now what is not yet known.

        Raises:
            InvalidSignature: A signature does not verify.
        """
        if transaction in self:
            return
        refused = self._refused.get(transaction.id)
        if refused is not None:
            reason, rule, field = refused
            raise InvalidSignature(reason, rule=rule, field=field)
        refusal = _refusal(transaction)
        if refusal is not None:
            self.refuse(transaction, refusal)
            raise refusal
        self.add(transaction)


class SignatureHelper(Protocol):
    """Verifies signatures somewhere else, e.g. in another process."""

    async def verify(self, parts: Sequence[bytes]) -> bytes | None:
        """One byte per part (see `conditions.signed_parts`), 1 where it verifies; None where it cannot be told."""
        ...


class Verifier:
    """Verifies signatures with a helper; in threads where there is none, it has no answer, or one does not verify.

    libsodium runs without the interpreter's lock, but a thread has to win that back after each signature.
    """

    def __init__(
        self,
        cache: SignatureCache,
        threads: int,
        helper: SignatureHelper | None = None,
        contracts: ContractJudge | None = None,
    ) -> None:
        """
        Args:
            contracts: Judges contracts; without it, only chains that run none can be followed.
        """
        self.cache = cache
        self.contracts = contracts or ContractJudge(None)
        self._helper = helper
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="verify")

    def check(self, transaction: Transaction) -> None:
        """Stands in for `rules.check_signatures`: the signatures, then the contracts of a transaction.

        Raises:
            InvalidTransaction: A signature does not verify, or a contract says something else.
            InvariantViolated: There are contracts, and they were not judged.
        """
        self.cache.check(transaction)
        if transaction.contracts:
            self.contracts.check(transaction)

    async def verify(self, transactions: Sequence[Transaction]) -> None:
        """Put the verdicts on `transactions` into the cache."""
        unknown = [item for item in transactions if not self.cache.knows(item)]
        if unknown and self._helper is not None:
            unknown = await self._ask(self._helper, unknown)
        if not unknown:
            return
        loop = asyncio.get_running_loop()
        parts = 1 if len(unknown) <= _SMALL else self._threads
        answers = await asyncio.gather(
            *(loop.run_in_executor(self._pool, _verdicts, unknown[part::parts]) for part in range(parts))
        )
        for answer in answers:
            for transaction, refusal in answer:
                if refusal is None:
                    self.cache.add(transaction)
                else:
                    self.cache.refuse(transaction, refusal)

    async def _ask(self, helper: SignatureHelper, unknown: Sequence[Transaction]) -> list[Transaction]:
        """Have a helper verify; what is left, because there is a bad signature or no answer."""
        parts: list[bytes] = []
        ends: list[int] = []
        for transaction in unknown:
            for item in transaction.inputs:
                parts.extend(signed_parts(item.fulfillment, item.message))
            ends.append(len(parts))
        try:
            answers = await asyncio.wait_for(helper.verify(parts), _PATIENCE)
        except TimeoutError:
            answers = None
        if answers is None or len(answers) != len(parts):
            return list(unknown)
        left: list[Transaction] = []
        start = 0
        for transaction, end in zip(unknown, ends, strict=True):
            if all(answers[start:end]):
                self.cache.add(transaction)
            else:
                left.append(transaction)
            start = end
        return left

    async def apart(self, job: Callable[[], T]) -> T:
        """Run `job`, which may take long, in one of the threads; it takes turns with the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def close(self) -> None:
        """Let the threads and the runs of contracts end."""
        self.contracts.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _verdicts(transactions: Sequence[Transaction]) -> list[tuple[Transaction, InvalidSignature | None]]:
    return [(transaction, _refusal(transaction)) for transaction in transactions]


def _refusal(transaction: Transaction) -> InvalidSignature | None:
    try:
        check_signatures(transaction)
    except InvalidSignature as refusal:
        return refusal
    return None
