# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections worked out a second time, from validation 4.5 and the JSON of transactions alone.

No code of the node is used. Nothing is carried from block to block but the blocks: every tally is summed up from
the first block on, so that a running tally that goes wrong anywhere is found.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import base58

Wire = Mapping[str, Any]

OPENING = ("VALIDATOR_ELECTION", "CHAIN_MIGRATION_ELECTION")
POWER_BOUND = 1152921504606846975
"""(2**63 - 1) / 8, rounded down."""

_SUFFIX = "-migrated-at-height-"
_DECODERS = {
    "ed25519-base16": base64.b16decode,
    "ed25519-base32": base64.b32decode,
    "ed25519-base64": base64.b64decode,
}


def subject(wire: Wire) -> Wire:
    """The one asset, or the first of several."""
    asset: Wire = wire["asset"] if wire["version"] == "2.0" else wire["assets"][0]
    return asset


def shown(key: bytes, power: int) -> dict[str, object]:
    """A validator as `GET /validators` shows it."""
    value = base64.b64encode(key).decode()
    return {"public_key": {"type": "ed25519-base64", "value": value}, "voting_power": power}


def after(validators: Mapping[bytes, int], key: bytes, power: int) -> dict[bytes, int] | None:
    """The set with one power changed; None where rule 6 of validation 4.4 forbids it."""
    changed = {**validators, key: power}
    if power == 0:
        del changed[key]
    total = sum(validators.values())
    allowed = 3 * power < total and (power > 0 or key in validators)
    return changed if allowed and changed and sum(changed.values()) <= POWER_BOUND else None


@dataclass
class Ended:
    """What the elections of one block changed."""

    records: list[str] = field(default_factory=list)
    validators: dict[bytes, int] | None = None
    update: tuple[bytes, int] | None = None
    chain: tuple[str, int] | None = None


@dataclass
class Elections:
    """A chain's elections.

    Attributes:
        name: Of the chain.
        sets: Validator sets with the height from which each holds, oldest first; order of keys is that of storing.
    """

    name: str
    sets: list[tuple[int, dict[bytes, int]]]
    blocks: dict[int, Sequence[Wire]] = field(default_factory=dict)
    concluded: dict[str, int] = field(default_factory=dict)

    def opened(self) -> dict[str, tuple[int, Wire]]:
        """Height and transaction of every election, by id."""
        found = ((height, wire) for height, block in self.blocks.items() for wire in block)
        return {wire["id"]: (height, wire) for height, wire in found if wire["operation"] in OPENING}

    def votes(self, election_id: str) -> int:
        """Power given to an election in all blocks."""
        address = base58.b58encode(bytes.fromhex(election_id)).decode()
        return sum(
            int(output["amount"])
            for block in self.blocks.values()
            for wire in block
            if wire["operation"] == "VOTE" and subject(wire)["id"] == election_id
            for output in wire["outputs"]
            if output["public_keys"] == [address] and output["condition"]["details"].get("public_key") == address
        )

    def add(self, height: int, accepted: Sequence[Wire]) -> Ended:
        """Take a block and work out what its elections change."""
        before = {election_id: self.votes(election_id) for election_id in self.opened()}
        self.blocks[height] = accepted
        opened = self.opened()
        ended = Ended()
        for wire in accepted:
            if wire["operation"] in OPENING:
                ended.records.append(wire["id"])
            elif wire["operation"] == "VOTE" and self._counts(wire):
                ended.records.append(subject(wire)["id"])
        groups = dict.fromkeys(subject(wire)["id"] for wire in accepted if wire["operation"] == "VOTE")
        for election_id in groups:
            if election_id in before and self._concludes(height, *opened[election_id], ended):
                self.concluded[election_id] = height
                ended.records.append(election_id)
                self._apply(height, opened[election_id][1], ended)
        ended.records = list(dict.fromkeys(ended.records))
        if ended.validators is not None:
            self.sets.append((height + 1, ended.validators))
        if ended.chain is not None:
            self.name = ended.chain[0]
        return ended

    def effects(self, ended: Ended) -> dict[str, object]:
        """The members that docs/decisions/0002 adds to the effects of the newest block."""
        members: dict[str, object] = {}
        if ended.records:
            members["elections"] = [self._record(election_id) for election_id in ended.records]
        if ended.validators is not None:
            members["validators"] = [shown(*item) for item in ended.validators.items()]
        if ended.chain is not None:
            members["chain"] = {"chain_id": ended.chain[0], "shift": ended.chain[1]}
        return members

    def _counts(self, vote: Wire) -> bool:
        election_id = subject(vote)["id"]
        address = base58.b58encode(bytes.fromhex(election_id)).decode()
        return election_id in self.opened() and any(item["public_keys"] == [address] for item in vote["outputs"])

    def _concludes(self, height: int, opened_at: int, election: Wire, ended: Ended) -> bool:
        total = sum(int(output["amount"]) for output in election["outputs"])
        if election["id"] in self.concluded or 3 * self.votes(election["id"]) < 2 * total:
            return False
        if max(since for since, _ in self.sets if since <= height - 1) > opened_at:
            return False
        pending = ended.chain if election["operation"] == "CHAIN_MIGRATION_ELECTION" else ended.validators
        return pending is None

    def _apply(self, height: int, election: Wire, ended: Ended) -> None:
        if election["operation"] == "CHAIN_MIGRATION_ELECTION":
            end = f"{_SUFFIX}{height - 1}"
            ended.chain = (self.name.split(_SUFFIX)[0][: 50 - len(end)] + end, height)
            return
        key, power = wanted(election)
        ended.validators = after(self.sets[-1][1], key, power)
        ended.update = None if ended.validators is None else (key, power)

    def _record(self, election_id: str) -> list[object]:
        height, wire = self.opened()[election_id]
        total = sum(int(output["amount"]) for output in wire["outputs"])
        change = shown(*wanted(wire)) if wire["operation"] == "VALIDATOR_ELECTION" else None
        votes = str(self.votes(election_id))
        end = self.concluded.get(election_id)
        return [election_id, wire["operation"], height, str(total), votes, change, end]


def wanted(election: Wire) -> tuple[bytes, int]:
    """Key and power that a validator election asks for."""
    data = subject(election)["data"]
    return _DECODERS[data["public_key"]["type"]](data["public_key"]["value"]), data["power"]
