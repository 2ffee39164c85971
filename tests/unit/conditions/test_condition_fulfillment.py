# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fulfillments: one spelling, strict types, signatures that verify, and how signing chooses."""

import base64
import hashlib

import pytest
from nacl.signing import SigningKey

from planetmint.conditions import (
    condition_der,
    decode_fulfillment,
    derive_condition,
    details_uri,
    encode_fulfillment,
    fingerprint_contents,
    fulfill,
    fulfillment_condition,
    fulfillment_uri,
    has_zenroom,
    signers,
    verify_signatures,
)
from planetmint.model.condition import (
    Condition,
    Details,
    Ed25519Details,
    Ed25519Fulfillment,
    Fulfillment,
    ThresholdDetails,
    ThresholdFulfillment,
    ZenroomDetails,
    ZenroomFulfillment,
)
from planetmint.model.errors import InvalidSignature, ThresholdTooDeep
from planetmint.model.keys import encode_public_key

MESSAGE = bytes.fromhex("eea5ff5bdf4ecbd0f1d736a835f2af8cf90e4cd4528b34643bfdb712b8edba8b")
SPECIFIED = (
    "pGSAIKbBwPVgH2EWnNf73rGmEbRXzMYiTIXI6YgJ0vu4APG3gUCnbveKKOj6MQ613IyZaTZBS5Ca50KyCQnse8R0VnJkZS-2qqGswDGNmpQ1-mTK"
    "eBjUKqPHSvuaTOg3DpqdKsAC"
)
ALICE = Ed25519Details("CDx31U9UUfFVEV1kKqhpaJcHFro5n7VRTAYCvi9quMgr")


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def owner(name: str) -> Ed25519Details:
    return Ed25519Details(encode_public_key(bytes(SigningKey(seed(name)).verify_key)))


def leaf(name: str) -> Ed25519Fulfillment:
    key = SigningKey(seed(name))
    return Ed25519Fulfillment(bytes(key.verify_key), key.sign(MESSAGE).signature)


def text(der: bytes | str) -> str:
    octets = bytes.fromhex(der) if isinstance(der, str) else der
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def decode(value: str, max_depth: int = 16, max_leaves: int = 1000) -> Fulfillment:
    return decode_fulfillment(value, max_depth=max_depth, max_leaves=max_leaves)


def refused(value: str, **bounds: int) -> None:
    with pytest.raises(InvalidSignature) as caught:
        decode(value, **bounds)
    assert caught.value.reason == "Fulfillment URI couldn't been parsed"
    assert caught.value.rule == "fulfillment.encoding"


def condition(name: str) -> Condition:
    derived = derive_condition(owner(name))
    assert derived is not None
    return derived


# Reading and writing


def test_the_specified_fulfillment_is_read_verified_and_written() -> None:
    fulfillment = decode(SPECIFIED)
    assert fulfillment_uri(fulfillment) == details_uri(ALICE)
    assert signers(fulfillment) == (ALICE.public_key,)
    assert verify_signatures(fulfillment, MESSAGE)
    assert encode_fulfillment(fulfillment) == SPECIFIED


@pytest.mark.parametrize(
    "value",
    [
        "",
        "A",
        "AA",
        "AAAA",
        "=",
        SPECIFIED + "=",
        SPECIFIED + "\n",
        SPECIFIED + "A",
        SPECIFIED + "AAAA",
        SPECIFIED[:-1],
        SPECIFIED[:-4],
        " " + SPECIFIED,
        SPECIFIED.replace("-", "+"),
        SPECIFIED[:50] + "%" + SPECIFIED[50:],
        SPECIFIED[:50] + "é" + SPECIFIED[51:],
        SPECIFIED[:50] + "\ud800" + SPECIFIED[51:],
        "\0" * 136,
    ],
)
def test_another_spelling_is_refused(value: str) -> None:
    refused(value)


KEY = "80 20" + "11" * 32
SIGNATURE = "81 40" + "22" * 64


def test_the_hex_notation_of_these_tests_is_right() -> None:
    assert decode(text(f"a464{KEY}{SIGNATURE}")) == Ed25519Fulfillment(b"\x11" * 32, b"\x22" * 64)


@pytest.mark.parametrize(
    "der",
    [
        f"a48164{KEY}{SIGNATURE}",
        f"a4820064{KEY}{SIGNATURE}",
        f"a480{KEY}{SIGNATURE}0000",
        f"a465{KEY}{SIGNATURE}",
        f"a463{KEY}{SIGNATURE}",
        f"a464{KEY}{SIGNATURE}00",
        f"3064{KEY}{SIGNATURE}",
        f"8464{KEY}{SIGNATURE}",
        f"bf0464{KEY}{SIGNATURE}",
        f"a464{SIGNATURE}{KEY}",
        f"a422{KEY}",
        f"a466{KEY}{SIGNATURE}8200",
        "a463 801f" + "11" * 31 + SIGNATURE,
        "a464 8021" + "11" * 33 + "813f" + "22" * 63,
        "a485 0000000064" + KEY + SIGNATURE,
        "a4ff",
        "a4",
        "",
    ],
)
def test_der_that_is_not_the_shortest_or_not_whole_is_refused(der: str) -> None:
    refused(text(der))


