# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stream port over real sockets: handshakes, messages, client frames, start and stop."""

import asyncio
import errno
import json
import socket
import ssl
from pathlib import Path

import pytest
import websockets.asyncio.client as client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from planetmint.ports.errors import StoreError
from planetmint.streams import StreamServer, StreamSettings, connection
from tests.unit.streams.tls import certificate_files
from tests.unit.streams.world import (
    BLOCKS,
    HOST,
    LABEL,
    PATIENCE,
    TRANSACTIONS,
    MemoryFeed,
    RawClient,
    client_frame,
    event,
    handshake,
    hash_of,
    key_of,
    numbered,
    until,
    world,
)

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


# -- messages


async def test_es_2_es_27_events_are_pushed_at_once_without_being_asked_for() -> None:
    async with world() as there, there.subscriber() as reader:
        there.feed.commit(event("a"))
        assert await reader.one() == {
            "height": 1,
            "asset_id": hash_of("a"),
            "asset_ids": [hash_of("a")],
            "transaction_id": hash_of("a"),
        }


async def test_es_18_nothing_is_replayed_and_everything_after_the_101_answer_is_delivered() -> None:
    async with world() as there:
        there.feed.commit(event("before"))
        for round_ in range(20):
            with await there.raw() as raw:
                name = f"after {round_}"
                there.feed.commit(event(name))
                opcode, payload = await raw.frame()
                assert opcode == TEXT
                assert json.loads(payload)["transaction_id"] == hash_of(name)


async def test_es_19_a_message_is_one_json_object_in_one_text_frame() -> None:
    async with world() as there:
        with await there.raw() as raw:
            there.feed.commit(event("a"), event("b"))
            frames = [await raw.frame() for _ in range(2)]
            assert [opcode for opcode, _ in frames] == [TEXT, TEXT]
            assert all(isinstance(json.loads(payload), dict) for _, payload in frames)


async def test_es_22_blocks_come_one_after_the_other_in_the_order_of_their_transactions() -> None:
    async with world() as there, there.subscriber() as reader:
        for height in range(1, 40):
            there.feed.commit(*(event(f"{height}/{index}") for index in range(height % 7)))
        wanted = [(block.height, one.transaction_id) for block in there.feed.blocks for one in block.events]
        got = await reader.some(len(wanted))
        assert [(message["height"], message["transaction_id"]) for message in got] == wanted


async def test_es_26_block_stream_has_a_message_for_empty_blocks_too() -> None:
    async with world() as there, there.subscriber(BLOCKS) as reader:
        there.feed.commit(event("a"), event("b"))
        there.feed.commit()
        assert await reader.some(2) == [
            {"height": 1, "hash": hash_of("app 1"), "transaction_ids": [hash_of("a"), hash_of("b")]},
            {"height": 2, "hash": hash_of("app 2"), "transaction_ids": []},
        ]


async def test_ex_1_to_ex_5_filters_reach_the_wire() -> None:
    queries = {
        "public_key": key_of("bob"),
        "owner_before": key_of("carol"),
        "asset_id": hash_of("car"),
        "operation": "transfer",
        "transaction_id": hash_of("gift"),
    }
    gift = event(
        "gift", operation=event("x").operation.TRANSFER, assets=["car"], owners=["bob"], signers=["carol"]
    )
    async with world() as there:
        for name, value in queries.items():
            async with there.subscriber(f"{TRANSACTIONS}?{name}={value}") as reader:
                there.feed.commit(event("other"), gift, event("another"))
                there.feed.commit(gift)
                assert await reader.ids(2) == [hash_of("gift")] * 2, name


async def test_a_filter_on_blocks_leaves_out_empty_ones_unless_they_are_wanted() -> None:
    query = f"?public_key={key_of('bob')}"
    async with (
        world() as there,
        there.subscriber(BLOCKS + query) as some,
        there.subscriber(BLOCKS + query + "&empty=true") as every,
    ):
        there.feed.commit(event("a"))
        there.feed.commit(event("b", owners=["bob"]), event("c"))
        there.feed.commit()
        assert [m["transaction_ids"] for m in await every.some(3)] == [[], [hash_of("b")], []]
        assert (await some.one())["height"] == 2


