# SPDX-License-Identifier: AGPL-3.0-or-later
"""The measurements: each starts its own node, drives it from another process, and returns rows.

A row is only returned when everything that was sent was also accepted and committed exactly once;
otherwise the measurement raises, because the figure would mean nothing.
"""

import contextlib
import hashlib
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import jobs, processes, transactions
from bench.limits import Limits
from bench.report import Row, Target

SOURCE = Path(__file__).resolve().parent.parent / "src" / "planetmint"

Step = Callable[[str], contextlib.AbstractContextManager[jobs.Watch]]
"""Announces a step by name; what it gives is told how far the step is."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    posts: int
    """Transactions of a throughput run."""
    connections: int
    alone: int
    """Requests of a run with one at a time."""
    subscribers: int
    fanout_blocks: int
    """Blocks of 100 for the fan-out."""
    few: int
    many: int
    """Stored transactions of the small and the large store."""
    replayed: int
    """Events read from the store."""
    blocks: int
    """Blocks of 100 per round on each of the two stores."""
    rounds: int
    limit_seconds: float


FULL = Scale(20_000, 48, 500, 1000, 30, 1000, 1_000_000, 300_000, 20, 4, 2.0)
QUICK = Scale(3_000, 48, 100, 200, 10, 1000, 20_000, 20_000, 10, 2, 0.5)

_WARM_UP = 300
_BLOCK = 100
_BULK = 1000
"""Lines of a request that fills a store."""


@dataclass
class Bench:
    """What every measurement needs.

    Attributes:
        cache: Kept between runs.
        work: Removed after the run; on the disk that is measured.
    """

    scale: Scale
    limits: Limits
    cache: Path
    work: Path
    step: Step

    def file(self, count: int) -> Path:
        """Transactions 0 to `count`."""
        with self.step(f"sign {count:,} transactions") as watch:
            return transactions.cached_file(count, self.cache, watch)


class BenchFailed(Exception):
    """The node did not do what was measured; the text says what it did instead."""


def throughput(bench: Bench) -> Iterator[Row]:
    """Single posts over many connections, to commit as seen on the stream."""
    scale = bench.scale
    file = bench.file(2 * scale.posts + _WARM_UP)
    with fresh_node(bench, "throughput") as node:
        post(node, file, 0, _WARM_UP, scale.connections, "async")
        for turn, mode in enumerate(("async", "commit")):
            with bench.step(f"post {scale.posts:,} transactions, mode={mode}") as watch:
                result = post(
                    node, file, _WARM_UP + turn * scale.posts, scale.posts, scale.connections, mode, watch
                )
            yield Row(
                name="throughput",
                what=f"throughput, {scale.connections} connections, mode={mode}",
                value=result.committed / result.commit_seconds,
                unit="tx/s",
                target=Target(2500, 4400, more_is_better=True),
                limit=min(bench.limits.posts, bench.limits.verifications),
                limit_name="tx/s (the lower of bare POST and Ed25519)",
                detail=f"{scale.posts:,} posted, {result.committed:,} committed in {result.blocks:,} blocks; "
                f"answer p50 {result.answer.p50:.1f} ms, p99 {result.answer.p99:.1f} ms; "
                + result.usage.text(result.committed),
            )


def latency(bench: Bench) -> Iterator[Row]:
    """`mode=commit` one at a time and under load, and the stream's message after its answer."""
    scale = bench.scale
    file = bench.file(_WARM_UP + 6 * scale.alone)
    with fresh_node(bench, "latency") as node:
        post(node, file, 0, _WARM_UP, scale.connections, "async")
        with bench.step(f"{scale.alone:,} commits, one at a time") as watch:
            idle = post(node, file, _WARM_UP, scale.alone, 1, "commit", watch)
        with bench.step(f"{5 * scale.alone:,} commits over 16 connections") as watch:
            busy = post(node, file, _WARM_UP + scale.alone, 5 * scale.alone, 16, "commit", watch)
    sync = 1000 / bench.limits.syncs
    yield Row(
        name="latency",
        what="mode=commit on an idle node, p50",
        value=idle.answer.p50,
        unit="ms",
        target=Target(10, 4, more_is_better=False),
        limit=bench.limits.post_p50 + sync + 1000 / bench.limits.verifications,
        limit_name="ms (bare POST + fdatasync + Ed25519)",
        detail=f"p99 {idle.answer.p99:.1f} ms, {idle.answer.count:,} requests one at a time",
    )
    for result, load in ((idle, "idle"), (busy, "16 connections")):
        rest = f"{result.stream_after_answer.count:,} transactions; below 0: the message came first"
        yield _after_answer(load, "p50", result.stream_after_answer.p50, Target(5, 1, more_is_better=False), rest)
        yield _after_answer(
            load, "p99", result.stream_after_answer.p99, Target(20, 10, more_is_better=False), rest
        )


