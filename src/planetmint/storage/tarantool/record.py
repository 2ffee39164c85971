# SPDX-License-Identifier: AGPL-3.0-or-later
"""Blocks as rows: every row that a block puts into the database, as MessagePack, and rows as values again.

Rows are made here and inserted there as they are. Texts and raw bytes are both MessagePack strings, because the
server's Lua knows one type for both. An id is 32 raw bytes; an output's URI of the usual form is its hash alone.
"""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple, TypeVar

import msgspec

from planetmint.model.block import BlockHeader, BlockRecord, Founding, TransactionEvent
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.search import LEAF_BREAK, tokens_of
from planetmint.model.transaction import Operation, OutputRecord, OutputRef, Transaction
from planetmint.model.validator import Validator
from planetmint.ports.errors import StoreError

T = TypeVar("T")

INDEX_BITS = 20
"""Room for an output's index in its place."""

OPERATIONS = tuple(Operation)
"""The code of an operation is its place here; only ever append."""

OWN_ASSET = 1 << 4
"""Set in a transaction's kind where it is an asset of its own; below it the code of the operation."""

BLOCKS, TRANSACTIONS, OUTPUTS, POSTINGS, VALIDATORS = 1, 2, 3, 4, 5
"""Codes of spaces in the rows of a save."""

ASSET_WORD, METADATA_WORD, ASSET_CONTENT, METADATA_CONTENT, ASSET = b"w", b"m", b"c", b"d", b"a"
"""What a term is the word or text of."""

CONTENT_OPERATIONS = frozenset({Operation.CREATE, Operation.TRANSFER, Operation.COMPOSE, Operation.DECOMPOSE})
WORDED_OPERATIONS = frozenset({Operation.CREATE, Operation.COMPOSE})

_CODES = {operation: code for code, operation in enumerate(OPERATIONS)}
_LONGEST_TERM = 20
_URI, _URI_END = "ni:///sha-256;", "?fpt=ed25519-sha-256&cost=131072"
_URI_LENGTH = len(_URI) + 43 + len(_URI_END)
_SEAL_BYTES = 8

_packed = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_row_head = struct.Struct("<BI").pack
_spend = struct.Struct("<32sIB").pack
_reference = struct.Struct("<32sI").pack
_length16 = struct.Struct(">BH").pack
_length32 = struct.Struct(">BI").pack


def place_of(sequence: int, index: int) -> int:
    """Where an output stands in commit order."""
    return sequence << INDEX_BITS | index


def id_bytes(transaction_id: str) -> bytes | None:
    """An id as it is stored; None for a text that is no id."""
    try:
        key = bytes.fromhex(transaction_id)
    except ValueError:
        return None
    return key if len(key) == 32 and key.hex() == transaction_id else None


def _id(transaction_id: str) -> bytes:
    key = id_bytes(transaction_id)
    if key is None:
        raise StoreError(f"{transaction_id!r} is no id")
    return key


def reference(ref: OutputRef) -> bytes | None:
    """An output's name in 36 bytes; None where no output can have this name."""
    key = id_bytes(ref.transaction_id)
    if key is None or not 0 <= ref.output_index < 1 << INDEX_BITS:
        return None
    return _reference(key, ref.output_index)


def term(kind: bytes, text: str) -> bytes:
    """Under what transactions stand in the postings: a kind and a short text, or (kind in capitals) a hash."""
    data = text.encode()
    if len(data) <= _LONGEST_TERM:
        return kind + data
    return kind.upper() + blake2b(data, digest_size=_LONGEST_TERM).digest()


def asset_term(asset_id: bytes, code: int) -> bytes:
    """The term of an asset's transactions of one operation."""
    return ASSET + bytes((code,)) + asset_id


_SHORT = tuple(bytes((0xA0 | size,)) for size in range(32))


def _string(data: bytes) -> bytes:
    """A MessagePack string of any bytes."""
    size = len(data)
    if size < 32:
        return _SHORT[size] + data
    if size < 256:
        return bytes((0xD9, size)) + data
    return (_length16(0xDA, size) if size < 65_536 else _length32(0xDB, size)) + data


