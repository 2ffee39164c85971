# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ABCI server over real sockets: every call, order, several connections, and whatever strangers send."""

import asyncio
import json
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog

from planetmint.app import Mode
from planetmint.chain import found_chain
from planetmint.consensus.cometbft import CometEngine, Genesis, server
from planetmint.consensus.cometbft import abci_pb2 as pb
from planetmint.consensus.cometbft.framing import frame
from planetmint.consensus.cometbft.server import Address, read_address
from planetmint.model.block import BlockRecord
from planetmint.model.errors import InvalidTransaction, InvariantViolated
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.model.validator import Validator
from planetmint.ports.consensus import Migrated
from planetmint.ports.errors import StoreError
from planetmint.ports.snapshots import ChunkVerdict, Snapshot
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import Builder, Built, Dialect
from planetmint.version import __version__
from tests.support.abci import (
    APP_STATE,
    CHAIN,
    COMMIT,
    FLUSH,
    AbciClient,
    FakeComet,
    Refused,
    begin_store,
    check_tx,
    comet_node,
    finalize,
    info,
    init_chain,
    prepare,
    process,
    until,
)
from tests.support.ledger import PUBLIC, START, FailingStore
from tests.support.stores import UnsureStore

BUILD = Builder(Dialect.PLANETMINT_2)


def creates(count: int) -> list[Built]:
    return [BUILD.create(f"owner-{number}") for number in range(count)]


def raws(items: Sequence[Built]) -> list[bytes]:
    return [item.canonical for item in items]


# The beginning of a chain


async def test_info_says_nothing_before_a_chain_is_founded_and_the_height_and_raw_hash_after() -> None:
    async with comet_node(connect=False) as node:
        client = await AbciClient.connect(node.engine.address)
        answer = (await client.call(info())).info
        assert (answer.last_block_height, answer.last_block_app_hash, answer.app_version) == (0, b"", 0)
        assert answer.version == __version__
        await client.call(init_chain())
        assert (await client.call(info())).info.last_block_height == 0
        block = (await client.call(finalize(1, raws(creates(1))))).finalize_block
        await client.call(COMMIT)
        answer = (await client.call(info())).info
        assert (answer.last_block_height, answer.last_block_app_hash) == (1, block.app_hash)
        assert len(block.app_hash) == 32
        await client.close()


async def test_a_chain_is_founded_by_the_genesis_and_may_be_founded_again_before_its_first_block() -> None:
    validators = (Validator(PUBLIC, 10), Validator(b"\x05" * 32, 7))
    state = json.dumps(Genesis(ChainParameters(max_inputs=9)).to_json()).encode()
    expected = found_chain(CHAIN, ChainParameters(max_inputs=9), validators, START)
    async with comet_node(connect=False) as node:
        client = await AbciClient.connect(node.engine.address)
        for _ in range(2):
            answer = (await client.call(init_chain(CHAIN, validators, state))).init_chain
            assert answer.app_hash == bytes.fromhex(expected.app_hash)
        await asyncio.wait_for(node.engine.founded(), 5)
        assert await node.store.founding() == expected
        assert await node.store.validators() == validators
        head = await node.store.head()
        assert head is not None
        assert (head.height, head.proposer, head.signature) == (0, "", "")
        await client.close()


@pytest.mark.parametrize(
    ("genesis", "why"),
    [
        (init_chain(initial_height=5), "initial_height"),
        (init_chain(validators=()), "validators"),
        (init_chain(validators=(Validator(PUBLIC, 0),)), "power"),
        (init_chain(validators=(Validator(b"\x01" * 33, 1),)), "Ed25519"),
        (init_chain(validators=(Validator(PUBLIC, 2**62),)), "power"),
        (init_chain("x" * 51), "50 characters"),
        (init_chain(""), "50 characters"),
        (init_chain(app_state=b"{"), "app_state"),
        (init_chain(app_state=b'{"planetmint":{"parameters":{"max_inputs":0}}}'), "max_inputs"),
        (init_chain(app_state=b'{"planetmint":{"parameters":{"rules_version":9}}}'), "rules version 9"),
        (
            init_chain(
                app_state=json.dumps(
                    Genesis(ChainParameters(contracts=ContractParameters(scripts="on"))).to_json()
                ).encode()
            ),
            "contracts",
        ),
        (
            init_chain(
                app_state=json.dumps(
                    Genesis(ChainParameters(), Migrated(12, "ab" * 32, "0123abcd")).to_json()
                ).encode()
            ),
            "backup",
        ),
    ],
)
async def test_a_genesis_that_cannot_be_followed_is_refused_with_the_reason_and_the_server_goes_on(
    genesis: pb.Request, why: str
) -> None:
    async with comet_node(connect=False) as node:
        client = await AbciClient.connect(node.engine.address)
        with structlog.testing.capture_logs() as logs, pytest.raises(Refused, match=why):
            await client.call(genesis)
        assert [entry["log_level"] for entry in logs if entry["event"] == "engine.refused"] == ["error"]
        assert why in str(node.engine.trouble)
        await client.call(init_chain())
        assert why not in str(node.engine.trouble)
        await client.close()


