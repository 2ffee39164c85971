# SPDX-License-Identifier: AGPL-3.0-or-later
"""Slow, stalled, vanished and joining subscribers: none delays another, nothing grows, nothing is lost (ES-28)."""

import asyncio
import itertools
import json
from collections.abc import Iterator

import pytest

from planetmint.streams import connection, hub
from planetmint.streams.batch import Batch
from planetmint.streams.catalogue import STREAMS, View
from planetmint.streams.cursor import Position
from planetmint.streams.filters import EVERYTHING
from planetmint.streams.history import History
from planetmint.streams.hub import Hub
from planetmint.streams.subscription import Subscription
from tests.unit.streams.world import (
    LABEL,
    TRANSACTIONS,
    MemoryFeed,
    RawClient,
    World,
    client_frame,
    event,
    hash_of,
    until,
    world,
)

CLOSE, PING, PONG = 8, 9, 10
SMALL = 4_096
PLAIN = View(STREAMS["valid_transactions"], EVERYTHING, False, False, LABEL)


async def slow_reader(there: World, path: str = TRANSACTIONS) -> RawClient:
    """A client whose kernel holds little, so that the node notices soon that nothing is read."""
    raw = await there.bare(receive_buffer=SMALL)
    await raw.upgrade(path)
    return raw


def committed(feed: MemoryFeed) -> Iterator[str]:
    return (one.transaction_id for block in feed.blocks for one in block.events)


async def fill_until_lagging(there: World, count: int = 1) -> None:
    """Commit blocks until so many subscribers take nothing more; give the loop time to write each."""
    while there.server.lagging < count:
        there.feed.commit_many(1, 100)
        await asyncio.sleep(0)
        assert there.feed.head < 2_000, "nobody began to lag"


async def test_es_28_a_reader_that_lags_is_served_from_the_store_and_misses_and_repeats_nothing() -> None:
    async with world() as there:
        raw = await slow_reader(there)
        await fill_until_lagging(there)
        there.feed.commit_many(50, 100)
        wanted = list(committed(there.feed))
        got = [json.loads((await raw.frame())[1])["transaction_id"] for _ in wanted]
        assert got == wanted
        assert there.feed.reads, "history was read from the store"
        await until(lambda: there.server.lagging == 0, "it is live again")
        reads = len(there.feed.reads)
        there.feed.commit(event("live again"))
        assert json.loads((await raw.frame())[1])["transaction_id"] == hash_of("live again")
        assert len(there.feed.reads) == reads
        raw.sock.close()


async def test_es_28_memory_of_a_stalled_subscriber_is_bounded() -> None:
    async with world() as there:
        raw = await slow_reader(there)
        await fill_until_lagging(there)
        (stalled,) = there.server.hub.everybody()
        assert isinstance(stalled, connection.Connection)
        held = stalled._transport.get_write_buffer_size()
        assert held < there.server.settings.high_water + 200_000
        for _ in range(100):
            there.feed.commit_many(1, 100)
            await asyncio.sleep(0)
        assert stalled._transport.get_write_buffer_size() == held
        raw.sock.close()


async def test_es_28_a_stalled_subscriber_does_not_delay_the_others() -> None:
    async with world() as there:
        stalled = [await slow_reader(there) for _ in range(5)]
        async with there.subscriber() as other:
            done: list[object] = []

            async def read() -> None:
                while len(done) < 40_000:
                    done.append((await other.one())["transaction_id"])

            reading = asyncio.create_task(read())
            await fill_until_lagging(there, 5)
            there.feed.commit_many(3, 100)
            count = len(list(committed(there.feed)))
            await until(lambda: len(done) == count, "the reader has everything while others take nothing")
            assert done == list(committed(there.feed))
            assert there.server.lagging == 5
            reading.cancel()
        for raw in stalled:
            raw.sock.close()


async def test_es_28_a_socket_that_takes_nothing_is_closed_with_1013_and_its_resume_cursor() -> None:
    async with world(stall_timeout=0.1) as there:
        raw = await slow_reader(there)
        await fill_until_lagging(there)
        await until(lambda: there.server.subscribers == 0, "it was closed")
        frames = await raw.frames_until_close()
        close = frames[-1]
        last = json.loads(frames[-2][1])
        assert close.code == 1013
        assert close.reason == f"too slow; resume after={LABEL}.{last['height']}"
        served = there.feed.blocks[: last["height"]]
        assert len(frames) - 1 == sum(len(block.events) for block in served)
        raw.sock.close()


