# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many transactions in one submission, one a line, each checked on top of the accepted ones before it.

Source: http-api 4.3, "bulk".
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from planetmint.app.admission import REFUSALS, Admission, Refusal, committed
from planetmint.app.application import BulkOutcome, Mode
from planetmint.app.claims import claimed_id
from planetmint.app.lifecycle import Waiter, reads_of
from planetmint.app.signatures import LARGE
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import OutputRef, Transaction
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractError, MempoolFull, StoreError
from planetmint.rules import created_outputs, verify_transaction
from planetmint.state.overlay import Overlay

_CHUNK = 256
_CHUNK_BYTES = 1_000_000
"""So many lines, or so much text, is looked at together."""

_TURN_BYTES = 65_536
"""After so much text others have their turn in the event loop."""

Answer = Waiter | Refusal | None
"""What a line's outcome waits for, or why it is refused; None where it is taken and that is all."""


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

    def __init__(self, admission: Admission, mode: Mode) -> None:
        self._admission = admission
        self._mode = mode
        self._uncommitted: dict[str, Transaction] = {}
        self._full: MempoolFull | None = None

    async def submit(self, lines: Sequence[bytes]) -> list[BulkOutcome]:
        """Outcomes of some more lines, in order."""
        decoded = await self._decode_all(lines)
        try:
            overlay = await self._overlay([item for item in decoded if isinstance(item, Transaction)])
        except StoreError as error:
            return [BulkOutcome(name, error) for name in await self._ids(lines, decoded)]
        unjudged = await self._judge(decoded, overlay)
        answers: list[Answer] = [None] * len(decoded)
        try:
            await self._take(decoded, overlay, unjudged, answers)
            refusals = await self._settle(answers)
        finally:
            # Those who are still waiting, where this ends before its time.
            for item, answer in zip(decoded, answers, strict=True):
                if isinstance(item, Transaction) and isinstance(answer, asyncio.Future):
                    self._admission.lifecycle.forget(item, answer)
        return list(map(BulkOutcome, await self._ids(lines, decoded), refusals))

    async def _ids(self, lines: Sequence[bytes], decoded: Sequence[Transaction | Refusal]) -> list[str | None]:
        """The ids of the lines, or those that they claim."""
        ids: list[str | None] = []
        for line, item in zip(lines, decoded, strict=True):
            if isinstance(item, Transaction):
                ids.append(item.id)
            elif len(line) < LARGE:
                ids.append(claimed_id(line))
            else:
                ids.append(await self._admission.verifier.apart(partial(claimed_id, line)))
        return ids

    async def _settle(self, answers: Sequence[Answer]) -> list[Refusal | None]:
        """Wait for the blocks of some lines, for all of them together no longer than for one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._admission.commit_timeout
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
            self._admission.refuse_in_trouble()
            return await self._admission.read(line)
        except REFUSALS as refusal:
            return refusal

    async def _overlay(self, transactions: Sequence[Transaction]) -> Overlay:
        """Committed state with the accepted lines that are in no block yet on top."""
        await self._admission.verifier.verify(transactions)
        view = await self._admission.store.read_state(reads_of([*self._uncommitted.values(), *transactions]))
        overlay = Overlay(view)
        waiting, self._uncommitted = self._uncommitted, {}
        for item in waiting.values():
            if view.has_transaction(item.id) or not _spendable(item, overlay):
                # It is in a block, or a block has spent its inputs otherwise: it waits no more.
                continue
            overlay.apply(item.id, item.spends, created_outputs(item))
            self._uncommitted[item.id] = item
        return overlay

    async def _judge(self, decoded: Sequence[Transaction | Refusal], overlay: Overlay) -> dict[str, ContractError]:
        """Have the contracts of some lines judged, several at a time, as far as the ledger may accept the lines.

        Returns:
            By id why there is no verdict, where there is none.
        """
        running = [
            item
            for item in decoded
            if isinstance(item, Transaction)
            and item.contracts
            and not overlay.has_transaction(item.id)
            and not _spent(item, overlay)
            and self._signed(item)
        ]
        return await self._admission.verifier.contracts.judge(running, Patience.ADMISSION) if running else {}

    def _signed(self, item: Transaction) -> bool:
        try:
            self._admission.verifier.cache.check(item)
        except InvalidTransaction:
            return False
        return True

    async def _take(
        self,
        decoded: Sequence[Transaction | Refusal],
        overlay: Overlay,
        unjudged: Mapping[str, ContractError],
        answers: list[Answer],
    ) -> None:
        """Verify lines in order and hand them over, in one call as long as none builds on another.

        Args:
            unjudged: By id why there is no verdict on contracts.
            answers: One per line, to be filled; what is known when this ends early stands there.
        """
        group = _Group()
        for number, item in enumerate(decoded):
            if not isinstance(item, Transaction):
                answers[number] = item
                continue
            if group.touches(item):
                await self._hand_over(group, overlay, answers)
            parents = self._parents(item)
            if parents:
                await self._hand_over(group, overlay, answers)
            if self._full is not None:
                answers[number] = self._full
                continue
            try:
                verify_transaction(item, overlay, self._admission.verifier.cache.check)
                if item.contracts:
                    await self._check_contracts(item, unjudged)
                await self._await(parents)
            except REFUSALS as refusal:
                answers[number] = refusal
                continue
            group.add(number, item)
        await self._hand_over(group, overlay, answers)

    async def _check_contracts(self, item: Transaction, unjudged: Mapping[str, ContractError]) -> None:
        """Raise what is said of the contracts of a line that is valid otherwise: most often it is known by now."""
        contracts = self._admission.verifier.contracts
        if item.id in unjudged:
            raise unjudged[item.id]
        for error in (await contracts.judge((item,), Patience.ADMISSION)).values():
            raise error
        contracts.check(item)

    async def _hand_over(self, group: "_Group", overlay: Overlay, answers: list[Answer]) -> None:
        """Give the lines of `group` to the engine and empty it; those taken are in `overlay` from now on."""
        if not group.lines:
            return
        lines, group.lines = group.lines, {}
        group.spends.clear()
        group.ids.clear()
        waiters = [self._waiter() for _ in lines]
        for number, waiter in zip(lines, waiters, strict=True):
            answers[number] = waiter
        refusals = await self._admission.hand_over([*lines.values()], waiters)
        for (number, item), waiter, refusal in zip(lines.items(), waiters, refusals, strict=True):
            if refusal is None:
                overlay.apply(item.id, item.spends, created_outputs(item))
                self._uncommitted[item.id] = item
                continue
            if waiter is not None:
                self._admission.lifecycle.forget(item, waiter)
            answers[number] = refusal
            if isinstance(refusal, MempoolFull):
                self._full = refusal

    def _waiter(self) -> Waiter | None:
        return asyncio.get_running_loop().create_future() if self._mode is Mode.COMMIT else None

    def _parents(self, item: Transaction) -> list[Transaction]:
        """The lines that have to be in a block before this one: those it builds on, for some engines."""
        if self._admission.consensus.orders_dependents:
            return []
        known = self._uncommitted
        return [known[ref.transaction_id] for ref in item.spends if ref.transaction_id in known]

    async def _await(self, parents: Sequence[Transaction]) -> None:
        """Wait for the blocks of some lines, for each as long as its sender would."""
        for parent in parents:
            waiter: Waiter = asyncio.get_running_loop().create_future()
            self._admission.lifecycle.await_commit(parent, waiter)
            try:
                if await self._admission.store.height_of(parent.id) is None:
                    await _settled(waiter, self._admission.commit_timeout)
            finally:
                self._admission.lifecycle.forget(parent, waiter)


class _Group:
    """Lines that are verified and not handed over: none of them changes what the rules say of another.

    Attributes:
        lines: By their number, in order.
        ids: Theirs.
        spends: The outputs that they spend.
    """

    def __init__(self) -> None:
        self.lines: dict[int, Transaction] = {}
        self.ids: set[str] = set()
        self.spends: set[OutputRef] = set()

    def touches(self, item: Transaction) -> bool:
        """Whether `item` has to be judged on top of the group."""
        return item.id in self.ids or any(
            ref in self.spends or ref.transaction_id in self.ids for ref in item.spends
        )

    def add(self, number: int, item: Transaction) -> None:
        """Take a verified line in."""
        self.lines[number] = item
        self.ids.add(item.id)
        self.spends.update(item.spends)


async def _settled(waiter: Waiter, timeout: float) -> Refusal | None:
    """Wait for a line's block; why it was refused after all, or None."""
    try:
        await committed(waiter, timeout)
    except REFUSALS as refusal:
        return refusal
    return None


def _spendable(transaction: Transaction, overlay: Overlay) -> bool:
    records = [overlay.output(ref) for ref in transaction.spends]
    return all(record is not None and record.spender is None for record in records)


def _spent(transaction: Transaction, overlay: Overlay) -> bool:
    records = [overlay.output(ref) for ref in transaction.spends]
    return any(record is not None and record.spender is not None for record in records)


async def _next(lines: AsyncIterator[bytes]) -> bytes | None:
    return await anext(lines, None)
