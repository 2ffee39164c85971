# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts of the published Python packages, which carry another server's engine calls and comparison.

Issue item "contracts made by the published Python packages are accepted and their tampered forms refused".
"""

import copy
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planetmint.contracts import Purpose
from planetmint.model.errors import InvalidTransaction
from planetmint.testing.build import Builder, Contract, Dialect, identified
from planetmint.testing.ledger import Engine, Ledger
from tests.differential.contracts import DIFFERENCES, PARAMETERS, STATE, Case, Published, make_case, published
from tests.support.contract_engine import contract_engine

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "shared" / "zenroom_conditions.json"
CASES = 150
SEED = bytes(range(32))

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("contracts")]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with contract_engine() as run:
        yield run


@pytest.fixture(scope="module")
def first() -> Iterator[Published]:
    with published("contracts1") as worker:
        yield worker


@pytest.fixture(scope="module")
def second() -> Iterator[Published]:
    with published("contracts2") as worker:
        yield worker


def vector(name: str) -> dict[str, Any]:
    found = [item for item in json.loads(VECTORS.read_text())["vectors"] if item["name"] == name]
    value: dict[str, Any] = found[0]
    return value


def verdict(engine: Engine, wire: dict[str, Any]) -> InvalidTransaction | None:
    return Ledger(PARAMETERS, engine=engine).verdict(json.dumps(wire).encode())


def damaged(wire: dict[str, Any], *path: Any, value: Any) -> dict[str, Any]:
    """A copy in which one member is another, with the id that fits it."""
    changed = copy.deepcopy(wire)
    at = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return identified(changed)


def test_a_condition_made_by_the_published_package_is_accepted_and_its_tampered_forms_refused(
    engine: Engine, first: Published
) -> None:
    """transactions 5.4, as published: the package makes the fulfillment, the transaction and its id."""
    assert first.versions == {
        "planetmint-transactions": "0.7.0",
        "planetmint-cryptoconditions": "1.1.2",
        "zenroom": "3.16.1",
    }
    signed = vector("signed_0")
    script = {
        "code": {"type": "zenroom", "raw": signed["script"], "parameters": []},
        "state": STATE,
        **signed["transaction_script_field"],
    }
    made = first.make(SEED, script, {name: signed[name] for name in ("script", "data", "keys")})
    assert made["uri"] == signed["condition_uri"]
    wire = made["transaction"]
    assert first.judge(wire).accepted
    assert verdict(engine, wire) is None
    house = [{"name": "somebody else's", "team": "t1"}]
    other_keys = vector("payload_changed_0")["fulfillment"]
    tampered = [
        damaged(wire, "script", "input", "houses", value=house),
        damaged(wire, "script", "input", "signature", "r", value="AAAA"),
        damaged(wire, "script", "output", value=["no"]),
        damaged(wire, "script", "output", value={"output": ["ok"]}),
        damaged(wire, "script", "input", value={}),
        damaged(
            wire, "inputs", 0, "fulfillment", value=vector("signed_by_other_keys_same_condition_0")["fulfillment"]
        ),
    ]
    assert other_keys == signed["fulfillment"]
    for one in tampered:
        refusal = verdict(engine, one)
        assert refusal is not None and refusal.code == "InvalidSignature", one["script"]
        assert not first.judge(one).accepted


def test_a_signature_made_by_a_published_signing_script_spends_a_locked_output(
    engine: Engine, first: Published
) -> None:
    """The whole way of 1.x: keys from a script, a signature from another, the condition's script judges it."""
    keyring = json.loads(
        first.run(
            "Scenario 'ecdh': k\nGiven nothing\nWhen I create the ecdh key\nThen print the 'keyring'\n", {}, {}
        )["output"]
    )
    public = json.loads(
        first.run(
            "Scenario 'ecdh': p\nGiven I have a 'keyring'\nWhen I create the ecdh public key\n"
            "Then print the 'ecdh public key'\n",
            {},
            keyring,
        )["output"]
    )
    houses = {"houses": [{"name": "Harry", "team": "Gryffindor"}]}
    signature = json.loads(
        first.run(
            "Scenario 'ecdh': s\nGiven I have a 'keyring'\n"
            "Given that I have a 'string dictionary' named 'houses'\n"
            "When I create the ecdh signature of 'houses'\nWhen I rename the 'ecdh signature' to 'signature'\n"
            "Then print the 'signature'\n",
            houses,
            keyring,
        )["output"]
    )
    lock = Contract(vector("signed_0")["script"], None, {"Alice": public})
    builder = Builder(Dialect.PLANETMINT_1)
    created = builder.draft_create("alice", [(1, lock)]).signed()
    spends = [
        builder.draft_transfer([created.spend()], [(1, "bob")]).scripted({**given, **signature}, ["ok"]).signed()
        for given in (houses, {"houses": [{"name": "Draco", "team": "Slytherin"}]})
    ]
    for spend, accepted in zip(spends, (True, False), strict=True):
        ledger = Ledger(PARAMETERS, engine=engine)
        ledger.take(created.canonical)
        assert (ledger.verdict(spend.canonical) is None) is accepted


