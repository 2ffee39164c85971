# SPDX-License-Identifier: AGPL-3.0-or-later
"""docs/network.md, typed line by line on five machines: found a network, add, remove, migrate, post throughout.

A client posts at one node and hears of it at another after each chapter; at the end a subscriber that begins at
the first block hears of all of it, each once and in order, across the migration.
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.machines import CommandFailed, Machine, Machines
from tests.support.network import until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "network.md"
FOUNDERS = ("node1", "node2", "node3", "node4")
API = "localhost:9984/api/v1"
pytestmark = pytest.mark.timeout(900)
STREAM = "ws://{}:9985/api/v1/streams/valid_transactions"


@pytest.fixture
def machines() -> Iterator[Machines]:
    # A short name: Unix sockets are made below it.
    with (
        tempfile.TemporaryDirectory(prefix="net") as folder,
        Machines(Path(folder) / "m", (*FOUNDERS, "node5", "node6")) as made,
    ):
        yield made
        for machine in made.by_name.values():  # shown where the test fails
            print(f"--- log of {machine.name}", machine.log[-6_000:], sep="\n")


class Reader:
    """Types what the page shows, chapter by chapter, and puts in what the page has names for."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.names: dict[str, str] = {}
        self.chapters = dict(
            re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        )

    def settings(self) -> None:
        """Chapter 1: every machine gets the settings file that the page shows, with its own name."""
        (text,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        for name, machine in self.machines.by_name.items():
            (machine.folder / "planetmint.json").write_text(text.replace("node1", name))

    def type(self, title: str) -> dict[str, list[str]]:
        """Type a chapter; what was printed, by machine, an entry for each line typed."""
        (chapter,) = [text for name, text in self.chapters.items() if name.endswith(title)]
        printed: dict[str, list[str]] = {name: [] for name in self.machines.by_name}
        for line in re.findall(r"^(\w+\$ .+)$", chapter, re.MULTILINE):
            place, _, command = line.partition("$ ")
            for name in FOUNDERS if place == "each" else (place,):
                printed[name].append(self._type(name, command))
        return printed

    def _type(self, name: str, command: str) -> str:
        filled = re.sub(r"\b(?:KEY|ID|PEER)\d\b|\bELECTION\b", lambda found: self.names[found[0]], command)
        if command == "planetmint status":
            ready(self.machines[name])  # what the page shows is a node that has come up
        answer = self.machines[name].run(filled)
        if command == "planetmint network show":
            shown = json.loads(answer)
            number = name.removeprefix("node")
            self.names |= {f"KEY{number}": shown["validator"], f"ID{number}": shown["node_id"]}
            self.names[f"PEER{number}"] = shown["p2p_address"]
        if proposed := re.search(r"\[SUCCESS\] Submitted proposal with id: ([0-9a-f]{64})", answer):
            self.names["ELECTION"] = proposed[1]
        return answer


def ask(machine: Machine, path: str) -> Any:
    return json.loads(machine.run(f"curl -s {API}{path}"))


def height(machine: Machine) -> int:
    return int(ask(machine, "/blocks/latest")["height"])


def validators(machine: Machine) -> dict[str, int]:
    return {one["public_key"]["value"]: one["voting_power"] for one in ask(machine, "/validators")}


def ready(machine: Machine) -> None:
    """Wait until a node takes transactions: it has caught up, and the network makes blocks."""
    probe = "curl -s -o /dev/null -w '%{http_code}' localhost:9984/health/ready"
    until(lambda: machine.run(probe) == "200", f"{machine.name} takes transactions")


def post(at: Machine, hear: str, name: str, *, wait: bool = True) -> int:
    """Post at one machine with mode=commit, and see it on the stream of another; the height."""
    if wait:
        ready(at)
    return int(client(at, "post", f"http://{at.address}:9984", STREAM.format(hear), name))


def client(at: Machine, *arguments: str) -> str:
    return at.beside(sys.executable, "-m", "tests.support.first_client", *arguments)


def agree(machines: list[Machine]) -> int:
    """Wait until all stand at one height, and hold all their app hashes against one another."""
    top = until(
        lambda: max(map(height, machines)) == min(map(height, machines)) and height(machines[0]), "one height"
    )
    hashes = {tuple(ask(one, f"/blocks/{number}")["app_hash"] for number in range(1, top + 1)) for one in machines}
    assert len(hashes) == 1
    return top


def test_four_machines_become_a_network_that_grows_shrinks_and_migrates(machines: Machines) -> None:
    one, two, three, four, five, six = machines.by_name.values()
    reader = Reader(machines)
    reader.settings()

    # Keys, genesis, start (issue: "four empty machines' worth of nodes to a network").
    reader.type("Make the keys")
    reader.type("Found the chain")
    reader.type("Start")
    assert validators(four) == {reader.names[f"KEY{number}"]: 10 for number in range(1, 5)}
    seen = [post(one, four.address, "founded"), post(three, two.address, "everywhere")]

    # A fifth by election.
    added = reader.type("A fifth validator")
    assert added["node2"][-1].endswith("status=ongoing")
    assert added["node3"][-1].endswith("status=concluded")
    assert validators(one)[reader.names["KEY5"]] == 10
    seen.append(post(five, one.address, "fifth"))
    agree([one, two, three, four, five])

    # The fourth goes.
    removed = reader.type("Removing one")
    assert removed["node5"][-1].endswith("status=concluded")
    assert set(validators(one)) == {reader.names[f"KEY{number}"] for number in (1, 2, 3, 5)}
    seen.append(post(two, five.address, "removed"))
    # The fifth counts: with four of equal power, three are enough and two are not.
    three.run("systemctl stop planetmint")
    seen.append(post(five, one.address, "three of four"))
    three.run("systemctl start planetmint")

    # The chain moves on. It halts first: reads are answered, transactions are not.
    chapter = reader.chapters["7. Moving the chain"]
    before, after = chapter.split("Now every operator")
    reader.chapters["halting"] = before
    reader.chapters["going on"] = after
    halted = reader.type("halting")
    decided = agree([one, two, three, five])
    name = f"our-chain-migrated-at-height-{decided - 1}"
    assert f"chain_id={name}" in halted["node3"][-1]
    with pytest.raises(CommandFailed, match="503"):
        post(one, two.address, "halted", wait=False)
    assert height(one) == decided
    going_on = reader.type("going on")
    assert name in going_on["node5"][-1]

    seen.append(post(five, two.address, "migrated"))
    seen.append(post(one, five.address, "on and on"))
    assert seen == sorted(seen)
    assert seen[-2] > decided
    assert ask(one, f"/blocks/{decided + 1}")["height"] == decided + 1
    agree([one, two, three, five])
    assert validators(one) == {reader.names[f"KEY{number}"]: 10 for number in (1, 2, 3, 5)}

    # A sixth joins the chain that goes on.
    joined = reader.type("Joining after a migration")
    assert name in joined["node6"][-1]
    seen.append(post(six, one.address, "sixth"))
    agree([one, two, three, five, six])

    # The old history is readable, and a subscriber from the beginning hears of all of it, across both names.
    heard = json.loads(client(six, "hear", STREAM.format(six.address), str(seen[-1])))
    assert [tuple(one) for one in heard] == sorted({tuple(one) for one in heard})
    assert set(seen) <= {at for at, _ in heard}
    assert json.loads(one.run("planetmint verify 2>/dev/null"))["found"] == []


def test_every_chapter_with_commands_is_typed() -> None:
    """So that nobody adds a chapter that nothing runs."""
    reader = re.findall(r"^## (?:\d\. )?(.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    with_commands = {title for title, text in reader if re.search(r"^\w+\$ ", text, re.MULTILINE)}
    assert with_commands == {
        "Make the keys", "Found the chain", "Start", "A fifth validator", "Removing one", "Moving the chain",
        "Joining after a migration",
    }  # fmt: skip
    blocks = re.findall(r"^```(\w+)\n", PAGE.read_text(), re.MULTILINE)
    assert set(blocks) == {"console", "json", "text"}