def _compact(text: str) -> bytes | str:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return text
    return data if data.hex() == text else text


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def encode_header(header: BlockHeader) -> bytes:
    """A header as it stands in its block's row; bytes stand for lower-case hex."""
    texts = (header.previous_hash, header.root, header.app_hash, header.proposer, header.signature)
    return _packed((header.time, *map(_compact, texts)))


_decode_header = msgspec.msgpack.Decoder(tuple[int, object, object, object, object, object]).decode


def decode_header(height: int, data: bytes) -> BlockHeader:
    """Read what `encode_header` wrote; StoreError for anything else."""
    try:
        time, *texts = _decode_header(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"the ledger is damaged: header of block {height}: {error}") from error
    return BlockHeader(height, time, *map(_hex, texts))


def seal_of(header: bytes) -> bytes:
    """A checksum that stands beside a header, of which nothing else in the ledger tells some bits."""
    return blake2b(header, digest_size=_SEAL_BYTES).digest()


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Reads what `encode` made of a value of this type; StoreError for anything else."""
    decode = msgspec.json.Decoder(kind).decode

    def checked(data: bytes) -> T:
        try:
            return decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError(f"the ledger is damaged: {error}") from error

    return checked


encode = _json
decode_founding = _decoder(Founding)
decode_chain = _decoder(ChainRecord)
decode_election = _decoder(ElectionRecord)
decode_validators = _decoder(tuple[Validator, ...])


class EventRow(NamedTuple):
    """What the streams tell of a transaction, next to what its row and its outputs tell anyway.

    Attributes:
        asset: 0 for the transaction itself, n for the nth of its row's assets.
        assets: The same for all its assets, in order.
        keys: Keys of its outputs; None where they are those of its outputs' rows.
        signers: Numbers of keys, or keys themselves.
    """

    asset: int
    assets: list[int]
    keys: list[str] | None
    signers: list[int | str]


@dataclass(slots=True)
class Save:
    """What `save` of the procedures is called with.

    Attributes:
        height: Of the first block.
        first: Number of its first transaction.
        postings: Rows of postings before it.
        rows: As the procedures read them.
        spends: Of outputs that are stored already, as the procedures read them.
        elections: Ids and records, alternating.
        chain: The new chain record, if any.
    """

    height: int
    first: int
    postings: int
    rows: list[bytes] = field(default_factory=list)
    spends: list[bytes] = field(default_factory=list)
    elections: list[bytes] = field(default_factory=list)
    chain: bytes | None = None


def add_row(rows: list[bytes], space: int, row: bytes) -> None:
    """Add a row as the procedures read it."""
    rows.append(_row_head(space, len(row)))
    rows.append(row)


def block_row(height: int, following: int, postings: int, header: bytes) -> bytes:
    """The row of a block."""
    start = _packed((height, following, postings))
    return b"\x95" + start[1:] + _string(header) + _string(seal_of(header))


def validators_row(height: int, validators: Sequence[Validator]) -> bytes:
    """The row of a validator set."""
    return b"\x92" + _packed(height) + _string(encode(validators))


def other_assets(transaction: Transaction) -> list[str]:
    """Ids of a transaction's assets other than itself."""
    return [item for item in transaction.asset_ids if item != transaction.id]


def _strings(items: Sequence[bytes]) -> bytes:
    head = bytes((0x90 | len(items),)) if len(items) < 16 else _length16(0xDC, len(items))
    return head + b"".join(map(_string, items))


def transaction_row(
    sequence: int, height: int, transaction: Transaction, event: TransactionEvent, keys: Sequence[str]
) -> bytes:
    """The row of a transaction with these keys in its outputs."""
    name, asset_ids = transaction.id, transaction.asset_ids
    others = [item for item in asset_ids if item != name]
    kind = _CODES[transaction.operation] | (OWN_ASSET if len(others) < len(asset_ids) else 0)
    start = _packed((sequence, height, kind, _event_row(name, event, others, keys)))
    assets = _strings([_id(item) for item in others]) if others else b"\x90"
    return b"\x97%b\xd9\x20%b%b%b" % (start[1:], _id(name), assets, _string(transaction.canonical))


_OWN_EVENT = [0]


