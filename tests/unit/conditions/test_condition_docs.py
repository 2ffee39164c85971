# SPDX-License-Identifier: AGPL-3.0-or-later
"""The chapter on crypto-conditions says what the code does: its examples run, its rules exist."""

import json
import re
from pathlib import Path

from planetmint.conditions import details_uri, read_details
from planetmint.testing.invalid import catalogue

TEXT = (Path(__file__).parents[3] / "docs" / "crypto-conditions.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_python_example_runs() -> None:
    (program,) = blocks("python")
    exec(compile(program, "docs/crypto-conditions.md", "exec"), {})


def test_the_uri_of_the_output_shown_is_that_of_its_details() -> None:
    (text,) = blocks("json")
    condition = json.loads(text)
    details = read_details(condition["details"], "details", max_depth=16, max_leaves=1000)
    assert details_uri(details) == condition["uri"]


def test_every_rule_that_is_named_exists() -> None:
    section = TEXT.split("## What fails, and how")[1].split("## In Python")[0]
    rows = re.findall(r"^\|.*\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    named = {(kind, rule) for kind, rules in rows for rule in re.findall(r"`([a-z_.*]+)`", rules)}
    known = {(case.error.__name__, case.rule) for case in catalogue()}
    known.add(("SchemaValidationError", "condition.*"))
    assert len(named) == 9
    assert named <= known
