# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading the ledger: http-api 4.1, 4.2, 5, 6, 7, 8."""

import base64
import json
from typing import Any

import pytest

from planetmint.http import HttpSettings
from planetmint.ports.errors import LayoutError, StoreError, StoreFull
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import public_key
from tests.unit.http.world import CID, KEY, NEW, OLD, OTHER_CID, StubApplication, World, fill, served

MISSING = "0" * 64
REQUIRED = "Missing required parameter in the JSON body or the post body or the query string"
BOOLEAN = 'Boolean value must be "true" or "false" (lowercase)'


async def refusal(world: World, path: str) -> Any:
    """The message of a path that has to answer 400."""
    answer = await world.api(path)
    assert answer.status_code == 400
    assert answer.json()["status"] == 400
    return answer.json()["message"]


async def ids(world: World, path: str) -> list[str]:
    answer = await world.api(path)
    assert answer.status_code == 200
    return [item["id"] for item in answer.json()]


# 4.1 One transaction


async def test_http_4_1_a_transaction_comes_back_as_it_was_signed(world: World) -> None:
    for item in world.story.all:
        answer = await world.api(f"/transactions/{item.id}")
        assert (answer.status_code, answer.json()) == (200, item.wire)
        assert answer.content == item.canonical


@pytest.mark.parametrize("wanted", [MISSING, "abc", "z" * 64, "a" * 63, "a" * 65, "%00", "1" * 5000])
async def test_http_4_1_unknown_ids_and_what_is_no_hash_answer_404(wanted: str, world: World) -> None:
    answer = await world.api(f"/transactions/{wanted}")
    assert (answer.status_code, answer.json()) == (404, {"message": "Not found", "status": 404})


async def test_http_4_1_letter_case_of_the_id_does_not_matter(world: World) -> None:
    answer = await world.api(f"/transactions/{world.story.sold.id.upper()}")
    assert answer.json()["id"] == world.story.sold.id


# 4.2 Transactions of an asset


async def test_http_4_2_asset_id_gives_the_creation_and_the_transfers_in_commit_order(world: World) -> None:
    story = world.story
    assert await ids(world, f"/transactions?asset_id={story.bicycle.id}") == [story.bicycle.id, story.sold.id]


async def test_http_4_2_asset_id_takes_any_letter_case(world: World) -> None:
    assert len(await ids(world, f"/transactions?asset_id={world.story.bicycle.id.upper()}")) == 2


async def test_http_4_2_asset_ids_is_a_union_without_repeats_in_commit_order(world: World) -> None:
    story = world.story
    wanted = f"{story.painting.id},{story.bicycle.id},{story.painting.id.upper()}"
    expected = [story.bicycle.id, story.painting.id, story.sold.id, story.installation.id]
    assert await ids(world, f"/transactions?asset_ids={wanted}") == expected


async def test_http_4_2_asset_ids_may_be_repeated(world: World) -> None:
    story = world.story
    path = f"/transactions?asset_ids={story.sculpture.id}&asset_ids={story.bicycle.id}&operation=CREATE"
    assert await ids(world, path) == [story.bicycle.id, story.sculpture.id]


async def test_http_4_2_compose_is_found_by_each_of_its_assets(world: World) -> None:
    story = world.story
    for asset in (story.painting, story.sculpture, story.installation):
        assert story.installation.id in await ids(world, f"/transactions?asset_id={asset.id}")


@pytest.mark.parametrize("operation", ["CREATE", "create", "CrEaTe"])
async def test_http_4_2_operation_create_in_any_letter_case(operation: str, world: World) -> None:
    own = world.story.bicycle.id
    assert await ids(world, f"/transactions?asset_id={own}&operation={operation}") == [own]


async def test_http_4_2_operation_transfer(world: World) -> None:
    story = world.story
    for operation in ("TRANSFER", "transfer"):
        path = f"/transactions?asset_id={story.bicycle.id}&operation={operation}"
        assert await ids(world, path) == [story.sold.id]


@pytest.mark.parametrize("operation", ["", "COMPOSE", "VOTE", "null", "CREATE "])
async def test_http_4_2_other_operations_are_refused(operation: str, world: World) -> None:
    message = await refusal(world, f"/transactions?asset_id={MISSING}&operation={operation}")
    assert message == {"operation": 'Operation must be "CREATE" or "TRANSFER"'}


