# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one subscriber takes of the batches it is shown."""

from planetmint.streams.batch import Batch
from planetmint.streams.catalogue import STREAMS, View
from planetmint.streams.cursor import Position
from planetmint.streams.filters import EVERYTHING, parse_filter
from planetmint.streams.subscription import State, Subscription
from tests.unit.streams.world import LABEL, MemoryFeed, event, key_of

PLAIN = View(STREAMS["valid_transactions"], EVERYTHING, False, False, LABEL)
CURSORS = View(STREAMS["valid_transactions"], EVERYTHING, True, False, LABEL)


def chain(blocks: int) -> MemoryFeed:
    feed = MemoryFeed()
    feed.commit_many(blocks, 3)
    return feed


def batch(feed: MemoryFeed, first: int, last: int) -> Batch:
    return Batch(tuple(feed.blocks[first - 1 : last]))


def test_a_new_subscriber_is_live_and_takes_the_next_block_only_once() -> None:
    feed = chain(6)
    one = Subscription(PLAIN, Position(5))
    assert one.state(5) is State.LIVE
    delivery = one.take(batch(feed, 6, 6))
    assert delivery is not None
    assert delivery.messages == 3
    assert one.take(batch(feed, 6, 6)) is None
    assert one.position == Position(6)


def test_blocks_before_the_joining_are_not_taken() -> None:
    assert Subscription(PLAIN, Position(5)).take(batch(chain(6), 4, 5)) is None


def test_a_subscriber_that_missed_a_block_takes_nothing_and_asks_for_history() -> None:
    feed = chain(8)
    one = Subscription(PLAIN, Position(5))
    assert one.take(batch(feed, 7, 7)) is None
    assert one.state(7) is State.CATCHING_UP
    assert one.needs(7) == 6
    assert one.take(batch(feed, 6, 8)) is not None
    assert one.needs(8) is None


def test_of_an_overlapping_batch_only_what_is_new_is_taken() -> None:
    feed = chain(8)
    one = Subscription(PLAIN, Position(5))
    delivery = one.take(batch(feed, 3, 7))
    assert delivery is not None
    assert delivery.messages == 6
    assert one.position == Position(7)


def test_a_paused_subscriber_takes_nothing_and_needs_nothing_until_it_is_resumed() -> None:
    feed = chain(6)
    one = Subscription(PLAIN, Position(5))
    one.paused = True
    assert one.take(batch(feed, 6, 6)) is None
    assert one.needs(6) is None
    one.paused = False
    assert one.needs(6) == 6


def test_a_closed_subscriber_takes_nothing() -> None:
    one = Subscription(PLAIN, Position(5))
    one.close()
    assert one.take(batch(chain(6), 6, 6)) is None
    assert one.needs(6) is None
    assert one.state(6) is State.CLOSED


def test_ex_6_a_subscriber_that_begins_in_the_future_waits_for_its_block() -> None:
    feed = chain(9)
    one = Subscription(PLAIN, Position(8))
    assert one.needs(6) is None
    assert one.take(batch(feed, 7, 8)) is None
    delivery = one.take(batch(feed, 9, 9))
    assert delivery is not None
    assert delivery.messages == 3


def test_es_28_the_resume_cursor_tells_how_far_it_was_served() -> None:
    one = Subscription(PLAIN, Position(5, 2))
    assert one.cursor == f"{LABEL}.6.1"
    one.take(batch(chain(6), 6, 6))
    assert one.cursor == f"{LABEL}.6"


def test_es_28_the_resume_cursor_moves_on_over_blocks_that_a_filter_hides() -> None:
    nobodys = View(
        STREAMS["valid_transactions"], parse_filter([("public_key", key_of("nobody"))]), True, False, LABEL
    )
    one = Subscription(nobodys, Position(5))
    delivery = one.take(batch(chain(6), 6, 6))
    assert delivery is not None
    assert delivery.data == b""
    assert one.cursor == f"{LABEL}.6"


def test_subscribers_with_equal_views_get_the_very_same_bytes() -> None:
    shown = batch(chain(6), 6, 6)
    deliveries = [Subscription(PLAIN, Position(5)).take(shown) for _ in range(2)]
    assert deliveries[0] is not None
    assert deliveries[1] is not None
    assert deliveries[0].data is deliveries[1].data


def test_ex_8_previous_differs_between_subscribers_whose_last_message_differs() -> None:
    feed = chain(5)
    early, late = Subscription(CURSORS, Position(3)), Subscription(CURSORS, Position(4))
    early.take(batch(feed, 4, 4))
    shown = batch(feed, 5, 5)
    first, second = early.take(shown), late.take(shown)
    assert first is not None
    assert second is not None
    assert b'"previous":"c0ffee00.4.2"' in first.data
    assert b'"previous":"c0ffee00.4"' in second.data


def test_the_memory_of_a_batch_is_bounded_whatever_is_asked_of_it() -> None:
    feed = MemoryFeed()
    feed.commit(*(event(f"t{index}") for index in range(2_000)))
    shown = batch(feed, 1, 1)
    plain = shown.weight
    for skip in range(40):
        shown.delivery(PLAIN, Position(0, skip), "")
    assert shown.weight < plain + 6_000_000
