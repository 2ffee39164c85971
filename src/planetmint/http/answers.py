# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers: a status, a body and headers, and how they are sent.

JSON goes out with the content type `application/json` and no parameter: a published client compares the
header for equality (http-api 2.1).
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from starlette.types import Scope, Send

from planetmint.model.json import JsonValue

Header = tuple[bytes, bytes]

JSON = b"application/json"
NDJSON = b"application/x-ndjson"
HTML = b"text/html; charset=utf-8"

CLOSE: Header = (b"connection", b"close")
CONTENT_TYPE_JSON: Header = (b"content-type", JSON)

_ANY_ORIGIN: list[Header] = [(b"access-control-allow-origin", b"*")]
_ALL_METHODS = b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

_UNKNOWN_PAGE = b"""<!doctype html>
<html lang="en"><title>404 Not Found</title>
<h1>Not Found</h1>
<p>There is no such page. The API begins at <a href="/api/v1">/api/v1</a>.</p></html>
"""


class Answer(NamedTuple):
    """What is sent to a client; CORS headers and the length are added on the way."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = ()
    content_type: bytes = JSON


def json_answer(value: JsonValue, status: int = 200, headers: tuple[Header, ...] = ()) -> Answer:
    """An answer of a small JSON value. Escapes all but ASCII, so that no text can fail to be written."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode("ascii"), headers)


def array(items: Iterable[bytes]) -> bytes:
    """A JSON array of items that are JSON already."""
    return b"[%b]" % b",".join(items)


NOT_FOUND = json_answer({"message": "Not found", "status": 404}, 404)
UNKNOWN_PATH = Answer(404, _UNKNOWN_PAGE, content_type=HTML)
INTERNAL_ERROR = json_answer({"message": "Internal Server Error", "status": 500}, 500)


def method_not_allowed(allow: bytes) -> Answer:
    """The answer to a method that a route does not have; `allow` lists those that it has."""
    body: JsonValue = {"message": "The method is not allowed for the requested URL.", "status": 405}
    return json_answer(body, 405, ((b"allow", allow),))


def preflight(request_headers: Mapping[bytes, bytes], allow: bytes) -> Answer:
    """The answer to OPTIONS, asked by a browser before it posts or by anybody (http-api 2.3)."""
    headers: list[Header] = [(b"allow", allow)]
    if b"access-control-request-method" in request_headers:
        headers.append((b"access-control-allow-methods", _ALL_METHODS))
    asked = request_headers.get(b"access-control-request-headers")
    if asked is not None:
        headers.append((b"access-control-allow-headers", asked))
    return Answer(200, b"", tuple(headers))


def cors(origin: bytes | None) -> list[Header]:
    """Headers that let pages of every origin read the answer."""
    if origin is None:
        return _ANY_ORIGIN
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]


async def send_answer(scope: Scope, send: Send, answer: Answer) -> None:
    """Send a whole answer; to HEAD without its body."""
    origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        *cors(origin),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