async def test_http_4_2_last_tx_gives_only_the_newest_as_an_array(world: World) -> None:
    story = world.story
    for value in ("true", "True", "TRUE"):
        assert await ids(world, f"/transactions?asset_id={story.bicycle.id}&last_tx={value}") == [story.sold.id]
    for value in ("false", "False"):
        assert len(await ids(world, f"/transactions?asset_id={story.bicycle.id}&last_tx={value}")) == 2


@pytest.mark.parametrize("value", ["", "1", "yes", "truee", "null"])
async def test_http_4_2_last_tx_must_be_a_boolean(value: str, world: World) -> None:
    message = await refusal(world, f"/transactions?asset_id={MISSING}&last_tx={value}")
    assert message == {"last_tx": BOOLEAN}


@pytest.mark.parametrize("value", ["", "abc", "g" * 64, "a" * 63, "a" * 65, f"{MISSING},{MISSING}", "%C3%BC" * 64])
async def test_http_4_2_asset_id_must_be_a_hash(value: str, world: World) -> None:
    assert await refusal(world, f"/transactions?asset_id={value}") == {"asset_id": "Invalid hash"}


@pytest.mark.parametrize("value", ["", "abc", f"{MISSING},", f"{MISSING},x", f" {MISSING}"])
async def test_http_4_2_asset_ids_must_be_hashes(value: str, world: World) -> None:
    assert await refusal(world, f"/transactions?asset_ids={value}") == {"asset_ids": "List contains invalid hash"}


@pytest.mark.parametrize("query", ["", "?operation=CREATE", "?foo=1"])
async def test_http_4_2_without_ids_the_answer_names_asset_id(query: str, world: World) -> None:
    assert await refusal(world, f"/transactions{query}") == {"asset_id": REQUIRED}


async def test_http_4_2_no_match_is_an_empty_array(world: World) -> None:
    answer = await world.api(f"/transactions?asset_id={MISSING}")
    assert (answer.status_code, answer.content) == (200, b"[]")


# 5 Outputs


def ref(transaction_id: str, index: int) -> dict[str, Any]:
    return {"transaction_id": transaction_id, "output_index": index}


async def test_http_5_outputs_of_a_key_in_commit_order(world: World) -> None:
    story, alice = world.story, public_key("alice")
    spent = [ref(story.bicycle.id, 0), ref(story.painting.id, 0), ref(story.sculpture.id, 0)]
    unspent = [ref(story.sold.id, 0), ref(story.installation.id, 0)]
    everything = [spent[0], spent[1], unspent[0], spent[2], unspent[1]]
    assert (await world.api(f"/outputs?public_key={alice}")).json() == everything
    for value in ("true", "True"):
        assert (await world.api(f"/outputs?public_key={alice}&spent={value}")).json() == spent
    for value in ("false", "False"):
        assert (await world.api(f"/outputs?public_key={alice}&spent={value}")).json() == unspent
    assert (await world.api(f"/outputs/?public_key={public_key('bob')}")).json() == [ref(story.sold.id, 1)]


async def test_http_5_outputs_of_a_key_without_any_are_an_empty_array(world: World) -> None:
    answer = await world.api(f"/outputs?public_key={public_key('nobody')}")
    assert (answer.status_code, answer.content) == (200, b"[]")


async def test_http_5_public_key_is_required(world: World) -> None:
    assert await refusal(world, "/outputs") == {"public_key": REQUIRED}


@pytest.mark.parametrize("key", ["", "abc", "0" * 44, "l" * 43, "I" * 44, "O" * 43, "a" * 42, "a" * 45, "ü" * 43])
async def test_http_5_public_key_must_be_base58_of_43_or_44_characters(key: str, world: World) -> None:
    assert await refusal(world, f"/outputs?public_key={key}") == {"public_key": "Invalid base58 ed25519 key"}


async def test_http_5_spent_must_be_a_boolean(world: World) -> None:
    assert await refusal(world, f"/outputs?public_key={public_key('bob')}&spent=maybe") == {"spent": BOOLEAN}


