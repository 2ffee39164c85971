# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tables of validation 4.1 to 4.3, row by row and in their order: each rule alone, then every two together."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest

from planetmint.chain import admit
from planetmint.model.errors import (
    AmountError,
    AssetIdMismatch,
    DoubleSpend,
    DuplicateTransaction,
    InputDoesNotExist,
    InvalidSignature,
    InvalidTransaction,
    ValidationError,
)
from planetmint.model.parameters import ChainParameters
from planetmint.rules import check_signatures, decode_transaction
from planetmint.state.overlay import Overlay
from planetmint.testing.build import Builder, Built, Dialect, Draft, Spend, Wire, all_of, m_of_n, public_key
from planetmint.testing.ledger import EmptyLedger

BUILD = Builder(Dialect.PLANETMINT_2)
NOWHERE = "0123456789abcdef" * 4

GOLD = BUILD.create("alice", [(5, "alice"), (5, "alice"), (5, m_of_n(2, "alice", "bob", "carol"))], data="gold")
SILVER = BUILD.create("alice", [(5, "alice")], data="silver")
GONE = BUILD.transfer([GOLD.spend(1)], [(5, "alice")])
LEAD = BUILD.create("alice", [(5, "alice")], data="lead")
SPLIT = BUILD.decompose(LEAD.spend(), ["left", "right"])
TAKEN = BUILD.create("alice", data="left", consumes=SPLIT.spend(0))
OTHER_SIGNATURE = BUILD.create("mallory").wire["inputs"][0]["fulfillment"]

UNKNOWN = Spend(NOWHERE, 0, "alice", NOWHERE)
BEYOND = GOLD.spend().at(3)
SPENT = GOLD.spend(1)


def scene() -> Overlay:
    ledger = Overlay(EmptyLedger())
    for built in (GOLD, SILVER, GONE, LEAD, SPLIT, TAKEN):
        admit(decode_transaction(built.canonical, ChainParameters()), ledger, check_signatures)
    return ledger


def refusal(built: Built) -> InvalidTransaction | None:
    try:
        admit(decode_transaction(built.canonical, ChainParameters()), scene(), check_signatures)
    except InvalidTransaction as error:
        return error
    return None


def told(built: Built) -> tuple[type[InvalidTransaction], str] | None:
    error = refusal(built)
    return None if error is None else (type(error), error.rule)


def forge(built: Built) -> Built:
    """With a signature by somebody else, readable but of another condition."""
    return built.changed(lambda wire: wire["inputs"][0].update(fulfillment=OTHER_SIGNATURE))


# TRANSFER: the table of 4.2


def transfer(faults: frozenset[str]) -> Built:
    """A TRANSFER of five shares of gold that breaks exactly these rows."""
    more = {"a": UNKNOWN, "b": SPENT, "d": GOLD.spend(), "e": SILVER.spend()}
    spends = [GOLD.spend(), *(more[row] for row in sorted(faults) if row in more)]
    amount = 5 * len(spends) + ("g" in faults)
    draft = BUILD.draft_transfer(spends, [(amount, "bob")])
    if "f" in faults:
        draft = draft.changed(lambda wire: wire.update(assets=[{"id": "f" * 64}]))
    return forge(draft.signed()) if "h" in faults else draft.signed()


TRANSFER_ROWS: dict[str, tuple[type[InvalidTransaction], str]] = {
    "a": (InputDoesNotExist, "input.exists"),
    "b": (DoubleSpend, "input.unspent"),
    "d": (DoubleSpend, "input.twice"),
    "e": (AssetIdMismatch, "transfer.one_asset"),
    "f": (AssetIdMismatch, "transfer.asset"),
    "g": (AmountError, "transfer.amounts"),
    "h": (InvalidSignature, "signature.condition"),
}


def test_a_transfer_without_fault_is_accepted() -> None:
    assert told(transfer(frozenset())) is None


@pytest.mark.parametrize("row", TRANSFER_ROWS)
def test_validation_4_2_each_row_refuses_a_transfer(row: str) -> None:
    assert told(transfer(frozenset(row))) == TRANSFER_ROWS[row]


@pytest.mark.parametrize(("first", "second"), list(combinations(TRANSFER_ROWS, 2)))
def test_validation_4_2_of_two_rows_the_earlier_one_is_told(first: str, second: str) -> None:
    assert told(transfer(frozenset((first, second)))) == TRANSFER_ROWS[first]


def test_validation_4_2_rows_a_to_c_go_input_by_input() -> None:
    for spends, expected in (
        ([UNKNOWN, SPENT], InputDoesNotExist),
        ([SPENT, UNKNOWN], DoubleSpend),
        ([BEYOND, SPENT], InputDoesNotExist),
        ([SPENT, BEYOND], DoubleSpend),
    ):
        error = refusal(BUILD.transfer(spends, [(10, "bob")]))
        assert type(error) is expected
        assert error is not None
        assert error.field == "inputs[0].fulfills"


