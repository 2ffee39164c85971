# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rows of the Tarantool store as values: what is written is read back, and what cannot be kept is refused."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetmint.model.block import BlockHeader, TransactionEvent
from planetmint.model.transaction import Asset, Operation
from planetmint.ports.errors import StoreError
from planetmint.storage.tarantool import record
from planetmint.storage.tarantool.setup import setup_script
from planetmint.testing.store_conformance import (
    ANYBODY,
    SOMEBODY,
    block_of,
    digest,
    event_of,
    header_of,
    ref,
    transaction,
    transfer,
)

hexes = st.binary(max_size=64).map(bytes.hex)
texts = hexes | hexes.map(str.upper) | st.text(max_size=70)
headers = st.builds(
    BlockHeader,
    height=st.just(7),
    time=st.integers(0, 2**63 - 1),
    previous_hash=texts,
    root=texts,
    app_hash=texts,
    proposer=texts,
    signature=texts,
)


@given(headers)
def test_headers_come_back(header: BlockHeader) -> None:
    assert record.decode_header(7, record.encode_header(header)) == header


@pytest.mark.parametrize("data", [b"", b"\x90", b"\x96\xa1x\xa0\xa0\xa0\xa0\xa0", b"\xc1", b"\xff" * 9])
def test_damaged_headers_are_store_errors(data: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        record.decode_header(7, data)


def test_damaged_texts_are_store_errors() -> None:
    for decode in (record.decode_founding, record.decode_chain, record.decode_election, record.decode_validators):
        for data in (b"", b"{", b"[]x", b"\xff", b'{"a":1}'):
            with pytest.raises(StoreError, match="damaged"):
                decode(data)


@given(
    st.text(max_size=130)
    | st.text("ab=_-9", min_size=43, max_size=43).map(
        lambda x: f"ni:///sha-256;{x}?fpt=ed25519-sha-256&cost=131072"
    )
)
def test_uris_come_back(uri: str) -> None:
    assert record.decode_uri(record.encode_uri(uri)) == uri


def test_usual_uri_is_stored_as_its_hash_alone() -> None:
    uri = "ni:///sha-256;" + "x" * 43 + "?fpt=ed25519-sha-256&cost=131072"
    assert record.encode_uri(uri) == "=" + "x" * 43


@given(st.sets(st.tuples(st.sampled_from([b"w", b"m", b"c", b"d"]), st.text(max_size=40)), max_size=9))
def test_different_texts_have_different_terms(pairs: set[tuple[bytes, str]]) -> None:
    terms = {record.term(kind, text) for kind, text in pairs}
    assert len(terms) == len(pairs) and all(len(term) <= 21 for term in terms)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
def test_strings_of_every_length_are_messagepack(size: int) -> None:
    packed = record._string(b"x" * size)
    assert msgspec.msgpack.decode(packed) == "x" * size
    assert packed == msgspec.msgpack.encode("x" * size)


def test_events_come_back_whatever_they_say_of_keys_and_assets() -> None:
    made = transaction("c", Operation.COMPOSE, assets=[Asset(digest("a")), Asset(None, "x"), Asset(digest("b"))])
    usual = event_of(made)
    odd = usual._replace(public_keys=("other", ANYBODY), signers=(SOMEBODY, ANYBODY))
    none = usual._replace(public_keys=(), signers=(), asset_id=digest("b"))
    for event in (usual, odd, none):
        assert _through_a_row(made, event) == event


def _through_a_row(made: record.Transaction, event: TransactionEvent) -> TransactionEvent:
    others = record.other_assets(made)
    row = record._event_row(made.id, event, others, [ANYBODY])
    told = record.EventRow(*msgspec.msgpack.decode(msgspec.msgpack.encode(row)))
    return record.decode_event(made.id, list(Operation).index(made.operation), others, told, [ANYBODY])


def test_block_with_what_cannot_be_kept_is_refused() -> None:
    first, second = transaction("a"), transfer("t", ref("a"), asset="a")
    block = block_of(1, [first, second])
    far = block.created[0]._replace(ref=ref("a", 1 << record.INDEX_BITS))
    wrong = {
        "another height": replace(block, header=header_of(2)),
        "an event too few": replace(block, events=block.events._replace(events=block.events.events[:1])),
        "an id that is none": replace(block, transactions=(replace(first, id="A" * 64), second)),
        "an output too far": replace(block, created=(far, *block.created)),
        "an output of nobody": replace(block, created=(block.created[0]._replace(ref=ref("x")),)),
        "an asset of another": replace(block, created=(block.created[0]._replace(asset_id=digest("x")),)),
        "a spender of nobody": replace(block, spent=(block.spent[0]._replace(spender=digest("x")),)),
    }
    for name, one in wrong.items():
        with pytest.raises(StoreError):
            record.Batch(1, 0, 0).add(one, [set(), set()])
            raise AssertionError(f"{name} is taken")
    record.Batch(1, 0, 0).add(block, [set(), set()])


def test_user_of_a_script_cannot_be_code() -> None:
    line = setup_script("x'); os.exit() --\n\\").splitlines()[-1]
    assert line.endswith(r"(procedures, 'x\039); os.exit() --\010\092')")
