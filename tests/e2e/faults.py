# SPDX-License-Identifier: AGPL-3.0-or-later
"""Faults of one node out of four, and of the network's halves, each held against what the network promises.

Promised is: three nodes go on; the fourth comes back by itself and has the same hash at every height; whatever was
answered with 202 in mode commit is in the ledger of all; a subscriber that resumes by position misses nothing and
hears nothing twice. Times are reported, not judged.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.e2e.load import Follower, Poster
from tests.support.network import Network, NetworkNode, until

PAUSE = 10.0
"""Seconds that a node hangs or is cut off."""

_PROGRESS = 5
"""Transactions that have to be committed while a node is away, and again when it is back."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a fault went.

    Attributes:
        fault: Its name.
        during: Transactions committed while the node was away.
        refused: Requests that were refused or broken off meanwhile.
        returned: Seconds from the node's return until it stood where the others did then.
        height: Up to which all hashes were found equal.
        events: Messages that the subscriber had, each once.
        breaks: How often its connection ended.
    """

    fault: str
    during: int
    refused: int
    returned: float
    height: int
    events: int
    breaks: int


Fault = Callable[[Network, int], AbstractContextManager[None]]
"""A node of this index is away inside, and on its way back when the context ends."""


@contextmanager
def node_killed(network: Network, index: int) -> Iterator[None]:
    """Kill -9 of the node's process; engine and database end with it."""
    node = network.nodes[index]
    node.kill()
    yield
    node.start()


@contextmanager
def node_restarted(network: Network, index: int) -> Iterator[None]:
    """Stopped as an operator does, started again."""
    node = network.nodes[index]
    node.stop()
    yield
    node.start()


@contextmanager
def engine_killed(network: Network, index: int) -> Iterator[None]:
    """Kill -9 of the engine alone: the node starts another."""
    network.nodes[index].kill_engine()
    yield


@contextmanager
def database_killed(network: Network, index: int) -> Iterator[None]:
    """Kill -9 of Tarantool alone: the node starts it again, and its engine waits meanwhile."""
    network.nodes[index].kill_database()
    yield


@contextmanager
def node_paused(network: Network, index: int) -> Iterator[None]:
    """The whole machine hangs."""
    with network.nodes[index].paused():
        yield


@contextmanager
def engine_paused(network: Network, index: int) -> Iterator[None]:
    """The engine alone hangs."""
    with network.nodes[index].paused(engine_only=True):
        yield


@contextmanager
def cut_off(network: Network, index: int) -> Iterator[None]:
    """No link to any other node."""
    with network.cut({index}):
        yield


FAULTS: dict[str, Fault] = {
    "node killed (kill -9)": node_killed,
    "node stopped and started": node_restarted,
    "engine killed (kill -9)": engine_killed,
    "database killed (kill -9)": database_killed,
    "node paused": node_paused,
    "engine paused": engine_paused,
    "cut off": cut_off,
}
LASTING = frozenset({"node paused", "engine paused", "cut off"})
"""Faults that last `PAUSE` seconds; the others last until the rest has made progress."""


def one_node(network: Network, fault: str, index: int, pause: float = PAUSE) -> Outcome:
    """Play one fault on one node of four while somebody posts to the others and somebody follows the stream of it.

    Raises:
        AssertionError: A promise is broken.
    """
    victim = network.nodes[index]
    others = [node for node in network.nodes if node is not victim]
    with Follower(victim) as follower:
        with Poster(others) as poster:
            poster.wait_for_more(_PROGRESS)
            before, refused = len(poster.promised), len(poster.refused)
            with FAULTS[fault](network, index):
                poster.wait_for_more(_PROGRESS)
                if fault in LASTING:
                    time.sleep(pause)
            during, refused = len(poster.promised) - before, len(poster.refused) - refused
            returned = _catch_up(victim, others)
            poster.wait_for_more(_PROGRESS)
        height = network.agree()
        held = _held(victim, height)
        until(lambda: len(follower.ids) >= len(held), "the subscriber has everything")
    missing = set(poster.promised) - set(held)
    assert not missing, (
        f"{len(missing)} transactions were promised and are not in the ledger: {sorted(missing)[:3]}"
    )
    assert follower.ids == held, "the subscriber missed an event or had one twice"
    return Outcome(fault, during, refused, returned, height, len(held), follower.breaks)


def two_halves(network: Network, pause: float = PAUSE) -> Outcome:
    """Cut four nodes into two halves: neither goes on, neither goes its own way, and together they go on.

    Raises:
        AssertionError: A promise is broken.
    """
    with Follower(network.nodes[3]) as follower:
        with Poster(network.nodes) as poster:
            poster.wait_for_more(_PROGRESS)
            before, refused = len(poster.promised), len(poster.refused)
            with network.cut({0, 1}):
                # What three of them had agreed on when the links broke may still arrive.
                time.sleep(pause / 2)
                still = [node.height() for node in network.nodes]
                time.sleep(pause / 2)
                assert [node.height() for node in network.nodes] == still, "a half went on by itself"
            during, refused = len(poster.promised) - before, len(poster.refused) - refused
            healed = time.monotonic()
            poster.wait_for_more(1, patience=120)
            returned = time.monotonic() - healed
            poster.wait_for_more(_PROGRESS)
        height = network.agree()
        held = _held(network.nodes[3], height)
        until(lambda: len(follower.ids) >= len(held), "the subscriber has everything")
    assert not set(poster.promised) - set(held), "a promised transaction is not in the ledger"
    assert follower.ids == held, "the subscriber missed an event or had one twice"
    return Outcome("two halves", during, refused, returned, height, len(held), follower.breaks)


def _catch_up(victim: NetworkNode, others: list[NetworkNode]) -> float:
    """Seconds until the node stands where the others stand now."""
    start = time.monotonic()
    wanted = max(node.height() or 0 for node in others)
    until(lambda: (victim.height() or 0) >= wanted, f"node {victim.index} has block {wanted} again")
    return time.monotonic() - start


def _held(node: NetworkNode, height: int) -> list[str]:
    """Ids of all transactions up to a height, in order."""
    held: list[str] = []
    for at in range(1, height + 1):
        block = node.api.get(f"/blocks/{at}").raise_for_status().json()
        held += block["transaction_ids"]
    return held
