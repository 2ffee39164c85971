# SPDX-License-Identifier: AGPL-3.0-or-later
"""The file held against the blocks that it must hold: every row, made anew by the writer's own encoder.

The word index is read from its beginning to its end once, by `audit_end`: what it must say about each transaction
is summed up beforehand, so that whoever audits all blocks in one go learns where a wrong entry belongs to.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from planetmint.model.block import BlockRecord
from planetmint.model.transaction import OutputRef
from planetmint.ports.store import LedgerEnd
from planetmint.storage.checks import Findings
from planetmint.storage.sqlite import queries, record
from planetmint.storage.sqlite.layout import INDEX_BITS, MAX_INTEGER, id_hash, place_of
from planetmint.storage.sqlite.reader import Reader
from planetmint.storage.sqlite.recent import Progress, RecentIds
from planetmint.storage.sqlite.session import Row, Session
from planetmint.storage.sqlite.word_audit import WordAudit

_MAX_SEQUENCE = MAX_INTEGER >> INDEX_BITS + 1

_BLOCK = "SELECT next, header, ids, events, indexed, round_end, hand FROM blocks WHERE height = ?"

_TRANSACTIONS = "SELECT sequence, height, kind, id, body FROM transactions WHERE sequence >= ? AND sequence < ?"

_OUTPUTS = "SELECT place, output FROM outputs WHERE place >= ? AND place < ?"

_SPENDS = "SELECT place, spender FROM json_each(?) AS item CROSS JOIN spends ON place = item.value"

_ID_ENTRIES = """
    SELECT hash, sequence FROM json_each(?1) AS item
    CROSS JOIN ids ON hash = item.value AND sequence = json_extract(?2, '$[' || item.key || ']')
"""

_HAND_ENTRY = "SELECT 1 FROM ids WHERE hash = ? AND sequence >= ? AND sequence < ?"

_STRAY_IDS = """
    SELECT count(*) FILTER (WHERE sequence < ?1) - ?1,
        count(*) FILTER (WHERE sequence >= ?1 AND NOT (sequence < ?2 AND hash <= ?3)) FROM ids
