# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rules common to all routes: http-api 1, 2 and 3."""

import json
from typing import Any

import pytest

from planetmint.http import HttpSettings
from planetmint.http.routes import ROUTES
from planetmint.version import __version__
from tests.unit.http.world import CID, StubApplication, World, body_of, request, served, status_line

API = "/api/v1"
JSON = "application/json"
PATHS = [
    "/",
    "/api/v1",
    "/api/v1/transactions/{id}",
    "/api/v1/transactions?asset_id={id}",
    "/api/v1/outputs?public_key={key}",
    "/api/v1/assets?search=bicycle",
    "/api/v1/assets/{cid}",
    "/api/v1/metadata?search=owner",
    "/api/v1/metadata/{cid}",
    "/api/v1/blocks?transaction_id={id}",
    "/api/v1/blocks/1",
    "/api/v1/blocks/latest",
    "/api/v1/validators",
    "/health/live",
    "/health/ready",
]
SIMPLE = ["/", API, f"{API}/transactions", f"{API}/blocks/1", f"{API}/validators", "/health/live", "/metrics"]


def concrete(path: str, world: World) -> str:
    key = world.story.bicycle.wire["outputs"][0]["public_keys"][0]
    return path.format(id=world.story.bicycle.id, key=key, cid=CID)


def with_slash(path: str) -> str:
    base, question, query = path.partition("?")
    return f"{base.rstrip('/')}/{question}{query}"


def test_every_route_of_the_table_is_read_by_these_tests() -> None:
    templates = {path.partition("?")[0].replace("/blocks/1", "/blocks/{height:digits}") for path in PATHS}
    assert templates | {"/metrics"} == {spec.path for spec in ROUTES}


@pytest.mark.parametrize("path", PATHS)
async def test_http_2_1_answers_are_exactly_application_json(path: str, world: World) -> None:
    answer = await world.get(concrete(path, world))
    assert answer.status_code == 200
    assert answer.headers.get_list("content-type") == [JSON]
    json.loads(answer.content)


@pytest.mark.parametrize("path", PATHS)
async def test_http_1_one_slash_at_the_end_answers_alike_without_redirect(path: str, world: World) -> None:
    plain, slashed = [await world.get(one) for one in (concrete(path, world), with_slash(concrete(path, world)))]
    assert (slashed.status_code, slashed.content) == (200, plain.content)


@pytest.mark.parametrize("path", PATHS)
async def test_http_2_4_head_answers_as_get_without_a_body(path: str, world: World) -> None:
    path = concrete(path, world)
    got, head = await world.get(path), await world.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == got.headers


async def test_http_2_4_head_leaves_the_connection_usable(world: World) -> None:
    answer = await world.raw(b"HEAD /api/v1 HTTP/1.1\r\nHost: node\r\n\r\n" + request("GET", "/health/live"))
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert rest.startswith(b"HTTP/1.1 200 OK")


async def test_http_2_4_repeated_slashes_are_served_as_one(world: World) -> None:
    once = await world.api(f"/assets/{CID}?limit=0")
    for path in (f"/api/v1/assets//{CID}?limit=0", f"//api///v1/assets/{CID}//"):
        answer = await world.raw(request("GET", path))
        assert status_line(answer) == "HTTP/1.1 200 OK"
        assert body_of(answer) == once.json() != []


@pytest.mark.parametrize("height", ["-1", "abc", "1.0", "0x1", "+1", "١", "1%0A", "%201"])
async def test_http_2_4_height_takes_decimal_digits_only(height: str, world: World) -> None:
    answer = await world.api(f"/blocks/{height}")
    assert (answer.status_code, answer.json()) == (404, {"message": "Not found", "status": 404})


