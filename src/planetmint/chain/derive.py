# SPDX-License-Identifier: AGPL-3.0-or-later
"""What follows from a chain's blocks alone: outputs, spends, elections, events, headers and the app hash of each.

Whoever is given blocks derives the chain of hashes from them and believes what ends in a hash that he trusts
(decision D10). Rules and signatures are not checked again: the hash names what was accepted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from planetmint.chain.execute import next_app_hash, transaction_event
from planetmint.chain.founding import UnknownRules, check_parameters, found_chain, founding_header
from planetmint.chain.header import header_hash, verify_header
from planetmint.chain.merkle import merkle_root
from planetmint.elections import end_block
from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, Founding, Spend
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import OutputRecord, OutputRef, Transaction
from planetmint.model.validator import ValidatorSet
from planetmint.rules import created_outputs, decode_canonical


class Underivable(ValueError):
    """Blocks that do not follow from one another; the message names the block and what is wrong with it."""


class Counts(NamedTuple):
    """How many records of a kind a ledger holds."""

    validator_sets: int = 1
    transactions: int = 0
    outputs: int = 0
    spends: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a chain after a block besides transactions and outputs: all that the next one follows from.

    Implements the part of `StateView` that elections ask for.

    Attributes:
        founding: The founding document.
        head: Header of the block.
        validator_set: The newest.
        set_heights: Heights from which it and the one before hold, newest first.
        elections: By id.
        chain_record: The newest.
        counts: Of stored records.
    """

    founding: Founding
    head: BlockHeader
    validator_set: ValidatorSet
    set_heights: tuple[int, ...]
    elections: dict[str, ElectionRecord]
    chain_record: ChainRecord
    counts: Counts

    def has_transaction(self, transaction_id: str) -> bool:
        """See `StateView`; nothing is known of transactions."""
        return False

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """See `StateView`; nothing is known of outputs."""
        return None

    def validators(self) -> ValidatorSet:
        """See `StateView`."""
        return self.validator_set

    def validator_changes(self) -> tuple[int, ...]:
        """See `StateView`."""
        return self.set_heights

    def election(self, election_id: str) -> ElectionRecord | None:
        """See `StateView`."""
        return self.elections.get(election_id)

    def chain(self) -> ChainRecord:
        """See `StateView`."""
        return self.chain_record

    def after(self, block: BlockRecord) -> "Standing":
        """What is left after a block on top of this one; an older `elections` may no longer be asked."""
        height = block.header.height
        begun = self.begun()
        heights = self.set_heights
        if block.validators is not None:
            heights = (height + 1, heights[0])
        self.elections.update((record.election_id, record) for record in block.elections)
        counts = Counts(
            self.counts.validator_sets + (block.validators is not None),
            self.counts.transactions + len(block.transactions),
            self.counts.outputs + len(block.created),
            self.counts.spends + len(block.spent),
        )
        return Standing(
            self.founding,
            block.header,
            self.validator_set if block.validators is None else block.validators,
            heights,
            self.elections,
            begun if block.chain is None else block.chain,
            counts,
        )

    def renamed(self, chain: ChainRecord) -> "Standing":
        """The same with another newest chain record."""
        return replace(self, chain_record=chain)

    def begun(self) -> ChainRecord:
        """The chain's record as it is when a block follows: its engine has begun it."""
        return replace(self.chain_record, synced=True)


def derive_founding(founding: Founding, header: BlockHeader) -> Standing:
    """What stands after block 0.

    Raises:
        Underivable: The document does not lead to its own hash or label, `header` is not that of block 0, or
            this version does not know the chain's rules.
    """
    try:
        check_parameters(founding.parameters)
        again = found_chain(founding.chain_id, founding.parameters, founding.validators, founding.time)
        expected = founding_header(founding, bytes.fromhex(header.proposer))
    except UnknownRules as error:
        raise Underivable(str(error)) from None
    except (ValueError, InvalidTransaction) as error:
        raise Underivable(f"the founding document is damaged: {error}") from None
    for name in ("app_hash", "label"):
        if getattr(again, name) != getattr(founding, name):
            raise Underivable(f"the founding document does not lead to its own {name}")
    wrong = differing(replace(expected, signature=header.signature), header)
    if wrong:
        raise Underivable(f"block 0 does not follow from the founding document ({wrong[0]} differs)")
    chain = ChainRecord(founding.chain_id)
    standing = Standing(founding, header, founding.validators, (1,), {}, chain, Counts())
    check_seal(standing, header, signed=bool(header.signature))
    return standing


