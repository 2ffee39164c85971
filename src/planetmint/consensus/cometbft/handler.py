# SPDX-License-Identifier: AGPL-3.0-or-later
"""What each call of the engine does to the life cycle, and what is answered.

Block calls come one at a time whatever connection they come on. A store that fails while a block is decided or
committed is asked again until it is back, and so are contracts that are not judged yet: the engine would end for
good if it heard of it. Engine heights become the ledger's here by the chain record's shift.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import structlog

from planetmint.chain import UnknownRules, found_chain, founding_header
from planetmint.consensus.cometbft import wire
from planetmint.consensus.cometbft.genesis import Genesis, read_app_state
from planetmint.consensus.cometbft.order import CallOrder, OutOfOrder
from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import JsonObject
from planetmint.model.validator import MAX_TOTAL_POWER
from planetmint.ports.consensus import ChainInfo, FinalizedBlock, Lifecycle
from planetmint.ports.errors import (
    ChainHalted,
    ChainMismatch,
    ContractError,
    ContractsUnavailable,
    EngineError,
    StoreError,
)
from planetmint.ports.snapshots import ChunkVerdict, Snapshot, Snapshots
from planetmint.version import __version__

T = TypeVar("T")

MIGRATING = "chain migration in progress"
"""What CheckTx says while the chain waits for its migration."""

SUPPORTED = "0.38."
"""Versions of the engine with which this adapter is tested begin so."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_KEY_BYTES = 32
_PEER_FILTER = "/p2p/filter/"

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Verdict = InvalidTransaction | EngineError | ContractError | None


def store_trouble(error: Exception) -> str:
    """Why no blocks are made while the store fails, in a sentence."""
    return f"the store takes no blocks at present: {error}"


class Gone(Exception):
    """The engine has left in the middle of a call: nobody waits for the answer."""


class Link:
    """One connection of the engine, as far as its calls must know it.

    Attributes:
        order: Follows its calls.
        lost: Set when nobody waits for answers any more.
        checks: Whether it carries the checks of the mempool.
    """

    def __init__(self) -> None:
        self.order = CallOrder()
        self.lost = asyncio.Event()
        self.checks = False


class Watcher(Protocol):
    """Who hears what the engine's calls tell about the engine."""

    def checked(self, raw: bytes, verdict: Verdict) -> None:
        """A transaction passed the engine's check, or did not."""
        ...

    def vouched(self, raw: bytes) -> bool:
        """Whether this node itself found a transaction valid on the present head."""
        ...


