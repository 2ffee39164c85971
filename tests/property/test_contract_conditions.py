# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random trees of keys and contracts: what a client makes fits, and what it makes of it is read back as it was."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from planetmint.conditions import (
    contract_fulfillment,
    contract_leaves,
    decode_fulfillment,
    derive_condition,
    details_uri,
    encode_fulfillment,
    fulfill,
    fulfillment_uri,
    has_zenroom,
    may_commit,
    parse_condition_uri,
    read_details,
    signers,
    verify_signatures,
    write_details,
)
from planetmint.model.condition import (
    Details,
    Ed25519Details,
    ThresholdDetails,
    ZenroomDetails,
    ZenroomFulfillment,
)
from planetmint.model.keys import encode_public_key

MESSAGE = hashlib.sha3_256(b"message").digest()
SEEDS = [hashlib.sha256(b"contracts/%d" % number).digest() for number in range(4)]
KEYS = [encode_public_key(bytes(SigningKey(seed).verify_key)) for seed in SEEDS]

Made = tuple[Details, list[str]]
"""A tree and the scripts of its contracts in the order of the leaves."""


def leaf(key: str, script: str | None) -> Made:
    return (Ed25519Details(key), []) if script is None else (ZenroomDetails(key), [script])


def thresholds(children: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    return st.lists(children, min_size=1, max_size=4).flatmap(
        lambda items: st.integers(1, len(items)).map(
            lambda number: (
                ThresholdDetails(number, tuple(tree for tree, _ in items)),
                [script for _, scripts in items for script in scripts],
            )
        )
    )


scripts = st.sampled_from(["", "Given nothing", "# \u00e9\U0001f512\n", "x" * 200])
leaves = st.builds(leaf, st.sampled_from(KEYS), st.one_of(st.none(), scripts))
trees = thresholds(st.recursive(leaves, thresholds, max_leaves=10))
texts = st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.booleans(), st.text(max_size=3)), max_size=2)


def given_for(scripts: list[str], data: dict[str, object]) -> list[ZenroomFulfillment]:
    return [contract_fulfillment(script, data, None) for script in scripts]  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(trees, texts)
def test_what_a_client_fulfils_fits_the_output_that_it_made(made: Made, data: dict[str, object]) -> None:
    tree, scripts = made
    fulfillment = fulfill(tree, MESSAGE, SEEDS, given_for(scripts, data))
    uri = details_uri(tree, scripts)
    assert fulfillment_uri(fulfillment) == uri
    assert verify_signatures(fulfillment, MESSAGE)
    read = decode_fulfillment(encode_fulfillment(fulfillment), max_depth=16, max_leaves=100)
    assert fulfillment_uri(read) == uri
    assert set(signers(read)) == set(signers(fulfillment))
    assert sorted(item.script for item in contract_leaves(read)) == sorted(
        item.script for item in contract_leaves(fulfillment)
    )


@settings(max_examples=300, deadline=None)
@given(trees)
def test_the_uri_of_a_tree_with_contracts_may_be_its_own_and_names_them(made: Made) -> None:
    tree, scripts = made
    uri = details_uri(tree, scripts)
    assert uri is not None
    assert read_details(write_details(tree), "details", max_depth=16, max_leaves=100) == tree
    assert parse_condition_uri(uri) == derive_condition(tree, scripts)
    assert may_commit(tree, uri)
    assert has_zenroom(tree) == uri.endswith("zenroom-sha-256") == bool(scripts)


@settings(max_examples=200, deadline=None)
@given(trees, trees)
def test_a_uri_is_that_of_no_tree_of_another_kind(first: Made, second: Made) -> None:
    one, other = derive_condition(*first), derive_condition(*second)
    assert one is not None
    assert other is not None
    uri = details_uri(*second)
    assert uri is not None
    alike = (one.type_id, one.cost, one.subtypes) == (other.type_id, other.cost, other.subtypes)
    assert may_commit(first[0], uri) == alike