def _event_row(name: str, event: TransactionEvent, others: Sequence[str], keys: Sequence[str]) -> EventRow:
    _, asset_id, asset_ids, _, public_keys, signers = event
    if others or asset_id != name or asset_ids != (name,):
        names = [name, *others]
        try:
            asset, assets = names.index(asset_id), [names.index(item) for item in asset_ids]
        except ValueError as error:
            raise StoreError(f"the event of {name} names an asset that is not its own") from error
    else:
        asset, assets = 0, _OWN_EVENT
    told = None if public_keys == tuple(keys) or public_keys == tuple(dict.fromkeys(keys)) else list(public_keys)
    return EventRow(
        asset, assets, told, [public_keys.index(key) if key in public_keys else key for key in signers]
    )


def decode_event(
    transaction_id: str, kind: int, others: Sequence[str], row: EventRow, keys: Iterable[str]
) -> TransactionEvent:
    """The event of a transaction with these keys in its outputs; the reverse of what the row was made of."""
    names = (transaction_id, *others)
    public_keys = tuple(dict.fromkeys(keys)) if row.keys is None else tuple(row.keys)
    signers = tuple([public_keys[item] if isinstance(item, int) else item for item in row.signers])
    assets = tuple([names[item] for item in row.assets])
    return TransactionEvent(transaction_id, names[row.asset], assets, OPERATIONS[kind & 15], public_keys, signers)


def output_row(place: int, record: OutputRecord, assets: Sequence[str], spender: int | None) -> bytes:
    """The row of an output of a transaction with these other assets."""
    if record.asset_id == record.ref.transaction_id:
        asset = 0
    elif record.asset_id in assets:
        asset = assets.index(record.asset_id) + 1
    else:
        raise StoreError(f"an output of {record.ref.transaction_id} is of an asset that is not its own")
    row = (
        place,
        spender is not None,
        spender or 0,
        record.amount,
        encode_uri(record.uri),
        record.public_keys,
        asset,
    )
    return _packed(row if record.item is None else (*row, record.item))


def encode_uri(uri: str) -> str:
    """A condition's URI as it is stored."""
    if len(uri) == _URI_LENGTH and uri.startswith(_URI) and uri.endswith(_URI_END):
        return "=" + uri[len(_URI) : -len(_URI_END)]
    return ":" + uri


def decode_uri(text: str) -> str:
    """Read what `encode_uri` wrote."""
    return _URI + text[1:] + _URI_END if text.startswith("=") else text[1:]


def postings_row(key: bytes, sequences: Sequence[int]) -> bytes:
    """The row of the transactions of one block under a term; `sequences` grow."""
    if len(sequences) == 1:
        return b"\x93%b%b\x90" % (_string(key), _packed(sequences[0]))
    gaps = [later - earlier for earlier, later in pairwise(sequences)]
    return b"\x93%b%b" % (_string(key), _packed((sequences[0], gaps))[1:])


def terms_of(transaction: Transaction) -> set[bytes]:
    """All terms under which a transaction stands."""
    code = _CODES[transaction.operation]
    terms = {asset_term(_id(item), code) for item in other_assets(transaction)} if transaction.assets else set()
    if transaction.operation in WORDED_OPERATIONS:
        _add_words(terms, ASSET_WORD, tokens_of([asset.data for asset in transaction.assets]))
    if transaction.metadata is not None:
        _add_words(terms, METADATA_WORD, tokens_of(transaction.metadata))
    if transaction.operation in CONTENT_OPERATIONS:
        for asset in transaction.assets:
            if isinstance(asset.data, str):
                terms.add(term(ASSET_CONTENT, asset.data))
        if isinstance(transaction.metadata, str):
            terms.add(term(METADATA_CONTENT, transaction.metadata))
    return terms


def _add_words(terms: set[bytes], kind: bytes, tokens: Sequence[str]) -> None:
    for token in set(tokens):
        if len(token) <= _LONGEST_TERM and token.isascii():
            terms.add(kind + token.encode())
        elif token != LEAF_BREAK:
            terms.add(term(kind, token))


def keys_by_transaction(block: BlockRecord) -> Mapping[str, Sequence[str]]:
    """The keys in the outputs of each transaction that has any, by its id."""
    keys: dict[str, list[str]] = defaultdict(list)
    for record in block.created:
        keys[record.ref.transaction_id] += record.public_keys
    return keys


