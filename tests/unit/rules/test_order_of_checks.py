# SPDX-License-Identifier: AGPL-3.0-or-later
"""Of two faults the earlier one in the order of validation 2 is told."""

from collections.abc import Callable
from itertools import combinations

import pytest

from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters
from planetmint.rules import decode_transaction
from planetmint.testing.build import Builder, Built, Dialect, Wire, public_key

PARAMETERS = ChainParameters(max_condition_depth=2)
LEAF = {"type": "ed25519-sha-256", "public_key": public_key("alice")}


def nested(depth: int) -> Wire:
    """Thresholds of one inside one another."""
    node: Wire = LEAF
    for _ in range(depth):
        node = {"type": "threshold-sha-256", "threshold": 1, "subconditions": [node]}
    return node


def _output(wire: Wire, index: int = 0) -> Wire:
    output: Wire = wire["outputs"][index]
    return output


Fault = tuple[str, str, Callable[[Wire], object]]

# By their place in the order: rule, and the change that breaks it. Each is alone in its part of the transaction.
FAULTS: list[Fault] = [
    ("unknown member", "schema.additional", lambda wire: wire.update(more=1)),
    ("id", "id", lambda wire: wire.update(id="0" * 64)),
    ("schema of inputs", "schema.type", lambda wire: wire["inputs"][0].update(owners_before=None)),
    ("key rule", "data.key", lambda wire: wire["metadata"].update({"a.b": 1})),
    ("fulfillment", "fulfillment.encoding", lambda wire: wire["inputs"][0].update(fulfillment="AAAA")),
    ("amount", "amount.minimum", lambda wire: _output(wire, 0).update(amount="0")),
    ("depth", "condition.depth", lambda wire: _output(wire, 1)["condition"].update(details=nested(3))),
    ("public keys", "output.public_keys", lambda wire: _output(wire, 2).update(public_keys=[public_key("eve")])),
]


def transaction() -> Built:
    shares: list[tuple[int | str, str]] = [(1, "alice"), (2, "alice"), (3, "alice")]
    return Builder(Dialect.BIGCHAINDB).create("alice", shares, data={"a": 1}, metadata={"b": 1})


def rule_of(wire: Built) -> str:
    with pytest.raises(InvalidTransaction) as caught:
        decode_transaction(wire.canonical, PARAMETERS)
    return caught.value.rule


def test_without_a_fault_it_is_accepted() -> None:
    assert decode_transaction(transaction().canonical, PARAMETERS).id == transaction().id


@pytest.mark.parametrize(("name", "rule", "change"), FAULTS, ids=[name for name, _, _ in FAULTS])
def test_alone_each_fault_is_told(name: str, rule: str, change: Callable[[Wire], object]) -> None:
    assert rule_of(transaction().changed(change, new_id=name != "id")) == rule


@pytest.mark.parametrize(
    ("first", "second"),
    list(combinations(FAULTS, 2)),
    ids=lambda fault: fault[0] if isinstance(fault, tuple) else None,
)
def test_of_two_faults_the_earlier_one_is_told(first: Fault, second: Fault) -> None:
    changed = transaction()
    # A wrong id is put in last, because the others would make it right again.
    for name, _, change in sorted((first, second), key=lambda fault: fault[0] == "id"):
        changed = changed.changed(change, new_id=name != "id")
    assert rule_of(changed) == first[1]


def test_a_missing_member_is_told_before_the_id_and_a_missing_id_after_the_members() -> None:
    def drop(*names: str) -> Callable[[Wire], object]:
        return lambda wire: [wire.pop(name) for name in names]

    assert rule_of(transaction().changed(drop("metadata", "id"), new_id=False)) == "schema.required"
    assert rule_of(transaction().changed(drop("id"), new_id=False)) == "id"


def test_version_and_operation_are_told_before_members_and_id() -> None:
    base = transaction()
    for change in ({"version": "1.0"}, {"operation": "BALLOT"}, {"version": 2.0}, {"operation": None}):
        wrong = base.changed(lambda wire, change=change: wire.update(more=1, id="x", **change), new_id=False)  # type: ignore[misc]
        assert rule_of(wrong) == "schema.enum"


def test_schema_faults_behind_a_condition_that_is_too_deep_are_told_first() -> None:
    def change(wire: Wire) -> None:
        _output(wire, 0)["condition"]["details"] = nested(3)
        _output(wire, 2)["amount"] = 3

    assert rule_of(transaction().changed(change)) == "schema.type"


def test_amounts_are_told_with_their_place_behind_a_condition_that_is_too_deep() -> None:
    def change(wire: Wire) -> None:
        _output(wire, 0)["condition"]["details"] = nested(3)
        _output(wire, 2)["amount"] = "0"

    with pytest.raises(InvalidTransaction) as caught:
        decode_transaction(transaction().changed(change).canonical, PARAMETERS)
    assert (caught.value.rule, caught.value.field) == ("amount.minimum", "outputs[2].amount")
