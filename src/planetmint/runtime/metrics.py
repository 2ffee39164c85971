# SPDX-License-Identifier: AGPL-3.0-or-later
"""The node's own figures for `/metrics`, read when they are asked for: nothing is counted on the hot path."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from planetmint.app.contracts import ContractJudge
from planetmint.ports.feed import EventFeed
from planetmint.runtime.children import Child
from planetmint.runtime.contracts import ContractHost
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
        self._judge: ContractJudge | None = None
        self._host: ContractHost | None = None
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def follow(self, stream: StreamServer) -> None:
        """Show a stream server's figures too."""
        self._stream = stream

    def watch(self, child: Child) -> None:
        """Show how a program fares that the node looks after."""
        self._children.append(child)

    def judged_by(self, judge: ContractJudge, host: ContractHost) -> None:
        """Show how contracts fare, and the workers that run them."""
        self._judge, self._host = judge, host

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
        if self._judge is not None:
            yield from self._of_contracts(self._judge)
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

    def _of_contracts(self, judge: ContractJudge) -> Iterator[Metric]:
        figures = judge.figures
        yield CounterMetricFamily("planetmint_contract_runs", "Contracts that ran to their end.", figures.runs)
        yield CounterMetricFamily(
            "planetmint_contract_overruns",
            "Transactions whose contracts needed more than this node grants.",
            figures.overruns,
        )
        yield CounterMetricFamily(
            "planetmint_contract_unavailable",
            "Transactions whose contracts could not be run: too many waited, or no worker started.",
            figures.unavailable,
        )
        yield CounterMetricFamily(
            "planetmint_contract_seconds", "Processor time of contracts that ran to their end.", figures.seconds
        )
        yield GaugeMetricFamily(
            "planetmint_contract_waiting", "Transactions that wait for their contracts to run.", figures.waiting
        )
        if self._host is not None:
            yield GaugeMetricFamily(
                "planetmint_contract_workers", "Worker processes for contracts that are up.", self._host.workers
            )