def postings_of(first: int, terms: Iterable[set[bytes]]) -> dict[bytes, list[int]]:
    """Numbers of a block's transactions by term; `terms` of each, in block order."""
    postings: dict[bytes, list[int]] = defaultdict(list)
    for sequence, own in enumerate(terms, first):
        for key in own:
            postings[key].append(sequence)
    return postings


class Batch:
    """Consecutive blocks on their way into one save.

    Args:
        height, first, postings: Where the stored ledger ends: height of the next block, number of its first
            transaction, rows of postings so far.
    """

    def __init__(self, height: int, first: int, postings: int) -> None:
        self.save = Save(height, first, postings)
        self._height, self._next, self._postings = height, first, postings

    def add(self, block: BlockRecord, terms: Sequence[set[bytes]]) -> None:
        """Add the next block; `terms` of each of its transactions.

        Raises:
            StoreError: It does not follow, repeats a transaction, or spends an output of its own twice or one that
                it did not make.
        """
        height, save = block.header.height, self.save
        if height != self._height:
            raise StoreError(f"block {height} does not follow block {self._height - 1}")
        own = self._add_transactions(block)
        spenders = self._add_spends(block, own)
        others = {item.id: other_assets(item) for item in block.transactions if item.assets}
        for record in block.created:
            place = _place(record.ref, own)
            row = output_row(place, record, others.get(record.ref.transaction_id, ()), spenders.get(record.ref))
            add_row(save.rows, OUTPUTS, row)
        index = postings_of(self._next, terms)
        for key, sequences in index.items():
            add_row(save.rows, POSTINGS, postings_row(key, sequences))
        self._postings += len(index)
        self._next += len(block.transactions)
        self._height += 1
        add_row(save.rows, BLOCKS, block_row(height, self._next, self._postings, encode_header(block.header)))
        if block.validators is not None:
            add_row(save.rows, VALIDATORS, validators_row(height + 1, block.validators))
        for election in block.elections:
            save.elections += (_id(election.election_id), encode(election))
        if block.chain is not None:
            save.chain = encode(block.chain)

    @property
    def end(self) -> tuple[int, int, int]:
        """Where the ledger ends with these blocks, as the arguments of the next batch."""
        return self._height, self._next, self._postings

    def _add_transactions(self, block: BlockRecord) -> dict[str, int]:
        """Add the transactions' rows; their numbers by their ids."""
        height, events, keys = block.header.height, block.events.events, keys_by_transaction(block)
        if len(events) != len(block.transactions):
            raise StoreError(f"block {height} has {len(block.transactions)} transactions, {len(events)} events")
        own: dict[str, int] = {}
        rows = self.save.rows
        for sequence, (item, event) in enumerate(zip(block.transactions, events, strict=True), self._next):
            own[item.id] = sequence
            add_row(rows, TRANSACTIONS, transaction_row(sequence, height, item, event, keys.get(item.id, ())))
        if len(own) < len(events):
            raise StoreError(f"block {height} repeats a transaction")
        return own

    def _add_spends(self, block: BlockRecord, own: Mapping[str, int]) -> Mapping[OutputRef, int]:
        """Add the spends of outputs of earlier blocks; by their names, the spenders of the block's own outputs."""
        spenders: dict[OutputRef, int] = {}
        within = [spend.ref for spend in block.spent if spend.ref.transaction_id in own]
        made = {record.ref for record in block.created} if within else set()
        for ref, spender in block.spent:
            if spender not in own or (ref.transaction_id in own and (ref not in made or ref in spenders)):
                raise StoreError(f"block {block.header.height} spends {ref}, which is not unspent")
            if ref.transaction_id in own:
                spenders[ref] = own[spender]
                continue
            key = id_bytes(ref.transaction_id)
            if key is None or not 0 <= ref.output_index < 1 << INDEX_BITS:
                raise StoreError(f"block {block.header.height} spends {ref}, which nobody made")
            update = _packed((("=", 2, True), ("=", 3, own[spender])))
            self.save.spends.append(_spend(key, ref.output_index, len(update)) + update)
        return spenders


def _place(ref: OutputRef, sequences: Mapping[str, int]) -> int:
    sequence = sequences.get(ref.transaction_id)
    if sequence is None or not 0 <= ref.output_index < 1 << INDEX_BITS:
        raise StoreError(f"no room for output {ref.output_index} of transaction {ref.transaction_id}")
    return place_of(sequence, ref.output_index)
