# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ledger as a stream of bytes: the form of backups and of the snapshots that nodes give one another.

The stream holds what nothing else can tell: the founding document, each block's header and transactions, and
where it ends; outputs, spends, elections and hashes follow from these (`chain.derive`). It is cut into pieces of
`PIECE_BYTES`, so that equal chains give equal pieces, and all but the last ones stay as they are while it grows.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from planetmint.chain.founding import founding_from_json, founding_to_json
from planetmint.model import json
from planetmint.model.block import BlockHeader, Founding
from planetmint.model.election import ChainRecord
from planetmint.model.errors import SchemaValidationError

FORMAT = 1
"""Version of the stream, of its pieces and of the file around them."""

PIECE_BYTES = 4 << 20
"""Bytes of the stream in each piece but the last, before it is packed."""

MAX_PACKED_BYTES = PIECE_BYTES + (PIECE_BYTES >> 3)
"""Bytes that a packed piece may have; zlib makes incompressible data longer by less than a thousandth."""

MAX_BLOCK_BYTES = 128 << 20
"""Bytes of one block's transactions together; the engine allows 100 MB."""

MAX_BLOCK_TRANSACTIONS = 1 << 20
"""Of one block; the shortest transaction has some hundred bytes."""

MAGIC = b"planetmint ledger\n\x00"
"""Begins a file; the byte of `FORMAT` and the pieces follow."""

_FOUNDING, _BLOCK, _TRANSACTION, _END = 1, 2, 3, 4
_LONGEST = {_FOUNDING: 64 << 20, _BLOCK: 4_096, _TRANSACTION: 1 << 24, _END: 4_096}
"""Bytes of each kind of record; a transaction's are bounded by the chain's parameters when it is read."""

_RECORD = struct.Struct(">BI")
_HEADER = struct.Struct(">QQ32s32s32sBBI")
_FRAME = struct.Struct(">I32s")
_LEVEL = 1
"""Of zlib: higher ones take four times as long and save a few percent, as most of the text is keys and hashes."""


class ArchiveError(ValueError):
    """The bytes are no archive, or a damaged one; the message says what is wrong with them."""


class ArchivedBlock(NamedTuple):
    """A block as it stands in the stream; `transactions` are canonical JSON in block order, of any bytes."""

    header: BlockHeader
    transactions: tuple[bytes, ...]


class ArchiveEnd(NamedTuple):
    """The stream's last record: the newest block, its app hash, and the newest chain record."""

    height: int
    app_hash: str
    chain: ChainRecord


Record = Founding | ArchivedBlock | ArchiveEnd


def encode_founding(founding: Founding) -> bytes:
    """The stream's first record."""
    return _record(_FOUNDING, json.canonical(founding_to_json(founding)))


def encode_block(header: BlockHeader, transactions: Sequence[bytes]) -> bytes:
    """A block's part of the stream; block 0 is one too.

    Raises:
        ArchiveError: A member of the header has a form that no header has.
    """
    try:
        proposer, signature = bytes.fromhex(header.proposer), bytes.fromhex(header.signature)
        fixed = [bytes.fromhex(item) for item in (header.previous_hash, header.root, header.app_hash)]
        if any(len(item) != 32 for item in fixed):
            raise ValueError("a hash has 32 bytes")
        head = _HEADER.pack(header.height, header.time, *fixed, len(proposer), len(signature), len(transactions))
    except (ValueError, struct.error) as error:
        raise ArchiveError(f"the header of block {header.height} is damaged: {error}") from None
    parts = [_record(_BLOCK, head + proposer + signature)]
    parts += [_record(_TRANSACTION, item) for item in transactions]
    return b"".join(parts)


def encode_end(end: ArchiveEnd) -> bytes:
    """The stream's last record."""
    chain = end.chain
    value: json.JsonObject = {
        "app_hash": end.app_hash,
        "chain": {"chain_id": chain.chain_id, "shift": chain.shift, "synced": chain.synced},
        "height": end.height,
    }
    return _record(_END, json.canonical(value))


def _record(kind: int, payload: bytes) -> bytes:
    if len(payload) > _LONGEST[kind]:
        raise ArchiveError(f"a record of {len(payload)} bytes is more than an archive has room for")
    return _RECORD.pack(kind, len(payload)) + payload


