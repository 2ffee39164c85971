# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measurements of nodes under CometBFT: one validator, four, their database, and joining.

Nodes are made by the commands that operators use (`tests.support.network`). The engine is measured by itself,
too: with its built-in application, and with an empty one behind the node's own ABCI server.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import jobs, processes, rows, transactions
from bench.jobs import LOOPBACK
from bench.report import Row, Target
from bench.rows import Bench, BenchFailed, post
from planetmint.runtime.engine_config import Values
from tests.support.network import Network, NetworkNode, low_ports, until

TEXT = 800
"""Bytes of a text that the bare engine is given, about those of a transaction."""

_WARM_UP = 300
_BATCH = 200
_BLOCK_LINES = 1000
_LONGEST_JOIN = 900.0
_MEMORY = {"PLANETMINT_DATABASE_MEMORY": str(1 << 30)}


@dataclass(frozen=True)
class Scale:
    """How much is measured here."""

    texts: int
    posts: int
    network_posts: int
    commits: int
    saves: int
    """Blocks of 1,000 for the database alone."""
    chain: int
    """Blocks that a new node has to catch up with."""


FULL = Scale(20_000, 10_000, 4_000, 100, 20, 10_000)
QUICK = Scale(2_000, 1_000, 400, 20, 3, 300)


def engine(bench: Bench) -> Iterator[Row]:
    """What CometBFT does by itself with the node's own settings: the limits for the rows after these."""
    for what, application in (("its built-in kvstore", "kvstore"), ("an empty Python application", "python")):
        result = _engine_alone(bench, what, application)
        yield Row(
            name="engine",
            what=f"CometBFT alone with {what}, one validator",
            value=result.committed / result.seconds,
            unit="tx/s",
            detail=f"texts of {TEXT} bytes by RPC in batches of {_BATCH}: {result.committed:,} in "
            f"{result.blocks:,} blocks; " + result.usage.text(result.committed),
        )


def validator(bench: Bench) -> Iterator[Row]:
    """One validator with Tarantool over HTTP."""
    scale = _scale(bench)
    file = bench.file(_WARM_UP + 2 * scale.posts + scale.commits)
    alone = _engine_alone(bench, "its built-in kvstore", "kvstore")
    with Network(bench.work / "one", 1, backend="tarantool_db", env=_MEMORY) as network:
        node, name = network.nodes[0], "one validator, CometBFT + Tarantool"
        target = Target(1500, 2500, more_is_better=True)
        yield from _throughput(bench, node, file, scale.posts, name, target, alone.committed / alone.seconds)
        skip = _WARM_UP + 2 * scale.posts
        yield _idle(bench, node, file, skip, name, Target(60, 25, more_is_better=False))


def network(bench: Bench) -> Iterator[Row]:
    """Four validators on this machine, each with its own Tarantool; posted to one of them."""
    scale = _scale(bench)
    count = scale.network_posts
    file = bench.file(_WARM_UP + 2 * count + scale.commits)
    with Network(bench.work / "four", 4, backend="tarantool_db", env=_MEMORY) as four:
        node, name = four.nodes[0], "four validators on this machine"
        yield from _throughput(bench, node, file, count, name, Target(300, 800, more_is_better=True), None)
        skip = _WARM_UP + 2 * count
        yield _idle(bench, node, file, skip, name, Target(500, 200, more_is_better=False))
        four.agree()


def tarantool(bench: Bench) -> Iterator[Row]:
    """The database alone: blocks of 1,000 transactions, each durable before the next."""
    scale = _scale(bench)
    count = scale.saves * _BLOCK_LINES
    file = bench.file(count)
    with bench.step(f"{scale.saves} blocks of {_BLOCK_LINES:,} into Tarantool") as watch:
        found = jobs.run(jobs.SaveJob(str(file), scale.saves, _BLOCK_LINES), jobs.SaveResult, watch)
    yield Row(
        name="tarantool",
        what=f"Tarantool, commit of a block of {_BLOCK_LINES:,} transactions, p50",
        value=found.save.p50,
        unit="ms",
        target=Target(40, 20, more_is_better=False),
        limit=1000 / bench.limits.syncs,
        limit_name="ms (fdatasync)",
        detail=f"mean {found.save.mean:.1f} ms, most {found.save.most:.1f} ms; {scale.saves} blocks one after the "
        f"other, wal_mode=fsync; {found.bytes_each:,.0f} bytes of memory a transaction",
    )


