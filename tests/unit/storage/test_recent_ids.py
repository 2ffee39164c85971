# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ids on their way into the tree: every id gets there once its round is over, and is known all the time."""

from hypothesis import given
from hypothesis import strategies as st

from planetmint.storage.sqlite.layout import id_hash
from planetmint.storage.sqlite.recent import RecentIds
from planetmint.testing.store_conformance import digest


def ids_of(first: int, count: int) -> list[str]:
    return [digest(str(number)) for number in range(first, first + count)]


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 50))
def test_every_id_is_in_memory_or_in_the_tree_at_any_time(sizes: list[int], round_size: int) -> None:
    recent = RecentIds(0, round_size)
    tree: dict[int, int] = {}
    end = 0
    for size in sizes:
        recent.add(ids_of(end, size), end)
        end += size
        step = recent.step(size)
        hashes = [hash_ for _, hash_ in step.entries]
        assert hashes == sorted(hashes), "what a block takes along lies side by side"
        tree |= step.entries
        recent.done(step)
        for number, item in enumerate(ids_of(0, end)):
            assert recent.get(item) == number or tree[number] == id_hash(item)
        assert all(number in tree for number in range(step.indexed))
        assert recent.end == end


def test_a_round_moves_in_even_parts_and_leaves_memory_when_it_is_over() -> None:
    recent = RecentIds(0, 100)
    sizes: list[int] = []
    end = 0
    for _ in range(200):
        recent.add(ids_of(end, 10), end)
        end += 10
        step = recent.step(10)
        sizes.append(len(step.entries))
        recent.done(step)
    assert set(sizes[10:]) <= {0, *range(1, 14)}
    assert end - step.indexed <= 250
    assert sum(recent.get(item) is not None for item in ids_of(0, end)) == end - step.indexed


def test_a_step_that_is_not_done_is_offered_again() -> None:
    recent = RecentIds(0, 4)
    recent.add(ids_of(0, 6), 0)
    first = recent.step(2)
    assert first.entries and recent.step(2) == first
    recent.done(first)
    assert not set(recent.step(2).entries) & set(first.entries)


def test_ids_that_are_not_taken_in_have_no_hint() -> None:
    recent = RecentIds(7)
    assert recent.end == 7
    assert recent.get(digest("x")) is None
    recent.add([digest("x")], 7)
    assert recent.get(digest("x")) == 7