@pytest.mark.parametrize("index", [3, 2**31, 2**63, 10**300])
def test_validation_4_2_c_an_output_beyond_the_last_does_not_exist(index: int) -> None:
    error = refusal(BUILD.transfer([GOLD.spend().at(index)], [(5, "bob")]))
    assert type(error) is InputDoesNotExist
    assert error.reason == f"input `{GOLD.id}` doesn't exist"


def test_validation_4_2_reasons_are_those_of_the_table() -> None:
    reasons = {row: str(refusal(transfer(frozenset(row)))) for row in TRANSFER_ROWS}
    assert reasons == {
        "a": f"input `{NOWHERE}` doesn't exist",
        "b": f"input `{GOLD.id}` was already spent",
        "d": f'tx "{transfer(frozenset("d")).id}" spends inputs twice',
        "e": "All inputs of all transactions passed need to have the same asset id",
        "f": "The asset id of the input does not match the asset id of the transaction",
        "g": "The amount used in the inputs `5` needs to be same as the amount used in the outputs `6`",
        "h": "Transaction signature is invalid.",
    }


def test_a_transfer_without_outputs_would_burn_its_shares() -> None:
    assert told(BUILD.transfer([GOLD.spend()], [])) == (AmountError, "transfer.amounts")


def test_a_resubmitted_transfer_is_a_double_spend() -> None:
    assert told(GONE) == (DoubleSpend, "input.unspent")


def test_a_transfer_may_bring_inputs_of_one_asset_together_and_share_them_out() -> None:
    spends = [GOLD.spend(), GONE.spend(), GOLD.spend(2, "bob", "carol")]
    assert told(BUILD.transfer(spends, [(1, "bob"), (13, all_of("dora", "eve")), (1, "alice")])) is None


def test_only_the_first_named_asset_of_a_transfer_counts() -> None:
    def draft(*assets: str) -> Built:
        items = [{"id": item} for item in assets]
        return (
            BUILD.draft_transfer([GOLD.spend()], [(5, "bob")]).changed(lambda w: w.update(assets=items)).signed()
        )

    assert told(draft(GOLD.id, NOWHERE, SILVER.id)) is None
    assert told(draft(NOWHERE, GOLD.id)) == (AssetIdMismatch, "transfer.asset")


@pytest.mark.parametrize("owners", [[], ["mallory"], ["alice", "bob"]])
def test_owners_before_of_a_transfer_is_informative(owners: list[str]) -> None:
    keys = [public_key(name) for name in owners]
    draft = BUILD.draft_transfer([GOLD.spend()], [(5, "bob")])
    assert told(draft.changed(lambda wire: wire["inputs"][0].update(owners_before=keys)).signed()) is None


def test_fewer_signatures_than_the_threshold_do_not_open_an_output() -> None:
    alone = replace(GOLD.spend(2), owner=m_of_n(1, "alice", "bob", "carol"), signers=("alice",))
    assert told(BUILD.transfer([alone], [(5, "bob")])) == (InvalidSignature, "signature.condition")


def test_a_bad_signature_among_good_ones_is_told_with_its_input() -> None:
    def corrupt(wire: Wire) -> None:
        again = BUILD.transfer([GOLD.spend(), GONE.spend()], [(9, "bob"), (1, "eve")]).wire
        wire["inputs"][1]["fulfillment"] = again["inputs"][1]["fulfillment"]

    error = refusal(BUILD.transfer([GOLD.spend(), GONE.spend()], [(10, "bob")]).changed(corrupt))
    assert error is not None
    assert (type(error), error.rule, error.field) == (InvalidSignature, "signature", "inputs[1].fulfillment")


@pytest.mark.parametrize("source", list(Dialect))
@pytest.mark.parametrize("target", list(Dialect))
def test_outputs_of_one_dialect_are_spent_in_another(source: Dialect, target: Dialect) -> None:
    create = Builder(source).create("zoe", [(5, "zoe")])
    ledger = scene()
    admit(decode_transaction(create.canonical, ChainParameters()), ledger, check_signatures)
    transfer = Builder(target).transfer([create.spend()], [(5, "bob")])
    admit(decode_transaction(transfer.canonical, ChainParameters()), ledger, check_signatures)
    assert ledger.has_transaction(transfer.id)


# CREATE: 4.1


def test_validation_4_1_a_known_id_is_a_duplicate_whatever_else() -> None:
    error = refusal(GOLD)
    assert (type(error), str(error)) == (DuplicateTransaction, f"transaction `{GOLD.id}` already exists")


