# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random trees of conditions: round trips, agreement with a second encoder, and damage that is always refused.

The second encoder below is written from the ASN.1 of the published libraries alone: it shares no code with the
product, encodes lengths by its own loop and bit strings from text.
"""

import base64
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from planetmint.conditions import (
    condition_der,
    condition_uri,
    decode_fulfillment,
    derive_condition,
    details_uri,
    encode_fulfillment,
    fingerprint_contents,
    fulfill,
    fulfillment_uri,
    is_condition_uri,
    listed_keys,
    parse_condition_uri,
    read_details,
    signers,
    verify_signatures,
    write_details,
)
from planetmint.model.condition import Details, Ed25519Details, ThresholdDetails, ThresholdFulfillment
from planetmint.model.errors import InvalidSignature, ThresholdTooDeep
from planetmint.model.keys import decode_public_key, encode_public_key

MESSAGE = hashlib.sha3_256(b"message").digest()
SEEDS = [hashlib.sha256(b"property/%d" % number).digest() for number in range(6)]
KEYS = [encode_public_key(bytes(SigningKey(seed).verify_key)) for seed in SEEDS]
NAMES = {2: "threshold-sha-256", 4: "ed25519-sha-256"}


def thresholds(children: st.SearchStrategy[Details]) -> st.SearchStrategy[Details]:
    return st.lists(children, min_size=1, max_size=5).flatmap(
        lambda items: st.integers(1, len(items)).map(lambda number: ThresholdDetails(number, tuple(items)))
    )


leaves: st.SearchStrategy[Details] = st.sampled_from(KEYS).map(Ed25519Details)
trees = st.recursive(leaves, thresholds, max_leaves=12)
signing = st.sets(st.sampled_from(SEEDS), min_size=1).map(sorted)


# The second encoder


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    length, rest = [], len(content)
    while rest:
        length.insert(0, rest % 256)
        rest //= 256
    if len(content) <= 127:
        return bytes([tag, len(content)]) + content
    return bytes([tag, 128 + len(length), *length]) + content


def number(tag: int, value: int) -> bytes:
    text = f"{value:x}"
    octets = bytes.fromhex(text.rjust(len(text) + len(text) % 2, "0"))
    return tlv(tag, b"\0" + octets if octets[0] > 127 else octets)


def bits(tag: int, numbers: set[int]) -> bytes:
    text = "".join("1" if bit in numbers else "0" for bit in range(max(numbers) + 1))
    padded = text.ljust(-(-len(text) // 8) * 8, "0")
    return tlv(tag, bytes([len(padded) - len(text)]), int(padded, 2).to_bytes(len(padded) // 8, "big"))


def ordered(parts: list[bytes]) -> list[bytes]:
    longest = max(map(len, parts), default=0)
    return sorted(parts, key=lambda part: part.ljust(longest, b"\0"))


def second(details: Details) -> tuple[bytes, bytes, int, int, set[int]]:
    """Condition DER, contents, type, cost and subtypes of a tree."""
    if isinstance(details, Ed25519Details):
        contents = tlv(0x30, tlv(0x80, decode_public_key(details.public_key) or b""))
        der = tlv(0xA4, tlv(0x80, hashlib.sha256(contents).digest()), number(0x81, 131072))
        return der, contents, 4, 131072, set()
    assert isinstance(details, ThresholdDetails)
    below = [second(item) for item in details.subconditions]
    contents = tlv(0x30, number(0x80, details.threshold), tlv(0xA1, *ordered([item[0] for item in below])))
    costs = sorted(item[3] for item in below)
    cost = sum(costs[len(costs) - details.threshold :]) + 1024 * len(below)
    types = {kind for item in below for kind in (item[2], *item[4])} - {2}
    digest = hashlib.sha256(contents).digest()
    return tlv(0xA2, tlv(0x80, digest), number(0x81, cost), bits(0x82, types)), contents, 2, cost, types


@given(trees)
def test_conditions_and_uris_agree_with_a_second_encoder(details: Details) -> None:
    der, contents, kind, cost, types = second(details)
    condition = derive_condition(details)
    assert condition is not None
    assert fingerprint_contents(details) == contents
    assert condition_der(condition) == der
    text = base64.urlsafe_b64encode(hashlib.sha256(contents).digest()).decode().rstrip("=")
    uri = f"ni:///sha-256;{text}?fpt={NAMES[kind]}&cost={cost}"
    assert condition_uri(condition) == uri + (
        f"&subtypes={','.join(NAMES[item] for item in types)}" if types else ""
    )


@given(trees)
def test_a_tree_survives_json_and_its_uri_is_recognised(details: Details) -> None:
    assert read_details(write_details(details), "details", max_depth=16, max_leaves=1000) == details
    uri = details_uri(details)
    assert uri is not None
    assert is_condition_uri(uri)
    assert parse_condition_uri(uri) == derive_condition(details)


@given(trees, st.randoms(use_true_random=False))
def test_the_order_of_subconditions_does_not_matter(details: Details, random: object) -> None:
    def shuffled(node: Details) -> Details:
        if not isinstance(node, ThresholdDetails):
            return node
        items = [shuffled(item) for item in node.subconditions]
        random.shuffle(items)  # type: ignore[attr-defined]
        return ThresholdDetails(node.threshold, tuple(items))

    assert details_uri(shuffled(details)) == details_uri(details)


def can_sign(details: Details, keys: set[str]) -> bool:
    if isinstance(details, Ed25519Details):
        return details.public_key in keys
    assert isinstance(details, ThresholdDetails)
    return sum(can_sign(item, keys) for item in details.subconditions) >= details.threshold


@given(trees, signing)
@settings(deadline=None)
def test_whoever_may_sign_makes_a_fulfillment_that_fits_verifies_and_round_trips(
    details: Details, seeds: list[bytes]
) -> None:
    keys = {encode_public_key(bytes(SigningKey(seed).verify_key)) for seed in seeds}
    try:
        fulfillment = fulfill(details, MESSAGE, seeds)
    except ValueError:
        assert not can_sign(details, keys)
        return
    assert can_sign(details, keys)
    text = encode_fulfillment(fulfillment)
    read = decode_fulfillment(text, max_depth=16, max_leaves=1000)
    assert encode_fulfillment(read) == text
    assert fulfillment_uri(read) == details_uri(details)
    assert verify_signatures(read, MESSAGE)
    assert set(signers(read)) <= keys & listed_keys(details)
    assert not verify_signatures(read, MESSAGE[::-1])


def accepted(text: str) -> bool:
    """Whether `text` is read; any other error than the two documented ones fails the test."""
    try:
        fulfillment = decode_fulfillment(text, max_depth=4, max_leaves=20)
    except (InvalidSignature, ThresholdTooDeep):
        return False
    assert encode_fulfillment(fulfillment) == text
    fulfillment_uri(fulfillment)
    signers(fulfillment)
    return True


@given(trees, st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_fulfillment_is_refused_or_is_another_one_in_its_only_spelling(
    details: Details, data: st.DataObject
) -> None:
    fulfillment = fulfill(details, MESSAGE, SEEDS)
    raw = bytearray(base64.urlsafe_b64decode(encode_fulfillment(fulfillment) + "=="))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    accepted(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))


@given(st.one_of(st.text(), st.text("AQ-_az09ogKBpGSIA", max_size=60), st.binary().map(lambda raw: raw.hex())))
def test_any_text_is_read_or_refused_with_a_documented_error(text: str) -> None:
    accepted(text)


@given(
    st.lists(
        st.sampled_from([b"\xa2", b"\xa0", b"\xa1", b"\xa4", b"\x80", b"\x02", b"\x22", b"\x81"]), max_size=40
    )
)
def test_any_pile_of_tags_is_read_or_refused_with_a_documented_error(parts: list[bytes]) -> None:
    accepted(base64.urlsafe_b64encode(b"".join(parts)).decode().rstrip("="))


def test_fulfillments_given_in_any_order_have_one_text() -> None:
    fulfillment = fulfill(ThresholdDetails(3, tuple(map(Ed25519Details, KEYS[:3]))), MESSAGE, SEEDS)
    assert isinstance(fulfillment, ThresholdFulfillment)
    other = ThresholdFulfillment(fulfillment.fulfillments[::-1], ())
    assert encode_fulfillment(other) == encode_fulfillment(fulfillment)
