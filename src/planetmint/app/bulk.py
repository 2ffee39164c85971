# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many transactions in one submission, one a line, each checked on top of the accepted ones before it.

Source: http-api 4.3, "bulk".
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

from planetmint.app.application import BulkOutcome, Mode
from planetmint.app.intake import committed, hand_over, read_body, refuse_in_trouble
from planetmint.app.lifecycle import BlockLifecycle, Waiter, reads_of
from planetmint.app.signatures import LARGE, Verifier
from planetmint.model import json
from planetmint.model.errors import InvalidTransaction, SchemaValidationError
from planetmint.model.transaction import Transaction
from planetmint.ports.consensus import Consensus
from planetmint.ports.errors import EngineError, MempoolFull, StoreError
from planetmint.ports.store import Store
from planetmint.rules import created_outputs, verify_transaction
from planetmint.state.overlay import Overlay

_CHUNK = 256
_CHUNK_BYTES = 1_000_000
"""So many lines, or so much text, is looked at together."""

_TURN_BYTES = 65_536
"""After so much text others have their turn in the event loop."""

Refusal = InvalidTransaction | StoreError | EngineError


async def submit_lines(session: "BulkSession", lines: AsyncIterator[bytes]) -> AsyncIterator[BulkOutcome]:
    """Feed lines to a session as they come in; outcomes in the same order.

    A sender that waits for its answers before it sends more gets them.
    """
    chunk: list[bytes] = []
    size = 0
    reading = asyncio.ensure_future(_next(lines))
    try:
        while True:
            if chunk and not reading.done():
                await asyncio.sleep(0)
            if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES or (chunk and not reading.done()):
                for outcome in await session.submit(chunk):
                    yield outcome
                chunk, size = [], 0
            line = await reading
            if line is None:
                break
            chunk.append(line)
            size += len(line)
            reading = asyncio.ensure_future(_next(lines))
        for outcome in await session.submit(chunk):
            yield outcome
    finally:
        reading.cancel()


