# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls and answers against bytes that were put together by hand from the protocol's field numbers.

A key is (field number * 8 + wire type): type 0 is a varint, type 2 stands before a length. So `42` is field 8 with
a length (check_tx in a request), `4a` field 9 with a length (check_tx in a response).
"""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from planetmint.consensus.cometbft import abci_pb2 as pb
from planetmint.consensus.cometbft import wire
from planetmint.consensus.cometbft.framing import ProtocolError
from planetmint.model.errors import DoubleSpend, SchemaValidationError
from planetmint.model.validator import Validator
from planetmint.ports.consensus import FinalizedBlock
from planetmint.ports.snapshots import Snapshot

KEY = bytes(range(32))
ADDRESS = bytes(range(20))


def part(key: str, content: bytes) -> bytes:
    """A field with a length below 128."""
    assert len(content) < 128
    return bytes.fromhex(key) + bytes([len(content)]) + content


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (part("0a", part("0a", b"hi")), wire.Echo("hi")),
        (part("12", b""), wire.Flush()),
        (part("1a", part("0a", b"0.38.26") + bytes.fromhex("100b") + part("22", b"2.0.0")), wire.Info("0.38.26")),
        (
            part("32", part("0a", b"da") + part("12", b"/height") + bytes.fromhex("1805")),
            wire.Query("/height", b"da"),
        ),
        (part("42", part("0a", b"tx")), wire.CheckTx(b"tx", recheck=False)),
        (part("42", part("0a", b"tx") + bytes.fromhex("1001")), wire.CheckTx(b"tx", recheck=True)),
        (part("5a", b""), wire.Commit()),
        (part("62", b""), wire.ListSnapshots()),
        (
            part(
                "6a",
                part("0a", bytes.fromhex("080710011803") + part("22", b"h") + part("2a", b"m")) + part("12", KEY),
            ),
            wire.OfferSnapshot(Snapshot(7, 1, 3, b"h", b"m"), KEY),
        ),
        (part("72", bytes.fromhex("080710011802")), wire.LoadSnapshotChunk(7, 1, 2)),
        (
            part("7a", bytes.fromhex("0802") + part("12", b"c") + part("1a", b"peer")),
            wire.ApplySnapshotChunk(2, b"c", "peer"),
        ),
        (
            part("8201", bytes.fromhex("08e807") + part("12", b"a") + part("12", b"b") + bytes.fromhex("2809")),
            wire.PrepareProposal(9, 1000, (b"a", b"b")),
        ),
        (
            part("8a01", part("0a", b"a") + part("0a", b"") + bytes.fromhex("2809")),
            wire.ProcessProposal(9, (b"a", b"")),
        ),
        (part("9201", part("0a", KEY)), wire.ExtendVote()),
        (part("9a01", part("22", b"e")), wire.VerifyVoteExtension(b"e")),
        (
            part(
                "a201",
                part("0a", b"a")
                + part("12", bytes.fromhex("0801"))  # decided_last_commit, passed over
                + bytes.fromhex("2809")
                + part("32", bytes.fromhex("080310e807"))
                + part("42", ADDRESS),
            ),
            wire.FinalizeBlock(9, 3_000_001_000, ADDRESS, (b"a",)),
        ),
    ],
    ids=lambda item: "" if isinstance(item, bytes) else type(item).__name__,
)
def test_a_request_is_read_by_the_numbers_of_the_protocol(message: bytes, call: wire.Call) -> None:
    assert wire.read_call(message) == call


def test_a_genesis_is_read_with_its_validators_time_and_state() -> None:
    update = part("0a", part("0a", KEY)) + bytes.fromhex("100a")
    other = part("0a", part("12", b"\x02" * 33)) + bytes.fromhex("1001")
    body = (
        part("0a", bytes.fromhex("0802"))
        + part("12", b"chain")
        + part("22", update)
        + part("22", other)
        + part("2a", b"{}")
        + bytes.fromhex("3001")
    )
    message = bytes.fromhex("2a") + bytes([0x80 | len(body) & 0x7F, len(body) >> 7]) + body
    expected = (Validator(KEY, 10), Validator(b"", 1))
    assert wire.read_call(message) == wire.InitChain(2_000_000_000, "chain", expected, b"{}", 1)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "does not know"),
        (part("22", b""), "does not know"),  # set_option of older versions
        (part("4a", b""), "does not know"),  # deliver_tx of older versions
        (b"\x0a\x05hi", "no request"),
        (part("0a", part("0a", b"\xff\xfe")), "no request"),
        (part("a201", part("42", ADDRESS) + part("32", bytes.fromhex("1080a8d6b907"))), "time"),
        (part("a201", part("42", ADDRESS) + part("32", bytes.fromhex("08ffffffffffffffff7f"))), "time"),
        (part("a201", part("42", ADDRESS) + part("32", bytes.fromhex("08ffffffffffffffffff01"))), "time"),
        (part("a201", part("42", KEY)), "32 bytes"),
    ],
)
def test_what_is_no_request_is_a_protocol_error(message: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        wire.read_call(message)


@given(st.binary(max_size=400), st.integers(0, 2))
def test_a_check_is_read_as_protobuf_reads_it(tx: bytes, kind: int) -> None:
    message = pb.Request(check_tx=pb.CheckTx(tx=tx, type=kind)).SerializeToString()
    assert wire.read_call(message) == wire.CheckTx(tx, recheck=kind == 1)


@given(st.data())
def test_changed_bytes_of_a_check_are_read_as_protobuf_reads_them_or_refused(data: st.DataObject) -> None:
    tx = data.draw(st.binary(max_size=20))
    message = bytearray(pb.Request(check_tx=pb.CheckTx(tx=tx, type=1)).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    request = pb.Request()
    try:
        request.ParseFromString(bytes(message))
    except DecodeError:
        with pytest.raises(ProtocolError):
            wire.read_call(bytes(message))
        return
    if request.WhichOneof("value") == "check_tx":
        expected = wire.CheckTx(request.check_tx.tx, recheck=request.check_tx.type == 1)
        assert wire.read_call(bytes(message)) == expected


@pytest.mark.parametrize("length", [0, 1, 123, 124, 125, 126, 127, 128, 16_381, 16_384, 2_097_152])
def test_a_check_of_any_length_is_read(length: int) -> None:
    message = pb.Request(check_tx=pb.CheckTx(tx=b"x" * length)).SerializeToString()
    assert wire.read_call(message) == wire.CheckTx(b"x" * length, recheck=False)


VERDICT = DoubleSpend("spent", rule="x")


@pytest.mark.parametrize(
    ("answer", "octets"),
    [
        (wire.exception("no"), part("0a", part("0a", b"no"))),
        (wire.echo("hi"), part("12", part("0a", b"hi"))),
        (wire.FLUSHED, part("1a", b"")),
        (
            wire.info("d", "1", 5, b"\x01\x02"),
            part("22", part("0a", b"d") + part("12", b"1") + bytes.fromhex("2005") + part("2a", b"\x01\x02")),
        ),
        (wire.init_chain(KEY), part("32", part("1a", KEY))),
        (wire.query(0), part("3a", b"")),
        (
            wire.query(1, log="l", key=b"k", value=b"v", height=7),
            part(
                "3a", bytes.fromhex("0801") + part("1a", b"l") + part("32", b"k") + part("3a", b"v") + b"\x48\x07"
            ),
        ),
        (wire.CHECKED, part("4a", b"")),
        (wire.check_tx(1, "l", "c"), part("4a", bytes.fromhex("0801") + part("1a", b"l") + part("42", b"c"))),
        (wire.COMMITTED, part("62", b"")),
        (
            wire.list_snapshots([Snapshot(7, 1, 3, b"h", b"m")]),
            part("6a", part("0a", bytes.fromhex("080710011803") + part("22", b"h") + part("2a", b"m"))),
        ),
        (wire.offer_snapshot(wire.OfferResult.REJECT), part("72", bytes.fromhex("0803"))),
        (wire.load_snapshot_chunk(b"c"), part("7a", part("0a", b"c"))),
        (
            wire.apply_snapshot_chunk(wire.ChunkResult.RETRY, [2], ["p"]),
            part("8201", bytes.fromhex("0803") + part("12", b"\x02") + part("1a", b"p")),
        ),
        (wire.prepare_proposal([b"a", b""]), part("8a01", part("0a", b"a") + part("0a", b""))),
        (wire.process_proposal(wire.Vote.ACCEPT), part("9201", bytes.fromhex("0801"))),
        (wire.process_proposal(wire.Vote.REJECT), part("9201", bytes.fromhex("0802"))),
        (wire.EXTENDED, part("9a01", b"")),
        (wire.verify_vote_extension(wire.Vote.ACCEPT), part("a201", bytes.fromhex("0801"))),
    ],
)
def test_an_answer_is_written_by_the_numbers_of_the_protocol(answer: bytes, octets: bytes) -> None:
    assert answer == bytes([len(octets)]) + octets


def test_a_decided_block_is_answered_with_codes_updates_and_the_raw_hash() -> None:
    block = FinalizedBlock((None, VERDICT), "ab" * 32, (Validator(KEY, 5), Validator(KEY, 0)))
    body = (
        part("12", b"")
        + part("12", bytes.fromhex("0801") + part("1a", b"DoubleSpend: spent"))
        + part("1a", part("0a", part("0a", KEY)) + bytes.fromhex("1005"))
        + part("1a", part("0a", part("0a", KEY)))
        + part("2a", b"\xab" * 32)
    )
    size = bytes([0x80 | len(body) & 0x7F, len(body) >> 7])
    message = bytes.fromhex("aa01") + size + body
    assert wire.finalize_block(block) == bytes([0x80 | len(message) & 0x7F, len(message) >> 7]) + message


def test_a_log_is_cut_and_can_always_be_written() -> None:
    verdict = SchemaValidationError("\ud800" + "x" * 5_000, rule="x")
    text = wire.explained(verdict)
    assert len(text) <= wire.MAX_LOG
    assert text.startswith("SchemaValidationError: ?x")
    wire.check_tx(1, "\udfff")


@pytest.mark.parametrize(
    ("lengths", "taken_up"),
    [([], 0), ([0], 2), ([1, 127], 1 + 1 + 1 + 1), ([128], 1 + 2), ([16_383], 1 + 2), ([16_384], 1 + 3)],
)
def test_the_room_of_a_proposal_is_less_by_each_transactions_tag_and_length(
    lengths: list[int], taken_up: int
) -> None:
    txs = [b"x" * length for length in lengths]
    assert wire.proposal_room(1_000, txs) == 1_000 - taken_up
    assert wire.proposal_room(-1, txs) == 0
    answer = wire.prepare_proposal(txs)
    frame_and_field = len(answer) - sum(lengths) - taken_up
    assert frame_and_field == len(wire.prepare_proposal([])) + _longer(sum(lengths) + taken_up)


def _longer(content: int) -> int:
    """Bytes by which the lengths around an answer's content are longer than around none."""
    inner = max(1, -(-content.bit_length() // 7))
    outer = max(1, -(-(content + 2 + inner).bit_length() // 7))
    return inner - 1 + outer - 1
