# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many transactions in one request: NDJSON in, NDJSON out, both as a stream. Source: http-api 4.3, "bulk".

Outcomes never hold up reading: a client may send everything before it reads anything. What waits to be
written is bounded by the number of lines.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeGuard

from starlette.types import Receive, Scope, Send

from planetmint.app.application import BulkOutcome, Mode
from planetmint.http.answers import NDJSON, cors, json_answer, send_answer
from planetmint.http.body import ClientGone, drain, read_chunk, too_long
from planetmint.http.lines import Line, LineSplitter, TooLong
from planetmint.http.query import Node
from planetmint.model.errors import TransactionTooLarge
from planetmint.model.json import JsonObject

ACCEPTED = "Accepted"


class BulkLoad:
    """One bulk request."""

    def __init__(self, node: Node, scope: Scope, receive: Receive, send: Send, mode: Mode) -> None:
        self._node = node
        self._scope = scope
        self._receive = receive
        self._send = send
        self._mode = mode
        self._begun = False
        self._waiting: list[bytes] = []
        self._news = asyncio.Event()
        self._given = 0
        self._answered = 0
        self._too_long_after: deque[int] = deque()
        self._limit_met: str | None = None
        self._more = True

    async def run(self) -> int:
        """Answer the request; returns the status that was sent."""
        work = asyncio.create_task(self._work())
        work.add_done_callback(lambda _: self._news.set())
        try:
            while not work.done():
                await self._news.wait()
                self._news.clear()
                await self._write()
            await work
        finally:
            work.cancel()
        return await self._end()

    async def _work(self) -> None:
        """Feed the lines to the application and note the outcomes."""
        async for outcome in self._node.application.submit_lines(self._lines(), self._mode):
            self._note(outcome)

    async def _lines(self) -> AsyncIterator[bytes]:
        """The lines of the body as it arrives, until its end or a limit."""
        settings = self._node.settings
        splitter = LineSplitter(settings.max_body_bytes)
        size = count = 0
        while self._more:
            try:
                part, self._more = await read_chunk(self._receive)
            except ClientGone:
                return  # what it began to send last may not be whole
            size += len(part)
            if size > settings.bulk_max_bytes:
                self._limit_met = too_long(settings.bulk_max_bytes)
                return
            for line in splitter.feed(part) + ([] if self._more else splitter.finish()):
                count += 1
                if count > settings.bulk_max_lines:
                    self._limit_met = f"The request holds more than {settings.bulk_max_lines} transactions."
                    return
                if self._may_be_read(line):
                    yield line

    def _may_be_read(self, line: Line) -> TypeGuard[bytes]:
        """Whether a line goes to the application; one that is too long is answered in its turn."""
        if isinstance(line, TooLong):
            self._too_long_after.append(self._given)
            self._answer_too_long()
            return False
        self._given += 1
        return True

    def _note(self, outcome: BulkOutcome) -> None:
        self._answer_too_long()
        self._answered += 1
        if outcome.error is None:
            self._put({"id": outcome.transaction_id, "status": 202, "message": ACCEPTED})
        else:
            self._put(self._node.failures.line(outcome.transaction_id, outcome.error))
        self._answer_too_long()

    def _answer_too_long(self) -> None:
        """Answer the lines that were too long and stand before the next outcome."""
        while self._too_long_after and self._too_long_after[0] == self._answered:
            self._too_long_after.popleft()
            message = too_long(self._node.settings.max_body_bytes)
            self._put(self._node.failures.line(None, TransactionTooLarge(message, rule="body.size")))

    def _put(self, line: JsonObject) -> None:
        self._waiting.append(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")
        self._news.set()

    async def _write(self) -> None:
        """Send what waits to be written."""
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        self._waiting.clear()
        await self._begin()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        origin = next((value for name, value in self._scope["headers"] if name == b"origin"), None)
        headers = [(b"content-type", NDJSON), *cors(origin)]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _end(self) -> int:
        """Send the rest, and the limit that was met if any: as the whole answer where nothing was sent before."""
        await self._write()
        if self._limit_met is not None:
            await self._drain()
            if not self._begun:
                answer = json_answer({"message": self._limit_met, "status": 413}, 413)
                await send_answer(self._scope, self._send, answer)
                return 413
            self._put({"id": None, "status": 413, "message": self._limit_met})
            await self._write()
        await self._begin()
        await self._send({"type": "http.response.body", "body": b""})
        return 200

    async def _drain(self) -> None:
        """Hear the client out, who may read nothing before it has sent everything."""
        if not self._more:
            return
        with suppress(ClientGone):
            await drain(self._receive)
