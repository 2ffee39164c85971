# SPDX-License-Identifier: AGPL-3.0-or-later
"""The event stream of a whole node: real posts over HTTP, real subscribers, a real browser."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from playwright.sync_api import expect
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from planetmint.streams.catalogue import STREAMS
from planetmint.streams.query import PARAMETERS
from planetmint.testing.build import Builder, Built, Dialect, public_key
from tests.functional.browser import DESKTOP, PHONE, chromium, quiet_page
from tests.support.node import HOST, NodeProcess

OLD, NEW = Builder(Dialect.BIGCHAINDB), Builder(Dialect.PLANETMINT_2)
PATIENCE = 30.0

Json = dict[str, Any]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("streams") / "data") as running:
        yield running


@pytest.fixture
async def api(node: NodeProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{node.base_url}/api/v1", timeout=PATIENCE) as client:
        yield client


async def commit(api: httpx.AsyncClient, *transactions: Built) -> None:
    for one in transactions:
        answer = await api.post("/transactions", params={"mode": "commit"}, content=one.canonical)
        assert answer.status_code == 202, answer.text


async def receive(stream: ClientConnection, count: int) -> list[Json]:
    async with asyncio.timeout(PATIENCE):
        return [json.loads(await stream.recv()) for _ in range(count)]


def blocks_url(node: NodeProcess) -> str:
    return node.stream_url.replace("valid_transactions", "valid_blocks")


def ids(transactions: Sequence[Built]) -> list[str]:
    return [one.id for one in transactions]


# -- discovery


async def test_es_1_es_2_streams_are_served_on_a_port_of_their_own_and_not_on_the_web_apis(
    node: NodeProcess, api: httpx.AsyncClient
) -> None:
    assert node.stream_port != node.http_port
    assert (await api.get("/streams/valid_transactions")).status_code == 404
    async with websockets.connect(node.stream_url) as stream:
        created = OLD.create("es-1")
        await commit(api, created)
        assert (await receive(stream, 1))[0]["transaction_id"] == created.id


async def test_es_3_es_4_es_7_the_web_api_tells_the_stream_urls(node: NodeProcess) -> None:
    authority = f"{HOST}:{node.stream_port}"
    wanted = {
        "streams": f"ws://{authority}/api/v1/streams/valid_transactions",
        "streamedblocks": f"ws://{authority}/api/v1/streams/valid_blocks",
    }
    async with httpx.AsyncClient(base_url=node.base_url, headers={"Host": "elsewhere.example"}) as client:
        index = (await client.get("/api/v1/")).json()
        root = (await client.get("/")).json()["api"]["v1"]
    for answer in (index, root):
        assert set(answer["stream_parameters"]) <= set(PARAMETERS)
        assert answer["stream_endpoints"].keys() == STREAMS.keys()
        assert {key: answer[key] for key in wanted} == wanted
    for url in wanted.values():
        async with websockets.connect(url):
            pass


async def test_es_4_es_5_advertised_address_comes_from_settings_alone(tmp_path: Path) -> None:
    settings = {
        "PLANETMINT_WSSERVER_ADVERTISED_SCHEME": "wss",
        "PLANETMINT_WSSERVER_ADVERTISED_HOST": "stream.example.com",
        "PLANETMINT_WSSERVER_ADVERTISED_PORT": "443",
    }
    with NodeProcess(tmp_path / "data", env=settings) as node, httpx.Client(base_url=node.base_url) as client:
        index = client.get("/api/v1/").json()
        assert index["streams"] == "wss://stream.example.com:443/api/v1/streams/valid_transactions"
        async with websockets.connect(node.stream_url):
            pass


async def test_es_6_es_8_es_9_streams_live_under_the_versioned_path_for_any_origin(node: NodeProcess) -> None:
    assert node.stream_url.endswith("/api/v1/streams/valid_transactions")
    async with websockets.connect(
        node.stream_url + "/?foo=1", origin=websockets.Origin("https://elsewhere.example"),
        subprotocols=[websockets.Subprotocol("chat")],
    ) as stream:  # fmt: skip
        assert stream.subprotocol is None


# -- what is streamed


async def test_es_20_es_21_es_25_every_operation_is_streamed_with_its_assets(
    node: NodeProcess, api: httpx.AsyncClient
) -> None:
    one, two = NEW.create("es-20", data="wheel"), NEW.create("es-20", data="frame")
    moved = NEW.transfer([one.spend()], [(1, "es-20")])
    whole = NEW.compose([moved.spend(), two.spend()], [(1, "es-20")], data="bicycle")
    parts = NEW.decompose(whole.spend(), ["scrap", "rubber"])
    async with websockets.connect(node.stream_url) as stream:
        await commit(api, one, two, moved, whole, parts)
        messages = await receive(stream, 5)
    assert [message["transaction_id"] for message in messages] == ids([one, two, moved, whole, parts])
    assert [message["asset_id"] for message in messages] == [one.id, two.id, one.id, whole.id, whole.id]
    assert messages[2]["asset_ids"] == [one.id]
    assert messages[3]["asset_ids"] == [whole.id, one.id, two.id]
    assert messages[4]["asset_ids"] == [parts.id, whole.id]
    heights = [message["height"] for message in messages]
    assert heights == sorted(heights)
    for message in messages:
        assert set(message) == {"height", "asset_id", "asset_ids", "transaction_id"}
        assert message["asset_id"] in message["asset_ids"]


async def test_es_22_batches_are_streamed_in_the_order_of_their_blocks(
    node: NodeProcess, api: httpx.AsyncClient
) -> None:
    many = [OLD.create(f"es-22-{number}") for number in range(300)]
    lines = b"\n".join(one.canonical for one in many)
    async with websockets.connect(node.stream_url) as stream, websockets.connect(blocks_url(node)) as blocks:
        answer = await api.post("/transactions", content=lines, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 200
        messages = await receive(stream, len(many))
        listed: list[tuple[int, str]] = []
        while len(listed) < len(many):
            (block,) = await receive(blocks, 1)
            listed += [(block["height"], one) for one in block["transaction_ids"]]
    assert [(message["height"], message["transaction_id"]) for message in messages] == listed
    assert sorted(one for _, one in listed) == sorted(ids(many))
    for height in {height for height, _ in listed}:
        stored = (await api.get(f"/blocks/{height}")).json()
        assert stored["transaction_ids"] == [one for at, one in listed if at == height]


async def test_es_23_what_was_streamed_can_be_read_at_once(node: NodeProcess, api: httpx.AsyncClient) -> None:
    many = [OLD.create(f"es-23-{number}") for number in range(30)]

    async def post() -> None:
        for one in many:
            answer = await api.post("/transactions", params={"mode": "async"}, content=one.canonical)
            assert answer.status_code == 202

    async with websockets.connect(node.stream_url) as stream:
        posting = asyncio.create_task(post())
        for number in range(len(many)):
            (message,) = await receive(stream, 1)
            assert (await api.get(f"/transactions/{message['transaction_id']}")).status_code == 200
            block = (await api.get(f"/blocks/{message['height']}")).json()
            assert message["transaction_id"] in block["transaction_ids"]
            key = public_key(f"es-23-{ids(many).index(message['transaction_id'])}")
            assert len((await api.get("/outputs", params={"public_key": key})).json()) == 1, number
        await posting


async def test_es_24_invalid_transactions_are_not_streamed(node: NodeProcess, api: httpx.AsyncClient) -> None:
    coin = OLD.create("es-24")
    spends = [OLD.transfer([coin.spend()], [(1, f"es-24-{number}")]) for number in range(10)]
    async with websockets.connect(node.stream_url) as stream:
        await commit(api, coin)
        answers = await asyncio.gather(
            *(api.post("/transactions", params={"mode": "commit"}, content=one.canonical) for one in spends)
        )
        winners = [one.id for one, answer in zip(spends, answers, strict=True) if answer.status_code == 202]
        assert len(winners) == 1
        last = OLD.create("es-24-last")
        await commit(api, last)
        assert [m["transaction_id"] for m in await receive(stream, 3)] == [coin.id, *winners, last.id]


async def test_es_26_block_messages_carry_the_app_hash(node: NodeProcess, api: httpx.AsyncClient) -> None:
    async with websockets.connect(blocks_url(node)) as stream:
        created = OLD.create("es-26")
        await commit(api, created)
        (message,) = await receive(stream, 1)
    stored = (await api.get(f"/blocks/{message['height']}")).json()
    assert message == {
        "height": stored["height"],
        "hash": stored["app_hash"],
        "transaction_ids": [created.id],
    }


async def test_ex_1_ex_2_filters_look_at_new_owners_and_at_who_signed(
    node: NodeProcess, api: httpx.AsyncClient
) -> None:
    coin = OLD.create("ex-alice")
    gift = OLD.transfer([coin.spend()], [(1, "ex-bob")])
    onward = OLD.transfer([gift.spend()], [(1, "ex-carol")])
    bob = public_key("ex-bob")
    async with (
        websockets.connect(f"{node.stream_url}?public_key={bob}") as owner,
        websockets.connect(f"{node.stream_url}?owner_before={bob}") as signer,
        websockets.connect(f"{node.stream_url}?asset_id={coin.id}&operation=transfer") as asset,
    ):
        await commit(api, coin, gift, onward)
        assert [m["transaction_id"] for m in await receive(asset, 2)] == [gift.id, onward.id]
        assert [m["transaction_id"] for m in await receive(owner, 1)] == [gift.id]
        assert [m["transaction_id"] for m in await receive(signer, 1)] == [onward.id]


# -- over restarts


async def test_es_16_es_29_ex_7_a_restart_closes_with_1001_and_a_cursor_leads_on(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "data")
    first, second = ([OLD.create(f"restart-{part}-{number}") for number in range(5)] for part in "ab")
    with node:
        async with (
            httpx.AsyncClient(base_url=f"{node.base_url}/api/v1", timeout=PATIENCE) as api,
            websockets.connect(f"{node.stream_url}?cursor=true") as stream,
        ):
            await commit(api, *first)
            messages = await receive(stream, 5)
            stopping = asyncio.create_task(asyncio.to_thread(node.stop))
            with pytest.raises(ConnectionClosed) as closed:
                await receive(stream, 1)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            assert await stopping == 0
    with node:
        async with httpx.AsyncClient(base_url=f"{node.base_url}/api/v1", timeout=PATIENCE) as api:
            async with websockets.connect(f"{node.stream_url}?after={messages[2]['cursor']}") as stream:
                await commit(api, *second)
                resumed = await receive(stream, 7)
            async with websockets.connect(f"{node.stream_url}?from_height=1") as stream:
                everything = await receive(stream, 10)
    assert [m["transaction_id"] for m in resumed] == ids(first[3:] + second)
    assert [m["transaction_id"] for m in everything] == ids(first + second)
    assert resumed[0]["previous"] == messages[2]["cursor"]


async def test_ex_7_a_wiped_chain_is_noticed(tmp_path: Path) -> None:
    cursors = []
    for part in "ab":
        with NodeProcess(tmp_path / part) as node:
            async with (
                httpx.AsyncClient(base_url=f"{node.base_url}/api/v1", timeout=PATIENCE) as api,
                websockets.connect(f"{node.stream_url}?cursor=true") as stream,
            ):
                await commit(api, OLD.create(f"wiped-{part}"))
                cursors.append((await receive(stream, 1))[0]["cursor"])
            if part == "b":
                with pytest.raises(websockets.InvalidStatus) as refused:
                    async with websockets.connect(f"{node.stream_url}?after={cursors[0]}"):
                        pass
                assert refused.value.response.status_code == 400
                why = json.loads(refused.value.response.body or b"")["message"]["after"]
                assert cursors[0].split(".")[0] in why
                assert cursors[1].split(".")[0] in why


# -- the demo page


@contextlib.contextmanager
def posting(node: NodeProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{node.base_url}/api/v1", timeout=PATIENCE) as client:
        yield client


def post(client: httpx.Client, one: Built) -> None:
    assert client.post("/transactions", params={"mode": "commit"}, content=one.canonical).status_code == 202


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_es_30_in_a_browser_connect_see_events_type_and_see_it_ignored(node: NodeProcess, device: str) -> None:
    url = f"http://{HOST}:{node.stream_port}/"
    options = DESKTOP if device == "desktop" else PHONE
    with chromium() as browser, quiet_page(browser, **options) as page, posting(node) as client:
        page.goto(url)
        expect(page.get_by_label("Stream URL")).to_have_value(node.stream_url)
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.get_by_role("status")).to_have_text("Connected")
        first, second = (OLD.create(f"es-30-{device}-{number}") for number in range(2))
        post(client, first)
        expect(page.locator("#list")).to_contain_text(first.id)
        page.get_by_label("Text to send").fill("hello, node")
        page.get_by_role("button", name="Send").click()
        expect(page.locator("#told")).to_contain_text("Sent 11 characters")
        post(client, second)
        expect(page.locator("#list")).to_contain_text(second.id)
        expect(page.locator("#messages")).to_have_text("2")
        expect(page.get_by_role("status")).to_have_text("Connected")
        box = page.locator("main").bounding_box()
        assert box is not None
        assert box["width"] <= options["viewport"]["width"], "nothing stands out of the page"
        overflow = page.locator("body").evaluate("body => body.scrollWidth - body.clientWidth")
        assert overflow <= 0
        page.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("status")).to_have_text("Closed (1000)")


def test_es_30_ex_8_the_page_filters_and_resumes(node: NodeProcess) -> None:
    with chromium() as browser, quiet_page(browser, **DESKTOP) as page, posting(node) as client:
        page.goto(f"http://{HOST}:{node.stream_port}/")
        page.get_by_text("Filters and resuming").click()
        page.get_by_label(re.compile("public_key")).fill(public_key("page-bob"))
        page.get_by_label("cursor in every message").check()
        expect(page.locator("#effective")).to_contain_text(f"public_key={public_key('page-bob')}")
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.get_by_role("status")).to_have_text("Connected")
        others, first, second = (OLD.create(name, data=str(number)) for number, name in enumerate(
            ["page-alice", "page-bob", "page-bob"]
        ))  # fmt: skip
        post(client, others)
        post(client, first)
        expect(page.locator("#list")).to_contain_text(first.id)
        page.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("status")).to_have_text("Closed (1000)")
        post(client, second)
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("#list")).to_contain_text(second.id)
        expect(page.locator("#messages")).to_have_text("2")
        expect(page.locator("#list")).not_to_contain_text(others.id)


def test_es_30_the_page_says_when_a_connection_cannot_be_made(node: NodeProcess) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"http://{HOST}:{node.stream_port}/")
        page.get_by_label("Stream URL").fill(node.stream_url + "?operation=BURN")
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("No connection")
        page.get_by_label("Stream URL").fill("not a URL")
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("Cannot connect")