async def test_http_5_many_outputs_come_whole(world: World) -> None:
    store = MemoryStore()
    shares = [(1, "dana")] * 900
    blocks = [OLD.create("alice", shares, data={"number": number}) for number in range(3)]
    await fill(store, ((), *((item,) for item in blocks)))
    async with served(StubApplication(store)) as other:
        answer = (await other.api(f"/outputs?public_key={public_key('dana')}")).json()
    assert answer == [ref(item.id, index) for item in blocks for index in range(900)]


# 6 Assets and metadata


async def test_http_6_1_assets_are_found_by_words_of_their_data(world: World) -> None:
    story = world.story
    answer = await world.api("/assets/?search=bicycles&limit=0")
    assert answer.json() == [{"data": {"kind": "Blue bicycle"}, "id": story.bicycle.id}]
    assert (await world.api(f"/assets?search={CID}")).json() == [{"data": CID, "id": story.painting.id}]
    assert (await world.api("/assets?search=bafkreicomposed")).json() == [
        {"data": "bafkreicomposed", "id": story.installation.id}
    ]


async def test_http_6_1_metadata_is_found_by_its_words(world: World) -> None:
    story = world.story
    expected = [
        {"metadata": {"note": "first owner"}, "id": story.bicycle.id},
        {"metadata": {"note": "half sold"}, "id": story.sold.id},
    ]
    assert (await world.api("/metadata/?search=owner%20half&limit=0")).json() == expected
    assert (await world.api("/metadata?search=owner+half+-sold")).json() == expected[:1]
    assert (await world.api("/metadata?search=%22half%20sold%22")).json() == expected[1:]


@pytest.mark.parametrize("route", ["assets", "metadata"])
async def test_http_6_1_search_without_a_match_is_an_empty_array(route: str, world: World) -> None:
    for search in ("zeppelin", "%20", "the", "%FF%FE", '"'):
        answer = await world.api(f"/{route}?search={search}")
        assert (answer.status_code, answer.content) == (200, b"[]")


@pytest.mark.parametrize("route", ["assets", "metadata"])
async def test_http_6_1_search_is_required(route: str, world: World) -> None:
    assert await refusal(world, f"/{route}") == {"search": REQUIRED}
    assert await refusal(world, f"/{route}?limit=1") == {"search": REQUIRED}


@pytest.mark.parametrize("route", ["assets", "metadata"])
async def test_http_6_1_search_must_not_be_empty(route: str, world: World) -> None:
    answer = await world.api(f"/{route}/?search=")
    assert (answer.status_code, answer.json()) == (400, {"message": "text_search cannot be empty", "status": 400})


@pytest.mark.parametrize("route", ["assets", "metadata"])
async def test_http_6_1_search_is_bounded(route: str, world: World) -> None:
    assert await refusal(world, f"/{route}?search={'a' * 1001}") == {"search": "must have at most 1000 characters"}


LIMITED = ["/assets?search=x", "/metadata?search=x", f"/assets/{CID}?", f"/metadata/{CID}?"]


@pytest.mark.parametrize("path", LIMITED)
async def test_http_6_limit_must_be_a_number(path: str, world: World) -> None:
    for text in ("abc", "", "1.5", "1e3", "0x10"):
        expected = {"limit": f"invalid literal for int() with base 10: '{text}'"}
        assert await refusal(world, f"{path}&limit={text}") == expected


@pytest.mark.parametrize("path", LIMITED)
async def test_http_6_negative_and_monstrous_limits_are_refused(path: str, world: World) -> None:
    assert await refusal(world, f"{path}&limit=-1") == {"limit": "must be 0 or more"}
    assert await refusal(world, f"{path}&limit={'9' * 5000}") == {"limit": "must have at most 18 digits"}


@pytest.mark.parametrize("limit", ["0", "00", "+0", "-0", "999999999999999999"])
async def test_http_6_limit_zero_is_none_and_a_large_one_harmless(limit: str, world: World) -> None:
    assert len((await world.api(f"/metadata?search=owner%20sold&limit={limit}")).json()) == 2
    assert len((await world.api(f"/assets/{CID}?limit={limit}")).json()) == 1


async def test_http_6_limit_cuts_the_answer(world: World) -> None:
    assert len((await world.api("/metadata?search=owner%20sold&limit=1")).json()) == 1


async def test_http_6_2_assets_by_content_are_flattened(world: World) -> None:
    assert (await world.api(f"/assets/{CID}")).json() == [{"data": CID}]
    composed = [{"data": "bafkreicomposed"}, {"id": world.story.painting.id}, {"id": world.story.sculpture.id}]
    assert (await world.api("/assets/bafkreicomposed")).json() == composed


