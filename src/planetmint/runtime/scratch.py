# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a verification keeps what it has re-derived: a file of its own, so that memory stays bounded."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from planetmint.model.block import BlockRecord
from planetmint.model.transaction import OutputRecord, OutputRef

_CACHE_KIBIBYTES = 64 << 10

_LAYOUT = """
CREATE TABLE transactions (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE outputs (id BLOB, place INTEGER, output BLOB, spender TEXT, PRIMARY KEY (id, place)) WITHOUT ROWID;
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(OutputRecord).decode


class FileScratch:
    """Implements `app.verify.Scratch`; nothing of it outlives `close`."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = {-_CACHE_KIBIBYTES}"):
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.executescript(_LAYOUT)
        self._connection.execute("BEGIN")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def has_transaction(self, transaction_id: str) -> bool:
        """See `Scratch`."""
        query = "SELECT 1 FROM transactions WHERE id = ?"
        return self._connection.execute(query, (bytes.fromhex(transaction_id),)).fetchone() is not None

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """See `Scratch`."""
        query = "SELECT output, spender FROM outputs WHERE id = ? AND place = ?"
        row = self._connection.execute(query, _place(ref)).fetchone()
        return None if row is None else _decode(row[0])._replace(spender=row[1])

    def apply(self, block: BlockRecord) -> None:
        """See `Scratch`."""
        run = self._connection.executemany
        ids = [(bytes.fromhex(item.id),) for item in block.transactions]
        run("INSERT OR IGNORE INTO transactions VALUES (?)", ids)
        made = [(*_place(record.ref), _encode(record)) for record in block.created]
        run("INSERT OR IGNORE INTO outputs VALUES (?, ?, ?, NULL)", made)
        spent = [(spend.spender, *_place(spend.ref)) for spend in block.spent]
        run("UPDATE outputs SET spender = ? WHERE id = ? AND place = ?", spent)


def _place(ref: OutputRef) -> tuple[bytes, int]:
    # Indexes beyond SQLite's integers name no output; neither does -1.
    index = ref.output_index if 0 <= ref.output_index < 1 << 62 else -1
    return bytes.fromhex(ref.transaction_id), index


@contextmanager
def scratch_file() -> Iterator[FileScratch]:
    """An empty scratch in the system's folder for temporary files; deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="planetmint-verify-") as folder:
        scratch = FileScratch(Path(folder) / "scratch.db")
        try:
            yield scratch
        finally:
            scratch.close()