# -- resuming


async def test_ex_6_replay_then_live_without_hole_or_repetition() -> None:
    async with world() as there:
        there.feed.commit_many(50, 3)
        async with there.subscriber(f"{TRANSACTIONS}?from_height=11") as reader:
            there.feed.commit_many(10, 3)
            wanted = [one.transaction_id for block in there.feed.blocks[10:] for one in block.events]
            assert await reader.ids(len(wanted)) == wanted


async def test_ex_6_from_a_future_height_nothing_comes_before_it() -> None:
    async with world() as there:
        there.feed.commit_many(2)
        async with there.subscriber(f"{TRANSACTIONS}?from_height=6") as reader:
            there.feed.commit_many(6)
            message = await reader.one()
            assert (message["height"], message["previous"]) == (6, f"{LABEL}.5")


@pytest.mark.parametrize(
    ("cursor", "first", "previous"),
    [
        (f"{LABEL}.2.1", (2, 2), f"{LABEL}.2.1"),
        ("2.1", (2, 2), f"{LABEL}.2.1"),
        (f"{LABEL}.2.2", (3, 0), f"{LABEL}.2.2"),
        ("2", (3, 0), f"{LABEL}.2"),
        (f"{LABEL}.2", (3, 0), f"{LABEL}.2"),
        ("0", (1, 0), f"{LABEL}.0"),
        ("3.2", (4, 0), f"{LABEL}.3.2"),
    ],
)
async def test_ex_7_resuming_begins_right_after_the_cursor(
    cursor: str, first: tuple[int, int], previous: str
) -> None:
    async with world() as there:
        there.feed.commit_many(3, 3)
        async with there.subscriber(f"{TRANSACTIONS}?after={cursor}") as reader:
            there.feed.commit_many(1, 3)
            message = await reader.one()
            assert (message["height"], message["index"]) == first
            assert message["previous"] == previous


@pytest.mark.parametrize(
    ("cursor", "why"),
    [
        ("deadbeef.1.0", f"is a cursor of chain deadbeef; this chain is {LABEL}"),
        ("4", f"is beyond the chain's head, which is {LABEL}.3"),
        ("4.0", f"is beyond the chain's head, which is {LABEL}.3"),
        ("3.3", "is beyond the end of block 3"),
    ],
)
async def test_ex_7_a_wiped_or_foreign_chain_refuses_the_handshake_and_says_which(cursor: str, why: str) -> None:
    async with world() as there:
        there.feed.commit_many(3, 3)
        with await there.bare() as raw:
            head = await raw.upgrade(f"{TRANSACTIONS}?after={cursor}")
            assert head.startswith(b"HTTP/1.1 400 ")
            assert json.loads(await raw.rest()) == {"message": {"after": why}, "status": 400}


async def test_ex_7_frames_sent_before_the_cursor_was_checked_are_not_lost() -> None:
    async with world() as there:
        there.feed.commit_many(1)
        there.feed.gate.clear()
        with await there.bare() as raw:
            await raw.send(handshake(f"{TRANSACTIONS}?after=1.0"))
            await until(lambda: bool(there.feed.reads), "the cursor is looked up")
            await raw.send(client_frame(PING, b"early"))
            there.feed.gate.set()
            assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
            assert await raw.frame() == (PONG, b"early")


async def test_ex_7_a_cursor_that_cannot_be_looked_up_is_503_and_not_a_wrong_cursor() -> None:
    async with world() as there:
        there.feed.commit_many(1)
        there.feed.fault = StoreError("gone")
        with await there.bare() as raw:
            assert (await raw.upgrade(f"{TRANSACTIONS}?after=1.0")).startswith(b"HTTP/1.1 503 ")


async def test_ex_8_previous_chains_messages_over_history_and_live() -> None:
    async with world() as there:
        there.feed.commit_many(5, 2)
        query = f"{TRANSACTIONS}?from_height=2&cursor=true"
        async with there.subscriber(query) as reader, there.subscriber(f"{TRANSACTIONS}?cursor=true") as live:
            there.feed.commit_many(5, 2)
            messages = await reader.some(18)
            assert [m["previous"] for m in messages] == [f"{LABEL}.1", *(m["cursor"] for m in messages[:-1])]
            assert messages[-1]["cursor"] == f"{LABEL}.10.1"
            assert (await live.one())["previous"] == f"{LABEL}.5"


