# SPDX-License-Identifier: AGPL-3.0-or-later
"""The validator set that the Tarantool store keeps between reads, against a server that answers by script."""

import asyncio
from typing import cast

import pytest

from planetmint.chain import found_chain, founding_header
from planetmint.model.parameters import ChainParameters
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.ports.errors import StoreError
from planetmint.ports.store import StateReads
from planetmint.storage.tarantool import record
from planetmint.storage.tarantool.address import Address
from planetmint.storage.tarantool.session import Session, Value, wire
from planetmint.storage.tarantool.store import TarantoolStore
from tests.support.ledger import PUBLIC, START

FIRST = (Validator(PUBLIC, 10),)
NEVER = (Validator(PUBLIC, 99),)
THEN = (Validator(PUBLIC, 20),)
NOTHING = StateReads((), ())
FOUNDING = found_chain("sets", ChainParameters(), FIRST, START)


class Script:
    """Stands for a session.

    Attributes:
        height, newest: Of the newest set, as a reader sees it.
        failure: What a save is answered with, or raises.
        gate: A read that has been executed is answered when this is set.
        asked: For each read, the height of the set that the store said it knows.
    """

    def __init__(self) -> None:
        self.height, self.newest = 1, FIRST
        self.failure: list[Value] | StoreError = [False, "no room", 0]
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[int] = []

    async def call(self, name: str, *arguments: Value) -> list[Value]:
        if name == "fence_again":
            return [1]
        if name == "found":
            if isinstance(self.failure, StoreError):
                raise self.failure
            return self.failure
        assert name == "read_state"
        self.asked.append(arguments[3])
        new = None if arguments[3] == self.height else wire(record.encode(self.newest))
        answer = [[], [], [], [self.height], new, None]
        await self.gate.wait()
        return answer


def scripted() -> tuple[TarantoolStore, Script]:
    store, script = TarantoolStore(Address("localhost", 3301)), Script()
    store._session = cast(Session, script)
    return store, script


async def newest(store: TarantoolStore) -> ValidatorSet:
    return (await store.read_state(NOTHING)).validators()


async def fail_to_save(store: TarantoolStore) -> None:
    with pytest.raises(StoreError):
        await store.found(FOUNDING, founding_header(FOUNDING, b""))


async def test_a_set_is_sent_once_and_kept() -> None:
    store, script = scripted()
    assert [await newest(store) for _ in range(3)] == [FIRST] * 3
    assert script.asked == [-1, 1, 1]


@pytest.mark.parametrize("failure", [[False, "no room", 0], StoreError("no answer")])
async def test_the_set_of_a_block_that_was_never_stored_is_forgotten(failure: list[Value] | StoreError) -> None:
    store, script = scripted()
    await newest(store)
    script.height, script.newest, script.failure = 5, NEVER, failure
    assert await newest(store) == NEVER  # seen while its block was being written
    await fail_to_save(store)
    script.newest = THEN  # of another block at the same height
    assert await newest(store) == THEN


async def test_a_set_that_was_read_before_a_save_failed_is_not_kept_after_it() -> None:
    store, script = scripted()
    await newest(store)
    script.height, script.newest = 5, NEVER
    script.gate.clear()
    late = asyncio.create_task(newest(store))
    while len(script.asked) < 2:
        await asyncio.sleep(0)
    await fail_to_save(store)
    script.gate.set()
    assert await late == NEVER
    script.newest = THEN
    assert await newest(store) == THEN


async def test_a_read_uses_the_set_that_it_said_it_knows_whatever_happens_meanwhile() -> None:
    store, script = scripted()
    await newest(store)
    script.gate.clear()
    late = asyncio.create_task(newest(store))
    while len(script.asked) < 2:
        await asyncio.sleep(0)
    await fail_to_save(store)
    script.gate.set()
    assert await late == FIRST
