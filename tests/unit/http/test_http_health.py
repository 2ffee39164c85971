# SPDX-License-Identifier: AGPL-3.0-or-later
"""Health and figures of the node."""

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from planetmint.app.application import Health
from planetmint.http import HttpSettings, create_app
from planetmint.http.metrics import BUCKETS, Metrics
from tests.unit.http.world import World, request


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_live_answers_200_whatever_the_node_is_able_to_do(world: World) -> None:
    world.application.ready = Health(ready=False, detail="the disk is full")
    answer = await world.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


async def test_ready_answers_200_while_blocks_are_made(world: World) -> None:
    answer = await world.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "detail": "blocks are made"})


async def test_ready_answers_503_and_says_why_not(world: World) -> None:
    world.application.ready = Health(ready=False, detail="the disk is full")
    answer = await world.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "detail": "the disk is full"})


async def test_metrics_count_requests_by_route_method_and_status(world: World) -> None:
    await world.api(f"/transactions/{world.story.sold.id}")
    await world.api("/transactions/unknown")
    await world.api("/transactions/unknown")
    await world.post(world.story.sold.canonical)
    await world.post(b"nonsense")
    await world.api("/nothing/1")
    await world.api("/nothing/2")
    await world.raw(request("PROPFIND", "/api/v1"))
    answer = await world.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = samples(answer.text)

    def count(route: str, method: str, status: str) -> float:
        labels = frozenset({("route", route), ("method", method), ("status", status)})
        return found["planetmint_http_requests_total", labels]

    assert count("/api/v1/transactions/{id}", "GET", "200") == 1
    assert count("/api/v1/transactions/{id}", "GET", "404") == 2
    assert count("/api/v1/transactions", "POST", "202") == 1
    assert count("/api/v1/transactions", "POST", "400") == 1
    assert count("unmatched", "GET", "404") == 2
    assert count("/api/v1", "other", "405") == 1


async def test_metrics_hold_durations_by_route(world: World) -> None:
    for _ in range(3):
        await world.api("/validators")
    found = samples((await world.get("/metrics")).text)
    route = ("route", "/api/v1/validators")
    assert found["planetmint_http_request_seconds_count", frozenset({route})] == 3
    assert found["planetmint_http_request_seconds_sum", frozenset({route})] > 0
    assert found["planetmint_http_request_seconds_bucket", frozenset({route, ("le", "+Inf")})] == 3


def test_metrics_sort_durations_into_buckets() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for seconds in (0.0, BUCKETS[0], BUCKETS[0] * 1.1, BUCKETS[-1] + 1):
        metrics.count("/x", "GET", 200, seconds)
    found = samples(metrics.exposition().decode())

    def bucket(bound: str) -> float:
        return found["planetmint_http_request_seconds_bucket", frozenset({("route", "/x"), ("le", bound)})]

    assert [bucket(str(BUCKETS[0])), bucket(str(BUCKETS[1])), bucket(str(BUCKETS[-1])), bucket("+Inf")] == [
        2,
        3,
        3,
        4,
    ]


async def test_metrics_show_what_else_is_in_the_registry(world: World) -> None:
    registry = CollectorRegistry()
    Counter("planetmint_blocks", "Blocks.", registry=registry).inc(7)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    app = create_app(world.application, HttpSettings(), registry)
    scope = {"type": "http", "method": "GET", "path": "/metrics", "query_string": b"", "headers": []}
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert b"planetmint_blocks_total 7.0" in bytes(sent[1]["body"])  # type: ignore[arg-type]