class RecordReader:
    """Takes the stream in parts of any size and gives its records; holds one block and one part at most.

    Total over bytes: `feed` and `finish` raise ArchiveError and nothing else.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: BlockHeader | None = None
        self._transactions: list[bytes] = []
        self._missing = 0
        self._block_bytes = 0
        self._begun = self._ended = False

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take the next part; gives the records that are complete now, in order."""
        self._buffer += data
        place = 0
        try:
            while len(self._buffer) - place >= _RECORD.size:
                kind, length = _RECORD.unpack_from(self._buffer, place)
                self._check(kind, length)
                end = place + _RECORD.size + length
                if end > len(self._buffer):
                    break
                payload = bytes(self._buffer[place + _RECORD.size : end])
                place = end
                record = self._read(kind, payload)
                if record is not None:
                    yield record
        finally:
            del self._buffer[:place]
        if self._ended and self._buffer:
            raise ArchiveError("there is more after the end of the archive")

    def finish(self) -> None:
        """Say that there is no more. Raises ArchiveError where the stream does not end here."""
        if not self._ended:
            raise ArchiveError("the archive is cut off")

    def _check(self, kind: int, length: int) -> None:
        expected = (_BLOCK, _END) if self._begun else (_FOUNDING,)
        if self._missing:
            expected = (_TRANSACTION,)
        if self._ended or kind not in expected:
            raise ArchiveError(f"a record of kind {kind} stands where none may stand")
        if length > _LONGEST[kind]:
            raise ArchiveError(f"a record of kind {kind} has {length} bytes")
        if kind == _TRANSACTION and self._block_bytes + length > MAX_BLOCK_BYTES:
            raise ArchiveError(f"a block has more than {MAX_BLOCK_BYTES} bytes")

    def _read(self, kind: int, payload: bytes) -> Record | None:
        if kind == _FOUNDING:
            self._begun = True
            return _decode_founding(payload)
        if kind == _END:
            self._ended = True
            return _decode_end(payload)
        if kind == _BLOCK:
            self._header, self._missing = _decode_header(payload)
            self._transactions, self._block_bytes = [], 0
        else:
            self._transactions.append(payload)
            self._block_bytes += len(payload)
            self._missing -= 1
        if self._missing or self._header is None:
            return None
        return ArchivedBlock(self._header, tuple(self._transactions))


def _decode_header(payload: bytes) -> tuple[BlockHeader, int]:
    """A block's header and the number of its transactions."""
    try:
        height, time, previous, root, app_hash, key, seal, count = _HEADER.unpack_from(payload)
    except struct.error:
        raise ArchiveError("a block's header is cut off") from None
    if len(payload) != _HEADER.size + key + seal:
        raise ArchiveError("a block's header has a wrong length")
    if count > MAX_BLOCK_TRANSACTIONS:
        raise ArchiveError(f"a block says that it has {count} transactions")
    proposer, signature = payload[_HEADER.size : _HEADER.size + key], payload[_HEADER.size + key :]
    header = BlockHeader(height, time, previous.hex(), root.hex(), app_hash.hex(), proposer.hex(), signature.hex())
    return header, count


def _decode_founding(payload: bytes) -> Founding:
    try:
        founding = founding_from_json(_object(payload))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ArchiveError(f"the founding document is damaged: {error}") from None
    if encode_founding(founding) != _record(_FOUNDING, payload):
        raise ArchiveError("the founding document has members that nobody knows")
    return founding


def _decode_end(payload: bytes) -> ArchiveEnd:
    try:
        value = _object(payload)
        height, app_hash, chain = value["height"], value["app_hash"], value["chain"]
        if not isinstance(chain, dict):
            raise TypeError("the chain's record is an object")
        chain_id, shift, synced = chain["chain_id"], chain["shift"], chain["synced"]
    except (LookupError, TypeError, ValueError) as error:
        raise ArchiveError(f"the end of the archive is damaged: {error}") from None
    if not (isinstance(height, int) and isinstance(app_hash, str) and isinstance(chain_id, str)):
        raise ArchiveError("the end of the archive is damaged")
    if type(shift) is not int or type(synced) is not bool or type(height) is not int:
        raise ArchiveError("the end of the archive is damaged")
    return ArchiveEnd(height, app_hash, ChainRecord(chain_id, shift, synced))


def _object(payload: bytes) -> json.JsonObject:
    try:
        value = json.parse(payload, max_depth=16, max_digits=20)
    except SchemaValidationError as error:
        raise ValueError(str(error)) from None
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


