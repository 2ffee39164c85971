# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages of the word index: whether what leads to an entry leads there.

Reading the whole index finds every entry, also where a look-up would go astray: SQLite's FTS5 keeps beside the
entries a list of segments, a tree that leads from a word to its page, and for words with very many transactions
lists of the pages on which each of them begins. Here these are held against the pages that they speak of. The
form is that of FTS5, version 4, as its source documents it.

Not told, as nothing is looked up there: changes in what still leads to pages that a merge under way has given up.
"""

import json
from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import NamedTuple

from planetmint.storage.sqlite.reader import Reader

AVERAGES, STRUCTURE = 1, 10
"""Rows of the table of pages that are none."""

_PAGE_BITS, _HEIGHT_BITS = 31, 5

_COOKIE = 3
"""How often the settings of the index were changed: once for each of those below but the version."""

_SETTINGS = {"version": 4, "automerge": 0, "usermerge": 8, "crisismerge": 64}


class Segment(NamedTuple):
    """A sorted part of the index: its number, and its first and last page."""

    number: int
    first: int
    last: int


class Level(NamedTuple):
    """Segments of about one size, oldest first; the first `merging` ones are being merged into the next level."""

    merging: int
    segments: tuple[Segment, ...]


class Leaf(NamedTuple):
    """Where a page begins: its first whole word, and its first sequence number where that stands before it."""

    word: bytes | None
    sequence: int | None


class Malformed(Exception):
    """Bytes that mean nothing."""


def check_pages(reader: Reader) -> None:
    """Note what is wrong in the settings of the word index, its list of segments and its trees."""
    settings: dict[str, object] = dict(reader.rows("SELECT k, v FROM words_config"))
    reader.findings.compare_all(_setting_name, settings, _SETTINGS)
    row = reader.row("SELECT block FROM words_data WHERE id = ?", (STRUCTURE,))
    try:
        levels = structure_of(row[0] if row else b"")
    except Malformed:
        reader.findings.add("table words_data: the list of segments is other than it must be")
        return
    for level, target in zip(levels, (*levels, Level(0, ()))[1:], strict=True):
        for segment in level.segments:
            _Check(reader, segment).run()
        for segment in level.segments[: level.merging]:
            if not target.segments or not _goes_on(reader, target.segments[-1], segment):
                reader.findings.add(f"table words_data: segment {segment.number} cannot be under way into another")
    _check_strays(reader, [segment for level in levels for segment in level.segments])


def _setting_name(name: str) -> str:
    return f"table words_config: the setting {name}"


def structure_of(block: bytes) -> tuple[Level, ...]:
    """The levels that the list of segments names; raises Malformed."""
    if block[:4] != _COOKIE.to_bytes(4, "big"):
        raise Malformed
    numbers = numbers_of(block, 4)
    count, total, written = _take(numbers, 3)
    levels: list[Level] = []
    while len(levels) < count:
        merging, size = _take(numbers, 2)
        segments = tuple(Segment(*_take(numbers, 3)) for _ in range(min(size, len(numbers) + 1)))
        if merging > len(segments) or any(not 1 <= item.first <= item.last for item in segments):
            raise Malformed
        levels.append(Level(merging, segments))
    known = [segment.number for level in levels for segment in level.segments]
    if numbers or written or len(known) != total or len(set(known)) != total:
        raise Malformed
    return tuple(levels)


def leaf_of(block: bytes) -> Leaf:
    """Where a page of words begins; raises Malformed."""
    start, end = int.from_bytes(block[:2], "big"), int.from_bytes(block[2:4], "big")
    if not 4 <= end <= len(block) or start >= end:
        raise Malformed
    first = varint(block, end)[0] if end < len(block) else end
    if first < end:
        length, offset = varint(block, first)
        word = block[offset : offset + length]
    if start and start >= first:
        raise Malformed
    return Leaf(word if first < end else None, varint(block, start)[0] if start else None)


def walked(block: bytes, rest: int) -> int:
    """Go through all places in a page of words, `rest` bytes of which go on from the page before.

    Returns:
        How many bytes of them go on on the next page.

    Raises:
        Malformed: They do not fit together, or one is marked as taken back, which nothing here ever is.
    """
    end = int.from_bytes(block[2:4], "big")
    words = list(accumulate(numbers_of(block, end)))
    offset, rest = _past_places(block, min(4 + rest, end), [*words, end][0]), max(0, 4 + rest - end)
    for place, (word, bound) in enumerate(pairwise([*words, end])):
        offset = varint(block, word)[1] if place else word
        length, offset = varint(block, offset)
        offset = _past_places(block, offset + length, bound)
    return max(rest, offset - end)


def _past_places(block: bytes, offset: int, bound: int) -> int:
    """Where the places of a word end that begin at `offset`: at `bound`, or beyond where the page is too short."""
    while offset < bound:
        offset = varint(block, offset)[1]
        size, offset = varint(block, offset)
        offset += size >> 1
        if size & 1:
            raise Malformed
    return offset


def last_word(block: bytes) -> bytes | None:
    """The last word of a page; None where there is none. Raises Malformed."""
    end = int.from_bytes(block[2:4], "big")
    word, offset = None, 0
    for step in numbers_of(block, end):
        offset += step
        kept, after = varint(block, offset) if word is not None else (0, offset)
        length, after = varint(block, after)
        word = (word or b"")[:kept] + block[after : after + length]
    return word


def varint(data: bytes, offset: int) -> tuple[int, int]:
    """A number of SQLite's form, and where it ends: seven bits a byte, eight in the ninth. Raises Malformed."""
    value = 0
    for place, byte in enumerate(data[offset : offset + 9], 1):
        if place == 9:
            return value << 8 | byte, offset + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + place
    raise Malformed


