# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading `condition.details`: what is accepted, and one precise refusal for everything else."""

import pytest

from planetmint.conditions import has_zenroom, listed_keys, read_details, write_details
from planetmint.model.condition import Details, Ed25519Details, ThresholdDetails, ZenroomDetails
from planetmint.model.errors import SchemaValidationError, ThresholdTooDeep
from planetmint.model.json import JsonObject, JsonValue

ALICE = "CDx31U9UUfFVEV1kKqhpaJcHFro5n7VRTAYCvi9quMgr"
BOB = "GUkuscVFq5ZpFYbrwRDSQJ5YsKPdZ4qLRmnbXmrSQZdC"
FIELD = "outputs[0].condition.details"


def key(text: JsonValue = ALICE) -> JsonObject:
    return {"type": "ed25519-sha-256", "public_key": text}


def threshold(number: JsonValue, *items: JsonValue) -> JsonObject:
    return {"type": "threshold-sha-256", "threshold": number, "subconditions": list(items)}


def read(value: JsonValue, max_depth: int = 16, max_leaves: int = 1000) -> Details:
    return read_details(value, FIELD, max_depth=max_depth, max_leaves=max_leaves)


def nested(levels: int) -> JsonObject:
    value = key()
    for _ in range(levels):
        value = threshold(1, value)
    return value


def test_a_single_key_is_read() -> None:
    assert read(key()) == Ed25519Details(ALICE)


def test_a_tree_is_read_in_the_order_of_the_wire() -> None:
    tree = read(threshold(2, key(BOB), threshold(1, key(), key(BOB)), key()))
    inner = ThresholdDetails(1, (Ed25519Details(ALICE), Ed25519Details(BOB)))
    assert tree == ThresholdDetails(2, (Ed25519Details(BOB), inner, Ed25519Details(ALICE)))


def test_a_contract_is_read_as_such() -> None:
    tree = read(threshold(2, key(), {"type": "zenroom-sha-256", "public_key": BOB}))
    assert tree == ThresholdDetails(2, (Ed25519Details(ALICE), ZenroomDetails(BOB)))
    assert has_zenroom(tree)
    assert not has_zenroom(read(threshold(1, key())))


def test_the_same_key_may_stand_twice() -> None:
    assert read(threshold(2, key(), key())) == ThresholdDetails(2, (Ed25519Details(ALICE),) * 2)


@pytest.mark.parametrize("value", [key(), threshold(1, key(), threshold(2, key(), key(BOB))), nested(16)])
def test_what_was_read_is_written_as_it_stood(value: JsonObject) -> None:
    assert write_details(read(value)) == value


def test_a_contract_is_written_as_it_stood() -> None:
    value: JsonObject = {"type": "zenroom-sha-256", "public_key": BOB}
    assert write_details(read(value)) == value


def test_listed_keys_are_those_of_ed25519_leaves_alone() -> None:
    carol = "9ajLdXGECswBQw3LxDhnXtBCakwfACTxynj6315hcF6C"
    contract: JsonObject = {"type": "zenroom-sha-256", "public_key": carol}
    assert listed_keys(read(threshold(1, key(), threshold(1, key(BOB), key()), contract))) == {ALICE, BOB}
    assert listed_keys(read(key())) == {ALICE}
    assert listed_keys(read(contract)) == frozenset()


@pytest.mark.parametrize("number", [1, 100])
def test_thresholds_from_1_to_100_are_accepted(number: int) -> None:
    tree = read(threshold(number, *[key()] * 101))
    assert isinstance(tree, ThresholdDetails)
    assert tree.threshold == number


