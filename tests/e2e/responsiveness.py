# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m tests.e2e.responsiveness`: what hostile contracts cost those who mean no harm, in time and memory.

One embedded node. Two well-behaved clients ask and post all the time, at a slow pace; eight connections do
nothing, post ordinary transactions as fast as they are answered, post contracts that overrun, or contracts that
fail at once, in turns. Shown are the 50th and the 99th percentile of the clients' waits. `--memory` posts 2,000
contracts instead and shows what node and workers grow by. Issue 5, "Bad input": the 99th percentile stays within
2x, CPU and memory are bounded. Figures are reported, not judged.
"""

import argparse
import http.client
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from planetmint.testing.build import Builder, Dialect
from planetmint.testing.hostile import corpus
from tests.support.node import HOST, NodeProcess
from tests.support.siege import entries, is_worker, resident

CONNECTIONS = 8
_PAUSE = 0.005
_ROUTE = "/api/v1/transactions"
_TURNS = ("idle", "ordinary", "overruns", "failures") * 2
_STEPS = 4


class Client(threading.Thread):
    """Sends one request after the other at a slow pace.

    Attributes:
        waits: Seconds for each answer.
    """

    def __init__(self, port: int, bodies: Iterator[bytes] | None) -> None:
        super().__init__(daemon=True)
        self.waits: list[float] = []
        self._port = port
        self._bodies = bodies
        self._over = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=60)
        while not self._over.wait(_PAUSE):
            body = None if self._bodies is None else next(self._bodies)
            begun = time.perf_counter()
            if body is None:
                connection.request("GET", "/api/v1/blocks/latest")
            else:
                connection.request("POST", _ROUTE, body)
            answer = connection.getresponse()
            answer.read()
            self.waits.append(time.perf_counter() - begun)
            assert answer.status in (200, 202), answer.status
        connection.close()

    def end(self) -> list[float]:
        """Stop, and give what was measured."""
        self._over.set()
        self.join()
        return self.waits


def flood(port: int, folder: Path, seconds: float) -> None:
    """Post the files of a folder over all connections, each one after the other; prints what came of them."""
    bodies = itertools.cycle([path.read_bytes() for path in sorted(folder.iterdir())])
    end, lock, found = time.monotonic() + seconds, threading.Lock(), Counter[int]()

    def post() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        while time.monotonic() < end:
            with lock:
                body = next(bodies)
            connection.request("POST", _ROUTE, body)
            answer = connection.getresponse()
            answer.read()
            found[answer.status] += 1
        connection.close()

    threads = [threading.Thread(target=post) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(dict(found))


def percentile(waits: Sequence[float], share: int) -> float:
    """In milliseconds."""
    return 1_000 * statistics.quantiles(waits, n=100)[share - 1]


def write_bodies(folder: Path, kind: str, count: int) -> Path:
    """`count` transactions of a kind, one file each."""
    made = folder / kind
    made.mkdir()
    for number, body in zip(range(count), _bodies(kind), strict=False):
        (made / f"{number:05}").write_bytes(body)
    return made


def _bodies(kind: str) -> Iterator[bytes]:
    for turn in itertools.count():
        if kind != "ordinary":
            for entry in entries(corpus(), nonce=f" {turn}"):
                if entry.verdict is not None and entry.overruns == (kind == "overruns"):
                    yield entry.built.canonical
        else:
            yield Builder(Dialect.PLANETMINT_2).create("bystander", data=f"{kind} {turn}").canonical


def workers_of(node: int) -> list[int]:
    """The contract workers of a node."""
    children = Path(f"/proc/{node}/task/{node}/children").read_text().split()
    return [int(pid) for pid in children if is_worker(int(pid))]


def main(arguments: list[str]) -> int:
    """Measure, or be one of the floods."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.responsiveness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--flood", nargs=2, metavar=("PORT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.flood:
        flood(int(options.flood[0]), Path(options.flood[1]), options.seconds)
        return 0
    with tempfile.TemporaryDirectory(prefix="responsive-") as name, NodeProcess(Path(name) / "node") as node:
        (_measure_memory if options.memory else _measure_waits)(node, Path(name), options.seconds)
    return 0


def _measure_waits(node: NodeProcess, folder: Path, seconds: float) -> None:
    counts = {"ordinary": 6_000, "overruns": 500, "failures": 2_000}
    sources = {kind: write_bodies(folder, kind, count) for kind, count in counts.items()}
    build = Builder(Dialect.PLANETMINT_2)
    posts = iter(
        [build.create("asker", data=f"own {n}").canonical for n in range(int(len(_TURNS) * seconds * 300))]
    )
    waits: dict[str, tuple[list[float], list[float]]] = {}
    for kind in _TURNS:
        _turn(node, kind, sources, posts, seconds, waits.setdefault(kind, ([], [])))
    for kind, (reads, writes) in waits.items():
        print(
            f"{kind:9} GET {len(reads):6} p50 {percentile(reads, 50):7.2f} p99 {percentile(reads, 99):7.2f} ms   "
            f"POST {len(writes):6} p50 {percentile(writes, 50):7.2f} p99 {percentile(writes, 99):7.2f} ms"
        )
    for kind, other in itertools.product(("overruns", "failures"), ("idle", "ordinary")):
        ratios = [percentile(waits[kind][n], 99) / percentile(waits[other][n], 99) for n in (0, 1)]
        print(f"{kind} / {other}: GET {ratios[0]:.2f}, POST {ratios[1]:.2f}")


def _measure_memory(node: NodeProcess, folder: Path, seconds: float) -> None:
    """Contracts that fail, and the crash of the engine among them, in bulk."""
    bodies = [path.read_bytes() for path in sorted(write_bodies(folder, "failures", 2_000).iterdir())]
    crashes = [entry for entry in entries(corpus()) if "signature_of_a_dictionary" in entry.name]
    step = len(bodies) // _STEPS
    for number in range(_STEPS + 1):
        workers = [resident(pid) >> 10 for pid in workers_of(node.pid)]
        print(
            f"after {number * step} contracts: node {resident(node.pid) >> 10} kB, workers {workers} kB",
            flush=True,
        )
        some = bodies[number * step : (number + 1) * step] + [entry.built.canonical for entry in crashes]
        connection = http.client.HTTPConnection(HOST, node.http_port, timeout=600)
        connection.request("POST", _ROUTE, b"\n".join(some), {"Content-Type": "application/x-ndjson"})
        answer = connection.getresponse()
        lines = answer.read().splitlines()
        assert answer.status == 200 and len(lines) == len(some), lines[-1]
        connection.close()


def _turn(
    node: NodeProcess,
    kind: str,
    sources: dict[str, Path],
    posts: Iterator[bytes],
    seconds: float,
    into: tuple[list[float], list[float]],
) -> None:
    clients = Client(node.http_port, None), Client(node.http_port, posts)
    command = [sys.executable, "-m", "tests.e2e.responsiveness", "--seconds", str(seconds)]
    if kind == "idle":
        command = [sys.executable, "-c", f"import time; time.sleep({seconds})"]
    else:
        command += ["--flood", str(node.http_port), str(sources[kind])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as flooding:
        for client in clients:
            client.start()
        told, _ = flooding.communicate()
    for client, waits in zip(clients, into, strict=True):
        waits += client.end()
    print(f"{kind}: {told.strip()}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