async def test_another_genesis_than_the_founding_one_is_refused() -> None:
    async with comet_node() as node:
        client = await AbciClient.connect(node.engine.address)
        for other in (init_chain("other"), init_chain(validators=(Validator(PUBLIC, 11),))):
            with pytest.raises(Refused, match="another genesis"):
                await client.call(other)
        assert (await client.call(info())).info.last_block_height == 0
        await client.close()


async def test_a_genesis_after_the_first_block_is_refused() -> None:
    async with comet_node() as node:
        assert node.comet is not None
        await node.comet.make_block()
        with pytest.raises(Refused, match="stands at block 1"):
            await node.comet.consensus.call(init_chain())


# Blocks


async def test_a_block_is_answered_with_a_code_per_transaction_and_stored_by_commit_only() -> None:
    item = creates(1)[0]
    async with comet_node() as node:
        assert node.comet is not None
        client = node.comet.consensus
        block = (await client.call(finalize(1, [item.canonical, b"\xff", item.canonical]))).finalize_block
        assert [result.code for result in block.tx_results] == [0, 1, 1]
        assert [result.log.split(":")[0] for result in block.tx_results] == [
            "",
            "SchemaValidationError",
            "DuplicateTransaction",
        ]
        assert node.blocks == []
        assert (await client.call(COMMIT)).commit.retain_height == 0
        (events,) = node.blocks
        assert (events.height, [event.transaction_id for event in events.events]) == (1, [item.id])
        assert bytes.fromhex(events.app_hash) == block.app_hash


async def test_an_empty_block_leaves_the_hash_as_it_is() -> None:
    async with comet_node() as node:
        assert node.comet is not None
        before = node.comet.app_hash
        await node.comet.make_block()
        assert node.comet.app_hash == before
        assert node.feed.head == 1


async def test_a_block_may_be_decided_again_with_the_same_outcome_before_it_is_committed() -> None:
    items = raws(creates(3))
    async with comet_node() as node:
        assert node.comet is not None
        client = node.comet.consensus
        first = (await client.call(finalize(1, items))).finalize_block
        assert (await client.call(finalize(1, items))).finalize_block == first
        await client.call(COMMIT)
        assert node.feed.head == 1


@pytest.mark.parametrize("height", [0, 1, 3, -5, 2**62])
async def test_a_block_that_does_not_follow_is_refused_and_the_node_goes_on(height: int) -> None:
    async with comet_node() as node:
        assert node.comet is not None
        await node.comet.make_block()
        with pytest.raises(Refused, match="database stands at block 1"):
            await node.comet.consensus.call(finalize(height, [], START + 10**12))
        await node.comet.close()
        comet = await node.connect()
        await comet.make_block()
        assert node.feed.head == 2
        assert node.engine.task is not None
        assert not node.engine.task.done()


async def test_an_engine_that_replays_blocks_of_before_the_migration_is_refused() -> None:
    store = await begin_store(3)
    async with comet_node(store, connect=False) as node:
        comet = await node.connect(genesis=init_chain("new", time=START + 10**12))
        await comet.consensus.call(finalize(1, [], START + 10**12))
        await comet.consensus.call(COMMIT)
        with pytest.raises(Refused, match="not after"):
            await comet.consensus.call(finalize(2, [], START + 3 * 10**9))


async def test_a_block_without_a_chain_is_refused() -> None:
    async with comet_node(connect=False) as node:
        client = await AbciClient.connect(node.engine.address)
        with pytest.raises(Refused, match="does not hold"):
            await client.call(finalize(1, []))
        assert (await client.call(check_tx(b"x"))).check_tx.code == 2
        assert list((await client.call(prepare(1, [b"x"]))).prepare_proposal.txs) == []
        assert (await client.call(process(1, []))).process_proposal.status == 2
        assert node.engine.task is not None
        assert not node.engine.task.done()
        await client.close()


async def test_a_commit_out_of_order_is_refused() -> None:
    async with comet_node() as node:
        client = await AbciClient.connect(node.engine.address)
        with pytest.raises(Refused, match="commit"):
            await client.call(COMMIT)
        await client.close()


# Proposals


