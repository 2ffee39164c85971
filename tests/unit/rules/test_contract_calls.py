# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which runs of the engine a transaction takes, and what they are given (transactions 5.4 and 6, decision D18)."""

import json
from typing import Any

import pytest

from planetmint.conditions import encode_fulfillment
from planetmint.contracts import ContractCall, Purpose
from planetmint.model.condition import ZenroomFulfillment
from planetmint.model.errors import InvalidScript, InvalidSignature, InvalidTransaction
from planetmint.model.parameters import ChainParameters, ContractParameters, ScriptMode, ZenroomMode
from planetmint.rules import decode_transaction
from planetmint.rules.contracts import contract_calls
from planetmint.testing.build import (
    Builder,
    Contract,
    Dialect,
    Draft,
    all_of,
    identified,
    m_of_n,
    message,
    public_key,
)

SCRIPT = "Given nothing\nThen print the string 'ok'\n"
FIRST = Builder(Dialect.PLANETMINT_1)
SECOND = Builder(Dialect.PLANETMINT_2)
OLD = Builder(Dialect.BIGCHAINDB)


def chain(zenroom: ZenroomMode = "bound", scripts: ScriptMode = "on", **bounds: int) -> ChainParameters:
    return ChainParameters(contracts=ContractParameters(zenroom, scripts, **bounds))


def calls(draft: Draft, parameters: ChainParameters) -> tuple[ContractCall, ...]:
    transaction = decode_transaction(draft.signed().canonical, parameters)
    made = contract_calls(transaction, parameters)
    assert transaction.contracts == len(made)
    return made


def refused(draft: Draft, parameters: ChainParameters) -> InvalidTransaction:
    with pytest.raises(InvalidTransaction) as caught:
        decode_transaction(draft.signed().canonical, parameters)
    return caught.value


def test_a_script_of_3_0_is_given_its_inputs_as_data_and_no_keys() -> None:
    draft = SECOND.draft_create("alice").scripted({"b": 1, "a": "é"}, {"c": [1]}, code=SCRIPT)
    (call,) = calls(draft, chain())
    assert (call.field, call.purpose, call.script) == ("script", Purpose.SCRIPT, SCRIPT)
    assert (call.data, call.keys, call.expected) == ('{"a": "\\u00e9", "b": 1}', None, {"c": [1]})


def test_a_script_of_2_0_is_never_run_on_its_own() -> None:
    assert calls(FIRST.draft_create("alice").scripted({}, ["no"], code="Bogus"), chain()) == ()


@pytest.mark.parametrize("build", [FIRST, SECOND, OLD], ids=lambda build: build.dialect.value)
@pytest.mark.parametrize("mode", ["bound", "published"])
def test_a_leaf_is_given_its_data_overlaid_by_the_script_s_inputs(build: Builder, mode: ZenroomMode) -> None:
    contract = Contract(SCRIPT, {"a": "leaf", "b": "leaf"}, {"k": {"x": 1}})
    draft = build.draft_create(all_of("alice", contract)).scripted({"b": "script", "c": 1}, ["ok"], code=SCRIPT)
    call = calls(draft, chain(mode))[-1]
    assert (call.field, call.purpose, call.script) == ("inputs[0].fulfillment", Purpose.CONDITION, SCRIPT)
    data = json.loads(call.data)
    added = data.pop("transaction", None)
    assert data == {"a": "leaf", "b": "script", "c": 1}
    assert call.keys == '{"k": {"x": 1}}'
    assert call.expected == ["ok"]
    signed = {"message": message(draft.wire, 0).hex(), "signers": [public_key("alice")]}
    assert added == (signed if mode == "bound" else None)


def test_the_signers_are_those_of_the_input_and_the_message_is_its_own() -> None:
    contract = Contract(SCRIPT)
    created = [
        FIRST.draft_create(name, [(1, all_of(name, m_of_n(1, "carol", "dave"), contract))]).signed()
        for name in ("alice", "bob")
    ]
    spends = [created[0].spend(0, "alice", "carol"), created[1].spend(0, "bob", "dave")]
    draft = FIRST.draft_transfer(spends, [(2, "erin")]).scripted({}, ["ok"])
    made = calls(draft, chain())
    assert [call.field for call in made] == ["inputs[0].fulfillment", "inputs[1].fulfillment"]
    for index, (call, names) in enumerate(zip(made, (("alice", "carol"), ("bob", "dave")), strict=True)):
        added = json.loads(call.data)["transaction"]
        assert added["message"] == message(draft.wire, index).hex()
        assert sorted(added["signers"]) == sorted(map(public_key, names))


@pytest.mark.parametrize("where", ["leaf", "script"])
def test_nobody_writes_the_member_transaction_of_a_bound_contract(where: str) -> None:
    forged = {"transaction": {"message": "00", "signers": ["me"]}}
    contract = Contract(SCRIPT, forged if where == "leaf" else None)
    draft = FIRST.draft_create(all_of("alice", contract)).scripted(forged if where == "script" else {}, ["ok"])
    (call,) = calls(draft, chain())
    assert json.loads(call.data)["transaction"]["signers"] == [public_key("alice")]


def test_in_published_the_member_transaction_is_the_sender_s() -> None:
    contract = Contract(SCRIPT, {"transaction": "mine"})
    (call,) = calls(FIRST.draft_create(contract, [(1, "alice")]).scripted({}, ["ok"]), chain("published"))
    assert json.loads(call.data) == {"transaction": "mine"}


