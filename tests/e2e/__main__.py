# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m tests.e2e`: every fault on networks of four nodes, and what it cost, as a table.

`--markdown FILE` puts the table into a page, between its marks.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.e2e.faults import FAULTS, Outcome, one_node, two_halves
from tests.support.network import Network

_BEGIN, _END = "<!-- faults: begin -->", "<!-- faults: end -->"
_HEAD = (
    "fault",
    "committed meanwhile",
    "refused meanwhile",
    "back after, s",
    "hashes equal up to",
    "events",
    "breaks",
)


def main(arguments: list[str]) -> int:
    """Play everything that was asked for; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e", description="Faults of real networks.")
    parser.add_argument("--backend", choices=["sqlite", "tarantool_db"], default="tarantool_db")
    parser.add_argument("--only", action="append", choices=[*FAULTS, "two halves"], help="may be repeated")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    console = Console()
    found: list[Outcome] = []
    broken = 0
    with (
        tempfile.TemporaryDirectory(prefix="e2e-") as folder,
        Network(Path(folder), 4, backend=options.backend, links=True) as network,
    ):
        for name, play in _plays(network, options.only or [*FAULTS, "two halves"], options.backend):
            console.print(f"{name} ...", highlight=False)
            try:
                found.append(play())
            except AssertionError as error:
                broken += 1
                console.print(f"[red]{name}:[/] {error}", highlight=False)
    _show(found, console)
    if options.markdown:
        _write(found, options, options.markdown)
    return 1 if broken else 0


def _plays(network: Network, names: Sequence[str], backend: str) -> Iterator[tuple[str, Callable[[], Outcome]]]:
    for number, name in enumerate(names):
        if name == "two halves":
            yield name, lambda: two_halves(network)
        elif not (name.startswith("database") and backend == "sqlite"):
            # Another node each time: proposers and followers all have their turn.
            index = number % len(network.nodes)
            yield f"{name}, node {index}", lambda name=name, index=index: one_node(network, name, index)  # type: ignore[misc]


def _cells(outcome: Outcome) -> list[str]:
    return [
        outcome.fault,
        str(outcome.during),
        str(outcome.refused),
        f"{outcome.returned:.1f}",
        str(outcome.height),
        str(outcome.events),
        str(outcome.breaks),
    ]


def _show(found: Sequence[Outcome], console: Console) -> None:
    table = Table(*_HEAD)
    for outcome in found:
        table.add_row(*_cells(outcome))
    console.print(table)


def _write(found: Sequence[Outcome], options: argparse.Namespace, page: Path) -> None:
    """Put the table between the page's marks."""
    date = datetime.now(UTC).date().isoformat()
    lines = [f"Played on {date} with `python -m tests.e2e --backend {options.backend}`.", ""]
    lines += ["| " + " | ".join(_HEAD) + " |", "|---|" + "---:|" * (len(_HEAD) - 1)]
    lines += ["| " + " | ".join(_cells(outcome)) + " |" for outcome in found]
    text = page.read_text()
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(before + _BEGIN + "\n" + "\n".join(lines) + "\n" + _END + after)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