def test_a_script_made_by_the_published_package_is_accepted_and_its_tampered_forms_refused(
    engine: Engine, second: Published
) -> None:
    """transactions 6."""
    assert second.versions["planetmint-transactions"] == "0.8.4"
    code = "Given I have a 'string' named 'a'\nGiven I have a 'number' named 'n'\nThen print all data\n"
    script = {"code": code, "state": STATE, "inputs": {"a": "é", "n": 7}, "outputs": {"a": "é", "n": 7}}
    wire = second.make(SEED, script, None)["transaction"]
    assert second.judge(wire).accepted
    assert verdict(engine, wire) is None
    for path, value, code_of in (
        (("outputs", "a"), "e", "InvalidScript"),
        (("inputs", "n"), 8, "InvalidScript"),
        (("code",), code + "Then print the string 'x'\n", "InvalidScript"),
        (("state",), "a1" * 32, "InvalidSignature"),
    ):
        changed = damaged(wire, "script", *path, value=value)
        refusal = verdict(engine, changed)
        # Signatures come first; a changed script breaks them, and would be refused by itself as well.
        assert refusal is not None and refusal.code == "InvalidSignature"
        assert not second.judge(changed).accepted
        if code_of == "InvalidScript":
            with pytest.raises(AssertionError, match="error"):
                assert "transaction" in second.make(SEED, changed["script"], None), "error"


@pytest.mark.parametrize("purpose", list(Purpose))
def test_generated_contracts_get_the_published_verdict_or_a_documented_difference(
    purpose: Purpose, engine: Engine, request: pytest.FixtureRequest
) -> None:
    worker: Published = request.getfixturevalue("second" if purpose is Purpose.SCRIPT else "first")
    rng = random.Random(f"contracts {purpose}")
    seen = Counter[str]()
    for _ in range(CASES):
        case = make_case(rng, purpose, worker)
        ours, theirs = case.ours(engine), worker.judge(case.wire)
        if (ours is None) == theirs.accepted:
            seen["accepted" if ours is None else f"refused {ours.rule}"] += 1
            continue
        found = [item.name for item in DIFFERENCES if item.applies(case, ours, theirs)]
        assert found, describe(case, ours, theirs)
        seen[found[0]] += 1
    assert seen["accepted"] > CASES // 6 and seen["refused contract.output"] > CASES // 10, seen
    assert seen["refused contract.failed"] > 0 and seen["contract-bounds"] > 0, seen


def describe(case: Case, ours: InvalidTransaction | None, theirs: Any) -> str:
    shown = json.dumps(case.wire, indent=1, ensure_ascii=False)
    return f"ours {ours and (ours.rule, ours.reason)}, theirs {theirs}\n{case.sample}\n{case.printed}\n{shown}"