BAD: list[tuple[str, JsonValue, str, str]] = [
    ("null", None, "type", ""),
    ("array", [], "type", ""),
    ("text", "ed25519-sha-256", "type", ""),
    ("empty object", {}, "members", ""),
    ("type missing", {"public_key": ALICE}, "members", ""),
    ("type null", {"type": None, "public_key": ALICE}, "type", ""),
    ("type an object", {"type": {"a": 1}, "public_key": ALICE}, "type", ""),
    ("preimage", {"type": "preimage-sha-256", "preimage": ""}, "type", ""),
    ("upper case", {"type": "ED25519-SHA-256", "public_key": ALICE}, "type", ""),
    ("key missing", {"type": "ed25519-sha-256"}, "members", ""),
    ("signature added", {**key(), "signature": None}, "members", ""),
    ("threshold on a key", {**key(), "threshold": 1}, "members", ""),
    ("key null", key(None), "public_key", ""),
    ("key a number", key(5), "public_key", ""),
    ("key with 33 bytes", key(ALICE + ALICE[:1]), "public_key", ""),
    ("key of 42 characters", key(ALICE[:42]), "public_key", ""),
    ("key not base58", key("0" + ALICE[1:]), "public_key", ""),
    ("contract with a script", {"type": "zenroom-sha-256", "public_key": ALICE, "script": ""}, "members", ""),
    ("threshold missing", {"type": "threshold-sha-256", "subconditions": [key()]}, "members", ""),
    ("subconditions missing", {"type": "threshold-sha-256", "threshold": 1}, "members", ""),
    ("member added", {**threshold(1, key()), "public_key": ALICE}, "members", ""),
    ("threshold zero", threshold(0, key()), "threshold", ""),
    ("threshold negative", threshold(-1, key()), "threshold", ""),
    ("threshold above 100", threshold(101, *[key()] * 101), "threshold", ""),
    ("threshold huge", threshold(10**307, key()), "threshold", ""),
    ("threshold a float", threshold(1.0, key()), "threshold", ""),
    ("threshold true", threshold(True, key()), "threshold", ""),
    ("threshold text", threshold("1", key()), "threshold", ""),
    ("threshold null", threshold(None, key()), "threshold", ""),
    ("threshold above count", threshold(2, key()), "threshold", ""),
    ("no subconditions", threshold(1), "subconditions", ""),
    ("subconditions null", {**threshold(1), "subconditions": None}, "subconditions", ""),
    ("subconditions an object", {**threshold(1), "subconditions": {"0": key()}}, "subconditions", ""),
    ("bad child", threshold(1, key(), 5), "type", ".subconditions[1]"),
    (
        "bad grandchild",
        threshold(1, key(), threshold(1, key("x"))),
        "public_key",
        ".subconditions[1].subconditions[0]",
    ),
]


@pytest.mark.parametrize(("value", "rule", "path"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_malformed_tree_is_a_schema_violation(value: JsonValue, rule: str, path: str) -> None:
    with pytest.raises(SchemaValidationError) as caught:
        read(value)
    assert caught.value.rule == f"condition.{rule}"
    assert caught.value.field == FIELD + path
    assert len(caught.value.reason) < 500


def test_16_levels_of_thresholds_are_accepted_and_17_are_too_deep() -> None:
    assert isinstance(read(nested(16)), ThresholdDetails)
    with pytest.raises(ThresholdTooDeep) as caught:
        read(nested(17))
    assert caught.value.rule == "condition.depth"


def test_a_tree_as_deep_as_json_may_be_is_too_deep() -> None:
    with pytest.raises(ThresholdTooDeep):
        read(nested(199))


def test_a_malformed_tree_is_a_schema_violation_even_where_it_is_too_deep() -> None:
    value: JsonObject = {"type": "ed25519-sha-256"}
    for _ in range(120):
        value = threshold(1, value)
    with pytest.raises(SchemaValidationError):
        read(value)


def test_as_many_leaves_as_allowed_are_accepted_and_one_more_is_refused() -> None:
    four = threshold(1, key(), threshold(1, key(), key()), key())
    assert isinstance(read(four, max_leaves=4), ThresholdDetails)
    with pytest.raises(SchemaValidationError) as caught:
        read(four, max_leaves=3)
    assert caught.value.rule == "condition.leaves"
