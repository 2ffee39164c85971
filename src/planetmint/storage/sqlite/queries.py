# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is asked of the file, one function or statement per question.

What a hash in `links` finds is compared in full before it counts, inside the statement, so that limits hold.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from planetmint.model.json import canonical
from planetmint.model.search import SearchQuery
from planetmint.model.transaction import Operation, OutputRecord, OutputRef
from planetmint.ports.errors import StoreError
from planetmint.ports.store import Found
from planetmint.storage.sqlite import record
from planetmint.storage.sqlite.layout import INDEX_BITS, MAX_INTEGER, id_hash, place_of, text_hash
from planetmint.storage.sqlite.session import Row, Session

ID_BYTES = 32

HEAD = "SELECT height, next, header FROM blocks ORDER BY height DESC LIMIT 1"

SUMMARY = "SELECT header, ids FROM blocks WHERE height = ?"

EVENTS = """
    WITH last (height) AS (
        SELECT height FROM blocks WHERE next <= ?2 + (SELECT next FROM blocks WHERE height = ?1 - 1)
        ORDER BY next DESC, height DESC LIMIT 1
    ), chosen (events) AS (
        SELECT events FROM blocks
        WHERE height >= ?1 AND height <= max(?1, min((SELECT height FROM last), ?1 + ?3 - 1)) ORDER BY height
    )
    SELECT CAST('[' || group_concat(CAST(events AS TEXT), ',') || ']' AS BLOB) FROM chosen
"""
"""From a height (1) on whole blocks with at most so many events (2), but one block at least and at most (3)."""

_BODIES = """
    SELECT body FROM transactions
    WHERE sequence >= (SELECT next FROM blocks WHERE height = ?1 - 1)
    AND sequence < (SELECT next FROM blocks WHERE height = ?1) ORDER BY sequence
"""

_TRANSACTION = f"""
    SELECT height, body FROM links CROSS JOIN transactions ON sequence = place >> {INDEX_BITS}
    WHERE hash = ? AND id = ?
"""

_SEQUENCES = f"""
    SELECT transactions.id, sequence FROM json_each(?) AS item CROSS JOIN links ON hash = item.value
    CROSS JOIN transactions ON sequence = place >> {INDEX_BITS}
"""

_OUTPUTS = """
    SELECT outputs.place, output, transactions.id FROM json_each(?) AS item
    CROSS JOIN outputs ON outputs.place = item.value
    LEFT JOIN spends ON spends.place = outputs.place LEFT JOIN transactions ON sequence = spender
"""

_ENTRIES = "SELECT count(*) FROM (SELECT 1 FROM links WHERE hash = ? LIMIT ?)"

_OWN_ASSET = f"""
    SELECT sequence, body FROM links CROSS JOIN transactions ON sequence = place >> {INDEX_BITS}
    WHERE hash = ?1 AND id = ?2 AND sequence > ?3 AND kind & {record.OWN_ASSET} AND ?4 IN (-1, kind & 15)
"""

_LINKED_ASSET = f"""
    SELECT sequence, body FROM links CROSS JOIN transactions ON sequence = place >> {INDEX_BITS}
    WHERE hash = ?1 AND place >= ?3 AND instr(body, ?2) AND ?4 IN (-1, kind & 15)
"""

_BY_KEY = f"""
    SELECT links.place, id FROM links CROSS JOIN outputs ON outputs.place = links.place
    CROSS JOIN transactions ON sequence = links.place >> {INDEX_BITS}
    LEFT JOIN spends ON spends.place = links.place
    WHERE hash = ?1 AND links.place > ?3 AND instr(output, ?2) AND ?4 IN (-1, spender IS NOT NULL)
    ORDER BY links.place LIMIT ?5
"""

_BY_CONTENT = f"""
    SELECT sequence, id, body FROM links CROSS JOIN transactions ON sequence = place >> {INDEX_BITS}
    WHERE hash = ?1 AND place >= ?3 AND instr(body, ?2) ORDER BY place LIMIT ?4
"""

_SEARCH = """
    WITH scored (sequence, score) AS (SELECT rowid, {score} FROM ({hits}) GROUP BY rowid)
    SELECT -score, sequence, id, body FROM scored CROSS JOIN transactions USING (sequence)
    WHERE (-score, sequence) > (?, ?) ORDER BY score DESC, sequence LIMIT ?
"""


def check_whole(session: Session, path: Path) -> None:
    """Raise StoreError unless the blocks are there from 0 to the newest, and the newest has its transactions."""
    row = session.row("SELECT count(*), min(height), max(height) FROM blocks")
    if row is None or row[0] == 0:
        return
    count, lowest, highest = row
    if lowest != 0 or highest != count - 1:
        raise StoreError(f"{path} is damaged: it has {count} blocks between heights {lowest} and {highest}")
    summary = session.row(SUMMARY, (highest,))
    stored = session.rows(_BODIES.replace("body", "id"), (highest,))
    if summary is None or (highest > 0 and b"".join(row[0] for row in stored) != summary[1]):
        raise StoreError(f"{path} is damaged: transactions of its newest block {highest} are missing")


def split_ids(ids: bytes) -> tuple[str, ...]:
    """The ids of a block, 64 hex digits each."""
    text = ids.hex()
    return tuple(text[start : start + 2 * ID_BYTES] for start in range(0, len(text), 2 * ID_BYTES))


def bodies(session: Session, height: int) -> tuple[bytes, ...]:
    """Canonical JSON of a block's transactions."""
    return tuple(row[0] for row in session.rows(_BODIES, (height,))) if height > 0 else ()


def transaction(session: Session, transaction_id: str) -> Row | None:
    """Height and canonical JSON of a transaction."""
    key = _id_bytes(transaction_id)
    return None if key is None else session.row(_TRANSACTION, (id_hash(transaction_id), key))


