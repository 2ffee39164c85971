# SPDX-License-Identifier: AGPL-3.0-or-later
"""The node's own figures for `/metrics`, read when they are asked for: nothing is counted on the hot path."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from planetmint.ports.feed import EventFeed
from planetmint.runtime.children import Child
from planetmint.streams.server import StreamServer


class Engine(Protocol):
    """What engines tell about themselves."""

    @property
    def waiting(self) -> int:
        """Transactions that wait."""
        ...

    @property
    def trouble(self) -> str | None:
        """See `Consensus`."""
        ...


class NodeMetrics(Collector):
    """Collects from a node's parts; `registry` is what the Web API exposes."""

    def __init__(self, feed: EventFeed, engine: Engine) -> None:
        self._feed = feed
        self._engine = engine
        self._stream: StreamServer | None = None
        self._children: list[Child] = []
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def follow(self, stream: StreamServer) -> None:
        """Show a stream server's figures too."""
        self._stream = stream

    def watch(self, child: Child) -> None:
        """Show how a program fares that the node looks after."""
        self._children.append(child)

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client`."""
        yield GaugeMetricFamily("planetmint_block_height", "Height of the newest block.", self._feed.head)
        yield GaugeMetricFamily(
            "planetmint_waiting_transactions", "Transactions that wait for a block.", self._engine.waiting
        )
        yield GaugeMetricFamily(
            "planetmint_engine_in_trouble", "1 while no blocks can be made.", self._engine.trouble is not None
        )
        if self._children:
            yield from self._of_children()
        if self._stream is None:
            return
        yield GaugeMetricFamily(
            "planetmint_stream_subscribers", "Connections that are streamed to.", self._stream.subscribers
        )
        yield GaugeMetricFamily(
            "planetmint_stream_lagging", "Subscribers that are served from the store.", self._stream.lagging
        )
        yield CounterMetricFamily(
            "planetmint_stream_messages", "Messages written to subscribers.", self._stream.messages_sent
        )
        yield CounterMetricFamily(
            "planetmint_stream_refused", "Requests on the stream port that were refused.", self._stream.refused
        )

    def _of_children(self) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            "planetmint_child_running", "1 while a program runs that the node looks after.", labels=["program"]
        )
        starts = CounterMetricFamily("planetmint_child_starts", "How often it was started.", labels=["program"])
        for child in self._children:
            name = child.program.name.lower()
            running.add_metric([name], child.pid is not None)
            starts.add_metric([name], child.starts)
        yield running
        yield starts