@pytest.mark.parametrize(
    "der", ["a0028000", "a0078005" + "61" * 5, "a1088000 8101 00 a200", "a3048000 8100", "a6028000"]
)
def test_types_that_transactions_may_not_use_are_refused(der: str) -> None:
    refused(text(der))


@pytest.mark.parametrize("type_id", [0, 1, 3, 6])
def test_conditions_of_types_that_transactions_may_not_use_are_refused(type_id: int) -> None:
    member = bytes([0xA0 | type_id, 0x25, 0x80, 0x20]) + bytes(32) + bytes([0x81, 0x01, 0x05])
    given = bytes.fromhex(f"a464{KEY}{SIGNATURE}")
    content = b"\xa0" + bytes([len(given)]) + given + b"\xa1" + bytes([len(member)]) + member
    refused(text(b"\xa2\x81" + bytes([len(content)]) + content))


def threshold_text(fulfillments: list[bytes], conditions: list[bytes]) -> str:
    def element(tag: int, content: bytes) -> bytes:
        if len(content) < 128:
            return bytes([tag, len(content)]) + content
        size = len(content).to_bytes(2, "big").lstrip(b"\0")
        return bytes([tag, 0x80 | len(size)]) + size + content

    return text(element(0xA2, element(0xA0, b"".join(fulfillments)) + element(0xA1, b"".join(conditions))))


def leaf_der(name: str) -> bytes:
    return b"\xa4\x64\x80\x20" + leaf(name).public_key + b"\x81\x40" + leaf(name).signature


def test_members_of_sets_must_be_in_order() -> None:
    given = sorted(leaf_der(name) for name in "abc")
    rest = sorted(condition_der(condition(name)) for name in "def")
    assert isinstance(decode(threshold_text(given, rest)), ThresholdFulfillment)
    refused(threshold_text(given[::-1], rest))
    refused(threshold_text(given, rest[::-1]))


def test_a_threshold_of_none_is_refused() -> None:
    refused(threshold_text([], [condition_der(condition("a"))]))
    refused(threshold_text([], []))


def test_a_condition_must_fit_its_type() -> None:
    sound = Condition(2, bytes(32), 5, frozenset({4}))
    assert isinstance(decode(threshold_text([leaf_der("a")], [condition_der(sound)])), ThresholdFulfillment)
    head = "8020" + "00" * 32
    for der in (
        f"a22b{head}810105 8202 0308 0000",
        f"a227{head}810105 82 00",
        f"a229{head}810105 8202 0208",
        f"a229{head}810105 8202 0800",
        f"a22a{head}810105 8203 030800",
        f"a229{head}810105 8202 0708",
        f"a229{head}810105 8202 0780",
        f"a425{head}8101ff",
        f"a426{head}81020005",
        f"a424{head}8100",
        f"a429{head}81050100000000",
        f"a429{head}810105 82020308",
        "a424801f" + "00" * 31 + "810105",
    ):
        refused(threshold_text([leaf_der("a")], [bytes.fromhex(der)]))


def test_the_largest_cost_is_accepted() -> None:
    member = condition_der(Condition(4, bytes(32), 2**32 - 1))
    fulfillment = decode(threshold_text([leaf_der("a")], [member]))
    assert fulfillment_condition(fulfillment).cost == 2**32 - 1 + 2048


def nested(levels: int) -> Fulfillment:
    fulfillment: Fulfillment = leaf("a")
    for _ in range(levels):
        fulfillment = ThresholdFulfillment((fulfillment,), ())
    return fulfillment


def test_16_levels_are_read_and_17_are_too_deep() -> None:
    assert decode(encode_fulfillment(nested(16))) == nested(16)
    with pytest.raises(ThresholdTooDeep) as caught:
        decode(encode_fulfillment(nested(17)))
    assert caught.value.rule == "fulfillment.depth"


def test_nesting_of_any_depth_is_refused_without_recursion() -> None:
    content = b""
    for _ in range(3000):
        size = len(content).to_bytes(3, "big")
        content = b"\xa2\x83" + size + b"\xa0\x83" + size + content
    with pytest.raises((ThresholdTooDeep, InvalidSignature)):
        decode(text(content))


def test_as_many_leaves_as_allowed_are_read_and_one_more_is_refused() -> None:
    given, rest = sorted(leaf_der(name) for name in "ab"), [condition_der(condition("c"))]
    value = threshold_text(given, rest)
    assert isinstance(decode(value, max_leaves=3), ThresholdFulfillment)
    refused(value, max_leaves=2)


def test_a_contract_is_read_and_its_text_alone_makes_the_condition() -> None:
    fulfillment = ZenroomFulfillment(b"Given nothing", b"null", b'{"a": 1}')
    assert decode(encode_fulfillment(fulfillment)) == fulfillment
    assert fingerprint_contents(fulfillment) == b"\x30\x0f\x80\x0dGiven nothing"
    assert fulfillment_condition(fulfillment).cost == 131072
    assert fulfillment_uri(fulfillment).endswith("?fpt=zenroom-sha-256&cost=131072")
    assert signers(fulfillment) == ()


