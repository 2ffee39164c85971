# SPDX-License-Identifier: AGPL-3.0-or-later
"""The figures as a table on the terminal, as JSON, and as the figures' part of `docs/benchmarks.md`."""

import math
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

_BEGIN = "<!-- figures: begin -->"
_END = "<!-- figures: end -->"


class Target(msgspec.Struct, frozen=True):
    """What a figure should reach; `floor` must be reached, `aim` is hoped for."""

    floor: float
    aim: float
    more_is_better: bool


class Row(msgspec.Struct, frozen=True):
    """One figure."""

    name: str
    """What `--only` knows it by."""
    what: str
    value: float
    unit: str
    target: Target | None = None
    limit: float | None = None
    """The best that this machine could do, in the same unit, measured in the same run."""
    limit_name: str = ""
    detail: str = ""

    @property
    def verdict(self) -> str:
        """How the figure stands to its target; empty without one."""
        if self.target is None:
            return ""
        if _reaches(self.value, self.target.aim, self.target.more_is_better):
            return "aim"
        return "floor" if _reaches(self.value, self.target.floor, self.target.more_is_better) else "missed"

    @property
    def of_limit(self) -> str:
        """The figure as a multiple of the limit."""
        return f"{self.value / self.limit:.2f} of {number(self.limit)} {self.limit_name}" if self.limit else ""


class Report(msgspec.Struct, frozen=True):
    """Everything one run has found out."""

    command: str
    date: str
    machine: dict[str, str]
    limits: dict[str, float]
    rows: list[Row]


def number(value: float) -> str:
    """A figure with three significant digits, thousands grouped."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def show(report: Report, console: Console) -> None:
    """Print the machine, the limits and the figures."""
    for name, value in report.machine.items():
        console.print(f"[dim]{name}:[/] {value}", highlight=False)
    console.print()
    console.print(_limits_table(report))
    table = Table(title="Figures", title_justify="left")
    for heading in _HEADINGS[:-1]:
        table.add_column(heading, justify="right" if heading in ("measured", "floor", "aim") else "left")
    for row in report.rows:
        colour = {"aim": "green", "floor": "yellow", "missed": "red"}.get(row.verdict, "default")
        cells = _cells(row)
        cells[1] = f"[{colour}]{cells[1]}[/]"
        table.add_row(*cells[:-1])
    console.print(table)
    for row in report.rows:
        console.print(f"{row.what}: [dim]{row.detail}[/]", highlight=False)


def markdown(report: Report) -> str:
    """The same as Markdown, without a heading."""
    lines = [f"Measured on {report.date} with `{report.command}`.", "", "| machine | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in report.machine.items()]
    lines += ["", "| limit of this machine, in the same run | |", "|---|---|"]
    lines += [f"| {name} | {number(value)} |" for name, value in report.limits.items()]
    lines += ["", "| " + " | ".join(_HEADINGS) + " |", "|---|---:|---:|---:|---|---|---|"]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in report.rows]
    return "\n".join(lines) + "\n"


def write_markdown(report: Report, path: Path) -> None:
    """Put the figures between the marks of `path`, or make a file that holds them alone."""
    figures = f"{_BEGIN}\n{markdown(report)}{_END}\n"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Benchmarks\n\n{figures}")
        return
    text = path.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END + "\n")
    if not begin or not end:
        raise ValueError(f"{path} has no lines {_BEGIN} and {_END} to put the figures between")
    path.write_text(before + figures + after)


_HEADINGS = ("what", "measured", "floor", "aim", "verdict", "beside the limit", "detail")


def _cells(row: Row) -> list[str]:
    floor = number(row.target.floor) if row.target else ""
    aim = number(row.target.aim) if row.target else ""
    return [row.what, f"{number(row.value)} {row.unit}", floor, aim, row.verdict, row.of_limit, row.detail]


def _limits_table(report: Report) -> Table:
    table = Table(title="Limits of this machine", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in report.limits.items():
        table.add_row(name, number(value))
    return table


def _reaches(value: float, wanted: float, more_is_better: bool) -> bool:
    return value >= wanted if more_is_better else value <= wanted
