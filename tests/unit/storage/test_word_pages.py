# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages of a word index: silence about what SQLite wrote, and a sentence for every changed bit."""

import random
import sqlite3
from pathlib import Path

import pytest

from planetmint.storage.sqlite import word_pages
from planetmint.storage.sqlite.layout import TABLES
from planetmint.storage.sqlite.reader import Reader
from planetmint.storage.sqlite.record import MERGE
from planetmint.storage.sqlite.word_pages import STRUCTURE, check_pages

PAGE = 64
"""Bytes of a page: so small that a few thousand entries need lists of lists of pages."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty index of small pages."""
    made = tmp_path / "ledger.db"
    connection = sqlite3.connect(made)
    connection.executescript(TABLES)
    connection.execute("INSERT INTO words (words, rank) VALUES ('pgsz', ?)", (PAGE,))
    connection.commit()
    connection.close()
    monkeypatch.setattr(word_pages, "_COOKIE", 4)
    monkeypatch.setitem(word_pages._SETTINGS, "pgsz", PAGE)
    return made


def fill(path: Path, count: int, seed: int, merge: int) -> None:
    """Add transactions in segments of different lengths, and merge a few pages after each."""
    chance = random.Random(seed)
    connection = sqlite3.connect(path, isolation_level=None)
    number = seed * count
    end = number + count
    while number < end:
        size = chance.choice([1, 3, 30, 400])
        connection.execute("BEGIN")
        for row in range(number + 1, min(number + size, end) + 1):
            words = " ".join(chance.choices(["red", "fox", "x" * 90, "foxes"], k=chance.choice([1, 2, 70])))
            connection.execute(
                "INSERT INTO words (rowid, asset, metadata, links) VALUES (?, ?, ?, ?)",
                (row, words, f"w{chance.random()}", "same"),
            )
        connection.execute("COMMIT")
        number = row
        connection.execute(MERGE, (merge,))
    connection.close()


def findings(path: Path) -> tuple[str, ...]:
    reader = Reader(path)
    check_pages(reader)
    reader.close()
    return reader.findings.sentences


def heights(path: Path) -> set[int]:
    """Of the lists of pages in the file."""
    connection = sqlite3.connect(path)
    numbers = [number for (number,) in connection.execute("SELECT id FROM words_data")]
    connection.close()
    return {number >> 31 & 31 for number in numbers if number >> 36 & 1}


@pytest.mark.parametrize("merge", [1, 16, 100_000])
def test_nothing_is_found_in_what_sqlite_wrote_whatever_merge_is_under_way(path: Path, merge: int) -> None:
    for seed in range(8):
        fill(path, 700, seed, merge)
        assert findings(path) == ()


def test_every_changed_bit_of_what_leads_to_entries_is_found(path: Path) -> None:
    fill(path, 1_500, 1, 16)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO words (words) VALUES ('optimize')")
    connection.execute("INSERT INTO words (rowid, links) VALUES (1, 'one more segment')")
    assert heights(path) >= {0, 1}
    assert findings(path) == ()
    chance = random.Random(3)
    lists = f"SELECT id, block FROM words_data WHERE id >> 36 & 1 OR id = {STRUCTURE}"
    for _ in range(60):
        row, old = chance.choice(connection.execute(lists).fetchall())
        connection.execute("UPDATE words_data SET block = ? WHERE id = ?", (flipped(old, chance), row))
        assert findings(path), (row, old)
        connection.execute("UPDATE words_data SET block = ? WHERE id = ?", (old, row))
    tree = "SELECT segid, term, pgno FROM words_idx"
    update = "UPDATE OR IGNORE words_idx SET (segid, term, pgno) = (?, ?, ?) WHERE (segid, term, pgno) = (?, ?, ?)"
    for place in chance.choices(range(3), k=60):
        row = chance.choice([row for row in connection.execute(tree) if row[place] != b""])
        changed = list(row)
        changed[place] = flipped(row[place], chance)
        if connection.execute(update, (*changed, *row)).rowcount == 0:
            continue  # the changed key is another row's
        assert findings(path), (row, changed)
        connection.execute(update, (*row, *changed))
    assert findings(path) == ()
    connection.close()


def test_settings_are_held_against_those_of_the_layout(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE words_config SET v = 1 WHERE k = 'automerge'")
    connection.commit()
    connection.close()
    assert findings(path) == ("table words_config: the setting automerge is other than it must be",)


def flipped(value: bytes | int, chance: random.Random) -> bytes | int:
    """The value with one bit changed."""
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(40)
    place = chance.randrange(8 * len(value))
    return bytes(byte ^ (1 << place % 8 if at == place // 8 else 0) for at, byte in enumerate(value))