async def test_ex_8_without_the_parameter_messages_have_no_cursor() -> None:
    async with world() as there, there.subscriber() as reader, there.subscriber(BLOCKS) as blocks:
        there.feed.commit(event("a"))
        assert set(await reader.one()) == {"height", "asset_id", "asset_ids", "transaction_id"}
        assert set(await blocks.one()) == {"height", "hash", "transaction_ids"}


async def test_replay_of_several_readers_shares_what_is_read() -> None:
    async with world() as there:
        there.feed.commit_many(30, 100)
        there.feed.gate.clear()
        readers = [await there.raw(f"{TRANSACTIONS}?from_height={height}") for height in (1, 1, 1, 2, 3)]
        there.feed.gate.set()
        for raw, first in zip(readers, (1, 1, 1, 2, 3), strict=True):
            for height in range(first, 31):
                for _ in range(100):
                    assert json.loads((await raw.frame())[1])["height"] == height
            raw.sock.close()
        assert len(there.feed.reads) < 15


# -- what clients send


async def test_es_11_ping_is_answered_by_a_pong_with_the_same_payload() -> None:
    async with world() as there:
        with await there.raw() as raw:
            await raw.send(client_frame(PING, b"are you there?"))
            assert await raw.frame() == (PONG, b"are you there?")


async def test_es_12_es_14_pongs_texts_and_binaries_are_ignored() -> None:
    async with world() as there:
        with await there.raw() as raw:
            await raw.send(
                client_frame(PONG, b"x") + client_frame(TEXT, b"x" * 60_000) + client_frame(BINARY, b"\xff")
            )
            await raw.send(client_frame(PING, b"end"))
            assert await raw.frame() == (PONG, b"end")
            there.feed.commit(event("a"))
            assert (await raw.frame())[0] == TEXT


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(TEXT, b"x" * 70_000), 1009),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(TEXT, b"x", mask=False), 1002),
        (client_frame(3, b"x"), 1002),
    ],
    ids=["too long", "not UTF-8", "not masked", "unknown opcode"],
)
async def test_es_15_breaches_close_this_connection_only(data: bytes, code: int) -> None:
    async with world() as there, there.subscriber() as other:
        with await there.raw() as raw:
            await raw.send(data)
            frame = await raw.frame()
            assert (frame[0], frame.code) == (CLOSE, code)
        there.feed.commit(event("a"))
        assert await other.ids(1) == [hash_of("a")]


async def test_es_15_the_bound_is_a_setting() -> None:
    async with world(max_message_bytes=10) as there:
        with await there.raw() as raw:
            await raw.send(client_frame(TEXT, b"x" * 10) + client_frame(TEXT, b"x" * 11))
            assert (await raw.frame()).code == 1009


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9bye", b"\x0f\xa0"])
async def test_es_16_a_close_frame_is_answered_with_its_code_and_the_socket_closed(payload: bytes) -> None:
    async with world() as there:
        with await there.raw() as raw:
            await raw.send(client_frame(CLOSE, payload))
            assert await raw.frame() == (CLOSE, payload[:2])
            assert await raw.rest() == b""
        await until(lambda: there.server.subscribers == 0, "the subscriber is forgotten")


async def test_a_flood_of_tiny_frames_does_not_keep_others_waiting() -> None:
    async with world() as there, there.subscriber() as other:
        with await there.raw() as raw:
            await raw.send(client_frame(PONG) * 20_000 + client_frame(PING, b"end"))
            there.feed.commit(event("a"))
            assert await other.ids(1) == [hash_of("a")]
            assert (await raw.frame())[0] in (TEXT, PONG)
            assert (await raw.frame())[0] in (TEXT, PONG)


