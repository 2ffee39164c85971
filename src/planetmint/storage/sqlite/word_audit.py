# SPDX-License-Identifier: AGPL-3.0-or-later
"""The word index held against the texts that it must hold.

The index answers "which transactions have this word", so it is read once as a whole: each of its entries is taken
off a sum that was made of the texts, per transaction. What is left over is wrong, and tells where.
"""

from array import array
from collections.abc import Iterator

from planetmint.model.block import BlockRecord
from planetmint.storage.sqlite import record
from planetmint.storage.sqlite.reader import Reader
from planetmint.storage.sqlite.word_pages import AVERAGES, Malformed, check_pages, numbers_of

_MASK = (1 << 64) - 1

_COLUMNS = (b"asset", b"metadata", b"links")


class WordAudit:
    """Sums of 64 bits, one per audited transaction: nine bytes of memory each."""

    def __init__(self) -> None:
        self._sums: array[int] = array("Q")
        self._audited = bytearray()
        self._strays: set[int] = set()
        self._rows, self._sizes = 0, [0, 0, 0]

    def expect(self, block: BlockRecord, first: int) -> None:
        """Take in the texts of a block whose first transaction has the sequence number `first`."""
        keys = record.keys_of(block)
        missing = first + len(block.transactions) - len(self._sums)
        if missing > 0:
            self._sums.extend([0] * missing)
            self._audited.extend(bytes(missing))
        for place, item in enumerate(block.transactions, first):
            words = record.words_of(item, keys.get(item.id, ()))
            self._sums[place] = sum(map(hash, _entries(words))) & _MASK
            if not self._audited[place]:
                self._audited[place] = 1
                self._rows += 1
                self._sizes = [size + len(text.split()) for size, text in zip(self._sizes, words, strict=True)]

    def check(self, reader: Reader, transactions: int) -> None:
        """Read the whole index and note what is wrong in it, and what it has beyond so many `transactions`."""
        check_pages(reader)
        self._check_averages(reader, transactions)
        left = self._left_over(reader)
        for sequence, rest in enumerate(left):
            if rest and self._audited[sequence]:
                row = reader.row("SELECT hex(id), height FROM transactions WHERE sequence = ?", (sequence,))
                name = f"{row[0].lower()} of block {row[1]}" if row else f"number {sequence}"
                reader.findings.add(f"table words: what is listed for transaction {name} is other than it must be")
        for sequence in sorted(self._strays):
            if not 0 <= sequence < transactions:
                reader.findings.add(
                    f"table words: transaction number {sequence} is listed, though no block has it"
                )

    def _check_averages(self, reader: Reader, transactions: int) -> None:
        """How many transactions and words there are; where all were audited."""
        row = reader.row("SELECT block FROM words_data WHERE id = ?", (AVERAGES,))
        try:
            stored = numbers_of(row[0]) if row else []
        except Malformed:
            stored = []
        if self._rows == transactions and stored != [self._rows, *self._sizes]:
            reader.findings.add("table words_data: the number of words is other than it must be")

    def _left_over(self, reader: Reader) -> "array[int]":
        """The sums without what the index lists."""
        left, known = self._sums[:], len(self._sums)
        self._strays = set()
        for sequence, *entry in reader.word_instances():
            if 0 <= sequence < known:
                left[sequence] = left[sequence] - hash(tuple(entry)) & _MASK
            else:
                self._strays.add(sequence)
        return left


def _entries(words: record.Words) -> Iterator[tuple[bytes, bytes, int]]:
    """What the index lists of a transaction: word, column and place of each. ASCII letters are folded there."""
    for column, text in zip(_COLUMNS, words, strict=True):
        if text:
            for offset, word in enumerate(text.encode().lower().split(b" ")):
                yield word, column, offset
