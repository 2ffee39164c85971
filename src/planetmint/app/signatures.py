# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signatures are verified once per node, in threads, and remembered under the recomputed id (decisions D4, D5)."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import Transaction
from planetmint.rules import check_signatures

_SMALL = 4
"""Up to so many transactions are verified by one thread: splitting them costs more than it gains."""


class SignatureCache:
    """Ids of transactions whose signatures verify; bounded, oldest first out.

    An id is recomputed from the whole content, signatures included, so that it names one verdict.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # A plain dict finds its oldest member by walking over all that were taken out before it.
        self._verified: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, transaction: Transaction) -> bool:
        return transaction.id in self._verified

    def add(self, transaction: Transaction) -> None:
        """Remember that all signatures of `transaction` verify."""
        self._verified[transaction.id] = None
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)

    def check(self, transaction: Transaction) -> None:
        """Stands in for `rules.check_signatures`; verifies here and now what is not yet known.

        Raises:
            InvalidSignature: A signature does not verify.
        """
        if transaction in self:
            return
        check_signatures(transaction)
        self.add(transaction)


class Verifier:
    """Verifies signatures in threads: libsodium runs without the interpreter's lock."""

    def __init__(self, cache: SignatureCache, threads: int) -> None:
        self.cache = cache
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="verify")

    async def verify(self, transactions: Sequence[Transaction]) -> None:
        """Put the good ones among `transactions` into the cache; a bad one is found when it is checked."""
        unknown = [item for item in transactions if item not in self.cache]
        if not unknown:
            return
        loop = asyncio.get_running_loop()
        parts = 1 if len(unknown) <= _SMALL else self._threads
        answers = await asyncio.gather(
            *(loop.run_in_executor(self._pool, _good, unknown[part::parts]) for part in range(parts))
        )
        for answer in answers:
            for transaction in answer:
                self.cache.add(transaction)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _good(transactions: Sequence[Transaction]) -> list[Transaction]:
    return [transaction for transaction in transactions if _verifies(transaction)]


def _verifies(transaction: Transaction) -> bool:
    try:
        check_signatures(transaction)
    except InvalidTransaction:
        return False
    return True
