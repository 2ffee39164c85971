# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections and votes made for operators: what is signed, and what the rules make of it (elections 1 and 5)."""

import json
from hashlib import sha256

import base58
import pytest

from planetmint.app.ballots import (
    Share,
    Version,
    cast_vote,
    propose_migration,
    propose_validator,
    public_key_of,
)
from planetmint.model.errors import InvalidPowerChange, InvalidProposer, InvalidTransaction, SchemaValidationError
from planetmint.model.transaction import OutputRef
from planetmint.model.validator import Validator
from planetmint.testing.ledger import Ledger

SEEDS = [sha256(f"operator {number}".encode()).digest() for number in range(4)]
VALIDATORS = tuple(Validator(public_key_of(seed), 10) for seed in SEEDS)
NEW = Validator(public_key_of(sha256(b"new").digest()), 3)
NODE_ID = "93c27b" + "0" * 34

versions = pytest.mark.parametrize("version", ["2.0", "3.0"])


@versions
def test_what_is_made_passes_the_rules_in_each_dialect(version: Version) -> None:
    ledger = Ledger(validators=VALIDATORS)
    election = propose_validator(NEW, NODE_ID, "nonce", VALIDATORS, SEEDS[0], version)
    migration = propose_migration("nonce", VALIDATORS, SEEDS[1], version)
    ledger.take_all([election.canonical, migration.canonical])
    for index, seed in enumerate(SEEDS):
        for item in (election, migration):
            ledger.take(cast_vote(item.id, [Share(OutputRef(item.id, index), 10)], seed, version).canonical)


@versions
def test_elections_1_form_of_a_validator_election(version: Version) -> None:
    wire = json.loads(propose_validator(NEW, NODE_ID, "6416abbf", VALIDATORS, SEEDS[0], version).canonical)
    asset = wire["asset"] if version == "2.0" else wire["assets"][0]
    assert "assets" not in wire or len(wire["assets"]) == 1
    assert asset == {
        "data": {
            "node_id": NODE_ID,
            "power": 3,
            "public_key": {"type": "ed25519-base16", "value": NEW.public_key.hex().upper()},
            "seed": "6416abbf",
        }
    }
    keys = [base58.b58encode(validator.public_key).decode() for validator in VALIDATORS]
    assert [output["public_keys"] for output in wire["outputs"]] == [[key] for key in keys]
    assert [output["amount"] for output in wire["outputs"]] == ["10"] * 4
    assert [(item["owners_before"], item["fulfills"]) for item in wire["inputs"]] == [([keys[0]], None)]
    assert (wire["operation"], wire["metadata"], wire["version"]) == ("VALIDATOR_ELECTION", None, version)


@versions
def test_elections_1_form_of_a_vote(version: Version) -> None:
    election_id = sha256(b"election").hexdigest()
    shares = [Share(OutputRef(election_id, 2), 7), Share(OutputRef(sha256(b"given").hexdigest(), 0), 4)]
    wire = json.loads(cast_vote(election_id, shares, SEEDS[0], version).canonical)
    assert (wire["asset"] if version == "2.0" else wire["assets"][0]) == {"id": election_id}
    address = base58.b58encode(bytes.fromhex(election_id)).decode()
    (output,) = wire["outputs"]
    assert (output["amount"], output["public_keys"]) == ("11", [address])
    assert output["condition"]["details"] == {"type": "ed25519-sha-256", "public_key": address}
    assert [item["fulfills"]["output_index"] for item in wire["inputs"]] == [2, 0]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (NEW._replace(power=14), InvalidPowerChange, "`power` change must be less than 1/3 of total power"),
        (NEW._replace(power=0), InvalidPowerChange, "only a validator can be removed"),
    ],
)
def test_elections_2_a_change_that_the_rules_refuse_is_not_signed(
    change: Validator, error: type[InvalidTransaction], text: str
) -> None:
    with pytest.raises(error, match=text):
        propose_validator(change, NODE_ID, "nonce", VALIDATORS, SEEDS[0])


def test_elections_2_a_stranger_proposes_nothing() -> None:
    stranger = sha256(b"stranger").digest()
    with pytest.raises(InvalidProposer, match="Public key is not a part of the validator set"):
        propose_validator(NEW, NODE_ID, "nonce", VALIDATORS, stranger)
    with pytest.raises(InvalidProposer):
        propose_migration("nonce", VALIDATORS, stranger)


def test_two_elections_of_equal_content_differ_by_their_nonce() -> None:
    ids = {propose_migration(nonce, VALIDATORS, SEEDS[0]).id for nonce in ("a", "b", "a")}
    assert len(ids) == 2


def test_a_vote_of_nothing_is_refused_by_its_form() -> None:
    with pytest.raises(SchemaValidationError):
        cast_vote("ab" * 32, [], SEEDS[0])
