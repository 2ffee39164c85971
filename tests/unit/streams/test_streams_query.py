# SPDX-License-Identifier: AGPL-3.0-or-later
"""The query string of a stream URL."""

import pytest

from planetmint.streams.catalogue import STREAMS
from planetmint.streams.cursor import Position
from planetmint.streams.errors import BadParameter
from planetmint.streams.filters import EVERYTHING
from planetmint.streams.query import Wanted, parse_query
from tests.unit.streams.world import LABEL, hash_of

HEAD = 10


def parse(query: str, head: int = HEAD) -> Wanted:
    return parse_query(query, STREAMS["valid_transactions"], LABEL, head)


@pytest.mark.parametrize("query", ["", "foo=1", "foo", "&&;=", "from=3", "%zz=%ff"])
def test_es_9_unknown_parameters_are_passed_over(query: str) -> None:
    wanted = parse(query)
    assert wanted.start is None
    assert wanted.view.filter is EVERYTHING
    assert not wanted.view.cursors


@pytest.mark.parametrize(("query", "height"), [("from_height=0", 0), ("from_height=1", 0), ("from_height=7", 6)])
def test_ex_6_from_height_begins_before_that_block(query: str, height: int) -> None:
    assert parse(query).start == Position(height)


def test_ex_6_from_height_beyond_the_head_waits() -> None:
    assert parse("from_height=1000").start == Position(999)


@pytest.mark.parametrize("text", ["", "-1", "x", "1.5", "1e3", "9" * 19])
def test_ex_6_from_height_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadParameter) as caught:
        parse(f"from_height={text}")
    assert caught.value.name == "from_height"


def test_ex_7_after_begins_after_that_transaction() -> None:
    assert parse(f"after={LABEL}.10.2").start == Position(9, 3)
    assert parse("after=10").start == Position(10)


@pytest.mark.parametrize("cursor", ["11", f"{LABEL}.11", "11.0", "999999999.3"])
def test_ex_7_a_position_beyond_the_head_is_refused_and_says_where_the_head_is(cursor: str) -> None:
    with pytest.raises(BadParameter, match=rf"head, which is {LABEL}\.10") as caught:
        parse(f"after={cursor}")
    assert caught.value.name == "after"


def test_ex_7_a_cursor_of_another_chain_is_refused() -> None:
    with pytest.raises(BadParameter, match="deadbeef") as caught:
        parse("after=deadbeef.1.1")
    assert caught.value.name == "after"


def test_only_one_beginning_can_be_given() -> None:
    for query in ("after=1&from_height=1", "after=1&after=2", "from_height=1&from_height=2"):
        with pytest.raises(BadParameter):
            parse(query)
    assert parse("after=1&after=1").start == Position(1)


@pytest.mark.parametrize("query", ["cursor=true", "cursor=TRUE", "from_height=3", "after=3"])
def test_ex_8_cursors_by_parameter_and_implied_by_resuming(query: str) -> None:
    assert parse(query).view.cursors


def test_ex_8_cursor_can_be_declined_by_name() -> None:
    assert not parse("cursor=false").view.cursors


@pytest.mark.parametrize("query", ["cursor=1", "cursor=", "empty=yes", "cursor=true&cursor=false"])
def test_flags_are_true_or_false(query: str) -> None:
    with pytest.raises(BadParameter):
        parse(query)


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(BadParameter):
        parse("&".join(["a=1"] * 3_000))


def test_equal_wishes_make_equal_views_so_that_bytes_are_shared() -> None:
    one = parse(f"asset_id={hash_of('a')},{hash_of('b')}&from_height=1").view
    same = parse(f"after=3&asset_ids={hash_of('b')}&asset_id={hash_of('a')}").view
    assert one.key == same.key
    other = parse(f"asset_id={hash_of('a')},{hash_of('b')}").view
    assert other.key != one.key