class BulkSession:
    """The state of one bulk submission: its accepted lines that are in no block yet."""

    def __init__(
        self,
        store: Store,
        lifecycle: BlockLifecycle,
        consensus: Consensus,
        verifier: Verifier,
        *,
        mode: Mode,
        commit_timeout: float,
    ) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._consensus = consensus
        self._verifier = verifier
        self._mode = mode
        self._commit_timeout = commit_timeout
        self._uncommitted: dict[str, Transaction] = {}
        self._full: MempoolFull | None = None

    async def submit(self, lines: Sequence[bytes]) -> list[BulkOutcome]:
        """Outcomes of some more lines, in order."""
        decoded = await self._decode_all(lines)
        try:
            overlay = await self._overlay([item for item in decoded if isinstance(item, Transaction)])
        except StoreError as error:
            return [BulkOutcome(name, error) for name in await self._ids(lines, decoded)]
        answers: list[Waiter | Refusal | None] = []
        try:
            for item in decoded:
                # One by one: what was taken before something ends this has to be known below.
                answers.append(await self._take(item, overlay))  # noqa: PERF401
            refusals = await self._settle(answers)
        finally:
            # Those who are still waiting, where this ends before its time.
            for item, answer in zip(decoded, answers, strict=False):
                if isinstance(item, Transaction) and isinstance(answer, asyncio.Future):
                    self._lifecycle.forget(item, answer)
        return list(map(BulkOutcome, await self._ids(lines, decoded), refusals))

    async def _ids(self, lines: Sequence[bytes], decoded: Sequence[Transaction | Refusal]) -> list[str | None]:
        """The ids of the lines, or those that they claim."""
        ids: list[str | None] = []
        for line, item in zip(lines, decoded, strict=True):
            if isinstance(item, Transaction):
                ids.append(item.id)
            elif len(line) < LARGE:
                ids.append(_claimed_id(line))
            else:
                ids.append(await self._verifier.apart(partial(_claimed_id, line)))
        return ids

    async def _settle(self, answers: Sequence[Waiter | Refusal | None]) -> list[Refusal | None]:
        """Wait for the blocks of some lines, for all of them together no longer than for one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._commit_timeout
        refusals = []
        for answer in answers:
            if isinstance(answer, asyncio.Future):
                answer = await _settled(answer, max(0.0, deadline - loop.time()))
            refusals.append(answer)
        return refusals

    async def _decode_all(self, lines: Sequence[bytes]) -> list[Transaction | Refusal]:
        decoded = []
        size = 0
        for line in lines:
            decoded.append(await self._decode(line))
            size += len(line)
            if size >= _TURN_BYTES:
                size = 0
                await asyncio.sleep(0)
        return decoded

    async def _decode(self, line: bytes) -> Transaction | Refusal:
        try:
            refuse_in_trouble(self._consensus)
            return await read_body(line, self._lifecycle, self._verifier)
        except (InvalidTransaction, StoreError) as refusal:
            return refusal

    async def _overlay(self, transactions: Sequence[Transaction]) -> Overlay:
        """Committed state with the accepted lines that are in no block yet on top."""
        await self._verifier.verify(transactions)
        view = await self._store.read_state(reads_of([*self._uncommitted.values(), *transactions]))
        overlay = Overlay(view)
        waiting, self._uncommitted = self._uncommitted, {}
        for item in waiting.values():
            if view.has_transaction(item.id) or not _spendable(item, overlay):
                # It is in a block, or a block has spent its inputs otherwise: it waits no more.
                continue
            overlay.apply(item.id, item.spends, created_outputs(item))
            self._uncommitted[item.id] = item
        return overlay

    async def _take(self, item: Transaction | Refusal, overlay: Overlay) -> Waiter | Refusal | None:
        """Verify one line and hand it over; the answer is what its outcome waits for, or why it is refused."""
        if not isinstance(item, Transaction):
            return item
        if self._full is not None:
            return self._full
        waiter: Waiter | None = asyncio.get_running_loop().create_future() if self._mode is Mode.COMMIT else None
        try:
            verify_transaction(item, overlay, self._verifier.cache.check)
            await self._await_parents(item)
            await hand_over(item, waiter, self._lifecycle, self._consensus)
        except BaseException as refusal:
            if waiter is not None:
                self._lifecycle.forget(item, waiter)
            if not isinstance(refusal, (InvalidTransaction, StoreError, EngineError)):
                raise
            if isinstance(refusal, MempoolFull):
                self._full = refusal
            return refusal
        overlay.apply(item.id, item.spends, created_outputs(item))
        self._uncommitted[item.id] = item
        return waiter

    async def _await_parents(self, item: Transaction) -> None:
        """Where the engine checks against committed state only, wait for the lines that this one builds on."""
        if self._consensus.orders_dependents:
            return
        for ref in item.spends:
            parent = self._uncommitted.get(ref.transaction_id)
            if parent is None:
                continue
            waiter: Waiter = asyncio.get_running_loop().create_future()
            self._lifecycle.await_commit(parent, waiter)
            try:
                if await self._store.height_of(parent.id) is None:
                    await _settled(waiter, self._commit_timeout)
            finally:
                self._lifecycle.forget(parent, waiter)


async def _settled(waiter: Waiter, timeout: float) -> Refusal | None:
    """Wait for a line's block; why it was refused after all, or None."""
    try:
        await committed(waiter, timeout)
    except (InvalidTransaction, StoreError, EngineError) as refusal:
        return refusal
    return None


def _spendable(transaction: Transaction, overlay: Overlay) -> bool:
    records = [overlay.output(ref) for ref in transaction.spends]
    return all(record is not None and record.spender is None for record in records)


async def _next(lines: AsyncIterator[bytes]) -> bytes | None:
    return await anext(lines, None)


def _claimed_id(line: bytes) -> str | None:
    """The id that stands in a line which was refused."""
    try:
        value = json.parse(line, max_depth=400, max_digits=308)
    except SchemaValidationError:
        return None
    claimed = value.get("id") if isinstance(value, dict) else None
    return claimed if isinstance(claimed, str) and len(claimed) <= 64 else None