def fanout(bench: Bench) -> Iterator[Row]:
    """Many subscribers of a node that commits blocks of 100."""
    scale = bench.scale
    count = scale.fanout_blocks * _BLOCK
    file = bench.file(_WARM_UP + count)
    with fresh_node(bench, "fanout") as node:
        post(node, file, 0, _WARM_UP, scale.connections, "async")
        readers = jobs.LoadProcess(
            jobs.SubscribeJob(node.stream_port, node.server.pid, scale.subscribers, count, seconds=20)
        )
        try:
            readers.wait_ready()
            load = jobs.BulkJob(
                node.port, node.server.pid, str(file), _WARM_UP, scale.fanout_blocks, _BLOCK, "commit"
            )
            with bench.step(
                f"{scale.fanout_blocks} blocks of {_BLOCK} to {scale.subscribers:,} subscribers"
            ) as watch:
                _accepted(jobs.run(load, jobs.BulkResult, watch).statuses, count, "")
                result = readers.result(jobs.SubscribeResult)
        finally:
            readers.kill()
    if result.complete != scale.subscribers or result.messages != count * scale.subscribers:
        raise BenchFailed(
            f"{result.complete} of {scale.subscribers} subscribers had everything: {result.messages:,} of "
            f"{count * scale.subscribers:,} messages"
        )
    yield Row(
        name="fanout",
        what=f"delivered to {scale.subscribers:,} subscribers, blocks of {_BLOCK}",
        value=result.messages / result.span_seconds,
        unit="messages/s",
        target=Target(500_000, 1_500_000, more_is_better=True),
        limit=bench.limits.messages,
        limit_name="messages/s (bare writes)",
        detail=f"{result.messages:,} messages, {result.received_bytes / 1e6:,.0f} MB in "
        f"{result.span_seconds:.2f} s; " + result.usage.text(count),
    )


def replay(bench: Bench) -> Iterator[Row]:
    """One subscriber reads history with `from_height=1`."""
    events = min(bench.scale.replayed, bench.scale.many)
    with _filled_node(bench) as node, bench.step(f"replay {events:,} events") as watch:
        result = jobs.run(jobs.ReplayJob(node.stream_port, node.server.pid, events), jobs.ReplayResult, watch)
    if result.events < events:
        raise BenchFailed(f"{result.events:,} of {events:,} events were replayed")
    yield Row(
        name="replay",
        what="replay from the store to one subscriber",
        value=result.events / result.seconds,
        unit="events/s",
        target=Target(50_000, 150_000, more_is_better=True),
        limit=bench.limits.messages,
        limit_name="messages/s (bare writes)",
        detail=f"{result.events:,} events, {result.received_bytes / 1e6:,.0f} MB; first after "
        f"{1000 * result.first_seconds:.0f} ms; " + result.usage.text(result.events),
    )


def growth(bench: Bench) -> Iterator[Row]:
    """Time of a block of 100 with many stored transactions against few; the rounds take turns."""
    scale = bench.scale
    per_round = scale.blocks * _BLOCK
    fresh = _new_file(bench, 2 * scale.rounds * per_round)
    few, many = list[jobs.BulkResult](), list[jobs.BulkResult]()
    small = bench.work / "small"
    with _filled_node(bench) as large:
        with processes.node(small) as node:
            _fill(bench, node, scale.few)
        for turn in range(scale.rounds):
            copy = shutil.copytree(small, bench.work / f"small-{turn}")
            with processes.node(copy) as node, bench.step(f"blocks, round {turn + 1} of {scale.rounds}") as watch:
                few.append(_blocks(node, fresh, 2 * turn * per_round, scale.blocks, watch))
                many.append(_blocks(large, fresh, (2 * turn + 1) * per_round, scale.blocks, watch))
    mean_few, mean_many = _mean(result.answer.mean for result in few), _mean(result.answer.mean for result in many)
    p50_few, p50_many = _mean(result.answer.p50 for result in few), _mean(result.answer.p50 for result in many)
    yield Row(
        name="growth",
        what=f"time per block of {_BLOCK}, {scale.many:,} stored / {scale.few:,} stored",
        value=mean_many / mean_few,
        unit="times",
        target=Target(1.2, 1.05, more_is_better=False),
        limit=1.0,
        limit_name="(no growth)",
        detail=f"means {mean_many:.1f} / {mean_few:.1f} ms, medians {p50_many:.1f} / {p50_few:.1f} ms; one bulk "
        f"request a block, mode=commit, {scale.rounds} rounds of {scale.blocks} blocks in turn",
    )