async def test_a_flood_of_frames_is_left_in_the_socket_until_it_can_be_looked_at() -> None:
    async with world() as there:
        with await there.raw() as raw:
            (flooded,) = there.server.hub.everybody()
            assert isinstance(flooded, connection.Connection)
            sending = asyncio.create_task(raw.send(client_frame(PONG) * 20_000 + client_frame(PING, b"end")))
            reading: list[bool] = []
            while not sending.done() or not reading:
                if flooded._parsing:
                    reading.append(flooded._transport.is_reading())
                await asyncio.sleep(0)
            assert not any(reading)
            assert await raw.frame() == (PONG, b"end")


async def test_es_13_the_node_pings_and_a_client_that_answers_stays() -> None:
    async with world(ping_interval=0.02) as there, there.subscriber() as reader:
        with await there.raw() as raw:
            for _ in range(8):
                assert await raw.frame() == (PING, b"")
                await raw.send(client_frame(PONG))
        there.feed.commit(event("a"))
        assert await reader.ids(1) == [hash_of("a")]


async def test_es_13_a_peer_that_misses_two_pings_is_dropped() -> None:
    async with world(ping_interval=0.05) as there:
        with await there.raw() as raw:
            frames = await raw.frames_until_close()
            assert [opcode for opcode, _ in frames] == [PING, PING, CLOSE]
            await until(lambda: there.server.subscribers == 0, "it is no subscriber any more")


def test_es_10_es_13_defaults_keep_a_connection_alive_behind_a_proxy_that_cuts_idle_ones() -> None:
    assert StreamSettings().ping_interval == 30
    assert StreamSettings().stall_timeout == 30
    assert StreamSettings().max_connections >= 10_000
    assert StreamSettings().max_message_bytes == 65_536


# -- requests that are no handshake


async def test_answers_that_are_no_upgrade_are_complete_and_close() -> None:
    cases = {
        b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n": b"404",
        b"GET " + TRANSACTIONS.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n": b"426",
        b"POST " + TRANSACTIONS.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello": b"405",
        b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n": b"200",
        b"GET / HTTP/1.0\r\n\r\n": b"200",
        b"\x16\x03\x01": b"400",
        b"hello\r\n\r\n": b"400",
    }
    async with world() as there:
        for data, status in cases.items():
            with await there.bare() as raw:
                await raw.send(data)
                head = await raw.head()
                body = await raw.rest()
                assert head.split()[1] == status, data
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
                assert int(length.split()[1]) == len(body)
                assert b"Access-Control-Allow-Origin: *" in head
        assert there.server.refused == 5


async def test_a_head_that_is_too_long_or_does_not_come_is_refused() -> None:
    async with world(head_timeout=0.1) as there:
        with await there.bare() as raw:
            await raw.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
            assert (await raw.head()).split()[1] == b"431"
        with await there.bare() as raw:
            await raw.send(b"GET / HTTP/1.1\r\n")
            assert (await raw.head()).split()[1] == b"408"
        with await there.bare() as raw:
            assert (await raw.head()).split()[1] == b"408"


async def test_a_handshake_that_comes_byte_by_byte_is_understood() -> None:
    async with world() as there:
        with await there.bare() as raw:
            for byte in handshake():
                await raw.send(bytes([byte]))
            assert (await raw.head()).startswith(b"HTTP/1.1 101 ")


async def test_es_17_over_the_limit_a_handshake_is_503_and_room_is_given_back() -> None:
    async with world(max_connections=2) as there:
        async with there.subscriber(), there.subscriber():
            with pytest.raises(InvalidStatus) as refused:
                async with there.subscriber():
                    pass
            assert refused.value.response.status_code == 503
            assert "Retry-After" in refused.value.response.headers
        await until(lambda: there.server.subscribers == 0, "both have left")
        async with there.subscriber() as reader:
            there.feed.commit(event("a"))
            assert await reader.ids(1) == [hash_of("a")]


async def test_es_17_many_simultaneous_connections_from_one_address() -> None:
    async with world() as there:
        raws = [await there.raw() for _ in range(200)]
        assert there.server.subscribers == 200
        there.feed.commit(event("a"))
        for raw in raws:
            assert (await raw.frame())[0] == TEXT
            raw.sock.close()
        await until(lambda: there.server.subscribers == 0, "all have left")
        assert there.server.messages_sent == 200


# -- start and stop


