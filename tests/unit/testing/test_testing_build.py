# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the builder makes is accepted by the rules, in every dialect, and is the published packages' own text."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from planetmint.testing.build import Builder, Contract, Dialect, Threshold, all_of, m_of_n, output, public_key
from planetmint.testing.ledger import Ledger
from tests.support.contract_verdicts import chain_parameters, content

VECTORS = Path(__file__).parents[2] / "vectors" / "shared"
FILES = {
    Dialect.BIGCHAINDB: ("tx_bigchaindb_2_0", "A"),
    Dialect.PLANETMINT_1: ("tx_planetmint1_2_0", "B"),
    Dialect.PLANETMINT_2: ("tx_planetmint2_3_0", "C"),
}


def published(dialect: Dialect, name: str) -> dict[str, object]:
    vectors = json.loads((VECTORS / f"{FILES[dialect][0]}.json").read_text())["vectors"]
    found: dict[str, object] = next(vector["transaction"] for vector in vectors if vector["name"] == name)
    return found


@pytest.mark.parametrize("dialect", Dialect)
def test_the_builder_makes_what_the_published_packages_made(dialect: Dialect) -> None:
    alice, bob = (f"shared/2024/{FILES[dialect][1]}/{name}" for name in ("alice", "bob"))
    builder = Builder(dialect)
    create = builder.create(alice, data=None)
    assert create.wire == published(dialect, "create_minimal")
    two = published(dialect, "create_two_signers")
    owners = two["inputs"][0]["owners_before"]  # type: ignore[index]
    assert {public_key(alice), public_key(bob)} == set(owners)


@pytest.mark.parametrize("dialect", Dialect)
def test_a_chain_of_creates_and_transfers_is_accepted(dialect: Dialect) -> None:
    builder, ledger = Builder(dialect), Ledger()
    gold = builder.create("alice", [(10, "alice"), (5, m_of_n(2, "alice", "bob", "carol"))], data="gold")
    first = builder.transfer(
        [gold.spend(0), gold.spend(1, "carol", "alice")], [(7, "bob"), (8, all_of("bob", "dora"))]
    )
    second = builder.transfer(
        [first.spend(1), first.spend(0)], [(15, Threshold(1, ("alice", all_of("bob", "carol"))))]
    )
    third = builder.transfer([second.spend(0, "bob", "carol")], [(15, "alice")], metadata=dialect.content("home"))
    ledger.take_all(item.canonical for item in (gold, first, second, third))
    assert third.asset_id == gold.id


def test_several_names_create_together() -> None:
    built = Builder(Dialect.BIGCHAINDB).create(all_of("alice", "bob"))
    assert built.wire["inputs"][0]["owners_before"] == [public_key("alice"), public_key("bob")]
    assert built.wire["outputs"] == [output(1, all_of("alice", "bob"))]
    Ledger().take(built.canonical)


def test_assets_are_composed_decomposed_and_created_again() -> None:
    builder, ledger = Builder(Dialect.PLANETMINT_2), Ledger()
    gold, tin = builder.create("alice", data="gold"), builder.create("bob", data="tin")
    both = builder.compose([gold.spend(), tin.spend()], [(3, "alice")], data="both")
    parts = builder.decompose(both.spend(), ["left", "right"])
    left = builder.create("alice", [(1, "carol")], data="left", consumes=parts.spend(0))
    ledger.take_all(item.canonical for item in (gold, tin, both, parts, left))
    assert both.asset_id == both.id
    assert parts.asset_id == both.id
    assert left.asset_id == left.id


def test_a_change_before_signing_is_signed_and_one_after_it_is_not() -> None:
    builder = Builder(Dialect.BIGCHAINDB)
    draft = builder.draft_create("alice")
    Ledger().take(draft.changed(lambda wire: wire.update(metadata={"a": 1})).signed().canonical)
    late = draft.signed().changed(lambda wire: wire.update(metadata={"a": 1}))
    verdict = Ledger().verdict(late.canonical)
    assert verdict is not None
    assert verdict.rule == "signature"
    stale = draft.signed().changed(lambda wire: wire.update(metadata={"a": 1}), new_id=False)
    verdict = Ledger().verdict(stale.canonical)
    assert verdict is not None
    assert verdict.code == "InvalidHash"