"""
"""Entries below `indexed` beyond one each, and entries of transactions that no round has come to."""


class Auditor:
    """Implements `Store.audit` and `Store.audit_end` over a connection of its own; one call at a time."""

    def __init__(self, path: Path) -> None:
        self._session = Reader(path)
        self._lock = Lock()
        self._recent: RecentIds | None = None
        self._words = WordAudit()
        self._last: tuple[int, int] = (-1, 0)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._session.close()

    def audit(self, block: BlockRecord) -> tuple[str, ...]:
        """See `Store`."""
        with self._lock:
            self._session.findings = Findings()
            with self._session.snapshot():
                self._audit(block)
            return self._session.findings.sentences

    def audit_end(self, end: LedgerEnd) -> tuple[str, ...]:
        """See `Store`."""
        with self._lock:
            self._session.findings = Findings()
            with self._session.snapshot():
                self._audit_end(end)
            return self._session.findings.sentences

    def _audit(self, block: BlockRecord) -> None:
        height, findings = block.header.height, self._session.findings
        row = self._session.row(_BLOCK, (height,))
        before = self._session.row(_BLOCK, (height - 1,)) if height else (0, b"", b"", b"", *Progress())
        first = self._first(height, before)
        if row is None or before is None or first is None:
            missing = height if row is None else height - 1
            findings.add(f"table blocks: block {missing} is missing")
            return
        ids = bytes.fromhex("".join(item.id for item in block.transactions))
        expected = (first + len(block.transactions), record.encode(block.header), ids, record.encode(block.events))
        names = ("number of transactions so far", "header", "list of ids", "events")
        for name, stored, value in zip(names, row, expected, strict=False):
            findings.compare(f"table blocks: the {name} of block {height}", stored, value)
        if not _progress_fits(self._session, before[4:], row[4:], first):
            findings.add(f"table blocks: what block {height} says of the tree of ids is other than it must be")
        self._audit_transactions(block, first)
        self._audit_outputs(block, first)
        self._audit_spends(block, first)
        self._audit_validators(block)
        self._words.expect(block, first)
        self._last = (height, first + len(block.transactions))

    def _first(self, height: int, before: Row | None) -> int | None:
        """Sequence number of a block's first transaction: as audited, else as stored."""
        if self._last[0] == height - 1:
            return self._last[1]
        found = None if before is None else before[0]
        return found if isinstance(found, int) and 0 <= found < _MAX_SEQUENCE else None

    def _audit_transactions(self, block: BlockRecord, first: int) -> None:
        height = block.header.height
        expected: dict[int, Row] = {
            first + place: (height, record.kind_of(item), bytes.fromhex(item.id), item.canonical)
            for place, item in enumerate(block.transactions)
        }
        rows = self._session.rows(_TRANSACTIONS, (first, first + len(expected)))
        ids = {first + place: item.id for place, item in enumerate(block.transactions)}
        self._session.findings.compare_all(
            lambda sequence: f"table transactions: transaction {ids.get(sequence, sequence)} of block {height}",
            {row[0]: row[1:] for row in rows},
            expected,
        )
        self._audit_ids(height, ids)

    def _audit_ids(self, height: int, ids: dict[int, str]) -> None:
        """Those that have to be in the tree of ids are there."""
        newest = self._session.row(queries.PROGRESS)
        indexed, end, hand = Progress() if newest is None else Progress(*newest)
        wanted = {
            (id_hash(item), sequence): item
            for sequence, item in ids.items()
            if sequence < indexed or (sequence < end and id_hash(item) <= hand)
        }
        hashes, sequences = zip(*wanted, strict=True) if wanted else ((), ())
        rows = self._session.rows(_ID_ENTRIES, (json.dumps(hashes), json.dumps(sequences)))
        for key in wanted.keys() - set(rows):
            self._session.findings.add(
                f"table ids: the entry of transaction {wanted[key]} of block {height} is missing"
            )

    def _audit_outputs(self, block: BlockRecord, first: int) -> None:
        height = block.header.height
        own = {item.id: first + place for place, item in enumerate(block.transactions)}
        expected = {
            place_of(own[item.ref.transaction_id], item.ref.output_index): record.encode(record.stored(item))
            for item in block.created
        }
        names = {place_of(own[item.ref.transaction_id], item.ref.output_index): item.ref for item in block.created}
        rows = self._session.rows(_OUTPUTS, (place_of(first, 0), place_of(first + len(own), 0)))
        self._session.findings.compare_all(
            lambda place: f"table outputs: {_output_name(names.get(place), place)} of block {height}",
            dict(rows),
            expected,
        )

    def _audit_spends(self, block: BlockRecord, first: int) -> None:
        height, findings = block.header.height, self._session.findings
        known = {item.id: first + place for place, item in enumerate(block.transactions)}
        recent = self._recent_ids()
        older = {spend.ref.transaction_id for spend in block.spent}.difference(known)
        found = queries.sequences(self._session, recent, older)
        for item in sorted(older.difference(found)):
            findings.add(f"transaction {item}, of which block {height} spends an output, is not found by its id")
        expected: dict[int, int] = {}
        names: dict[int, OutputRef] = {}
        for spend in block.spent:
            ref = spend.ref
            sequence = known.get(ref.transaction_id, found.get(ref.transaction_id))
            if sequence is not None:
                place = place_of(sequence, ref.output_index)
                expected[place], names[place] = known[spend.spender], ref
        rows = self._session.rows(_SPENDS, (json.dumps(list(expected)),))
        findings.compare_all(
            lambda place: f"table spends: the spend of {_output_name(names.get(place), place)} in block {height}",
            dict(rows),
            expected,
        )

    def _audit_validators(self, block: BlockRecord) -> None:
        row = self._session.row(queries.VALIDATORS, (block.header.height + 1,))
        name = f"table validators: the set that block {block.header.height} stores"
        if block.validators is not None:
            self._session.findings.compare(name, row and row[0], record.encode(block.validators))
        elif row is not None and block.header.height > 0:
            self._session.findings.add(f"{name} is there, though no block made it")

    def _recent_ids(self) -> RecentIds:
        """The ids that are not in the tree of ids yet."""
        if self._recent is None or len(self._recent) > 4 * self._recent.round_size:
            row = self._session.row(queries.PROGRESS)
            self._recent = RecentIds(Progress() if row is None else Progress(*row))
        queries.load_ids(self._session, self._recent)
        return self._recent

    def _audit_end(self, end: LedgerEnd) -> None:
        session, findings = self._session, self._session.findings
        head = session.row(queries.HEAD)
        newest = -1 if head is None else head[0]
        if head is None or newest != end.head.height:
            findings.add(f"the newest block is {newest}, not {end.head.height}")
            return
        findings.compare(f"table blocks: the header of block {newest}", head[2], record.encode(end.head))
        founding = [(record.encode(end.founding), record.encode(end.chain))]
        rows = session.rows("SELECT founding, newest FROM chain")
        for place, name in enumerate(("founding document", "newest chain record")):
            stored = [row[place] for row in rows]
            findings.compare(f"table chain: the {name}", stored, [row[place] for row in founding])
        first = session.row(queries.VALIDATORS, (1,))
        findings.compare(
            "table validators: the set of height 1", first and first[0], record.encode(end.founding.validators)
        )
        findings.compare_all(
            lambda key: f"table elections: the record of election {key.hex()}",
            dict(session.rows("SELECT id, election FROM elections")),
            {bytes.fromhex(item.election_id): record.encode(item) for item in end.elections},
        )
        self._audit_counts(end)
        self._words.check(session, end.transactions)
        for (sentence,) in session.rows("PRAGMA integrity_check(20)"):
            if sentence != "ok":
                findings.add(f"the file is damaged: {sentence}")

    def _audit_counts(self, end: LedgerEnd) -> None:
        """No table has rows beyond those of the blocks."""
        counts = {
            "blocks": end.head.height + 1,
            "validators": end.validator_sets,
            "transactions": end.transactions,
            "outputs": end.outputs,
            "spends": end.spends,
        }
        for table, expected in counts.items():
            row = self._session.row(f"SELECT count(*) FROM {table}")
            self._session.findings.compare(f"table {table}: the number of rows", row and row[0], expected)
        progress = self._session.row(queries.PROGRESS) or Progress()
        stray = self._session.row(_STRAY_IDS, (*progress,))
        self._session.findings.compare("table ids: what is there beyond the ids of the blocks", stray, (0, 0))


def _progress_fits(session: Session, before: Sequence[int], now: Sequence[int], first: int) -> bool:
    """Whether a block that begins with the transaction `first` can have brought the tree of ids so far."""
    if before == now and before[0] == before[1]:
        return first - before[0] < RecentIds(Progress()).round_size
    begun = before[1] if before[0] < before[1] else first
    if begun - before[0] < RecentIds(Progress()).round_size:
        return False
    if tuple(now) == Progress(begun, begun):
        return True
    if (*now[:2],) != (before[0], begun) or now[2] < before[2]:
        return False
    return session.row(_HAND_ENTRY, (now[2], *now[:2])) is not None


def _output_name(ref: OutputRef | None, place: int) -> str:
    if ref is None:
        return f"output at place {place}"
    return f"output {ref.output_index} of transaction {ref.transaction_id}"