async def test_http_6_2_metadata_by_content_is_the_bare_values(world: World) -> None:
    assert (await world.api(f"/metadata/{CID}")).json() == [CID, CID]
    assert (await world.api(f"/metadata/{CID}/?limit=1")).json() == [CID]


@pytest.mark.parametrize("route", ["assets", "metadata"])
async def test_http_6_2_content_that_nobody_has_is_an_empty_array(route: str, world: World) -> None:
    for content in ("nothing", "%2e%2e", "%FF", "a%20b", "%22"):
        answer = await world.api(f"/{route}/{content}")
        assert (answer.status_code, answer.content) == (200, b"[]")


async def test_http_6_2_no_limit_means_1000(world: World) -> None:
    store = MemoryStore()
    owners = [f"owner {number % 7}" for number in range(1002)]
    items = [NEW.create(owner, [(number + 1, "x")], data=CID) for number, owner in enumerate(owners)]
    await fill(store, ((), tuple(items)))
    async with served(StubApplication(store)) as other:
        for query in ("", "?limit=0"):
            answer = await other.api(f"/assets/{CID}{query}")
            assert len(answer.json()) == 1000
            assert "x-next-cursor" in answer.headers
        assert len((await other.api(f"/assets/{CID}?limit=1001")).json()) == 1001


async def test_http_6_data_keeps_numbers_and_letters_exactly() -> None:
    data = {"kind": "odd numbers", "big": 2**70, "float": 0.1, "text": 'ü "\u2028"', "none": None}
    item = OLD.create("alice", data=data, metadata={"note": "kept", "big": -(2**70)})
    store = MemoryStore()
    await fill(store, ((), (item,)))
    async with served(StubApplication(store)) as world:
        assert (await world.api("/assets?search=odd")).json() == [{"data": data, "id": item.id}]
        assert json.loads((await world.api("/metadata?search=kept")).content)[0]["metadata"]["big"] == -(2**70)


# 7 Blocks


async def test_http_7_1_a_block_has_the_members_of_all_generations(world: World) -> None:
    story = world.story
    for height, items in enumerate(story.blocks):
        answer = (await world.api(f"/blocks/{height}")).json()
        assert answer["height"] == height
        assert answer["transaction_ids"] == [item.id for item in items]
        assert answer["transactions"] == [item.wire for item in items]
        assert len(answer["app_hash"]) == 64
        assert set(answer) == {"height", "app_hash", "transaction_ids", "transactions"}


@pytest.mark.parametrize("height", ["5", "18446744073709551616", "9" * 5000])
async def test_http_7_1_a_height_beyond_the_newest_answers_404(height: str, world: World) -> None:
    answer = await world.api(f"/blocks/{height}")
    assert (answer.status_code, answer.json()) == (404, {"message": "Not found", "status": 404})


async def test_http_7_1_leading_zeros_do_not_matter(world: World) -> None:
    assert (await world.api("/blocks/" + "0" * 100 + "2")).json()["height"] == 2


