# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures are judged and written as the table of targets means them."""

from pathlib import Path

import pytest

from bench import jobs
from bench.report import Report, Row, Target, markdown, number, write_markdown

MORE = Target(2500, 4400, more_is_better=True)
LESS = Target(10, 4, more_is_better=False)


@pytest.mark.parametrize(
    ("value", "target", "verdict"),
    [
        (4400, MORE, "aim"),
        (4399, MORE, "floor"),
        (2499, MORE, "missed"),
        (4, LESS, "aim"),
        (4.1, LESS, "floor"),
        (10.1, LESS, "missed"),
        (1, None, ""),
    ],
)
def test_a_figure_reaches_its_aim_or_its_floor_or_misses(
    value: float, target: Target | None, verdict: str
) -> None:
    assert Row("any", "any", value, "ms", target).verdict == verdict


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0461, "1.05"),
        (0.012345, "0.0123"),
        (4399.6, "4,400"),
        (1_234_567, "1,230,000"),
        (12.34, "12.3"),
    ],
)
def test_numbers_show_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_spread_takes_the_nearest_rank_in_milliseconds() -> None:
    found = jobs.spread([index / 1000 for index in range(1, 102)])
    assert (found.count, found.p50, found.p99, found.most) == (101, 51.0, 100.0, 101.0)
    assert found.mean == pytest.approx(51.0)
    assert jobs.spread([]).count == 0


def test_figures_replace_only_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    old = Report("old", "2026-01-01", {}, {}, [])
    new = Report(
        "new", "2026-01-02", {"processor": "one"}, {"posts": 10.0}, [Row("a", "what", 3, "ms", LESS, 2, "ms")]
    )
    write_markdown(old, page)
    page.write_text("# Before\n\n" + page.read_text() + "\nAfter\n")
    write_markdown(new, page)
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("\nAfter\n")
    assert markdown(new) in text and markdown(old) not in text
    assert "| what | 3.00 ms | 10.0 | 4.00 | aim | 1.50 of 2.00 ms |  |" in text


def test_a_page_without_marks_is_not_overwritten(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("mine")
    with pytest.raises(ValueError, match="no lines"):
        write_markdown(Report("new", "2026-01-02", {}, {}, []), page)
    assert page.read_text() == "mine"
