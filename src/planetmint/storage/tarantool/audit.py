# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events read back from rows, and rows held against what they must be."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from planetmint.model.block import BlockRecord, TransactionEvent
from planetmint.model.transaction import OutputRef
from planetmint.ports.errors import StoreError
from planetmint.ports.store import LedgerEnd
from planetmint.storage.checks import Findings
from planetmint.storage.tarantool import record
from planetmint.storage.tarantool.session import Session, Value, raw, wire


async def events(session: Session, first: int, last: int) -> AsyncIterator[TransactionEvent]:
    """Events of the transactions from number `first` on, `last` not included."""
    while first < last:
        answer = await session.call("event_rows", first, last)
        try:
            rows, outputs, reached = answer
            made = _events(first, rows, outputs, int(reached))
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
        keys[sequence] += [raw(text).decode() for text in texts]
    made: list[TransactionEvent] = []
    for sequence, (name, kind, assets, event) in enumerate(rows[: reached - first], first):
        others = [raw(item).hex() for item in assets]
        row = record.EventRow(*event)
        made.append(record.decode_event(raw(name).hex(), kind, others, row, keys.get(sequence, ())))
    return made


async def audit_block(session: Session, block: BlockRecord, terms: Sequence[set[bytes]]) -> tuple[str, ...]:
    """See `Store.audit`; `terms` of each transaction. Rows are compared byte by byte, as they are stored."""
    audit = _BlockAudit(session, block, terms)
    await audit.run()
    return audit.findings.sentences


class _BlockAudit:
    """One block held against what is stored of it."""

    def __init__(self, session: Session, block: BlockRecord, terms: Sequence[set[bytes]]) -> None:
        self.findings = Findings()
        self._session, self._block, self._terms = session, block, terms
        self._height = block.header.height
        self._first = 0
        self._sequences: dict[str, int] = {}

    async def run(self) -> None:
        """Compare everything."""
        height, block = self._height, self._block
        before, stored = await _raw(self._session, "blocks", [[max(height - 1, 0)], [max(height, 0)]])
        if stored is None or before is None or height < 0:
            self.findings.add(f"block {height} is missing")
            return
        self._first, postings = _ends(before) if height else (0, 0)
        self._sequences = {item.id: place for place, item in enumerate(block.transactions, self._first)}
        index = record.postings_of(self._first, self._terms)
        following = self._first + len(block.transactions)
        header = record.encode_header(block.header)
        expected = record.block_row(height, following, postings + len(index), header)
        self.findings.compare(f"the header or the row of block {height}", stored, expected)
        await self._transactions()
        await self._outputs()
        await self._spends()
        await self._index(index)
        if height:
            await self._validators()

    async def _transactions(self) -> None:
        block, height = self._block, self._height
        if len(block.events.events) != len(block.transactions):
            self.findings.add(f"the events of block {height} are other than they must be")
            return
        keys = record.keys_by_transaction(block)
        stored = await _raw(self._session, "transactions", [[place] for place in self._sequences.values()])
        for row, item, event in zip(stored, block.transactions, block.events.events, strict=True):
            place = self._sequences[item.id]
            expected = record.transaction_row(place, height, item, event, keys.get(item.id, ()))
            self.findings.compare(f"transaction {item.id} of block {height}", row, expected)

    async def _outputs(self) -> None:
        made = [item for item in self._block.created if item.ref.transaction_id in self._sequences]
        others = {item.id: record.other_assets(item) for item in self._block.transactions}
        places = [
            record.place_of(self._sequences[item.ref.transaction_id], item.ref.output_index) for item in made
        ]
        rows = await _raw(self._session, "outputs", [[place] for place in places])
        spends = await _spends(self._session, [item.ref for item in made])
        for output, place, row, spend in zip(made, places, rows, spends, strict=True):
            spender = int(spend[2]) if spend and spend[1] else None
            expected = record.output_row(place, output, others[output.ref.transaction_id], spender)
            self.findings.compare(_name(output.ref, self._height), row, expected)
        for output in self._block.created:
            if output.ref.transaction_id not in self._sequences:
                self.findings.add(f"{_name(output.ref, self._height)} is of no transaction of the block")

    async def _spends(self) -> None:
        """Held against the outputs' rows, whichever block made them."""
        found = await _spends(self._session, [spend.ref for spend in self._block.spent])
        for spend, row in zip(self._block.spent, found, strict=True):
            spender = self._sequences.get(spend.spender)
            stored = int(row[2]) if row and row[1] else None
            name = f"the spend of {_name(spend.ref, self._height)} by transaction {spend.spender}"
            if spender is None or stored != spender:
                self.findings.compare(name, stored, spender if spender is not None else spend.spender)

    async def _index(self, index: Mapping[bytes, Sequence[int]]) -> None:
        names = {sequence: name for name, sequence in self._sequences.items()}
        keys: list[Value] = [[wire(term), sequences[0]] for term, sequences in index.items()]
        stored = await _raw(self._session, "postings", keys)
        for row, (term, sequences) in zip(stored, index.items(), strict=True):
            about = f"transaction {names[sequences[0]]}" + (" and others" if len(sequences) > 1 else "")
            name = f"the index entry {term!r} of {about} in block {self._height}"
            self.findings.compare(name, row, record.postings_row(term, sequences))

    async def _validators(self) -> None:
        following = self._height + 1
        validators = self._block.validators
        expected = None if validators is None else record.validators_row(following, validators)
        (stored,) = await _raw(self._session, "validators", [[following]])
        name = f"the validator set of height {following}, after block {self._height},"
        if expected is None and stored is not None:
            self.findings.add(f"{name} is there, though the block did not make it")
        else:
            self.findings.compare(name, stored, expected)


