# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chains written as text are built, signed and accepted."""

import re

import pytest

from planetmint.testing import scenario
from planetmint.testing.build import Dialect, ballot_box, public_key, validator_set
from planetmint.testing.ledger import BlockLedger, Ledger
from planetmint.testing.scenario import play
from tests.support.contract_verdicts import chain_parameters, content, engine_here

TRANSFERS = """
    gold = CREATE alice+bob: 10 alice, 5 2:alice+bob+carol   # two creators
    move = TRANSFER gold.0 gold.1[alice+carol]: 7 bob, 8 alice+bob

    back = TRANSFER move.1: 8 alice
"""


def test_the_scenario_of_the_docstring_is_accepted() -> None:
    (text,) = re.findall(r"```\n(.*?)```", scenario.__doc__ or "", re.DOTALL)
    chain = play(text)
    names = ["gold", "move", "tin", "both", "parts", "left", "safe", "open", "join", "leave", "part"]
    assert list(chain) == names
    ledger = Ledger(chain_parameters("bound"), validator_set({"v0": 10, "v1": 20}), content)
    ledger.take_all(built.canonical for built in chain.values())
    assert chain["join"].wire["inputs"][0]["owners_before"] == [public_key("v1")]
    assert chain["part"].wire["outputs"][0]["public_keys"] == [ballot_box(chain["join"].id).public_key]
    assert chain["left"].wire["assets"] == [{"data": "left"}]
    assert chain["gold"].wire["outputs"][1]["condition"]["details"]["threshold"] == 2


@pytest.mark.parametrize("dialect", Dialect)
def test_transfers_are_accepted_in_every_dialect(dialect: Dialect) -> None:
    chain = play(TRANSFERS, dialect)
    Ledger().take_all(built.canonical for built in chain.values())
    assert chain["gold"].wire["inputs"][0]["owners_before"] == [public_key("alice"), public_key("bob")]
    assert chain["back"].wire["outputs"][0]["amount"] == "8"
    assert chain["back"].asset_id == chain["gold"].id


@pytest.mark.parametrize("dialect", Dialect)
def test_contracts_of_a_scenario_are_satisfied_in_every_dialect(dialect: Dialect) -> None:
    chain = play("safe = CREATE bob&: 7 2:bob+carol&\nopen = TRANSFER safe.0: 7 carol", dialect)
    with engine_here() as engine:
        Ledger(chain_parameters("bound"), engine=engine).take_all(built.canonical for built in chain.values())
    kinds = chain["safe"].wire["outputs"][0]["condition"]["uri"].partition("subtypes=")[2]
    assert kinds == "ed25519-sha-256,zenroom-sha-256"
    assert chain["safe"].wire["outputs"][0]["public_keys"] == [public_key("bob"), public_key("carol")]


@pytest.mark.parametrize("dialect", Dialect)
def test_an_election_of_a_scenario_is_concluded_by_its_votes(dialect: Dialect) -> None:
    chain = play("join = VALIDATOR_ELECTION new 3: 10 v0, 20 v1\nyes = VOTE join.1: 20 join", dialect)
    ledger = BlockLedger(validator_set({"v0": 10, "v1": 20}))
    ledger.good_block(chain["join"].canonical)
    result = ledger.good_block(chain["yes"].canonical)
    assert result.validators == validator_set({"v0": 10, "v1": 20, "new": 3})


def test_two_transfers_of_one_output_differ() -> None:
    chain = play("a = CREATE x: 1 x\nb = TRANSFER a.0: 1 y\nc = TRANSFER a.0: 1 y")
    assert chain["b"].id != chain["c"].id


@pytest.mark.parametrize(
    "line",
    [
        "gold",
        "gold = CREATE",
        "gold = CREATE alice",
        "gold = MINT alice: 1 alice",
        "gold = CREATE a lice: 1 alice",
        "gold = CREATE alice: alice",
        "gold = CREATE alice: 1 2 alice",
        "gold = TRANSFER tin.0: 1 alice",
        "gold = VALIDATOR_ELECTION new: 1 alice",
        "gold = VALIDATOR_ELECTION new 3 of alice: 1 alice",
        "tin = CREATE bob: 1 bob\ngold = TRANSFER tin.1: 1 alice",
        "tin = CREATE bob: 1 bob\ngold = TRANSFER tin: 1 alice",
    ],
)
def test_a_line_that_makes_no_sense_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="gold"):
        play(line)