async def test_es_28_a_socket_that_does_not_even_take_the_close_frame_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CLOSE_GRACE", 0.05)
    async with world(stall_timeout=0.1) as there:
        raw = await slow_reader(there)
        await fill_until_lagging(there)
        await until(lambda: not there.server._connections, "the socket is gone")
        raw.sock.close()


async def test_es_28_a_slow_reader_that_does_take_something_is_not_closed() -> None:
    loop = asyncio.get_running_loop()
    async with world(stall_timeout=0.5) as there:
        raw = await slow_reader(there)
        await fill_until_lagging(there)
        began, got = loop.time(), 0
        # Far slower than the node could write and for much longer than the timeout, but never idle for so long.
        while loop.time() < began + 1.5:
            await asyncio.sleep(0.01)
            for _ in range(20):
                message = json.loads((await raw.frame())[1])
                assert message["transaction_id"] == hash_of(f"{got // 100 + 1}/{got % 100}")
                got += 1
            if there.feed.head * 100 - got < 2_000:
                there.feed.commit_many(10, 100)
        assert there.server.subscribers == 1
        raw.sock.close()


async def test_es_28_a_lagging_reader_can_be_stopped_and_resumed_by_the_cursor_in_the_close_reason() -> None:
    async with world(stall_timeout=0.1) as there:
        raw = await slow_reader(there, f"{TRANSACTIONS}?cursor=true")
        await fill_until_lagging(there)
        await until(lambda: there.server.subscribers == 0, "it was closed")
        frames = await raw.frames_until_close()
        raw.sock.close()
        got = [json.loads(payload)["transaction_id"] for _, payload in frames[:-1]]
        there.feed.commit_many(3, 2)
        cursor = frames[-1].reason.partition("after=")[2]
        wanted = list(committed(there.feed))
        with await there.raw(f"{TRANSACTIONS}?after={cursor}") as again:
            while len(got) < len(wanted):
                got.append(json.loads((await again.frame())[1])["transaction_id"])
        assert got == wanted


async def test_es_28_vanished_subscribers_do_not_disturb_the_stream() -> None:
    async with world() as there, there.subscriber() as other:
        ids: list[object] = []
        for round_ in range(10):
            raws = [await there.raw() for _ in range(5)]
            there.feed.commit_many(3, 10)
            raws[0].reset()
            there.feed.commit_many(1, 10)
            raws[1].sock.close()
            await asyncio.sleep(0)
            raws[2].reset()
            there.feed.commit_many(1, 10)
            raws[3].reset()
            raws[4].reset()
            ids += await other.ids(50)
            assert ids == list(committed(there.feed)), round_
        await until(lambda: there.server.subscribers == 1, "only the other one is left")


async def test_es_28_a_subscriber_that_vanishes_while_it_is_served_from_the_store_is_forgotten() -> None:
    async with world() as there:
        there.feed.commit_many(10)
        there.feed.gate.clear()
        raw = await there.raw(f"{TRANSACTIONS}?from_height=1")
        await until(lambda: bool(there.feed.reads), "history is being read for it")
        raw.reset()
        await until(lambda: there.server.subscribers == 0, "it is forgotten")
        there.feed.gate.set()
        with await there.raw(f"{TRANSACTIONS}?from_height=1") as another:
            assert json.loads((await another.frame())[1])["height"] == 1
        assert there.server.lagging == 0


async def test_es_28_joining_subscribers_see_a_gapless_stream_from_their_first_message_on() -> None:
    async with world() as there, there.subscriber() as other:
        raws: list[RawClient] = []
        for _ in range(30):
            raws.append(await there.raw())
            there.feed.commit_many(2, 3)
            await asyncio.sleep(0)
        everything = list(committed(there.feed))
        for number, raw in enumerate(raws):
            wanted = everything[number * 6 :]
            got = [json.loads((await raw.frame())[1])["transaction_id"] for _ in wanted]
            assert got == wanted
            raw.sock.close()
        assert await other.ids(len(everything)) == everything


