# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tables of the ledger's file, their version, and the steps from one version to the next.

A transaction has a sequence number in commit order over the whole chain, and everything about it is stored in
that order, so that a block touches few pages however many are stored. An output's place is its transaction's
number and its index in one integer, `place_of`. What is looked up by text is found by 64 bits of it and compared
in full afterwards: ids, which every transaction is checked for, in a tree of their own; keys, assets and contents
as words of the word index, whose order is made between blocks: a block costs it the same however much is stored.
"""

import sqlite3
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path

import msgspec

from planetmint.model.election import ChainRecord
from planetmint.ports.errors import LayoutError, StoreError
from planetmint.storage.sqlite import lock
from planetmint.storage.sqlite.session import connect, translated

APPLICATION_ID = 0x504D4E54
"""Stands in the header of the file, so that no other program's file is taken for a ledger."""

VERSION = 2
"""Of the layout, in the file's `user_version`."""

INDEX_BITS = 20
"""Room for an output's index in its place."""

MAX_INTEGER = 2**63 - 1
"""Of SQLite."""

Step = Callable[[sqlite3.Connection], None]

TABLES = """
-- founding: JSON of Founding. newest: JSON of the newest ChainRecord.
CREATE TABLE chain (founding BLOB NOT NULL, newest BLOB NOT NULL);

-- next: the sequence number after the block's last transaction. ids: 32 bytes each. events: JSON of BlockEvents.
-- indexed, round_end, hand: how far the ids have come when the block is stored, see recent.py.
CREATE TABLE blocks (
    height INTEGER PRIMARY KEY,
    next INTEGER NOT NULL,
    header BLOB NOT NULL,
    ids BLOB NOT NULL,
    indexed INTEGER NOT NULL,
    round_end INTEGER NOT NULL,
    hand INTEGER NOT NULL,
    events BLOB NOT NULL
);
CREATE INDEX blocks_by_next ON blocks (next);

-- height: from which the set holds.
CREATE TABLE validators (height INTEGER PRIMARY KEY, validators BLOB NOT NULL);

-- election: JSON of ElectionRecord, written anew by each block that changes it.
CREATE TABLE elections (id BLOB PRIMARY KEY, election BLOB NOT NULL) WITHOUT ROWID;

-- kind: see record.py. body: canonical JSON.
CREATE TABLE transactions (
    sequence INTEGER PRIMARY KEY,
    height INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    id BLOB NOT NULL,
    body BLOB NOT NULL
);

-- output: JSON of what OutputRecord says about it.
CREATE TABLE outputs (place INTEGER PRIMARY KEY, output BLOB NOT NULL);

-- spender: sequence number. An output without a row is unspent.
CREATE TABLE spends (place INTEGER PRIMARY KEY REFERENCES outputs, spender INTEGER NOT NULL);

-- Of all transactions but the newest; see recent.py.
CREATE TABLE ids (hash INTEGER NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (hash, sequence)) WITHOUT ROWID;

-- rowid: sequence number. asset, metadata: tokens of the core, which this tokeniser leaves as they are. links: see
-- link_of. Segments are merged between blocks, not by them.
CREATE VIRTUAL TABLE words USING fts5 (
    asset, metadata, links, content='', columnsize=0, tokenize="ascii tokenchars '_'"
);
INSERT INTO words (words, rank) VALUES ('automerge', 0), ('usermerge', 8), ('crisismerge', 64);
"""


def _add_elections(connection: sqlite3.Connection) -> None:
    """From layout 1: elections, and the chain's newest name beside its founding."""
    connection.execute("CREATE TABLE elections (id BLOB PRIMARY KEY, election BLOB NOT NULL) WITHOUT ROWID")
    rows = connection.execute("SELECT founding FROM chain").fetchall()
    connection.execute("DROP TABLE chain")
    connection.execute("CREATE TABLE chain (founding BLOB NOT NULL, newest BLOB NOT NULL)")
    for (founding,) in rows:
        newest = ChainRecord(msgspec.json.decode(founding, type=_Named).chain_id)
        connection.execute("INSERT INTO chain VALUES (?, ?)", (founding, msgspec.json.encode(newest)))


class _Named(msgspec.Struct):
    """Of a founding document what a step needs."""

    chain_id: str


MIGRATIONS: Mapping[int, Step] = {1: _add_elections}
"""From each older version the step to the next one. Each runs once, in a transaction of its own."""


def place_of(sequence: int, index: int) -> int:
    """Where an output stands in commit order; with index 0 also where its transaction stands."""
    return sequence << INDEX_BITS | index


def id_hash(transaction_id: str) -> int:
    """The hash under which a transaction stands in `ids`: its id is one already."""
    return int(transaction_id[:16], 16) - 2**63


def link_of(kind: bytes, text: str) -> str:
    """The word under which transactions are found by a text; `kind` keeps uses apart, at most 16 bytes."""
    return blake2b(text.encode(), digest_size=8, person=kind).hexdigest()


def lay_out(path: Path) -> None:
    """Make the file and its tables where there are none; raises sqlite3.Error."""
    connection = connect(path, write=True, cache_megabytes=1, create=True)
    try:
        if _is_empty(connection):
            connection.executescript(
                f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID};"
                f"PRAGMA user_version = {VERSION}; COMMIT;"
            )
    finally:
        connection.close()


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever laid out here."""
    tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return tables == 0 and _pragma(connection, "application_id") == 0


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raise LayoutError unless the file is of this layout."""
    found = version_of(connection, path)
    if found < VERSION:
        raise LayoutError(f"{path} has layout {found}, this program uses {VERSION}: run `planetmint migrate`")
    if found > VERSION:
        raise LayoutError(
            f"{path} has layout {found} of a newer program, this one uses {VERSION} and `planetmint migrate` "
            "cannot go back: install the newer program"
        )


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The layout's version; LayoutError for a file that is no ledger."""
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise LayoutError(
            f"{path} is not a ledger of this program: move it away, or if an old one, run `planetmint migrate`"
        )
    return _pragma(connection, "user_version")


def migrate(path: Path, steps: Mapping[int, Step] = MIGRATIONS, target: int = VERSION) -> int:
    """Bring a file to the layout `target`, step by step; a step that fails leaves the version before it.

    Returns:
        The version it had.

    Raises:
        LayoutError: No ledger, or no way from its version.
        StoreError: There is no file, it is in use, or it cannot be read or written.
    """
    if not path.exists():
        raise StoreError(f"there is no ledger at {path}")
    with lock.held(path):
        try:
            return _migrate(path, steps, target)
        except sqlite3.Error as error:
            raise translated(error, path) from error


def _migrate(path: Path, steps: Mapping[int, Step], target: int) -> int:
    connection = connect(path, write=True, cache_megabytes=16)
    try:
        first = version_of(connection, path)
        for version in range(first, target):
            _migrate_once(connection, path, version, steps)
        return first
    finally:
        connection.close()


def _migrate_once(connection: sqlite3.Connection, path: Path, version: int, steps: Mapping[int, Step]) -> None:
    if version not in steps:
        raise LayoutError(f"{path} has layout {version}, from which this program knows no way on")
    connection.execute("BEGIN IMMEDIATE")
    steps[version](connection)
    connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
