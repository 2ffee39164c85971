# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far a long command is: a bar with the time that is left in a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from planetmint.cli.console import say

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""


class Progress:
    """Shows on stderr how much of `total` is done; a context manager.

    Args:
        text: What is done, e.g. `Backup`.
        unit: What is counted, e.g. `blocks`.
        total: How many; None where nobody knows.
    """

    def __init__(self, text: str, unit: str, total: int | None) -> None:
        self._text = text
        self._unit = unit
        self._total = total
        self._begun = self._said = time.monotonic()
        self._bar: Bar | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(self._unit),
                TimeElapsedColumn(),
                TextColumn("left:"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self._text, total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def to(self, done: int, total: int | None = None) -> None:
        """So much is done; `total` where it has changed."""
        self._total = total or self._total
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total)
            return
        now = time.monotonic()
        if now - self._said >= LINE_SECONDS:
            self._said = now
            say(self._line(done, now - self._begun))

    def _line(self, done: int, seconds: float) -> str:
        if not self._total or not done:
            return f"{self._text}: {done} {self._unit}"
        left = round(seconds * (self._total - done) / done)
        share = 100 * done // self._total
        return f"{self._text}: {done} of {self._total} {self._unit} ({share} %), about {left} s left"