def numbers_of(data: bytes, offset: int = 0) -> list[int]:
    """All numbers from an offset on; raises Malformed."""
    found: list[int] = []
    while offset < len(data):
        value, offset = varint(data, offset)
        found.append(value)
    return found


def _take(numbers: list[int], count: int) -> list[int]:
    """The first numbers of a list, which loses them; raises Malformed."""
    if len(numbers) < count:
        raise Malformed
    taken, numbers[:count] = numbers[:count], []
    return taken


def _goes_on(reader: Reader, target: Segment, segment: Segment) -> bool:
    """Whether nothing that is left in `segment` belongs before the end of `target`."""
    sql = "SELECT block FROM words_data WHERE id BETWEEN ? AND ? ORDER BY id"
    try:
        rows = reader.rows(sql + " DESC", (_page_id(target, target.first), _page_id(target, target.last)))
        written = next((word for (block,) in rows if (word := last_word(block)) is not None), b"")
        rows = reader.rows(sql, (_page_id(segment, segment.first), _page_id(segment, segment.last)))
        return next((leaf.word for (block,) in rows if (leaf := leaf_of(block)).word is not None), b"") >= written
    except Malformed:
        return False


def _check_strays(reader: Reader, segments: list[Segment]) -> None:
    """No row is there of a segment that is not."""
    numbers = json.dumps([segment.number for segment in segments])
    shift = _PAGE_BITS + _HEIGHT_BITS + 1
    strays = {
        "words_data": f"id >> {shift} NOT IN (SELECT value FROM json_each(?)) "
        f"AND id NOT IN ({AVERAGES}, {STRUCTURE})",
        "words_idx": "segid NOT IN (SELECT value FROM json_each(?))",
    }
    for table, condition in strays.items():
        row = reader.row(f"SELECT count(*) FROM {table} WHERE {condition}", (numbers,))
        reader.findings.compare(f"table {table}: the number of rows of no segment", row and row[0], 0)


def _page_id(segment: Segment, page: int, height: int | None = None) -> int:
    """The row of a page of words, or at a height of a list of pages."""
    listed = 0 if height is None else 1 << _HEIGHT_BITS | height
    return (segment.number << _HEIGHT_BITS + 1 | listed) << _PAGE_BITS | page


