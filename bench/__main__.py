# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m bench`: measure, print a table, and write the figures where they are wanted."""

import argparse
import contextlib
import dataclasses
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as RemainingColumn

from bench import contracts, jobs, limits, machine, mix, production, report, rows, transactions

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"

ALL = rows.ALL | mix.ALL | contracts.ALL | production.ALL

_LIMIT_NAMES = {
    "verifications": "Ed25519 verifications/s on one core",
    "syncs": "fdatasync/s of a 4 KB append",
    "posts": "bare HTTP POST/s of the node's server, 32 connections",
    "post_p50": "bare HTTP POST, one at a time, p50 ms",
    "generator": "POST/s of the load generator against a server that only answers",
    "messages": "stream messages/s of the readers against a server that only writes",
}


def main(arguments: list[str]) -> int:
    """Measure what was asked for; 1 when a measurement failed. A missed floor is told, not punished."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers that were started are stopped
    console = Console()
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    try:
        result, failed = _measure(options, work, console)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report.show(result, console)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    if options.markdown:
        report.write_markdown(result, options.markdown)
    return 1 if failed else 0


def _measure(options: argparse.Namespace, work: Path, console: Console) -> tuple[report.Report, bool]:
    scale = rows.QUICK if options.quick else rows.FULL
    names = options.only or list(ALL)
    described = machine.describe(work)
    found, failed = list[report.Row](), False
    with _progress(console) as progress:
        bench = rows.Bench(scale, _limits(scale, work, progress), CACHE, work, _stepper(progress))
        for name in names:
            try:
                for row in ALL[name](bench):
                    found.append(row)
                    progress.console.print(f"{row.what}: {report.number(row.value)} {row.unit} {row.verdict}")
            except (rows.BenchFailed, RuntimeError) as error:
                failed = True
                progress.console.print(f"[red]{name}:[/] {error}", highlight=False)
    measured = {_LIMIT_NAMES[key]: value for key, value in dataclasses.asdict(bench.limits).items()}
    date = datetime.now(UTC).date().isoformat()
    return report.Report(_command(options), date, described, measured, found), failed


def _limits(scale: rows.Scale, work: Path, progress: Progress) -> limits.Limits:
    step = _stepper(progress)
    with step("sign transactions for the limits") as watch:
        file = transactions.cached_file(limits.posts_needed(scale.limit_seconds), CACHE, watch)
    with step("limits of this machine"):
        return limits.measure(file, work, scale.limit_seconds, scale.subscribers)


def _command(options: argparse.Namespace) -> str:
    only = "".join(f" --only {name}" for name in options.only or ())
    return "python -m bench" + (" --quick" if options.quick else "") + only


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure a node of this checkout.")
    parser.add_argument("--quick", action="store_true", help="a small run that shows that everything works")
    parser.add_argument("--only", action="append", choices=list(ALL), help="one measurement; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything found out as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the figures into a page")
    return parser


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        RemainingColumn(),
        console=console,
        transient=True,
    )


def _stepper(progress: Progress) -> rows.Step:
    @contextlib.contextmanager
    def step(name: str) -> Iterator[jobs.Watch]:
        task = progress.add_task(name, total=None)
        try:
            yield lambda done, total: progress.update(task, completed=done, total=total)
        finally:
            progress.remove_task(task)

    return step


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
