# SPDX-License-Identifier: AGPL-3.0-or-later
"""Conditions with contracts: derived from their scripts, fulfilled for clients, and recognised by their URIs.

Expected octets are put together here by hand (transactions 5.2, 5.3 and 5.4).
"""

import base64
import hashlib

import pytest

from planetmint.conditions import (
    contract_condition,
    contract_fulfillment,
    contract_leaves,
    derive_condition,
    details_uri,
    encode_fulfillment,
    fulfill,
    fulfillment_uri,
    may_commit,
    signers,
    verify_signatures,
)
from planetmint.model.condition import (
    Condition,
    Details,
    Ed25519Details,
    Ed25519Fulfillment,
    ThresholdDetails,
    ThresholdFulfillment,
    ZenroomDetails,
    ZenroomFulfillment,
)
from planetmint.testing.build import public_key, raw_key, seed

MESSAGE = bytes(range(32))
SCRIPT = "Given nothing\nThen print the string 'ok'\n"
OTHER = "Given nothing\nThen print the string 'no'\n"
ALICE, BOB = Ed25519Details(public_key("alice")), Ed25519Details(public_key("bob"))
CONTRACT = ZenroomDetails(public_key("contract"))
BOTH = ThresholdDetails(2, (ALICE, CONTRACT))
EITHER = ThresholdDetails(1, (ALICE, CONTRACT))


def tlv(tag: int, *parts: bytes) -> bytes:
    """DER of an element of less than 128 octets."""
    content = b"".join(parts)
    assert len(content) < 128
    return bytes((tag, len(content))) + content


def contract_der(script: str) -> bytes:
    """DER of a contract's condition."""
    fingerprint = hashlib.sha256(tlv(0x30, tlv(0x80, script.encode()))).digest()
    return tlv(0xA5, tlv(0x80, fingerprint), tlv(0x81, bytes.fromhex("020000")))


def key_der(name: str) -> bytes:
    """DER of the condition of somebody's key."""
    fingerprint = hashlib.sha256(tlv(0x30, tlv(0x80, raw_key(name)))).digest()
    return tlv(0xA4, tlv(0x80, fingerprint), tlv(0x81, bytes.fromhex("020000")))


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_section_5_4_a_contract_is_derived_from_its_script_alone() -> None:
    fingerprint = hashlib.sha256(tlv(0x30, tlv(0x80, SCRIPT.encode()))).digest()
    assert contract_condition(SCRIPT) == Condition(5, fingerprint, 131072)
    expected = f"ni:///sha-256;{text(fingerprint)}?fpt=zenroom-sha-256&cost=131072"
    assert details_uri(CONTRACT, [SCRIPT]) == expected
    given = contract_fulfillment(SCRIPT, {"a": 1}, {"b": 2})
    assert fulfillment_uri(given) == expected


def test_section_5_2_a_tree_with_a_contract_is_derived_from_keys_and_script() -> None:
    subconditions = tlv(0xA1, *sorted((key_der("alice"), contract_der(SCRIPT))))
    fingerprint = hashlib.sha256(tlv(0x30, tlv(0x80, b"\x02"), subconditions)).digest()
    head = f"ni:///sha-256;{text(fingerprint)}?fpt=threshold-sha-256&cost=264192"
    assert details_uri(BOTH, [SCRIPT]) == head + "&subtypes=ed25519-sha-256,zenroom-sha-256"


def test_each_contract_takes_its_own_place_in_the_order_of_the_leaves() -> None:
    inner = ThresholdDetails(1, (CONTRACT, BOB))
    tree = ThresholdDetails(2, (inner, ALICE, CONTRACT))
    assert details_uri(tree, [SCRIPT, OTHER]) != details_uri(tree, [OTHER, SCRIPT])
    expected = ThresholdFulfillment(
        (
            ThresholdFulfillment((contract_fulfillment(SCRIPT),), (derived(BOB),)),
            contract_fulfillment(OTHER),
        ),
        (derived(ALICE),),
    )
    assert fulfillment_uri(expected) == details_uri(tree, [SCRIPT, OTHER])


def derived(details: Details) -> Condition:
    condition = derive_condition(details)
    assert condition is not None
    return condition


@pytest.mark.parametrize(
    ("details", "scripts"),
    [
        (BOTH, [SCRIPT, OTHER]),
        (ThresholdDetails(2, (CONTRACT, CONTRACT)), [SCRIPT]),
        (ThresholdDetails(1, (ALICE,)), [SCRIPT]),
        (ALICE, [SCRIPT]),
    ],
)
def test_there_must_be_one_script_for_each_contract(details: Details, scripts: list[str]) -> None:
    with pytest.raises(ValueError, match="contracts than"):
        derive_condition(details, scripts)
    with pytest.raises(ValueError, match="contracts than"):
        details_uri(details, scripts)