def test_a_contract_is_found_even_behind_a_fingerprint() -> None:
    assert not has_zenroom(ThresholdFulfillment((leaf("a"),), (condition("b"),)))
    for hidden in (Condition(5, bytes(32), 131072), Condition(2, bytes(32), 5, frozenset({5}))):
        assert has_zenroom(ThresholdFulfillment((leaf("a"),), (hidden,)))
    assert has_zenroom(ThresholdFulfillment((ZenroomFulfillment(b"", b"", b""),), ()))


# Signatures


def test_a_signature_over_another_message_does_not_verify() -> None:
    assert verify_signatures(leaf("a"), MESSAGE)
    assert not verify_signatures(leaf("a"), bytes(32))


def test_every_signature_of_a_tree_must_verify() -> None:
    forged = Ed25519Fulfillment(leaf("b").public_key, leaf("a").signature)
    tree = ThresholdFulfillment((leaf("a"), ThresholdFulfillment((leaf("c"), leaf("d")), ())), ())
    assert verify_signatures(tree, MESSAGE)
    assert not verify_signatures(ThresholdFulfillment((tree, forged), ()), MESSAGE)
    assert not verify_signatures(ThresholdFulfillment((forged, tree), ()), MESSAGE)


def test_signatures_that_are_not_canonical_and_keys_of_small_order_are_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    good = leaf("a")
    high = int.from_bytes(good.signature[32:], "little") + order
    malleated = Ed25519Fulfillment(good.public_key, good.signature[:32] + high.to_bytes(32, "little"))
    assert not verify_signatures(malleated, MESSAGE)
    neutral = bytes([1]) + bytes(31)
    assert not verify_signatures(Ed25519Fulfillment(neutral, neutral + bytes(32)), MESSAGE)


def test_signers_are_listed_in_order_without_repeats() -> None:
    tree = ThresholdFulfillment((leaf("a"), ThresholdFulfillment((leaf("b"), leaf("a")), ()), leaf("c")), ())
    assert signers(tree) == tuple(owner(name).public_key for name in "abc")


# Signing


def seeds(names: str) -> list[bytes]:
    return [seed(name) for name in names]


@pytest.mark.parametrize(
    ("details", "names"),
    [
        (owner("a"), "a"),
        (ThresholdDetails(2, (owner("a"), owner("b"))), "ab"),
        (ThresholdDetails(2, (owner("a"), owner("b"), owner("c"))), "ca"),
        (ThresholdDetails(2, (owner("a"), owner("a"))), "a"),
        (ThresholdDetails(1, (owner("a"), ThresholdDetails(2, (owner("b"), owner("c"))))), "bc"),
        (ThresholdDetails(2, (owner("a"), ThresholdDetails(1, (owner("b"), owner("c"))))), "abc"),
    ],
)
def test_what_was_signed_fits_verifies_and_survives_its_text(details: Details, names: str) -> None:
    fulfillment = fulfill(details, MESSAGE, seeds(names))
    read = decode(encode_fulfillment(fulfillment))
    assert fulfillment_uri(read) == fulfillment_uri(fulfillment) == details_uri(details)
    assert verify_signatures(read, MESSAGE)


def test_exactly_as_many_as_needed_sign_the_cheapest_first() -> None:
    pair = ThresholdDetails(2, (owner("a"), owner("b")))
    details = ThresholdDetails(2, (pair, owner("c"), owner("d"), owner("e")))
    fulfillment = fulfill(details, MESSAGE, seeds("abcde"))
    assert isinstance(fulfillment, ThresholdFulfillment)
    assert signers(fulfillment) == (owner("c").public_key, owner("d").public_key)
    assert len(fulfillment.conditions) == 2
    assert fulfillment_uri(fulfillment) == details_uri(details)


@pytest.mark.parametrize(
    ("details", "names"),
    [
        (owner("a"), ""),
        (owner("a"), "b"),
        (ThresholdDetails(2, (owner("a"), owner("b"))), "a"),
        (ZenroomDetails(owner("a").public_key), "a"),
        (ThresholdDetails(1, (owner("a"), ZenroomDetails(owner("b").public_key))), "a"),
    ],
)
def test_what_cannot_be_fulfilled_is_not_signed(details: Details, names: str) -> None:
    with pytest.raises(ValueError, match=r"fulfil|contract"):
        fulfill(details, MESSAGE, seeds(names))


def test_a_condition_of_many_leaves_costs_what_its_leaves_cost() -> None:
    details = ThresholdDetails(60, tuple(owner(str(number)) for number in range(60)))
    fulfillment = fulfill(details, MESSAGE, [seed(str(number)) for number in range(60)])
    assert fulfillment_condition(fulfillment).cost == 60 * (131072 + 1024)
    assert decode(encode_fulfillment(fulfillment)).__class__ is ThresholdFulfillment
