# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signatures are verified once, in threads, under the recomputed id; what is remembered is bounded (D4, D5)."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from planetmint.app import SignatureCache, Verifier
from planetmint.app import signatures as module
from planetmint.model.errors import InvalidSignature
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.rules import check_signatures, decode_transaction
from planetmint.testing.build import Builder, Dialect

BUILD = Builder(Dialect.PLANETMINT_2)


def good(number: int = 0) -> Transaction:
    return decode_transaction(BUILD.create("alice", data=f"good {number}").canonical, ChainParameters())


def bad(number: int = 0) -> Transaction:
    """A CREATE whose outputs were changed after it was signed."""
    built = BUILD.create("alice", data=f"bad {number}")
    changed = built.changed(lambda wire: wire["outputs"][0].update(amount="7"))
    return decode_transaction(changed.canonical, ChainParameters())


class Counted:
    """Stands in for `check_signatures`; notes the thread of each call."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def __call__(self, transaction: Transaction) -> None:
        self.threads.append(threading.current_thread().name)
        check_signatures(transaction)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    check = Counted()
    monkeypatch.setattr(module, "check_signatures", check)
    return check


def test_a_good_transaction_is_verified_once(counted: Counted) -> None:
    cache = SignatureCache(10)
    cache.check(good())
    cache.check(good())
    assert good() in cache
    assert len(counted.threads) == 1


def test_a_bad_transaction_is_refused_every_time_and_verified_once(counted: Counted) -> None:
    cache = SignatureCache(10)
    for _ in range(3):
        with pytest.raises(InvalidSignature) as caught:
            cache.check(bad())
        assert (caught.value.rule, caught.value.field) == ("signature", "inputs[0].fulfillment")
    assert bad() not in cache
    assert len(counted.threads) == 1


@pytest.mark.parametrize("capacity", [1, 3])
def test_the_cache_forgets_the_oldest(capacity: int) -> None:
    cache = SignatureCache(capacity)
    for number in range(5):
        cache.add(good(number))
    assert [good(number) in cache for number in range(5)] == [False] * (5 - capacity) + [True] * capacity


def test_refusals_are_remembered_within_bounds_and_push_no_good_ones_out() -> None:
    cache = SignatureCache(3)
    cache.add(good())
    for number in range(5):
        with pytest.raises(InvalidSignature):
            cache.check(bad(number))
    assert good() in cache
    assert len(cache._refused) <= 3


def test_a_claimed_id_is_never_what_is_remembered() -> None:
    cache = SignatureCache(3)
    cache.add(good())
    forged = BUILD.create("alice", data="good 0").changed(lambda wire: wire["outputs"][0].update(amount="7"))
    with pytest.raises(InvalidSignature):
        cache.check(decode_transaction(forged.canonical, ChainParameters()))


@pytest.mark.parametrize("count", [1, 4, 5, 40])
async def test_threads_verify_good_and_bad_so_that_the_event_loop_need_not(count: int, counted: Counted) -> None:
    verifier = Verifier(SignatureCache(100), threads=2)
    try:
        items = [good(number) for number in range(count)] + [bad(number) for number in range(count)]
        await verifier.verify(items)
        assert len(counted.threads) == 2 * count
        assert all(name.startswith("verify") for name in counted.threads)
        for item in items[:count]:
            verifier.cache.check(item)
        for item in items[count:]:
            with pytest.raises(InvalidSignature):
                verifier.cache.check(item)
        await verifier.verify(items)
        assert len(counted.threads) == 2 * count
    finally:
        verifier.close()


async def test_nothing_to_verify_is_no_work(counted: Counted) -> None:
    verifier = Verifier(SignatureCache(100), threads=1)
    await verifier.verify([])
    assert counted.threads == []
    verifier.close()


# With a helper


class Helper:
    """Answers as it is told to; a function of the number of parts."""

    def __init__(self, answer: Callable[[int], bytes | None] | None) -> None:
        self._answer = answer
        self.asked: list[int] = []

    async def verify(self, parts: Sequence[bytes]) -> bytes | None:
        self.asked.append(len(parts))
        assert {len(part) for part in parts} == {128}
        if self._answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        return self._answer(len(parts))


async def test_what_a_helper_finds_good_is_not_verified_again(counted: Counted) -> None:
    helper = Helper(lambda count: b"\1" * count)
    verifier = Verifier(SignatureCache(100), threads=1, helper=helper)
    await verifier.verify([good(0), good(1)])
    verifier.close()
    assert (helper.asked, counted.threads) == ([2], [])
    assert good(0) in verifier.cache
    assert good(1) in verifier.cache


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: None,
        lambda count: b"\0" * count,
        lambda count: b"\1" * (count - 1),
        lambda count: b"\1" * (count + 1),
        lambda _: b"",
        None,
    ],
    ids=["no answer", "bad", "too short", "too long", "empty", "silence"],
)
async def test_any_other_answer_of_a_helper_leaves_the_verdict_to_threads(
    answer: Callable[[int], bytes | None] | None, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    verifier = Verifier(SignatureCache(100), threads=1, helper=Helper(answer))
    await verifier.verify([good(), bad()])
    verifier.close()
    assert len(counted.threads) == 2
    assert good() in verifier.cache
    assert bad() not in verifier.cache
    with pytest.raises(InvalidSignature):
        verifier.cache.check(bad())
