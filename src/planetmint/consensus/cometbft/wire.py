# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls and answers as values, and as protobuf messages; nobody else here knows about protobuf.

Reading is total over bytes: what is no request is a ProtocolError. Heights are the engine's, times are nanoseconds
since 1970-01-01T00:00:00Z, and public keys are Ed25519.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from google.protobuf.message import DecodeError

from planetmint.consensus.cometbft import abci_pb2 as pb
from planetmint.consensus.cometbft.framing import ProtocolError, frame
from planetmint.consensus.cometbft.order import Kind
from planetmint.model.errors import InvalidTransaction
from planetmint.model.validator import Validator
from planetmint.ports.consensus import FinalizedBlock
from planetmint.ports.snapshots import Snapshot

OK = 0
INVALID = 1
"""Code of a transaction that breaks a rule, in CheckTx and in blocks."""

UNKNOWN = 2
"""Code of CheckTx where the node could not find out."""

MAX_LOG = 1_000
"""Characters of a text for people."""

ADDRESS_BYTES = 20
"""Length of the address that the engine derives from a validator's key."""

_NANOS = 1_000_000_000
_LAST_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Echo:
    """Answered with the same text."""

    kind: ClassVar[Kind] = Kind.ECHO
    message: str


@dataclass(frozen=True, slots=True)
class Flush:
    """Answered when every call before it is."""

    kind: ClassVar[Kind] = Kind.FLUSH


@dataclass(frozen=True, slots=True)
class Info:
    """Where does the application stand? `version` is the engine's own."""

    kind: ClassVar[Kind] = Kind.INFO
    version: str


@dataclass(frozen=True, slots=True)
class InitChain:
    """The engine begins a chain by its genesis.

    Attributes:
        time: The genesis' time.
        chain_id: Name of the chain.
        validators: In the engine's order; a key that is not Ed25519 is empty.
        app_state: JSON text; empty where the genesis has none.
        initial_height: 0 stands for 1.
    """

    kind: ClassVar[Kind] = Kind.INIT_CHAIN
    time: int
    chain_id: str
    validators: tuple[Validator, ...]
    app_state: bytes
    initial_height: int


@dataclass(frozen=True, slots=True)
class Query:
    """A question of somebody who talks to the engine's RPC."""

    kind: ClassVar[Kind] = Kind.QUERY
    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CheckTx:
    """May the transaction enter (or, `recheck`, stay in) the mempool?"""

    kind: ClassVar[Kind] = Kind.CHECK_TX
    tx: bytes
    recheck: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """Store the block that was decided last."""

    kind: ClassVar[Kind] = Kind.COMMIT


@dataclass(frozen=True, slots=True)
class ListSnapshots:
    """Which snapshots can be served?"""

    kind: ClassVar[Kind] = Kind.LIST_SNAPSHOTS


@dataclass(frozen=True, slots=True)
class OfferSnapshot:
    """A peer has this snapshot; the engine trusts `app_hash` for its height."""

    kind: ClassVar[Kind] = Kind.OFFER_SNAPSHOT
    snapshot: Snapshot
    app_hash: bytes


@dataclass(frozen=True, slots=True)
class LoadSnapshotChunk:
    """A peer wants a chunk."""

    kind: ClassVar[Kind] = Kind.LOAD_SNAPSHOT_CHUNK
    height: int
    format: int
    chunk: int


@dataclass(frozen=True, slots=True)
class ApplySnapshotChunk:
    """A chunk of the snapshot that was taken; `sender` is the peer's name."""

    kind: ClassVar[Kind] = Kind.APPLY_SNAPSHOT_CHUNK
    index: int
    chunk: bytes
    sender: str


@dataclass(frozen=True, slots=True)
class PrepareProposal:
    """What should the next block hold? `max_bytes` counts as `proposal_room` says."""

    kind: ClassVar[Kind] = Kind.PREPARE_PROPOSAL
    height: int
    max_bytes: int
    txs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProcessProposal:
    """May this block be voted for?"""

    kind: ClassVar[Kind] = Kind.PROCESS_PROPOSAL
    height: int
    txs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ExtendVote:
    """Not used by this application."""

    kind: ClassVar[Kind] = Kind.EXTEND_VOTE


@dataclass(frozen=True, slots=True)
class VerifyVoteExtension:
    """Not used by this application: only an empty extension is right."""

    kind: ClassVar[Kind] = Kind.VERIFY_VOTE_EXTENSION
    extension: bytes