def joining(bench: Bench) -> Iterator[Row]:
    """A new node catches up with a chain: by executing every block, and by a snapshot."""
    blocks = _scale(bench).chain
    file = bench.file(2 * blocks)
    env = {"PLANETMINT_CONSENSUS_SNAPSHOT_INTERVAL": str(max(blocks // 20, 10))}
    with Network(bench.work / "join", 1, env=env) as network:
        first = network.nodes[0]
        with bench.step(f"make a chain of {blocks:,} blocks") as watch:
            _make_blocks(first, file, blocks, watch)
        for what, flags in (("block sync", ()), ("state sync", _state_sync(first))):
            with bench.step(f"join by {what}"):
                joined = network.add(*flags)
                height = first.height() or 0
                start = time.perf_counter()
                joined.start()
                _until_height(joined, height, what)
                seconds = time.perf_counter() - start
                network.agree(nodes=[0, joined.index])
                joined.stop()
            yield Row(
                name="joining",
                what=f"a new node joins a chain of {height:,} blocks by {what}",
                value=seconds,
                unit="s",
                target=Target(10, 10, more_is_better=False) if flags else None,
                detail="from the start of the process to the height that the network had; SQLite",
            )


ALL: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "engine": engine,
    "validator": validator,
    "network": network,
    "tarantool": tarantool,
    "joining": joining,
}


def _scale(bench: Bench) -> Scale:
    return QUICK if bench.scale is rows.QUICK else FULL


def _throughput(
    bench: Bench, node: NetworkNode, file: Path, count: int, name: str, target: Target, limit: float | None
) -> Iterator[Row]:
    served = _served(node)
    post(served, file, 0, _WARM_UP, bench.scale.connections, "async")
    for turn, mode in enumerate(("async", "commit")):
        with bench.step(f"{name}: post {count:,} transactions, mode={mode}") as watch:
            skip = _WARM_UP + turn * count
            result = post(served, file, skip, count, bench.scale.connections, mode, watch)
        yield Row(
            name="validator",
            what=f"{name}: throughput, {bench.scale.connections} connections, mode={mode}",
            value=result.committed / result.commit_seconds,
            unit="tx/s",
            target=target,
            limit=limit,
            limit_name="tx/s (CometBFT with its kvstore)" if limit else "",
            detail=f"{result.committed:,} committed in {result.blocks:,} blocks; answer p50 "
            f"{result.answer.p50:.1f} ms, p99 {result.answer.p99:.1f} ms; " + result.usage.text(result.committed),
        )


def _idle(bench: Bench, node: NetworkNode, file: Path, skip: int, name: str, target: Target) -> Row:
    count = _scale(bench).commits
    with bench.step(f"{name}: {count:,} commits, one at a time") as watch:
        result = post(_served(node), file, skip, count, 1, "commit", watch)
    return Row(
        name="validator",
        what=f"{name}: mode=commit, idle, p50",
        value=result.answer.p50,
        unit="ms",
        target=target,
        limit=bench.limits.post_p50 + 1000 / bench.limits.syncs,
        limit_name="ms (bare POST + fdatasync)",
        detail=f"p99 {result.answer.p99:.1f} ms, {count:,} requests one at a time",
    )


def _served(node: NetworkNode) -> processes.Node:
    return processes.Node(node.process, node.process.http_port, node.process.stream_port, node.data)


def _engine_alone(bench: Bench, what: str, application: str) -> jobs.EngineResult:
    """The engine with an application that does nothing, under the settings that the node gives it."""
    home = bench.work / f"engine-{application}"
    with _bare_engine(home, application) as (server, port), bench.step(f"CometBFT with {what}") as watch:
        jobs.run(_texts(port, server, 1_000), jobs.EngineResult)
        result = jobs.run(_texts(port, server, _scale(bench).texts), jobs.EngineResult, watch)
    if result.committed < result.taken or not result.taken:
        raise BenchFailed(f"CometBFT with {what} took {result.taken:,} texts and committed {result.committed:,}")
    return result


def _texts(port: int, server: processes.Server, count: int) -> jobs.EngineJob:
    return jobs.EngineJob(port, server.pid, count, TEXT, _BATCH, 4)


@contextlib.contextmanager
def _bare_engine(home: Path, application: str) -> Iterator[tuple[processes.Server, int]]:
    """A validator of its own chain in `home`; with its RPC's port."""
    rpc, p2p, abci = low_ports(3)
    maker = NetworkNode(home, 0)
    maker.run("init")
    values: Values = {
        "": {"proxy_app": "kvstore" if application == "kvstore" else f"tcp://{LOOPBACK}:{abci}"},
        "rpc": {"laddr": f"tcp://{LOOPBACK}:{rpc}"},
        "p2p": {"laddr": f"tcp://{LOOPBACK}:{p2p}"},
    }
    maker.configure_engine(values)
    with contextlib.ExitStack() as stack:
        if application == "python":
            command = [sys.executable, "-m", "bench.abci_bare", f"tcp://{LOOPBACK}:{abci}"]
            bare = processes.Server(command, abci, home / "bare.log")
            stack.callback(bare.stop)
            bare.wait_listening(abci)
        program = str(Path(sys.executable).with_name("cometbft"))
        server = processes.Server([program, "start", "--home", str(maker.home)], rpc, home / "engine.log")
        stack.callback(server.stop)
        server.wait_listening(rpc)
        yield server, rpc


def _make_blocks(node: NetworkNode, file: Path, blocks: int, watch: jobs.Watch) -> None:
    """Post until the chain is long enough; every transaction a block of its own and an empty one after it."""
    texts = transactions.read_transactions(file, 0, 2 * blocks)
    for at, text in enumerate(texts):
        answer = node.api.post("/transactions", params={"mode": "commit"}, content=text)
        if answer.status_code != 202:
            raise BenchFailed(f"a transaction was answered with {answer.status_code}: {answer.text[:200]}")
        if at % 50 == 0:
            height = node.height() or 0
            watch(height, blocks)
            if height >= blocks:
                return


def _until_height(node: NetworkNode, height: int, what: str) -> None:
    until(lambda: (node.height() or 0) >= height, f"{what} reaches block {height}", _LONGEST_JOIN)


def _state_sync(node: NetworkNode) -> tuple[str, ...]:
    """Flags of `network join` that trust the chain at half its height."""
    height = (node.height() or 2) // 2
    trusted = node.rpc("commit", height=str(height))["signed_header"]["commit"]["block_id"]["hash"]
    server = f"{LOOPBACK}:{node.rpc_port}"
    return ("--state-sync", f"{server},{server}", "--trust-height", str(height), "--trust-hash", trusted)