class Handler:
    """Answers calls for every connection.

    Attributes:
        founded: Set once the ledger has a chain.
        halted: The name for which a chain waits whose migration is decided; None while blocks may follow.
        refusal: Why the engine at hand cannot be followed; None once it can.
        held_up: Why a block does not go on, in a sentence: the store fails, or its contracts are not judged yet.
        block: Counts the heads that the ledger had; equal numbers mean an equal head.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        watcher: Watcher,
        snapshots: Snapshots | None = None,
        restored: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """
        Args:
            watcher: Hears of transactions that are checked.
            snapshots: Makes and takes snapshots; without it none are offered or taken.
            restored: Awaited when a snapshot was taken, before the engine hears so: the life cycle is to look at
                the store anew.
        """
        self._lifecycle = lifecycle
        self._watcher = watcher
        self._snapshots = snapshots
        self._restored = restored
        self._lock = asyncio.Lock()
        self._decided: wire.FinalizeBlock | None = None
        self._taking: Snapshot | None = None
        self._accepted: set[int] = set()
        self.founded = asyncio.Event()
        self.halted: str | None = None
        self.refusal: str | None = None
        self.held_up: str | None = None
        self.block = 0

    async def look(self) -> ChainInfo | None:
        """Where the ledger stands; notes whether a chain is founded and whether it is halted.

        Raises:
            StoreError: The store does not say.
        """
        info = await self._lifecycle.info()
        if info is not None:
            self.halted = None if info.chain.synced else info.chain.chain_id
            self.founded.set()
        return info

    async def answer(self, call: wire.Call, link: Link) -> bytes:
        """The answer to a call, framed.

        Raises:
            InvariantViolated: The node must stop.
            Gone: The connection was lost while the store was waited for.
        """
        try:
            link.order.check(call.kind)
            answer = await self._answer(call, link)
        except (ChainHalted, ChainMismatch, OutOfOrder) as error:
            self.refusal = str(error)
            _log.error("engine.refused", call=call.kind.value, reason=str(error))
            return wire.exception(str(error))
        link.order.done(call.kind)
        return answer

    async def _answer(self, call: wire.Call, link: Link) -> bytes:
        match call:
            case wire.CheckTx():
                return await self.check((call,))
            case wire.Flush():
                return wire.FLUSHED
            case wire.Echo():
                return wire.echo(call.message)
            case wire.Query():
                return await self._query(call)
            case wire.ExtendVote():
                return wire.EXTENDED
            case wire.VerifyVoteExtension():
                return wire.verify_vote_extension(wire.Vote.REJECT if call.extension else wire.Vote.ACCEPT)
            case wire.ListSnapshots() | wire.LoadSnapshotChunk():
                return await self._serve_snapshot(call)
        # One at a time: an engine that has come back must not be told of a block that is being stored.
        async with self._lock:
            return await self._in_order(call, link)

    async def _in_order(self, call: wire.Call, link: Link) -> bytes:
        match call:
            case wire.Info():
                return await self._info(call, link)
            case wire.InitChain():
                return await self._init_chain(call, link)
            case wire.PrepareProposal():
                return wire.prepare_proposal(await self._prepare(call))
            case wire.ProcessProposal():
                return wire.process_proposal(await self._process(call))
            case wire.FinalizeBlock():
                return await self._finalize(call, link)
            case wire.Commit():
                return await self._commit(link)
            case wire.OfferSnapshot():
                return wire.offer_snapshot(await self._offer(call))
            case wire.ApplySnapshotChunk():
                return await self._apply(call, link)
        raise AssertionError(f"no answer to {call.kind}")

    # Where the application stands

    async def _info(self, call: wire.Info, link: Link) -> bytes:
        info = await self._persist(self._settled, link)
        height, app_hash = 0, b""
        if info is not None and _begun(info):
            height, app_hash = info.height - info.chain.shift, bytes.fromhex(info.app_hash)
            # What was refused before was perhaps said by another engine; this one is told again if it is wrong.
            self.refusal = None
        if call.version and not call.version.startswith(SUPPORTED):
            _log.warning("engine.not_supported", engine=call.version, supported=f"{SUPPORTED}x")
        _log.info("engine.asks", engine=call.version, engine_height=height)
        return wire.info("planetmint", __version__, height, app_hash)

    async def _settled(self) -> ChainInfo | None:
        """Where the ledger stands, after what became of a block is known whose commit nobody waited for."""
        if await self._lifecycle.settle():
            self.block += 1
        return await self.look()

    async def _query(self, call: wire.Query) -> bytes:
        if not call.path or call.path.startswith(_PEER_FILTER):
            # Asked by health checks, and about peers where the engine filters them: all are welcome.
            return wire.query(wire.OK)
        if call.path != "/height":
            return wire.query(wire.INVALID, log="this application answers to the paths `` and `/height` only")
        try:
            info = await self.look()
        except StoreError as error:
            return wire.query(wire.UNKNOWN, log=str(error))
        height = info.height if info is not None else 0
        return wire.query(wire.OK, key=b"height", value=str(height).encode("ascii"), height=height)

    # The beginning of a chain

    async def _init_chain(self, call: wire.InitChain, link: Link) -> bytes:
        genesis = _checked_genesis(call)
        info = await self._persist(self.look, link)
        if info is not None and _begun(info):
            raise ChainMismatch(
                f"the engine begins the chain `{call.chain_id}`, but the database stands at block {info.height} "
                f"of `{info.chain.chain_id}`: give the engine the data folder of that chain back"
            )
        if info is None or info.chain.shift == 0:
            app_hash = await self._found(call, genesis, link)
        else:
            app_hash = await self._begin(call, genesis, info, link)
        await self._persist(self.look, link)
        self.refusal = None
        return wire.init_chain(bytes.fromhex(app_hash))

    async def _found(self, call: wire.InitChain, genesis: Genesis, link: Link) -> str:
        try:
            founding = found_chain(call.chain_id, genesis.parameters, call.validators, call.time)
        except (UnknownRules, ValueError) as error:
            raise ChainMismatch(f"the chain of the genesis file cannot be founded: {error}") from None
        header = founding_header(founding, b"")
        return await self._persist(
            lambda: self._lifecycle.init_chain(founding, header, continues=genesis.migrated_from), link
        )

    async def _begin(self, call: wire.InitChain, genesis: Genesis, info: ChainInfo, link: Link) -> str:
        origin = genesis.migrated_from
        if origin is not None and (origin.height, origin.app_hash) != (info.height, info.app_hash):
            raise ChainMismatch(
                f"the engine's genesis file goes on from block {origin.height} with hash {origin.app_hash}, the "
                f"database stands at block {info.height} with hash {info.app_hash}: make the file anew"
            )
        differences = _differences(genesis.parameters.to_json(), self._lifecycle.parameters.to_json())
        if differences:
            raise ChainMismatch(
                "a chain keeps its parameters when it is renamed, but the engine's genesis file has others: "
                f"{'; '.join(differences)}. Make the file anew (`planetmint election migrate` writes it)"
            )
        return await self._persist(lambda: self._lifecycle.begin_chain(call.chain_id, call.validators), link)

    # Transactions

    async def check(self, calls: Sequence[wire.CheckTx]) -> bytes:
        """The answers to a run of CheckTx calls, one after the other."""
        try:
            info = await self.look()
        except StoreError as error:
            return b"".join([self._tell(call, error) for call in calls])
        if info is None:
            return self._turn_away(calls, wire.UNKNOWN, EngineError("no chain is founded yet"))
        if not info.chain.synced:
            return self._turn_away(calls, wire.INVALID, ChainHalted(MIGRATING))
        verdicts = await self._verdicts(calls)
        return b"".join([self._tell(call, verdict) for call, verdict in zip(calls, verdicts, strict=True)])

    async def _verdicts(
        self, calls: Sequence[wire.CheckTx]
    ) -> list[InvalidTransaction | StoreError | ContractError | None]:
        # What this node has just verified itself needs no second look while the head is the same; whatever slips
        # through a change of the head is found when the engine checks its mempool anew after that block.
        vouched = [not call.recheck and self._watcher.vouched(call.tx) for call in calls]
        raws = [call.tx for call, known in zip(calls, vouched, strict=True) if not known]
        found = iter(await self._lifecycle.check_txs(raws) if raws else ())
        return [None if known else next(found) for known in vouched]

    def _tell(self, call: wire.CheckTx, verdict: InvalidTransaction | StoreError | ContractError | None) -> bytes:
        if isinstance(verdict, StoreError):
            return self._tell_unknown(call, EngineError(f"the store does not answer: {verdict}"))
        if isinstance(verdict, ContractError):
            return self._tell_unknown(call, verdict)
        if not call.recheck:
            self._watcher.checked(call.tx, verdict)
        elif verdict is not None:
            self._lifecycle.refused(call.tx, verdict)
        if verdict is None:
            return wire.CHECKED
        return wire.check_tx(wire.INVALID, wire.explained(verdict), verdict.code)

    def _tell_unknown(self, call: wire.CheckTx, reason: EngineError | ContractError) -> bytes:
        if call.recheck:
            # The engine would drop what it has taken before; it is judged in any case by a proposal, by the block
            # and by the check after that.
            return wire.CHECKED
        return self._turn_away((call,), wire.UNKNOWN, reason)

    def _turn_away(self, calls: Sequence[wire.CheckTx], code: int, reason: EngineError | ContractError) -> bytes:
        for call in calls:
            if not call.recheck:
                self._watcher.checked(call.tx, reason)
        return wire.check_tx(code, str(reason)) * len(calls)

    # Blocks

    async def _prepare(self, call: wire.PrepareProposal) -> list[bytes]:
        room = wire.proposal_room(call.max_bytes, call.txs)
        try:
            info = await self.look()
            if info is None or not info.chain.synced:
                return []
            return await self._lifecycle.prepare_proposal(call.txs, room)
        except StoreError as error:
            # An empty block is always right; the engine would end if it were told.
            _log.warning("proposal.empty", reason=str(error))
            return []

    async def _process(self, call: wire.ProcessProposal) -> wire.Vote:
        try:
            info = await self.look()
            if info is None or not info.chain.synced:
                return wire.Vote.REJECT
            good = await self._lifecycle.process_proposal(call.height + info.chain.shift, call.txs)
        except StoreError as error:
            _log.warning("proposal.not_checked", reason=str(error))
            return wire.Vote.REJECT
        return wire.Vote.ACCEPT if good else wire.Vote.REJECT

    async def _finalize(self, call: wire.FinalizeBlock, link: Link) -> bytes:
        block = await self._persist(lambda: self._execute(call), link)
        self._decided = call
        self.refusal = None
        return wire.finalize_block(block)

    async def _execute(self, call: wire.FinalizeBlock) -> FinalizedBlock:
        info = await self.look()
        if info is None:
            raise ChainMismatch("the engine decides blocks of a chain that this node's database does not hold")
        if not info.chain.synced:
            raise ChainHalted(
                f"the chain waits for its migration to `{info.chain.chain_id}`: no block of the old one is taken"
            )
        height = call.height + info.chain.shift
        if height != info.height + 1:
            raise ChainMismatch(
                f"the engine decides block {height}, the database stands at block {info.height}: start the engine "
                "again, which makes it bring over what is missing"
            )
        return await self._lifecycle.finalize_block(height, call.time, call.proposer, call.txs)

    async def _commit(self, link: Link) -> bytes:
        decided, self._decided = self._decided, None
        if decided is None:
            raise ChainMismatch("the engine commits a block that was not decided since it connected")
        first = True

        async def commit() -> None:
            nonlocal first
            if first:
                first = False
                await self._lifecycle.commit()
                return
            # What became of the attempt before is not known: the store is asked, the block executed anew.
            info = await self.look()
            if info is None or decided.height + info.chain.shift > info.height:
                await self._execute(decided)
                await self._lifecycle.commit()

        await self._persist(commit, link)
        self.block += 1
        await self._persist(self.look, link)
        return wire.COMMITTED

    async def _persist(self, action: Callable[[], Awaitable[T]], link: Link) -> T:
        """Do what needs the store or contracts, again and again while these fail.

        Raises:
            Gone: Nobody waits any more.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                result = await action()
            except (StoreError, ContractsUnavailable) as error:
                stored = isinstance(error, StoreError)
                if self.held_up is None:
                    _log.error("store.not_answering" if stored else "contracts.not_judged", reason=str(error))
                self.held_up = store_trouble(error) if stored else str(error)
            else:
                if self.held_up is not None:
                    _log.info("block.goes_on")
                    self.held_up = None
                return result
            try:
                await asyncio.wait_for(link.lost.wait(), pause)
            except TimeoutError:
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                raise Gone

    # Snapshots

    async def _serve_snapshot(self, call: wire.ListSnapshots | wire.LoadSnapshotChunk) -> bytes:
        try:
            if isinstance(call, wire.ListSnapshots):
                return wire.list_snapshots(await self._snapshots.offers() if self._snapshots else ())
            chunk = None
            if self._snapshots is not None:
                chunk = await self._snapshots.chunk(call.height, call.format, call.chunk)
            return wire.load_snapshot_chunk(chunk or b"")
        except StoreError as error:
            _log.warning("snapshot.not_served", reason=str(error))
            empty = isinstance(call, wire.ListSnapshots)
            return wire.list_snapshots(()) if empty else wire.load_snapshot_chunk(b"")

    async def _offer(self, call: wire.OfferSnapshot) -> wire.OfferResult:
        if self._snapshots is None:
            return wire.OfferResult.REJECT
        self._taking = None
        try:
            wanted = await self._snapshots.take(call.snapshot, call.app_hash)
            held = None if wanted else await self.look()
        except StoreError as error:
            _log.error("snapshot.not_taken", reason=str(error))
            return wire.OfferResult.REJECT
        if held is not None:
            # It holds no chain, and would ask its peers for another snapshot for ever.
            self.refusal = (
                f"the engine wants to begin with a snapshot, but the database stands at block {held.height} of "
                f"`{held.chain.chain_id}`: stop the node, run `planetmint drop`, then start"
            )
            _log.error("snapshot.refused", engine_height=call.snapshot.height, reason=self.refusal)
        if not wanted:
            return wire.OfferResult.REJECT
        self.refusal = None
        self._taking, self._accepted = call.snapshot, set()
        _log.info("snapshot.offered", engine_height=call.snapshot.height, chunks=call.snapshot.chunks)
        return wire.OfferResult.ACCEPT

    async def _apply(self, call: wire.ApplySnapshotChunk, link: Link) -> bytes:
        snapshots, taking = self._snapshots, self._taking
        if snapshots is None or taking is None:
            return wire.apply_snapshot_chunk(wire.ChunkResult.ABORT)
        verdict = await self._persist(lambda: snapshots.add_chunk(call.index, call.chunk), link)
        if verdict is ChunkVerdict.REFETCH:
            return wire.apply_snapshot_chunk(wire.ChunkResult.RETRY, (call.index,), (call.sender,))
        if verdict is ChunkVerdict.REJECTED:
            self._taking = None
            _log.error("snapshot.rejected", engine_height=taking.height)
            return wire.apply_snapshot_chunk(wire.ChunkResult.REJECT_SNAPSHOT)
        self._accepted.add(call.index)
        if len(self._accepted) >= taking.chunks:
            await self._finish(taking, link)
        return wire.apply_snapshot_chunk(wire.ChunkResult.ACCEPT)

    async def _finish(self, taking: Snapshot, link: Link) -> None:
        self._taking = None
        restored = self._restored
        if restored is not None:
            await self._persist(restored, link)
        self.block += 1
        await self._persist(self.look, link)
        _log.info("snapshot.taken", engine_height=taking.height)


