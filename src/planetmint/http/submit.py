# SPDX-License-Identifier: AGPL-3.0-or-later
"""POST /api/v1/transactions: the route that a node lives on, so that it costs as little as can be.

It is an ASGI callable of its own, reached without a router. One transaction as JSON of any content type, or
many as NDJSON (`planetmint.http.bulk`), or one that is only tried (`planetmint.http.dry_run`). Source: http-api
2.1, 2.6, 4.3.
"""

from time import perf_counter
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from planetmint.app.application import Mode
from planetmint.http.answers import CLOSE, CONTENT_TYPE_JSON, NDJSON, Answer, cors, json_answer, send_answer
from planetmint.http.arguments import ArgumentError, Arguments
from planetmint.http.body import (
    DRAINED_BYTES,
    BodyTooLarge,
    Budget,
    ClientGone,
    Overloaded,
    Refused,
    drain,
    read_body,
    too_long,
)
from planetmint.http.bulk import BulkLoad
from planetmint.http.dry_run import dry_run_answer
from planetmint.http.errors import NODE_ERRORS
from planetmint.http.query import Node
from planetmint.model.errors import TransactionTooLarge

ROUTE = "/api/v1/transactions"

DRY_RUN_ROUTE = f"{ROUTE}?dry_run=true"
"""The route under which dry runs are counted: what they take says nothing about submissions."""

BODY_BUDGET = 256 * 1024 * 1024
"""Bytes of unfinished bodies over all connections; beyond, the answer is 503."""

BULKS_AT_ONCE = 32
"""Bulk requests that are worked on at the same time; more are answered with 503."""

DRY_RUNS_AT_ONCE = 64
"""Dry runs that are worked on at the same time; more are answered with 503."""


class _Wish(NamedTuple):
    """What a query string asks for.

    Attributes:
        mode: When to answer; of no account in a dry run.
        dry_run: Whether the transaction is only tried.
    """

    mode: Mode = Mode.ASYNC
    dry_run: bool = False


_MODES = {mode.value: mode for mode in Mode}
_USUAL_QUERIES = {b"": _Wish(), **{b"mode=" + mode.value.encode("ascii"): _Wish(mode) for mode in Mode}}
_TRUTHS = {"true": True, "false": False}
_ONE_AT_A_TIME = "A dry run tries one transaction at a time: send it as JSON, not as NDJSON"
_LONGEST_LENGTH = 18


class Submit:
    """Takes transactions from clients."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._budget = Budget(BODY_BUDGET)
        self._bulks = 0
        self._dry_runs = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = perf_counter()
        route = ROUTE
        headers = dict(scope["headers"])
        bulk = headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == NDJSON
        try:
            mode, dry_run = _wish(scope["query_string"])
            if dry_run:
                route = DRY_RUN_ROUTE
                status = await self._try(scope, receive, send, headers, bulk=bulk)
            elif bulk:
                status = await self._many(scope, receive, send, headers, mode)
            else:
                status = await self._one(receive, send, headers, mode)
        except ClientGone:
            return
        except ArgumentError as error:
            status = await _refuse(scope, send, error.answer())
        except Refused as error:
            status = await _refuse(scope, send, self._unread(error))
        except NODE_ERRORS as error:
            status = await _refuse(scope, send, self._node.failures.answer(error))
        except Exception as error:  # noqa: BLE001 - the edge's last resort: logged, answered without details
            status = await _refuse(scope, send, self._node.failures.unexpected(error, route))
        self._node.metrics.count(route, "POST", status, perf_counter() - begun)

    async def _one(self, receive: Receive, send: Send, headers: dict[bytes, bytes], mode: Mode) -> int:
        body = await self._body(receive, headers)
        accepted = (await self._node.application.submit(body, mode)).canonical
        answer_headers = [
            CONTENT_TYPE_JSON,
            (b"content-length", b"%d" % len(accepted)),
            *cors(headers.get(b"origin")),
        ]
        await send({"type": "http.response.start", "status": 202, "headers": answer_headers})
        await send({"type": "http.response.body", "body": accepted})
        return 202

    async def _body(self, receive: Receive, headers: dict[bytes, bytes]) -> bytes:
        """The body of a request with one transaction. Raises Refused."""
        limit = self._node.settings.max_body_bytes
        declared = headers.get(b"content-length")
        if declared is not None and _length(declared) > limit:
            await _refuse_unread(receive, headers, limit)
        return await read_body(receive, limit, self._budget)

    async def _try(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], *, bulk: bool
    ) -> int:
        if bulk:
            raise ArgumentError(_ONE_AT_A_TIME, "dry_run")
        body = await self._body(receive, headers)
        if self._dry_runs >= DRY_RUNS_AT_ONCE:
            raise Overloaded("Too many transactions are being tried at present.", drained=True)
        self._dry_runs += 1
        try:
            answer = await dry_run_answer(await self._node.application.dry_run(body))
        finally:
            self._dry_runs -= 1
        await send_answer(scope, send, answer)
        return answer.status

    async def _many(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], mode: Mode
    ) -> int:
        limit = self._node.settings.bulk_max_bytes
        declared = headers.get(b"content-length")
        if declared is not None and _length(declared) > limit:
            await _refuse_unread(receive, headers, limit)
        if self._bulks >= BULKS_AT_ONCE:
            drained = b"expect" not in headers and await drain(receive)
            raise Overloaded("Too many bulk requests are being read at present.", drained=drained)
        self._bulks += 1
        try:
            return await BulkLoad(self._node, scope, receive, send, mode).run()
        finally:
            self._bulks -= 1

    def _unread(self, refused: Refused) -> Answer:
        """The answer to a body that was not read to its end; without that the connection cannot go on."""
        if isinstance(refused, Overloaded):
            answer = json_answer({"message": refused.message, "status": 503}, 503, ((b"retry-after", b"1"),))
        else:
            answer = self._node.failures.answer(TransactionTooLarge(refused.message, rule="body.size"))
        return answer if refused.drained else answer._replace(headers=(*answer.headers, CLOSE))


def _wish(query: bytes) -> _Wish:
    """What a query string asks for, exact in letter case. Raises ArgumentError."""
    usual = _USUAL_QUERIES.get(query)
    if usual is not None:
        return usual
    arguments = Arguments(query)
    mode = arguments.optional("mode", _read_mode) or Mode.ASYNC
    return _Wish(mode, arguments.optional("dry_run", _read_dry_run) or False)


def _read_mode(value: str) -> Mode:
    try:
        return _MODES[value]
    except KeyError:
        raise ValueError('Mode must be "async", "sync" or "commit"') from None


def _read_dry_run(value: str) -> bool:
    try:
        return _TRUTHS[value]
    except KeyError:
        raise ValueError('Dry run must be "true" or "false"') from None


def _length(declared: bytes) -> int:
    """A declared length; the server has seen to it that it is a number."""
    return int(declared) if len(declared) <= _LONGEST_LENGTH else 10**_LONGEST_LENGTH


async def _refuse_unread(receive: Receive, headers: dict[bytes, bytes], limit: int) -> None:
    """Refuse a body by its declared length. Raises BodyTooLarge, always.

    A client that waits for leave to send gets none; any other is heard out within bounds, because one that is
    still sending sees no answer.
    """
    waits = b"expect" in headers
    short_enough = _length(headers[b"content-length"]) <= limit + DRAINED_BYTES
    raise BodyTooLarge(too_long(limit), drained=not waits and short_enough and await drain(receive))


async def _refuse(scope: Scope, send: Send, answer: Answer) -> int:
    await send_answer(scope, send, answer)
    return answer.status