@dataclass(frozen=True, slots=True)
class FinalizeBlock:
    """A block is decided; `proposer` is the address of its maker (20 bytes)."""

    kind: ClassVar[Kind] = Kind.FINALIZE_BLOCK
    height: int
    time: int
    proposer: bytes
    txs: tuple[bytes, ...]


Call = (
    Echo
    | Flush
    | Info
    | InitChain
    | Query
    | CheckTx
    | Commit
    | ListSnapshots
    | OfferSnapshot
    | LoadSnapshotChunk
    | ApplySnapshotChunk
    | PrepareProposal
    | ProcessProposal
    | ExtendVote
    | VerifyVoteExtension
    | FinalizeBlock
)


class OfferResult(IntEnum):
    """Answers to an offered snapshot."""

    ACCEPT = 1
    ABORT = 2
    REJECT = 3


class ChunkResult(IntEnum):
    """Answers to a chunk."""

    ACCEPT = 1
    ABORT = 2
    RETRY = 3
    REJECT_SNAPSHOT = 5


class Vote(IntEnum):
    """Answers to a proposal and to a vote extension."""

    ACCEPT = 1
    REJECT = 2


def read_call(message: bytes) -> Call:
    """Read a request.

    Raises:
        ProtocolError: It is none.
    """
    request = pb.Request()
    try:
        request.ParseFromString(message)
    except DecodeError as error:
        raise ProtocolError(f"a message that is no request: {error}") from None
    name = request.WhichOneof("value")
    if name is None:
        raise ProtocolError("a request that ABCI 2.0 does not know")
    return _READERS[name](getattr(request, name))


def _read_init_chain(message: pb.InitChain) -> InitChain:
    validators = tuple(Validator(item.pub_key.ed25519, item.power) for item in message.validators)
    return InitChain(
        _time(message.time), message.chain_id, validators, message.app_state_bytes, message.initial_height
    )


def _read_offer(message: pb.OfferSnapshot) -> OfferSnapshot:
    item = message.snapshot
    snapshot = Snapshot(item.height, item.format, item.chunks, item.hash, item.metadata)
    return OfferSnapshot(snapshot, message.app_hash)


def _time(message: pb.Timestamp) -> int:
    time = message.seconds * _NANOS + message.nanos
    if not 0 <= message.nanos < _NANOS or not 0 <= time <= _LAST_TIME:
        raise ProtocolError(f"a time of {message.seconds} seconds and {message.nanos} nanoseconds")
    return time


def _read_finalize_block(message: pb.FinalizeBlock) -> FinalizeBlock:
    proposer = message.proposer_address
    if len(proposer) != ADDRESS_BYTES:
        raise ProtocolError(f"a proposer's address of {len(proposer)} bytes")
    return FinalizeBlock(message.height, _time(message.time), proposer, tuple(message.txs))


_READERS: dict[str, Callable[[Any], Call]] = {
    "echo": lambda item: Echo(item.message),
    "flush": lambda _: Flush(),
    "info": lambda item: Info(item.version),
    "init_chain": _read_init_chain,
    "query": lambda item: Query(item.path, item.data),
    "check_tx": lambda item: CheckTx(item.tx, item.type == 1),
    "commit": lambda _: Commit(),
    "list_snapshots": lambda _: ListSnapshots(),
    "offer_snapshot": _read_offer,
    "load_snapshot_chunk": lambda item: LoadSnapshotChunk(item.height, item.format, item.chunk),
    "apply_snapshot_chunk": lambda item: ApplySnapshotChunk(item.index, item.chunk, item.sender),
    "prepare_proposal": lambda item: PrepareProposal(item.height, item.max_tx_bytes, tuple(item.txs)),
    "process_proposal": lambda item: ProcessProposal(item.height, tuple(item.txs)),
    "extend_vote": lambda _: ExtendVote(),
    "verify_vote_extension": lambda item: VerifyVoteExtension(item.vote_extension),
    "finalize_block": _read_finalize_block,
}


def _framed(response: pb.Response) -> bytes:
    return frame(response.SerializeToString())


def exception(reason: str) -> bytes:
    """The application cannot go on with this engine, which ends itself when it hears so."""
    return _framed(pb.Response(exception=pb.Exception(error=printable(reason))))


def echo(message: str) -> bytes:
    """Answer to Echo."""
    return _framed(pb.Response(echo=pb.Echo(message=message)))


FLUSHED = _framed(pb.Response(flush=pb.Nothing()))
"""Answer to Flush."""


def info(data: str, version: str, height: int, app_hash: bytes) -> bytes:
    """Answer to Info."""
    answer = pb.InfoAnswer(data=data, version=version, last_block_height=height, last_block_app_hash=app_hash)
    return _framed(pb.Response(info=answer))


