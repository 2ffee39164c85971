# SPDX-License-Identifier: AGPL-3.0-or-later
"""Conditions and URIs derived from trees, against the examples of the specification (transactions 5.2)."""

import hashlib

import pytest

from planetmint.conditions import (
    condition_der,
    condition_uri,
    derive_condition,
    details_uri,
    fingerprint_contents,
    is_condition_uri,
    parse_condition_uri,
)
from planetmint.model.condition import Condition, Details, Ed25519Details, ThresholdDetails, ZenroomDetails

ALICE = Ed25519Details("CDx31U9UUfFVEV1kKqhpaJcHFro5n7VRTAYCvi9quMgr")
BOB = Ed25519Details("GUkuscVFq5ZpFYbrwRDSQJ5YsKPdZ4qLRmnbXmrSQZdC")
HEAD = "ni:///sha-256;"
ALICE_URI = HEAD + "jxGUiqDZo94TpURSsHD1l6zXute2BhL9AnrwmFXSB2s?fpt=ed25519-sha-256&cost=131072"
BOTH_URI = (
    HEAD + "f2sMhj8FlpYPDk-q9xbOJBZdR63yl_88XpUBeYNN9dk?fpt=threshold-sha-256&cost=264192&subtypes=ed25519-sha-256"
)
BOTH_CONTENTS = (
    "3057800102a152a427802070a09b07b14bb53ad9188cec169bee58f1dd6b5c3aa9e4ddd9bb73e6331f307a8103020000"
    "a42780208f11948aa0d9a3de13a54452b070f597acd7bad7b60612fd027af09855d2076b8103020000"
)


def derived(details: Details) -> Condition:
    condition = derive_condition(details)
    assert condition is not None
    return condition


def contents(details: Details) -> str:
    octets = fingerprint_contents(details)
    assert octets is not None
    return octets.hex()


def test_the_specified_key_gives_the_specified_contents_condition_and_uri() -> None:
    assert contents(ALICE) == "30228020a6c1c0f5601f61169cd7fbdeb1a611b457ccc6224c85c8e98809d2fbb800f1b7"
    der = "a42780208f11948aa0d9a3de13a54452b070f597acd7bad7b60612fd027af09855d2076b8103020000"
    assert condition_der(derived(ALICE)).hex() == der
    assert condition_uri(derived(ALICE)) == details_uri(ALICE) == ALICE_URI


@pytest.mark.parametrize("pair", [(ALICE, BOB), (BOB, ALICE)])
def test_the_specified_2_of_2_has_the_specified_uri_in_either_order(pair: tuple[Details, ...]) -> None:
    both = ThresholdDetails(2, pair)
    assert contents(both) == BOTH_CONTENTS
    assert details_uri(both) == BOTH_URI


def test_the_cost_of_a_threshold_counts_the_largest_that_it_needs_and_all_subconditions() -> None:
    pair = ThresholdDetails(2, (ALICE, BOB))
    assert derived(pair).cost == 2 * 131072 + 2 * 1024
    assert derived(ThresholdDetails(1, (ALICE, pair, BOB))).cost == 264192 + 3 * 1024
    assert derived(ThresholdDetails(2, (ALICE, pair, BOB))).cost == 264192 + 131072 + 3 * 1024


def test_subtypes_name_all_types_below_without_the_own_one() -> None:
    inner = ThresholdDetails(1, (ALICE,))
    assert derived(ThresholdDetails(1, (inner, BOB))).subtypes == {4}
    assert condition_der(derived(ThresholdDetails(1, (inner,)))).endswith(bytes.fromhex("82020308"))


@pytest.mark.parametrize(
    "details",
    [
        ZenroomDetails(ALICE.public_key),
        ThresholdDetails(1, (ALICE, ZenroomDetails(BOB.public_key))),
        ThresholdDetails(1, (ThresholdDetails(1, (ZenroomDetails(BOB.public_key),)), ALICE)),
    ],
)
def test_nothing_is_derived_over_a_contract(details: Details) -> None:
    assert derive_condition(details) is None
    assert details_uri(details) is None
    assert fingerprint_contents(details) is None


