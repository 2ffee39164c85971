# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ordinary transactions with contracts among them: what the one costs the other.

Half of those with contracts are CREATEs of version 3.0 with a script, half are transfers of version 2.0 that spend
an output which a contract guards beside its owner's key; each takes one run of the engine. They are made by the
builders of the node's own tests, the ordinary ones as everywhere here.
"""

import multiprocessing
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench import jobs, processes
from bench.jobs import LOOPBACK
from bench.report import Row
from bench.rows import Bench, BenchFailed, fresh_node, post, posted
from planetmint.testing.build import Builder, Contract, Dialect, all_of

EVERY = 10
"""One transaction in so many has a contract."""

_WARM_UP = 300
_GROUP = 100
"""Outputs with contracts that one transaction makes."""
_APART = 8
"""Connections of those with contracts, where they have their own."""
_FORMAT = 1
"""Raise it when the content below changes, so that older files are made again."""
_CODE = "Given I have a 'string' named 'reading'\nThen print the 'reading'\n"
_OLD, _NEW = Builder(Dialect.PLANETMINT_1), Builder(Dialect.PLANETMINT_2)


@dataclass(frozen=True)
class _Files:
    """What is posted: the transactions that make guarded outputs, and those that run contracts."""

    parents: Path
    contracts: Path


@dataclass(frozen=True)
class _Figures:
    """What the node has counted of contracts so far."""

    runs: float
    seconds: float
    workers: float


def mix(bench: Bench) -> Iterator[Row]:
    """Ordinary transactions alone, then with one in ten that has a contract, in the same node."""
    scale, count = bench.scale, bench.scale.posts // 2
    few = count // EVERY
    ordinary = bench.file(_WARM_UP + 5 * count)
    files = _contract_files(bench, 3 * few)
    with fresh_node(bench, "mix") as node:
        _make_outputs(bench, node, files.parents)
        post(node, ordinary, 0, _WARM_UP, scale.connections, "async")
        at = _WARM_UP
        for turn, mode in enumerate(("async", "commit")):
            with bench.step(f"{count:,} ordinary transactions, mode={mode}") as watch:
                alone = post(node, ordinary, at, count, scale.connections, mode, watch)
            mixed = _mixed_file(
                bench.work / f"mixed-{mode}.ndjson", ordinary, at + count, files.contracts, turn * few, count
            )
            with bench.step(f"the same with contracts among them, mode={mode}") as watch:
                before = _figures(node)
                result = post(node, mixed, 0, count, scale.connections, mode, watch, every=EVERY)
                spent = _since(before, _figures(node))
            yield from _rows(mode, scale.connections, alone, result, few, spent)
            at += 2 * count
        yield _beside(bench, node, ordinary, at, count, files.contracts, 2 * few)


ALL: dict[str, Callable[[Bench], Iterator[Row]]] = {"mix": mix}


def _rows(
    mode: str, connections: int, alone: jobs.PostResult, mixed: jobs.PostResult, few: int, spent: _Figures
) -> Iterator[Row]:
    ordinary = mixed.committed - few
    bound = spent.workers * spent.runs / spent.seconds
    yield Row(
        name="mix",
        what=f"ordinary transactions, 1 of {EVERY} with a contract, {connections} connections, mode={mode}",
        value=ordinary / mixed.commit_seconds,
        unit="tx/s",
        limit=alone.committed / alone.commit_seconds,
        limit_name="tx/s (without contracts, in the same node)",
        detail=f"{mixed.committed / mixed.commit_seconds:,.0f} tx/s in all; answers of those with "
        f"contracts {_answers(mixed.other_answer)}; "
        f"{mixed.usage.text(mixed.committed)}; alone {alone.usage.text(alone.committed)}",
    )
    yield Row(
        name="mix",
        what=f"p99 of the answers of ordinary ones in that mix, mode={mode}",
        value=mixed.answer.p99,
        unit="ms",
        limit=alone.answer.p99,
        limit_name="ms (without contracts)",
        detail=f"p50 {mixed.answer.p50:.1f} ms, alone {alone.answer.p50:.1f} ms",
    )
    yield Row(
        name="mix",
        what=f"contracts run in that mix, mode={mode}",
        value=spent.runs / mixed.commit_seconds,
        unit="runs/s",
        limit=bound,
        limit_name="runs/s (the workers, if they had the processors for themselves)",
        detail=f"{spent.runs:,.0f} runs by {spent.workers:.0f} workers, "
        f"{1000 * spent.seconds / spent.runs:.1f} ms of processor time each, "
        f"{spent.seconds / mixed.commit_seconds:.2f} cores",
    )


def _beside(
    bench: Bench, node: processes.Node, ordinary: Path, skip: int, count: int, contracts: Path, first: int
) -> Row:
    """Ordinary transactions over their connections while as many contracts as before come over others."""
    few = count // EVERY
    job = jobs.PostJob(node.port, node.server.pid, str(contracts), first, few, _APART, "async", node.stream_port)
    other = jobs.LoadProcess(job)
    try:
        other.wait_ready()
        with bench.step(f"{count:,} ordinary transactions beside contracts") as watch:
            result = post(node, ordinary, skip, count, bench.scale.connections, "async", watch)
            beside = posted(other.result(jobs.PostResult, watch), few)
    finally:
        other.kill()
    return Row(
        name="mix",
        what=f"ordinary transactions beside contracts on {_APART} connections of their own, mode=async",
        value=result.committed / result.commit_seconds,
        unit="tx/s",
        detail=f"answers {_answers(result.answer)}; meanwhile and after it "
        f"{beside.committed / beside.commit_seconds:,.0f} tx/s with contracts; "
        + result.usage.text(result.committed),
    )


def _answers(spread: jobs.Spread) -> str:
    return f"p50 {spread.p50:.1f} ms, p99 {spread.p99:.1f} ms"


def _make_outputs(bench: Bench, node: processes.Node, parents: Path) -> None:
    lines = sum(1 for _ in parents.open("rb"))
    with bench.step("make outputs that contracts guard") as watch:
        post(node, parents, 0, lines, 1, "commit", watch)


def _figures(node: processes.Node) -> _Figures:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{node.port}/metrics") as answer:
        text = answer.read().decode()
    found = dict(re.findall(r"^planetmint_contract_(runs_total|seconds_total|workers) (\S+)$", text, re.MULTILINE))
    if len(found) < 3:
        raise BenchFailed("the node runs no contracts: `pip install zenroom` gives it an engine")
    return _Figures(*(float(found[name]) for name in ("runs_total", "seconds_total", "workers")))


def _since(before: _Figures, after: _Figures) -> _Figures:
    return _Figures(after.runs - before.runs, after.seconds - before.seconds, after.workers)


def _mixed_file(path: Path, ordinary: Path, skip: int, contracts: Path, first: int, count: int) -> Path:
    """Ordinary transactions in order, each `EVERY`th replaced by the next one with a contract."""
    with ordinary.open("rb") as many, contracts.open("rb") as few, path.open("wb") as file:
        usual, other = islice(many, skip, None), islice(few, first, None)
        for number in range(1, count + 1):
            file.write(next(usual if number % EVERY else other))
    return path


def _contract_files(bench: Bench, count: int) -> _Files:
    """Files with `count` transactions with contracts or more, and with what they need; kept between runs."""
    groups = -(-count // (2 * _GROUP))
    folder = bench.cache / f"contracts-v{_FORMAT}-{groups:04}"
    files = _Files(folder / "parents.ndjson", folder / "contracts.ndjson")
    if folder.exists():
        return files
    partial = folder.with_suffix(f".{os.getpid()}.partial")
    partial.mkdir(parents=True)
    with (
        bench.step(f"sign {count:,} transactions with contracts") as watch,
        (partial / files.parents.name).open("wb") as parents,
        (partial / files.contracts.name).open("wb") as contracts,
        multiprocessing.Pool() as pool,
    ):
        for done, (parent, lines) in enumerate(pool.imap(_group, range(groups)), 1):
            parents.write(parent + b"\n")
            contracts.write(lines)
            watch(done, groups)
    partial.rename(folder)
    return files


def _group(number: int) -> tuple[bytes, bytes]:
    """One transaction that makes `_GROUP` guarded outputs, and lines with scripts and spends of them in turn."""
    owner = f"bench contracts {number}"
    guarded = all_of(owner, Contract(_CODE))
    parent = _OLD.create(owner, [(1, guarded)] * _GROUP, data=owner)
    lines = []
    for index in range(_GROUP):
        reading = f"reading_{number * _GROUP + index}"
        given, said = {"reading": reading}, {"reading": reading}
        script = _NEW.draft_create(owner, data=f"{owner} {index}").scripted(given, said, code=_CODE).signed()
        spend = _OLD.draft_transfer([parent.spend(index)], [(1, owner)]).scripted(given, said, code=_CODE).signed()
        lines += [script.canonical + b"\n", spend.canonical + b"\n"]
    return parent.canonical, b"".join(lines)
