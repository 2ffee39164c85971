# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ids on their way into the tree: every id gets there once its round is over, and is known all the time."""

from hypothesis import given
from hypothesis import strategies as st

from planetmint.storage.sqlite.layout import id_hash
from planetmint.storage.sqlite.recent import Progress, RecentIds, Step
from planetmint.testing.store_conformance import digest


def ids_of(first: int, count: int) -> list[str]:
    return [digest(str(number)) for number in range(first, first + count)]


def restarted(recent: RecentIds, step: Step, sizes: list[int], round_size: int) -> RecentIds:
    """As read back from the blocks of these sizes."""
    again = RecentIds(step.progress, round_size)
    for place, size in enumerate(sizes):
        first = sum(sizes[:place])
        if first + size > again.end:
            again.add(ids_of(again.end, first + size - again.end), again.end)
    assert again.end == recent.end
    return again


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60), st.integers(1, 50))
def test_every_id_is_in_memory_or_in_the_tree_at_any_time(blocks: list[tuple[int, bool]], round_size: int) -> None:
    recent = RecentIds(Progress(), round_size)
    tree: dict[int, int] = {}
    end = 0
    sizes: list[int] = []
    for size, restart in blocks:
        sizes.append(size)
        recent.add(ids_of(end, size), end)
        end += size
        step = recent.step(size)
        hashes = [hash_ for _, hash_ in step.entries]
        assert hashes == sorted(hashes), "what a block takes along lies side by side"
        tree |= step.entries
        recent.done(step)
        if restart:
            recent = restarted(recent, step, sizes, round_size)
        for number, item in enumerate(ids_of(0, end)):
            assert recent.get(item) == number or tree[number] == id_hash(item)
        assert all(number in tree for number in range(step.progress.indexed))
        assert recent.end == end


def test_a_round_moves_in_even_parts_and_leaves_memory_when_it_is_over() -> None:
    recent = RecentIds(Progress(), 100)
    sizes: list[int] = []
    end = 0
    for _ in range(200):
        recent.add(ids_of(end, 10), end)
        end += 10
        step = recent.step(10)
        sizes.append(len(step.entries))
        recent.done(step)
    assert set(sizes[10:]) <= {0, *range(1, 14)}
    assert end - step.progress.indexed <= 250
    assert (
        sum(recent.get(item) is not None for item in ids_of(0, end)) == end - step.progress.indexed == len(recent)
    )


def test_a_step_that_is_not_done_is_offered_again() -> None:
    recent = RecentIds(Progress(), 4)
    recent.add(ids_of(0, 6), 0)
    first = recent.step(2)
    assert first.entries and recent.step(2) == first
    recent.done(first)
    assert not set(recent.step(2).entries) & set(first.entries)


def test_ids_that_are_not_taken_in_have_no_hint() -> None:
    recent = RecentIds(Progress(7, 7))
    assert recent.end == 7
    assert recent.get(digest("x")) is None
    recent.add([digest("x")], 7)
    assert recent.get(digest("x")) == 7
