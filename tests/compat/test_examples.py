# SPDX-License-Identifier: AGPL-3.0-or-later
"""The programs under `examples/` do against a running node what their README files show."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.compat.conftest import NodeUnderTest
from tests.compat.environments import JAVASCRIPT_430, PLANETMINT_0185, ROOT

EXAMPLES = ROOT / "examples"
TIMEOUT = 60

pytestmark = pytest.mark.timeout(1200)  # the first test may have to build the environment


@dataclass(frozen=True)
class Example:
    """How the programs of one folder are run, and what the first one prints as its refusal."""

    folder: Path
    command: list[str]
    suffix: str
    variables: Mapping[str, str]
    refusal: str


def python_example() -> Example:
    PLANETMINT_0185.prepare()
    command = [str(PLANETMINT_0185.python)]
    return Example(EXAMPLES / "python", command, ".py", {}, "Invalid transaction (DoubleSpend)")


def javascript_example() -> Example:
    JAVASCRIPT_430.prepare()
    variables = {"NODE_PATH": str(JAVASCRIPT_430.modules)}
    return Example(EXAMPLES / "javascript", ["node"], ".js", variables, "400 BAD REQUEST")


@pytest.fixture(params=[python_example, javascript_example], ids=["python", "javascript"], scope="module")
def example(request: pytest.FixtureRequest) -> Example:
    made: Example = request.param()
    return made


class Watcher:
    """The `watch` program of an example, with the lines that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.strip())
                self._changed.notify_all()

    def wait_for(self, pattern: str) -> str:
        """The first line that matches, printed already or within a bounded time."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: next((line for line in self.lines if re.search(pattern, line)), None), TIMEOUT
            )
        assert found, f"no line like {pattern!r} in {self.lines}"
        return str(found)

    def stop(self) -> int:
        """Press Ctrl-C, wait for the end and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return code


@contextmanager
def watching(example: Example, url: str) -> Iterator[Watcher]:
    process = subprocess.Popen(
        [*example.command, str(example.folder / f"watch{example.suffix}"), url],
        env={**os.environ, **example.variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Ctrl-C may be ignored where the tests run in the background, and is inherited like that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield Watcher(process)
    finally:
        process.kill()
        process.wait()


def run(command: list[str], variables: Mapping[str, str]) -> list[str]:
    """Run a program to its good end and return the lines that it printed."""
    done = subprocess.run(
        command,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def first_transaction(example: Example, url: str) -> dict[str, str]:
    """Run the program and return its lines by their first word."""
    program = example.folder / f"first_transaction{example.suffix}"
    lines = run([*example.command, str(program), url], example.variables)
    return {line.split(" ")[0]: line for line in lines}


def test_example_shows_its_two_transactions_on_the_live_stream(example: Example, node: NodeUnderTest) -> None:
    with watching(example, node.base_url) as watcher:
        watcher.wait_for("^watching ws://")
        printed = first_transaction(example, node.base_url)
        created, sold = (printed[key].split(" ")[1] for key in ("created", "sold"))
        watcher.wait_for(f"^block [0-9]+: transaction {created}$")
        height = printed["block"].split(" ")[1]
        watcher.wait_for(f"^block {height}: transaction {sold}$")
        assert watcher.stop() == 0
        assert watcher.lines[-1] == "stopped"


def test_example_looks_up_what_it_made_and_is_refused_a_double_spend(
    example: Example, node: NodeUnderTest
) -> None:
    printed = first_transaction(example, node.base_url)
    sold = printed["sold"].split(" ")[1]
    assert sold in printed["unspent"]
    assert re.search(r"CREATE.*TRANSFER", printed["history"])
    assert example.refusal in printed["refused"]


def test_example_sends_a_script_that_the_node_has_checked(example: Example, node: NodeUnderTest) -> None:
    """The published drivers, unmodified: a script of version 3.0 is run, kept and returned (issue 5, item 2)."""
    with watching(example, node.base_url) as watcher:
        watcher.wait_for("^watching ws://")
        program = example.folder / f"contract_script{example.suffix}"
        committed, *refused = run([*example.command, str(program), node.base_url], example.variables)
        word, made, kept = committed.split(" ", 2)
        assert (word, json.loads(kept.replace("'", '"'))) == ("committed", {"total": 120})
        watcher.wait_for(f"^block [0-9]+: transaction {made}$")
    stored = httpx.get(f"{node.base_url}/api/v1/transactions/{made}").json()["script"]
    assert stored["inputs"] == {"quantity": 3, "price": 40, "limit": 150}
    assert stored["code"].endswith("Then print the 'total'\n")
    assert len(refused) == 2
    assert all(line.startswith("refused ") for line in refused)


STORIES = {
    "contract_hash_lock.py": [
        "created {id}",
        "refused InvalidSignature signature.condition",
        "refused InvalidScript contract.failed",
        'dry run True {{"output":["opened"]}}',
        "collected {id}",
        "kept True",
    ],
    "contract_escrow.py": [
        "locked {id}",
        "refused Invalid transaction (InvalidScript): script failed: The eddsa signature by arbiter",
        "not even signed: the keys do not suffice to fulfil the condition",
        "released {id}",
        "locked {id}",
        "agreed {id}",
    ],
}


@pytest.mark.parametrize("program", STORIES)
def test_example_of_an_output_under_a_contract_is_seen_on_the_live_stream(
    program: str, node: NodeUnderTest
) -> None:
    """They use the node's own package; what watches is the published driver's environment."""
    watch = python_example()
    with watching(watch, node.base_url) as watcher:
        watcher.wait_for("^watching ws://")
        lines = run([sys.executable, str(EXAMPLES / "python" / program), node.base_url], {})
        made = [word for line in lines for word in re.findall("[0-9a-f]{64}", line)]
        for told in made:
            watcher.wait_for(f"^block [0-9]+: transaction {told}$")
    names = iter(made)
    expected = [line.format(id=next(names)) if "{id}" in line else line.format() for line in STORIES[program]]
    assert all(line.startswith(shown) for line, shown in zip(lines, expected, strict=True)), lines


def test_readme_of_the_example_gives_commands_that_exist(example: Example) -> None:
    text = (example.folder / "README.md").read_text()
    named = re.findall(r"(?:python|node|-r) (\w+\.(?:py|js|txt))", text)
    assert f"first_transaction{example.suffix}" in named
    assert f"watch{example.suffix}" in named
    assert f"contract_script{example.suffix}" in named
    for program in named:
        assert (example.folder / program).is_file(), program