async def test_a_proposal_holds_what_is_valid_in_order_and_fits_with_tags_and_lengths() -> None:
    items = raws(creates(4))
    room = sum(1 + 2 + len(raw) for raw in items)
    async with comet_node() as node:
        assert node.comet is not None
        client = node.comet.consensus
        assert list((await client.call(prepare(1, items, room))).prepare_proposal.txs) == items
        assert list((await client.call(prepare(1, items, room - 1))).prepare_proposal.txs) == items[:3]
        assert list((await client.call(prepare(1, items, 0))).prepare_proposal.txs) == []
        assert list((await client.call(prepare(1, items, -1))).prepare_proposal.txs) == []
        mixed = [items[0], b"junk", items[0], items[1]]
        assert list((await client.call(prepare(1, mixed))).prepare_proposal.txs) == items[:2]


async def test_a_proposal_is_voted_for_at_the_next_height_whatever_it_holds() -> None:
    async with comet_node() as node:
        assert node.comet is not None
        client = node.comet.consensus
        assert (await client.call(process(1, [b"junk"]))).process_proposal.status == 1
        assert (await client.call(process(2, []))).process_proposal.status == 2
        assert (await client.call(process(0, []))).process_proposal.status == 2


class Unreadable(MemoryStore):
    """A store that does not answer while `failure` is set."""

    failure: StoreError | None = None

    async def read_state(self, reads):  # type: ignore[no-untyped-def]
        if self.failure is not None:
            raise self.failure
        return await super().read_state(reads)


async def test_while_the_store_does_not_answer_proposals_are_empty_and_checks_say_so() -> None:
    store = Unreadable()
    (item,) = raws(creates(1))
    async with comet_node(store) as node:
        assert node.comet is not None
        store.failure = StoreError("no connection")
        assert list((await node.comet.consensus.call(prepare(1, [item]))).prepare_proposal.txs) == []
        (verdict,) = await node.comet.check([item])
        assert verdict.code == 2
        assert "no connection" in verdict.log
        store.failure = None
        assert list((await node.comet.consensus.call(prepare(1, [item]))).prepare_proposal.txs) == [item]


# CheckTx


async def test_while_the_store_does_not_answer_the_mempool_keeps_what_it_has_and_each_check_stands_by_itself() -> (
    None
):
    store = Unreadable()
    known, waiting, fresh = raws(creates(3))
    async with comet_node(store, connect=False) as node:
        client = await AbciClient.connect(node.engine.address)
        await client.call(init_chain())
        assert (await client.call(check_tx(known))).check_tx.code == 0
        store.failure = StoreError("no connection")
        run = [
            check_tx(known, recheck=True),
            check_tx(waiting, recheck=True),
            check_tx(b"junk", recheck=True),
            check_tx(known),
            check_tx(fresh),
            check_tx(b"junk"),
        ]
        client.send(*run, FLUSH)
        verdicts = [(await client.receive()).check_tx for _ in run]
        assert [verdict.code for verdict in verdicts] == [0, 0, 1, 0, 2, 1]
        assert "no connection" in verdicts[4].log
        await client.close()


async def test_a_store_that_does_not_even_say_where_it_stands_empties_no_mempool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting, fresh = raws(creates(2))
    async with comet_node() as node:
        assert node.comet is not None

        async def away() -> None:
            raise StoreError("no connection")

        monkeypatch.setattr(node.lifecycle, "info", away)
        assert [verdict.code for verdict in await node.comet.check([waiting], recheck=True)] == [0]
        (verdict,) = await node.comet.check([fresh])
        assert verdict.code == 2
        assert "no connection" in verdict.log


async def test_who_waits_for_a_block_is_not_turned_away_by_a_store_that_was_gone_for_a_recheck() -> None:
    store = Unreadable()
    first, second = creates(2)
    async with comet_node(store) as node:
        comet = await node.ready()
        await comet.add([first.canonical])
        waits = asyncio.create_task(node.app.submit(second.canonical, Mode.COMMIT))
        await until(lambda: len(comet.pool) == 2)
        node.lifecycle.discharge(second.canonical)
        store.failure = StoreError("no connection")
        verdicts = await comet.check(comet.pool, recheck=True)
        comet.pool = [raw for raw, verdict in zip(comet.pool, verdicts, strict=True) if verdict.code == 0]
        store.failure = None
        await comet.make_block()
        await asyncio.wait_for(waits, 5)


