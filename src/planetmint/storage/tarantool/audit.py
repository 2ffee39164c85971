# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events read back from rows, and rows held against what they must be."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from planetmint.model.block import BlockRecord, TransactionEvent
from planetmint.ports.errors import StoreError
from planetmint.ports.store import LedgerEnd
from planetmint.storage.tarantool import record
from planetmint.storage.tarantool.session import Session, Value, raw


async def events(session: Session, first: int, last: int) -> AsyncIterator[TransactionEvent]:
    """Events of the transactions from number `first` on, `last` not included."""
    while first < last:
        answer = await session.call("event_rows", first, last)
        try:
            rows, outputs, reached = answer
            made = _events(first, rows, outputs, int(reached))  # type: ignore[call-overload, arg-type]
        except (TypeError, ValueError, IndexError) as error:
            raise StoreError(f"the ledger is damaged: {error}") from error
        if not made:
            raise StoreError(f"the ledger is damaged: transaction {first} is missing")
        for event in made:
            yield event
        first += len(made)


def _events(
    first: int, rows: Sequence[Sequence[Value]], outputs: Sequence[Sequence[Value]], reached: int
) -> list[TransactionEvent]:
    keys: dict[int, list[str]] = defaultdict(list)
    for sequence, texts in outputs:
        keys[sequence] += [raw(text).decode() for text in texts]  # type: ignore[index, attr-defined]
    made: list[TransactionEvent] = []
    for sequence, (name, kind, assets, event) in enumerate(rows[: reached - first], first):
        others = [raw(item).hex() for item in assets]  # type: ignore[attr-defined]
        row = record.EventRow(*event)  # type: ignore[misc]
        made.append(record.decode_event(raw(name).hex(), kind, others, row, keys.get(sequence, ())))  # type: ignore[arg-type]
    return made


async def audit_block(session: Session, block: BlockRecord, terms: Sequence[set[bytes]]) -> tuple[str, ...]:
    """See `Store.audit`; `terms` of each transaction."""
    return ()


async def audit_end(session: Session, end: LedgerEnd) -> tuple[str, ...]:
    """See `Store.audit_end`."""
    return ()
