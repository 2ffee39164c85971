# SPDX-License-Identifier: AGPL-3.0-or-later
"""`planetmint election` beside a running embedded node: outputs, exit codes, failures (elections 5)."""

import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import base58
import pytest
from nacl.bindings import crypto_sign_seed_keypair

from planetmint.app.ballots import Share, cast_vote
from planetmint.cli.main import run
from planetmint.model.transaction import OutputRef
from planetmint.model.validator import Validator
from tests.support.node import NodeProcess

NODE_ID = "93c27bfa" + "0" * 32
COMMAND = (sys.executable, "-m", "planetmint")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


def key_file(folder: Path, name: str) -> tuple[Path, str]:
    """A key file as the engine writes it, and the public key in base64."""
    public, secret = crypto_sign_seed_keypair(sha256(name.encode()).digest())
    path = folder / f"{name}.json"
    value = base64.b64encode(secret).decode()
    path.write_text(json.dumps({"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": value}}))
    return path, base64.b64encode(public).decode()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("elections") / "data") as running:
        yield running


@pytest.fixture
def own_key(node: NodeProcess) -> str:
    return str(node.data_dir / "priv_validator_key.json")


@pytest.fixture
def election(node: NodeProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `planetmint election` with the settings of the node."""
    for name, value in node.environment().items():
        if name.startswith("PLANETMINT_") or name == "HOME":
            monkeypatch.setenv(name, value)

    def command(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run(["election", *arguments])
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return command


def ask(node: NodeProcess, path: str) -> Any:
    with urllib.request.urlopen(f"{node.base_url}/api/v1{path}", timeout=30) as answer:
        return json.load(answer)


def failure(ended: Ended) -> str:
    """The one line by which a command that failed says why."""
    assert (ended.code, ended.out) == (1, ""), ended
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: ")


def proposed(ended: Ended) -> str:
    """The id of the election that a command proposed, which it said before as well."""
    assert ended.code == 0, ended
    prefix, _, election_id = ended.out.rstrip("\n").rpartition(" ")
    assert prefix == "[SUCCESS] Submitted proposal with id:"
    assert f"The election has the id {election_id}; waiting for its block." in ended.err.splitlines()
    return election_id


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_elections_5_a_validator_is_added_and_removed(
    version: str, node: NodeProcess, election: Command, own_key: str, tmp_path: Path
) -> None:
    _, public = key_file(tmp_path, f"new {version}")
    dialect = ("--private-key", own_key, "--version", version)
    opened = proposed(election("new", "upsert-validator", public, "1", NODE_ID, *dialect))
    before = f"public_key={public}\npower=1\nnode_id={NODE_ID}\nstatus="
    assert election("show", opened)[:2] == (0, f"{before}ongoing\n")
    voted = election("approve", opened, *dialect)
    assert voted[:2] == (0, "[SUCCESS] Your vote has been submitted\n")
    assert election("show", opened)[:2] == (0, f"{before}concluded\n")
    assert election("show", opened.upper()).out == f"{before}concluded\n"
    shown = {item["public_key"]["value"]: item["voting_power"] for item in ask(node, "/validators")}
    assert shown[public] == 1
    stored = ask(node, f"/transactions/{opened}")
    assert (stored["version"], stored["operation"]) == (version, "VALIDATOR_ELECTION")
    # With one of eleven parts of the power the old validator still decides alone.
    removal = proposed(election("new", "upsert-validator", public, "0", NODE_ID, *dialect))
    assert election("approve", removal, *dialect).code == 0
    assert public not in [item["public_key"]["value"] for item in ask(node, "/validators")]


def test_elections_4_a_chain_migration_is_decided_and_the_embedded_node_goes_on(
    node: NodeProcess, election: Command, own_key: str
) -> None:
    opened = proposed(election("new", "chain-migration", "--private-key", own_key))
    assert election("show", opened)[:2] == (0, "status=ongoing\n")
    assert election("approve", opened, "--private-key", own_key).code == 0
    assert election("show", opened)[:2] == (0, "status=concluded\n")
    after = proposed(election("new", "chain-migration", "--private-key", own_key))
    assert ask(node, f"/transactions/{after}")["operation"] == "CHAIN_MIGRATION_ELECTION"
    assert "migrates by itself" in failure(election("migrate"))


def test_elections_3_an_election_is_inconclusive_once_the_validators_have_changed(
    election: Command, own_key: str, tmp_path: Path
) -> None:
    signed = ("--private-key", own_key)
    _, public = key_file(tmp_path, "sudden")
    slow = proposed(election("new", "chain-migration", *signed))
    for power in ("1", "0"):
        quick = proposed(election("new", "upsert-validator", public, power, NODE_ID, *signed))
        assert election("approve", quick, *signed).code == 0
    assert election("show", slow)[:2] == (0, "status=inconclusive\n")


def test_elections_5_scripts_that_read_both_streams_find_id_and_status(node: NodeProcess, own_key: str) -> None:
    def script(*arguments: str) -> str:
        ended = subprocess.run(
            [*COMMAND, "election", *arguments],
            env=node.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    said = script("new", "chain-migration", "--private-key", own_key)
    (success,) = [line for line in said.splitlines() if "SUCCESS" in line]
    shown = script("show", success.split()[-1])
    assert shown.splitlines()[-1].partition("=")[2] == "ongoing"


# Delegation


def test_elections_1_votes_that_were_given_away_are_cast_by_their_new_holder(
    node: NodeProcess, election: Command, own_key: str, tmp_path: Path
) -> None:
    opened = proposed(election("new", "chain-migration", "--private-key", own_key))
    holder_file, holder = key_file(tmp_path, "holder")
    give_away(node, opened, Path(own_key), base64.b64decode(holder))
    left = failure(election("approve", opened, "--private-key", own_key))
    assert left == "Failed to commit vote: the key has given all its votes in this election already"
    assert election("show", opened).out == "status=ongoing\n"
    assert election("approve", opened, "--private-key", str(holder_file)).code == 0
    assert election("show", opened).out == "status=concluded\n"


def give_away(node: NodeProcess, election_id: str, key: Path, holder: bytes) -> None:
    """Transfer all votes of the node's own key to another one."""
    seed = base64.b64decode(json.loads(key.read_text())["priv_key"]["value"])[:32]
    vote = cast_vote(election_id, [Share(OutputRef(election_id, 0), 10)], seed, holder=holder)
    request = urllib.request.Request(
        f"{node.base_url}/api/v1/transactions?mode=commit",
        vote.canonical,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 202


# Failures


def test_elections_5_key_not_among_the_voters(election: Command, own_key: str, tmp_path: Path) -> None:
    opened = proposed(election("new", "chain-migration", "--private-key", own_key))
    stranger, _ = key_file(tmp_path, "stranger")
    assert failure(election("approve", opened, "--private-key", str(stranger))) == (
        "The key you provided does not match any of the eligible voters in this election."
    )


@pytest.mark.parametrize("power", ["4", "10", "1000000"])
def test_elections_5_power_of_a_third_or_more(power: str, election: Command, own_key: str, tmp_path: Path) -> None:
    _, public = key_file(tmp_path, "mighty")
    ended = election("new", "upsert-validator", public, power, NODE_ID, "--private-key", own_key)
    assert failure(ended) == "`power` change must be less than 1/3 of total power"


def test_elections_5_initiator_is_no_validator(election: Command, tmp_path: Path) -> None:
    stranger, public = key_file(tmp_path, "stranger")
    signed = ("--private-key", str(stranger))
    for ended in (
        election("new", "upsert-validator", public, "1", NODE_ID, *signed),
        election("new", "chain-migration", *signed),
    ):
        assert failure(ended) == "Public key is not a part of the validator set"


def test_elections_5_key_file_is_missing_or_none(election: Command, tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    _, public = key_file(tmp_path, "new")
    for start in (
        ("new", "upsert-validator", public, "1", NODE_ID),
        ("new", "chain-migration"),
        ("approve", "ab" * 32),
    ):
        ended = election(*start, "--private-key", str(missing))
        assert failure(ended) == f"[Errno 2] No such file or directory: '{missing}'"
        assert "holds no private key" in failure(election(*start, "--private-key", str(wrong)))


@pytest.mark.parametrize("election_id", ["ab" * 32, "nonsense", "../validators"])
def test_elections_5_unknown_election(election_id: str, election: Command, own_key: str) -> None:
    told = f"No election found with election_id {election_id}"
    assert failure(election("show", election_id)) == told
    assert failure(election("approve", election_id, "--private-key", own_key)) == told


def test_elections_5_what_is_no_election(election: Command, node: NodeProcess, own_key: str) -> None:
    opened = proposed(election("new", "chain-migration", "--private-key", own_key))
    assert election("approve", opened, "--private-key", own_key).code == 0
    address = base58.b58encode(bytes.fromhex(opened)).decode()
    (vote,) = [item["transaction_id"] for item in ask(node, f"/outputs?public_key={address}")]
    assert failure(election("show", vote)) == f"No election found with election_id {vote}"
    ended = election("approve", vote, "--private-key", own_key)
    assert failure(ended) == f"No election found with election_id {vote}"


def test_elections_5_second_vote(election: Command, own_key: str) -> None:
    opened = proposed(election("new", "chain-migration", "--private-key", own_key))
    assert election("approve", opened, "--private-key", own_key).code == 0
    told = failure(election("approve", opened, "--private-key", own_key))
    assert told.startswith("Failed to commit vote: ")


def test_elections_5_the_node_refuses(
    election: Command, own_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = base64.b64decode(json.loads(Path(own_key).read_text())["pub_key"]["value"])
    monkeypatch.setattr("planetmint.cli.election.validators_of", lambda _: (Validator(own, 11),))
    ended = election("new", "chain-migration", "--private-key", own_key)
    assert failure(ended).startswith(
        "Failed to commit election proposal: Invalid transaction (UnequalValidatorSet): "
    )


def test_elections_5_the_node_does_not_run(
    election: Command, own_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANETMINT_SERVER_BIND", "127.0.0.1:9")
    assert "The node does not answer at 127.0.0.1:9" in failure(
        election("new", "chain-migration", "--private-key", own_key)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("new",),
        ("new", "chain-migration"),
        ("new", "upsert-validator", "key", "1", "id"),
        ("new", "upsert-validator", "key", "much", "id", "--private-key", "x"),
        ("new", "chain-migration", "--private-key", "x", "--version", "4.0"),
        ("approve", "ab" * 32),
        ("show",),
        ("nothing",),
    ],
)
def test_elections_5_wrong_usage(arguments: tuple[str, ...], election: Command) -> None:
    ended = election(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: planetmint election")


@pytest.mark.parametrize("public", ["", "AAAA", "not base64!", "é" * 44])
def test_a_public_key_that_is_none_is_refused_before_anything_is_asked(
    public: str, election: Command, own_key: str
) -> None:
    ended = election("new", "upsert-validator", public, "1", NODE_ID, "--private-key", own_key)
    assert "is no public key" in failure(ended)


def test_a_power_beyond_the_engines_bound_is_refused(election: Command, own_key: str, tmp_path: Path) -> None:
    _, public = key_file(tmp_path, "new")
    for power in ("-1", str(2**63)):
        ended = election("new", "upsert-validator", "--private-key", own_key, "--", public, power, NODE_ID)
        assert "A power is a whole number" in failure(ended)
