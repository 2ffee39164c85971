# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a block goes into the file: one statement that does all its work inside SQLite.

Each statement of Python's `sqlite3` gives the interpreter lock away and has to win it back from a busy event
loop, which may take milliseconds; `executemany` does so for every row. So a block is handed over in a few long
values, and a trigger takes them apart. Bytes are joined into one value and cut by position; numbers come as JSON.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, TypeVar

import msgspec

from planetmint.model.block import BlockEvents, BlockHeader, BlockRecord, Founding
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.json import JsonValue
from planetmint.model.search import VERBATIM_LENGTH, tokens_of
from planetmint.model.transaction import Operation, OutputRecord, OutputRef, Transaction
from planetmint.model.validator import Validator
from planetmint.ports.errors import StoreError
from planetmint.storage.sqlite.layout import INDEX_BITS, id_hash, link_of, place_of
from planetmint.storage.sqlite.recent import Step

T = TypeVar("T")

OPERATIONS = tuple(Operation)
"""The code of an operation in the file is its place here; only ever append."""

OWN_ASSET = 1 << 4
"""Set in a transaction's `kind` where it is an asset of its own; below it the code of the operation."""

KEY, ASSET, ASSET_CONTENT, METADATA_CONTENT = b"key", b"asset", b"asset content", b"metadata content"
"""Uses of `layout.link_of`."""

CONTENT_OPERATIONS = frozenset({Operation.CREATE, Operation.TRANSFER, Operation.COMPOSE, Operation.DECOMPOSE})
WORDED_OPERATIONS = frozenset({Operation.CREATE, Operation.COMPOSE})

_KIND_BITS, _LENGTH_BITS = 5, 24

_LONGEST_WORD = 1_000
_MARKED = re.compile("[A-Z_]")

SAVE_SCHEMA = f"""
CREATE TEMP VIEW saved_block AS SELECT 0 AS height, 0 AS first, 0 AS next, x'' AS header, x'' AS ids,
    x'' AS events, x'' AS bodies, '[]' AS body_spans, '[]' AS id_hashes, x'' AS outputs,
    '{{}}' AS output_spans, '{{}}' AS spends, '[]' AS words, NULL AS validators,
    NULL AS chain, x'' AS election_ids, x'' AS elections, '[]' AS election_spans,
    '{{}}' AS indexed_ids, 0 AS indexed, 0 AS round_end, 0 AS hand;

CREATE TEMP TRIGGER save_block INSTEAD OF INSERT ON saved_block BEGIN
    SELECT RAISE(ABORT, 'the block does not follow the newest one')
    WHERE (NEW.height, NEW.first) IS NOT (SELECT height + 1, next FROM blocks ORDER BY height DESC LIMIT 1);

    SELECT RAISE(ABORT, 'a transaction of the block is stored already')
    FROM json_each(NEW.id_hashes) AS item CROSS JOIN ids ON hash = item.value
    CROSS JOIN transactions USING (sequence)
    WHERE transactions.id = substr(NEW.ids, 1 + 32 * item.key, 32);

    INSERT INTO blocks
    VALUES (NEW.height, NEW.next, NEW.header, NEW.ids, NEW.indexed, NEW.round_end, NEW.hand, NEW.events);

    INSERT INTO transactions
    SELECT NEW.first + key, NEW.height, value & {(1 << _KIND_BITS) - 1}, substr(NEW.ids, 1 + 32 * key, 32),
        substr(NEW.bodies, 1 + (value >> {_KIND_BITS + _LENGTH_BITS}),
            value >> {_KIND_BITS} & {(1 << _LENGTH_BITS) - 1})
    FROM json_each(NEW.body_spans);

    INSERT INTO outputs
    SELECT CAST(key AS INTEGER),
        substr(NEW.outputs, 1 + (value >> {_LENGTH_BITS}), value & {(1 << _LENGTH_BITS) - 1})
    FROM json_each(NEW.output_spans);

    INSERT INTO spends SELECT CAST(key AS INTEGER), value FROM json_each(NEW.spends);

    INSERT OR IGNORE INTO ids SELECT value, CAST(key AS INTEGER) FROM json_each(NEW.indexed_ids);

    INSERT INTO words (rowid, asset, metadata, links)
    SELECT NEW.first + key, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(NEW.words);

    INSERT INTO validators SELECT NEW.height + 1, NEW.validators WHERE NEW.validators IS NOT NULL;

    UPDATE chain SET newest = NEW.chain WHERE NEW.chain IS NOT NULL;

    INSERT OR REPLACE INTO elections
    SELECT substr(NEW.election_ids, 1 + 32 * key, 32),
        substr(NEW.elections, 1 + (value >> {_LENGTH_BITS}), value & {(1 << _LENGTH_BITS) - 1})
    FROM json_each(NEW.election_spans);
END;
"""
"""Made anew on every connection that writes; never part of the file."""