def test_section_5_4_data_and_keys_are_spelled_like_the_published_libraries() -> None:
    leaf = contract_fulfillment(SCRIPT, {"b": [1, "\u00e9"], "a": True}, {"k": None})
    assert leaf == ZenroomFulfillment(SCRIPT.encode(), b'{"b": [1, "\\u00e9"], "a": true}', b'{"k": null}')
    assert contract_fulfillment(SCRIPT) == ZenroomFulfillment(SCRIPT.encode(), b"null", b"{}")


def test_a_client_fulfils_a_tree_with_a_contract() -> None:
    given = contract_fulfillment(SCRIPT, None, {"k": "v"})
    done = fulfill(BOTH, MESSAGE, [seed("alice")], [given])
    assert isinstance(done, ThresholdFulfillment)
    assert fulfillment_uri(done) == details_uri(BOTH, [SCRIPT])
    assert signers(done) == (public_key("alice"),)
    assert list(contract_leaves(done)) == [given]
    assert verify_signatures(done, MESSAGE)
    assert not verify_signatures(done, MESSAGE[::-1])


def test_a_fulfillment_with_a_contract_is_encoded_as_section_5_3_says() -> None:
    leaf = tlv(0xA5, tlv(0x80, b"S"), tlv(0x81, b"null"), tlv(0x82, b"{}"))
    assert encode_fulfillment(contract_fulfillment("S")) == text(leaf)
    done = ThresholdFulfillment((contract_fulfillment("S"),), (derived(ALICE),))
    assert encode_fulfillment(done) == text(tlv(0xA2, tlv(0xA0, leaf), tlv(0xA1, key_der("alice"))))


def test_a_spare_contract_becomes_a_condition() -> None:
    done = fulfill(EITHER, MESSAGE, [seed("alice")], [contract_fulfillment(SCRIPT)])
    assert isinstance(done, ThresholdFulfillment)
    assert [type(item) for item in done.fulfillments] == [Ed25519Fulfillment]
    assert done.conditions == (contract_condition(SCRIPT),)
    alone = fulfill(EITHER, MESSAGE, [], [contract_fulfillment(SCRIPT)])
    assert isinstance(alone, ThresholdFulfillment)
    assert list(contract_leaves(alone)) == list(alone.fulfillments)
    assert fulfillment_uri(done) == fulfillment_uri(alone) == details_uri(EITHER, [SCRIPT])


def test_an_inner_threshold_that_cannot_be_met_becomes_a_condition() -> None:
    tree = ThresholdDetails(1, (ThresholdDetails(2, (BOB, CONTRACT)), ALICE))
    done = fulfill(tree, MESSAGE, [seed("alice")], [contract_fulfillment(SCRIPT)])
    assert fulfillment_uri(done) == details_uri(tree, [SCRIPT])
    assert list(contract_leaves(done)) == []


@pytest.mark.parametrize("contracts", [[], [contract_fulfillment(SCRIPT)] * 2])
def test_a_client_gives_one_contract_for_each_leaf(contracts: list[ZenroomFulfillment]) -> None:
    with pytest.raises(ValueError, match="contracts than"):
        fulfill(BOTH, MESSAGE, [seed("alice")], contracts)


# What a URI over a contract may be


@pytest.mark.parametrize("details", [BOTH, EITHER, ThresholdDetails(1, (BOTH, BOB)), CONTRACT])
def test_the_uri_of_any_contract_may_be_that_of_its_details(details: Details) -> None:
    for script in (SCRIPT, OTHER):
        uri = details_uri(details, [script])
        assert uri is not None
        assert may_commit(details, uri)


@pytest.mark.parametrize(
    "uri",
    [
        details_uri(ALICE),
        details_uri(ThresholdDetails(2, (ALICE, BOB))),
        details_uri(EITHER, [SCRIPT]),
        details_uri(CONTRACT, [SCRIPT]),
        details_uri(ThresholdDetails(2, (CONTRACT, CONTRACT)), [SCRIPT, OTHER]),
        details_uri(ThresholdDetails(2, (BOTH, CONTRACT)), [SCRIPT, OTHER]),
        "",
    ],
)
def test_a_uri_of_another_type_cost_or_subtypes_is_not_that_of_the_details(uri: str) -> None:
    assert not may_commit(BOTH, uri)


def test_a_contract_whose_text_is_a_key_has_its_fingerprint_and_is_not_that_key() -> None:
    octets = raw_key("alice")
    leaf, key = ZenroomFulfillment(octets, b"null", b"null"), Ed25519Fulfillment(octets, bytes(64))
    assert fulfillment_uri(leaf).partition("?")[0] == fulfillment_uri(key).partition("?")[0]
    assert fulfillment_uri(leaf) != fulfillment_uri(key)
    assert fulfillment_uri(ThresholdFulfillment((leaf,), ())) != fulfillment_uri(ThresholdFulfillment((key,), ()))
