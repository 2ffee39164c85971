# SPDX-License-Identifier: AGPL-3.0-or-later
"""What went wrong inside the node, for its log; clients learn the class and nothing more.

Under load one trouble fails every request, so that a class of errors gets one line a second.
"""

import time

import structlog

from planetmint.http.answers import INTERNAL_ERROR, Answer
from planetmint.http.errors import NodeError, error_answer, error_line, row_of
from planetmint.model.errors import InvalidTransaction
from planetmint.model.json import JsonObject

QUIET_SECONDS = 1.0
"""How long a class of errors is silent after a line about it."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Failures:
    """Turns exceptions into answers and log lines, for one node."""

    def __init__(self) -> None:
        self._quiet_until: dict[type[Exception], float] = {}
        self._silenced: dict[type[Exception], int] = {}

    def answer(self, error: NodeError) -> Answer:
        """The answer to a request that failed with `error`."""
        self._report(error)
        return error_answer(error)

    def line(self, transaction_id: str | None, error: NodeError) -> JsonObject:
        """The line of a bulk answer for a transaction that failed with `error`."""
        self._report(error)
        return error_line(transaction_id, error)

    def unexpected(self, error: Exception, route: str) -> Answer:
        """The answer to a request that met `error`, which is a bug of the node."""
        _log.error("unexpected error", route=route, error=type(error).__name__, exc_info=error)
        return INTERNAL_ERROR

    def _report(self, error: NodeError) -> None:
        if isinstance(error, InvalidTransaction):
            return  # the sender's own affair
        kind, now = type(error), time.monotonic()
        if now < self._quiet_until.get(kind, 0.0):
            self._silenced[kind] = self._silenced.get(kind, 0) + 1
            return
        self._quiet_until[kind] = now + QUIET_SECONDS
        more = {"and_before": silenced} if (silenced := self._silenced.pop(kind, 0)) else {}
        _log.log(row_of(error).level, "request failed", error=kind.__name__, detail=str(error), **more)
