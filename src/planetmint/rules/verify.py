# SPDX-License-Identifier: AGPL-3.0-or-later
"""A decoded transaction against the ledger: its operation's rules, and what it would change."""

from collections.abc import Callable, Mapping

from planetmint.model.transaction import Operation, OutputRecord, OutputRef, Transaction
from planetmint.rules import compose, create, decompose, election, transfer, vote
from planetmint.rules.spending import SignatureCheck
from planetmint.state.view import StateView

_VERIFY: Mapping[Operation, Callable[[Transaction, StateView, SignatureCheck], None]] = {
    Operation.CREATE: create.verify,
    Operation.TRANSFER: transfer.verify,
    Operation.COMPOSE: compose.verify,
    Operation.DECOMPOSE: decompose.verify,
    Operation.VALIDATOR_ELECTION: election.verify,
    Operation.CHAIN_MIGRATION_ELECTION: election.verify,
    Operation.VOTE: vote.verify,
}


def verify_transaction(transaction: Transaction, view: StateView, check: SignatureCheck) -> None:
    """Hold a transaction against the ledger; signatures of every operation are checked.

    Args:
        transaction: From `decode_transaction`.
        view: The ledger, pending changes of the same block included.
        check: What needs no ledger and is not yet done: signatures, and where they are not judged by themselves,
            contracts. There is no default, so that nobody forgets the latter.

    Raises:
        InvalidTransaction: See the module of the operation.
    """
    _VERIFY[transaction.operation](transaction, view, check)


def created_outputs(transaction: Transaction) -> tuple[OutputRecord, ...]:
    """The outputs that an accepted transaction adds to the ledger, in order."""
    asset_id = transaction.asset_id
    return tuple(
        OutputRecord(
            ref=OutputRef(transaction.id, index),
            amount=output.amount,
            uri=output.uri,
            public_keys=output.public_keys,
            asset_id=asset_id,
            operation=transaction.operation,
            item=_item(transaction, index),
        )
        for index, output in enumerate(transaction.outputs)
    )


def _item(transaction: Transaction, index: int) -> str | None:
    """What output `index` of a DECOMPOSE stands for: the data of the item of the same index."""
    if transaction.operation is not Operation.DECOMPOSE or index >= len(transaction.assets):
        return None
    data = transaction.assets[index].data
    return data if isinstance(data, str) else None
