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

_SCAN = "SELECT doc, term, col, offset FROM temp.word_instances"

_MASK = (1 << 64) - 1

_COLUMNS = (b"asset", b"metadata", b"links")


class WordAudit:
    """Sums of 64 bits, one per audited transaction: nine bytes of memory each."""

    def __init__(self) -> None:
        self._sums: array[int] = array("Q")
        self._audited = bytearray()
        self._strays: set[int] = set()

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
            self._audited[place] = 1

    def check(self, reader: Reader, transactions: int) -> None:
        """Read the whole index and note what is wrong in it, and what it has beyond so many `transactions`."""
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

    def _left_over(self, reader: Reader) -> "array[int]":
        """The sums without what the index lists."""
        left, known = self._sums[:], len(self._sums)
        self._strays = set()
        with reader.raw_texts():
            for sequence, *entry in reader.each(_SCAN):
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
