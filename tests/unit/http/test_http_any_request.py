# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever a request says, its answer is below 500, and JSON where it says so: generated requests, no sockets."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from planetmint.http import HttpSettings, create_app
from planetmint.http.routes import ROUTES
from planetmint.testing.build import public_key
from tests.unit.http.world import CID, StubApplication, fill, make_story

NAMES = sorted({name for spec in ROUTES for name in (*spec.parameters, *(spec.post_parameters or ()))})
STORY = make_story()
VALUES = st.one_of(
    st.text(max_size=60),
    st.integers().map(str),
    st.sampled_from(["true", "FALSE", "CREATE", "transfer", "commit", "heights", CID, public_key("alice")]),
    st.sampled_from([item.id for item in STORY.all]),
)
PARTS = st.one_of(VALUES, st.sampled_from(["latest", "0", "1", "9" * 30, "..", ""]))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def app(loop: asyncio.AbstractEventLoop) -> ASGIApp:
    application = StubApplication()
    loop.run_until_complete(fill(application.store, STORY.blocks))
    return create_app(application, HttpSettings(max_body_bytes=10_000))


def ask(
    loop: asyncio.AbstractEventLoop,
    app: ASGIApp,
    method: str,
    path: str,
    query: str,
    *parts: bytes,
    **headers: str,
) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request past all servers: status, headers, body."""
    sent: list[Any] = []
    waiting = list(parts or (b"",))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("latin-1"),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    loop.run_until_complete(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), body


@given(
    spec=st.sampled_from(ROUTES),
    parts=st.lists(PARTS, min_size=1, max_size=1),
    arguments=st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=5),
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "PUT", "X"]),
)
@settings(max_examples=400, deadline=None)
def test_any_read_of_a_route_answers_json_below_500(
    loop: asyncio.AbstractEventLoop,
    app: ASGIApp,
    spec: Any,
    parts: list[str],
    arguments: list[tuple[str, str]],
    method: str,
) -> None:
    path = spec.path
    for name in ("{id}", "{cid}", "{height:digits}"):
        path = path.replace(name, quote(parts[0], safe="", errors="surrogatepass"))
    query = "&".join(f"{name}={quote(value, safe='', errors='surrogatepass')}" for name, value in arguments)
    status, headers, body = ask(loop, app, method, path, query)
    assert status < 500
    if headers[b"content-type"] == b"application/json" and body:
        json.loads(body)


@given(path=st.text(st.characters(codec="ascii"), max_size=40), query=st.text(st.characters(codec="latin-1")))
@settings(max_examples=200, deadline=None)
def test_any_path_and_query_string_answer_below_500(
    loop: asyncio.AbstractEventLoop, app: ASGIApp, path: str, query: str
) -> None:
    for prefix in ("/", "/api/v1/", "/api/v1/blocks/", "/api/v1/transactions?"):
        assert ask(loop, app, "GET", prefix + path, query)[0] < 500


@given(body=st.one_of(st.binary(max_size=200), JSON_VALUES.map(lambda value: json.dumps(value).encode())))
@settings(max_examples=300, deadline=None)
def test_any_body_is_refused_alike_alone_and_in_bulk(
    loop: asyncio.AbstractEventLoop, app: ASGIApp, body: bytes
) -> None:
    status, _, answer = ask(loop, app, "POST", "/api/v1/transactions", "", body)
    assert status == 400
    alone = json.loads(answer)
    assert alone["class"] and alone["rule"]
    bulk = ask(loop, app, "POST", "/api/v1/transactions", "", body, content_type="application/x-ndjson")
    assert bulk[0] == 200
    lines = [json.loads(line) for line in bulk[2].splitlines()]
    assert len(lines) == len([line for line in body.split(b"\n") if line.strip()])
    if b"\n" not in body and body.strip():
        assert {name: lines[0][name] for name in alone} == alone


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_body_means_the_same_however_it_is_parted(
    loop: asyncio.AbstractEventLoop, app: ASGIApp, data: st.DataObject
) -> None:
    body = b"\n".join([STORY.bicycle.canonical, b"nonsense", b" ", b"x" * 11_000, STORY.sold.canonical])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    parts = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    kind = {"content_type": "application/x-ndjson"}
    status, _, answer = ask(loop, app, "POST", "/api/v1/transactions", "", *parts, **kind)
    assert [json.loads(line)["status"] for line in answer.splitlines()] == [202, 400, 413, 202]
    assert status == 200
