# SPDX-License-Identifier: AGPL-3.0-or-later
"""The manual of the Web API names every route, argument, error class, status and bound, and nothing else."""

import re
from pathlib import Path

import pytest

from planetmint.http import HttpSettings
from planetmint.http.arguments import MOST_ARGUMENTS
from planetmint.http.dry_run import LONGEST_SHOWN
from planetmint.http.errors import TABLE
from planetmint.http.protocol import HEAD_BYTES, READ_SECONDS, WRITE_SECONDS
from planetmint.http.reads import DEFAULT_BY_CONTENT, LONGEST_SEARCH
from planetmint.http.routes import ROUTES, RouteSpec
from planetmint.http.server import KEEP_ALIVE_SECONDS
from planetmint.http.submit import BODY_BUDGET, BULKS_AT_ONCE, DRY_RUNS_AT_ONCE

MANUAL = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text(encoding="utf-8")


def shown(spec: RouteSpec) -> str:
    return spec.path.replace(":digits", "")


def section_of(path: str) -> str:
    """The section of the manual that the table of routes leads to."""
    found = re.search(rf"^\| `GET {re.escape(path)}` \| \[[^\]]+\]\(#([a-z-]+)\) \|$", MANUAL, re.MULTILINE)
    assert found, f"docs/http-api.md has no line for {path} in its table of routes"
    for level, title, text in re.findall(r"^(##+) ([^\n]+)\n(.*?)(?=^##|\Z)", MANUAL, re.MULTILINE | re.DOTALL):
        if level and title.lower().replace(" ", "-") == found[1]:
            return str(text)
    raise AssertionError(f"docs/http-api.md has no section #{found[1]}")


@pytest.mark.parametrize("spec", ROUTES, ids=shown)
def test_every_route_stands_in_the_manual_with_a_section(spec: RouteSpec) -> None:
    assert shown(spec) in section_of(shown(spec))


@pytest.mark.parametrize("spec", ROUTES, ids=shown)
def test_every_argument_of_a_route_stands_in_its_section(spec: RouteSpec) -> None:
    section = section_of(shown(spec))
    for name in spec.parameters:
        assert f"`{name}`" in section, f"docs/http-api.md does not explain `{name}` of {shown(spec)}"


def test_the_manual_names_no_other_routes() -> None:
    named = set(re.findall(r"^\| `GET (\S+)` \|", MANUAL, re.MULTILINE))
    assert named == {shown(spec) for spec in ROUTES}
    posted = set(re.findall(r"`POST (\S+)`", MANUAL))
    assert posted == {shown(spec) for spec in ROUTES if spec.post_parameters is not None}


def test_every_argument_of_a_post_stands_in_the_manual() -> None:
    section = MANUAL.partition("## Sending transactions")[2].partition("\n## ")[0]
    for spec in ROUTES:
        for name in spec.post_parameters or ():
            assert f"| `{name}` |" in section


def test_every_error_class_stands_in_the_manual_with_its_status() -> None:
    classes = MANUAL.partition("### Classes")[2].partition("\n## ")[0]
    named = {name: int(status) for name, status in re.findall(r"^\| `(\w+)` \| (\d+) \|", classes, re.MULTILINE)}
    assert named == {kind.__name__: row.status for kind, row in TABLE.items()}


def test_every_status_of_an_error_stands_in_the_manual() -> None:
    errors = MANUAL.partition("## Errors")[2].partition("### Classes")[0]
    named = {int(status) for status in re.findall(r"^\| (\d+) \|", errors, re.MULTILINE)}
    assert named == {row.status for row in TABLE.values()} | {404, 405, 431, 500}


def test_bounds_in_the_manual_are_those_of_the_code() -> None:
    bounds = MANUAL.partition("## Bounds")[2]
    settings = HttpSettings()
    for text in (
        f"`api.max_body_bytes`, {settings.max_body_bytes // 2**20} MiB",
        f"`api.bulk_max_lines`, {settings.bulk_max_lines:,}",
        f"`api.bulk_max_bytes`, {settings.bulk_max_bytes // 2**20} MiB",
        f"{BODY_BUDGET // 2**20} MiB",
        f"{BULKS_AT_ONCE}; more",
        f"dry runs at the same time | {DRY_RUNS_AT_ONCE}; more",
        f"{LONGEST_SHOWN:,} characters each",
        f"{HEAD_BYTES // 1024} KiB",
        f"{MOST_ARGUMENTS:,}",
        f"{LONGEST_SEARCH:,} characters",
        f"{READ_SECONDS:.0f} seconds",
        f"{WRITE_SECONDS:.0f} seconds",
        f"{KEEP_ALIVE_SECONDS} seconds",
    ):
        assert text in bounds
    assert f"{DEFAULT_BY_CONTENT:,} transactions" in MANUAL