async def test_es_16_shutdown_hands_out_the_last_block_and_closes_with_1001() -> None:
    feed = MemoryFeed()
    async with world(feed) as there:
        raw = await there.raw()
        feed.commit(event("last"))
        stopping = asyncio.create_task(there.server.stop())
        frames = await raw.frames_until_close()
        await raw.send(client_frame(CLOSE, b"\x03\xe9"))
        await stopping
        assert [opcode for opcode, _ in frames] == [TEXT, CLOSE]
        assert frames[-1].code == 1001
        raw.sock.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, there.server.port or 1))


async def test_shutdown_does_not_wait_for_ever_for_clients_that_do_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CLOSE_GRACE", 0.05)
    async with world() as there:
        with await there.raw(), await there.bare():
            async with asyncio.timeout(PATIENCE):
                await there.server.stop()
            assert there.server.subscribers == 0


async def test_a_taken_port_is_an_oserror_and_leaves_nothing_behind() -> None:
    async with world() as there:
        feed = MemoryFeed()
        second = StreamServer(feed, StreamSettings())
        with pytest.raises(OSError) as caught:
            await second.start(HOST, there.server.port)
        assert caught.value.errno == errno.EADDRINUSE
        feed.commit_many(1)
        assert second.hub.head == 0


async def test_es_5_a_host_name_is_listened_on_at_all_its_addresses_with_one_port() -> None:
    server = StreamServer(MemoryFeed(), StreamSettings())
    await server.start("localhost", 0)
    try:
        socket.create_connection((HOST, server.port)).close()
    finally:
        await server.stop()


async def test_ex_12_the_port_can_speak_tls(tmp_path: Path) -> None:
    cert, key = certificate_files(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(cert, key)
    async with world(tls=server_side) as there:
        trusting = ssl.create_default_context(cafile=str(cert))
        url = there.url().replace("ws://", "wss://")
        async with client.connect(url, ssl=trusting, server_hostname="localhost", proxy=None) as one:
            there.feed.commit(event("a"))
            async with asyncio.timeout(PATIENCE):
                assert hash_of("a") in str(await one.recv())


# -- a failed event source


async def test_es_29_a_store_that_fails_for_good_closes_with_1011_and_says_where_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planetmint.streams.hub._FIRST_RETRY_DELAY", 0.001)
    async with world() as there, there.subscriber() as live:
        there.feed.commit_many(3)
        await live.some(3)
        there.feed.fault = StoreError("disk on fire")
        async with there.subscriber(f"{TRANSACTIONS}?from_height=2") as reader:
            with pytest.raises(ConnectionClosed) as closed:
                await reader.one()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
            assert f"{LABEL}.1" in closed.value.rcvd.reason
        there.feed.commit_many(1)
        assert numbered(await live.some(1)) == [4]


async def test_es_29_a_store_that_fails_for_a_while_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planetmint.streams.hub._FIRST_RETRY_DELAY", 0.01)
    async with world() as there:
        there.feed.commit_many(3)
        there.feed.fault = StoreError("busy")
        async with there.subscriber(f"{TRANSACTIONS}?from_height=1") as reader:
            await until(lambda: len(there.feed.reads) >= 2, "it was asked twice")
            there.feed.fault = None
            assert numbered(await reader.some(3)) == [1, 2, 3]


async def test_es_29_a_store_that_has_lost_blocks_is_a_failed_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planetmint.streams.hub._FIRST_RETRY_DELAY", 0.001)
    async with world() as there:
        there.feed.commit_many(3)
        del there.feed.blocks[1:]
        with await there.raw(f"{TRANSACTIONS}?from_height=2") as raw:
            assert (await raw.frame()).code == 1011


async def test_es_30_a_browser_page_is_served_on_the_same_port() -> None:
    async with world() as there:
        with await there.bare() as raw:
            await raw.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"text/html" in await raw.head()
            assert (await raw.rest()).endswith(b"</html>\n")


async def test_raw_clients_in_these_tests_are_strict() -> None:
    one, two = socket.socketpair()
    one.setblocking(False)
    two.sendall(b"\x81\x01x\xc1\x01x")
    with RawClient(one) as raw:
        assert await raw.frame() == (TEXT, b"x")
        with pytest.raises(AssertionError):
            await raw.frame()
    two.close()