@pytest.mark.parametrize(("dialect", "file"), [(Dialect.BIGCHAINDB, "2_0"), (Dialect.PLANETMINT_2, "3_0")])
def test_elections_and_votes_are_those_of_the_vectors_to_the_last_byte(dialect: Dialect, file: str) -> None:
    """Made by the published packages; a signature depends on every byte that it covers."""
    content = json.loads((VECTORS / f"elections_{file}.json").read_text(encoding="utf-8"))
    vectors = {vector["name"]: vector for vector in content["vectors"]}
    expected = vectors["validator_election_valid"]["transaction"]
    vote = vectors["vote_valid"]
    owners = [output["public_keys"][0] for output in expected["outputs"]]
    folder = next(one for one in "ABC" if public_key(f"shared/elections/{one}/v0") == owners[0])
    voters = {f"shared/elections/{folder}/v{number}": 10 for number in range(4)}
    assert [public_key(name) for name in voters] == owners
    builder = Builder(dialect)
    (subject,) = [expected["asset"]] if "asset" in expected else expected["assets"]
    draft = builder.draft_validator_election(voters, "new", 3)
    built = draft.changed(lambda wire: wire.update({dialect.asset_member: dialect.assets(subject)})).signed()
    assert built.wire == expected
    (context,) = vote["context"]
    election = replace(built, wire=context, asset_id=context["id"])
    spends = [election.spend(item["fulfills"]["output_index"]) for item in vote["transaction"]["inputs"]]
    amount = int(vote["transaction"]["outputs"][0]["amount"])
    assert builder.vote(spends, amount=amount).wire == vote["transaction"]


@pytest.mark.parametrize("dialect", Dialect)
def test_a_script_has_the_shape_of_its_version_and_is_signed(dialect: Dialect) -> None:
    built = Builder(dialect).draft_create("alice").scripted({"a": 1}, ["b"], code="c", policies={}).signed()
    names = ("inputs", "outputs") if dialect is Dialect.PLANETMINT_2 else ("input", "output")
    script = built.wire["script"]
    assert [script[name] for name in names] == [{"a": 1}, ["b"]]
    assert script["policies"] == {}
    assert script["code"] == "c" if dialect is Dialect.PLANETMINT_2 else script["code"]["raw"] == "c"
    parameters = chain_parameters("bound")
    Ledger(parameters, engine=content).take(built.canonical)
    late = built.changed(lambda wire: wire["script"].update(policies={"raw": {}}))
    verdict = Ledger(parameters, engine=content).verdict(late.canonical)
    assert verdict is not None
    assert verdict.rule == "signature"


def test_a_contract_s_output_shows_a_key_in_its_place_and_commits_to_its_text() -> None:
    contract = Contract("Given nothing", shown="somebody")
    made = output(5, all_of("alice", contract))
    nodes = made["condition"]["details"]["subconditions"]
    assert nodes[1] == {"type": "zenroom-sha-256", "public_key": public_key("somebody")}
    assert made["public_keys"] == [public_key("alice")]
    others = (contract, Contract("Given nothing", {"a": 1}, {"b": 2}, "somebody"))
    assert {output(5, all_of("alice", other))["condition"]["uri"] for other in others} == {
        made["condition"]["uri"]
    }
    assert output(5, all_of("alice", Contract("Given", shown="somebody"))) != made


def test_a_ledger_without_an_engine_says_so() -> None:
    built = Builder(Dialect.PLANETMINT_2).draft_create("alice").scripted({}, []).signed()
    with pytest.raises(AssertionError, match="no engine"):
        Ledger(chain_parameters("bound")).take(built.canonical)
