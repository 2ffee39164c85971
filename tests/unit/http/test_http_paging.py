# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages of lists: `limit` and an opaque `cursor`, an addition to every list of http-api 4.2, 5 and 6."""

import base64
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetmint.http.paging import decode_cursor, encode_cursor
from planetmint.testing.build import public_key
from tests.unit.http.world import CID, World

ALICE = public_key("alice")


def lists(world: World) -> list[str]:
    """Every list with at least two items in the ledger."""
    story = world.story
    return [
        f"/transactions?asset_ids={story.bicycle.id},{story.painting.id}",
        f"/outputs?public_key={ALICE}",
        f"/outputs/?public_key={ALICE}&spent=true",
        "/metadata?search=owner%20half",
        f"/assets?search=bicycle%20{CID}%20bafkreicomposed",
        f"/metadata/{CID}?",
    ]


async def pages(world: World, path: str, limit: int) -> list[Any]:
    """All items, page by page, following `X-Next-Cursor`."""
    items: list[Any] = []
    cursor = ""
    for _ in range(20):
        answer = await world.api(f"{path}&limit={limit}{cursor}")
        assert answer.status_code == 200
        assert len(answer.json()) <= limit
        items += answer.json()
        following = answer.headers.get("x-next-cursor")
        if following is None:
            return items
        cursor = f"&cursor={following}"
    raise AssertionError("the pages have no end")


@pytest.mark.parametrize("number", range(6))
async def test_paging_every_list_in_pages_is_the_list(number: int, world: World) -> None:
    path = lists(world)[number]
    whole = (await world.api(path)).json()
    assert len(whole) >= 2
    for limit in (1, 2, 3, 100):
        assert await pages(world, path, limit) == whole


@pytest.mark.parametrize("number", range(6))
async def test_paging_the_next_link_leads_on_and_keeps_the_arguments(number: int, world: World) -> None:
    path = lists(world)[number]
    whole = (await world.api(path)).json()
    items, link = [], f"/api/v1{path}&limit=1"
    while link:
        answer = await world.get(link)
        items += answer.json()
        following = answer.links.get("next")
        link = following["url"] if following else ""
    assert items == whole


async def test_paging_headers_are_readable_by_pages_of_other_origins(world: World) -> None:
    answer = await world.api(f"/outputs?public_key={ALICE}&limit=1", headers={"Origin": "https://shop.example"})
    assert answer.headers["access-control-expose-headers"] == "Link, X-Next-Cursor"


async def test_paging_without_a_limit_or_at_the_end_there_is_no_next(world: World) -> None:
    for query in ("", "&limit=0", "&limit=5", "&limit=6"):
        answer = await world.api(f"/outputs?public_key={ALICE}{query}")
        assert len(answer.json()) == 5
        assert "x-next-cursor" not in answer.headers
        assert "link" not in answer.headers


async def test_paging_a_cursor_without_a_limit_gives_the_rest(world: World) -> None:
    path = f"/outputs?public_key={ALICE}"
    whole = (await world.api(path)).json()
    cursor = (await world.api(f"{path}&limit=2")).headers["x-next-cursor"]
    assert (await world.api(f"{path}&cursor={cursor}")).json() == whole[2:]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "%FF", "ü", "a" * 10_000, "MTIz", "....", "AAAAAAAAAAA"])
async def test_paging_what_is_no_cursor_answers_400(number: int, cursor: str, world: World) -> None:
    answer = await world.api(f"{lists(world)[number]}&cursor={cursor}")
    assert (answer.status_code, answer.json()["message"]) == (400, {"cursor": "is not a cursor of this list"})


async def test_paging_a_cursor_of_another_list_answers_400(world: World) -> None:
    cursor = (await world.api(f"/outputs?public_key={ALICE}&limit=1")).headers["x-next-cursor"]
    answer = await world.api(f"/metadata?search=owner&cursor={cursor}")
    assert (answer.status_code, answer.json()["message"]) == (400, {"cursor": "is not a cursor of this list"})


@pytest.mark.parametrize("number", range(6))
async def test_paging_limits_are_checked_on_every_list(number: int, world: World) -> None:
    for limit in ("x", "-1"):
        answer = await world.api(f"{lists(world)[number]}&limit={limit}")
        assert (answer.status_code, list(answer.json()["message"])) == (400, ["limit"])


PLACE = st.integers(min_value=-(10**18) + 1, max_value=10**18 - 1)


@given(st.lists(PLACE, min_size=1, max_size=8).map(tuple))
def test_paging_a_cursor_is_read_as_it_was_written(places: tuple[int, ...]) -> None:
    assert decode_cursor("/x", encode_cursor("/x", places).decode()) == places


@given(st.text(max_size=60))
def test_paging_reading_a_cursor_raises_nothing_else(text: str) -> None:
    try:
        decode_cursor("/x", text)
    except ValueError as error:
        assert str(error) == "is not a cursor of this list"


@pytest.mark.parametrize("places", [b"", b"1,", b"x", b"1,2,3,4,5,6,7,8,9", b"9" * 19, b"1\n", b" 1", b"\xff"])
def test_paging_a_forged_cursor_of_a_wrong_form_is_refused(places: bytes) -> None:
    forged = base64.urlsafe_b64encode(crc32(places, crc32(b"/x")).to_bytes(4, "big") + places).rstrip(b"=")
    with pytest.raises(ValueError, match="is not a cursor"):
        decode_cursor("/x", forged.decode())