async def test_check_says_the_class_of_what_is_wrong() -> None:
    item = creates(1)[0]
    forged = BUILD.create("x").changed(lambda wire: wire.update(metadata="other"))
    spelled = b" " + item.canonical
    async with comet_node() as node:
        assert node.comet is not None
        verdicts = await node.comet.check([item.canonical, forged.canonical, spelled, b"", b"\x00", b"[" * 9_000])
        assert [(item.code, item.codespace) for item in verdicts] == [
            (0, ""),
            (1, "InvalidSignature"),
            (1, "SchemaValidationError"),
            (1, "SchemaValidationError"),
            (1, "SchemaValidationError"),
            (1, "SchemaValidationError"),
        ]
        assert verdicts[1].log.startswith("InvalidSignature: ")


async def test_checks_that_arrive_together_are_answered_by_one_look_at_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = raws(creates(50))
    async with comet_node() as node:
        assert node.comet is not None
        looks: list[int] = []
        check = node.lifecycle.check_txs

        async def counted(raws: Sequence[bytes]) -> list[InvalidTransaction | None]:
            looks.append(len(raws))
            return await check(raws)

        monkeypatch.setattr(node.lifecycle, "check_txs", counted)
        verdicts = await node.comet.check([*items, b"junk"])
        assert [verdict.code for verdict in verdicts] == [0] * 50 + [1]
        assert sum(looks) == 51
        assert len(looks) <= 3


async def test_a_recheck_drops_what_is_committed_or_spent_and_tells_who_waits() -> None:
    item = BUILD.create("alice", [(5, "alice")])
    one = BUILD.transfer([item.spend()], [(5, "bob")])
    other = BUILD.transfer([item.spend()], [(5, "carol")])
    async with comet_node() as node:
        assert node.comet is not None
        await node.comet.add([item.canonical])
        await node.comet.make_block()
        await node.ready()
        waits = asyncio.create_task(node.app.submit(other.canonical, Mode.COMMIT))
        await until(lambda: len(node.comet.pool) == 1)  # type: ignore[union-attr]
        node.comet.pool.insert(0, one.canonical)
        await node.comet.make_block()
        with pytest.raises(InvalidTransaction) as caught:
            await asyncio.wait_for(waits, 2)
        assert caught.value.code == "DoubleSpend"
        assert node.comet.pool == []
        verdicts = await node.comet.check([one.canonical, other.canonical], recheck=True)
        assert [verdict.code for verdict in verdicts] == [1, 1]


# The other calls


async def test_echo_query_votes_and_snapshots_without_any() -> None:
    async with comet_node() as node:
        client = await AbciClient.connect(node.engine.address)
        assert (await client.call(pb.Request(echo=pb.Echo(message="hé")))).echo.message == "hé"
        await client.call(FLUSH)
        assert (await client.call(pb.Request(query=pb.Query()))).query.code == 0
        assert (await client.call(pb.Request(query=pb.Query(path="/p2p/filter/addr/x")))).query.code == 0
        assert (await client.call(pb.Request(query=pb.Query(path="/store/x")))).query.code == 1
        answer = (await client.call(pb.Request(query=pb.Query(path="/height")))).query
        assert (answer.code, answer.value, answer.height) == (0, b"0", 0)
        await client.call(pb.Request(extend_vote=pb.Nothing()))
        for extension, status in ((b"", 1), (b"x", 2)):
            vote = pb.Request(verify_vote_extension=pb.VerifyVoteExtension(vote_extension=extension))
            assert (await client.call(vote)).verify_vote_extension.status == status
        assert len((await client.call(pb.Request(list_snapshots=pb.Nothing()))).list_snapshots.snapshots) == 0
        offer = pb.Request(offer_snapshot=pb.OfferSnapshot(snapshot=pb.Snapshot(height=5, chunks=1)))
        assert (await client.call(offer)).offer_snapshot.result == 3
        chunk = pb.Request(load_snapshot_chunk=pb.LoadSnapshotChunk(height=5))
        assert (await client.call(chunk)).load_snapshot_chunk.chunk == b""
        await client.close()


class FakeSnapshots:
    """Snapshots by script; `verdicts` answers the chunks."""

    def __init__(self) -> None:
        self.offered = (Snapshot(7, 1, 2, b"h", b"m"),)
        self.wanted = True
        self.verdicts: list[ChunkVerdict | StoreError] = []
        self.taken: list[tuple[Snapshot, bytes]] = []
        self.chunks: list[tuple[int, bytes]] = []

    async def offers(self) -> tuple[Snapshot, ...]:
        return self.offered

    async def chunk(self, height: int, format: int, index: int) -> bytes | None:
        return b"chunk %d" % index if (height, format) == (7, 1) and index < 2 else None

    async def take(self, snapshot: Snapshot, app_hash: bytes) -> bool:
        self.taken.append((snapshot, app_hash))
        return self.wanted

    async def add_chunk(self, index: int, chunk: bytes) -> ChunkVerdict:
        self.chunks.append((index, chunk))
        verdict = self.verdicts.pop(0)
        if isinstance(verdict, StoreError):
            raise verdict
        return verdict


