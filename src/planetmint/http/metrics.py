# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counts and durations of requests, and their exposition in the text format of Prometheus.

Counting is two dictionary operations, because it happens on every request; everything else is done when
somebody scrapes.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

UNMATCHED = "unmatched"
"""The route under which requests for unknown paths are counted."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the durations, in seconds."""


class Metrics(Collector):
    """What the Web API counts; registers itself with `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests: dict[tuple[str, str, int], int] = {}
        self._durations: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        registry.register(self)

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Note one answered request.

        Args:
            route: Template of the path, or `UNMATCHED`; so few that the figures stay bounded.
            method: Of HTTP; as few.
            status: Of the answer.
            seconds: From the request's head to the last byte handed to the socket.
        """
        key = (route, method, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        durations = self._durations.get(route)
        if durations is None:
            durations = self._durations[route] = [0] * (len(BUCKETS) + 1)
            self._seconds[route] = 0.0
        durations[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds

    def describe(self) -> Iterator[Metric]:
        """Nothing to tell beforehand; also keeps the registry from collecting at once."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The figures as the registry asks for them."""
        requests = CounterMetricFamily(
            "planetmint_http_requests", "Answered requests.", labels=("route", "method", "status")
        )
        for (route, method, status), count in self._requests.items():
            requests.add_metric((route, method, str(status)), count)
        yield requests
        durations = HistogramMetricFamily(
            "planetmint_http_request_seconds", "Time from a request to its whole answer.", labels=("route",)
        )
        for route, counts in self._durations.items():
            durations.add_metric((route,), _cumulative(counts), self._seconds[route])
        yield durations

    def exposition(self) -> bytes:
        """Everything in the registry, as text."""
        return generate_latest(self._registry)


CONTENT_TYPE = CONTENT_TYPE_LATEST.encode("ascii")


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
