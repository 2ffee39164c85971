# SPDX-License-Identifier: AGPL-3.0-or-later
"""Any bytes in any pieces give the same calls, each of which can be read or is refused with ProtocolError.

What is read is the same call when it is written anew: nothing of a call depends on how its bytes were spelled.
"""

import random
import sys
from itertools import pairwise

from fuzz.engine import Fuzzer, changed, main
from planetmint.consensus.cometbft import abci_pb2 as pb
from planetmint.consensus.cometbft.framing import FrameReader, ProtocolError, frame
from planetmint.consensus.cometbft.wire import Call, read_call

MAX_FRAME = 2_000
ADDRESS = bytes(range(20))

REQUESTS = [
    pb.Request(echo=pb.Echo(message="hé")),
    pb.Request(flush=pb.Nothing()),
    pb.Request(info=pb.Info(version="0.38.26")),
    pb.Request(
        init_chain=pb.InitChain(
            time=pb.Timestamp(seconds=1_700_000_000, nanos=5),
            chain_id="chain",
            validators=[pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=bytes(32)), power=10)],
            app_state_bytes=b'{"planetmint":{}}',
            initial_height=1,
        )
    ),
    pb.Request(query=pb.Query(path="/height", data=b"x")),
    pb.Request(check_tx=pb.CheckTx(tx=b'{"id":null}', type=1)),
    pb.Request(commit=pb.Nothing()),
    pb.Request(list_snapshots=pb.Nothing()),
    pb.Request(
        offer_snapshot=pb.OfferSnapshot(
            snapshot=pb.Snapshot(height=9, format=1, chunks=3, hash=bytes(32), metadata=bytes(96)),
            app_hash=bytes(32),
        )
    ),
    pb.Request(load_snapshot_chunk=pb.LoadSnapshotChunk(height=9, format=1, chunk=2)),
    pb.Request(apply_snapshot_chunk=pb.ApplySnapshotChunk(index=1, chunk=b"chunk", sender="peer")),
    pb.Request(prepare_proposal=pb.PrepareProposal(max_tx_bytes=1_000, txs=[b"a", b"b"], height=3)),
    pb.Request(process_proposal=pb.ProcessProposal(txs=[b"a", b""], height=3)),
    pb.Request(extend_vote=pb.Nothing()),
    pb.Request(verify_vote_extension=pb.VerifyVoteExtension(vote_extension=b"x")),
    pb.Request(
        finalize_block=pb.FinalizeBlock(
            txs=[b"a"], height=3, time=pb.Timestamp(seconds=1_700_000_000), proposer_address=ADDRESS
        )
    ),
]
CORPUS = [frame(request.SerializeToString()) for request in REQUESTS]
CORPUS += [first + second for first, second in pairwise(CORPUS)]
WORDS = [
    *(bytes([octet]) for octet in b"\x00\x01\x02\x08\x0a\x12\x1a\x22\x2a\x32\x42\x4a\x7f\x80\xff"),
    b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x80", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xa2\x01",
    b"\x8a\x01", b"\x0b\x0c", b"\xed\xa0\x80",
]  # fmt: skip


def try_stream(data: bytes) -> bool:
    messages, error = _read([data])
    third = len(data) // 3
    assert _read([data[:third], data[third : third + 1], data[third + 1 :]]) == (messages, error)
    calls = [call for call in map(_call, messages) if call is not None]
    return bool(calls) and len(calls) == len(messages) and error is None


def _read(pieces: list[bytes]) -> tuple[list[bytes], str | None]:
    reader = FrameReader(MAX_FRAME)
    messages = [message for piece in pieces for message in reader.feed(piece)]
    return messages, None if reader.error is None else str(reader.error)


def _call(message: bytes) -> Call | None:
    try:
        call = read_call(message)
    except ProtocolError as error:
        assert str(error)
        return None
    request = pb.Request()
    request.ParseFromString(message)
    assert read_call(request.SerializeToString()) == call
    return call


def make(rng: random.Random) -> bytes:
    data = changed(rng, CORPUS, WORDS)
    if rng.random() < 0.5:
        # Most changes break the length first; this one fits, so that the message behind it is reached.
        data = frame(changed(rng, [request.SerializeToString() for request in REQUESTS], WORDS)) + data[:40]
    return data


FUZZER = Fuzzer("abci_frames", try_stream, make)

if __name__ == "__main__":
    sys.exit(main(FUZZER))