def outputs(bench: Bench) -> Iterator[Row]:
    """The outputs of random keys, one request at a time."""
    scale = bench.scale
    chosen = random.Random(1).sample(range(scale.many), scale.alone)
    paths = [f"/api/v1/outputs?public_key={transactions.public_key(index)}" for index in chosen]
    with _filled_node(bench) as node, bench.step(f"{scale.alone:,} times GET /outputs"):
        result = jobs.run(jobs.GetJob(node.port, paths), jobs.GetResult)
    if result.statuses != {200: scale.alone} or result.shortest < 64:
        raise BenchFailed(f"GET /outputs answered {result.statuses}, shortest body {result.shortest} bytes")
    yield Row(
        name="outputs",
        what=f"GET /outputs?public_key= with {scale.many:,} stored, p50",
        value=result.answer.p50,
        unit="ms",
        target=Target(5, 2, more_is_better=False),
        limit=bench.limits.post_p50,
        limit_name="ms (bare POST)",
        detail=f"p99 {result.answer.p99:.2f} ms, most {result.answer.most:.1f} ms; random keys, one at a time",
    )


ALL: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "throughput": throughput,
    "latency": latency,
    "fanout": fanout,
    "replay": replay,
    "growth": growth,
    "outputs": outputs,
}


def _after_answer(load: str, part: str, value: float, target: Target, rest: str) -> Row:
    what = f"answer of mode=commit to the stream's message, {load}, {part}"
    return Row(name="latency", what=what, value=value, unit="ms", target=target, detail=rest)


@contextlib.contextmanager
def fresh_node(bench: Bench, name: str) -> Iterator[processes.Node]:
    """A node on an empty folder."""
    with processes.node(bench.work / name) as node:
        yield node


@contextlib.contextmanager
def _filled_node(bench: Bench) -> Iterator[processes.Node]:
    """A node with `many` stored transactions; its data folder is kept for the next measurement and run."""
    count = bench.scale.many
    data = bench.cache / f"filled-{count}-{_layout()}"
    complete = data.with_suffix(".complete")
    if not complete.exists():
        for old in bench.cache.glob(f"filled-{count}-*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        with processes.node(data) as node:
            _fill(bench, node, count)
        complete.touch()
    with processes.node(data) as node:
        yield node


def _layout() -> str:
    """Changes when the code that decides what is stored changes."""
    digest = hashlib.sha256()
    for path in sorted((SOURCE / "storage").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _fill(bench: Bench, node: processes.Node, count: int) -> None:
    file = bench.file(count)
    job = jobs.BulkJob(
        node.port, node.server.pid, str(file), 0, max(count // _BULK, 1), min(count, _BULK), "commit"
    )
    with bench.step(f"store {count:,} transactions") as watch:
        result = jobs.run(job, jobs.BulkResult, watch)
    _accepted(result.statuses, count, result.first_refusal)


def _new_file(bench: Bench, count: int) -> Path:
    """Transactions that no store holds, however often this is run on the kept one."""
    path = bench.work / f"new-{time.time_ns()}.ndjson"
    with bench.step(f"sign {count:,} transactions") as watch:
        return transactions.write_file(path, time.time_ns(), count, watch)


def _blocks(node: processes.Node, file: Path, skip: int, blocks: int, watch: jobs.Watch) -> jobs.BulkResult:
    result = jobs.run(
        jobs.BulkJob(node.port, node.server.pid, str(file), skip, blocks, _BLOCK, "commit"), jobs.BulkResult, watch
    )
    _accepted(result.statuses, blocks * _BLOCK, result.first_refusal)
    return result


def post(
    node: processes.Node,
    file: Path,
    skip: int,
    count: int,
    connections: int,
    mode: str,
    watch: jobs.Watch | None = None,
    *,
    every: int = 0,
) -> jobs.PostResult:
    """Post transactions, each a request; raises BenchFailed unless each was accepted and came once."""
    job = jobs.PostJob(
        node.port, node.server.pid, str(file), skip, count, connections, mode, node.stream_port, every
    )
    return posted(jobs.run(job, jobs.PostResult, watch), count)


def posted(result: jobs.PostResult, count: int) -> jobs.PostResult:
    """A result in which each of `count` transactions was accepted and came once; raises BenchFailed otherwise."""
    _accepted(result.statuses, count, result.first_refusal)
    if result.committed != count or result.repeated:
        raise BenchFailed(
            f"{result.committed:,} of {count:,} came on the stream, {result.repeated} more than once"
        )
    return result


def _accepted(statuses: dict[int, int], count: int, first_refusal: str) -> None:
    if statuses != {202: count}:
        raise BenchFailed(f"not all of {count:,} transactions were accepted: {statuses}; {first_refusal}")


def _mean(values: Iterator[float]) -> float:
    every = list(values)
    return sum(every) / len(every)
