# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m tests.e2e.contracts`: hostile contracts through every door of four real nodes.

The doors: HTTP one by one and in bulk, the engine's own RPC (CheckTx), and proposals of a byzantine validator. The
others vote for its blocks where everything in them can be judged, so that they are decided, else against them.
Meanwhile somebody posts ordinary transactions to the honest nodes, and the processes of all nodes are watched.
Issue 5, "Done when" 2.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planetmint.testing.hostile import Hostile, corpus
from tests.e2e.load import Poster
from tests.support.network import Network, until
from tests.support.siege import Byzantine, Entry, Watch, broadcast, entries, post_bulk, post_one

_BLOCK = 12
"""Contracts in one hostile proposal: few enough that the others judge them in time on a busy machine."""

_WORKERS = 2
_PROGRESS = 3
"""Ordinary transactions that have to be committed before and after."""

_TURN = 60.0
"""Seconds until the byzantine validator must have had its turn."""


@dataclass(slots=True)
class Report:
    """How it went.

    Attributes:
        posted: Transactions that were sent, by door.
        wrong: Answers that the corpus does not allow.
        taken_wrongly: Transactions in the ledger that must not be there.
        stopped: Nodes that ended.
        ordinary: Ordinary transactions that were committed meanwhile.
        height: Up to which all app hashes are equal.
        contract: Most resident bytes of any process of a worker.
        growth: Most resident bytes that a node won.
    """

    posted: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    taken_wrongly: list[str] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    ordinary: int = 0
    height: int = 0
    contract: int = 0
    growth: int = 0


def besiege(folder: Path, contracts: Sequence[Hostile], *, forms: int, say: Callable[[str], None]) -> Report:
    """Throw contracts at a network of four, one of them byzantine.

    Args:
        folder: For the nodes.
        contracts: Each comes through every door, as another transaction each time.
        forms: 2 for contracts as scripts and as leaves, 1 for one form of each in turn.
        say: Is told how far it got.

    Raises:
        AssertionError: A limit was not held, or app hashes differ.
        NotInTime: The network does not go on.
    """
    report = Report()
    network = Network(folder, 4, env={"PLANETMINT_CONTRACTS_WORKERS": str(_WORKERS)})
    byzantine = Byzantine(folder)
    traitor = network.nodes[-1].process
    traitor.command = [sys.executable, "-m", "tests.functional.byzantine_node"]
    traitor.extra_env |= byzantine.environment
    with network, Watch(network, _WORKERS) as watch, Poster(network.nodes[:-1]) as poster:
        poster.wait_for_more(_PROGRESS)
        sent = []
        for door, throw in (("single", _singly), ("bulk", _in_bulk), ("CheckTx", _past_the_api)):
            begun = time.monotonic()
            given = _formed(contracts, forms, door)
            throw(network, given, report)
            sent += given
            report.posted[door] = len(given)
            say(f"{door}: {len(given)} transactions in {time.monotonic() - begun:.1f} s")
        begun = time.monotonic()
        given = _formed(contracts, forms, "proposal")
        blocks = _blocks(given)
        byzantine.propose(*blocks)
        until(lambda: byzantine.proposed >= len(blocks), "every hostile block was proposed", _TURN * len(blocks))
        sent += given
        report.posted["proposal"] = len(given)
        say(f"proposals: {len(blocks)} blocks in {time.monotonic() - begun:.1f} s")
        poster.wait_for_more(_PROGRESS)
        report.stopped = [node.index for node in network.nodes if not node.process.running]
        poster.end()
        report.height = network.agree()
        report.taken_wrongly = [
            f"{entry.name} at node {node.index}"
            for node in network.nodes
            for entry in sent
            if entry.verdict is not None and node.has(entry.built)
        ]
    report.ordinary = len(poster.promised)
    watch.check()
    report.contract = max(seen.contract for seen in watch.seen.values())
    report.growth = max(seen.last - seen.first for seen in watch.seen.values())
    return report


def _singly(network: Network, given: Sequence[Entry], report: Report) -> None:
    for number, entry in enumerate(given):
        verdict = post_one(network.nodes[number % len(network.nodes)], entry)
        if not entry.allows(verdict):
            report.wrong.append(f"{entry.name}: {verdict} instead of {entry.verdict}")


def _in_bulk(network: Network, given: Sequence[Entry], report: Report) -> None:
    for entry, verdict in zip(given, post_bulk(network.nodes[1], given), strict=True):
        if not entry.allows(verdict):
            report.wrong.append(f"{entry.name} in bulk: {verdict} instead of {entry.verdict}")


def _past_the_api(network: Network, given: Sequence[Entry], report: Report) -> None:
    for number, entry in enumerate(given):
        taken = broadcast(network.nodes[number % len(network.nodes)], entry)
        # What is harmless may be turned away: contracts hold up the engine for a share of the time only.
        if taken and entry.verdict is not None:
            report.wrong.append(f"{entry.name}: CheckTx takes it")


def _blocks(given: Sequence[Entry]) -> list[list[bytes]]:
    """What can be judged in blocks of some, what cannot alone: it costs the block its votes."""
    judged = [entry.built.canonical for entry in given if not entry.overruns]
    blocks = [judged[at : at + _BLOCK] for at in range(0, len(judged), _BLOCK)]
    return [*blocks, *([entry.built.canonical] for entry in given if entry.overruns)]


def _formed(contracts: Sequence[Hostile], forms: int, door: str) -> list[Entry]:
    """Transactions of a door's own."""
    found = entries(contracts, nonce=f" by {door}")
    if forms == 2:
        return found
    names: dict[str, list[Entry]] = {}
    for entry in found:
        names.setdefault(entry.hostile.name, []).append(entry)
    return [several[number % len(several)] for number, several in enumerate(names.values())]


def main(arguments: list[str]) -> int:
    """Play the corpus; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.contracts", description="Hostile contracts.")
    parser.add_argument("--only", metavar="TEXT", default="", help="contracts whose name holds this text")
    options = parser.parse_args(arguments)
    contracts = [hostile for hostile in corpus() if options.only in hostile.name]
    with tempfile.TemporaryDirectory(prefix="siege-") as folder:
        report = besiege(Path(folder), contracts, forms=2, say=print)
    print(report)
    return 1 if report.wrong or report.taken_wrongly or report.stopped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
