# SPDX-License-Identifier: AGPL-3.0-or-later
"""A block applied to the ledger: one function, one result, no writes.

Everything here is computed alike by every validator: no clock, no order but that of the block, no floats.
Source: validation 4 and 5; decisions D7, D10, D11, D19.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from planetmint.chain.merkle import merkle_root
from planetmint.conditions import signers
from planetmint.elections import Outcome, end_block
from planetmint.model import json
from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, Spend, TransactionEvent
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.errors import InvalidScript, InvalidTransaction
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.transaction import OutputRecord, Transaction
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.rules import SignatureCheck, created_outputs, verify_transaction
from planetmint.state.overlay import Overlay
from planetmint.state.view import StateView

NO_ELECTIONS = Outcome()
"""The end of a block without elections and votes."""

Candidate = Transaction | InvalidTransaction
"""A block's transaction as far as it could be decoded: the value, or why it is none."""


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Everything that one block does.

    Attributes:
        height: Its height.
        verdicts: Per candidate in block order; None where it was accepted.
        transactions: Those accepted, in block order.
        created: Outputs made, in block order; those spent in the same block included.
        spent: Outputs spent, in block order.
        root: Merkle root over the accepted ids, 64 hex digits.
        app_hash: After the block, 64 hex digits.
        events: For the streams.
        elections: Records of elections that the block opened, counted votes for or concluded, as they are after
            it, in the order of their first effect.
        validators: The set from the next height on where it changes, else None.
        updates: Changed validators for the engine, whose set they change two heights on; power 0 removes.
        chain: The new chain that waits to be begun where the block concluded a migration, else None.
    """

    height: int
    verdicts: tuple[InvalidTransaction | None, ...]
    transactions: tuple[Transaction, ...]
    created: tuple[OutputRecord, ...]
    spent: tuple[Spend, ...]
    root: str
    app_hash: str
    events: BlockEvents
    elections: tuple[ElectionRecord, ...] = ()
    validators: ValidatorSet | None = None
    updates: tuple[Validator, ...] = ()
    chain: ChainRecord | None = None

    def record(self, header: BlockHeader) -> BlockRecord:
        """What a store keeps of the block, under its header."""
        return BlockRecord(
            header,
            self.transactions,
            self.created,
            self.spent,
            self.events,
            validators=self.validators,
            elections=self.elections,
            chain=self.chain,
        )


def execute_block(
    view: StateView,
    height: int,
    candidates: Sequence[Candidate],
    previous_app_hash: str,
    check: SignatureCheck,
) -> BlockResult:
    """Apply a block's transactions in order; those that break a rule are skipped, the block stays valid.

    Args:
        view: The ledger after the block before.
        height: Of this block, 1 or more.
        candidates: In block order.
        previous_app_hash: After the block before, 64 hex digits.
        check: Verifies signatures and judges contracts; a cache keyed by recomputed id may stand in.
    """
    overlay = Overlay(view)
    verdicts: list[InvalidTransaction | None] = []
    accepted: list[Transaction] = []
    created: list[OutputRecord] = []
    spent: list[Spend] = []
    for candidate in candidates:
        try:
            transaction, made = admit(candidate, overlay, check)
        except InvalidTransaction as verdict:
            verdicts.append(verdict)
            continue
        verdicts.append(None)
        accepted.append(transaction)
        created.extend(made)
        spent.extend(Spend(ref, transaction.id) for ref in transaction.spends)
    root = merkle_root([transaction.id for transaction in accepted])
    end = end_block(view, height, accepted)
    app_hash = previous_app_hash
    if accepted:
        app_hash = next_app_hash(previous_app_hash, height, root, created, spent, end)
    return BlockResult(
        height=height,
        verdicts=tuple(verdicts),
        transactions=tuple(accepted),
        created=tuple(created),
        spent=tuple(spent),
        root=root,
        app_hash=app_hash,
        events=BlockEvents(height, app_hash, tuple(transaction_event(item) for item in accepted)),
        elections=end.records,
        validators=end.validators,
        updates=end.updates,
        chain=end.chain,
    )


def within_block(candidates: Sequence[Candidate], most: int) -> Sequence[Candidate]:
    """The candidates of a block, with a refusal in the place of each that brings more contracts than it may hold.

    What was counted from the text decides: such a transaction is not run, and one after it may still fit. A
    decided block gives it a verdict, a proposal with one is rejected, and whoever proposes leaves it for later.

    Args:
        candidates: In block order.
        most: Chain parameter `contracts.max_per_block`.

    Source: consensus-and-storage 8.
    """
    if not any(isinstance(item, Transaction) and item.contracts for item in candidates):
        return candidates
    taken = 0
    within: list[Candidate] = []
    for item in candidates:
        count = item.contracts if isinstance(item, Transaction) else 0
        if taken + count <= most:
            taken += count
            within.append(item)
            continue
        reason = f"the block holds {taken} contracts before this transaction brings {count}, {most} are allowed"
        within.append(InvalidScript(reason, rule="contract.block"))
    return within


def admit(
    candidate: Candidate, overlay: Overlay, check: SignatureCheck
) -> tuple[Transaction, tuple[OutputRecord, ...]]:
    """Verify one candidate and add its effects to `overlay`; answers it and the outputs that it makes.

    Raises:
        InvalidTransaction: It breaks a rule; `overlay` is as before.
    """
    if isinstance(candidate, InvalidTransaction):
        raise candidate
    verify_transaction(candidate, overlay, check)
    made = created_outputs(candidate)
    overlay.apply(candidate.id, candidate.spends, made)
    return candidate, made


def next_app_hash(
    previous: str,
    height: int,
    root: str,
    created: Sequence[OutputRecord],
    spent: Sequence[Spend],
    end: Outcome = NO_ELECTIONS,
) -> str:
    """The app hash after a block that accepted something: SHA-256 over the hash before and the block's effects.

    Args:
        previous: 64 hex digits.
        height: Of the block.
        root: Merkle root over the accepted ids.
        created, spent: In block order.
        end: What its elections change.

    Returns:
        64 hex digits: SHA-256 of 32 bytes (`previous`) and the canonical JSON of the effects.

    Source: decision D10; the exact form is in docs/decisions/0002-app-hash.md.
    """
    made: list[JsonValue] = [_output_effect(item) for item in created]
    gone: list[JsonValue] = [[*item.ref, item.spender] for item in spent]
    effects: JsonObject = {"created": made, "height": height, "root": root, "spent": gone}
    # Absent where nothing is changed: most blocks hold no elections.
    if end.records:
        effects["elections"] = [_election_effect(record) for record in end.records]
    if end.validators is not None:
        effects["validators"] = [validator.to_json() for validator in end.validators]
    if end.chain is not None:
        effects["chain"] = {"chain_id": end.chain.chain_id, "shift": end.chain.shift}
    return sha256(bytes.fromhex(previous) + json.canonical(effects)).hexdigest()


def _election_effect(record: ElectionRecord) -> JsonValue:
    """A whole record, in a fixed order."""
    kind, change = record.operation.value, record.change
    return [
        record.election_id,
        kind,
        record.height,
        str(record.total),
        str(record.votes),
        None if change is None else change.to_json(),
        record.concluded_at,
    ]


def _output_effect(record: OutputRecord) -> JsonValue:
    """Everything that the rules may later ask of an output, in a fixed order."""
    keys: list[JsonValue] = list(record.public_keys)
    kind = record.operation.value
    return [*record.ref, str(record.amount), record.uri, keys, record.asset_id, kind, record.item]


def transaction_event(transaction: Transaction) -> TransactionEvent:
    """What the streams tell about an accepted transaction."""
    keys = (key for output in transaction.outputs for key in output.public_keys)
    signed = (key for item in transaction.inputs for key in signers(item.fulfillment))
    return TransactionEvent(
        transaction_id=transaction.id,
        asset_id=transaction.asset_id,
        asset_ids=transaction.asset_ids,
        operation=transaction.operation,
        public_keys=tuple(dict.fromkeys(keys)),
        signers=tuple(dict.fromkeys(signed)),
    )