async def test_http_2_1_accept_is_ignored(world: World) -> None:
    answer = await world.api("", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == JSON


async def test_http_2_1_get_with_a_content_type_and_no_body_works(world: World) -> None:
    for kind in (JSON, "application/x-www-form-urlencoded", "application/x-ndjson"):
        answer = await world.api(f"/transactions/{world.story.sold.id}", headers={"Content-Type": kind})
        assert answer.status_code == 200


async def test_http_2_1_first_value_of_a_repeated_argument_counts(world: World) -> None:
    own, other = world.story.bicycle.id, world.story.painting.id
    answer = await world.api(f"/transactions?asset_id={own}&asset_id={other}")
    assert [item["id"] for item in answer.json()] == [own, world.story.sold.id]


async def test_http_2_1_every_value_of_a_repeated_argument_is_checked(world: World) -> None:
    answer = await world.api(f"/transactions?asset_id={world.story.bicycle.id}&asset_id=bad")
    assert (answer.status_code, answer.json()) == (400, {"message": {"asset_id": "Invalid hash"}, "status": 400})


def ordered(content: bytes) -> list[str]:
    return [name for name, _ in json.loads(content, object_pairs_hook=list)]


async def test_http_2_2_message_comes_first_and_status_last(world: World) -> None:
    for answer in (
        await world.api("/nothing"),
        await world.api("/outputs"),
        await world.post(b"{}"),
        await world.client.delete(API),
    ):
        names = ordered(answer.content)
        assert (names[0], names[-1]) == ("message", "status")
        assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("path", ["/nothing", "/statuses", "/transactions/a/b", "/streams/valid_transactions"])
async def test_http_2_2_unknown_path_below_the_api_answers_404_json(path: str, world: World) -> None:
    answer = await world.api(path)
    assert (answer.status_code, answer.json()) == (404, {"message": "Not found", "status": 404})
    assert answer.headers["content-type"] == JSON


async def test_http_1_streams_are_not_on_this_port_even_for_an_upgrade(world: World) -> None:
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13")
    head = request("GET", "/api/v1/streams/valid_transactions", b"", *upgrade)
    answer = await world.raw(head.replace(b"Connection: close", b"Connection: Upgrade, close"))
    assert status_line(answer) == "HTTP/1.1 404 NOT FOUND"
    assert body_of(answer) == {"message": "Not found", "status": 404}


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/v2", "/api/v1x", "/explorer"])
async def test_http_2_2_unknown_path_elsewhere_answers_404_that_is_not_json(path: str, world: World) -> None:
    answer = await world.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    with pytest.raises(ValueError, match="Expecting"):
        answer.json()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "POST"])
@pytest.mark.parametrize("path", SIMPLE)
async def test_http_2_2_wrong_method_answers_405_with_allow(method: str, path: str, world: World) -> None:
    both = path == f"{API}/transactions"
    if both and method == "POST":
        return  # the one that is allowed
    answer = await world.client.request(method, path)
    assert answer.status_code == 405
    assert answer.json()["message"] == "The method is not allowed for the requested URL."
    assert answer.headers["allow"] == ("GET, POST, HEAD, OPTIONS" if both else "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/api/v1", "HTTP/1.1 200 OK"),
        ("/api/v1/outputs", "HTTP/1.1 400 BAD REQUEST"),
        ("/api/v1/nothing", "HTTP/1.1 404 NOT FOUND"),
        ("/nothing", "HTTP/1.1 404 NOT FOUND"),
    ],
)
async def test_http_2_2_status_lines_carry_the_old_reason_phrases(path: str, line: str, world: World) -> None:
    assert status_line(await world.raw(request("GET", path))) == line


async def test_http_2_2_unknown_arguments_are_refused_on_two_routes_and_ignored_elsewhere(world: World) -> None:
    key = world.story.bicycle.wire["outputs"][0]["public_keys"][0]
    own = world.story.bicycle.id
    for path in (f"/outputs?public_key={key}&foo=1&bar=2", f"/blocks?transaction_id={own}&foo=1&bar=2"):
        answer = await world.api(path)
        assert (answer.status_code, answer.json()["message"]) == (400, "Unknown arguments: foo, bar")
    for path in (f"/transactions?asset_id={own}", "/assets?search=bicycle", "/validators?", f"/assets/{CID}?"):
        assert (await world.api(f"{path}&foo=1")).status_code == 200


async def test_http_2_2_known_optional_arguments_are_no_unknown_ones(world: World) -> None:
    key = world.story.bicycle.wire["outputs"][0]["public_keys"][0]
    assert (await world.api(f"/outputs?public_key={key}&limit=1&spent=true")).status_code == 200
    assert (await world.api(f"/blocks?transaction_id={world.story.sold.id}&view=heights")).status_code == 200


async def test_http_2_2_an_unexpected_exception_answers_500_and_tells_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.application.failure = RuntimeError("secret path /var/lib")
    answer = await world.post(b"{}")
    assert (answer.status_code, answer.json()["message"]) == (500, "Internal Server Error")
    assert "secret" not in answer.text
    assert status_line(await world.raw(request("POST", "/api/v1/transactions", b"{}"))) == (
        "HTTP/1.1 500 INTERNAL SERVER ERROR"
    )
    assert "secret path" in capsys.readouterr().out


