# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is asked of the file, one function or statement per question.

What a hash in `links` finds is compared in full before it counts, inside the statement, so that limits hold.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from planetmint.model.election import ElectionRecord
from planetmint.model.json import canonical
from planetmint.model.search import SearchQuery
from planetmint.model.transaction import Operation, OutputRecord, OutputRef
from planetmint.ports.errors import StoreError
from planetmint.ports.store import Found
from planetmint.storage.sqlite import record
from planetmint.storage.sqlite.layout import INDEX_BITS, MAX_INTEGER, id_hash, link_of, place_of
from planetmint.storage.sqlite.recent import Progress, RecentIds
from planetmint.storage.sqlite.session import Row, Session

ID_BYTES = 32

HEAD = "SELECT height, next, header FROM blocks ORDER BY height DESC LIMIT 1"

PROGRESS = "SELECT indexed, round_end, hand FROM blocks ORDER BY height DESC LIMIT 1"
"""How far the tree of ids has come, see recent.py."""

NEWEST = "SELECT height, (SELECT newest FROM chain) FROM validators ORDER BY height DESC LIMIT 2"
"""Heights of the newest validator sets, newest first, and the chain record."""

VALIDATORS = "SELECT validators FROM validators WHERE height = ?"

CHAIN = "SELECT newest FROM chain"

ELECTIONS = "SELECT election FROM elections ORDER BY id"

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

_TRANSACTION = "SELECT height, body FROM transactions WHERE sequence = ? AND id = ?"

_OLD_TRANSACTION = """
    SELECT height, body FROM ids CROSS JOIN transactions USING (sequence) WHERE hash = ? AND id = ?
"""

_SEQUENCES = """
    SELECT transactions.id, sequence FROM json_each(?1) AS item CROSS JOIN transactions ON sequence = item.value
    UNION ALL
    SELECT transactions.id, sequence FROM json_each(?2) AS item CROSS JOIN ids ON hash = item.value
    CROSS JOIN transactions USING (sequence)
"""

_OUTPUTS = """
    SELECT outputs.place, output, transactions.id FROM json_each(?) AS item
    CROSS JOIN outputs ON outputs.place = item.value
    LEFT JOIN spends ON spends.place = outputs.place LEFT JOIN transactions ON sequence = spender
"""

_ENTRIES = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"

_OWN_ASSET = f"""
    SELECT sequence, body FROM transactions
    WHERE sequence = ?1 AND sequence > ?2 AND kind & {record.OWN_ASSET} AND ?3 IN (-1, kind & 15)
"""

_LINKED_ASSET = """
    SELECT sequence, body FROM words CROSS JOIN transactions ON sequence = words.rowid
    WHERE words MATCH ?1 AND words.rowid > ?3 AND instr(body, ?2) AND ?4 IN (-1, kind & 15)
    ORDER BY words.rowid {order} LIMIT ?5
"""

_BY_KEY = f"""
    SELECT outputs.place, id FROM words
    CROSS JOIN outputs
    ON outputs.place BETWEEN words.rowid << {INDEX_BITS} AND (words.rowid + 1 << {INDEX_BITS}) - 1
    CROSS JOIN transactions ON sequence = words.rowid LEFT JOIN spends ON spends.place = outputs.place
    WHERE words MATCH ?1 AND words.rowid >= ?3 >> {INDEX_BITS} AND outputs.place > ?3 AND instr(output, ?2)
    AND ?4 IN (-1, spender IS NOT NULL) ORDER BY words.rowid LIMIT ?5
"""
"""A transaction's outputs are read by place, so that the order within it needs no sorting."""

_BY_CONTENT = """
    SELECT sequence, id, body FROM words CROSS JOIN transactions ON sequence = words.rowid
    WHERE words MATCH ?1 AND words.rowid > ?3 AND instr(body, ?2) ORDER BY words.rowid LIMIT ?4
"""

_SEARCH_WORD = """
    SELECT -1, sequence, id, body FROM words CROSS JOIN transactions ON sequence = words.rowid
    WHERE words MATCH ? AND words.rowid > ? ORDER BY words.rowid LIMIT ?
"""

_SEARCH_WORDS = """
    WITH hits (sequence, score) AS (
        SELECT words.rowid, -count(*) FROM json_each(?) AS item CROSS JOIN words
        WHERE words MATCH item.value GROUP BY words.rowid
    ),
    best AS (SELECT * FROM hits WHERE (score, sequence) > (?, ?) ORDER BY score, sequence LIMIT ?)
    SELECT score, sequence, id, body FROM best CROSS JOIN transactions USING (sequence) ORDER BY score, sequence
"""


class AssetList(NamedTuple):
    """Which transactions of which assets: so many (-1: all) after a sequence number, or the last one."""

    asset_ids: Sequence[str]
    operation: Operation | None
    last: bool
    after: int
    limit: int


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


def recent_ids(session: Session) -> RecentIds:
    """The ids that the tree of ids may not have, read from their blocks."""
    with session.snapshot():
        row = session.row(PROGRESS)
        recent = RecentIds(Progress() if row is None else Progress(*row))
        load_ids(session, recent)
    return recent


def load_ids(session: Session, recent: RecentIds) -> None:
    """Add the ids of the blocks that `recent` does not know."""
    for end, ids in session.rows("SELECT next, ids FROM blocks WHERE next > ? ORDER BY next", (recent.end,)):
        known = split_ids(ids)
        recent.add(known[recent.end - end :], recent.end)


def transaction(session: Session, recent: RecentIds, transaction_id: str) -> Row | None:
    """Height and canonical JSON of a transaction."""
    key = _id_bytes(transaction_id)
    if key is None:
        return None
    hint = recent.get(transaction_id)
    if hint is not None:
        return session.row(_TRANSACTION, (hint, key))
    return session.row(_OLD_TRANSACTION, (id_hash(transaction_id), key))


