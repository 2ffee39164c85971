# SPDX-License-Identifier: AGPL-3.0-or-later
"""`planetmint contract run` and `check` by the real command, with the real engine and without a node."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from planetmint.testing.build import Builder, Built, Contract, Dialect, all_of
from tests.support.node import NodeProcess

DOUBLE = """Given I have a 'number' named 'count'
When I create the result of 'count' + 'count'
Then print the 'result'
"""
RANDOM = """Given nothing
When I create the random object of '16' bytes
Then print the 'random object'
"""
KEYED = """Given I have a 'string' named 'word'
Given I have a 'string' named 'secret'
Then print the 'word'
Then print the 'secret'
"""
BUILD = Builder(Dialect.PLANETMINT_2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "double.zen": DOUBLE,
        "random.zen": RANDOM,
        "keyed.zen": KEYED,
        "data.json": '{"count": 21}',
        "word.json": '{"word": "hello"}',
        "keys.json": '{"secret": "swordfish"}',
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def contract(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planetmint", "contract", *arguments],
        env=NodeProcess(folder / "none").environment() | (env or {}),
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return line


def saved(folder: Path, built: Built) -> str:
    (folder / "tx.json").write_bytes(built.canonical)
    return "tx.json"


# run


def test_run_prints_the_output_on_stdout_and_everything_else_on_stderr(folder: Path) -> None:
    done = contract(folder, "run", "double.zen", "--data", "data.json")
    assert (done.returncode, done.stdout) == (0, '{"result":42}\n')
    assert "Release version: 3.16.1" in done.stderr
    assert re.search(r"^zenroom 3\.16\.1: [0-9.]+ ms of processor time, [0-9.]+ MiB of memory$", done.stderr, re.M)
    assert not (folder / "none").exists()


def test_the_example_of_the_help_does_what_the_help_says(folder: Path) -> None:
    text = contract(folder, "run", "--help").stdout
    shown = [line.strip() for line in text.partition("Example:")[2].partition("Exit codes:")[0].splitlines()]
    commands = [line.removeprefix("$ ") for line in shown if line.startswith("$ ")]
    written = [line for line in shown if line and not line.startswith("$ ")]
    assert commands[0] == "cat double.zen"
    (folder / "double.zen").write_text("\n".join(written[:-1]) + "\n")
    subprocess.run(["sh", "-c", commands[1]], cwd=folder, check=True)
    words = commands[2].split()
    assert words[:2] == ["planetmint", "contract"]
    assert contract(folder, *words[2:]).stdout == written[-1] + "\n"


def test_run_reads_the_contract_from_standard_input(folder: Path) -> None:
    assert contract(folder, "run", "-", "--data", "data.json", stdin=DOUBLE).stdout == '{"result":42}\n'


def test_run_gives_keys_as_a_condition_has_them(folder: Path) -> None:
    done = contract(folder, "run", "keyed.zen", "--data", "word.json", "--keys", "keys.json")
    assert json.loads(done.stdout) == {"secret": "swordfish", "word": "hello"}


def test_d11_run_draws_the_random_numbers_that_a_chain_draws(folder: Path) -> None:
    first, second = (contract(folder, "run", "random.zen").stdout for _ in range(2))
    assert first == second
    printed = json.loads(first)
    built = BUILD.draft_create("alice").scripted({}, printed, code=RANDOM).signed()
    assert contract(folder, "check", saved(folder, built)).returncode == 0


def test_run_as_json_is_one_object(folder: Path) -> None:
    done = contract(folder, "run", "double.zen", "--data", "data.json", "--json")
    told = json.loads(done.stdout)
    assert told.keys() == {"engine", "error", "memory_bytes", "messages", "output", "seconds"}
    assert (told["engine"], told["error"], told["output"]) == ("zenroom 3.16.1", None, '{"result":42}\n')
    assert told["memory_bytes"] > 1_000_000
    assert 0 < told["seconds"] < 60


def test_run_tells_what_the_engine_says_of_a_contract_that_fails(folder: Path) -> None:
    done = contract(folder, "run", "double.zen")
    assert done.stdout == ""
    assert "Cannot find 'count' anywhere" in refusal(done)
    told = json.loads(contract(folder, "run", "double.zen", "--json", "--data", "word.json").stdout)
    assert "Cannot find 'count'" in told["error"]
    assert any("Execution aborted" in line for line in told["messages"])


def test_run_refuses_what_a_chain_refuses_unread_unless_it_is_told_not_to(folder: Path) -> None:
    (folder / "big.zen").write_text(RANDOM.replace("'16'", "'16384'"))
    line = refusal(contract(folder, "run", "big.zen"))
    assert "line 2" in line
    assert "16384" in line
    assert "(contract.number)" in line
    assert "--no-bounds" in line
    done = contract(folder, "run", "big.zen", "--no-bounds")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["random_object"]) == 21_848  # 16,384 bytes in base64
    wider = {"PLANETMINT_CHAIN_CONTRACTS_MAX_NUMBER": "20000"}
    assert contract(folder, "run", "big.zen", env=wider).stdout == done.stdout


def test_run_says_which_bound_of_this_machine_stopped_a_contract(folder: Path) -> None:
    statement = "When I create the array of '10000' random objects of '10000' bytes"
    (folder / "heavy.zen").write_text(f"Given nothing\n{statement}\nThen print the 'array'\n")
    line = refusal(contract(folder, "run", "heavy.zen", env={"PLANETMINT_CONTRACTS_SECONDS": "0.25"}))
    assert "`heavy.zen` was stopped: " in line
    assert "0.25 s of processor time" in line
    assert "contracts.seconds" in line


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("run", "none.zen"), "Cannot read `none.zen`: No such file or directory"),
        (("run", "latin.zen"), "`latin.zen` is no contract: it is not UTF-8 at byte 11"),
        (("run", "double.zen", "--data", "none.json"), "Cannot read `none.json`"),
        (("run", "double.zen", "--data", "double.zen"), "`double.zen` cannot be read: the text is not JSON"),
        (("run", "double.zen", "--keys", "list.json"), "`list.json` must hold a JSON object like"),
        (("check", "tx.json", "--data", "data.json"), "--data and --keys go with Zencode"),
        (("run", "double.zen", "--data", "data.json"), "contracts.program"),
    ],
)
def test_files_and_settings_that_cannot_be_used_are_named(
    folder: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (folder / "latin.zen").write_bytes("Given nothn\u00fc".encode("latin-1"))
    (folder / "list.json").write_text("[1]")
    saved(folder, BUILD.create("alice"))
    program = {"PLANETMINT_CONTRACTS_PROGRAM": str(folder / "none")} if reason == "contracts.program" else {}
    assert reason in refusal(contract(folder, *arguments, env=program))


# check, of Zencode


def test_check_shows_how_much_of_each_bound_a_contract_takes(folder: Path) -> None:
    done = contract(folder, "check", "random.zen", "--data", "data.json", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["valid"], told["error"]) == (0, True, None)
    bounds = {bound["parameter"]: (bound["value"], bound["allowed"]) for bound in told["bounds"]}
    assert bounds == {
        "contracts.max_bytes": (len(RANDOM), 16_384),
        "contracts.max_data_bytes": (len('{"count": 21}'), 100_000),
        "contracts.max_statements": (3, 200),
        "contracts.max_number": (16, 10_000),
    }
    page = contract(folder, "check", "random.zen").stdout
    assert "statements      3 of 200 (contracts.max_statements)" in page
    assert "largest number  16 of 10000 (contracts.max_number)" in page
    assert "verdict         within the bounds" in page


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (RANDOM.replace("'16'", "'10001'"), "contract.number"),
        (RANDOM.replace("'16'", "'lots'"), "contract.number"),
        ("Given nothing\nThen print data\n" * 101, "contract.statements"),
        ("# " + "x" * 16_384, "contract.bytes"),
        ("Given nothing\nand debug\n", "contract.debug"),
    ],
)
def test_check_of_zencode_names_the_bound_that_is_broken(folder: Path, text: str, rule: str) -> None:
    (folder / "broken.zen").write_text(text)
    done = contract(folder, "check", "broken.zen")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("verdict")
    assert f"({rule})" in done.stdout
    assert json.loads(contract(folder, "check", "broken.zen", "--json").stdout)["error"]["rule"] == rule


# check, of transactions


def check_json(folder: Path, built: Built, *flags: str) -> tuple[int, dict[str, Any]]:
    done = contract(folder, "check", saved(folder, built), "--json", *flags)
    return done.returncode, json.loads(done.stdout)


def test_check_runs_the_script_and_the_zenroom_leaves_of_a_transaction(folder: Path) -> None:
    locked = all_of("alice", Contract(DOUBLE, {"count": 21}, {}))
    built = BUILD.draft_create(locked).scripted({}, {"result": 42}, code=DOUBLE).signed()
    code, told = check_json(folder, built)
    script, leaf = told["contracts"]
    assert (code, told["valid"], told["id"]) == (1, False, built.id)
    assert (script["field"], script["error"]["rule"]) == ("script", "contract.failed")
    # The leaf brings data of its own, the script had none; the first that fails decides.
    assert (leaf["field"], leaf["error"]) == ("inputs[0].fulfillment", None)
    built = BUILD.draft_create(locked).scripted({"count": 21}, {"result": 42}, code=DOUBLE).signed()
    code, told = check_json(folder, built)
    assert (code, told["valid"]) == (0, True)
    assert [item["error"] for item in told["contracts"]] == [None, None]


def test_check_shows_what_was_expected_and_what_was_printed(folder: Path) -> None:
    built = BUILD.draft_create("alice").scripted({"count": 21}, {"result": 43}, code=DOUBLE).signed()
    done = contract(folder, "check", saved(folder, built))
    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f"transaction {built.id}" in lines
    assert 'expected {"result":43}' in lines
    assert 'printed {"result":42}' in lines
    assert "engine . Release version: 3.16.1" in lines
    assert lines[-1].startswith("verdict refused at script: ")
    assert lines[-1].endswith("(InvalidScript, contract.output)")


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        ((), None),
        (("--zenroom", "published"), None),
        (("--zenroom", "off"), "contracts.off"),
        (("--scripts", "off"), "script.off"),
    ],
)
def test_check_follows_the_modes_that_it_is_told(folder: Path, flags: tuple[str, ...], rule: str | None) -> None:
    owner = all_of("alice", Contract(DOUBLE, {"count": 21}, {}))
    built = BUILD.draft_create(owner).scripted({"count": 21}, {"result": 42}, code=DOUBLE).signed()
    code, told = check_json(folder, built, *flags)
    assert (code, (told["error"] or {}).get("rule")) == (0 if rule is None else 1, rule)


def test_check_shows_that_bound_needs_the_owner_where_published_does_not(folder: Path) -> None:
    bare = Contract(DOUBLE, {"count": 21}, {})
    built = BUILD.draft_create(bare).scripted({"count": 21}, {"result": 42}, code=DOUBLE).signed()
    assert check_json(folder, built)[1]["error"]["rule"] == "contracts.bound"
    assert check_json(folder, built, "--zenroom", "published")[0] == 0


def test_check_finds_a_signature_that_does_not_verify(folder: Path) -> None:
    draft = BUILD.draft_create("alice").scripted({"count": 21}, {"result": 42}, code=DOUBLE)
    built = draft.signed().changed(lambda wire: wire["script"].update(outputs={"result": 42.0}))
    code, told = check_json(folder, built)
    assert (code, told["error"]["class"]) == (1, "InvalidSignature")
    assert told["contracts"] == []


def test_check_of_a_transaction_without_contracts_needs_no_engine(folder: Path) -> None:
    none = {
        "PLANETMINT_CHAIN_CONTRACTS_ZENROOM": "off",
        "PLANETMINT_CHAIN_CONTRACTS_SCRIPTS": "off",
    }
    done = contract(folder, "check", saved(folder, BUILD.create("alice")), env=none)
    assert done.returncode == 0
    assert "engine none" in done.stdout
    assert "contracts    none" in done.stdout