def consuming(
    spend: Spend,
    data: str | None = "right",
    amount: int = 1,
    owner: str = "alice",
    *,
    signed_by: str | None = None,
) -> Built:
    spend = replace(spend, owner=signed_by or owner)
    return BUILD.create(signed_by or owner, [(amount, "bob")], data=data, consumes=spend)


def test_a_create_may_consume_what_a_decompose_made() -> None:
    assert told(consuming(SPLIT.spend(1))) is None


CONSUMING: list[tuple[str, Callable[[], Built], type[InvalidTransaction], str]] = [
    ("unknown", lambda: consuming(UNKNOWN), InputDoesNotExist, "input.exists"),
    ("beyond", lambda: consuming(SPLIT.spend().at(2)), InputDoesNotExist, "input.exists"),
    ("consumed before", lambda: consuming(SPLIT.spend(0), "left", 2), DoubleSpend, "input.unspent"),
    ("other data", lambda: consuming(SPLIT.spend(1), "left"), ValidationError, "create.item"),
    ("no data", lambda: consuming(SPLIT.spend(1), None), ValidationError, "create.item"),
    ("not of a DECOMPOSE", lambda: consuming(SILVER.spend()), ValidationError, "create.item"),
    ("not its owner", lambda: consuming(SPLIT.spend(1), owner="bob"), InvalidSignature, "signature.condition"),
    ("more shares", lambda: consuming(SPLIT.spend(1), amount=2), AmountError, "create.amounts"),
]


@pytest.mark.parametrize(("name", "make", "kind", "rule"), CONSUMING, ids=[row[0] for row in CONSUMING])
def test_validation_4_1_row_3(
    name: str, make: Callable[[], Built], kind: type[InvalidTransaction], rule: str
) -> None:
    assert told(make()) == (kind, rule)


def test_validation_4_1_rows_in_order() -> None:
    """Signature and owners before the reference; data before the signer of the reference; that before amounts."""
    unsigned = consuming(UNKNOWN).changed(lambda wire: wire["outputs"][0].update(amount="3"))
    assert told(unsigned) == (InvalidSignature, "signature")
    keys = [public_key("bob")]
    draft = BUILD.draft_create("alice", data="right", consumes=UNKNOWN)
    others = draft.changed(lambda wire: wire["inputs"][0].update(owners_before=keys)).signed()
    assert told(others) == (InvalidSignature, "signature.owners")
    assert told(consuming(SPLIT.spend(1), "left", 9, "bob")) == (ValidationError, "create.item")
    assert told(consuming(SPLIT.spend(1), "right", 9, "bob")) == (InvalidSignature, "signature.condition")


@pytest.mark.parametrize("make", [BUILD.transfer, BUILD.compose])
def test_validation_4_2_only_a_create_consumes_what_a_decompose_made(make: Callable[..., Built]) -> None:
    members = {"data": "alloy"} if make == BUILD.compose else {}
    assert told(make([SPLIT.spend(1)], [(1, "bob")], **members)) == (AssetIdMismatch, "asset.decomposed")
    assert told(BUILD.decompose(SPLIT.spend(1), ["deeper"])) == (AssetIdMismatch, "asset.decomposed")


def test_a_create_may_have_no_outputs_and_any_amounts() -> None:
    assert told(BUILD.create("zoe", [])) is None
    assert told(BUILD.create("zoe", [(9 * 10**18, "a"), (9 * 10**18, "b")])) is None


# COMPOSE and DECOMPOSE: 4.3


def composed(faults: frozenset[str]) -> Built:
    """A COMPOSE of gold and silver that breaks exactly these rows."""
    more = {"a": UNKNOWN, "b": SPENT, "d": GOLD.spend()}
    spends = [GOLD.spend(), SILVER.spend(), *(more[row] for row in sorted(faults) if row in more)]
    shares: list[tuple[int | str, str]] = [(1, "bob")] * (2 if "outputs" in faults else 1)
    draft = BUILD.draft_compose(spends, shares, data="alloy")
    if "data" in faults:
        draft = draft.changed(lambda wire: wire["assets"].append({"data": "second"}))
    if "ids" in faults:
        draft = draft.changed(lambda wire: wire["assets"].append({"id": "e" * 64}))
    return forge(draft.signed()) if "h" in faults else draft.signed()


COMPOSE_ROWS: dict[str, tuple[type[InvalidTransaction], str]] = {
    "a": (InputDoesNotExist, "input.exists"),
    "b": (DoubleSpend, "input.unspent"),
    "d": (DoubleSpend, "input.twice"),
    "h": (InvalidSignature, "signature.condition"),
    "data": (ValidationError, "compose.new_asset"),
    "outputs": (ValidationError, "compose.output"),
    "ids": (AssetIdMismatch, "compose.assets"),
}