async def test_http_2_2_an_unexpected_exception_in_a_read_answers_500_and_tells_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(transaction_id: str) -> bytes:
        raise RuntimeError("secret")

    monkeypatch.setattr(world.application.store, "transaction", broken)
    answer = await world.api(f"/transactions/{world.story.sold.id}")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error", "status": 500})


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/nothing", "/nothing", "/api/v1/outputs"])
async def test_http_2_3_cors_without_an_origin_allows_every_one(path: str, world: World) -> None:
    answer = await world.get(path)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "vary" not in answer.headers


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/nothing", "/nothing", "/api/v1/outputs"])
async def test_http_2_3_cors_with_an_origin_echoes_it_also_on_errors(path: str, world: World) -> None:
    answer = await world.get(path, headers={"Origin": "https://shop.example"})
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("body", [b"{}", b"good"])
async def test_http_2_3_cors_on_posts(body: bytes, world: World) -> None:
    content = world.story.bicycle.canonical if body == b"good" else body
    assert (await world.post(content)).headers["access-control-allow-origin"] == "*"
    answer = await world.post(content, headers={"Origin": "https://shop.example"})
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["vary"] == "Origin"


async def test_http_2_3_preflight_of_a_post_succeeds(world: World) -> None:
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for path in ("/api/v1/transactions", "/api/v1/transactions/"):
        answer = await world.client.options(path, headers=asked)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["allow"] == "GET, POST, HEAD, OPTIONS"
        assert answer.headers["access-control-allow-methods"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
        assert answer.headers["access-control-allow-headers"] == "content-type"
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-max-age" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
async def test_http_1_options_answers_on_every_route(path: str, world: World) -> None:
    answer = await world.client.options(concrete(path, world))
    both = path.partition("?")[0] == f"{API}/transactions"
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["allow"] == ("GET, POST, HEAD, OPTIONS" if both else "GET, HEAD, OPTIONS")


async def test_http_2_5_connections_stay_open_between_requests(world: World) -> None:
    one = b"GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n"
    answer = await world.raw(one, one, request("GET", "/health/live"))
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.lower().count(b"connection: close") == 1


async def test_http_2_5_pipelined_requests_are_answered_in_order(world: World) -> None:
    paths = ["/health/live", "/api/v1/blocks/1", "/api/v1/nothing", "/api/v1/validators"]
    asked = b"".join(f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode() for path in paths)
    answer = await world.raw(asked + request("GET", "/api/v1/outputs"))
    lines = [line for line in answer.decode().split("\r\n") if "HTTP/1.1" in line]
    assert [line[line.index("HTTP/1.1") :][9:12] for line in lines] == ["200", "200", "404", "200", "400"]


ROOT_KEYS = {
    "transactions": "/transactions/",
    "blocks": "/blocks/",
    "assets": "/assets/",
    "outputs": "/outputs/",
    "metadata": "/metadata/",
    "validators": "/validators",
}
STREAM = "ws://localhost:9985/api/v1/streams/"


def check_entry(entry: dict[str, Any], prefix: str) -> None:
    assert {name: entry[name] for name in ROOT_KEYS} == {name: prefix + path for name, path in ROOT_KEYS.items()}
    assert entry["docs"].startswith("http")
    assert entry["streams"] == STREAM + "valid_transactions"
    assert entry["streamedblocks"] == STREAM + "valid_blocks"


async def test_http_3_the_root_tells_software_version_and_the_api(world: World) -> None:
    root = (await world.get("/")).json()
    assert root["software"] == "Planetmint"
    assert root["version"] == __version__
    assert root["docs"].startswith("http")
    check_entry(root["api"]["v1"], "/api/v1")


async def test_http_3_the_api_root_lists_routes_and_streams(world: World) -> None:
    check_entry((await world.api("")).json(), "")


async def test_es_3_es_4_es_7_stream_urls_come_from_settings_alone_and_show_the_port() -> None:
    settings = HttpSettings(
        stream_scheme="wss", stream_host="node.example", stream_port=443, stream_parameters=("public_key", "after")
    )
    async with served(StubApplication(), settings) as world:
        entry = (await world.api("", headers={"Host": "elsewhere.example"})).json()
    assert entry["streams"] == "wss://node.example:443/api/v1/streams/valid_transactions"
    assert entry["streamedblocks"] == "wss://node.example:443/api/v1/streams/valid_blocks"
    assert entry["stream_endpoints"]["valid_blocks"] == entry["streamedblocks"]
    assert entry["stream_parameters"] == ["public_key", "after"]


async def test_es_4_an_ipv6_host_stands_in_brackets() -> None:
    async with served(StubApplication(), HttpSettings(stream_host="::1")) as world:
        entry = (await world.api("")).json()
    assert entry["streams"] == "ws://[::1]:9985/api/v1/streams/valid_transactions"