async def test_a_client_that_pings_and_does_not_read_gets_the_newest_pong_only_once_it_reads() -> None:
    async with world() as there:
        raw = await slow_reader(there)
        await fill_until_lagging(there)
        (stalled,) = there.server.hub.everybody()
        assert isinstance(stalled, connection.Connection)
        held = stalled._transport.get_write_buffer_size()
        for number in range(100):
            await raw.send(client_frame(PING, str(number).encode()))
        await until(lambda: stalled._unanswered_ping == b"99", "the newest ping is remembered")
        assert stalled._transport.get_write_buffer_size() == held
        while (frame := await raw.frame())[0] != PONG:
            pass
        assert frame[1] == b"99"
        raw.sock.close()


async def test_blocks_that_come_faster_than_they_can_be_handed_out_are_left_to_history() -> None:
    async with world() as there, there.subscriber() as reader:
        # Nothing runs between these commits, so that the queue overflows.
        there.feed.commit_many(30, hub.QUEUE_EVENTS // 20)
        wanted = list(committed(there.feed))
        assert await reader.ids(len(wanted)) == wanted
        assert there.feed.reads


class BrokenSubscriber:
    """One whose socket raises what nobody expects."""

    def __init__(self, crowd: Hub) -> None:
        self.crowd = crowd
        self.subscription = Subscription(PLAIN, Position(0))
        self.closed: list[int] = []

    def write_batch(self, batch: Batch) -> int:
        raise ZeroDivisionError

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)
        self.subscription.close()
        self.crowd.leave(self)

    def check_stall(self) -> None:
        raise AssertionError


async def test_es_28_es_29_an_exception_in_one_subscriber_closes_it_and_reaches_nobody_else() -> None:
    async with world() as there:
        live, lagging = BrokenSubscriber(there.server.hub), BrokenSubscriber(there.server.hub)
        there.server.hub.join(live)
        async with there.subscriber() as reader:
            there.feed.commit(event("a"), event("b"))
            assert await reader.ids(2) == [hash_of("a"), hash_of("b")]
            there.server.hub.join(lagging)
            there.feed.commit(event("c"))
            assert await reader.ids(1) == [hash_of("c")]
            await until(lambda: bool(lagging.closed), "the lagging one is closed too")
        assert live.closed == [1011]
        assert lagging.closed == [1011]
        assert there.server.lagging == 0


async def test_a_slice_of_the_fan_out_lets_other_work_in_between() -> None:
    feed = MemoryFeed()
    crowd = Hub(feed, 30.0)
    crowd.start()
    turns: list[int] = []
    served: list[int] = []

    class Counting(BrokenSubscriber):
        def write_batch(self, batch: Batch) -> int:
            delivery = self.subscription.take(batch)
            served.append(1)
            return len(delivery.data) if delivery else 0

    for _ in range(1_000):
        crowd.join(Counting(crowd))
    feed.commit_many(1, 100)
    while len(served) < 1_000:
        turns.append(len(served))
        await asyncio.sleep(0)
    steps = [later - earlier for earlier, later in itertools.pairwise(turns)]
    assert max(steps) * 20_000 <= 2 * hub.SLICE_COST
    await crowd.stop(1.0)


async def test_history_pages_are_kept_within_a_bound_of_bytes() -> None:
    feed = MemoryFeed()
    feed.commit_many(200, 10)
    history = History(feed, page_events=20, cache_bytes=100_000)
    for height in range(1, 201):
        page = await history.page(height)
        assert page.first <= height <= page.last
    assert sum(page.weight for page in history._pages.values()) < 140_000
    assert len(feed.reads) == 100


async def test_one_reader_that_goes_away_does_not_take_the_page_from_another() -> None:
    feed = MemoryFeed()
    feed.commit_many(3)
    feed.gate.clear()
    history = History(feed)
    first, second = (asyncio.create_task(history.page(1)) for _ in range(2))
    await until(lambda: bool(feed.reads), "the page is being read")
    first.cancel()
    feed.gate.set()
    assert (await second).last == 3
    assert feed.reads == [1]


async def test_ex_6_a_replay_comes_to_its_end_though_new_blocks_never_stop() -> None:
    async with world() as there:
        there.feed.commit_many(100, 50)
        wanted = 6_000
        busy = [await there.raw() for _ in range(20)]

        async def never_stop() -> None:
            while True:
                there.feed.commit_many(1, 5)
                await asyncio.sleep(0)

        committing = asyncio.create_task(never_stop())
        with await there.raw(f"{TRANSACTIONS}?from_height=1") as raw:
            got = [json.loads((await raw.frame())[1])["transaction_id"] for _ in range(wanted)]
        committing.cancel()
        assert got == list(committed(there.feed))[:wanted]
        for other in busy:
            other.sock.close()