def offer() -> pb.Request:
    snapshot = pb.Snapshot(height=7, format=1, chunks=2, hash=b"h", metadata=b"m")
    return pb.Request(offer_snapshot=pb.OfferSnapshot(snapshot=snapshot, app_hash=b"\x07" * 32))


def apply(index: int) -> pb.Request:
    return pb.Request(apply_snapshot_chunk=pb.ApplySnapshotChunk(index=index, chunk=b"c", sender="peer"))


async def test_snapshots_are_listed_and_their_chunks_served() -> None:
    async with comet_node(snapshots=FakeSnapshots()) as node:
        client = await AbciClient.connect(node.engine.address)
        (listed,) = (await client.call(pb.Request(list_snapshots=pb.Nothing()))).list_snapshots.snapshots
        assert (listed.height, listed.format, listed.chunks, listed.hash, listed.metadata) == (7, 1, 2, b"h", b"m")
        request = pb.Request(load_snapshot_chunk=pb.LoadSnapshotChunk(height=7, format=1, chunk=1))
        assert (await client.call(request)).load_snapshot_chunk.chunk == b"chunk 1"
        await client.close()


async def test_a_snapshot_is_taken_chunk_by_chunk_and_the_life_cycle_looks_anew_after_the_last() -> None:
    snapshots = FakeSnapshots()
    ok = ChunkVerdict.ACCEPTED
    snapshots.verdicts = [ok, ChunkVerdict.REFETCH, StoreError("away"), ok]
    looked: list[int] = []

    async def restored() -> None:
        looked.append(len(snapshots.chunks))

    async with comet_node(connect=False) as node:
        engine = CometEngine("tcp://127.0.0.1:0", "http://127.0.0.1:1", snapshots=snapshots, restored=restored)
        await engine.start(node.lifecycle)
        client = await AbciClient.connect(engine.address)
        assert (await client.call(offer())).offer_snapshot.result == 1
        assert snapshots.taken == [(Snapshot(7, 1, 2, b"h", b"m"), b"\x07" * 32)]
        assert (await client.call(apply(1))).apply_snapshot_chunk.result == 1
        refetch = (await client.call(apply(0))).apply_snapshot_chunk
        assert (refetch.result, list(refetch.refetch_chunks), list(refetch.reject_senders)) == (3, [0], ["peer"])
        assert looked == []
        assert (await client.call(apply(0))).apply_snapshot_chunk.result == 1
        assert looked == [4]
        await client.close()
        await engine.stop()


async def test_a_forged_snapshot_is_rejected_and_another_may_follow() -> None:
    snapshots = FakeSnapshots()
    snapshots.verdicts = [ChunkVerdict.REJECTED]
    async with comet_node(connect=False, snapshots=snapshots) as node:
        client = await AbciClient.connect(node.engine.address)
        with pytest.raises(Refused, match="apply_snapshot_chunk"):
            await client.call(apply(0))
        await client.call(offer())
        assert (await client.call(apply(0))).apply_snapshot_chunk.result == 5
        assert (await client.call(apply(0))).apply_snapshot_chunk.result == 2
        snapshots.wanted = False
        assert (await client.call(offer())).offer_snapshot.result == 3
        await client.close()


async def test_an_engine_that_wants_a_snapshot_over_other_blocks_is_told_what_the_operator_has_to_do() -> None:
    snapshots = FakeSnapshots()
    snapshots.wanted = False
    async with comet_node(snapshots=snapshots) as node:
        assert node.comet is not None
        await node.comet.make_block()
        with structlog.testing.capture_logs() as logs:
            assert (await node.comet.consensus.call(offer())).offer_snapshot.result == 3
        (told,) = [entry for entry in logs if entry["event"] == "snapshot.refused"]
        what = "stands at block 1 of `abci-tests`: stop the node, run `planetmint drop`, then start"
        assert what in told["reason"]
        assert node.engine.trouble == told["reason"]
        # One that fits the ledger may follow, and is taken again.
        snapshots.wanted, snapshots.verdicts = True, [ChunkVerdict.ACCEPTED] * 2
        assert (await node.comet.consensus.call(offer())).offer_snapshot.result == 1
        assert "planetmint drop" not in str(node.engine.trouble)
        for index in range(2):
            assert (await node.comet.consensus.call(apply(index))).apply_snapshot_chunk.result == 1
        assert (await node.comet.query.call(info())).info.last_block_height == 1