def init_chain(app_hash: bytes) -> bytes:
    """Answer to InitChain: the validators are those of the genesis."""
    return _framed(pb.Response(init_chain=pb.InitChainAnswer(app_hash=app_hash)))


def query(code: int, *, log: str = "", key: bytes = b"", value: bytes = b"", height: int = 0) -> bytes:
    """Answer to Query."""
    answer = pb.QueryAnswer(code=code, log=printable(log), key=key, value=value, height=height)
    return _framed(pb.Response(query=answer))


CHECKED = _framed(pb.Response(check_tx=pb.TxVerdict()))
"""Answer to CheckTx of a transaction that is taken."""


def check_tx(code: int, log: str, codespace: str = "") -> bytes:
    """Answer to CheckTx of any other."""
    verdict = pb.TxVerdict(code=code, log=printable(log), codespace=codespace)
    return _framed(pb.Response(check_tx=verdict))


COMMITTED = _framed(pb.Response(commit=pb.CommitAnswer()))
"""Answer to Commit: the engine may keep every block."""


def list_snapshots(snapshots: Iterable[Snapshot]) -> bytes:
    """Answer to ListSnapshots."""
    items = [
        pb.Snapshot(
            height=item.height, format=item.format, chunks=item.chunks, hash=item.hash, metadata=item.metadata
        )
        for item in snapshots
    ]
    return _framed(pb.Response(list_snapshots=pb.ListSnapshotsAnswer(snapshots=items)))


def offer_snapshot(result: OfferResult) -> bytes:
    """Answer to OfferSnapshot."""
    return _framed(pb.Response(offer_snapshot=pb.OfferSnapshotAnswer(result=result)))


def load_snapshot_chunk(chunk: bytes) -> bytes:
    """Answer to LoadSnapshotChunk."""
    return _framed(pb.Response(load_snapshot_chunk=pb.LoadSnapshotChunkAnswer(chunk=chunk)))


def apply_snapshot_chunk(result: ChunkResult, refetch: Sequence[int] = (), reject: Sequence[str] = ()) -> bytes:
    """Answer to ApplySnapshotChunk; chunks to fetch anew, and senders not to be asked again."""
    answer = pb.ApplySnapshotChunkAnswer(result=result, refetch_chunks=refetch, reject_senders=reject)
    return _framed(pb.Response(apply_snapshot_chunk=answer))


def prepare_proposal(txs: Sequence[bytes]) -> bytes:
    """Answer to PrepareProposal."""
    return _framed(pb.Response(prepare_proposal=pb.PrepareProposalAnswer(txs=txs)))


def process_proposal(vote: Vote) -> bytes:
    """Answer to ProcessProposal."""
    return _framed(pb.Response(process_proposal=pb.ProcessProposalAnswer(status=vote)))


EXTENDED = _framed(pb.Response(extend_vote=pb.Nothing()))
"""Answer to ExtendVote: nothing."""


def verify_vote_extension(vote: Vote) -> bytes:
    """Answer to VerifyVoteExtension."""
    return _framed(pb.Response(verify_vote_extension=pb.VerifyVoteExtensionAnswer(status=vote)))


def finalize_block(block: FinalizedBlock) -> bytes:
    """Answer to FinalizeBlock: of each result only code and log, so that all nodes agree on the results."""
    answer = pb.FinalizeBlockAnswer(
        tx_results=[_TAKEN if item is None else _verdict(item) for item in block.verdicts],
        validator_updates=[
            pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=item.public_key), power=item.power)
            for item in block.validator_updates
        ],
        app_hash=bytes.fromhex(block.app_hash),
    )
    return _framed(pb.Response(finalize_block=answer))


_TAKEN = pb.TxVerdict()


def _verdict(verdict: InvalidTransaction) -> pb.TxVerdict:
    return pb.TxVerdict(code=INVALID, log=explained(verdict))


def explained(verdict: InvalidTransaction) -> str:
    """A verdict as engines' logs show it: its class, then its reason."""
    return printable(f"{verdict.code}: {verdict.reason}")


def printable(text: str) -> str:
    """Text that a message can carry, of a bounded length."""
    return text[:MAX_LOG].encode("utf-8", "replace").decode("utf-8")


def proposal_room(max_bytes: int, txs: Iterable[bytes]) -> int:
    """Bytes of transactions that fit into a proposal of `max_bytes`, which count each one's tag and length too."""
    return max(0, max_bytes - sum(_overhead(len(tx)) for tx in txs))


def _overhead(length: int) -> int:
    return 1 + max(1, -(-length.bit_length() // 7))
