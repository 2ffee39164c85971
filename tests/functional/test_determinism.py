# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every node reaches the same hashes from the same blocks, whatever its machine is set to (D11).

One fixed history is played in processes of their own; the expected hashes are computed here from
docs/decisions/0002 without the node's code.
"""

import base64
import json
import os
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from planetmint.model.parameters import ChainParameters
from tests.support import app_hash, elections
from tests.support.history import whole
from tests.support.ledger import PUBLIC
from tests.support.long_history import long_history, write
from tests.support.tarantool import running

ROOT = Path(__file__).resolve().parents[2]

ENVIRONMENTS = {
    "plain": {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
    "utf-8, east": {"PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8", "TZ": "Asia/Kolkata"},
    "turkish, west": {"PYTHONHASHSEED": "4242", "LC_ALL": "tr_TR.UTF-8", "TZ": "America/St_Johns"},
    "random, no docstrings": {"PYTHONHASHSEED": "random", "LC_ALL": "POSIX", "TZ": "", "PYTHONOPTIMIZE": "2"},
}


LONG = 2_000
"""Blocks of the long history."""

LONG_RUNS = [
    ("memory", "plain"),
    ("memory", "random, no docstrings"),
    ("sqlite", "utf-8, east"),
    ("tarantool", "turkish, west"),
    ("solo", "random, no docstrings"),
]
"""Each kind of store, and the embedded producer, with environments that have little in common."""


def expected() -> dict[str, Any]:
    """Hashes and verdicts by the decision's text."""
    validator = {"type": "ed25519-base64", "value": base64.b64encode(PUBLIC).decode()}
    validators = [{"public_key": validator, "voting_power": 10}]
    hashes = [app_hash.founding_hash("tests", asdict(ChainParameters()), validators)]
    model = elections.Elections("tests", [(1, {PUBLIC: 10})])
    for height, block in enumerate(whole(), 1):
        accepted = [item.wire for item, refusal in block if refusal is None and not isinstance(item, bytes)]
        members = model.effects(model.add(height, accepted))
        hashes.append(app_hash.next_hash(hashes[-1], height, accepted, members))
    assert model.name == "tests-migrated-at-height-10"
    assert [since for since, _ in model.sets] == [1, 10]
    return {"app_hashes": hashes, "verdicts": [[refusal for _, refusal in block] for block in whole()]}


def played(backend: str, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """What a process in this environment finds."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.history", backend, str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**inherited, **environment},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_history_changes_the_hash_only_where_something_is_accepted() -> None:
    hashes = expected()["app_hashes"]
    assert [before != after for before, after in pairwise(hashes)] == [
        any(refusal is None for _, refusal in block) for block in whole()
    ]
    assert len(set(hashes)) == 11


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_d11_hashes_and_verdicts_are_those_of_the_decision_everywhere(
    environment: str, backend: str, tmp_path: Path
) -> None:
    found = played(backend, tmp_path, ENVIRONMENTS[environment])
    assert found["app_hashes"] == expected()["app_hashes"]
    assert found["verdicts"] == expected()["verdicts"]


def test_headers_are_equal_on_every_backend(tmp_path: Path) -> None:
    first = played("memory", tmp_path, ENVIRONMENTS["plain"])["headers"]
    second = played("sqlite", tmp_path, ENVIRONMENTS["utf-8, east"])["headers"]
    assert first == second
    assert len(set(first)) == len(whole())


def test_two_thousand_blocks_lead_every_store_and_the_producer_to_the_same_hashes_everywhere(
    tmp_path: Path,
) -> None:
    file = tmp_path / "blocks.json"
    write(file, long_history(LONG))
    with running(tmp_path / "server") as server:
        address = server.address
        places = {"sqlite": str(tmp_path), "tarantool": f"{address.socket}?{address.password}"}
        processes = [
            start(backend, places.get(backend, ""), file, ENVIRONMENTS[environment])
            for backend, environment in LONG_RUNS
        ]
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(LONG_RUNS)
    found = {run: json.loads(text.splitlines()[-1]) for run, text in zip(LONG_RUNS, outputs, strict=True)}
    first = found["memory", "plain"]
    assert len(set(first["app_hashes"])) == LONG + 1, "every block accepts something"
    assert {"DoubleSpend", "SchemaValidationError"} <= {
        code for block in first["verdicts"] for code in block if code
    }
    assert first["end"] == ["tests-migrated-at-height-1910", 1911, [10, 3]]
    for run, other in found.items():
        # The producer makes the headers by its own clock, and is not handed what is no transaction.
        assert all(other[name] == first[name] for name in other), f"{run} differs"


def start(backend: str, place: str, file: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """A process that plays a file of blocks in this environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHON"))}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.long_history", backend, place, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**inherited, **environment},
    )
