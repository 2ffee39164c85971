# SPDX-License-Identifier: AGPL-3.0-or-later
"""What tells about the node itself: the roots, its health, its figures. Source: http-api 3, event-stream 1."""

from planetmint.http.answers import Answer, json_answer
from planetmint.http.metrics import CONTENT_TYPE
from planetmint.http.query import Node, Query
from planetmint.http.settings import HttpSettings
from planetmint.model.json import JsonObject

API = "/api/v1"

_COLLECTIONS = ("transactions", "blocks", "assets", "outputs", "metadata")


async def root(node: Node, query: Query) -> Answer:
    """GET /: name, version, and where the API is."""
    settings = node.settings
    return json_answer(
        {
            "api": {"v1": _entry(settings, API)},
            "docs": settings.docs_url,
            "software": "Planetmint",
            "version": settings.version,
        }
    )


async def api_root(node: Node, query: Query) -> Answer:
    """GET /api/v1: the routes and the streams."""
    return json_answer(_entry(node.settings, ""))


async def live(node: Node, query: Query) -> Answer:
    """GET /health/live: 200 as long as the process answers."""
    return json_answer({"status": "live"})


async def ready(node: Node, query: Query) -> Answer:
    """GET /health/ready: 200 while transactions can be taken, else 503."""
    health = node.application.health()
    return json_answer({"ready": health.ready, "detail": health.detail}, 200 if health.ready else 503)


async def metrics(node: Node, query: Query) -> Answer:
    """GET /metrics: figures in the text format of Prometheus."""
    return Answer(200, node.metrics.exposition(), content_type=CONTENT_TYPE)


def _entry(settings: HttpSettings, prefix: str) -> JsonObject:
    streams: JsonObject = {name: settings.stream_url(name) for name in settings.stream_names}
    return {
        "docs": settings.docs_url,
        **{name: f"{prefix}/{name}/" for name in _COLLECTIONS},
        "validators": f"{prefix}/validators",
        "streams": streams["valid_transactions"],
        "streamedblocks": streams["valid_blocks"],
        "stream_endpoints": streams,
        "stream_parameters": list(settings.stream_parameters),
    }
