# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hostile contracts against a network: through which doors they come, what must be said, and what it may take.

```
with Network(folder, 4) as network, Watch(network) as watch:
    for entry in entries(corpus()): post_one(network.nodes[0], entry)
watch.check()
```
A verdict is the class and the rule of a refusal, None for an accepted transaction.
"""

import base64
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from planetmint.testing.build import Built
from planetmint.testing.hostile import Fate, Hostile
from tests.support.network import Network, NetworkNode

Verdict = tuple[str, str | None] | None

MEGABYTE = 1 << 20
GRANTED = 512 * MEGABYTE
"""What a contract may have when a block is proposed, and twice of what it may have otherwise."""
SLACK = 150 * MEGABYTE
"""For the worker itself, and for what a contract takes between two looks of its guard."""
GROWTH = 200 * MEGABYTE
"""What a node may keep of everything that is thrown at it."""
PROCESSES = 1 + 3
"""Of a worker: itself, the child that runs a contract, one that is being ended, and the one that stands ready."""

_LOOK = 0.02
_OVERRUN: Verdict = ("ContractOverrun", None)


class Entry(NamedTuple):
    """One transaction with a hostile contract.

    Attributes:
        name: Of the contract and its form.
        hostile, built: The contract, and a transaction with it.
        verdict: What has to be said about it; ContractOverrun is none, and stands for "not taken".
    """

    name: str
    hostile: Hostile
    built: Built
    verdict: Verdict

    @property
    def overruns(self) -> bool:
        """Whether no node may vote for a block with it."""
        return self.hostile.fate is Fate.OVERRUN

    def allows(self, verdict: Verdict) -> bool:
        """Whether `verdict` may be the answer."""
        return verdict == self.verdict or (self.hostile.heavy and verdict == _OVERRUN)


def entries(contracts: Iterable[Hostile], nonce: str = "") -> list[Entry]:
    """Every contract in every form that it has; `nonce` makes other transactions of the same contracts."""
    found = []
    for hostile in contracts:
        for built in hostile.transactions(nonce):
            form = "script" if built.wire["version"] == "3.0" else "leaf"
            found.append(Entry(f"{hostile.name} as {form}", hostile, built, _verdict(hostile, form)))
    return found


def _verdict(hostile: Hostile, form: str) -> Verdict:
    kind = "InvalidScript" if form == "script" else "InvalidSignature"
    match hostile.fate:
        case Fate.REFUSED:
            return kind, hostile.rule
        case Fate.FAILED:
            return kind, "contract.failed"
        case Fate.DIFFERS:
            return kind, "contract.output"
        case Fate.OVERRUN:
            return _OVERRUN
        case Fate.HARMLESS:
            return None


# Doors


def post_one(node: NetworkNode, entry: Entry, mode: str = "sync") -> Verdict:
    """Over HTTP, alone."""
    answer = node.post(entry.built, mode)
    assert answer.status_code in (202, 400), f"{entry.name}: {answer.status_code} {answer.text}"
    return None if answer.status_code == 202 else _told(answer.json())


def post_bulk(node: NetworkNode, given: Sequence[Entry]) -> list[Verdict]:
    """Over HTTP, all in one request; the verdicts in their order."""
    body = b"\n".join(entry.built.canonical for entry in given)
    headers = {"Content-Type": "application/x-ndjson"}
    answer = node.api.post("/transactions", content=body, headers=headers, timeout=300)
    assert answer.status_code == 200, answer.text
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == len(given), lines[-1]
    return [None if line["status"] == 202 else _told(line) for line in lines]


def _told(body: dict[str, Any]) -> Verdict:
    return body["class"], body.get("rule")


def broadcast(node: NetworkNode, entry: Entry) -> bool:
    """To the engine itself, past the Web API: whether CheckTx takes it."""
    raw = base64.b64encode(entry.built.canonical).decode()
    try:
        return int(node.rpc("broadcast_tx_sync", tx=raw)["code"]) == 0
    except KeyError:  # the engine's own error: it holds the transaction already
        return True


class Byzantine:
    """The plan of `tests.functional.byzantine_node`, for the node that is made one of these."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "blocks"
        self.environment = {
            "BYZANTINE_BLOCKS": str(self._file),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }

    def propose(self, *blocks: Sequence[bytes]) -> None:
        """Have each of these blocks proposed, one at every turn of the node."""
        with self._file.open("a") as file:
            for block in blocks:
                file.write(json.dumps([base64.b64encode(raw).decode() for raw in block]) + "\n")

    @property
    def proposed(self) -> int:
        """How many blocks were proposed so far."""
        done = self._file.with_name(self._file.name + ".proposed")
        return len(done.read_text().splitlines()) if done.exists() else 0


# What it takes


@dataclass(slots=True)
class _Seen:
    """The most that was seen of a node.

    Attributes:
        first, last: Resident bytes of the node itself.
        contract: Of any process of its workers.
        processes: Of all its workers together.
    """

    first: int = 0
    last: int = 0
    contract: int = 0
    processes: int = 0


class Watch(threading.Thread):
    """Looks at the processes of all nodes all the time."""

    def __init__(self, network: Network, workers: int) -> None:
        super().__init__(daemon=True)
        self._nodes = network.nodes
        self._workers = workers
        self._over = threading.Event()
        self.seen = {node.index: _Seen() for node in network.nodes}

    def run(self) -> None:
        while not self._over.wait(_LOOK):
            families = _families()
            for node in self._nodes:
                if node.process.running:
                    _look(node.process.pid, families, self.seen[node.index])

    def check(self) -> None:
        """Raise AssertionError where a limit was not held."""
        for index, seen in self.seen.items():
            assert seen.contract < GRANTED + SLACK, f"a contract at node {index} had {seen.contract} bytes"
            assert seen.last - seen.first < GROWTH, f"node {index} grew from {seen.first} to {seen.last} bytes"
            assert seen.processes <= self._workers * PROCESSES, f"node {index} had {seen.processes} processes"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()


def _families() -> dict[int, list[int]]:
    """The children of every process of this machine."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state not in "ZX":
                found.setdefault(int(parent), []).append(int(name))
    return found


def _look(node: int, families: dict[int, list[int]], seen: _Seen) -> None:
    contracts = [pid for worker in families.get(node, []) if is_worker(worker) for pid in _tree(worker, families)]
    seen.processes = max(seen.processes, len(contracts))
    seen.contract = max([seen.contract, *map(resident, contracts)])
    seen.last = resident(node) or seen.last
    seen.first = seen.first or seen.last


def _tree(pid: int, families: dict[int, list[int]]) -> Iterator[int]:
    yield pid
    for child in families.get(pid, []):
        yield from _tree(child, families)


def is_worker(pid: int) -> bool:
    """Whether a process is a contract worker."""
    try:
        return b"planetmint.sandbox.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