class Cutter:
    """Takes the stream in parts of any size and gives its pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next part; gives the pieces that are full now."""
        self._buffer += data
        while len(self._buffer) >= PIECE_BYTES:
            piece = bytes(self._buffer[:PIECE_BYTES])
            del self._buffer[:PIECE_BYTES]
            yield piece

    @property
    def rest(self) -> bytes:
        """What fills no piece yet."""
        return bytes(self._buffer)


def pack(piece: bytes) -> bytes:
    """A piece as it travels and stands in files."""
    return zlib.compress(piece, _LEVEL)


def unpack(packed: bytes) -> bytes:
    """A piece again; never makes more than `PIECE_BYTES` + 1 bytes of what it is given.

    Raises:
        ArchiveError: Not the packed form of one piece.
    """
    if len(packed) > MAX_PACKED_BYTES:
        raise ArchiveError(f"a piece of {len(packed)} bytes is too long")
    unpacker = zlib.decompressobj()
    try:
        piece = unpacker.decompress(packed, PIECE_BYTES + 1)
    except zlib.error as error:
        raise ArchiveError(f"a piece is damaged: {error}") from None
    if len(piece) > PIECE_BYTES:
        raise ArchiveError("a piece is longer than pieces are")
    if not unpacker.eof or unpacker.unused_data:
        raise ArchiveError("a piece is cut off, or something follows it")
    return piece


def piece_hash(piece: bytes) -> bytes:
    """SHA-256 of a piece before it is packed: equal on all machines, whatever their zlib makes of it."""
    return sha256(piece).digest()


class FileWriter:
    """Makes a file of the stream: magic, format, framed pieces, and a last frame with a hash over all of them."""

    def __init__(self) -> None:
        self._cutter = Cutter()
        self._all = sha256()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next part of the stream; gives the next parts of the file."""
        if not self._begun:
            self._begun = True
            yield MAGIC + bytes([FORMAT])
        for piece in self._cutter.feed(data):
            yield self._frame(piece)

    def finish(self) -> bytes:
        """The last part of the file."""
        last = self._frame(self._cutter.rest) if self._cutter.rest else b""
        return last + _FRAME.pack(0, self._all.digest())

    def _frame(self, piece: bytes) -> bytes:
        digest, packed = piece_hash(piece), pack(piece)
        self._all.update(digest)
        return _FRAME.pack(len(packed), digest) + packed


class FileReader:
    """Takes a file in parts of any size and gives the stream's pieces, each held against its hash.

    Total over bytes: raises ArchiveError and nothing else; holds one packed piece and one part at most.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._all = sha256()
        self._begun = self._ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next part of the file; gives the pieces that are complete now."""
        self._buffer += data
        if not self._begun and not self._begin():
            return
        while not self._ended and len(self._buffer) >= _FRAME.size:
            length, digest = _FRAME.unpack_from(self._buffer)
            if length > MAX_PACKED_BYTES:
                raise ArchiveError(f"a piece of {length} bytes is too long")
            end = _FRAME.size + length
            if end > len(self._buffer):
                return
            packed = bytes(self._buffer[_FRAME.size : end])
            del self._buffer[:end]
            if length == 0:
                self._end(digest)
            else:
                yield self._unframed(packed, digest)
        if self._ended and self._buffer:
            raise ArchiveError("there is more after the end of the file")

    def finish(self) -> None:
        """Say that there is no more. Raises ArchiveError where the file does not end here."""
        if not self._begun:
            raise ArchiveError("this is no archive of a ledger")
        if not self._ended:
            raise ArchiveError("the file is cut off")

    def _begin(self) -> bool:
        size = len(MAGIC) + 1
        if not MAGIC.startswith(bytes(self._buffer[: len(MAGIC)])):
            raise ArchiveError("this is no archive of a ledger")
        if len(self._buffer) < size:
            return False
        version = self._buffer[len(MAGIC)]
        if version != FORMAT:
            raise ArchiveError(f"the archive has format {version}; this version of the node reads {FORMAT}")
        del self._buffer[:size]
        self._begun = True
        return True

    def _unframed(self, packed: bytes, digest: bytes) -> bytes:
        piece = unpack(packed)
        if piece_hash(piece) != digest:
            raise ArchiveError("a piece is damaged: it has another hash")
        self._all.update(digest)
        return piece

    def _end(self, digest: bytes) -> None:
        if digest != self._all.digest():
            raise ArchiveError("pieces of the file are missing or in another order")
        self._ended = True
