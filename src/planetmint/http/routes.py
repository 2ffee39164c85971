# SPDX-License-Identifier: AGPL-3.0-or-later
"""The table of routes: what the Web API answers, with which parameters. `docs/http-api.md` is held against it."""

from typing import NamedTuple

from planetmint.http import reads, roots
from planetmint.http.query import Handler
from planetmint.http.roots import API


class RouteSpec(NamedTuple):
    """One route.

    Attributes:
        path: Template without a slash at the end.
        read: Answers GET and HEAD.
        parameters: Of the query string of a GET, those that are looked at.
        post_parameters: Of the query string of a POST; None where the route takes none.
    """

    path: str
    read: Handler
    parameters: tuple[str, ...] = ()
    post_parameters: tuple[str, ...] | None = None

    @property
    def allow(self) -> bytes:
        """Value of the `Allow` header."""
        return b"GET, HEAD, OPTIONS" if self.post_parameters is None else b"GET, POST, HEAD, OPTIONS"


_PAGING = ("limit", "cursor")

ROUTES = (
    RouteSpec("/", roots.root),
    RouteSpec(API, roots.api_root),
    RouteSpec(
        f"{API}/transactions",
        reads.transactions,
        ("asset_id", "asset_ids", "operation", "last_tx", *_PAGING),
        post_parameters=("mode", "dry_run"),
    ),
    RouteSpec(f"{API}/transactions/{{id}}", reads.transaction),
    RouteSpec(f"{API}/outputs", reads.outputs, ("public_key", "spent", *_PAGING)),
    RouteSpec(f"{API}/assets", reads.search_assets, ("search", *_PAGING)),
    RouteSpec(f"{API}/assets/{{cid}}", reads.assets_by_content, _PAGING),
    RouteSpec(f"{API}/metadata", reads.search_metadata, ("search", *_PAGING)),
    RouteSpec(f"{API}/metadata/{{cid}}", reads.metadata_by_content, _PAGING),
    RouteSpec(f"{API}/blocks", reads.blocks, ("transaction_id", "view")),
    RouteSpec(f"{API}/blocks/latest", reads.latest_block),
    RouteSpec(f"{API}/blocks/{{height:digits}}", reads.block),
    RouteSpec(f"{API}/validators", reads.validators),
    RouteSpec("/health/live", roots.live),
    RouteSpec("/health/ready", roots.ready),
    RouteSpec("/metrics", roots.metrics),
)