class _Check:
    """One segment held against itself."""

    def __init__(self, reader: Reader, segment: Segment) -> None:
        self._reader = reader
        self._segment = segment
        self._leaves: dict[int, Leaf] = {}
        self._lists: dict[tuple[int, int], bytes] = {}

    def run(self) -> None:
        """Note what is wrong."""
        self._read()
        segment = self._segment
        for page in set(range(segment.first, segment.last + 1)) ^ self._leaves.keys():
            self._note("words_data", f"page {page}")
        tree = self._tree()
        words = {page: leaf.word for page, leaf in self._leaves.items() if leaf.word is not None}
        for page in sorted(words.keys() | tree.keys()):
            # What leads to pages before the first one leads to the first one, whatever the word.
            if page < segment.first or page == segment.first > 1:
                continue
            term, long = tree.get(page, (None, False))
            if page not in words or not _leads(page, term, words[page]):
                self._note("words_idx", f"the entry of page {page}")
            elif long != ((0, page) in self._lists):
                self._note("words_data", f"the list of pages after page {page}")
        listed: set[tuple[int, int]] = set()
        for page in sorted(page for page, (_, long) in tree.items() if long):
            self._walk(page, listed)
        for height, page in self._lists.keys() - listed:
            if page > segment.first:
                self._note("words_data", f"the list of height {height} after page {page}")

    def _note(self, table: str, what: str) -> None:
        name = f"table {table}: {what} of segment {self._segment.number} of the word index"
        self._reader.findings.add(f"{name} is other than it must be")

    def _read(self) -> None:
        """Read the pages, and where they begin."""
        after = Segment(self._segment.number + 1, 0, 0)
        bounds = (_page_id(self._segment, 0), _page_id(after, 0))
        rows = self._reader.each("SELECT id, block FROM words_data WHERE id >= ? AND id < ? ORDER BY id", bounds)
        rest = 0
        for number, block in rows:
            page = number & (1 << _PAGE_BITS) - 1
            height = number >> _PAGE_BITS & (1 << _HEIGHT_BITS) - 1
            if number >> _PAGE_BITS + _HEIGHT_BITS & 1:
                self._lists[height, page] = block
                continue
            try:
                self._leaves[number - bounds[0]] = leaf_of(block)
                rest = walked(block, rest)
            except Malformed:
                self._note("words_data", f"page {number - bounds[0]}")

    def _tree(self) -> Mapping[int, tuple[bytes, bool]]:
        """Pages, with the beginning of a word that leads to each, and whether a list of pages follows."""
        rows = self._reader.rows("SELECT term, pgno FROM words_idx WHERE segid = ?", (self._segment.number,))
        return {page >> 1: (term, bool(page & 1)) for term, page in rows}

    def _walk(self, page: int, listed: set[tuple[int, int]]) -> None:
        """Hold the lists after a page against the pages that they name; adds those seen to `listed`."""
        height = 0
        while self._lists.get((height, page), b"")[:1] == b"\1":
            height += 1
        if page >= self._segment.first:
            self._walk_list(height, page, b"\0", listed)

    def _walk_list(self, height: int, page: int, flag: bytes, listed: set[tuple[int, int]]) -> None:
        listed.add((height, page))
        try:
            if self._lists.get((height, page), b"")[:1] != flag:
                raise Malformed
            for child, sequence in pages_of(self._lists[height, page]):
                if height == 0:
                    begins = self._leaves.get(child, Leaf(None, None)).sequence
                else:
                    self._walk_list(height - 1, child, b"\1", listed)
                    begins = pages_of(self._lists.get((height - 1, child), b""))[0][1]
                if begins != sequence and child >= self._segment.first:
                    raise Malformed
        except Malformed:
            self._note("words_data", f"the list of height {height} after page {page}")


def pages_of(block: bytes) -> list[tuple[int, int | None]]:
    """Pages of a list, with the first sequence number on each; None where none begins there. Raises Malformed."""
    page, offset = varint(block, 1)
    sequence, offset = varint(block, offset)
    found: list[tuple[int, int | None]] = [(page, sequence)]
    while offset < len(block):
        step, offset = varint(block, offset)
        page, sequence = page + 1, sequence + step
        found.append((page, sequence if step else None))
    return found


def _leads(page: int, term: bytes | None, word: bytes) -> bool:
    """Whether what stands in the tree leads to a page whose first whole word is `word`."""
    if not isinstance(term, bytes):
        return False
    return term == b"" if page == 1 else term != b"" and word.startswith(term)