def sequences(session: Session, recent: RecentIds, transaction_ids: Iterable[str]) -> dict[str, int]:
    """Sequence numbers of those of the transactions that are stored."""
    wanted = {key: item for item in transaction_ids if (key := _id_bytes(item)) is not None}
    hints: list[int] = []
    hashes: list[int] = []
    for item in wanted.values():
        hint = recent.get(item)
        if hint is None:
            hashes.append(id_hash(item))
        else:
            hints.append(hint)
    rows = session.rows(_SEQUENCES, (json.dumps(hints), json.dumps(hashes))) if wanted else ()
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


def elections(session: Session, election_ids: Iterable[str]) -> dict[str, ElectionRecord]:
    """Those of the elections that there are."""
    wanted = [key for item in election_ids if (key := _id_bytes(item)) is not None]
    found: dict[str, ElectionRecord] = {}
    for key in wanted:
        row = session.row("SELECT election FROM elections WHERE id = ?", (key,))
        if row is not None:
            found[key.hex()] = record.decode_election(row[0])
    return found


def is_short(session: Session, links: Collection[str], bound: int) -> bool:
    """Whether at most `bound` transactions stand under some links."""
    total = 0
    for link in links:
        row = session.row(_ENTRIES, (_linked(link), bound + 1 - total))
        total += row[0] if row is not None else 0
        if total > bound:
            return False
    return True


def asset_links(asset_ids: Sequence[str]) -> list[str]:
    """Links under which transactions of assets stand."""
    return [link_of(record.ASSET, item) for item in asset_ids]


def by_asset(session: Session, asked: AssetList, own: Mapping[str, int]) -> list[tuple[int, bytes]]:
    """Sequence numbers and bodies of some assets' transactions; `own` has the numbers of the assets' own ones."""
    code = -1 if asked.operation is None else record.OPERATIONS.index(asked.operation)
    linked = _LINKED_ASSET.format(order="DESC" if asked.last else "ASC")
    found: dict[int, bytes] = {}
    with session.snapshot():
        for sequence in own.values():
            found |= session.rows(_OWN_ASSET, (sequence, asked.after, code))
        for asset_id in asked.asset_ids:
            link = _linked(link_of(record.ASSET, asset_id))
            found |= session.rows(linked, (link, asset_id.encode(), asked.after, code, asked.limit))
    rows = sorted(found.items(), reverse=asked.last)
    return rows if asked.limit < 0 else rows[: asked.limit]


def key_links(public_key: str) -> list[str]:
    """Link under which the outputs of a key stand."""
    return [link_of(record.KEY, public_key)]


def by_key(
    session: Session, public_key: str, spent: bool | None, after: int, count: int
) -> list[tuple[int, OutputRef]]:
    """Places and names of a key's outputs after a place, in order."""
    needle = canonical(public_key)
    choice = -1 if spent is None else int(spent)
    rows = session.rows(_BY_KEY, (_linked(*key_links(public_key)), needle, after, choice, count))
    mask = (1 << INDEX_BITS) - 1
    return [(place, OutputRef(key.hex(), place & mask)) for place, key in rows]


def content_links(kind: bytes, content: str) -> list[str]:
    """Link under which transactions of a content stand."""
    return [link_of(kind, content)]


def by_content(
    session: Session, kind: bytes, content: str, after: int, count: int
) -> list[tuple[tuple[int], Found]]:
    """Transactions of a content after a sequence number, in order."""
    parameters = (_linked(*content_links(kind, content)), canonical(content), after, count)
    rows = session.rows(_BY_CONTENT, parameters)
    return [((sequence,), Found(key.hex(), body)) for sequence, key, body in rows]


def search(
    session: Session, column: str, query: SearchQuery, after: tuple[int, ...], count: int
) -> list[tuple[tuple[int, int], Found]]:
    """Transactions whose texts in `column` match, after a place in the list, best first."""
    if not query.words:
        return []
    matches = [_match(column, word, query) for word in query.words]
    if len(matches) == 1:
        # All have the score -1: a cursor of another score stands before or behind all of them.
        beyond = after[1] if after[0] == -1 else (after[0] + 1) * MAX_INTEGER
        rows = session.rows(_SEARCH_WORD, (*matches, max(min(beyond, MAX_INTEGER), -MAX_INTEGER), count))
    else:
        rows = session.rows(_SEARCH_WORDS, (json.dumps(matches), *after, count))
    return [((score, sequence), Found(key.hex(), body)) for score, sequence, key, body in rows]


def _match(column: str, word: str, query: SearchQuery) -> str:
    """The word index's expression for texts that have `word` and fulfil the rest of `query`."""
    wanted = " AND ".join(_quoted(phrase) for phrase in ((word,), *query.phrases))
    unwanted = " OR ".join(_quoted(phrase) for phrase in query.excluded)
    expression = f"({wanted}) NOT ({unwanted})" if unwanted else wanted
    return f"{column} : ({expression})"


def _quoted(phrase: tuple[str, ...]) -> str:
    return f'"{record.index_text(phrase)}"'


def is_id(text: str) -> bool:
    """Whether `text` can be the id of a transaction."""
    return _id_bytes(text) is not None


def _id_bytes(transaction_id: str) -> bytes | None:
    """An id as it is stored; None for a text that is no id."""
    try:
        key = bytes.fromhex(transaction_id)
    except ValueError:
        return None
    return key if len(key) == ID_BYTES and key.hex() == transaction_id else None


def _linked(link: str) -> str:
    """The word index's expression for a link."""
    return f'links : "{link}"'
