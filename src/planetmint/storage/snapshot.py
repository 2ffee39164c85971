# SPDX-License-Identifier: AGPL-3.0-or-later
"""A piece of committed state held in memory: what the embedded stores answer `Store.read_state` with."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.transaction import OutputRecord, OutputRef
from planetmint.model.validator import ValidatorSet


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Implements `StateView` for what was asked; everything else is answered as missing.

    Attributes:
        transactions: Those of the ids asked for that are committed.
        outputs: Those of the outputs asked for that exist.
        validator_set: The newest.
        set_heights: Heights from which it and the one before hold, newest first.
        election_records: Those asked for that exist, by id.
        chain_record: The newest.
    """

    transactions: Collection[str]
    outputs: Mapping[OutputRef, OutputRecord]
    validator_set: ValidatorSet
    set_heights: tuple[int, ...] = (1,)
    election_records: Mapping[str, ElectionRecord] = field(default_factory=dict)
    chain_record: ChainRecord = field(default_factory=lambda: ChainRecord(""))

    def has_transaction(self, transaction_id: str) -> bool:
        """See `StateView`."""
        return transaction_id in self.transactions

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """See `StateView`."""
        return self.outputs.get(ref)

    def validators(self) -> ValidatorSet:
        """See `StateView`."""
        return self.validator_set

    def validator_changes(self) -> tuple[int, ...]:
        """See `StateView`."""
        return self.set_heights

    def election(self, election_id: str) -> ElectionRecord | None:
        """See `StateView`."""
        return self.election_records.get(election_id)

    def chain(self) -> ChainRecord:
        """See `StateView`."""
        return self.chain_record
