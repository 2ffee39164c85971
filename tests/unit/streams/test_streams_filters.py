# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which transactions a filter lets through, and which values are refused."""

import itertools

import pytest

from planetmint.model.transaction import Operation
from planetmint.streams.errors import BadParameter
from planetmint.streams.filters import EVERYTHING, MAX_VALUES, Terms, parse_filter
from tests.unit.streams.world import event, hash_of, key_of

GIFT = event("gift", operation=Operation.TRANSFER, assets=["car"], owners=["bob", "carol"], signers=["alice"])
MADE = event("made", operation=Operation.CREATE, owners=["alice"], signers=["alice"])
VOTE = event("vote", operation=Operation.VOTE, assets=["election"], owners=[], signers=["bob"])
ALL = (GIFT, MADE, VOTE)


def matching(*pairs: tuple[str, str]) -> list[str]:
    wanted = parse_filter(pairs)
    return [one.transaction_id for one in ALL if wanted.matches(one)]


def ids(*names: str) -> list[str]:
    return [hash_of(name) for name in names]


def test_without_parameters_everything_matches() -> None:
    assert matching() == ids("gift", "made", "vote")
    assert parse_filter([("foo", "1")]).open


def test_ex_1_public_key_matches_a_new_owner() -> None:
    assert matching(("public_key", key_of("carol"))) == ids("gift")
    assert matching(("public_key", key_of("alice"))) == ids("made")


def test_ex_2_owner_before_matches_a_signer_and_no_owner() -> None:
    assert matching(("owner_before", key_of("alice"))) == ids("gift", "made")
    assert matching(("owner_before", key_of("carol"))) == []


@pytest.mark.parametrize("name", ["asset_id", "asset_ids"])
def test_ex_3_asset_id_and_its_alias_match_any_of_the_assets(name: str) -> None:
    assert matching((name, hash_of("car"))) == ids("gift")
    assert matching((name, hash_of("made").upper())) == ids("made")


@pytest.mark.parametrize("text", ["TRANSFER", "transfer", "Transfer"])
def test_ex_4_operation_in_any_letter_case(text: str) -> None:
    assert matching(("operation", text)) == ids("gift")


@pytest.mark.parametrize("operation", list(Operation))
def test_ex_4_every_operation_can_be_filtered(operation: Operation) -> None:
    wanted = parse_filter([("operation", operation.value.lower())])
    assert wanted.matches(event("x", operation=operation))
    assert [other for other in Operation if wanted.matches(event("x", operation=other))] == [operation]


def test_ex_5_transaction_id() -> None:
    assert matching(("transaction_id", hash_of("vote"))) == ids("vote")


def test_values_of_one_parameter_are_alternatives_repeated_or_by_comma() -> None:
    assert matching(("operation", "CREATE,VOTE")) == ids("made", "vote")
    assert matching(("operation", "CREATE"), ("operation", "VOTE")) == ids("made", "vote")
    assert matching(("asset_id", hash_of("car")), ("asset_ids", hash_of("made"))) == ids("gift", "made")


def test_different_parameters_must_all_match() -> None:
    assert matching(("operation", "TRANSFER"), ("owner_before", key_of("alice"))) == ids("gift")
    assert matching(("operation", "VOTE"), ("owner_before", key_of("alice"))) == []


@pytest.mark.parametrize("name", ["public_key", "owner_before"])
@pytest.mark.parametrize("text", ["", "x", "0" * 44, key_of("a")[:-3], key_of("a") + ",", hash_of("a"), "é" * 44])
def test_ill_formed_keys_are_refused_with_the_parameter_name(name: str, text: str) -> None:
    with pytest.raises(BadParameter) as caught:
        parse_filter([(name, text)])
    assert caught.value.name == name


@pytest.mark.parametrize("name", ["asset_id", "asset_ids", "transaction_id"])
@pytest.mark.parametrize("text", ["", "x", "a" * 63, "a" * 65, "g" * 64, "٠" * 64, "a" * 64 + "\n"])
def test_ill_formed_hashes_are_refused_with_the_parameter_name(name: str, text: str) -> None:
    with pytest.raises(BadParameter) as caught:
        parse_filter([(name, text)])
    assert caught.value.name == name


def test_an_unknown_operation_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(BadParameter, match="CHAIN_MIGRATION_ELECTION"):
        parse_filter([("operation", "BURN")])


def test_at_most_a_thousand_values_in_all() -> None:
    half = ",".join([hash_of("x")] * (MAX_VALUES // 2))
    assert not parse_filter([("asset_id", half), ("transaction_id", half)]).open
    with pytest.raises(BadParameter, match="1000"):
        parse_filter([("asset_id", half), ("transaction_id", half), ("operation", "CREATE")])


def test_equal_filters_have_equal_keys_and_different_ones_do_not() -> None:
    one = parse_filter([("operation", "CREATE,VOTE")])
    same = parse_filter([("operation", "vote"), ("operation", "create")])
    assert one.key == same.key
    fields = ["asset_id", "transaction_id"]
    assert len({parse_filter([(name, hash_of("x"))]).key for name in fields} | {EVERYTHING.key, one.key}) == 4


def test_the_quick_look_at_a_block_never_hides_a_match() -> None:
    candidates = [
        ("public_key", key_of("bob")),
        ("public_key", key_of("nobody")),
        ("owner_before", key_of("bob")),
        ("asset_id", hash_of("car")),
        ("operation", "VOTE"),
        ("transaction_id", hash_of("made")),
    ]
    for size in range(3):
        for pairs in itertools.combinations(candidates, size):
            wanted = parse_filter(pairs)
            if any(wanted.matches(one) for one in ALL):
                assert wanted.may_match(Terms.of(ALL)), pairs
    assert not parse_filter([("public_key", key_of("nobody"))]).may_match(Terms.of(ALL))
