# SPDX-License-Identifier: AGPL-3.0-or-later
"""The archive's form: what goes in comes out, and any other bytes are refused in bounded memory."""

import random
import struct
import tracemalloc
import zlib
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetmint.chain import found_chain, founding_header
from planetmint.chain.archive import (
    MAGIC,
    MAX_PACKED_BYTES,
    PIECE_BYTES,
    ArchivedBlock,
    ArchiveEnd,
    ArchiveError,
    Cutter,
    FileReader,
    FileWriter,
    Record,
    RecordReader,
    encode_block,
    encode_end,
    encode_founding,
    pack,
    unpack,
)
from planetmint.model.block import BlockHeader
from planetmint.model.election import ChainRecord
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator

FOUNDING = found_chain("archived", ChainParameters(), (Validator(b"\x01" * 32, 7),), 1_700_000_000_000_000_000)
FIRST = founding_header(FOUNDING, bytes(32))
SECOND = BlockHeader(1, 2, "11" * 32, "22" * 32, "33" * 32, "44" * 20, "")
THIRD = BlockHeader(2, 3, "55" * 32, "66" * 32, "77" * 32, "88" * 32, "99" * 64)
END = ArchiveEnd(2, "77" * 32, ChainRecord("archived", 1, False))
RECORDS: list[Record] = [
    FOUNDING,
    ArchivedBlock(FIRST, ()),
    ArchivedBlock(SECOND, (b"{}", b"", bytes(range(256)))),
    ArchivedBlock(THIRD, ()),
    END,
]
STREAM = b"".join(
    [
        encode_founding(FOUNDING),
        encode_block(FIRST, ()),
        encode_block(SECOND, (b"{}", b"", bytes(range(256)))),
        encode_block(THIRD, ()),
        encode_end(END),
    ]
)


def read(parts: Iterable[bytes]) -> list[Record]:
    """The records of a stream that ends."""
    reader = RecordReader()
    records = [record for part in parts for record in reader.feed(part)]
    reader.finish()
    return records


def filed(stream: bytes) -> bytes:
    writer = FileWriter()
    return b"".join([*writer.feed(stream), writer.finish()])


def unfiled(parts: Iterable[bytes]) -> bytes:
    reader = FileReader()
    stream = b"".join(piece for part in parts for piece in reader.feed(part))
    reader.finish()
    return stream


def in_parts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 100, 1_000_000])
def test_the_stream_gives_its_records_whatever_parts_it_comes_in(size: int) -> None:
    assert read(in_parts(STREAM, size)) == RECORDS


@pytest.mark.parametrize("size", [1, 7, 100, 1_000_000])
def test_a_file_gives_its_stream_whatever_parts_it_comes_in(size: int) -> None:
    assert unfiled(in_parts(filed(STREAM), size)) == STREAM


def test_pieces_have_one_size_and_do_not_depend_on_how_the_stream_is_fed() -> None:
    stream = random.Random(1).randbytes(2 * PIECE_BYTES + 5)
    whole, bits = Cutter(), Cutter()
    once = list(whole.feed(stream))
    pieces = [piece for part in in_parts(stream, 1_000_003) for piece in bits.feed(part)]
    assert [len(piece) for piece in once] == [PIECE_BYTES, PIECE_BYTES]
    assert pieces == once
    assert bits.rest == whole.rest == stream[-5:]


def test_the_form_of_the_file_is_pinned() -> None:
    file = filed(STREAM)
    assert file.startswith(b"planetmint ledger\n\x00\x01")
    length, digest = struct.unpack_from(">I32s", file, 20)
    assert zlib.decompress(file[56 : 56 + length]) == STREAM
    assert digest == sha256(STREAM).digest()
    assert file[56 + length :] == bytes(4) + sha256(digest).digest()


def test_the_form_of_the_stream_is_pinned() -> None:
    at = len(encode_founding(FOUNDING)) + len(encode_block(FIRST, ()))
    fixed = bytes(7) + b"\x01" + bytes(7) + b"\x02" + b"\x11" * 32 + b"\x22" * 32 + b"\x33" * 32
    block = fixed + bytes([20, 0]) + bytes([0, 0, 0, 3]) + b"\x44" * 20
    expected = b"\x02" + len(block).to_bytes(4, "big") + block
    expected += b"\x03\x00\x00\x00\x02{}" + b"\x03\x00\x00\x00\x00" + b"\x03\x00\x00\x01\x00" + bytes(range(256))
    assert STREAM[at : at + len(expected)] == expected
    assert encode_end(END) == (
        b"\x04\x00\x00\x00\x93"
        b'{"app_hash":"' + b"77" * 32 + b'","chain":{"chain_id":"archived","shift":1,"synced":false},"height":2}'
    )


