# SPDX-License-Identifier: AGPL-3.0-or-later
"""The end of a block: which elections it opened, counted votes for and concluded, and with what effect.

Source: validation 4.5 with its differences for this node; naming of chains in elections-and-operations 4.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from planetmint.elections.record import cast_votes, open_election
from planetmint.model.election import ELECTIONS, MAX_CHAIN_ID, MIGRATION_SUFFIX, ChainRecord, ElectionRecord
from planetmint.model.errors import InvalidPowerChange
from planetmint.model.transaction import Operation, Transaction
from planetmint.model.validator import Validator, ValidatorSet, change_validators
from planetmint.state.view import StateView


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the elections of a block change.

    Attributes:
        records: Of elections that the block opened, counted votes for or concluded, as they are after it, in the
            order of their first effect.
        validators: The set from the next height on where it changes, else None.
        updates: Changed validators for the engine, at most one; power 0 removes.
        chain: The new chain that waits to be begun where a migration is decided, else None.
    """

    records: tuple[ElectionRecord, ...] = ()
    validators: ValidatorSet | None = None
    updates: tuple[Validator, ...] = ()
    chain: ChainRecord | None = None


_NOTHING = Outcome()


def end_block(view: StateView, height: int, accepted: Iterable[Transaction]) -> Outcome:
    """Open, count and conclude the elections of a block.

    An election concludes once: with the first block after its own in which somebody votes, at least two thirds
    of its power have been cast in all, and nothing stands in the way (`_may_conclude`).

    Args:
        view: The ledger after the block before.
        height: Of this block.
        accepted: Its accepted transactions, in block order.
    """
    concerned = [item for item in accepted if item.operation in ELECTIONS or item.operation is Operation.VOTE]
    if not concerned:
        return _NOTHING
    records: dict[str, ElectionRecord] = {}
    voted: dict[str, ElectionRecord] = {}
    for transaction in concerned:
        if transaction.operation is not Operation.VOTE:
            records[transaction.id] = open_election(transaction, height)
            continue
        election_id = transaction.asset_id
        record = voted.get(election_id) or records.get(election_id) or view.election(election_id)
        if record is None:
            # A VOTE may move shares of anything; only those of an election count.
            continue
        votes = cast_votes(transaction)
        voted[election_id] = replace(record, votes=record.votes + votes)
        if votes:
            records[election_id] = voted[election_id]
    return _conclude(view, height, records, voted)


def _conclude(
    view: StateView, height: int, records: dict[str, ElectionRecord], voted: dict[str, ElectionRecord]
) -> Outcome:
    """Conclude what can be, in the order of first votes; each sees what the one before did."""
    validators: ValidatorSet | None = None
    updates: tuple[Validator, ...] = ()
    chain: ChainRecord | None = None
    for election_id, record in voted.items():
        if not _may_conclude(view, height, record):
            continue
        if record.change is None:
            if chain is not None or not view.chain().synced:
                continue
            chain = migrated_chain(view.chain(), height)
        else:
            if validators is not None or view.validator_changes()[0] > height:
                continue
            try:
                validators = change_validators(view.validators(), record.change)
                updates = (record.change,)
            except InvalidPowerChange:
                # The set has changed since the election was opened: it is concluded without effect.
                pass
        records[election_id] = replace(record, concluded_at=height)
    return Outcome(tuple(records.values()), validators, updates, chain)


def _may_conclude(view: StateView, height: int, record: ElectionRecord) -> bool:
    """Whether an election that was voted for in this block has its majority, is open and still meant for this set.

    The set that counts is the newest one that holds before this block: one that holds from this block on was
    decided in the block before, and does not yet make elections of older sets inconclusive (validation 4.5).
    """
    if record.concluded_at is not None or record.height >= height or 3 * record.votes < 2 * record.total:
        return False
    newest = next((since for since in view.validator_changes() if since < height), 0)
    return newest <= record.height


def migrated_chain(chain: ChainRecord, height: int) -> ChainRecord:
    """The record of a chain whose migration is decided in block `height`, waiting for its engine.

    The height in the name is that of the block before, as published; names longer than the engine's bound lose
    the end of the base.
    """
    suffix = f"{MIGRATION_SUFFIX}{height - 1}"
    base = chain.chain_id.partition(MIGRATION_SUFFIX)[0]
    return ChainRecord(base[: MAX_CHAIN_ID - len(suffix)] + suffix, shift=height, synced=False)
