# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a handler of a reading route is given: the node and the request, taken apart."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from planetmint.app.application import Application
from planetmint.http.answers import Answer, Header
from planetmint.http.arguments import Arguments
from planetmint.http.failures import Failures
from planetmint.http.metrics import Metrics
from planetmint.http.paging import next_page, read_paging
from planetmint.http.settings import HttpSettings
from planetmint.ports.store import Cursor, Paging


@dataclass(frozen=True, slots=True)
class Node:
    """What the handlers work with."""

    application: Application
    settings: HttpSettings
    metrics: Metrics
    failures: Failures


@dataclass(frozen=True, slots=True)
class Query:
    """One reading request.

    Attributes:
        route: Template of its path, like ``/api/v1/assets/{cid}``.
        target: The path as sent, percent-encoded.
        query: The query string as sent.
        path: Parts of the path by their names in the template.
        arguments: Of the query string.
    """

    route: str
    target: bytes
    query: bytes
    path: Mapping[str, str]
    arguments: Arguments

    def paging(self, default: int | None = None) -> Paging:
        """The page that is asked for; raises `ArgumentError`."""
        return read_paging(self.arguments, self.route, default)

    def next_page(self, following: Cursor | None) -> tuple[Header, ...]:
        """Headers that tell where the list goes on."""
        return next_page(self.route, self.target, self.query, following)


Handler: TypeAlias = Callable[[Node, Query], Awaitable[Answer]]