# Order and connections


async def test_answers_come_in_the_order_of_the_calls() -> None:
    async with comet_node() as node:
        client = await AbciClient.connect(node.engine.address)
        requests = [
            pb.Request(echo=pb.Echo(message="a")),
            check_tx(b"x"),
            FLUSH,
            check_tx(b"y"),
            check_tx(b"z"),
            info(),
            FLUSH,
        ]
        client.send(*requests)
        answers = [(await client.receive()).WhichOneof("value") for _ in requests]
        assert answers == [request.WhichOneof("value") for request in requests]
        await client.close()


async def test_a_connection_that_is_not_understood_is_closed_and_the_others_go_on() -> None:
    junk = [
        b"\xff" * 9,
        frame(b"\x0a\x05hi"),
        frame(b""),
        b"GET / HTTP/1.1\r\nHost: " + b"x" * 80,
        frame(b"\x22\x00"),
    ]
    async with comet_node() as node:
        assert node.comet is not None
        for data in junk:
            client = await AbciClient.connect(node.engine.address)
            client.send(FLUSH)
            client.writer.write(data)
            assert (await client.receive()).WhichOneof("value") == "flush"
            with pytest.raises((EOFError, ConnectionError)):
                await client.receive()
            await client.close()
        await node.comet.make_block()
        assert node.feed.head == 1


