# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m tests.differential --count 20000`: the long run, with a progress line and a summary."""

import argparse
import sys
import time
from collections import Counter

from tests.differential.compare import Report, run
from tests.differential.differences import DIFFERENCES

LINE_SECONDS = 0.5
LONG_RUN = 20_000
"""From this number on every difference on the list has to occur, or it does not belong there."""
SHOWN = 20
"""Mismatches printed in full."""


class Progress:
    """Rewrites one line on standard error with the cases done and the time that is left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = time.monotonic()
        self._next = 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now < self._next and done < self._total:
            return
        self._next = now + LINE_SECONDS
        left = (now - self._start) / max(done, 1) * (self._total - done)
        sys.stderr.write(f"\r{done:,} of {self._total:,} transactions, {left:.0f} s left ")
        sys.stderr.write("\n" if done >= self._total else "")
        sys.stderr.flush()


def main() -> int:
    """Run and print; 1 where something differs that is not on the list, or the list holds what does not occur."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--count", type=int, default=LONG_RUN, help="transactions to compare")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the generator; equal seeds give equal transactions"
    )
    options = parser.parse_args()
    print("making the environments of the published packages, where they are missing", file=sys.stderr)
    report = run(options.seed, options.count, Progress(options.count))
    show(report)
    for mismatch in report.mismatches[:SHOWN]:
        print(f"\nMISMATCH {mismatch}")
    if report.mismatches:
        print(f"\n{len(report.mismatches)} of {report.cases:,} answers differ without being on the list")
    seen = {name for _, name in report.outcomes}
    stale = [item.name for item in DIFFERENCES if item.name not in seen] if options.count >= LONG_RUN else []
    if stale:
        print(f"\non the list, but not seen: {', '.join(stale)}")
    return 1 if report.mismatches or stale else 0


def show(report: Report) -> None:
    """Counts by dialect and outcome."""
    names = ["accepted", "refused alike", *(item.name for item in DIFFERENCES)]
    totals: Counter[str] = Counter()
    print(f"{'outcome':26}{'A':>8}{'B':>8}{'C':>8}{'all':>9}")
    for name in names:
        counts = [report.outcomes[dialect, name] for dialect in "ABC"]
        totals[name] = sum(counts)
        print(f"{name:26}{counts[0]:8,}{counts[1]:8,}{counts[2]:8,}{totals[name]:9,}")
    same = totals["accepted"] + totals["refused alike"]
    print(f"{report.cases:,} transactions of {len(report.labels)} kinds: {same:,} alike, ", end="")
    print(f"{report.cases - same - len(report.mismatches):,} by deliberate differences, ", end="")
    print(f"{len(report.mismatches):,} unexplained; all ids alike" if not report.mismatches else "see below")


if __name__ == "__main__":
    sys.exit(main())
