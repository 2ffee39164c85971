# SPDX-License-Identifier: AGPL-3.0-or-later
"""The chapter on crypto-conditions says what the code does: its examples run, its rules exist."""

import json
import re
from pathlib import Path

import pytest

from planetmint.conditions import details_uri, read_details
from planetmint.testing.invalid import catalogue
from tests.support import pages, pictures

PAGE = Path(__file__).parents[3] / "docs" / "crypto-conditions.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_program_of_the_page_prints_what_the_page_shows() -> None:
    pages.run_program(PAGE)
    shown = [block.language for block in pages.blocks(PAGE)]
    assert set(shown) == {"json", "python", "text"}
    assert shown.count("python") >= 7


def test_the_uri_of_the_output_shown_is_that_of_its_details() -> None:
    (block,) = [block for block in pages.blocks(PAGE) if block.language == "json"]
    condition = json.loads(block.text)
    details = read_details(condition["details"], "details", max_depth=16, max_leaves=1000)
    assert details_uri(details) == condition["uri"]


def test_the_bytes_in_the_tables_are_those_that_the_program_prints() -> None:
    """Every hexadecimal cell occurs, in its order, in the octets of the condition that its table is about."""
    tables = re.findall(r"(?:^\| `[0-9a-f` …]+\| .*\n)+", TEXT, re.MULTILINE)
    assert len(tables) == 4
    for table, whole in zip(tables, WHOLE, strict=True):
        rest = whole
        for cells in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE):
            for part in re.split("…", re.sub(r"[` ]", "", cells)):
                found = rest.find(part)
                assert found == 0 or (found > 0 and "…" in cells), (cells, rest)
                rest = rest[found + len(part) :]
        assert rest == ""


WHOLE = [
    "30228020a6c1c0f5601f61169cd7fbdeb1a611b457ccc6224c85c8e98809d2fbb800f1b7",
    "a42780208f11948aa0d9a3de13a54452b070f597acd7bad7b60612fd027af09855d2076b8103020000",
    "3057800102a152a427802070a09b07b14bb53ad9188cec169bee58f1dd6b5c3aa9e4ddd9bb73e6331f307a8103020000"
    "a42780208f11948aa0d9a3de13a54452b070f597acd7bad7b60612fd027af09855d2076b8103020000",
    "a22b80207f6b0c863f0596960f0e4faaf716ce24165d47adf297ff3c5e950179834df5d9810304080082020308",
]
"""Of transactions 5.2, but for the last, which is put together from the URI and the DER rules there."""


def test_every_rule_that_is_named_exists() -> None:
    section = TEXT.split("## What fails, and how")[1].split("## How it is tested")[0]
    rows = re.findall(r"^\|.*\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    named = {(kind, rule) for kind, rules in rows for rule in re.findall(r"`([a-z_.*]+)`", rules)}
    known = {(case.error.__name__, case.rule) for case in catalogue()}
    known.add(("SchemaValidationError", "condition.*"))
    assert len(named) == 9
    assert named <= known


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_the_one_that_its_program_draws(name: str) -> None:
    assert (pictures.FOLDER / name).read_text(encoding="utf-8") == pictures.PICTURES[name]()


def test_every_picture_is_shown_on_some_page_and_told_in_words() -> None:
    shown = {
        name: words
        for page in PAGE.parent.glob("*.md")
        for words, name in re.findall(r"!\[([^]]+)\]\(pictures/([\w.-]+)\)", page.read_text(encoding="utf-8"))
    }
    assert shown.keys() == set(pictures.PICTURES) == {path.name for path in pictures.FOLDER.iterdir()}
    for name, words in shown.items():
        assert f"<title>{words}</title>" in pictures.PICTURES[name]()