def test_a_3_0_script_comes_first_and_leaves_follow_in_the_order_of_inputs() -> None:
    contracts = [Contract(f"# {number}\n" + SCRIPT) for number in range(4)]
    created = [
        SECOND.draft_create("alice", [(1, all_of("alice", *contracts[at : at + 2]))]).signed() for at in (0, 2)
    ]
    draft = SECOND.draft_transfer([item.spend() for item in created], [(2, "bob")])
    made = calls(draft.scripted({}, ["ok"], code="# code\n" + SCRIPT), chain())
    assert [call.field for call in made] == ["script"] + ["inputs[0].fulfillment"] * 2 + [
        "inputs[1].fulfillment"
    ] * 2
    assert made[0].script == "# code\n" + SCRIPT
    assert {call.script for call in made[1:3]} == {item.script for item in contracts[:2]}
    assert {call.script for call in made[3:]} == {item.script for item in contracts[2:]}


def test_the_message_does_not_change_the_seed_but_what_the_sender_writes_does() -> None:
    contract = Contract(SCRIPT)
    draft = FIRST.draft_create(all_of("alice", contract)).scripted({"a": 1}, ["ok"])
    other = draft.changed(lambda wire: wire.update(metadata="other"))
    changed = FIRST.draft_create(all_of("alice", contract)).scripted({"a": 2}, ["ok"])
    seeds = [calls(item, chain())[0].seed for item in (draft, other, changed)]
    assert seeds[0] == seeds[1] != seeds[2]


# Refusals


def test_a_leaf_needs_a_script_member() -> None:
    refusal = refused(FIRST.draft_create(all_of("alice", Contract(SCRIPT))), chain())
    assert isinstance(refusal, InvalidSignature)
    assert (refusal.rule, refusal.field) == ("contract.script", "inputs[0].fulfillment")


def test_scripts_that_are_switched_off_are_refused() -> None:
    refusal = refused(SECOND.draft_create("alice").scripted({}, ["ok"], code=SCRIPT), chain(scripts="off"))
    assert isinstance(refusal, InvalidScript) and refusal.rule == "script.off"


def with_leaf(script: bytes, data: bytes, keys: bytes) -> bytes:
    """A CREATE of mode `published` with this leaf, octet by octet."""
    draft = FIRST.draft_create(Contract(SCRIPT), [(1, "alice")]).scripted({}, ["ok"])
    wire: dict[str, Any] = draft.signed().wire
    wire["inputs"][0]["fulfillment"] = encode_fulfillment(ZenroomFulfillment(script, data, keys))
    return json.dumps(identified(wire)).encode()


@pytest.mark.parametrize(
    "octets", [b'{"a": true}', b"null", b"{}", b' {"a":\n[null, false]} ', '{"é": 1}'.encode()]
)
def test_data_and_keys_are_read_as_json_objects_or_null(octets: bytes) -> None:
    parameters = chain("published")
    for leaf in ((SCRIPT.encode(), octets, b"{}"), (SCRIPT.encode(), b"{}", octets)):
        transaction = decode_transaction(with_leaf(*leaf), parameters)
        (call,) = contract_calls(transaction, parameters)
        assert json.loads(call.data) == (json.loads(leaf[1]) or {})
        assert call.keys is not None and json.loads(call.keys) == json.loads(leaf[2])


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"[]", b"1", b'"a"', b"true", b"{'a': 1}", b'{"a": True}', b"None", b'{"a": NaN}', b'{"a": 1e999}',
        b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"{}\0", b'{"a": ' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"a": ' + b"9" * 309 + b"}", b'{"a": 9.9e308}',
    ],
)  # fmt: skip
def test_other_data_and_keys_are_refused(octets: bytes) -> None:
    for leaf in ((SCRIPT.encode(), octets, b"{}"), (SCRIPT.encode(), b"{}", octets)):
        with pytest.raises(InvalidSignature) as caught:
            decode_transaction(with_leaf(*leaf), chain("published"))
        assert (caught.value.rule, caught.value.field) == ("contract.data", "inputs[0].fulfillment")


def test_a_leaf_s_script_is_utf_8() -> None:
    with pytest.raises(InvalidSignature) as caught:
        decode_transaction(with_leaf(b"\xff" + SCRIPT.encode(), b"{}", b"{}"), chain("published"))
    assert caught.value.rule == "contract.bytes"


def test_a_script_s_bounds_are_those_of_the_chain() -> None:
    draft = SECOND.draft_create("alice").scripted({}, ["ok"], code=SCRIPT)
    assert len(calls(draft, chain(max_bytes=len(SCRIPT), max_statements=2))) == 1
    for refusal in (refused(draft, chain(max_bytes=len(SCRIPT) - 1)), refused(draft, chain(max_statements=1))):
        assert isinstance(refusal, InvalidScript) and refusal.field == "script"


def test_data_of_all_contracts_of_a_transaction_counts_together() -> None:
    contract = Contract(SCRIPT, {"a": "x" * 100})
    draft = FIRST.draft_create(all_of("alice", contract, contract, contract)).scripted({}, ["ok"])
    sizes = [len(call.data) + len(call.keys or "") for call in calls(draft, chain())]
    assert len(sizes) == 3
    assert len(calls(draft, chain(max_data_bytes=sum(sizes)))) == 3
    refusal = refused(draft, chain(max_data_bytes=sum(sizes) - 1))
    assert isinstance(refusal, InvalidSignature)
    assert (refusal.rule, refusal.field) == ("contract.data", "inputs[0].fulfillment")