async def test_http_7_1_a_height_that_is_not_stored_is_an_empty_block(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gap(height: int) -> None:
        return None

    monkeypatch.setattr(world.application.store, "block", gap)
    assert (await world.api("/blocks/3")).json() == {"height": 3, "transactions": []}
    assert (await world.api("/blocks/5")).status_code == 404


async def test_http_7_2_the_latest_block_lists_ids(world: World) -> None:
    expected = [world.story.installation.id]
    for path in ("/blocks/latest", "/blocks/latest/"):
        answer = (await world.api(path)).json()
        assert (answer["height"], answer["transaction_ids"], answer["transactions"]) == (4, expected, expected)
        assert answer["app_hash"] == (await world.api("/blocks/4")).json()["app_hash"]


async def test_http_7_2_on_a_new_chain_the_latest_block_is_block_0() -> None:
    store = MemoryStore()
    await fill(store, ((),))
    async with served(StubApplication(store)) as world:
        assert (await world.api("/blocks/latest")).json()["height"] == 0
        assert (await world.api("/blocks/0")).json()["transactions"] == []


async def test_http_7_2_before_the_founding_there_is_no_block() -> None:
    store = MemoryStore()
    await store.open()
    async with served(StubApplication(store)) as world:
        for path in ("/blocks/latest", "/blocks/0"):
            assert (await world.api(path)).status_code == 404
        assert (await world.api("/validators")).json() == []


async def test_http_7_3_the_answer_follows_the_version_of_the_transaction(world: World) -> None:
    story = world.story
    for item, height in ((story.bicycle, 1), (story.sold, 2)):
        assert (await world.api(f"/blocks?transaction_id={item.id}")).json() == [height]
    for item, height in ((story.painting, 1), (story.installation, 4)):
        answer = (await world.api(f"/blocks/?transaction_id={item.id.upper()}")).json()
        stored = (await world.api(f"/blocks/{height}")).json()
        assert answer == {name: stored[name] for name in ("app_hash", "height", "transaction_ids")}


@pytest.mark.parametrize("wanted", [MISSING, "abc", ""])
async def test_http_7_3_an_unknown_id_is_an_empty_array(wanted: str, world: World) -> None:
    answer = await world.api(f"/blocks?transaction_id={wanted}")
    assert (answer.status_code, answer.json()) == (200, [])


async def test_http_7_3_view_forces_one_form(world: World) -> None:
    story = world.story
    assert (await world.api(f"/blocks?transaction_id={story.painting.id}&view=heights")).json() == [1]
    assert (await world.api(f"/blocks?transaction_id={story.bicycle.id}&view=block")).json()["height"] == 1
    assert (await world.api(f"/blocks?transaction_id={story.bicycle.id}&view=auto")).json() == [1]
    assert await refusal(world, f"/blocks?transaction_id={MISSING}&view=x") == {
        "view": 'must be "auto", "heights" or "block"'
    }


async def test_http_7_3_view_block_answers_404_for_an_unknown_id(world: World) -> None:
    answer = await world.api(f"/blocks?transaction_id={MISSING}&view=block")
    message = f"Block containing transaction with id: {MISSING} not found."
    assert (answer.status_code, answer.json()) == (404, {"message": message, "status": 404})


async def test_http_7_3_the_setting_forces_one_form_and_view_wins(world: World) -> None:
    application = world.application
    async with served(application, HttpSettings(block_by_transaction="heights")) as other:
        assert (await other.api(f"/blocks?transaction_id={world.story.painting.id}")).json() == [1]
    async with served(application, HttpSettings(block_by_transaction="block")) as other:
        assert (await other.api(f"/blocks?transaction_id={world.story.sold.id}")).json()["height"] == 2
        assert (await other.api(f"/blocks?transaction_id={MISSING}")).status_code == 404
        assert (await other.api(f"/blocks?transaction_id={MISSING}&view=heights")).json() == []


async def test_http_7_3_transaction_id_is_required(world: World) -> None:
    assert await refusal(world, "/blocks") == {"transaction_id": REQUIRED}


# 8 Validators


async def test_http_8_validators_as_all_generations_show_them(world: World) -> None:
    value = base64.b64encode(KEY).decode()
    expected = [{"public_key": {"type": "ed25519-base64", "value": value}, "voting_power": 10}]
    assert (await world.api("/validators")).json() == expected


# The store fails


READS = [
    f"/transactions/{MISSING}",
    f"/transactions?asset_id={MISSING}",
    f"/outputs?public_key={'a' * 44}",
    "/assets?search=a",
    "/assets/a",
    "/metadata?search=a",
    "/metadata/a",
    f"/blocks?transaction_id={MISSING}",
    "/blocks/0",
    "/blocks/latest",
    "/validators",
]


@pytest.mark.parametrize("path", READS)
async def test_http_a_store_that_fails_answers_503_on_every_read(path: str) -> None:
    async with served(StubApplication(MemoryStore())) as world:  # not opened
        answer = await world.api(path)
    assert answer.status_code == 503
    assert answer.json()["class"] == "StoreError"
    assert "not open" not in answer.text
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("error", [StoreError("x"), StoreFull("x"), LayoutError("x")])
async def test_http_store_errors_keep_their_class(
    error: StoreError, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise error

    monkeypatch.setattr(world.application.store, "validators", broken)
    answer = await world.api("/validators")
    assert (answer.status_code, answer.json()["class"]) == (503, type(error).__name__)


def test_contents_of_the_story_differ() -> None:
    assert CID != OTHER_CID