def sequences(session: Session, transaction_ids: Iterable[str]) -> dict[str, int]:
    """Sequence numbers of those of the transactions that are stored."""
    wanted = {key: item for item in transaction_ids if (key := _id_bytes(item)) is not None}
    if not wanted:
        return {}
    rows = session.rows(_SEQUENCES, (json.dumps([id_hash(item) for item in wanted.values()]),))
    return {wanted[key]: sequence for key, sequence in rows if key in wanted}


def outputs(
    session: Session, refs: Iterable[OutputRef], known: Mapping[str, int]
) -> dict[OutputRef, OutputRecord]:
    """Those of the outputs that exist; `known` has the sequence numbers of their transactions."""
    places = {
        place_of(known[ref.transaction_id], ref.output_index): ref
        for ref in refs
        if ref.transaction_id in known and 0 <= ref.output_index < 1 << INDEX_BITS
    }
    if not places:
        return {}
    found: dict[OutputRef, OutputRecord] = {}
    for place, output, spender in session.rows(_OUTPUTS, (json.dumps(list(places)),)):
        ref = places[place]
        found[ref] = record.decode_output(output).to_record(ref, None if spender is None else spender.hex())
    return found


def entries(session: Session, hashes: Collection[int], enough: int) -> int:
    """How many entries the index has for some hashes; counting stops above `enough`."""
    total = 0
    for hash_ in hashes:
        row = session.row(_ENTRIES, (hash_, enough + 1 - total))
        total += row[0] if row is not None else 0
        if total > enough:
            break
    return total


def asset_links(asset_ids: Sequence[str]) -> list[int]:
    """Hashes under which transactions of assets stand."""
    return [text_hash(record.ASSET, item) for item in asset_ids]


def by_asset(
    session: Session, asset_ids: Sequence[str], operation: Operation | None, after: int, count: int, *, last: bool
) -> list[Row]:
    """Sequence numbers and bodies of transactions after a number, in order; with `last` the newest alone."""
    code = -1 if operation is None else record.OPERATIONS.index(operation)
    order = f" ORDER BY sequence {'DESC' if last else 'ASC'} LIMIT ?5"
    found: dict[int, bytes] = {}
    with session.snapshot():
        for asset_id in dict.fromkeys(asset_ids):
            key = _id_bytes(asset_id)
            if key is None:
                continue
            found |= session.rows(_OWN_ASSET, (id_hash(asset_id), key, after, code))
            link = (text_hash(record.ASSET, asset_id), asset_id.encode(), _place_after(after), code, count)
            found |= session.rows(_LINKED_ASSET + order, link)
    rows = sorted(found.items(), reverse=last)
    return rows if count < 0 else rows[:count]


def key_links(public_key: str) -> list[int]:
    """Hash under which the outputs of a key stand."""
    return [text_hash(record.KEY, public_key)]


def by_key(
    session: Session, public_key: str, spent: bool | None, after: int, count: int
) -> list[tuple[int, OutputRef]]:
    """Places and names of a key's outputs after a place, in order."""
    needle = canonical(public_key)
    choice = -1 if spent is None else int(spent)
    rows = session.rows(_BY_KEY, (text_hash(record.KEY, public_key), needle, after, choice, count))
    mask = (1 << INDEX_BITS) - 1
    return [(place, OutputRef(key.hex(), place & mask)) for place, key in rows]


def content_links(kind: bytes, content: str) -> list[int]:
    """Hash under which transactions of a content stand."""
    return [text_hash(kind, content)]


def by_content(
    session: Session, kind: bytes, content: str, after: int, count: int
) -> list[tuple[tuple[int], Found]]:
    """Transactions of a content after a sequence number, in order."""
    parameters = (text_hash(kind, content), canonical(content), _place_after(after), count)
    rows = session.rows(_BY_CONTENT, parameters)
    return [((sequence,), Found(key.hex(), body)) for sequence, key, body in rows]


def search(
    session: Session, column: str, query: SearchQuery, after: tuple[int, ...], count: int
) -> list[tuple[tuple[int, int], Found]]:
    """Transactions whose texts in `column` match, after a place in the list, best first."""
    if not query.words:
        return []
    matches = [_match(column, word, query) for word in query.words]
    hits = " UNION ALL ".join("SELECT rowid FROM words WHERE words MATCH ?" for _ in matches)
    sql = _SEARCH.format(score="count(*)", hits=hits)
    rows = session.rows(sql, (*matches, *after, count))
    return [((score, sequence), Found(key.hex(), body)) for score, sequence, key, body in rows]


def _match(column: str, word: str, query: SearchQuery) -> str:
    """The word index's expression for texts that have `word` and fulfil the rest of `query`."""
    wanted = " AND ".join(_quoted(phrase) for phrase in ((word,), *query.phrases))
    unwanted = " OR ".join(_quoted(phrase) for phrase in query.excluded)
    expression = f"({wanted}) NOT ({unwanted})" if unwanted else wanted
    return f"{column} : ({expression})"


def _quoted(phrase: tuple[str, ...]) -> str:
    return f'"{record.index_text(phrase)}"'


def _id_bytes(transaction_id: str) -> bytes | None:
    """An id as it is stored; None for a text that is no id."""
    try:
        key = bytes.fromhex(transaction_id)
    except ValueError:
        return None
    return key if len(key) == ID_BYTES and key.hex() == transaction_id else None


def _place_after(sequence: int) -> int:
    """The first place behind a transaction."""
    return place_of(max(sequence, -1) + 1, 0) if sequence < MAX_INTEGER >> INDEX_BITS else MAX_INTEGER
