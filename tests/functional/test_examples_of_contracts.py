# SPDX-License-Identifier: AGPL-3.0-or-later
"""The chapter on contracts, read from its beginning to its end beside a node: issue 5, "Done when" 4."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from planetmint.model.parameters import ContractParameters
from planetmint.runtime.settings import SandboxSettings
from tests.support import pages
from tests.support.node import NodeProcess

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "contracts.md"
TEXT = PAGE.read_text(encoding="utf-8")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("contracts") / "node") as running:
        yield running


def test_everything_in_the_chapter_on_contracts_runs_as_it_stands(
    node: NodeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are saved, commands typed, programs run, and all of them print what the page shows."""
    examples = tmp_path / "examples" / "python"
    shutil.copytree(ROOT / "examples" / "python", examples, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    for program in examples.glob("*.py"):
        program.write_text(program.read_text().replace("http://localhost:9984", node.base_url))
    # The first thing that the reader does is to go there; Python is at home there, too.
    monkeypatch.chdir(examples)
    monkeypatch.syspath_prepend(str(examples))
    blocks = list(pages.blocks(PAGE))
    assert pages.typed(blocks[0])[0].command == "cd examples/python"
    saved = [block.name for block in blocks if block.name]
    assert {"invoice.zen", "draw.zen", "escrow.zen"} <= set(saved)
    replaced = {
        "http://localhost:9984": node.base_url,
        "ws://localhost:9985/api/v1/streams/valid_transactions": node.stream_url,
    }
    pages.follow(PAGE, tmp_path, os.environ, replaced=replaced)


def test_every_file_of_the_chapter_is_json_or_a_contract_that_the_page_or_a_program_uses() -> None:
    for block in pages.blocks(PAGE):
        if block.name and block.language == "json":
            assert isinstance(json.loads(block.text), dict)
    # The escrow of the page is that of the program, but for the key that each run makes anew.
    (shown,) = [block.text for block in pages.blocks(PAGE) if block.name == "escrow.zen"]
    program = (ROOT / "examples" / "python" / "contract_escrow.py").read_text()
    assert re.sub(r"'\w{43,44}'", "'{public(arbiter)}'", shown) in program


def test_bounds_and_limits_in_the_chapter_are_the_defaults() -> None:
    section = TEXT.split("## Bounds")[1].split("\n## ")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", section, re.MULTILINE))
    told = {name: float(value.replace(",", "")) for name, value in shown.items()}
    parameters, settings = ContractParameters(), SandboxSettings()
    names = [name for name in parameters.__dataclass_fields__ if name.startswith("max_")]
    expected = {name: float(getattr(parameters, name)) for name in names}
    expected |= {name: float(getattr(settings, name)) for name in ("seconds", "memory_bytes", "output_bytes")}
    assert told == expected


def test_every_rule_about_contracts_that_the_code_knows_is_in_the_chapter_and_no_other() -> None:
    core = [*(ROOT / "src/planetmint").glob("rules/*.py"), *(ROOT / "src/planetmint").glob("contracts/*.py")]
    core += [*(ROOT / "src/planetmint").glob("chain/*.py")]
    known = {
        rule
        for path in core
        for rule in re.findall(r'"(contracts?\.[a-z]+|script\.off)"', path.read_text(encoding="utf-8"))
    }
    section = TEXT.split("## What is refused, and how")[1].split("\n## ")[0]
    told = set(re.findall(r"`(contracts?\.[a-z]+|script\.off)`", section))
    assert told == known


@pytest.mark.parametrize(
    "page",
    [
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\nprint(1)\nprint(2)\n```\n\n```text\n1\n```\n",
        "```python\nraise AssertionError\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ echo one\n$ false\n```\n",
        "`a.txt`:\n\n```text\nkept\n```\n\n```console\n$ cat a.txt\nlost\n```\n",
    ],
)
def test_a_page_that_shows_something_else_than_what_happens_is_noticed(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    with pytest.raises(AssertionError):
        pages.follow(tmp_path / "page.md", tmp_path, os.environ)


def test_a_page_may_leave_out_what_differs_each_time(tmp_path: Path) -> None:
    told = "```console\n$ seq 3; echo took 17 s\n1\n…\ntook … s\n$ export A=5\n$ echo $A > a\n$ cat a\n5\n```\n"
    (tmp_path / "page.md").write_text(told, encoding="utf-8")
    pages.follow(tmp_path / "page.md", tmp_path, os.environ)