def test_a_compose_without_fault_is_accepted_and_amounts_are_free() -> None:
    assert told(composed(frozenset())) is None
    assert told(BUILD.compose([GOLD.spend(), SILVER.spend()], [(10**18, "bob")], data="alloy")) is None


@pytest.mark.parametrize("row", COMPOSE_ROWS)
def test_validation_4_3_each_row_refuses_a_compose(row: str) -> None:
    assert told(composed(frozenset([row]))) == COMPOSE_ROWS[row]


@pytest.mark.parametrize(("first", "second"), list(combinations(COMPOSE_ROWS, 2)))
def test_validation_4_3_of_two_rows_of_a_compose_the_earlier_one_is_told(first: str, second: str) -> None:
    assert told(composed(frozenset((first, second)))) == COMPOSE_ROWS[first]


@pytest.mark.parametrize("assets", [[GOLD.id], [GOLD.id, SILVER.id, NOWHERE], [SILVER.id], []])
def test_validation_4_3_a_compose_names_exactly_the_assets_of_its_inputs(assets: list[str]) -> None:
    items = [{"data": "alloy"}, *({"id": item} for item in assets)]
    draft = BUILD.draft_compose([GOLD.spend(), SILVER.spend()], [(1, "bob")], data="alloy")
    assert told(draft.changed(lambda wire: wire.update(assets=items)).signed()) == COMPOSE_ROWS["ids"]


@pytest.mark.parametrize("order", [[2, 1, 0], [1, 2, 0], [0, 2, 1, 1]])
def test_the_order_of_assets_in_a_compose_is_free_and_naming_one_twice_no_fault(order: list[int]) -> None:
    items = [{"data": "alloy"}, {"id": GOLD.id}, {"id": SILVER.id}]
    draft = BUILD.draft_compose([GOLD.spend(), SILVER.spend()], [(1, "bob")], data="alloy")
    assert told(draft.changed(lambda wire: wire.update(assets=[items[n] for n in order])).signed()) is None


def decomposed(faults: frozenset[str]) -> Built:
    """A DECOMPOSE of silver that breaks exactly these rows."""
    spend = UNKNOWN if "a" in faults else SPENT if "b" in faults else SILVER.spend()
    asset = "f" * 64 if "f" in faults else {"a": NOWHERE, "b": GOLD.id}.get(min(faults, default=""), SILVER.id)
    items: list[Wire] = [{"id": asset}] if "data" in faults else [{"data": "left"}, {"id": asset}]
    recipient = "bob" if "recipient" in faults else "alice"
    draft: Draft = BUILD.draft_decompose(spend, ["left"], [(1, "alice"), (1, recipient)])
    signed = draft.changed(lambda wire: wire.update(assets=items)).signed()
    return forge(signed) if "h" in faults else signed


DECOMPOSE_ROWS: dict[str, tuple[type[InvalidTransaction], str]] = {
    "a": (InputDoesNotExist, "input.exists"),
    "b": (DoubleSpend, "input.unspent"),
    "f": (AssetIdMismatch, "decompose.asset"),
    "h": (InvalidSignature, "signature.condition"),
    "data": (ValidationError, "decompose.new_asset"),
    "recipient": (ValidationError, "decompose.recipient"),
}


def test_a_decompose_without_fault_is_accepted_and_amounts_are_free() -> None:
    assert told(decomposed(frozenset())) is None
    assert told(BUILD.decompose(SILVER.spend(), ["left", "right"], [(77, "alice")])) is None


@pytest.mark.parametrize("row", DECOMPOSE_ROWS)
def test_validation_4_3_each_row_refuses_a_decompose(row: str) -> None:
    assert told(decomposed(frozenset([row]))) == DECOMPOSE_ROWS[row]


@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in combinations(DECOMPOSE_ROWS, 2) if set(pair) != {"a", "b"}]
)
def test_validation_4_3_of_two_rows_of_a_decompose_the_earlier_one_is_told(first: str, second: str) -> None:
    assert told(decomposed(frozenset((first, second)))) == DECOMPOSE_ROWS[first]


@pytest.mark.parametrize("ids", [[], [SILVER.id, GOLD.id], [SILVER.id, SILVER.id]])
def test_validation_4_3_a_decompose_names_exactly_one_asset(ids: list[str]) -> None:
    items = [{"data": "left"}, *({"id": item} for item in ids)]
    draft = BUILD.draft_decompose(SILVER.spend(), ["left"])
    changed = draft.changed(lambda wire: wire.update(assets=items)).signed()
    assert told(changed) == (ValidationError, "decompose.one_asset")


def test_validation_4_3_a_decompose_consumes_an_output_of_a_single_owner() -> None:
    spend = GOLD.spend(2, "alice", "bob")
    assert told(BUILD.decompose(spend, ["left"])) == (ValidationError, "decompose.owner")
