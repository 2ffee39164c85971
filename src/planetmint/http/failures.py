# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the edge does about an exception that nobody foresaw: log it whole, tell the client nothing of it."""

import structlog

from planetmint.http.answers import INTERNAL_ERROR, Answer

_log = structlog.get_logger(__name__)


def unexpected(error: Exception, route: str) -> Answer:
    """The answer to a request that met `error`, which is a bug of the node."""
    _log.error("unexpected error", route=route, error=type(error).__name__, exc_info=error)
    return INTERNAL_ERROR
