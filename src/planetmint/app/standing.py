# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which waiting transactions are valid on the newest block, without asking the store anew.

An engine asks again about every transaction that waits, after every block. One that was valid before the block is
valid still, unless the block committed its id or spent one of its inputs: nothing else that its rules ask of the
ledger can change. Elections and votes look at more than that, and are always verified.
"""

from planetmint.chain import BlockResult
from planetmint.model.transaction import Operation, OutputRef, Transaction

_ORDINARY = frozenset({Operation.CREATE, Operation.TRANSFER, Operation.COMPOSE, Operation.DECOMPOSE})


class Standing:
    """Remembers heights at which transactions were found valid."""

    def __init__(self) -> None:
        self._valid: dict[bytes, int] = {}
        self._head = 0
        self._ids: frozenset[str] = frozenset()
        self._spent: frozenset[OutputRef] = frozenset()

    def found_valid(self, transaction: Transaction, height: int) -> None:
        """A transaction was verified on the ledger as it was after block `height`, or later."""
        if transaction.operation in _ORDINARY:
            self._valid[transaction.canonical] = height

    def holds(self, transaction: Transaction) -> bool:
        """Whether a transaction is certainly valid on the newest block."""
        height = self._valid.get(transaction.canonical)
        if height is None or height < self._head - 1:
            return False
        if height >= self._head:
            return True
        if transaction.id in self._ids or not self._spent.isdisjoint(transaction.spends):
            return False
        self._valid[transaction.canonical] = self._head
        return True

    def advance(self, block: BlockResult) -> None:
        """A block is committed."""
        self._head = block.height
        self._ids = frozenset(transaction.id for transaction in block.transactions)
        self._spent = frozenset(spend.ref for spend in block.spent)

    def forget(self, canonical: bytes) -> None:
        """A transaction waits no longer."""
        self._valid.pop(canonical, None)

    def clear(self, height: int) -> None:
        """The ledger was taken up anew, at this height."""
        self._valid.clear()
        self._head = height
        self._ids, self._spent = frozenset(), frozenset()
