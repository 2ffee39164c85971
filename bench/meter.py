# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who used the processors while something was measured: the node, the load, or others on the machine."""

import contextlib
import os
import time
from pathlib import Path

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Seconds of one measurement; all but `wall` are processor time. 0 where /proc is missing."""

    wall: float
    server: float
    """By the server and its children."""
    load: float
    """By this process."""
    others: float
    """By everybody else: tells how much a figure can be trusted on a shared machine."""

    def text(self, units: int) -> str:
        """In cores, and the server's time for each of `units`."""
        wall = max(self.wall, 1e-9)
        return (
            f"node {self.server / wall:.2f} cores ({1e6 * self.server / max(units, 1):,.0f} us each), "
            f"load {self.load / wall:.2f}, others {self.others / wall:.2f}"
        )


class Meter:
    """Counts from its making on."""

    def __init__(self, server: int) -> None:
        self._pid = server
        self._start, self._own = time.perf_counter(), time.process_time()
        self._server, self._machine = _tree_seconds(server), _busy_seconds()

    def read(self) -> Usage:
        """What was used up to now."""
        server, load = _tree_seconds(self._pid) - self._server, time.process_time() - self._own
        others = max(_busy_seconds() - self._machine - server - load, 0.0)
        return Usage(time.perf_counter() - self._start, server, load, others)


def _tree_seconds(pid: int) -> float:
    ticks, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            one = int(stat.parent.name)
            # Its own, and that of its children that have ended.
            parents[one], ticks[one] = int(fields[1]), sum(map(int, fields[11:15]))
    family = {pid}
    while grown := {one for one, parent in parents.items() if parent in family} - family:
        family |= grown
    return sum(ticks.get(one, 0) for one in family) / os.sysconf("SC_CLK_TCK")


def _busy_seconds() -> float:
    with contextlib.suppress(OSError):
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        idle = fields[3] + fields[4]
        return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")
    return 0.0
