# SPDX-License-Identifier: AGPL-3.0-or-later
"""What chains with contracts accept (transactions 5.4 and 6); what they refuse stands in the catalogue.

The engine here is content with every contract: nothing of this depends on what a contract says.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from planetmint.conditions import contract_condition, contract_fulfillment, encode_fulfillment, fulfill
from planetmint.model.condition import Fulfillment, ThresholdFulfillment
from planetmint.model.errors import InvalidScript, InvalidSignature, InvalidTransaction
from planetmint.model.parameters import ChainParameters, ContractParameters, ScriptMode, ZenroomMode
from planetmint.model.transaction import Transaction
from planetmint.rules import decode_transaction
from planetmint.testing.build import (
    Builder,
    Built,
    Contract,
    Dialect,
    Draft,
    Owner,
    Spend,
    Wire,
    all_of,
    details,
    identified,
    m_of_n,
    message,
    public_key,
    seed,
)
from planetmint.testing.ledger import BlockLedger, Ledger
from tests.support.contract_verdicts import content

A, B, C = (Builder(dialect) for dialect in Dialect)
LOCK = Contract("Given nothing", {"a": 1}, {"b": 2})
OTHER = Contract("Given nothing else")


def chain(zenroom: ZenroomMode = "bound", scripts: ScriptMode = "on") -> ChainParameters:
    return ChainParameters(contracts=ContractParameters(zenroom=zenroom, scripts=scripts, engine="tests 1"))


def ledger(zenroom: ZenroomMode = "bound", scripts: ScriptMode = "on") -> Ledger:
    return Ledger(chain(zenroom, scripts), engine=content)


def scripted(draft: Draft) -> Draft:
    return draft.scripted({}, ["ok"])


def decode(built: Built, parameters: ChainParameters) -> Transaction:
    return decode_transaction(built.canonical, parameters)


def refused(built: Built, parameters: ChainParameters) -> tuple[type[InvalidTransaction], str]:
    with pytest.raises(InvalidTransaction) as caught:
        decode(built, parameters)
    return type(caught.value), caught.value.rule


def sealed(draft: Draft, make: Callable[[bytes], Fulfillment]) -> Built:
    """A draft of one input with the fulfillment that `make` made over its message."""
    text = encode_fulfillment(make(message(draft.wire, 0)))
    wire = draft.changed(lambda wire: wire["inputs"][0].update(fulfillment=text)).wire
    return Built(identified(wire), draft.owners)


def sign(name: str, over: bytes) -> Fulfillment:
    return fulfill(details(name), over, [seed(name)])


# Bound: owners spend


@pytest.mark.parametrize("build", [A, B, C], ids=lambda build: build.dialect.value)
@pytest.mark.parametrize(
    "owner",
    [
        all_of("alice", LOCK),
        all_of(LOCK, "alice"),
        m_of_n(1, "alice", LOCK),
        m_of_n(2, "alice", LOCK, OTHER),
        all_of("alice", "bob", LOCK),
        all_of(all_of("alice", LOCK), all_of("bob", OTHER)),
        all_of("alice", m_of_n(1, "nobody", LOCK)),
    ],
    ids=str,
)
def test_section_5_4_owners_spend_what_a_contract_guards(build: Builder, owner: Owner) -> None:
    listed = [name for name in ("alice", "bob") if f"'{name}'" in str(owner)]

    def of_owners(wire: Wire) -> None:
        wire["outputs"][0]["public_keys"] = [public_key(name) for name in listed]

    gold = build.draft_create("alice", [(5, owner)], data="gold").changed(of_owners).signed()
    moved = scripted(build.draft_transfer([gold.spend(0, *listed)], [(5, owner)])).changed(of_owners).signed()
    chain_of_tests = ledger()
    chain_of_tests.take_all([gold.canonical, moved.canonical])
    back = scripted(build.draft_transfer([replace(moved.spend(0, *listed), asset_id=gold.id)], [(5, "alice")]))
    chain_of_tests.take_all([back.signed().canonical])


def test_section_5_4_contracts_guard_in_every_operation_of_3_0() -> None:
    owner = all_of("alice", LOCK)
    tin = C.create("alice", [(1, owner)], data="tin")
    iron = C.create("alice", [(1, owner)], data="iron")
    alloy = scripted(C.draft_compose([tin.spend(), iron.spend()], [(1, owner)], data="alloy")).signed()
    parts = scripted(C.draft_decompose(alloy.spend(), ["left", "right"], [(1, owner), (1, owner)])).signed()
    left = scripted(C.draft_create("alice", [(1, "alice")], data="left", consumes=parts.spend(0))).signed()
    ledger().take_all(built.canonical for built in (tin, iron, alloy, parts, left))


@pytest.mark.parametrize(("first", "second"), [(A, C), (B, C), (C, A), (C, B)])
def test_section_1_1_an_output_under_a_contract_is_spent_in_another_dialect(
    first: Builder, second: Builder
) -> None:
    gold = first.create("alice", [(5, all_of("alice", LOCK))], data="gold")
    moved = scripted(second.draft_transfer([gold.spend()], [(5, all_of("bob", LOCK))])).signed()
    ledger().take_all([gold.canonical, moved.canonical])


@pytest.mark.parametrize("build", [A, B, C], ids=lambda build: build.dialect.value)
def test_section_5_4_a_contract_may_stand_beside_the_signature_of_a_create(build: Builder) -> None:
    created = scripted(build.draft_create(all_of("alice", LOCK), [(1, "alice")])).signed()
    ledger().take_all([created.canonical])


def test_all_listed_owners_sign_even_where_the_condition_asks_for_fewer() -> None:
    owner = m_of_n(2, "alice", "bob", LOCK)
    gold = A.create("alice", [(5, owner)], data="gold")
    chain_of_tests = ledger()
    chain_of_tests.take_all([gold.canonical])
    alone = scripted(A.draft_transfer([gold.spend(0, "bob")], [(5, "bob")])).signed()
    verdict = chain_of_tests.verdict(alone.canonical)
    assert verdict is not None
    assert (type(verdict), verdict.rule) == (InvalidSignature, "contracts.owners")
    assert verdict.field == "inputs[0].fulfillment"
    both = A.transfer([gold.spend(0, "alice", "bob")], [(5, "bob")])
    chain_of_tests.take_all([both.canonical])


def test_section_4_3_a_signature_beside_a_contract_covers_the_script_and_the_reference() -> None:
    owner = all_of("alice", LOCK)
    gold = A.create("alice", [(5, owner), (5, owner)], data="gold")
    chain_of_tests = ledger()
    chain_of_tests.take_all([gold.canonical])
    moved = scripted(A.draft_transfer([gold.spend(0)], [(5, "bob")])).signed()
    changes: tuple[Callable[[Wire], Any], ...] = (
        lambda wire: wire["script"].update(output=["other"]),
        lambda wire: wire["inputs"][0]["fulfills"].update(output_index=1),
        lambda wire: wire["outputs"][0].update(public_keys=[]),
    )
    for change in changes:
        verdict = chain_of_tests.verdict(moved.changed(change).canonical)
        assert verdict is not None
        assert (type(verdict), verdict.rule) == (InvalidSignature, "signature")


def test_the_streams_tell_of_the_keys_that_signed_beside_a_contract() -> None:
    gold = A.create("alice", [(5, all_of("alice", "bob", LOCK))], data="gold")
    moved = scripted(A.draft_transfer([gold.spend()], [(5, all_of("carol", LOCK))])).signed()
    blocks = BlockLedger((), parameters=chain(), engine=content)
    blocks.good_block(gold.canonical)
    (event,) = blocks.good_block(moved.canonical).events.events
    assert set(event.signers) == {public_key("alice"), public_key("bob")}
    assert event.public_keys == (public_key("carol"),)


# Published: whoever satisfies the contract


@pytest.mark.parametrize("build", [A, B, C], ids=lambda build: build.dialect.value)
def test_section_5_4_published_outputs_of_a_bare_contract_are_spent_by_anybody(build: Builder) -> None:
    gold = build.create("alice", [(5, LOCK)], data="gold")
    own_keys = replace(LOCK, keys={"mallory": "key"})
    spend = Spend(gold.id, 0, own_keys, gold.id)
    taken = scripted(build.draft_transfer([spend], [(5, "mallory")])).signed()
    ledger("published").take_all([gold.canonical, taken.canonical])


@pytest.mark.parametrize("build", [A, B, C], ids=lambda build: build.dialect.value)
def test_section_5_4_published_creates_with_a_bare_contract_are_in_anybody_s_name(build: Builder) -> None:
    draft = scripted(build.draft_create("alice", [(1, "alice")]))
    created = sealed(draft, lambda over: contract_fulfillment("Given nothing"))
    transaction = decode(created, chain("published"))
    assert transaction.inputs[0].keyless
    ledger("published").take_all([created.canonical])


@pytest.mark.parametrize("keys", [[], None, [public_key("bob")], [public_key("alice")] * 2])
@pytest.mark.parametrize("owner", [LOCK, all_of("alice", LOCK)], ids=str)
def test_section_5_4_published_outputs_of_a_contract_may_list_any_keys(owner: Owner, keys: Any) -> None:
    draft = A.draft_create("alice", [(5, owner)], data="gold")
    gold = draft.changed(lambda wire: wire["outputs"][0].update(public_keys=keys)).signed()
    taken = scripted(A.draft_transfer([gold.spend()], [(5, "carol")])).signed()
    ledger("published").take_all([gold.canonical, taken.canonical])


def test_published_leaves_everything_without_a_contract_as_it_is() -> None:
    draft = A.draft_create("alice", data="gold")
    outside = draft.changed(lambda wire: wire["outputs"][0].update(public_keys=[public_key("bob")])).signed()
    assert refused(outside, chain("published"))[1] == "output.public_keys"
    other = draft.changed(lambda wire: wire["inputs"][0].update(owners_before=[public_key("bob")])).signed()
    verdict = ledger("published").verdict(other.canonical)
    assert verdict is not None
    assert verdict.rule == "signature.owners"
    assert not decode(draft.signed(), chain("published")).inputs[0].keyless


def test_published_outputs_of_a_threshold_still_need_its_keys() -> None:
    gold = A.create("alice", [(5, all_of("alice", LOCK))], data="gold")
    chain_of_tests = ledger("published")
    chain_of_tests.take_all([gold.canonical])
    spend = Spend(gold.id, 0, all_of("mallory", LOCK), gold.id)
    verdict = chain_of_tests.verdict(scripted(A.draft_transfer([spend], [(5, "mallory")])).signed().canonical)
    assert verdict is not None
    assert verdict.rule == "signature.condition"


# How many runs a transaction takes


def test_contracts_are_counted_from_the_text() -> None:
    bound = chain()
    script = A.draft_create(all_of("alice", LOCK, OTHER), [(1, "alice")])
    assert decode(A.create("alice"), bound).contracts == 0
    assert decode(scripted(A.draft_create("alice")).signed(), bound).contracts == 0
    assert decode(scripted(C.draft_create("alice")).signed(), bound).contracts == 1
    assert decode(scripted(script).signed(), bound).contracts == 2
    both = C.draft_create(all_of("alice", LOCK, OTHER), [(1, "alice")])
    assert decode(scripted(both).signed(), bound).contracts == 3
    assert not any(item.keyless for item in decode(scripted(both).signed(), bound).inputs)


def test_a_contract_of_which_only_the_condition_is_shown_is_not_run() -> None:
    gold = A.create("alice", [(5, m_of_n(1, "alice", LOCK))], data="gold")
    moved = A.transfer([gold.spend()], [(5, "bob")])
    assert decode(moved, chain()).contracts == 0
    ledger().take_all([gold.canonical, moved.canonical])


def test_as_many_contracts_as_a_block_may_run_are_allowed() -> None:
    parameters = replace(chain(), contracts=replace(chain().contracts, max_per_block=2))
    two = scripted(A.draft_create(all_of("alice", LOCK, LOCK), [(1, "alice")])).signed()
    three = scripted(A.draft_create(all_of("alice", LOCK, LOCK, LOCK), [(1, "alice")])).signed()
    assert decode(two, parameters).contracts == 2
    assert refused(three, parameters) == (InvalidSignature, "contract.count")
    both = scripted(C.draft_create(all_of("alice", LOCK, LOCK), [(1, "alice")])).signed()
    assert refused(both, parameters) == (InvalidSignature, "contract.count")


# One switched on without the other


def test_scripts_run_on_a_chain_without_contracts_in_conditions() -> None:
    parameters = chain("off", "on")
    assert decode(scripted(C.draft_create("alice")).signed(), parameters).contracts == 1
    locked = C.create("alice", [(1, all_of("alice", LOCK))])
    assert refused(locked, parameters) == (InvalidSignature, "contracts.off")
    given = scripted(C.draft_create(all_of("alice", LOCK), [(1, "alice")])).signed()
    assert refused(given, parameters) == (InvalidSignature, "contracts.off")
    shown = sealed(
        C.draft_create("alice"),
        lambda over: ThresholdFulfillment((sign("alice", over),), (contract_condition("Given nothing"),)),
    )
    assert refused(shown, parameters) == (InvalidSignature, "contracts.off")


@pytest.mark.parametrize("mode", ["bound", "published"])
def test_contracts_in_conditions_run_on_a_chain_without_scripts(mode: ZenroomMode) -> None:
    gold = A.create("alice", [(5, all_of("alice", LOCK))], data="gold")
    moved = scripted(A.draft_transfer([gold.spend()], [(5, "bob")])).signed()
    ledger(mode, "off").take_all([gold.canonical, moved.canonical])
    script = scripted(C.draft_create("alice")).signed()
    assert refused(script, chain(mode, "off")) == (InvalidScript, "script.off")
