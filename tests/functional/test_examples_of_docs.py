# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the manual shows is run as it stands, against a node; only addresses and placeholders are changed."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from planetmint.testing.build import Builder, Built, Dialect, public_key
from tests.support.node import NodeProcess

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
    ROOT / "README.md",
]
BUILDER = Builder(Dialect.BIGCHAINDB)
SHOWN_KEY = "6xEPtFktTZ..."


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("docs") / "node") as running:
        yield running


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """The lines that a reader is shown to type."""
    return [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]


def commit(node: NodeProcess, item: Built) -> None:
    answer = httpx.post(f"{node.base_url}/api/v1/transactions", params={"mode": "commit"}, content=item.canonical)
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("command", [one for one in commands("docs/http-api.md") if one.startswith("curl")])
def test_every_request_shown_in_the_manual_of_the_web_api_is_answered(command: str, node: NodeProcess) -> None:
    known = BUILDER.create("reader")
    if not httpx.get(f"{node.base_url}/api/v1/transactions/{known.id}").is_success:
        commit(node, known)
    words = shlex.split(command.replace("$ID", known.id).partition(" | ")[0])
    (address,) = [word for word in words if word.startswith("localhost:9984/")]
    url = node.base_url + address.removeprefix("localhost:9984").replace(SHOWN_KEY, public_key("reader"))
    if "--data-binary" in words:
        answer = httpx.post(url, content=BUILDER.create("reader", data={"n": os.urandom(8).hex()}).canonical)
        assert answer.status_code == (200 if "dry_run=true" in url else 202)
    else:
        answer = httpx.get(url)
        assert answer.status_code == 200
        assert answer.json()


def test_the_program_that_resumes_misses_nothing_when_it_is_killed(node: NodeProcess, tmp_path: Path) -> None:
    (program,) = blocks("docs/event-stream.md", "python")
    script = tmp_path / "follow.py"
    script.write_text(program.replace("ws://localhost:9985", node.stream_url.partition("/api")[0]))
    made = [BUILDER.create("follower", data={"n": os.urandom(8).hex()}) for _ in range(8)]
    seen: list[str] = []
    for number, item in enumerate(made):
        before = _subscribers(node)
        with subprocess.Popen(
            [sys.executable, "-u", str(script)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        ) as running:
            timer = threading.Timer(60, running.kill)
            timer.start()
            assert running.stdout is not None
            # The first time it hears only of what comes after it has joined; later it catches up.
            while number == 0 and _subscribers(node) == before and running.poll() is None:
                pass
            commit(node, item)
            while not seen or seen[-1] != item.id:
                line = running.stdout.readline()
                assert line, (number, running.poll(), _subscribers(node), sorted(os.listdir(tmp_path)))
                (found,) = re.findall(r"'transaction_id': '([0-9a-f]{64})'", line)
                if found not in seen:  # killed before it had stored the cursor, it gets the last ones again
                    seen.append(found)
            # Until its first cursor is stored there is nothing that it could resume from.
            while number == 0 and not (tmp_path / "cursor.txt").exists() and running.poll() is None:
                pass
            running.kill()
            timer.cancel()
    assert seen == [item.id for item in made]


def _subscribers(node: NodeProcess) -> str:
    figures = httpx.get(f"{node.base_url}/metrics").text
    return next(line for line in figures.splitlines() if re.match(r"planetmint_stream_subscribers ", line))


def test_the_command_line_client_shown_in_the_manual_connects(node: NodeProcess) -> None:
    (command,) = [one for one in commands("docs/event-stream.md") if "-m websockets" in one]
    words = command.replace("ws://localhost:9985", node.stream_url.partition("/api")[0]).split()
    assert words[0] == ".venv/bin/python"
    with subprocess.Popen([sys.executable, *words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        timer = threading.Timer(60, running.kill)
        timer.start()
        assert running.stdout is not None
        assert running.stdout.readline().startswith(b"Connected to ws://")
        running.terminate()
        timer.cancel()


def test_the_settings_shown_in_the_manual_are_taken_without_a_warning(tmp_path: Path) -> None:
    (shown,) = blocks("docs/configuration.md", "json")
    (tmp_path / "node.json").write_text(shown)
    (line,) = [one for one in commands("docs/event-stream.md") if one.startswith("export ")]
    variables = dict(word.split("=", 1) for word in line.split()[1:])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PLANETMINT_")}
    done = subprocess.run(
        [sys.executable, "-m", "planetmint", "-c", str(tmp_path / "node.json"), "show-config"],
        env=clean | variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    effective = json.loads(done.stdout)
    assert effective["server"]["bind"] == json.loads(shown)["server"]["bind"]
    for name, value in variables.items():
        key = name.removeprefix("PLANETMINT_WSSERVER_").lower()
        assert str(effective["wsserver"][key]) == value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_page_or_a_section_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, section = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if section:
            headings = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            assert section in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}, target


def test_every_make_target_named_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page
