# SPDX-License-Identifier: AGPL-3.0-or-later
"""The process that verifies signatures: the library's verdicts, in order, and a node that outlives it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence

import pytest
from nacl.signing import SigningKey

from planetmint.app import SignatureCache, Verifier
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.rules import decode_transaction
from planetmint.runtime.verify_process import VerifyProcess
from planetmint.testing.build import Builder, Dialect, all_of

MESSAGE = bytes(range(32))


def part(good: bool = True) -> bytes:
    """A key, a signature and a message, joined."""
    key = SigningKey.generate()
    signature = key.sign(MESSAGE).signature
    return bytes(key.verify_key) + (signature if good else signature[::-1]) + MESSAGE


@pytest.fixture
async def process() -> AsyncIterator[VerifyProcess]:
    one = VerifyProcess()
    await one.start()
    yield one
    await one.close()


def pid_of(process: VerifyProcess) -> int:
    """Of the running process."""
    assert process.pid is not None
    return process.pid


async def test_each_part_gets_the_verdict_of_the_library(process: VerifyProcess) -> None:
    assert await process.verify([part(), part(good=False), part()]) == b"\x01\x00\x01"
    assert await process.verify([]) == b""


async def test_a_key_of_small_order_is_refused_as_in_the_node(process: VerifyProcess) -> None:
    # D4: the identity as a key makes every message verify in libraries that are less strict.
    identity = b"\x01" + bytes(31)
    assert await process.verify([identity + identity + bytes(32) + MESSAGE]) == b"\x00"


async def test_answers_come_in_the_order_of_the_questions(process: VerifyProcess) -> None:
    questions = [[part(good=index % 3 != 0)] * (1 + index % 40) for index in range(120)]
    answers = await asyncio.gather(*map(process.verify, questions))
    assert answers == [bytes([index % 3 != 0]) * (1 + index % 40) for index in range(120)]


async def test_a_process_that_dies_leaves_questions_unanswered_and_is_replaced(process: VerifyProcess) -> None:
    first = pid_of(process)
    os.kill(first, signal.SIGSTOP)
    waiting = asyncio.ensure_future(process.verify([part()]))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    assert await waiting is None
    async with asyncio.timeout(30):
        while await process.verify([part()]) is None:
            await asyncio.sleep(0.02)
    assert pid_of(process) != first


async def test_the_process_ends_with_the_node(process: VerifyProcess) -> None:
    pid = pid_of(process)
    await process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await process.verify([part()]) is None


async def test_a_signal_to_everybody_does_not_end_the_process(process: VerifyProcess) -> None:
    assert await process.verify([part()]) == b"\x01"
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid_of(process), number)
    assert await process.verify([part()]) == b"\x01"


class Silent:
    """A helper that never knows."""

    async def verify(self, parts: Sequence[bytes]) -> bytes | None:
        """No answer."""
        return None


def bodies() -> list[Transaction]:
    """Two good transactions with one and two signers, and one whose signature belongs to another content."""
    builder = Builder(Dialect.BIGCHAINDB)
    good = [builder.draft_create(owner).signed() for owner in ("alice", all_of("alice", "bob"))]
    bad = builder.draft_create("carol").signed().changed(lambda wire: wire.update(metadata={"other": "content"}))
    return [decode_transaction(item.canonical, ChainParameters()) for item in (*good, bad)]


async def test_the_cache_takes_what_the_helper_has_verified(process: VerifyProcess) -> None:
    verifier = Verifier(SignatureCache(10), 1, process)
    transactions = bodies()
    await verifier.verify(transactions)
    assert [item in verifier.cache for item in transactions] == [True, True, False]
    verifier.close()


async def test_threads_step_in_where_the_helper_has_no_answer() -> None:
    verifier = Verifier(SignatureCache(10), 2, Silent())
    transactions = bodies()
    await verifier.verify(transactions)
    assert [item in verifier.cache for item in transactions] == [True, True, False]
    verifier.close()