SAVE = f"INSERT INTO saved_block VALUES ({', '.join('?' * 22)})"

SAVE_WORDS = """
    INSERT INTO words (rowid, asset, metadata, links)
    SELECT ?1 + key, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(?2)
"""
"""Words of transactions from a sequence number on: those of many blocks at once make one segment of the index."""

BEGIN_CHAIN = "UPDATE chain SET newest = ?"

MERGE = "INSERT INTO words (words, rank) VALUES ('merge', ?)"
"""Merges about so many pages of the word index; changes at most one row where there is nothing to merge."""


class StoredOutput(msgspec.Struct, array_like=True, frozen=True):
    """An output as it stands in the file: what of `OutputRecord` its place does not tell."""

    amount: int
    uri: str
    public_keys: tuple[str, ...]
    operation: int
    asset_id: str | None
    """None where the transaction is its own asset."""
    item: str | None

    def to_record(self, ref: OutputRef, spender: str | None) -> OutputRecord:
        """The output as the rules see it."""
        asset_id = ref.transaction_id if self.asset_id is None else self.asset_id
        operation = OPERATIONS[self.operation]
        return OutputRecord(ref, self.amount, self.uri, self.public_keys, asset_id, operation, self.item, spender)


class Words(NamedTuple):
    """What the word index holds of a transaction, as words with blanks between: tokens of its texts, and links."""

    asset: str
    metadata: str
    links: str