def test_a_file_with_any_one_bit_changed_is_refused_or_the_bit_means_nothing() -> None:
    file = filed(STREAM)
    harmless = 0
    for place in range(8 * len(file)):
        changed = bytearray(file)
        changed[place >> 3] ^= 1 << (place & 7)
        try:
            assert unfiled([bytes(changed)]) == STREAM
            harmless += 1
        except ArchiveError:
            pass
    # Compressed text has a few bits that nobody reads, e.g. those after its end in the last byte.
    assert harmless < 100


def test_a_file_that_is_cut_off_anywhere_or_goes_on_is_refused() -> None:
    file = filed(STREAM)
    for end in range(len(file)):
        with pytest.raises(ArchiveError):
            unfiled([file[:end]])
    with pytest.raises(ArchiveError, match="more after the end"):
        unfiled([file, b"\0"])


def test_a_stream_that_is_cut_off_anywhere_or_goes_on_is_refused() -> None:
    for end in range(len(STREAM)):
        with pytest.raises(ArchiveError):
            read([STREAM[:end]])
    with pytest.raises(ArchiveError):
        read([STREAM, b"\0"])


def test_pieces_that_are_missing_or_change_places_are_noticed() -> None:
    writer = FileWriter()
    stream = random.Random(2).randbytes(2 * PIECE_BYTES)
    begin, one, two = writer.feed(stream)
    end = writer.finish()
    assert unfiled([begin, one, two, end]) == stream
    for parts in ([begin, two, one, end], [begin, one, end], [begin, one, one, two, end]):
        with pytest.raises(ArchiveError, match="missing or in another order"):
            unfiled(parts)


@given(st.binary(max_size=300), st.integers(0, len(STREAM)))
def test_any_bytes_are_read_or_refused(data: bytes, keep: int) -> None:
    for stream in (data, STREAM[:keep] + data):
        with suppress(ArchiveError):
            read([stream])
        with suppress(ArchiveError):
            unfiled([MAGIC + b"\x01" + data])
        with suppress(ArchiveError):
            unpack(data)


@given(st.data())
def test_a_changed_stream_is_read_or_refused(data: st.DataObject) -> None:
    changed = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(STREAM) - 1))] = data.draw(st.integers(0, 255))
    try:
        records = read([bytes(changed)])
    except ArchiveError:
        return
    assert all(isinstance(record, Record) for record in records)


def test_a_piece_that_unpacks_to_gigabytes_is_refused_before_it_takes_memory() -> None:
    squeezer = zlib.compressobj(9)
    bomb = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(1_024)) + squeezer.flush()
    assert len(bomb) < MAX_PACKED_BYTES
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="longer than pieces are"):
        unpack(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * PIECE_BYTES


def test_a_piece_cut_off_or_followed_by_something_is_refused() -> None:
    packed = pack(b"piece" * 1_000)
    for wrong in (packed[:-1], packed + b"\0", b"", bytes(MAX_PACKED_BYTES + 1)):
        with pytest.raises(ArchiveError):
            unpack(wrong)


def test_incompressible_pieces_fit_the_engines_messages() -> None:
    packed = pack(random.Random(3).randbytes(PIECE_BYTES))
    assert unpack(packed) == random.Random(3).randbytes(PIECE_BYTES)
    assert len(packed) <= MAX_PACKED_BYTES < 10_000_000


def test_a_block_of_a_billion_empty_transactions_is_refused_at_its_header() -> None:
    header = bytearray(encode_block(SECOND, ()))
    header[5 + 114 : 5 + 118] = b"\xff\xff\xff\xff"
    with pytest.raises(ArchiveError, match="4294967295 transactions"):
        list(RecordReader().feed(encode_founding(FOUNDING) + bytes(header)))


def test_records_longer_than_any_are_refused_by_their_first_bytes() -> None:
    for kind, bound in ((1, 64 << 20), (2, 4_096), (3, 1 << 24), (4, 4_096)):
        stream = b"" if kind == 1 else encode_founding(FOUNDING)
        if kind == 3:
            stream += encode_block(SECOND, (b"x",))[: -len(b"\x03\x00\x00\x00\x01x")]
        with pytest.raises(ArchiveError, match=f"has {bound + 1} bytes"):
            list(RecordReader().feed(stream + struct.pack(">BI", kind, bound + 1)))


def test_another_version_of_the_form_is_named() -> None:
    with pytest.raises(ArchiveError, match="format 2; this version of the node reads 1"):
        unfiled([MAGIC + b"\x02"])


def test_a_damaged_header_is_not_archived() -> None:
    for header in (BlockHeader(1, -1, "", "", "", ""), BlockHeader(1, 1, "zz", "", "", "")):
        with pytest.raises(ArchiveError, match="header of block 1 is damaged"):
            encode_block(header, ())