def _begun(info: ChainInfo) -> bool:
    """Whether the engine's chain of the present name has blocks."""
    return info.chain.synced and info.height > info.chain.shift


def _checked_genesis(call: wire.InitChain) -> Genesis:
    """What a genesis says to the application.

    Raises:
        ChainMismatch: It cannot be followed.
    """
    if call.initial_height not in (0, 1):
        raise ChainMismatch(f"the genesis file begins at height {call.initial_height}: `initial_height` must be 1")
    if any(len(item.public_key) != _KEY_BYTES for item in call.validators):
        raise ChainMismatch("the genesis file names a validator whose key is not an Ed25519 key")
    powers = [item.power for item in call.validators]
    if not powers or min(powers) < 1 or sum(powers) > MAX_TOTAL_POWER:
        raise ChainMismatch("the genesis file needs validators, each with a power of 1 or more")
    return read_app_state(call.app_state)


def _differences(told: JsonObject, ours: JsonObject, where: str = "") -> list[str]:
    """What a genesis says of parameters that the chain was founded with otherwise; both have the same members."""
    found: list[str] = []
    for name, value in ours.items():
        other = told[name]
        if isinstance(value, dict) and isinstance(other, dict):
            found += _differences(other, value, f"{where}{name}.")
        elif other != value:
            found.append(f"`{where}{name}` is {other}, the chain was founded with {value}")
    return found