encode = msgspec.json.Encoder().encode


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Reads what `encode` made of a value of this type; StoreError for anything else."""
    decode = msgspec.json.Decoder(kind).decode

    def checked(data: bytes) -> T:
        try:
            return decode(data)
        except msgspec.MsgspecError as error:
            raise StoreError(f"the ledger is damaged: {error}") from error

    return checked


decode_founding = _decoder(Founding)
decode_header = _decoder(BlockHeader)
decode_events = _decoder(tuple[BlockEvents, ...])
decode_output = _decoder(StoredOutput)
decode_validators = _decoder(tuple[Validator, ...])
decode_election = _decoder(ElectionRecord)
decode_chain = _decoder(ChainRecord)


@dataclass(frozen=True, slots=True)
class _Joined:
    """Byte strings in one, and where each stands."""

    data: bytes
    spans: list[tuple[int, int]]


def parameters_of(
    block: BlockRecord, first: int, sequences: Mapping[str, int], step: Step, words: Sequence[Words]
) -> tuple[object, ...]:
    """What `SAVE` needs.

    Args:
        first: Sequence number of the block's first transaction.
        sequences: Of the older transactions whose outputs it spends; others are allowed.
        step: What the block takes along into the tree of ids.
        words: As `words_of` gives them; none where they are stored by `SAVE_WORDS`.

    Raises:
        StoreError: A repeated transaction, a spend of an unknown one, or a part longer than the layout allows.
    """
    known = {item.id: first + place for place, item in enumerate(block.transactions)}
    if len(known) != len(block.transactions):
        raise StoreError(f"block {block.header.height} repeats a transaction")
    bodies = _join([item.canonical for item in block.transactions])
    kinds = [kind_of(item) for item in block.transactions]
    body_spans = [
        (start << _LENGTH_BITS | length) << _KIND_BITS | kind
        for (start, length), kind in zip(bodies.spans, kinds, strict=True)
    ]
    outputs = _join([encode(stored(record)) for record in block.created])
    places = [_place(record.ref, known) for record in block.created]
    output_spans = [
        (place, start << _LENGTH_BITS | length)
        for place, (start, length) in zip(places, outputs.spans, strict=True)
    ]
    elections = _join([encode(item) for item in block.elections])
    return (
        block.header.height,
        first,
        first + len(block.transactions),
        encode(block.header),
        bytes.fromhex("".join(known)),
        encode(block.events),
        bodies.data,
        encode(body_spans),
        encode([id_hash(item.id) for item in block.transactions]),
        outputs.data,
        _pairs(output_spans),
        _pairs([(_place(spend.ref, known, sequences), _number(spend.spender, known)) for spend in block.spent]),
        encode(words),
        None if block.validators is None else encode(block.validators),
        None if block.chain is None else encode(block.chain),
        bytes.fromhex("".join(item.election_id for item in block.elections)),
        elections.data,
        encode([start << _LENGTH_BITS | length for start, length in elections.spans]),
        _pairs(step.entries),
        *step.progress,
    )


def kind_of(transaction: Transaction) -> int:
    """The `kind` of a transaction in the file."""
    own = OWN_ASSET if transaction.id in transaction.asset_ids else 0
    return OPERATIONS.index(transaction.operation) | own


def stored(record: OutputRecord) -> StoredOutput:
    """An output as it stands in the file."""
    asset_id = None if record.asset_id == record.ref.transaction_id else record.asset_id
    code = OPERATIONS.index(record.operation)
    return StoredOutput(record.amount, record.uri, record.public_keys, code, asset_id, record.item)


def _place(ref: OutputRef, *sequences: Mapping[str, int]) -> int:
    """The place of an output whose transaction is in one of `sequences`."""
    if not 0 <= ref.output_index < 1 << INDEX_BITS:
        raise StoreError(f"output index {ref.output_index} is more than this layout has room for")
    return place_of(_number(ref.transaction_id, *sequences), ref.output_index)


def _number(transaction_id: str, *sequences: Mapping[str, int]) -> int:
    """The sequence number of a transaction that is in one of `sequences`."""
    for known in sequences:
        if transaction_id in known:
            return known[transaction_id]
    raise StoreError(f"the block refers to transaction {transaction_id}, which is not stored")


def keys_of(block: BlockRecord) -> Mapping[str, Sequence[str]]:
    """The keys in the outputs of each transaction that has any, by its id."""
    keys: dict[str, list[str]] = defaultdict(list)
    for record in block.created:
        keys[record.ref.transaction_id] += record.public_keys
    return keys


def words_of(transaction: Transaction, keys: Sequence[str]) -> Words:
    """What the word index holds of a transaction with these keys in its outputs."""
    data: JsonValue = None
    if transaction.operation in WORDED_OPERATIONS:
        data = [asset.data for asset in transaction.assets]
    return Words(
        index_text(tokens_of(data)),
        index_text(tokens_of(transaction.metadata)),
        " ".join(_links(transaction, keys)),
    )


def _links(transaction: Transaction, keys: Sequence[str]) -> list[str]:
    """The words under which a transaction is found by its outputs' keys, its assets and its contents."""
    links = [link_of(KEY, key) for key in dict.fromkeys(keys)]
    links += [link_of(ASSET, item) for item in transaction.asset_ids if item != transaction.id]
    if transaction.operation not in CONTENT_OPERATIONS:
        return links
    contents = dict.fromkeys(asset.data for asset in transaction.assets if isinstance(asset.data, str))
    links += [link_of(ASSET_CONTENT, content) for content in contents]
    if isinstance(transaction.metadata, str):
        links.append(link_of(METADATA_CONTENT, transaction.metadata))
    return links


def index_text(tokens: Iterable[str]) -> str:
    """Tokens as the file's word index takes them."""
    return " ".join([token if len(token) < VERBATIM_LENGTH else _index_identifier(token) for token in tokens])


def _index_identifier(token: str) -> str:
    """A long token as it stands in the word index, which folds ASCII letters and cuts very long words.

    Only long tokens have capitals; in all of those capitals and underscores are marked, so that different tokens
    stay different. A very long one stands as its hash, behind a character that no word has.
    """
    if len(token) > _LONGEST_WORD:
        return "\ue001" + sha256(token.encode()).hexdigest()
    return _MARKED.sub(r"_\g<0>", token)


def _join(parts: list[bytes]) -> _Joined:
    spans: list[tuple[int, int]] = []
    start = 0
    for part in parts:
        if len(part) >= 1 << _LENGTH_BITS:
            raise StoreError(f"a part of {len(part)} bytes is more than this layout has room for")
        spans.append((start, len(part)))
        start += len(part)
    return _Joined(b"".join(parts), spans)


def _pairs(pairs: Iterable[tuple[int, int]]) -> str:
    """Pairs of numbers as the members of a JSON object; names may repeat, each is a row for SQLite."""
    members = ",".join([f'"{name}":{value}' for name, value in pairs])
    return f"{{{members}}}"