def test_a_tree_of_16_levels_is_derived_once_per_node(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def counting_sha256(octets: bytes) -> "hashlib._Hash":
        hashed.append(octets)
        return hashlib.sha256(octets)

    monkeypatch.setattr("planetmint.conditions.derive.sha256", counting_sha256)
    tree: Details = ALICE
    for _ in range(16):
        tree = ThresholdDetails(2, (tree, BOB))
    derived(tree)
    assert len(hashed) == 16 + 17


ACCEPTED = [
    ALICE_URI,
    BOTH_URI,
    BOTH_URI + ",zenroom-sha-256",
    HEAD + "?fpt=ed25519-sha-256cost=1",
    HEAD + "a" * 86 + "?cost=1&cost=2&cost=3&",
    HEAD + "?subtypes=ed25519-sha-256,zenroom-sha-256,threshold-sha-256&cost=0",
]
REFUSED = [
    "",
    ALICE_URI + "\n",
    " " + ALICE_URI,
    ALICE_URI.replace("ni:", "NI:"),
    ALICE_URI.replace("131072", "13l072"),
    ALICE_URI.replace("131072", "１３"),
    ALICE_URI.replace("&cost=131072", ""),
    ALICE_URI + "&cost=1&cost=2",
    ALICE_URI.replace("ed25519", "preimage"),
    ALICE_URI.replace("?", "="),
    HEAD + "a" * 87 + "?fpt=ed25519-sha-256&cost=131072",
    BOTH_URI + ",rsa-sha-256",
    BOTH_URI + ",",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_text_of_the_published_pattern_is_recognised(text: str) -> None:
    assert is_condition_uri(text)


@pytest.mark.parametrize("text", REFUSED)
def test_other_text_is_not_recognised(text: str) -> None:
    assert not is_condition_uri(text)
    assert parse_condition_uri(text) is None


@pytest.mark.parametrize("details", [ALICE, ThresholdDetails(1, (ALICE, ThresholdDetails(1, (BOB,))))])
def test_a_derived_uri_is_parsed_into_its_condition(details: Details) -> None:
    assert parse_condition_uri(condition_uri(derived(details))) == derived(details)


def test_a_uri_with_several_subtypes_is_parsed() -> None:
    condition = Condition(2, bytes(32), 5, frozenset({4, 5}))
    assert condition_uri(condition).endswith("&cost=5&subtypes=ed25519-sha-256,zenroom-sha-256")
    assert parse_condition_uri(condition_uri(condition)) == condition


@pytest.mark.parametrize(
    "text",
    [
        ALICE_URI.replace("131072", "0131072"),
        ALICE_URI.replace("131072", "131073"),
        ALICE_URI + "&subtypes=ed25519-sha-256",
        ALICE_URI.replace("B2s?", "B2t?"),
        BOTH_URI.removesuffix("&subtypes=ed25519-sha-256"),
        BOTH_URI.replace("subtypes=ed25519", "subtypes=threshold"),
        BOTH_URI + ",ed25519-sha-256",
        BOTH_URI.replace("subtypes=", "subtypes=zenroom-sha-256,"),
        BOTH_URI.replace("264192", "9999999999"),
        BOTH_URI.replace("264192", "9" * 5000),
        HEAD + "jxGU?fpt=ed25519-sha-256&cost=131072",
        HEAD + "jxGUiqDZo94TpURSsHD1l6zXute2BhL9AnrwmFXSB2s?cost=131072&fpt=ed25519-sha-256",
    ],
)
def test_only_the_one_right_spelling_of_a_possible_condition_is_parsed(text: str) -> None:
    assert is_condition_uri(text)
    assert parse_condition_uri(text) is None