class SlowStore(MemoryStore):
    """Stores a block when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.saving = asyncio.Event()
        self.go_on = asyncio.Event()

    async def save_block(self, block: BlockRecord) -> None:
        self.saving.set()
        await self.go_on.wait()
        await super().save_block(block)


async def test_an_engine_that_asks_while_a_block_is_stored_hears_of_it_when_it_is() -> None:
    store = SlowStore()
    async with comet_node(store) as node:
        assert node.comet is not None
        await node.comet.consensus.call(finalize(1, []))
        node.comet.consensus.send(COMMIT)
        await asyncio.wait_for(store.saving.wait(), 10)
        await node.comet.consensus.close()
        client = await AbciClient.connect(node.engine.address)
        asked = asyncio.create_task(client.call(info()))
        echoed = await AbciClient.connect(node.engine.address)
        assert (await echoed.call(pb.Request(echo=pb.Echo(message="others are served")))).echo.message
        assert not asked.done()
        store.go_on.set()
        assert (await asked).info.last_block_height == 1
        await client.close()
        await echoed.close()


async def test_the_server_outlives_its_engine() -> None:
    async with comet_node() as node:
        for height in range(1, 4):
            assert node.comet is not None
            await node.comet.make_block()
            await node.comet.close()
            await until(lambda: node.engine.connections == 0)
            assert "not connected" in str(node.engine.trouble)
            comet = await node.connect()
            assert comet.height == height
        assert node.feed.head == 3


async def test_many_connections_are_served_at_the_same_time() -> None:
    async with comet_node() as node:
        clients = [await AbciClient.connect(node.engine.address) for _ in range(20)]
        answers = await asyncio.gather(*(client.call(info()) for client in clients))
        assert {answer.info.version for answer in answers} == {__version__}
        for client in clients:
            await client.close()
        await until(lambda: node.engine.connections == 3)


async def test_a_call_longer_than_the_reading_ahead_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HELD", 1_000_000)
    async with comet_node() as node:
        client = await AbciClient.connect(node.engine.address)
        long = "x" * 3_000_000
        client.send(*[pb.Request(echo=pb.Echo(message=long))] * 15)
        for _ in range(15):
            assert (await client.receive()).echo.message == long
        await client.close()


# Addresses


async def test_a_unix_socket_is_listened_on_and_one_left_behind_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "abci.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with comet_node(listen=f"unix://{path}") as node:
        assert str(node.engine.address) == f"unix://{path}"
        assert node.comet is not None
        await node.comet.make_block()
        other = CometEngine(f"unix://{path}", "http://127.0.0.1:1")
        with pytest.raises(OSError, match="listens"):
            await other.start(node.lifecycle)
        await other.stop()
        assert path.exists()
    assert not path.exists()


async def test_a_path_that_is_no_socket_or_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    async with comet_node(connect=False) as node:
        for bad in (path, Path("/" + "x" * 120)):
            engine = CometEngine(f"unix://{bad}", "http://127.0.0.1:1")
            with pytest.raises(OSError, match="socket"):
                await engine.start(node.lifecycle)
            await engine.stop()
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:26658", Address("127.0.0.1", 26658)),
        ("tcp://[::1]:26658", Address("::1", 26658)),
        ("tcp://:26658", Address("", 26658)),
        ("unix:///run/abci.sock", Address("", 0, "/run/abci.sock")),
    ],
)
def test_addresses_are_read_as_the_engines_configuration_writes_them(text: str, address: Address) -> None:
    assert read_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "26658", "tcp://host", "http://x:1", "unix://", "tcp://x:port", "tcp://x:²"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        read_address(text)


# Trouble


async def test_a_block_waits_for_a_store_that_fails_and_the_engine_hears_nothing_of_it() -> None:
    store = FailingStore()
    (item,) = creates(1)
    async with comet_node(store) as node:
        assert node.comet is not None
        await node.comet.consensus.call(finalize(1, [item.canonical]))
        store.failure = StoreError("no space")
        commit = asyncio.create_task(node.comet.consensus.call(COMMIT))
        await until(lambda: store.refused >= 3)
        assert "no space" in str(node.engine.trouble)
        assert not commit.done()
        store.failure = None
        assert (await asyncio.wait_for(commit, 10)).commit.retain_height == 0
        assert node.engine.trouble is None
        assert [[event.transaction_id for event in block.events] for block in node.blocks] == [[item.id]]


@pytest.mark.parametrize("unreadable", [0, 1, 3])
async def test_a_block_stored_although_an_error_came_is_committed_once(unreadable: int) -> None:
    store = UnsureStore()
    items = creates(2)
    async with comet_node(store) as node:
        assert node.comet is not None
        await node.comet.add([items[0].canonical])
        store.lies, store.unreadable = 1, unreadable
        await node.comet.make_block()
        await node.comet.add([items[1].canonical])
        await node.comet.make_block()
        assert [[event.transaction_id for event in block.events] for block in node.blocks] == [
            [items[0].id],
            [items[1].id],
        ]
        assert store.saves == 2


async def test_an_engine_that_ends_while_the_store_fails_finds_the_truth_when_it_is_back() -> None:
    store = FailingStore()
    (item,) = creates(1)
    async with comet_node(store) as node:
        assert node.comet is not None
        await node.comet.consensus.call(finalize(1, [item.canonical]))
        store.failure = StoreError("no space")
        node.comet.consensus.send(COMMIT)
        await until(lambda: store.refused >= 1)
        await node.comet.close()
        await until(lambda: node.engine.connections == 0)
        store.failure = None
        comet = await node.connect()
        assert comet.height == 0
        await comet.consensus.call(finalize(1, [item.canonical]))
        await comet.consensus.call(COMMIT)
        assert [len(block.events) for block in node.blocks] == [1]
        assert node.engine.trouble is None or "RPC" in node.engine.trouble


async def test_an_engine_that_comes_back_after_a_lost_commit_is_told_of_the_block_that_was_stored() -> None:
    store = UnsureStore()
    first, second = creates(2)
    async with comet_node(store) as node:
        assert node.comet is not None
        answer = (await node.comet.consensus.call(finalize(1, [first.canonical]))).finalize_block
        store.lies, store.unreadable = 1, 1_000_000
        node.comet.consensus.send(COMMIT)
        await until(lambda: store.saves == 1)
        await node.comet.close()
        await until(lambda: node.engine.connections == 0)
        block = node.engine._handler.block  # type: ignore[union-attr]
        client = await AbciClient.connect(node.engine.address)
        unreadable = store.unreadable
        client.send(info())
        await until(lambda: store.unreadable < unreadable - 1)  # it is asked again while the store is away
        store.unreadable = 0
        said = (await client.receive()).info
        assert (said.last_block_height, said.last_block_app_hash) == (1, answer.app_hash)
        assert node.engine._handler.block > block  # type: ignore[union-attr]
        await client.call(finalize(2, [second.canonical]))
        await client.call(COMMIT)
        assert [[event.transaction_id for event in item.events] for item in node.blocks] == [
            [first.id],
            [second.id],
        ]
        assert store.saves == 2
        await client.close()


async def test_stopping_ends_the_wait_for_the_store() -> None:
    store = FailingStore()
    async with comet_node(store) as node:
        assert node.comet is not None
        await node.comet.consensus.call(finalize(1, []))
        store.failure = StoreError("no space")
        node.comet.consensus.send(COMMIT)
        await until(lambda: store.refused >= 1)
        await asyncio.wait_for(node.engine.stop(), 10)
        assert node.feed.head == 0


class BrokenStore(MemoryStore):
    """A store whose failure is a bug, not an error of the store."""

    error: Exception = InvariantViolated("the ledger has two heads")

    async def save_block(self, block: BlockRecord) -> None:
        raise self.error


async def test_an_invariant_violated_gets_no_answer_and_ends_the_task_that_the_node_watches() -> None:
    async with comet_node(BrokenStore()) as node:
        assert node.comet is not None
        assert node.engine.task is not None
        await node.comet.consensus.call(finalize(1, []))
        with pytest.raises(EOFError):
            await node.comet.consensus.call(COMMIT)
        with pytest.raises(InvariantViolated, match="two heads"):
            await asyncio.wait_for(asyncio.shield(node.engine.task), 5)
        assert "two heads" in str(node.engine.trouble)


async def test_a_bug_in_a_call_is_logged_answered_with_an_exception_and_the_node_goes_on() -> None:
    store = BrokenStore()
    store.error = KeyError("oops")
    async with comet_node(store) as node:
        assert node.comet is not None
        await node.comet.consensus.call(finalize(1, []))
        with structlog.testing.capture_logs() as logs, pytest.raises(Refused, match="KeyError"):
            await node.comet.consensus.call(COMMIT)
        assert [entry["log_level"] for entry in logs if entry["event"] == "engine.call_failed"] == ["critical"]
        assert (await node.comet.query.call(info())).info.last_block_height == 0


# Migration (elections-and-operations 4)


async def test_while_a_migration_waits_nothing_goes_on_and_info_says_zero() -> None:
    store = await begin_store(3)
    (item,) = raws(creates(1))
    async with comet_node(store, connect=False) as node:
        client = await AbciClient.connect(node.engine.address)
        answer = (await client.call(info())).info
        assert (answer.last_block_height, answer.last_block_app_hash) == (0, b"")
        verdict = (await client.call(check_tx(item))).check_tx
        assert (verdict.code, verdict.log) == (1, "chain migration in progress")
        assert list((await client.call(prepare(4, [item]))).prepare_proposal.txs) == []
        assert (await client.call(process(4, []))).process_proposal.status == 2
        with pytest.raises(Refused, match="migration"):
            await client.call(finalize(4, []))
        assert "migration" in str(node.engine.trouble)
        await client.close()


async def test_a_migrated_chain_is_begun_by_its_genesis_and_goes_on_with_the_ledgers_heights() -> None:
    store = await begin_store(3)
    head = await store.head()
    assert head is not None
    state = json.dumps(Genesis(ChainParameters(), Migrated(3, head.app_hash, "0" * 8)).to_json()).encode()
    genesis = init_chain("new", app_state=state, time=START + 10**12)
    (item,) = creates(1)
    async with comet_node(store, connect=False) as node:
        for _ in range(2):
            comet = await node.connect(genesis=genesis)
            assert (comet.height, comet.app_hash.hex()) == (0, head.app_hash)
            await comet.close()
        comet = await node.connect(genesis=genesis)
        block = await comet.consensus.call(finalize(1, [item.canonical], START + 10**12))
        assert [result.code for result in block.finalize_block.tx_results] == [0]
        await comet.consensus.call(COMMIT)
        assert node.feed.head == 4
        answer = (await comet.query.call(info())).info
        assert (answer.last_block_height, answer.last_block_app_hash) == (1, block.finalize_block.app_hash)
        assert await node.store.height_of(item.id) == 4
        with pytest.raises(Refused, match="stands at block 4"):
            await comet.consensus.call(genesis)


@pytest.mark.parametrize(
    ("genesis", "why"),
    [
        (init_chain(), "goes on as 'new'"),
        (init_chain("new", validators=(Validator(PUBLIC, 3),)), "validators"),
        (
            init_chain(
                "new",
                app_state=json.dumps(
                    Genesis(ChainParameters(), Migrated(2, "ab" * 32, "0" * 8)).to_json()
                ).encode(),
            ),
            "make the file anew",
        ),
        (
            init_chain("new", app_state=json.dumps(Genesis(ChainParameters(max_inputs=9)).to_json()).encode()),
            "`max_inputs` is 9, the chain was founded with 1000",
        ),
        (
            init_chain(
                "new",
                app_state=json.dumps(
                    Genesis(ChainParameters(contracts=ContractParameters(max_number=9))).to_json()
                ).encode(),
            ),
            "`contracts.max_number` is 9",
        ),
    ],
)
async def test_another_genesis_than_that_of_the_migrated_chain_is_refused_with_what_is_needed(
    genesis: pb.Request, why: str
) -> None:
    store = await begin_store(3)
    async with comet_node(store, connect=False) as node:
        with pytest.raises(Refused, match=why):
            await FakeComet.connect(node.engine.address, genesis=genesis)
        comet = await node.connect(genesis=init_chain("new", app_state=APP_STATE))
        assert comet.height == 0