async def audit_end(session: Session, end: LedgerEnd) -> tuple[str, ...]:
    """See `Store.audit_end`."""
    findings = Findings()
    head = await session.call("head")
    newest = head[0] if head and isinstance(head[0], list) else [-1, 0, 0]
    if newest[0] != end.head.height:
        return (f"the newest block is {newest[0]}, not {end.head.height}",)
    (row,) = await _raw(session, "blocks", [[newest[0]]])
    expected = record.block_row(newest[0], newest[1], newest[2], record.encode_header(end.head))
    findings.compare("the newest header", row, expected)
    await _audit_first_block(session, findings)
    for name, value in (("founding", end.founding), ("chain", end.chain)):
        answer = await session.call("meta", name)
        stored = wire_bytes(answer[0]) if answer else None
        title = "the founding document" if name == "founding" else "the newest chain record"
        findings.compare(title, stored, record.encode(value))
    (first,) = await _raw(session, "validators", [[1]])
    findings.compare("the validator set of height 1", first, record.validators_row(1, end.founding.validators))
    await _audit_elections(session, end, findings)
    counts = (await session.call("counts"))[0]
    for name, number in (
        ("blocks", end.head.height + 1),
        ("validators", end.validator_sets),
        ("transactions", end.transactions),
        ("outputs", end.outputs),
        ("spent", end.spends),
        ("postings", newest[2]),
    ):
        titles = {"validators": "validator sets", "spent": "spends", "postings": "index entries"}
        findings.compare(f"the number of {titles.get(name, name)}", counts[name], number)
    return findings.sentences


async def _audit_first_block(session: Session, findings: Findings) -> None:
    """Block 0 comes from no `BlockRecord`: its checksum is looked at, the next block names its header's hash."""
    (row,) = await _raw(session, "blocks", [[0]])
    answer = await session.call("summary", 0)
    try:
        header = raw(answer[0][0])
    except (StoreError, TypeError, IndexError):
        header = b""
    findings.compare("block 0", row, record.block_row(0, 0, 0, header))


async def _audit_elections(session: Session, end: LedgerEnd, findings: Findings) -> None:
    stored: dict[str, object] = {}
    after: Value = ""
    while rows := _list(await session.call("elections", after, 1_000)):
        stored.update((wire_bytes(name).hex(), wire_bytes(text)) for name, text in rows)
        after = rows[-1][0]
    expected = {item.election_id: record.encode(item) for item in end.elections}
    findings.compare_all(lambda name: f"the record of election {name}", stored, expected)


def wire_bytes(value: Value) -> bytes:
    """The bytes of a text that came over the wire; none for anything else, which is no record of ours."""
    return value.encode("latin-1") if isinstance(value, str) else b""


async def _raw(session: Session, space: str, keys: Sequence[Value]) -> list[bytes | None]:
    """Rows by their keys as they are stored; None for those that are missing."""
    found: list[bytes | None] = []
    while len(found) < len(keys):
        rows = _list(await session.call("raw_rows", space, list(keys[len(found) : len(found) + 500])))
        if not rows:
            raise StoreError("the database answered something else than was asked")
        found += [wire_bytes(row) if row else None for row in rows]
    return found


async def _spends(session: Session, refs: Sequence[OutputRef]) -> list[Value]:
    """Place, whether it is spent and the spender's number of some outputs; False for missing ones."""
    found: list[Value] = []
    for start in range(0, len(refs), 1_000):
        names = [record.reference(ref) or bytes(36) for ref in refs[start : start + 1_000]]
        found += _list(await session.call("spends", wire(b"".join(names))))
    return found


def _ends(row: bytes) -> tuple[int, int]:
    """The number after a block's last transaction, and the rows of postings so far, of its row."""
    unpacker = msgspec.msgpack.Decoder(tuple[int, int, int])
    _, following, postings = unpacker.decode(b"\x93" + _three_numbers(row))
    return following, postings


def _three_numbers(row: bytes) -> bytes:
    """The first three members of a row, which are unsigned numbers, as they stand there."""
    at = 1
    for _ in range(3):
        at += {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}.get(row[at], 1)
    return row[1:at]


def _list(answer: Sequence[Value]) -> list[Value]:
    return answer[0] if answer and isinstance(answer[0], list) else []


def _name(ref: OutputRef, height: int) -> str:
    return f"output {ref.output_index} of transaction {ref.transaction_id} in block {height}"