def derive_block(standing: Standing, header: BlockHeader, raws: Iterable[bytes]) -> BlockRecord:
    """A block with all its effects, re-derived from its transactions' bytes.

    Args:
        standing: After the block before.
        header: As given; all of it but time, proposer and signature is held against what follows.
        raws: Canonical JSON in block order, of any bytes.

    Raises:
        Underivable: Anything in it does not follow, or its signature is not one by a validator.
    """
    height = standing.head.height + 1
    transactions: list[Transaction] = []
    for index, raw in enumerate(raws):
        try:
            transactions.append(decode_canonical(raw, standing.founding.parameters))
        except InvalidTransaction as verdict:
            raise Underivable(f"block {height}, transaction {index}: {verdict}") from None
    record = follow(standing, header, transactions)
    wrong = differing(record.header, header)
    if wrong:
        raise Underivable(f"block {height} does not follow from the one before ({', '.join(wrong)} differ)")
    check_time(standing, header)
    check_seal(standing, header, signed=bool(standing.head.signature))
    return record


def follow(standing: Standing, header: BlockHeader, transactions: Sequence[Transaction]) -> BlockRecord:
    """A block of accepted transactions on top of `standing`, with all their effects and the header that follows.

    Args:
        standing: After the block before.
        header: Gives time, proposer and signature of the one in the answer, and nothing else.
        transactions: In block order.
    """
    before = standing.head
    height = before.height + 1
    created = tuple(made for item in transactions for made in created_outputs(item))
    spent = tuple(Spend(ref, item.id) for item in transactions for ref in item.spends)
    root = merkle_root([item.id for item in transactions])
    end = end_block(replace(standing, chain_record=standing.begun()), height, transactions)
    app_hash = before.app_hash
    if transactions:
        app_hash = next_app_hash(app_hash, height, root, created, spent, end)
    derived = BlockHeader(
        height, header.time, header_hash(before), root, app_hash, header.proposer, header.signature
    )
    events = BlockEvents(height, app_hash, tuple(transaction_event(item) for item in transactions))
    return BlockRecord(
        derived,
        tuple(transactions),
        created,
        spent,
        events,
        validators=end.validators,
        elections=end.records,
        chain=end.chain,
    )


def differing(derived: BlockHeader, given: BlockHeader) -> list[str]:
    """Names of the members in which two headers differ."""
    names = [field.name for field in fields(BlockHeader)]
    return [name for name in names if getattr(derived, name) != getattr(given, name)]


def check_time(standing: Standing, header: BlockHeader) -> None:
    """Times grow; only the first block under a name may have the time of the one before (its engine's genesis).

    Raises:
        Underivable: This one's does not.
    """
    first = standing.head.height == standing.chain_record.shift
    if header.time < standing.head.time or (header.time == standing.head.time and not first):
        raise Underivable(f"block {header.height} is not later than the one before")


def check_seal(standing: Standing, header: BlockHeader, *, signed: bool) -> None:
    """Where the node makes its own blocks, each header is signed by a validator (decision D19).

    Args:
        standing: After the block before.
        header: Of the block.
        signed: Whether headers of this chain are.

    Raises:
        Underivable: No signature, one of somebody else, or one where the engine keeps the signed header.
    """
    if not signed:
        if header.signature:
            raise Underivable(f"block {header.height} is signed, and the blocks before it are not")
        return
    keys = {validator.public_key.hex() for validator in standing.validator_set}
    if header.proposer not in keys:
        raise Underivable(f"block {header.height} is signed by nobody who is a validator")
    if not verify_header(header):
        raise Underivable(f"the signature of block {header.height} does not verify")
